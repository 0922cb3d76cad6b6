"""Observations of small typed tables, each expectation typed by hand."""

import numpy as np
import pandas as pd
import pytest
from conversation import analysed
from test_findings import BROKEN, SAID, typed
from test_mtu import DIES, HANDSHAKE, dies, later, passes

from smtpkit import tables
from smtpkit.observations import failures, observations

CLIENT = "192.0.2.10"
START = pd.Timestamp("2026-01-31 12:00:00", tz="UTC")


def attempt(name, seconds=30, outcome="deferred", **cells):
    """An attempt of the log at BROKEN."""
    row = {"message_id": name, "peer": BROKEN, "client": CLIENT, "outcome": outcome, "file": "mainlog"}
    return row | {"line": seconds, "end": START + pd.Timedelta(seconds, "s")} | cells


def logged(*attempts):
    """An incident of a log alone."""
    found = typed(passes(600), attempts=attempts)
    return found.__class__(**vars(found) | {name: getattr(found, name).iloc[:0] for name in _CAPTURED})


_CAPTURED = ("packets", "connections", "stalls", "sizes", "path_mtu", "captures")
TIMEOUT = {"error": "timeout", "phase": "end of data"}


def values(incident, manner):
    """Return what was seen of the failures of a manner: name -> value; <NA> as None."""
    seen = observations(incident)
    seen = seen[(seen["manner"] == manner) & seen["message_id"].isna() & seen["stream"].isna()]
    return {row.observation: None if pd.isna(row.value) else bool(row.value) for row in seen.itertuples()}


# --- failures --------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("cells", "manner"),
    [
        ({"error": "refused", "phase": "connect"}, "connect"),
        ({"error": "timeout", "phase": "connect"}, "connect"),
        ({"error": "timeout", "phase": "banner"}, "timeout"),
        ({"error": "timeout", "phase": "end of data"}, "timeout"),
        ({"error": "lost connection", "phase": "end of data"}, "close"),
        ({"error": "TLS", "phase": "STARTTLS"}, "tls"),
        ({"error": "5xx", "phase": "RCPT", "smtp_code": 550, "text": "no such user"}, "reply"),
        ({"error": "4xx", "phase": "MAIL", "smtp_code": 421, "text": "421 too many connections"}, "reply"),
        ({"error": "4xx", "phase": "end of data", "smtp_code": 421, "text": "421 data timeout"}, "timeout"),
        ({"error": "4xx", "phase": "end of data", "smtp_code": 421, "text": "421 timed out"}, "timeout"),
        ({"error": "4xx", "phase": "RCPT", "smtp_code": 451, "text": "451 DNS timeout"}, "reply"),
        ({"error": "other", "phase": None}, "unknown"),
    ],
)
def test_what_the_log_says_of_the_manner(cells, manner):
    assert failures(logged(attempt("a", **cells)))["manner"].tolist() == [manner]


def test_what_was_delivered_or_kept_back_by_exim_itself_is_no_failure():
    kept_back = attempt("b", error="local limit", outcome="failed")
    assert failures(logged(attempt("a", outcome="delivered"), kept_back)).empty


def test_a_receivers_log_need_not_name_its_own_address():
    nameless = attempt(None, peer=None, outcome="failed", **TIMEOUT)
    assert len(failures(logged(nameless))) == 1
    assert len(failures(logged(nameless, attempt("a", outcome="delivered")))) == 0


def test_packets_of_one_side_do_not_tell_how_it_ended():
    packets = dies(1500)
    joined = {"capture": 0, "stream": 0, "matched_by": "ports"}
    seen = failures(typed(packets, attempts=[attempt("a", **TIMEOUT, **joined)])).iloc[0]
    assert (seen["manner"], seen["observed"]) == ("stall", True)
    heard = packets[packets["src"] == CLIENT]
    one_side = failures(typed(heard, attempts=[attempt("a", **TIMEOUT, **joined)])).iloc[0]
    assert (one_side["manner"], one_side["observed"]) == ("timeout", False)


def test_a_syn_is_unanswered_only_if_the_client_does_not_go_on():
    alone = typed(analysed("0 > S seq=0\n1 > S seq=0"))
    assert failures(alone)["manner"].tolist() == ["connect"]
    goes_on = typed(analysed("0 > S seq=0\n0.1 > A seq=1 ack=1 len=20"))
    assert failures(goes_on).empty


