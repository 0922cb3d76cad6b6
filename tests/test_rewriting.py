"""A redacted capture: nothing of the original in it but headers, which all read the same way."""

import re
import socket
import subprocess
from ipaddress import ip_address

import pytest
from capture_bytes import (
    ACK,
    CLIENT,
    CLIENT6,
    LAYERS,
    SEGMENT,
    SERVER,
    SERVER6,
    SYN,
    enhanced,
    interface,
    ip4,
    ip6,
    option,
    out,
    pcap,
    section,
    tcp,
)
from capture_seeds import FILES
from conftest import ROOT, needs
from hypothesis import given
from hypothesis import strategies as st

from smtpkit.addresses import prefix_preserving
from smtpkit.capture import CaptureError, Reader, read_capture
from smtpkit.capture.rewriting import _Rewriter, redact_capture

MAPPED = prefix_preserving(bytes(range(32)))
SECRETS = [
    *(socket.inet_aton(address) for address in (CLIENT, SERVER)),
    *(socket.inet_pton(socket.AF_INET6, address) for address in (CLIENT6, SERVER6)),
    *(b"QUIT", b"five!", bytes.fromhex("020000000001"), bytes.fromhex("020000000002")),
]
UNLIKE = ["file", "captured_len", "payload_offset"]  # what a shorter copy must differ in
SAMPLES = ("pmtu-black-hole", "mail-by-ipv6", "radio-link")


def rewritten(tmp_path, data):
    """Write `data` and its redacted copy; return both paths."""
    given, copy = tmp_path / "given", tmp_path / "copy.pcapng"
    given.write_bytes(data)
    redact_capture(given, copy, MAPPED)
    return given, copy


def other(address):
    return str(MAPPED(ip_address(address)))


def check(given, copy):
    before, after = (read_capture(path).drop(columns=UNLIKE) for path in (given, copy))
    for end in ("src", "dst"):
        assert after[end].tolist() == [other(address) for address in before[end]]
    rest = before.columns.drop(["src", "dst"])
    assert after[rest].astype("string").equals(before[rest].astype("string"))


@pytest.mark.parametrize("name", FILES)
def test_each_container_reads_the_same_and_holds_no_original(tmp_path, name):
    given, copy = rewritten(tmp_path, FILES[name])
    if name != "pcapng":  # simple packets have no time, those that are written have one
        check(given, copy)
    assert not [secret for secret in SECRETS if secret in copy.read_bytes()]


@pytest.mark.parametrize(("link", "header", "outer_len"), LAYERS)
def test_each_layer_reads_the_same_and_holds_no_original(tmp_path, link, header, outer_len):
    given, copy = rewritten(tmp_path, pcap(bytes.fromhex(header) + SEGMENT, link=link))
    check(given, copy)
    assert not [secret for secret in SECRETS if secret in copy.read_bytes()]


def test_the_quote_of_an_icmp_error_is_rewritten(tmp_path):
    quote4 = bytes.fromhex("0304 0000 0000 0578") + SEGMENT
    quote6 = bytes.fromhex("0200 0000 00000500") + ip6(tcp(5, data=b"QUIT"), src=CLIENT6)
    redirect = bytes.fromhex("0501 0000") + socket.inet_aton(CLIENT) + SEGMENT
    given, copy = rewritten(tmp_path, pcap(out(1000), ip4(quote4, 1), ip6(quote6, 58), ip4(redirect, 1)))
    check(given, copy)
    assert not [secret for secret in SECRETS if secret in copy.read_bytes()]
    assert socket.inet_aton(other(SERVER)) in copy.read_bytes()


def test_options_that_may_hold_addresses_are_blanked(tmp_path):
    route = bytes.fromhex("4700 0030 00014000 4006 0000") + SEGMENT[12:20] + b"\x07\x07\x04" + b"QUIT\0"
    multipath = bytes.fromhex("1e08 3001") + b"QUIT" + bytes.fromhex("020405b4")  # MPTCP's ADD_ADDR
    data = pcap(route + tcp(1), out(1, flags=SYN, options=multipath))
    given, copy = rewritten(tmp_path, data)
    check(given, copy)
    assert read_capture(copy)["mss"].tolist()[1] == 1460
    assert b"QUIT" not in copy.read_bytes()


