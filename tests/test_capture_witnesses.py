"""The same captures read by others: tshark, field by field, and dpkt."""

import struct
import subprocess

import dpkt
import pandas as pd
import pytest
from capture_bytes import (
    ACK,
    FIN,
    LAYERS,
    SEGMENT,
    START,
    SYN,
    back,
    block,
    enhanced,
    interface,
    ip4,
    old,
    option,
    out,
    pcap,
    section,
    tcp,
)
from conftest import CORPORA, ROOT, needs
from hypothesis import given, settings
from hypothesis import strategies as st

from smtpkit.capture import read_capture

# column -> tshark's field on IPv4 and on IPv6; of an encapsulated packet its last value counts
FIELDS = {
    "frame_len": ("frame.len", "frame.len"),
    "captured_len": ("frame.cap_len", "frame.cap_len"),
    "src": ("ip.src", "ipv6.src"),
    "dst": ("ip.dst", "ipv6.dst"),
    "ip_len": ("ip.len", "ipv6.plen"),
    "ttl": ("ip.ttl", "ipv6.hlim"),
    "ip_id": ("ip.id", None),
    "df": ("ip.flags.df", None),
    "fragment_offset": ("ip.frag_offset", "ipv6.fraghdr.offset"),
    "more_fragments": ("ip.flags.mf", "ipv6.fraghdr.more"),
    "src_port": ("tcp.srcport", "tcp.srcport"),
    "dst_port": ("tcp.dstport", "tcp.dstport"),
    "tcp_len": ("tcp.len", "tcp.len"),
    "tcp_header_len": ("tcp.hdr_len", "tcp.hdr_len"),
    "seq": ("tcp.seq_raw", "tcp.seq_raw"),
    "ack": ("tcp.ack_raw", "tcp.ack_raw"),
    "flags": ("tcp.flags", "tcp.flags"),
    "window": ("tcp.window_size_value", "tcp.window_size_value"),
    "mss": ("tcp.options.mss_val", "tcp.options.mss_val"),
    "window_scale": ("tcp.options.wscale.shift", "tcp.options.wscale.shift"),
    "ts_value": ("tcp.options.timestamp.tsval", "tcp.options.timestamp.tsval"),
    "ts_echo": ("tcp.options.timestamp.tsecr", "tcp.options.timestamp.tsecr"),
    "icmp_type": ("icmp.type", "icmpv6.type"),
    "icmp_code": ("icmp.code", "icmpv6.code"),
    "next_hop_mtu": ("icmp.mtu", "icmpv6.mtu"),
    "stream": ("tcp.stream", "tcp.stream"),
}
SACK = ["tcp.options.sack_perm", "tcp.options.sack_le", "tcp.options.sack_re"]
EXTRA = ["frame.number", "frame.time_epoch", "tcp.checksum.status", *SACK]
BAD = "0"  # tcp.checksum.status
TCP_ONLY = {n for n in FIELDS if FIELDS[n][0].startswith("tcp.") and n != "stream"} | {"sack"}

# Wireshark gives no length to a first fragment (ours is what it holds itself), nor a stream to later ones.
FRAGMENTS_LACK = {"tcp_len", "stream"}
# Where the two differ, and why: (file, column) -> number of packets.
UNREAD = "a layer that is not read"
EXCEPTIONS = {
    # IP length beyond the frame's end, or beyond PPPoE's length: ours follows the IP header, theirs the rest.
    ("reassembly.pcap", "tcp_len"): 5,
    ("pppoe-over-qinq.pcap", "tcp_len"): 6,
    # 12 bytes of the TCP header were captured: ours has seq, theirs stops before.
    ("tcp_header_heapoverflow.pcap", "seq"): 1,
    # The options were cut off: ours does not say that SACK was not permitted.
    ("beep-oobr.pcap", "sack_permitted"): 1,
    ("heapoverflow-tcp_print.pcap", "sack_permitted"): 1,
    ("tcp_header_heapoverflow.pcap", "sack_permitted"): 1,
    # Teredo, NFLOG and 802.11 inside GRE.
    ("Teredo.pcap", UNREAD): 3,
    ("nflog-http.pcap", UNREAD): 13,
    ("gre-aruba.pcap", UNREAD): 2407,
}


def captures():
    paths = [*CORPORA.glob("captures/**/*"), *ROOT.glob("data/samples/*/*.pcap*")]
    return sorted(path for path in paths if path.is_file() and path.name != "ORIGIN.txt")


