"""Whether a remedy worked: typed counts, and the sample that was made again after it."""

import pandas as pd
import pytest
from conftest import ROOT

import smtpkit
from smtpkit import compare as compare_module
from smtpkit import tables
from smtpkit.compare import compare
from smtpkit.correlation import fewer_failures

SAMPLES = ROOT / "data" / "samples"


@pytest.fixture(scope="module")
def incidents():
    return {name: smtpkit.load(SAMPLES / name) for name in ("pmtu-black-hole", "after-the-remedy")}


def test_a_cured_black_hole_is_gone(incidents):
    (row,) = compare(incidents["pmtu-black-hole"], incidents["after-the-remedy"]).to_dict("records")
    assert (row["peer"], row["cause"], row["state"]) == ("198.51.100.25", "pmtu_black_hole", "gone")
    assert (row["failed_before"], row["tried_before"]) == (8, 8)  # truth.json: eight messages hit
    assert (row["failed_after"], row["tried_after"]) == (0, 8)
    assert row["p"] == pytest.approx(1 / 12870)  # 16 over 8 ways to choose the failing
    assert "No packet above 1400 bytes was sent" in row["sentence"]


def test_the_same_incident_twice_remains(incidents):
    (row,) = compare(incidents["pmtu-black-hole"], incidents["pmtu-black-hole"]).to_dict("records")
    assert (row["state"], row["failed_after"]) == ("remains", 8)


def test_a_fault_that_was_not_there_is_new(incidents):
    (row,) = compare(incidents["after-the-remedy"], incidents["pmtu-black-hole"]).to_dict("records")
    assert (row["state"], row["failed_before"], row["failed_after"]) == ("new", 0, 8)


def test_two_healthy_incidents_have_no_changes(incidents):
    healthy = incidents["after-the-remedy"]
    pd.testing.assert_frame_equal(compare(healthy, healthy), tables.empty("changes"))


def test_a_day_without_large_messages_proves_nothing(incidents):
    after = smtpkit.load(SAMPLES / "after-the-remedy", until="2026-11-22T00:00")
    (row,) = compare(incidents["pmtu-black-hole"], after).to_dict("records")
    assert (row["state"], row["tried_after"]) == ("undecided", 0)
    assert "Not put to the test" in row["sentence"]


@pytest.mark.parametrize(
    ("before", "after", "p"),
    [
        ((3, 3), (0, 3), 1 / 20),  # 6 over 3
        ((2, 2), (0, 2), 1 / 6),
        ((1, 2), (1, 2), 5 / 6),  # all but the one of six ways with both on the other side
        ((0, 4), (0, 4), 1.0),
    ],
)
def test_the_probability_by_counting(before, after, p):
    assert fewer_failures(*before, *after) == pytest.approx(p)


def test_how_many_messages_would_be_enough():
    """Two of two failed: with 0 of n after chance does so once in (n + 2) over 2, which is 21 for 5."""
    row = {"failed_before": 2, "tried_before": 2, "failed_after": 0, "tried_after": 3}
    assert compare_module._needed(row) == 5
