"""The lab's parts by themselves, against dpkt and typed expectations; and two incidents made from scratch."""

import json
import os
import random
import re
import struct
import subprocess
import sys

import dpkt
import pytest
from conftest import ROOT, needs

import smtpkit
from lab import mainlog
from lab.boxes.blocked import Blocked, Outage
from lab.boxes.inspection import Inspection, SplitDot
from lab.boxes.loss import Loss
from lab.boxes.mtu import Clamp, DropFragments, Mtu
from lab.boxes.order import Duplicate, Reorder
from lab.boxes.state import Forget
from lab.boxes.window import ChangeScale, UnscaledWindow
from lab.incidents import PLANS
from lab.messages import Body, compose
from lab.packet import ACK, RST, SYN, Packet
from smtpkit import findings

HERE, THERE, ROUTER = bytes((192, 0, 2, 10)), bytes((198, 51, 100, 25)), "192.0.2.1"
HERE6, THERE6 = (bytes.fromhex(f"20010db8{n:04x}" + "00" * 9 + "25") for n in (1, 2))
MSS, SCALE_7 = b"\x02\x04\x05\xb4", b"\x01\x03\x03\x07"


def segment(
    payload=b"", *, seq=1000, ack=5000, flags=ACK, window=500, options=b"", forward=True, six=False, df=True
):
    """A TCP packet with right checksums, made by dpkt, between ports 40000 and 25."""
    ports = (40000, 25) if forward else (25, 40000)
    tcp = dpkt.tcp.TCP(
        sport=ports[0], dport=ports[1], seq=seq, ack=ack, flags=flags, win=window, data=payload
    )
    tcp.opts = options
    tcp.off = 5 + len(options) // 4
    ends = (HERE6, THERE6) if six else (HERE, THERE)
    source, target = ends if forward else ends[::-1]
    if six:
        ip = dpkt.ip6.IP6(src=source, dst=target, nxt=6, hlim=64, plen=len(tcp), data=tcp)
    else:
        ip = dpkt.ip.IP(src=source, dst=target, p=6, ttl=64, id=77, df=df, data=tcp)
        ip.len = len(ip)
    return Packet(bytes(ip), forward, "2001:db8:1::1" if six else ROUTER)


def through(box, *packets, seed=1):
    rng = random.Random(seed)
    return [list(box.take(packet, float(at), rng)) for at, packet in enumerate(packets)]


def passes(box, *packets):
    return [bool(out) for out in through(box, *packets)]


def internet_sum(data):
    """Fold the one's complement sum (RFC 1071); 0xFFFF where a checksum within is right."""
    total = sum(struct.unpack(f"!{(len(data) + 1) // 2}H", data + b"\0" * (len(data) % 2)))
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    return total


def tcp_checksum_is_right(packet):
    body = packet.data[packet.header :]
    return internet_sum(packet.source + packet.target + struct.pack("!II", len(body), 6) + body) == 0xFFFF


# --- packets -----------------------------------------------------------------------------------------------


def test_a_hop_less_keeps_the_header_checksum_right():
    fewer = segment(b"x").one_hop_less()
    assert dpkt.ip.IP(fewer.data).ttl == 63
    assert internet_sum(fewer.data[:20]) == 0xFFFF
    assert dpkt.ip6.IP6(segment(b"x", six=True).one_hop_less().data).hlim == 63


