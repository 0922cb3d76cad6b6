"""The small capture of a finding, as tshark reads it."""

import subprocess

import pytest
from conftest import needs

import smtpkit
from smtpkit.excerpt import excerpt

FIELDS = [
    "frame.time_epoch",
    "frame.len",
    "ip.src",
    "ip.dst",
    "ip.len",
    "tcp.seq_raw",
    "tcp.ack_raw",
    "tcp.flags",
]
PORTS = (
    "tcp.port in {58482, 54054, 54076, 54080, 54092, 54928, 54930, 54940}"  # of the eight that the hole hits
)


@pytest.fixture(scope="module")
def incident(sample):
    return smtpkit.load(sample)


def tshark(path, *arguments):
    shown = [word for field in FIELDS for word in ("-e", field)]
    command = ["tshark", "-n", "-r", str(path), "-T", "fields", *shown, *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout


@needs("tshark")
def test_it_holds_the_connections_of_the_finding_and_no_payload(sample, incident, tmp_path):
    (finding,) = smtpkit.diagnose(incident).to_dict("records")
    made = tmp_path / "finding.pcapng"
    made.write_bytes(excerpt(incident, finding))
    assert tshark(made) == tshark(sample / "capture.pcap", "-Y", PORTS)
    assert b"MAIL FROM" in (sample / "capture.pcap").read_bytes()
    assert not any(word in made.read_bytes() for word in (b"MAIL FROM", b"EHLO", b"Subject"))


def test_without_connections_it_is_empty(incident):
    assert excerpt(incident, {"connections": []}) == b""


def test_it_is_read_like_the_whole(incident, tmp_path):
    (finding,) = smtpkit.diagnose(incident).to_dict("records")
    made = tmp_path / "finding.pcapng"
    made.write_bytes(excerpt(incident, finding))
    (again,) = smtpkit.diagnose(smtpkit.load(made)).to_dict("records")
    assert (again["cause"], again["peer"]) == ("pmtu_black_hole", "198.51.100.25")