def test_a_client_that_repeats_what_was_acknowledged_does_not_hear_it():
    repeats = "0.3 > PA seq=1 ack=1 len=90\n0.3 < A seq=1 ack=91\n0.7 > PA seq=1 ack=1 len=90\n"
    text = HANDSHAKE + "0.1 > PA seq=1 ack=1 len=90\n0.1 < A seq=1 ack=91\n" + repeats
    text += "0.7 < A seq=1 ack=91\n1.5 > PA seq=1 ack=1 len=90\n1.5 < A seq=1 ack=91\n9 < FA seq=1 ack=91"
    incident = typed(analysed(text))
    session = {"capture": 0, "stream": 0, "answered": False, "phase": "end of data"}
    session |= {"conflicting": False, "gaps_forward": False, "gaps_reverse": False}
    waits = incident.__class__(**vars(incident) | {"sessions": tables.from_rows([session], "sessions")})
    assert failures(waits)[["manner", "direction"]].to_numpy().tolist() == [["stall", "reverse"]]


@pytest.mark.parametrize(
    ("end", "manners"),
    [
        ("4 < FA seq=41 ack=901", ["close"]),
        ("9 > FA seq=901 ack=41\n9 < A seq=41 ack=902", ["silence"]),
        ("0.2 > FA seq=901 ack=41\n4 < FA seq=41 ack=902", ["close"]),  # who closes a side may wait on
        ("0.2 > FA seq=901 ack=41\n4 < PA seq=41 ack=902 len=20\n4 > R seq=902", ["silence"]),
        ("0.2 > FA seq=901 ack=41\n0.3 < PA seq=41 ack=902 len=20\n0.3 < FA seq=61 ack=902", []),
        ("0.4 < PA seq=41 ack=901 len=20\n0.5 > PFA seq=901 ack=61 len=6\n0.6 < FA seq=61 ack=908", []),
    ],
    ids=["hangs up", "silent", "hangs up on half", "answers nobody", "answers half", "no answer to QUIT"],
)
def test_without_payload_tcp_tells_who_left_while_an_answer_was_due(end, manners):
    assert failures(typed(analysed(SAID + end)))["manner"].tolist() == manners


def test_a_client_that_says_quit_has_got_what_it_waited_for():
    left = analysed(SAID + "0.4 > FA seq=901 ack=41\n0.5 < PA seq=41 ack=902 len=20\n0.5 > R seq=902")
    session = {"capture": 0, "stream": 0, "phase": "QUIT", "quit": True, "gaps_reverse": True}
    session |= {"conflicting": False, "gaps_forward": True, "last_reply_time": START + pd.Timedelta("0.5s")}
    incident = typed(left)
    sessions = {"sessions": tables.from_rows([session], "sessions")}
    assert failures(incident.__class__(**vars(incident) | sessions)).empty


def test_a_capture_that_ends_before_a_stall_shows_what_was_not_acknowledged():
    joined = {"capture": 0, "stream": 0, "matched_by": "ports"}
    begun = dies(1500).iloc[:7]  # 0.7 s
    seen = failures(typed(begun, attempts=[attempt("a", **TIMEOUT, **joined)]))
    assert seen[["manner", "direction"]].to_numpy().tolist() == [["stall", "forward"]]


def test_a_server_that_takes_a_connection_and_says_nothing():
    mute = typed(analysed(HANDSHAKE + "9 > FA seq=1 ack=1\n9 < A seq=1 ack=2"))
    assert failures(mute)["manner"].tolist() == ["silence"]
    late = typed(analysed("0 > S seq=0\n15 < SA seq=0 ack=1\n15 > R seq=1"))
    assert failures(late).empty
    probed = typed(analysed(HANDSHAKE + "0.1 > FA seq=1 ack=1\n0.1 < A seq=1 ack=2"))
    assert failures(probed).empty


# --- endings ---------------------------------------------------------------------------------------------


def test_a_timeout_in_the_log_leaves_open_what_it_was_and_nothing_else():
    seen = values(logged(attempt("a", **TIMEOUT)), "timeout")
    open_ = ("unacknowledged", "window_closed", "unanswered", "unfinished", "oversize_lost", "forgotten")
    assert all(seen[name] is None for name in open_)
    assert not any(seen[name] for name in ("hung_up", "replied", "tls_broken", "unreached"))


def test_before_the_data_nothing_large_was_sent():
    seen = values(logged(attempt("a", error="timeout", phase="banner")), "timeout")
    assert (seen["unreached"], seen["oversize_lost"], seen["window_closed"]) == (None, False, False)
    assert (seen["nul_explains"], seen["pattern_explains"]) == (False, False)


def test_ipv6_is_not_fragmented_on_the_way():
    one = attempt("a", peer="2001:db8::25", client="2001:db8::10", **TIMEOUT)
    assert values(logged(one), "timeout")["fragmentable"] is False


def test_the_code_of_a_refusal_is_a_figure():
    seen = observations(logged(attempt("a", error="5xx", phase="RCPT", smtp_code=550)))
    figures = list(seen.loc[seen["observation"] == "replied", "figures"].dropna())
    assert {"reply_code": 550} in figures


