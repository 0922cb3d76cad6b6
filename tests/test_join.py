import pandas as pd
import pytest

from smtpkit import join, tables

BASE = pd.Timestamp("2026-01-31 12:00:00", tz="UTC")
HERE, THERE, ELSEWHERE = "192.0.2.10", "198.51.100.25", "203.0.113.25"


def at(seconds):
    return BASE + pd.Timedelta(seconds=seconds)


def connection(stream, start, end, **more):
    row = {
        **{"capture": 0, "stream": stream, "client": HERE, "client_port": 40000 + stream, "server": THERE},
        **{"server_port": 25, "start": at(start), "end": at(end), "last_new_forward": at(end)},
        "bytes_acknowledged_forward": 5000,
    }
    return row | more


def attempt(message_id, end, outcome="delivered", **more):
    row = {"message_id": message_id, "peer": THERE, "end": at(end), "outcome": outcome, "size": 1000}
    return row | more


def joined(attempts, connections, transactions=(), messages=()):
    frames = zip(
        (attempts, connections, transactions, messages),
        ("attempts", "connections", "transactions", "messages"),
        strict=True,
    )
    return join.join(*(tables.from_rows(rows, name) for rows, name in frames))


def pairs(frame):
    return list(zip(frame["stream"], frame["matched_by"], strict=True))


def test_ports_decide_first():
    found = joined(
        [attempt("a", 9, client=HERE, client_port=40002)], [connection(1, 8, 9), connection(2, 0, 9)]
    )
    assert pairs(found) == [(2, "ports")]
    assert found["bytes_acknowledged"].tolist() == [5000]


def test_ports_decide_before_the_message_id():
    name, ends = "1abcDE-000001-2x", [connection(1, 0, 10), connection(2, 11, 20)]
    held = [{"capture": 0, "stream": s, "start": at(t), "message_id": name} for s, t in ((1, 1), (2, 12))]
    tried = [attempt(name, 20, "deferred", client_port=40001), attempt(name, 20, client_port=40002)]
    assert pairs(joined(tried, ends, held)) == [(1, "ports"), (2, "ports")]


def test_a_port_that_was_used_twice_goes_by_time():
    ends = [connection(1, 0, 5), connection(2, 100, 105, client_port=40001)]
    found = joined([attempt("a", 5, client_port=40001), attempt("b", 105, client_port=40001)], ends)
    assert pairs(found) == [(1, "ports"), (2, "ports")]


def test_a_message_id_in_the_data_joins_at_its_own_server_only():
    ends = [connection(1, 0, 60), connection(2, 0, 1, server=ELSEWHERE)]
    held = [{"capture": 0, "stream": s, "start": at(0.1), "message_id": "1abcDE-000001-2x"} for s in (1, 2)]
    tried = [
        attempt("1abcDE-000001-2x", 30, "deferred"),
        attempt("1abcDE-000001-2x", 1, peer=ELSEWHERE),
    ]
    assert pairs(joined(tried, ends, held)) == [(1, "message_id"), (2, "message_id")]


def test_what_two_captures_hold_of_one_connection_joins_one_attempt():
    seen = [connection(1, 0, 10), connection(2, 10.1, 10.6)]
    ends = [*seen, *({**row, "capture": 1, "stream": row["stream"] + 4} for row in seen)]
    name = "1abcDE-000001-2x"
    held = [{"capture": c, "stream": s, "start": at(10.2), "message_id": name} for c, s in ((0, 2), (1, 6))]
    found = joined([attempt(name, 10.1, "deferred"), attempt(name, 10.6)], ends, held)
    assert [stream % 4 for stream in found["stream"]] == [1, 2]


def test_of_a_failure_and_the_delivery_right_after_it_the_delivery_gets_the_transaction():
    ends = [connection(1, 0, 10), connection(2, 10.1, 11)]
    held = [{"capture": 0, "stream": 2, "start": at(10.5), "message_id": "1abcDE-000001-2x"}]
    tried = [attempt("1abcDE-000001-2x", 10, "deferred", start=at(0)), attempt("1abcDE-000001-2x", 11)]
    assert pairs(joined(tried, ends, held)) == [(1, "time"), (2, "message_id")]


def test_what_failed_before_mail_has_no_transaction_even_where_the_next_connection_does():
    name, ends = "1abcDE-000001-2x", [connection(1, 0, 11), connection(2, 11, 12)]
    held = [{"capture": 0, "stream": 2, "start": at(11.1), "message_id": name}]
    tls = attempt(name, 11, "deferred", phase="STARTTLS", error="timeout")
    found = joined([tls, attempt(name, 12, client_port=40002)], ends, held)
    assert pairs(found) == [(1, "time"), (2, "ports")]


@pytest.mark.parametrize(
    ("confirmation", "reply"),
    [
        ("250 OK id=1abcDE-000001-2x", "OK id=1abcDE-000001-2x"),
        ("250- 983 byte chunk, total 983\\n250 OK id=7", "OK id=7"),
    ],
)
def test_the_confirmation_joins_by_its_last_line(confirmation, reply):
    held = [{"capture": 0, "stream": 1, "start": at(0), "reply": reply}]
    found = joined([attempt("x", 500, confirmation=confirmation)], [connection(1, 0, 1)], held)
    assert pairs(found) == [(1, "confirmation")]


