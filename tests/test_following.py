"""What is measured of each packet, and the two forms of the code that follows them."""

import random
import subprocess

import pandas as pd
import pytest
from conftest import needs
from conversation import analysed, conversation

from smtpkit import tcp
from smtpkit.capture import CaptureError, read_capture
from smtpkit.tcp import tracking

HANDSHAKE = "0 > S seq=0\n0.03 < SA seq=0 ack=1\n0.031 > A seq=1 ack=1\n"


def column(text, name):
    return analysed(HANDSHAKE + text)[name].tolist()[3:]


def test_bytes_in_flight_go_from_the_last_acknowledgment_to_what_was_sent():
    text = (
        "0.1 > A seq=1 ack=1 len=100\n0.1 > FA seq=101 ack=1 len=50\n0.13 < A seq=1 ack=101\n"
        "0.5 > FA seq=101 ack=1 len=50"
    )
    assert column(text, "bytes_in_flight") == [100, 150, pd.NA, 50]


def test_a_round_trip_is_measured_to_the_last_packet_that_is_acknowledged():
    text = "0.10 > A seq=1 ack=1 len=100\n0.11 > A seq=101 ack=1 len=100\n0.14 < A seq=1 ack=201\n"
    measured = column(text, "ack_rtt")
    assert measured[2] == pytest.approx(0.03)
    assert pd.isna(measured[:2]).all()


def test_after_a_repeat_nobody_knows_which_copy_was_acknowledged():
    text = "0.1 > A seq=1 ack=1 len=100\n0.4 > A seq=1 ack=1 len=100\n0.43 < A seq=1 ack=101"
    assert pd.isna(column(text, "ack_rtt")).all()
    text += "\n0.5 > A seq=101 ack=1 len=10\n0.53 < A seq=1 ack=111"
    assert column(text, "ack_rtt")[-1] == pytest.approx(0.03)


@needs("tshark")
def test_round_trips_and_bytes_in_flight_are_those_of_tshark(sample):
    names = ["tcp.analysis.bytes_in_flight", "tcp.analysis.ack_rtt"]
    fields = [word for name in ["frame.number", *names] for word in ("-e", name)]
    command = ["tshark", "-r", sample / "capture.pcap", "-T", "fields", "-E", "separator=,", *fields]
    lines = subprocess.run(command, check=True, capture_output=True, text=True).stdout.splitlines()
    theirs = pd.DataFrame([line.split(",") for line in lines], columns=["frame", "in_flight", "rtt"])
    theirs = theirs.apply(pd.to_numeric, errors="coerce").set_index("frame")
    ours = tcp.analysis(read_capture(sample / "capture.pcap")).set_index("frame").join(theirs)
    # tshark leaves out what SACK acknowledges.
    odd = (ours["retransmission"] | ours["sack"].notna()).groupby(ours["stream"]).cumsum() > 0
    plain = ours[ours["bytes_in_flight"].notna() & ~odd]
    assert len(plain) > 100
    assert (plain["bytes_in_flight"] == plain["in_flight"]).all()
    both = ours[ours["ack_rtt"].notna()]
    assert len(both) > 100
    assert both["ack_rtt"].astype(float).sub(both["rtt"]).abs().max() < 2e-6


def in_form(packets, monkeypatch, least):
    monkeypatch.setattr(tracking, "INTERPRETED_PACKETS", least)
    return tcp.analysis(packets)


def odd(chance):
    """A conversation in which anything may come."""
    lines = []
    for n in range(60):
        seq, ack = (chance.choice([0, 1, 100, 101, 1500, 2**31, 2**32 - 1]) for _ in range(2))
        words = f"{n / 7:.3f} {chance.choice('<>')} {chance.choice(['A', 'PA', 'SA', 'S', 'FA', 'R'])}"
        sack = f" sack={chance.randrange(9999)}-{chance.randrange(9999)}" * chance.randint(0, 1)
        lines.append(f"{words} seq={seq} ack={ack} len={chance.choice([0, 1, 100, 1400])} win={n % 3}{sack}")
    return conversation("\n".join(lines))


def test_both_forms_find_the_same(monkeypatch, sample):
    chance = random.Random(1)
    every = [read_capture(sample / "capture.pcap"), *(odd(chance) for _ in range(5))]
    for packets in every:
        interpreted = in_form(packets, monkeypatch, len(packets) + 1)
        pd.testing.assert_frame_equal(in_form(packets, monkeypatch, 0), interpreted)


def test_public_captures_look_the_same_in_both_forms(monkeypatch, corpora):
    for path in sorted((corpora / "captures").rglob("*.pcap"))[::7]:
        try:
            packets = read_capture(path)
        except CaptureError:
            continue
        interpreted = in_form(packets, monkeypatch, len(packets) + 1)
        pd.testing.assert_frame_equal(in_form(packets, monkeypatch, 0), interpreted)


def test_so_many_packets_in_flight_that_the_oldest_are_given_up():
    count = 9000
    text = HANDSHAKE + "".join(f"{n / 9000:.5f} > A seq={n * 10 + 1} ack=1 len=10\n" for n in range(count))
    delivered = analysed(text + f"2 < A seq=1 ack={count * 10 + 1}")["delivered"]
    assert delivered.iloc[3:-1].isna().sum() == count - 4000
    assert delivered.iloc[-4001:-1].all()