def tshark(path):
    """Return what tshark says of each packet, as text."""
    fields = list(dict.fromkeys([f for pair in FIELDS.values() for f in pair if f] + EXTRA))
    options = [
        "tcp.check_checksum:TRUE",
        "ip.defragment:FALSE",
        "ipv6.defragment:FALSE",
        "tcp.relative_sequence_numbers:FALSE",
    ]
    command = ["tshark", "-n", "-r", str(path), "-T", "fields", "-E", "separator=|", "-E", "occurrence=a"]
    command += ["-d", "udp.port==8472,vxlan"]  # Linux's own port; to Wireshark it is that of OTV
    command += [word for o in options for word in ("-o", o)] + [word for f in fields for word in ("-e", f)]
    text = subprocess.run(command, capture_output=True, text=True, check=False).stdout
    return pd.DataFrame([line.split("|") for line in text.splitlines()], columns=fields, dtype=object)


def number(text):
    """Read a number as tshark writes it: decimal, hexadecimal, a truth value, or nothing."""
    if text == "":
        return pd.NA
    return int(text == "True") if text in ("True", "False") else int(text, 0)


def expected(line, row):
    """Return tshark's `line` in our terms, given the IP version and kind of our `row`."""
    # The quoted headers of an ICMP error come after its own; those of a tunnel come before the inner ones.
    take = 0 if pd.notna(row.icmp_type) else -1
    version = int(row.ip_version == 6)
    values = {n: line[pair[version]].split(",")[take] for n, pair in FIELDS.items() if pair[version]}
    result = {n: v if n in ("src", "dst") else number(v) for n, v in values.items()}
    lefts, rights = line["tcp.options.sack_le"], line["tcp.options.sack_re"]
    pairs = zip(lefts.split(","), rights.split(","), strict=True)
    result["sack"] = " ".join("-".join(pair) for pair in pairs) if lefts else pd.NA
    result["sack_permitted"] = bool(line["tcp.options.sack_perm"]) if pd.notna(row.seq) else pd.NA
    seconds, _, fraction = line["frame.time_epoch"].partition(".")
    result["time"] = pd.Timestamp(int(seconds) * 10**9 + int(fraction.ljust(9, "0")), tz="UTC")
    if version:
        result["ip_len"] += 40
        absent = result["fragment_offset"] is pd.NA
        result |= {"fragment_offset": 0, "more_fragments": 0} if absent else {}
    result["fragment_offset"] *= 8  # both fields count in units of 8 bytes
    return {n: pd.NA if take == 0 and n in TCP_ONLY else v for n, v in result.items()}


def differences(path):
    """Return how many packets differ in each column."""
    ours, found = read_capture(path).set_index("frame"), {}
    for line in tshark(path).to_dict("records"):
        frame = int(line["frame.number"])
        if frame in ours.index:
            row = ours.loc[frame]
            wrong = [n for n, v in expected(line, row).items() if not same(row[n], v)]
            if row.more_fragments or row.fragment_offset:
                wrong = [n for n in wrong if n not in FRAGMENTS_LACK]
            bad = BAD in line["tcp.checksum.status"].split(",")
            wrong += ["checksum_offload"] * bool(row.checksum_offload and not bad)
        else:
            wrong = [UNREAD] * bool(line["tcp.seq_raw"] or line["icmp.type"] or line["icmpv6.type"])
        for column in wrong:
            found[path.name, column] = found.get((path.name, column), 0) + 1
    return found


def same(a, b):
    return (pd.isna(a) and pd.isna(b)) or (pd.notna(a) and pd.notna(b) and a == b)


@needs("tshark")
@pytest.mark.parametrize("path", captures(), ids=lambda path: path.name)
def test_every_packet_is_as_tshark_says(path):
    assert differences(path) == {key: n for key, n in EXCEPTIONS.items() if key[0] == path.name}


@needs("tshark")
@pytest.mark.parametrize(("link", "header", "outer_len"), LAYERS)
def test_tshark_sees_the_same_inside_other_layers(tmp_path, link, header, outer_len):
    path = tmp_path / "a.pcap"
    path.write_bytes(pcap(bytes.fromhex(header) + SEGMENT, link=link))
    assert differences(path) == {}


CLOCK = START * 10**9 + 123456789
HEAD = (0xA1B2CD34, 2, 4, 0, 0, 65535, 101)
RECORD = (START, 7, 45, 45, 2, 0x800, 0)
CONTAINERS = {
    "nanoseconds, big-endian": pcap(SEGMENT, order=">", nano=True),
    "modified": struct.pack("<IHHiIII", *HEAD) + struct.pack("<IIIIIHBx", *RECORD) + SEGMENT,
    "modified, big-endian": struct.pack(">IHHiIII", *HEAD) + struct.pack(">IIIIIHBx", *RECORD) + SEGMENT,
    "clock of powers of 10": section() + interface(options=option(9, b"\x09")) + enhanced(SEGMENT, CLOCK),
    "clock of powers of 2": section()
    + interface(options=option(9, b"\x8a"))
    + enhanced(SEGMENT, (START << 10) + 512),
    "clock with an offset": section()
    + interface(options=option(14, struct.pack("<q", -3600)))
    + enhanced(SEGMENT),
    "sections and interfaces": section(">")
    + interface(order=">")
    + enhanced(SEGMENT, order=">")
    + section()
    + interface(0)
    + interface()
    + block(0x77, b"1234")
    + enhanced(out(7), number=1)
    + old(b"\2\0\0\0" + SEGMENT),
}