def test_without_any_of_these_the_start_decides():
    ends = [connection(1, 0, 90), connection(2, 3, 90), connection(3, 6, 90)]
    tried = [
        attempt("a", 28, "deferred", start=at(3.1)),
        attempt("b", 31, "deferred", start=at(5.8)),
        attempt("c", 25, "deferred", start=at(0.2)),
    ]
    assert pairs(joined(tried, ends)) == [(2, "time"), (3, "time"), (1, "time")]


def test_a_first_attempt_follows_the_arrival():
    messages = [{"message_id": "a", "arrival": at(0)}, {"message_id": "b", "arrival": at(10)}]
    ends = [connection(1, 10.2, 90), connection(2, 0.2, 90)]
    tried = [attempt("a", 300, "deferred"), attempt("b", 310, "deferred")]
    assert pairs(joined(tried, ends, messages=messages)) == [(2, "time"), (1, "time")]


def test_a_delivery_does_not_fit_a_connection_that_carried_less():
    ends = [connection(1, 0, 1, bytes_acknowledged_forward=400), connection(2, 0, 1.5)]
    assert pairs(joined([attempt("a", 1)], ends)) == [(2, "time")]


def test_what_is_far_in_time_stays_alone():
    found = joined([attempt("a", 4000)], [connection(1, 0, 1)])
    assert found[["stream", "matched_by"]].isna().all(axis=None)


def test_this_host_is_the_client_that_the_joined_attempts_have():
    found = joined([attempt("a", 1), attempt("b", 4000)], [connection(1, 0, 1)])
    assert found["client"].tolist() == [HERE, HERE]


@pytest.mark.parametrize("hours", [-9.5, -5, 0, 1, 2, 5.75])
def test_the_zone_is_the_quarter_hour_at_which_most_joins(hours):
    ends = tables.from_rows([connection(n, 60 * n, 60 * n + 7 * n % 31) for n in range(9)], "connections")
    local = [attempt("a", 60 * n + 7 * n % 31 + 0.1 + 3600 * hours) for n in range(9)]
    assert join.zone_offset(
        tables.from_rows(local, "attempts"), ends, tables.empty("transactions")
    ) == pd.Timedelta(hours=hours)


def test_nothing_joins_no_zone():
    ends = tables.from_rows([connection(1, 0, 1, server=ELSEWHERE)], "connections")
    assert (
        join.zone_offset(tables.from_rows([attempt("a", 1)], "attempts"), ends, tables.empty("transactions"))
        is None
    )


def test_the_clock_offset_is_the_median_of_sure_joins():
    ends = tables.from_rows([connection(n, 0, n) for n in (1, 2, 3)], "connections")
    rows = [
        attempt("a", n + off, capture=0, stream=n, matched_by="ports")
        for n, off in ((1, 2.0), (2, 2.1), (3, 9))
    ]
    offsets = join.clock_offset(tables.from_rows(rows, "attempts"), ends)
    assert offsets.to_dict() == {0: pytest.approx(2.1)}


def test_a_log_whose_clock_is_off_joins_all_the_same():
    ends = [connection(n, 10 * n, 10 * n + n % 4 + 0.5) for n in range(6)]
    off = [attempt(f"m{n}", 10 * n + n % 4 + 0.5 + 37.2) for n in range(6)]
    assert pairs(joined(off, ends)) == [(n, "time") for n in range(6)]


def test_stamps_of_whole_seconds_were_cut_off():
    ends = [connection(1, 35.4, 35.7), connection(2, 36.5, 36.8)]
    assert pairs(joined([attempt("a", 35), attempt("b", 36)], ends)) == [(1, "time"), (2, "time")]


def test_bytes_written_tell_attempts_of_the_same_second_apart():
    sizes = {1: 20_100, 2: 3_100, 3: 1_600}
    ends = [
        connection(n, 0.1 * n, 90, bytes_sent_forward=sent, bytes_acknowledged_forward=23)
        for n, sent in sizes.items()
    ]
    messages = [{"message_id": name, "arrival": at(0)} for name in "abc"]
    tried = [
        attempt(name, 15, "deferred", bytes_written=written, phase="end of data")
        for name, written in (("a", 1_484), ("b", 2_984), ("c", 19_984))
    ]
    assert pairs(joined(tried, ends, messages=messages)) == [(3, "time"), (2, "time"), (1, "time")]


def test_ports_known_on_both_sides_must_agree():
    assert pairs(joined([attempt("a", 1, peer_port=25)], [connection(1, 0, 1, server_port=443)])) == [
        (pd.NA, pd.NA)
    ]


def test_each_log_goes_with_the_capture_at_its_own_end():
    """The SYN is answered after 40 ms as the client sees it, and at once as the server does."""
    ends = [
        connection(1, 0, 9, syn_rtt=0.04),
        connection(5, 0.02, 8.9, capture=1, client_port=40001, syn_rtt=0.0001),
    ]
    sent = attempt("a", 8.9, client=HERE, client_port=40001)
    received = attempt("b", 8.9, peer=None, client=HERE, client_port=40001)
    found = joined([sent, received], ends)
    assert found["capture"].tolist() == [0, 1]
    assert found["stream"].tolist() == [1, 5]
