"""The small tables under the figures, by hand-typed rows."""

from dataclasses import replace

import pandas as pd
import pytest

import smtpkit
from smtpkit import findings, summary, tables


def cells(frame):
    """Return the rows as lists, with None for what is not known."""
    return [[None if pd.isna(value) else value for value in row] for row in frame.itertuples(index=False)]


def test_the_longest_stalls_come_first():
    rows = [{"stream": n, "duration": n + 0.04, "backoff": 1.96, "ended_by": "RST"} for n in range(9)]
    found = summary.stalls(tables.from_rows(rows, "stalls"))
    assert found["tcp.stream"].tolist() == [8, 7, 6, 5, 4]
    assert found[["Took [s]", "Each wait, times the one before", "Ended by"]].iloc[0].tolist() == [
        8.0,
        2.0,
        "RST",
    ]


def test_sizes_add_up_the_largest_first_without_offload():
    rows = [
        {"ip_len": 1500, "offload": False, "sent": 3, "delivered": 1, "lost": 2, "times_lost": 2},
        {"ip_len": 1500, "offload": False, "sent": 9, "delivered": 0, "lost": 9, "times_lost": 9},
        {"ip_len": 4000, "offload": True, "sent": 1, "delivered": 0, "lost": 0, "times_lost": 0},
        {"ip_len": 52, "offload": False, "sent": 4, "delivered": 4, "lost": 0, "times_lost": 0},
    ]
    assert cells(summary.sizes(tables.from_rows(rows, "sizes"))) == [[1500, 12, 1, 11, 9], [52, 4, 4, 0, 0]]


def test_rates_of_loss_are_in_percent():
    rows = [
        {"low": 1501, "sent": 4, "lost": 1, "rate": 0.25, "rate_low": 0.0063, "rate_high": 0.8059},
        {"low": 0, "high": 576, "sent": 9, "lost": 0, "rate": 0.0, "rate_low": 0.0, "rate_high": 0.3363},
    ]
    assert cells(summary.loss(tables.from_rows(rows, "loss_rates"))) == [
        ["0 to 576", 9, 0, 0.0, "0.0 to 33.6"],
        ["from 1501", 4, 1, 25.0, "0.6 to 80.6"],
    ]


def test_servers_with_most_failures_come_first():
    rows = [
        {"peer": "192.0.2.1", "outcome": "delivered", "size": 900},
        {"peer": "192.0.2.2", "outcome": "deferred", "size": 5000},
        {"peer": "192.0.2.2", "outcome": "failed", "size": pd.NA},
        {"peer": "192.0.2.2", "outcome": "delivered", "size": 700},
        {"outcome": "delivered", "size": 0},
    ]
    assert cells(summary.attempts(tables.from_rows(rows, "attempts"))) == [
        ["192.0.2.2", 3, 1, 2, 700, 5000],
        ["192.0.2.1", 1, 1, 0, 900, None],
        ["this host", 1, 1, 0, None, None],
    ]


def test_paths_with_a_loss_come_first():
    rows = [
        {"server": "192.0.2.1", "delivered": 1500},
        {"server": "192.0.2.2", "delivered": 1400, "lost": 1500},
    ]
    found = summary.paths(tables.from_rows(rows, "path_mtu"))
    assert found["Server"].tolist() == ["192.0.2.2", "192.0.2.1"]


@pytest.mark.parametrize(
    "made",
    [
        lambda: summary.stalls(tables.empty("stalls")),
        lambda: summary.sizes(tables.empty("sizes")),
        lambda: summary.loss(tables.empty("loss_rates")),
        lambda: summary.attempts(tables.empty("attempts")),
        lambda: summary.paths(tables.empty("path_mtu")),
        lambda: summary.session(tables.empty("sessions")),
    ],
)
def test_of_nothing_the_table_is_empty(made):
    assert made().empty


def messages(*rows):
    """Messages: (failed, octets of data, binary zeros, occurrences of the pattern)."""
    names = ["failed", "data_size", "nul_count", "pattern"]
    made = pd.DataFrame([dict(zip(names, row, strict=True)) for row in rows])
    return made.reindex(columns=["message_id", "failed", *summary._FEATURES]).astype({"failed": bool})


def test_features_are_told_in_counts():
    made = messages((True, 900, 2, 1), (True, 100, 1, 1), (False, 800, 0, 0), (False, 90, 0, 0))
    explained = summary.explained(made)
    assert explained["feature"].tolist()[-1] == "octets of data"
    assert explained["separates"].tolist() == [True, True, False]
    zeros = explained[explained["feature"] == "binary zeros"]
    assert cells(summary.features(zeros))[0][:5] == ["binary zeros", 0, 1, "2 of 2", "0 of 2"]


def test_without_a_finding_no_messages_are_compared(sample):
    incident = smtpkit.load(sample)
    assert summary.messages(incident, {"findings": []}).empty
    none = summary.explained(summary.messages(incident, {"findings": []}))
    assert none[none["separates"]].empty
    assert summary.features(none).empty


def test_the_bytes_of_the_verdict_are_counted_in_each_message(sample):
    incident = smtpkit.load(sample)
    document = findings.document(incident, smtpkit.diagnose(incident))
    document["findings"][0]["parameters"]["pattern_hex"] = b"ab".hex()
    ids = summary.messages(incident, document)["message_id"]
    known = replace(incident, octets={ids[0]: b"abcabc", ids[1]: b"ba"})
    assert cells(summary.messages(known, document)[["pattern"]])[:3] == [[2], [0], [None]]
