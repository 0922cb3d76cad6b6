"""Who explains whom: counts and probabilities worked out by hand, intervals from published tables."""

import random

import pandas as pd
import pytest

from smtpkit import correlation


def messages(**columns):
    frame = pd.DataFrame(columns)
    return frame.assign(failed=frame["failed"].astype(bool))


def test_a_limit_lies_between_the_largest_that_passed_and_the_smallest_that_failed():
    found = correlation.explain(messages(failed=[0, 0, 0, 1, 1], size=[10, 20, 30, 50, 90]), ["size"]).iloc[0]
    assert (found["low"], found["high"], found["separates"]) == (30, 50, True)
    assert found[["failed_above", "failed_below", "passed_above", "passed_below"]].tolist() == [2, 0, 0, 3]
    # One of C(5,2) = 10 ways puts both failures on top; four limits were tried.
    assert found["p"] == pytest.approx(4 / 10)


def test_features_are_ordered_by_how_well_they_explain_and_corrected_for_their_number():
    frame = messages(failed=[1, 1, 1, 0, 0, 0], size=[9, 2, 8, 1, 7, 3], nul_count=[1, 4, 1, 0, 0, 0])
    found = correlation.explain(frame, ["size", "nul_count"])
    assert found["feature"].tolist() == ["nul_count", "size"]
    assert found["separates"].tolist() == [True, False]
    assert found["p"].iloc[0] == pytest.approx(2 * 2 / 20)  # two limits, two features, C(6,3) ways


@pytest.mark.parametrize("failed", [[0, 0], [1, 1]])
def test_where_nothing_failed_or_nothing_passed_there_is_no_limit(failed):
    assert correlation.explain(messages(failed=failed, size=[1, 2]), ["size"]).empty


def test_a_feature_that_all_have_alike_explains_nothing():
    assert correlation.explain(messages(failed=[0, 1], size=[5, 5]), ["size"]).empty


def test_unknown_values_are_left_out():
    frame = messages(failed=[0, 1, 1], size=pd.array([1, 9, None], dtype="Int64"))
    assert correlation.explain(frame, ["size"]).iloc[0]["failed_above"] == 1


def test_of_two_features_that_go_together_the_one_that_explains_is_found():
    # Long messages without zeros pass, so the zeros explain; among those without zeros size explains nothing.
    frame = messages(failed=[1, 1, 1, 0, 0, 0], size=[50, 60, 70, 65, 10, 20], nul_count=[1, 1, 1, 0, 0, 0])
    assert correlation.given(frame, "nul_count", "size")
    assert not correlation.given(frame, "size", "nul_count")


def words(rng, size):
    letters = "etaoinshrdlu "
    return "".join(rng.choices(letters, k=size)).encode()


def test_the_shortest_bytes_of_all_failing_and_no_passing_message_are_found():
    rng = random.Random(4)
    failing = [words(rng, 2000) + b"\x16EXPORT" + words(rng, 900) for _ in range(6)]
    passing = [words(rng, 3000) for _ in range(8)]
    found = correlation.pattern(failing, passing)
    assert len(found.octets) == 1
    assert found.octets in b"\x16EXPORT"
    assert found.coincidence < 0.01


def test_a_run_is_told_from_a_shorter_run():
    rng = random.Random(5)
    failing = [words(rng, 400) + b"X" * 24 + words(rng, 300) for _ in range(5)]
    passing = [words(rng, 400) + b"X" * 23 + words(rng, 300) for _ in range(9)]
    assert correlation.pattern(failing, passing).octets == b"X" * 24


@pytest.mark.parametrize(("failing", "passing"), [([], [b"a"]), ([b"a"], []), ([b"abc"], [b"xabcx"])])
def test_without_both_kinds_or_a_difference_there_is_no_pattern(failing, passing):
    assert correlation.pattern(failing, passing) is None


def test_two_messages_alone_are_never_sure():
    rng = random.Random(6)
    assert correlation.pattern([words(rng, 500)], [words(rng, 500)]).coincidence > correlation.SURE


def test_what_only_large_messages_share_is_no_sure_pattern():
    """Six long letters in the same words, six short ones: the words of the long ones tell them apart."""
    rng = random.Random(7)
    failing, passing = ([words(rng, size) for _ in range(6)] for size in (30_000, 300))
    assert correlation.pattern(failing, passing).coincidence > correlation.SURE


def test_messages_of_one_size_are_as_likely_as_each_other():
    assert correlation._chance([700] * 8, 3) == pytest.approx(1 / 56)  # 8 over 3


def test_a_message_counts_by_its_size():
    """Of 3, 1, 1 choose two, the first and the second: 3 x 1 of 3 x 1 + 3 x 1 + 1 x 1."""
    assert correlation._chance([300, 100, 100], 2) == pytest.approx(3 / 7)


def test_segments_share_more_than_the_shortest_piece_that_tells_them_apart():
    segments = [b"aa -zzqx- bb", b"cc -zzqx- dd", b"-zzqx- e"]
    assert correlation.widened(b"zq", segments) == b"-zzqx- "
    assert len(correlation.widened(b"x", [b"x" * 500, b"x" * 500])) == 64