@needs("tshark")
@pytest.mark.parametrize("data", CONTAINERS.values(), ids=CONTAINERS)
def test_tshark_reads_the_same_from_other_containers(tmp_path, data):
    path = tmp_path / "a.pcap"
    path.write_bytes(data)
    assert differences(path) == {}
    assert len(read_capture(path))


def quoting(packet, size):
    return ip4(bytes.fromhex("0304 0000 0000 0578") + packet[:size], 1, src="203.0.113.9", dst="192.0.2.1")


STREAMS = {
    "SYN repeated": [out(5, flags=SYN), out(5, flags=SYN), back(9, 6, SYN | ACK)],
    "SYN anew": [out(5, flags=SYN), out(7, flags=SYN), back(9, 8, SYN | ACK)],
    "SYN-ACK first": [back(9, 6, SYN | ACK), out(5, flags=SYN), out(6, 10)],
    "SYN late": [out(6, 10, data=b"x"), out(5, flags=SYN), out(99, flags=SYN), out(100, 10, FIN | ACK)],
    "two SYN-ACKs": [out(5, flags=SYN), back(9, 6, SYN | ACK), back(77, 6, SYN | ACK), out(6, 78)],
    "one end": [ip4(tcp(5, flags=f, ports=(25, 25)), dst="192.0.2.1") for f in (SYN, SYN | ACK)],
    "quoted only": [quoting(out(6, 10, data=b"x" * 50), 40), ip4(tcp(5, ports=(1001, 25))), back(9, 6)],
    "a SYN quoted": [out(5, flags=SYN), quoting(out(7, flags=SYN), 40), out(7, flags=SYN)],
    "bad header length": [out(5)[:32] + b"\x10" + out(5)[33:], out(5, flags=SYN), out(6, flags=SYN)],
    "first fragment": [ip4(tcp(5, flags=SYN), fragment=0x2000), out(6, flags=SYN)],
}


@needs("tshark")
@pytest.mark.parametrize("packets", STREAMS.values(), ids=STREAMS)
def test_streams_are_tsharks(tmp_path, packets):
    path = tmp_path / "a.pcap"
    path.write_bytes(pcap(*packets))
    assert read_capture(path)["stream"].tolist() == [number(s) for s in tshark(path)["tcp.stream"]]


ADDRESS = st.binary(min_size=4, max_size=4)
WORD, HALF = st.integers(0, 2**32 - 1), st.integers(0, 2**16 - 1)
SEGMENTS = st.builds(
    lambda src, dst, ident, ttl, segment: dpkt.ip.IP(src=src, dst=dst, id=ident, ttl=ttl, p=6, data=segment),
    ADDRESS,
    ADDRESS,
    HALF,
    st.integers(0, 255),
    st.builds(
        lambda **fields: dpkt.tcp.TCP(**fields),
        sport=HALF,
        dport=HALF,
        seq=WORD,
        ack=WORD,
        flags=st.integers(0, 255),
        win=HALF,
        data=st.binary(max_size=50),
    ),
)


@settings(max_examples=200, deadline=None)
@given(packets=st.lists(SEGMENTS, min_size=1, max_size=5))
def test_what_dpkt_writes_is_read_back(packets, tmp_path_factory):
    path = tmp_path_factory.mktemp("dpkt") / "a.pcap"
    with path.open("wb") as file:
        writer = dpkt.pcap.Writer(file, linktype=dpkt.pcap.DLT_EN10MB)
        for packet in packets:
            writer.writepkt(dpkt.ethernet.Ethernet(type=0x0800, data=packet), 1_700_000_000)
    ours = read_capture(path)
    assert ours["src"].tolist() == [dpkt.utils.inet_to_str(p.src) for p in packets]
    assert ours[["ip_id", "ttl"]].to_numpy().tolist() == [[p.id, p.ttl] for p in packets]
    columns = ["src_port", "dst_port", "seq", "ack", "flags", "window", "tcp_len"]
    theirs = [(p.data, len(p.data.data)) for p in packets]
    expected = [[t.sport, t.dport, t.seq, t.ack, t.flags, t.win, size] for t, size in theirs]
    assert ours[columns].to_numpy().tolist() == expected