def forgotten_after(sent, port, pause=0.5):
    """A connection that passed 300 bytes, and of `sent` more, after a pause, nothing any more."""
    text = HANDSHAKE + "0.05 > PA seq=1 ack=1 len=300\n0.08 < PA seq=1 ack=301 len=40\n"
    parts = [(301 + at, min(1460, sent - at)) for at in range(0, sent, 1460)]
    begin = 0.08 + pause
    parts += [(301, 1460)] * 3
    times = [begin] * (len(parts) - 3) + [begin + wait for wait in (0.4, 1.2, 2.8)]
    rows = zip(times, parts, strict=True)
    text += "".join(f"{time} > A seq={seq} ack=41 len={length}\n" for time, (seq, length) in rows)
    return analysed(text, port=port)


def of_stall(observation, *connections):
    joined = {"capture": 0, "matched_by": "ports"}
    stuck = [at for at, one in enumerate(connections) if len(one) > 6]
    attempts = [attempt(f"message {at}", **TIMEOUT, **joined, stream=at) for at in stuck]
    seen = observations(typed(*connections, attempts=attempts))
    row = seen[(seen["observation"] == observation) & (seen["manner"] == "stall")].iloc[0]
    return bool(row["value"]), row["figures"] if isinstance(row["figures"], dict) else {}


def test_what_was_sent_and_what_was_acknowledged_bracket_the_bytes_after_which_nothing_passed():
    gone = [forgotten_after(12000, 40001), forgotten_after(16000, 40002)]
    octets = {"octets_low": 8960, "octets_high": 12340}  # payload: 9000 - 40; 12000 + 300 + 40
    assert of_stall("after_octets", *gone, passes(9000), passes(600)) == (True, octets)
    assert of_stall("after_octets", *gone, passes(15000), passes(600)) == (False, {})
    assert of_stall("after_octets", *gone) == (False, {})


def test_a_pause_before_is_an_upper_bound_and_one_that_passed_a_lower():
    waits = HANDSHAKE + "0.05 > PA seq=1 ack=1 len=300\n20.05 < PA seq=1 ack=301 len=40\n"
    waits = analysed(waits + "20.06 > A seq=301 ack=41")
    gone = [forgotten_after(3000, 40000 + pause, pause) for pause in (60, 90)]
    assert of_stall("after_pause", *gone, waits) == (True, {"pause": 60.0, "pause_low": 20.0})
    assert of_stall("after_pause", *gone) == (True, {"pause": 60.0, "pause_low": None})


# --- which messages failed -------------------------------------------------------------------------------


def sized(*cases):
    """A log of messages: name, outcome and size of each."""
    attempts = [attempt(n, 30 + at, o, **TIMEOUT) for at, (n, o, _) in enumerate(cases)]
    found = logged(*attempts)
    rows = pd.DataFrame({"message_id": [n for n, _, _ in cases], "size": [size for _, _, size in cases]})
    messages = rows.reindex(columns=found.messages.columns).astype(found.messages.dtypes)
    attempts_ = found.attempts.assign(size=rows["size"].astype("Int64"))
    return found.__class__(**vars(found) | {"messages": messages, "attempts": attempts_})


def test_a_size_that_tells_failing_from_passing_messages():
    cases = [
        ("a", "delivered", 700),
        ("b", "deferred", 5000),
        ("c", "delivered", 900),
        ("d", "deferred", 8000),
    ]
    incident = sized(*cases)
    assert values(incident, "timeout")["size_explains"] is True
    seen = observations(incident)
    figures = seen.loc[seen["observation"] == "size_explains", "figures"].iloc[0]
    assert figures == {"size_low": 900, "size_high": 5000, "size_measure": "S"}


def test_sizes_that_overlap_explain_nothing():
    cases = [
        ("a", "delivered", 7000),
        ("b", "deferred", 5000),
        ("c", "delivered", 900),
        ("d", "deferred", 800),
    ]
    seen = values(sized(*cases), "timeout")
    assert (seen["size_explains"], seen["sizes_overlap"]) == (False, True)


def test_a_large_message_delivered_among_the_failures_speaks_against_lost_large_packets():
    among = [("a", "deferred", 700), ("b", "delivered", 20000), ("c", "deferred", 900)]
    assert values(sized(*among), "timeout")["oversize_delivered"] is True
    before = [("b", "delivered", 20000), ("a", "deferred", 700), ("c", "deferred", 900)]
    assert "oversize_delivered" not in values(sized(*before), "timeout")