def test_interfaces_and_losses_are_told(tmp_path):
    given, copy = rewritten(tmp_path, FILES["pcapng"])
    rows = []
    for path in (given, copy):
        reader = Reader(path)
        list(reader)
        rows.append(reader.captures)
    same = ["link_type", "snap_length", "filter", "dropped", "packets", "last"]
    assert rows[0][same].equals(rows[1][same])


def test_addresses_of_a_capture_filter_are_mapped(tmp_path):
    rule = option(11, b"\0host 192.0.2.1 and not host mx.example.org") + option(0, b"")
    _, copy = rewritten(tmp_path, section() + interface(options=rule) + enhanced(SEGMENT))
    reader = Reader(copy)
    list(reader)
    assert reader.captures["filter"].item() == f"host {other(CLIENT)} and not host (withheld)"


def test_what_is_no_capture_is_refused_and_leaves_nothing(tmp_path):
    with pytest.raises(CaptureError, match="neither pcap nor pcapng"):
        rewritten(tmp_path, b"no capture at all")
    assert [path.name for path in tmp_path.iterdir()] == ["given"]


@given(st.sampled_from(LAYERS), st.data())
def test_no_packet_stops_it_or_grows(layer, data):
    frame = bytearray(bytes.fromhex(layer[1]) + data.draw(st.sampled_from([SEGMENT, ip6(tcp(1, flags=ACK))])))
    for _ in range(data.draw(st.integers(0, 4))):
        frame[data.draw(st.integers(0, len(frame) - 1))] = data.draw(st.integers(0, 255))
    frame = frame[: data.draw(st.integers(0, len(frame)))]
    size = len(frame)
    assert len(_Rewriter(MAPPED).rewrite(frame, layer[0] & 0xFFFF, size)) <= size


FIELDS = [
    *("frame.number", "frame.time_epoch", "frame.len", "ip.len", "ip.flags.df", "ip.frag_offset"),
    *("ip.ttl", "ipv6.plen", "tcp.srcport", "tcp.dstport", "tcp.seq", "tcp.ack", "tcp.flags"),
    *("tcp.window_size", "tcp.len", "tcp.stream", "tcp.options.mss_val", "tcp.options.sack_le"),
    *("tcp.options.timestamp.tsval", "tcp.analysis.retransmission", "tcp.analysis.duplicate_ack"),
    *("tcp.analysis.lost_segment", "tcp.analysis.out_of_order", "tcp.analysis.zero_window"),
    *("icmp.type", "icmp.mtu", "icmpv6.type", "icmpv6.mtu", "ip.checksum.status"),
]


def tshark(path, *fields):
    asked = [word for field in fields for word in ("-e", field)]
    checked = [word for layer in ("ip", "tcp") for word in ("-o", f"{layer}.check_checksum:TRUE")]
    command = ["tshark", "-n", "-r", path, "-T", "fields", *checked, *asked]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout.splitlines()


@needs("tshark")
@pytest.mark.parametrize("sample", SAMPLES)
def test_tshark_and_smtpkit_read_the_same(tmp_path, sample):
    given = next((ROOT / "data" / "samples" / sample).glob("*.pcap*"))
    copy = tmp_path / "copy.pcapng"
    count = redact_capture(given, copy, MAPPED)
    check(given, copy)
    lines = tshark(copy, *FIELDS)
    assert len(lines) == count
    assert lines == tshark(given, *FIELDS)


@needs("tshark")
def test_a_right_checksum_stays_right_and_a_wrong_one_wrong(tmp_path, sample):
    copy = tmp_path / "copy.pcapng"
    redact_capture(sample / "capture.pcap", copy, MAPPED)
    asked = ("tcp.len", "ip.checksum.status", "tcp.checksum.status")
    before, after = (tshark(path, *asked) for path in (sample / "capture.pcap", copy))
    empty = [n for n, line in enumerate(before) if re.match(r"0\t", line)]  # the rest has lost its payload
    assert [after[n] for n in empty] == [before[n] for n in empty]
    assert {before[n] for n in empty} >= {"0\t1\t1"}