def test_fragments_join_to_what_they_were_cut_from():
    whole = segment(bytes(range(256)) * 6, df=False)
    parts = [dpkt.ip.IP(part.data) for part in whole.fragments(1300)]
    assert [(part.len, part.offset, part.mf) for part in parts] == [(1300, 0, 1), (296, 1280 // 8, 0)]
    assert (
        b"".join(bytes(part.data) if part.offset else part.data.pack() for part in parts) == whole.data[20:]
    )


@pytest.mark.parametrize("six", [False, True])
def test_an_icmp_error_says_the_mtu_and_quotes_the_packet(six):
    packet = segment(b"x" * 1460, six=six)
    (error,) = through(Mtu(1400), packet)[0]
    assert not error.forward
    assert (error.source, error.target) == (
        bytes.fromhex("20010db80001" + "00" * 9 + "01") if six else HERE[:3] + b"\1",
        packet.source,
    )
    kind, code, _, mtu = struct.unpack_from("!BBHI", error.data, error.header)
    assert (kind, code, mtu) == ((2, 0, 1400) if six else (3, 4, 1400))
    assert packet.data.startswith(error.data[error.header + 8 :])
    assert len(error.data) == (1280 if six else 576)
    message = error.data[error.header :]
    pseudo = error.source + error.target + struct.pack("!II", len(message), 58) if six else b""
    assert internet_sum(pseudo + message) == 0xFFFF


def test_a_forged_reset_goes_either_way_with_the_numbers_that_its_target_expects():
    packet = segment(b"bad word", seq=1000, ack=5000)
    back, on = packet.reset(to_sender=True), packet.reset(to_sender=False)
    assert (back.forward, back.tcp.seq, back.tcp.ack) == (False, 5000, 1008)
    assert (on.forward, on.tcp.seq, on.tcp.ack) == (True, 1000, 5000)
    assert all(each.tcp.flags & RST and tcp_checksum_is_right(each) for each in (back, on))


# --- boxes -------------------------------------------------------------------------------------------------


def test_loss_takes_its_share_alone_or_in_bursts():
    packets = [segment() for _ in range(4000)]
    for burst in (1, 5):
        lost = [not passed for passed in passes(Loss(0.2, burst=burst), *packets)]
        assert 0.15 < sum(lost) / len(lost) < 0.25
        runs = sum(now and not before for before, now in zip([False, *lost], lost, strict=False))
        assert 0.7 * (burst if burst > 1 else 1.25) < sum(lost) / runs < 1.3 * (burst if burst > 1 else 1.25)


def test_what_may_be_cut_up_is_cut_up_and_what_may_not_is_dropped():
    assert [
        len(out)
        for out in through(Mtu(1400, icmp=False), segment(b"x" * 1460), segment(b"x" * 1460, df=False))
    ] == [0, 2]
    assert passes(Mtu(1400, icmp=False, direction="reverse"), segment(b"x" * 1460)) == [True]


def test_fragments_are_dropped_all_or_but_the_first():
    parts = segment(b"x" * 1460, df=False).fragments(1300)
    assert passes(DropFragments(), *parts, segment()) == [False, False, True]
    assert passes(DropFragments("later"), *parts) == [True, False]


def test_the_mss_is_lowered_in_syns_and_never_raised():
    (syn,), (low,) = through(
        Clamp(1400), segment(flags=SYN, options=MSS), segment(flags=SYN, options=b"\x02\x04\x01\x00")
    )
    assert syn.tcp.options == b"\x02\x04\x05\x50"
    assert low.tcp.options == b"\x02\x04\x01\x00"
    assert tcp_checksum_is_right(syn)


def test_a_held_packet_is_late_and_a_duplicate_comes_twice():
    assert through(Reorder(1, held=0.5), segment())[0][0].delay == 0.5
    assert len(through(Duplicate(1), segment())[0]) == 2


def test_inspection_drops_the_segment_forgets_or_resets():
    packets = segment(b"a\0b"), segment(b"fine", seq=1003)
    assert passes(Inspection(b"\0"), *packets) == [False, True]
    assert passes(Inspection(b"\0", "forget"), *packets) == [False, False]
    (resets, after) = through(Inspection(b"\0", "reset both"), *packets)
    assert [(each.forward, bool(each.tcp.flags & RST)) for each in resets] == [(False, True), (True, True)]
    assert after == []


@pytest.mark.parametrize(
    ("cut", "passed"), [(0, True), (1, False), (2, False), (3, False), (4, False), (5, True)]
)
def test_the_rest_of_an_end_of_data_that_is_cut_is_dropped_each_time(cut, passed):
    text = b"line\r\n.\r\n"
    one, other = segment(text[: 4 + cut]), segment(text[4 + cut :] or b"QUIT", seq=1004 + cut)
    assert passes(SplitDot(), one, other, other) == [True, passed, passed]


def test_a_forgotten_connection_is_dead_both_ways():
    syn, data, back = segment(flags=SYN), segment(b"x" * 900), segment(forward=False)
    assert passes(Forget(octets=1000), syn, data, data, back, segment()) == [True, True, True, False, False]
    assert passes(Forget(idle=0.5), syn, data) == [True, False]
    assert passes(Forget(age=1.5), syn, data, data) == [True, True, False]
    assert [out[0].forward for out in through(Forget(idle=0.5, reset=True), syn, data)] == [True, False]


def test_data_beyond_the_window_as_it_stands_in_the_header_is_dropped():
    window = segment(forward=False, seq=5000, ack=1000, window=500)
    within, beyond = segment(b"x" * 500), segment(b"x", seq=1500)
    assert passes(UnscaledWindow(), window, within, beyond) == [True, True, False]


def test_the_window_scale_is_stripped_or_zeroed():
    syn = segment(flags=SYN | ACK, options=MSS + SCALE_7, forward=False)
    (stripped,), (zeroed,) = (through(ChangeScale(change, "reverse"), syn)[0] for change in ("strip", "zero"))
    assert stripped.tcp.options == MSS + b"\x01\x01\x01\x01"
    assert zeroed.tcp.options == MSS + b"\x01\x03\x03\x00"
    assert tcp_checksum_is_right(stripped)
    assert tcp_checksum_is_right(zeroed)


def test_blocked_and_outage():
    assert passes(Blocked(), segment(flags=SYN), segment(forward=False)) == [False, True]
    assert through(Blocked((3, 13)), segment(flags=SYN))[0][0].data[20:22] == b"\x03\x0d"
    assert passes(Outage(1, 2), *(segment() for _ in range(3))) == [True, False, True]


# --- messages and logs -------------------------------------------------------------------------------------


@pytest.mark.parametrize("body", [Body(), Body(line=1500), Body(holds=b"\0\0"), Body(holds=b"\0", place=1)])
def test_messages_have_the_size_that_is_asked_for(body):
    for size in (320, 321, 999, 5000):
        message = compose(random.Random(size), "a@example.org", ["b@example.net"], size, body)
        assert len(message) == size
        assert message.count(b"\n") == message.count(b"\r\n")
        assert body.holds in message
    longest = max(map(len, message.split(b"\r\n")))
    assert body.line - 20 <= longest <= body.line + len(body.holds)


LOG = """\
2026-11-22 16:00:01 1aBcDe-000001-2x <= a@example.org H=(x) [192.0.2.10] P=esmtp S=400
2026-11-22 16:00:02 +0100 [77] 1aBcDe-000001-2x H=mx.net [198.51.100.25]: SMTP timeout
2026-11-22 16:00:02 1aBcDe-000001-2x == b@example.net R=r T=t defer (110) H=mx.net [198.51.100.25]
2026-11-22 16:00:03 1aBcDe-000002-2x == b@example.net R=r T=t defer (-53): retry time not reached for any host
2026-11-22 16:00:04.123 1aBcDe-000003-2x Completed
"""


def test_a_log_tells_failed_from_skipped_and_done():
    assert mainlog.failed(LOG, "198.51.100.25") == {"1aBcDe-000001-2x"}
    assert mainlog.failed(LOG, "203.0.113.25") == set()
    assert mainlog.completed(LOG) == {"1aBcDe-000003-2x"}
    assert mainlog.received(LOG) == {"1aBcDe-000001-2x"}


def test_plans_are_of_a_kind():
    assert len({plan.seed for plan in PLANS.values()}) == len(PLANS)
    for name, plan in PLANS.items():
        assert 8 <= len(plan.mails) <= 40, name
        assert bool(plan.faults) != bool(plan.looks_like), name
        assert re.fullmatch(r"[a-z0-9-]+", name)


# --- incidents from scratch --------------------------------------------------------------------------------


def can_make_namespaces():
    """Whether this machine lets us; in a child, which the attempt cannot harm."""
    attempt = f"import ctypes, sys; sys.exit(ctypes.CDLL(None).unshare({0x40000000}) != 0)"
    return os.geteuid() == 0 and subprocess.run([sys.executable, "-c", attempt], check=False).returncode == 0


@needs("exim4")
@needs("tcpdump")
@needs("ethtool")
@pytest.mark.skipif(
    not can_make_namespaces() and "namespaces" not in os.environ.get("SMTPKIT_REQUIRE", ""),
    reason="network namespaces need root",
)
@pytest.mark.parametrize("name", ["no-session-without-tls", "monday-morning"])
def test_an_incident_made_from_scratch_is_found(name, tmp_path):
    subprocess.run([sys.executable, "-m", "lab", name, "-o", tmp_path], check=True, cwd=ROOT, timeout=500)
    truth = json.loads((tmp_path / name / "truth.json").read_text())
    (tmp_path / name / "truth.json").rename(tmp_path / "truth.json")
    incident = smtpkit.load(tmp_path / name)
    document = findings.document(incident, smtpkit.diagnose(incident))
    found = [each for each in document["findings"] if each["severity"] in ("error", "warn")]
    assert [(each["cause"], each["peer"], each["direction"], each["messages"]) for each in found] == [
        (fault["cause"], fault["peer"], fault["direction"], fault["affected"]) for fault in truth["faults"]
    ]