def test_of_messages_that_are_all_larger_the_segment_that_is_lost_tells_the_bytes():
    """Three of 2000 octets whose second packet, of 1000, is lost; two of 900 octets pass."""
    rng = np.random.default_rng(7)

    def text(length):
        return bytes(rng.integers(97, 123, length, dtype=np.uint8))

    stuck = HANDSHAKE + "0.06 > A seq=1 ack=1 len=1000\n0.09 < A seq=1 ack=1001\n"
    stuck += "".join(f"{time} > A seq=1001 ack=1 len=1000\n" for time in (0.1, 0.4, 1, 2.2, 4.6))
    ends = [analysed(stuck, port=40001 + at) for at in range(3)] + [passes(940)] * 2
    joined = {"capture": 0, "matched_by": "ports"}
    tried = [attempt(str(at), **TIMEOUT, **joined, stream=at, size=2000) for at in range(3)]
    tried += [attempt(str(at), **joined, stream=at, size=900, outcome="delivered") for at in (3, 4)]
    row = {"capture": 0, "conflicting": False, "data_seq": 1001, "data_size": 2000, "data_seen": 2000}
    held = [row | {"stream": at, "message_id": str(at), "bytes_delivered": 1000} for at in range(3)]
    octets = {str(at): text(1500) + b"FORBIDDEN" + text(491) for at in range(3)} | {"3": text(900)}
    incident = typed(*ends, attempts=tried)
    more = {"transactions": tables.from_rows(held, "transactions"), "octets": octets | {"4": text(900)}}
    seen = observations(incident.__class__(**vars(incident) | more))
    found = seen[seen["observation"] == "pattern_explains"].iloc[0]
    assert (found["value"], found["figures"]) == (True, {"pattern_hex": b"FORBIDDEN".hex()})


# --- the path --------------------------------------------------------------------------------------------

REPAIRED = HANDSHAKE + (
    "0.05 > A seq=1 ack=1 len=500\n0.3 > A seq=1 ack=1 len=500\n0.33 < A seq=501 ack=1\n"
    "0.35 > A seq=501 ack=1 len=1400\n0.7 > A seq=501 ack=1 len=1400\n0.73 < A seq=1 ack=1901"
)
BEGUN = "\n".join(REPAIRED.splitlines()[len(HANDSHAKE.splitlines()) :])


def with_one_stuck(others, stuck):
    """Values of a delivery that came to a halt, where others went over the same path."""
    joined = {"capture": 0, "stream": len(others), "matched_by": "ports"}
    return values(typed(*others, stuck, attempts=[attempt("a", **TIMEOUT, **joined)]), "stall")


def test_loss_that_is_repaired_on_most_connections():
    seen = with_one_stuck([analysed(REPAIRED)] * 3, dies(1500))
    assert (seen["lossy"], seen["repaired"], seen["window_obeyed"]) == (True, True, True)


def test_loss_on_a_connection_that_stands_still_is_no_rate():
    assert with_one_stuck([passes(600)] * 3, dies(1500))["lossy"] is False


def test_a_segment_that_is_lost_to_the_end_is_no_rate_either():
    reply = (
        HANDSHAKE
        + "0.1 < PA seq=1 ack=1 len=70\n"
        + "".join(
            f"{time} > PA seq=1 ack=1 len=90\n{time} < A seq=71 ack=91\n{time} < PA seq=1 ack=91 len=70\n"
            for time in (0.3, 0.7, 1.5, 3.1, 6.3)
        )
    )
    seen = with_one_stuck([analysed(reply)] * 3, dies(1500))
    assert (seen["lossy"], seen["repaired"]) == (False, False)


MUTE = analysed(
    HANDSHAKE + "".join(line + "\n" for line in DIES.format(1460, 1461, 1521).splitlines() if "<" not in line)
)


def test_whether_loss_explains_that_large_packets_never_arrive():
    lossy = [analysed(REPAIRED)] * 3  # 6 of 12 lost
    assert with_one_stuck([passes(600)] * 3, dies(1500))["loss_explains"] is False
    assert with_one_stuck(lossy, dies(1500))["loss_explains"] is True
    assert with_one_stuck([*lossy, dies(1500)], dies(1500))["loss_explains"] is False


def test_whether_silence_is_the_paths_loss():
    assert with_one_stuck([passes(600)] * 3, MUTE)["silent"] is True
    assert with_one_stuck([analysed(REPAIRED)] * 3, MUTE)["silent"] is None


def test_without_syns_nothing_is_known_of_windows():
    stuck = dies(1500)
    seen = with_one_stuck([analysed(BEGUN)] * 3, stuck[stuck["flags"] & 2 == 0])
    assert (seen["window_misread"], seen["window_obeyed"]) == (None, None)


def test_healthy_paths_take_no_rows():
    seen = observations(typed(passes(600), later(passes(1300), 1)))
    assert seen.empty
