"""What packets say: each header, made by hand, becomes the columns that a person would read off it."""

import struct

import pandas as pd
import pytest
from capture_bytes import (
    ACK,
    CLIENT,
    CLIENT6,
    ENDS6,
    ETHERNET,
    FIN,
    LAYERS,
    OUTER_GRE,
    OUTER_UDP,
    RST,
    SEGMENT,
    SERVER,
    SERVER6,
    START,
    SYN,
    VXLAN,
    back,
    ip4,
    ip6,
    out,
    pcap,
    tcp,
)

from smtpkit import tables
from smtpkit.capture import Reader, payload_of, read_capture, read_payload


@pytest.fixture
def read(tmp_path):
    def read(*packets, **kwargs):
        (tmp_path / "a.pcap").write_bytes(pcap(*packets, **kwargs))
        return read_capture(tmp_path / "a.pcap")

    return read


@pytest.fixture
def reader(tmp_path):
    def reader(*packets, **kwargs):
        (tmp_path / "a.pcap").write_bytes(pcap(*packets, **kwargs))
        reader = Reader(tmp_path / "a.pcap")
        return reader, list(reader)

    return reader


def skipped(reader):
    return reader.skipped[["reason", "count", "where"]].to_numpy().tolist()


def test_every_field_of_a_segment(read):
    row = read(SEGMENT).loc[0]
    expected = {
        "capture": 0,
        "frame": 1,
        "time": pd.Timestamp("2023-11-14 22:13:20.000007", tz="UTC"),
        "frame_len": 45,
        "captured_len": 45,
        "src": "192.0.2.1",
        "dst": "198.51.100.25",
        "src_port": 40000,
        "dst_port": 25,
        "ip_version": 4,
        "ip_protocol": 6,
        "ip_len": 45,
        "ttl": 63,
        "ip_id": 4660,
        "df": True,
        "fragment_offset": 0,
        "more_fragments": False,
        "tcp_len": 5,
        "tcp_header_len": 20,
        "seq": 1000,
        "ack": 2000,
        "flags": 0x018,
        "window": 501,
        "sack_permitted": False,
        "outer_len": 0,
        "stream": 0,
    }
    assert {k: row[k] for k in expected} == expected
    absent = {"mss", "window_scale", "sack", "ts_value", "ts_echo", "icmp_type", "icmp_code", "next_hop_mtu"}
    assert set(row.index[row.isna()]) == absent | {"quoted_ip_len", "payload_offset"}


@pytest.mark.parametrize(("link", "header", "outer_len"), LAYERS)
def test_link_layers_and_tunnels(read, link, header, outer_len):
    header = bytes.fromhex(header)
    packets = read(header + SEGMENT, link=link)
    columns = ["frame_len", "src", "dst_port", "ip_len", "seq", "tcp_len", "outer_len"]
    (row,) = packets[columns].to_numpy().tolist()
    assert row == [len(header) + 45, "192.0.2.1", 25, 45, 1000, 5, outer_len]


@pytest.mark.parametrize(
    ("link", "header"),
    [
        (1, ETHERNET + "86dd"),
        (229, ""),
        (101, ""),
        (0, "1e000000"),
        (0, "0000000a"),
        (9, "ff030057"),
        (101, "45000055 00010000 40290000 c0000201 c6336419"),  # 6in4
    ],
)
def test_ipv6_in_its_link_layers(read, link, header):
    packets = read(bytes.fromhex(header) + ip6(tcp(7, data=b"x")), link=link)
    columns = ["src", "dst", "ip_version", "ip_len", "ttl", "ip_id", "df", "seq", "tcp_len"]
    assert packets[columns].to_numpy().tolist() == [
        ["2001:db8::1", "2001:db8:0:25::2", 6, 61, 64, pd.NA, pd.NA, 7, 1]
    ]


@pytest.mark.parametrize(
    ("header", "reason"),
    [
        (OUTER_GRE + "1000 88be 00000001", "GRE is not read"),  # ERSPAN
        (OUTER_GRE + "0000 0800 15", "damaged IP header"),
        (OUTER_UDP, "UDP is not read"),  # no VXLAN in it
        (OUTER_UDP + VXLAN.replace("0800 0000", "0000 0000"), "UDP is not read"),
        (OUTER_UDP + "0800 0000 00000700" + ETHERNET + "0806", "UDP is not read"),
        (OUTER_UDP.replace("12b5", "17c1") + "4000 0800 00000700", "UDP is not read"),  # Geneve of version 1
        (OUTER_GRE.replace("0000 402f", "2001 402f") + "0000 0800", "GRE is not read"),  # a later fragment
        ("45000041 00010000 40040000 c0000201 c6336419" * 9, "IP in IP is not read"),
        ("60000000 002d 3c 40" + ENDS6 + "04ff 0401 04010100", "IP in IP is not read"),  # beyond the frame
    ],
)
def test_tunnels_that_are_declined_or_damaged_are_counted(reader, header, reason):
    assert skipped(reader(bytes.fromhex(header) + SEGMENT)[0]) == [[reason, 1, "frame 1"]]


def test_tcp_options(read):
    options = bytes.fromhex("020405b4 0402 080a 00000009 00000008 01 030307")
    packets = read(ip4(tcp(1, flags=SYN, options=options)))
    columns = ["mss", "window_scale", "sack_permitted", "ts_value", "ts_echo", "tcp_header_len"]
    assert packets[columns].to_numpy().tolist() == [[1460, 7, True, 9, 8, 40]]


def summed(packet, at, checksum):
    return packet[: at + 16] + struct.pack(">H", checksum) + packet[at + 18 :]


def test_a_checksum_left_to_the_network_card(read, reader):
    # c000 + 0201 + c633 + 6419 + 6 (TCP) + 25 (its length) = 1ec6c, the carry added: ec6d
    # 2001 + 0db8 + 1 + 2001 + 0db8 + 25 + 2 + 6 + 21 = 5bb5
    six = ip6(tcp(1, data=b"x"))
    given = [(SEGMENT, 20, 0xEC6D), (SEGMENT, 20, 0xEC6C), (SEGMENT, 20, 0), (six, 40, 0x5BB5), (six, 40, 1)]
    packets = [summed(*one) for one in given]
    expected = [True, False, False, True, False]
    assert read(*packets)["checksum_offload"].tolist() == expected
    _, [(cut, _)] = reader(packets[0], snap=38)
    assert cut["checksum_offload"].tolist() == [True]
    _, [(cut, _)] = reader(packets[0], snap=37)
    assert cut["checksum_offload"].tolist() == [False]


def test_sack_blocks(read):
    options = bytes.fromhex("0101 0512 00000064 000000c8 ffffff00 00000010")
    assert read(ip4(tcp(1, options=options))).loc[0, "sack"] == "100-200 4294967040-16"


@pytest.mark.parametrize("options", ["02ff0000", "0200 0000", "020305b4", "05030000", "00020405"])
def test_options_that_make_no_sense_are_left_alone(read, options):
    packets = read(ip4(tcp(1, options=bytes.fromhex(options), data=b"x")))
    assert packets[["mss", "sack"]].isna().all(axis=None)
    assert packets.loc[0, "tcp_len"] == 1


def test_ipv6_extension_headers(read):
    hop_by_hop = bytes.fromhex("3c00 0104 00000000")
    destination = bytes.fromhex("0600 0104 00000000")
    packets = read(ip6(hop_by_hop + destination + tcp(5, data=b"abc"), following=0))
    columns = ["ip_protocol", "ip_len", "tcp_len", "seq"]
    assert packets[columns].to_numpy().tolist() == [[6, 79, 3, 5]]


def test_a_chain_of_extension_headers_is_not_followed_for_ever(reader):
    chain = bytes.fromhex("3c00 0104 00000000") * 1000
    assert skipped(reader(ip6(chain + tcp(5), following=60))[0]) == [["neither TCP nor ICMP", 1, "frame 1"]]


def test_what_dpkt_stumbles_on_is_read(read):
    # Its IPv6 class fails on a fragment header that another extension header follows.
    headers = bytes.fromhex("0000 0000 00000001 0600 0104 00000000")
    packets = read(bytes.fromhex("ff030057") + ip6(headers + tcp(5), following=44), link=9)
    assert packets[["seq", "outer_len"]].to_numpy().tolist() == [[5, 4]]


def test_length_zero_is_the_rest_of_the_frame(read):
    packets = read(ip4(tcp(1, data=b"x" * 3000), length=0), ip6(tcp(1, data=b"x" * 3000), length=0))
    assert packets[["ip_len", "tcp_len"]].to_numpy().tolist() == [[3040, 3000], [3060, 3000]]


def test_packets_beyond_65535_bytes(read):
    # BIG TCP: on IPv4 without a length, on IPv6 with a jumbo payload option (RFC 2675)
    segment = tcp(1, data=b"x" * 80_000)
    jumbo = bytes.fromhex("0600 c204") + struct.pack(">I", 8 + len(segment))
    packets = read(ip4(segment, length=0), ip6(jumbo + segment, following=0, length=0))
    assert packets[["ip_len", "tcp_len"]].to_numpy().tolist() == [[80_040, 80_000], [80_068, 80_000]]


def test_padding_is_no_payload(read):
    frame = bytes.fromhex(ETHERNET + "0800") + out(1) + bytes(6)
    packets = read(frame, link=1)
    assert packets[["frame_len", "ip_len", "tcp_len"]].to_numpy().tolist() == [[60, 40, 0]]


def test_icmp_errors_belong_to_the_connection_they_quote(read):
    sent = out(1001, 5, data=b"x" * 1440)
    too_big = bytes.fromhex("0304 0000 0000 0578") + sent[:28]
    packets = read(out(1000, flags=SYN), sent, ip4(too_big, 1, src="203.0.113.9", dst=CLIENT))
    row = packets.loc[2]
    columns = ["icmp_type", "icmp_code", "next_hop_mtu", "quoted_ip_len", "stream", "ip_protocol", "ip_len"]
    assert row[columns].tolist() == [3, 4, 1400, 1480, 0, 1, 56]
    assert row[["src_port", "seq", "flags", "tcp_len", "sack_permitted"]].isna().all()


def test_packet_too_big(read):
    sent = ip6(tcp(1001, 5, data=b"x" * 1420))
    too_big = bytes.fromhex("0200 0000 00000500") + sent[:1232]
    packets = read(sent, ip6(too_big, 58, src="2001:db8::9", dst=CLIENT6))
    columns = ["icmp_type", "icmp_code", "next_hop_mtu", "quoted_ip_len", "stream"]
    assert packets[columns].to_numpy().tolist()[1] == [2, 0, 1280, 1480, 0]


def test_a_router_that_names_no_mtu_says_zero(read):
    too_big = bytes.fromhex("0304 0000 00000000") + out(1, 2, data=b"x" * 99)[:28]
    assert read(ip4(too_big, 1, dst=CLIENT)).loc[0, "next_hop_mtu"] == 0


def test_icmp_without_a_quote(read):
    packets = read(ip4(bytes.fromhex("0800 0000 0001 0001"), 1), ip4(bytes.fromhex("0301 0000 00000000"), 1))
    assert packets[["icmp_type", "icmp_code"]].to_numpy().tolist() == [[8, 0], [3, 1]]
    assert packets[["next_hop_mtu", "quoted_ip_len", "stream"]].isna().all(axis=None)


@pytest.mark.parametrize("order", [(0, 1, 2), (1, 0, 2), (2, 1, 0)])
def test_later_fragments_belong_to_the_connection_of_the_first(read, order):
    other = ip4(tcp(1, ports=(40001, 25)))
    whole = tcp(500, 1, data=b"x" * 76)
    pieces = [
        ip4(whole[:48], fragment=0x2000),
        ip4(whole[48:72], fragment=0x2006),
        ip4(whole[72:], fragment=0x0009),
    ]
    packets = read(other, *(pieces[i] for i in order)).iloc[1:].sort_values("fragment_offset")
    columns = ["fragment_offset", "more_fragments", "ip_len", "seq", "tcp_len", "stream", "df"]
    assert packets[columns].to_numpy().tolist() == [
        [0, True, 68, 500, 28, 1, False],
        [48, True, 44, pd.NA, pd.NA, 1, False],
        [72, False, 44, pd.NA, pd.NA, 1, False],
    ]


def test_ipv6_fragments(read):
    whole = tcp(500, 1, data=b"x" * 52)
    first = ip6(bytes.fromhex("0600 0001 00000063") + whole[:48], 44)
    second = ip6(bytes.fromhex("0600 0030 00000063") + whole[48:], 44)
    packets = read(first, second)
    columns = ["fragment_offset", "more_fragments", "ip_len", "seq", "stream"]
    assert packets[columns].to_numpy().tolist() == [[0, True, 96, 500, 0], [48, False, 72, pd.NA, 0]]


def test_a_fragment_of_another_packet_stays_alone(read):
    first = ip4(tcp(500, data=b"x" * 28), fragment=0x2000, ident=1)
    assert read(first, ip4(b"x" * 8, fragment=0x0006, ident=2))["stream"].tolist() == [0, pd.NA]


def test_payload(reader):
    _, [(packets, payload)] = reader(out(1, flags=SYN), SEGMENT, out(1005, data=b"x" * 50))
    assert payload_of(packets, payload) == [b"", b"QUIT\n", b"x" * 50]
    start = packets.loc[1, "payload_offset"]
    assert bytes(payload[start : start + 5]) == b"QUIT\n"


def test_the_snap_length_leaves_sizes_alone(reader):
    short, [(packets, payload)] = reader(out(1, data=b"0123456789" * 100), snap=44)
    assert packets[["ip_len", "tcp_len", "captured_len"]].to_numpy().tolist() == [[1040, 1000, 44]]
    assert payload_of(packets, payload) == [b"0123"]
    assert short.captures.loc[0, "snap_length"] == 44


def test_what_the_snap_length_cuts_off_is_absent(reader):
    options = bytes.fromhex("020405b4 01010101")
    cut, [(packets, _)] = reader(*[out(1, 2, options=options)] * 2, snap=42)
    assert packets[["mss", "sack_permitted", "payload_offset"]].isna().all(axis=None)
    assert packets["window"].tolist() == [501, 501]
    cut, [(packets, _)] = reader(out(1, 2), snap=28)
    assert packets[["seq", "ack", "tcp_len"]].to_numpy().tolist() == [[1, pd.NA, pd.NA]]
    cut, _ = reader(out(1, 2), snap=27)
    assert skipped(cut) == [["headers cut off by the snap length", 1, "frame 1"]]


def test_lengths_that_lie_are_kept_and_counted(reader):
    liar, [(packets, payload)] = reader(ip4(tcp(1, data=b"x"), length=1500), out(2, data=b"y" * 9))
    assert packets["tcp_len"].tolist() == [1460, 9]
    assert payload_of(packets, payload) == [b"", b"y" * 9]
    assert skipped(liar) == [
        ["IP length beyond the end of the frame, kept without payload", 1, "frame 1"],
    ]


def test_what_is_no_row_is_counted(reader):
    udp = ip4(bytes(8), 17)
    arp = bytes.fromhex(ETHERNET + "0806") + bytes(28)
    ethernet = bytes.fromhex(ETHERNET + "0800")
    counted, batches = reader(
        ethernet + udp, arp, ethernet + udp, ethernet + b"\x45", ethernet + out(1), link=1
    )
    assert skipped(counted) == [
        ["UDP is not read", 2, "frame 1"],
        ["ARP is not read", 1, "frame 2"],
        ["headers cut off by the snap length", 1, "frame 4"],
    ]
    assert batches[0][0]["frame"].tolist() == [5]
    assert counted.captures[["packets", "link_type"]].to_numpy().tolist() == [[5, "ETHERNET"]]


def test_a_link_layer_that_is_not_read_is_named(reader):
    unread, batches = reader(b"x" * 60, b"y" * 60, link=127)
    assert skipped(unread) == [["link layer IEEE802_11_RADIOTAP is not read", 2, "frame 1"]]
    assert [len(packets) for packets, _ in batches] == [0]


@pytest.mark.parametrize(
    ("packets", "streams"),
    [
        ([out(5, flags=SYN), out(5, flags=SYN), back(9, 6, SYN | ACK)], [0, 0, 0]),
        ([out(5, flags=SYN), out(7, flags=SYN), back(9, 8, SYN | ACK)], [0, 1, 1]),
        ([out(5, flags=SYN), back(0, 6, RST | ACK), out(5, flags=SYN)], [0, 0, 0]),
        ([back(9, 6, SYN | ACK), out(5, flags=SYN)], [0, 0]),
        ([out(6, 10), out(5, flags=SYN), out(9, 10, FIN | ACK)], [0, 0, 0]),
        ([out(6, 10), back(10, 6), out(99, flags=SYN), back(1, 100, SYN | ACK)], [0, 0, 1, 1]),
        ([ip4(tcp(5, flags=SYN, ports=(p, 25))) for p in (1, 2, 1, 3)], [0, 1, 0, 2]),
    ],
)
def test_connections_are_numbered_as_in_wireshark(read, packets, streams):
    assert read(*packets)["stream"].tolist() == streams


def test_the_table_is_the_declared_one(read):
    packets = read(SEGMENT, ip6(tcp(1)))
    pd.testing.assert_frame_equal(tables.conform(packets, "packets"), packets)
    assert packets["src"].cat.categories.tolist() == [CLIENT, CLIENT6]
    assert packets["dst"].cat.categories.tolist() == [SERVER, SERVER6]


def test_the_capture_number_is_that_of_the_reader(tmp_path):
    (tmp_path / "a.pcap").write_bytes(pcap(SEGMENT))
    reader = Reader(tmp_path / "a.pcap", capture=3)
    [(packets, _)] = reader
    assert packets["capture"].tolist() == reader.captures["capture"].tolist() == [3]


def test_many_addresses_and_connections_are_all_told_apart(read):
    ends = [(f"192.0.2.{i % 251}", 1024 + i) for i in range(3000)]
    packets = read(*(ip4(tcp(1, ports=(port, 25)), src=address) for address, port in ends))
    assert packets["stream"].tolist() == list(range(3000))
    assert packets["src"].tolist() == [address for address, _ in ends]


def test_time_stamps_of_2106_and_of_no_time(tmp_path):
    path = tmp_path / "a.pcap"
    path.write_bytes(pcap(SEGMENT).replace(struct.pack("<I", START), b"\xff\xff\xff\xff"))
    assert read_capture(path).loc[0, "time"] == pd.Timestamp("2106-02-07 06:28:15.000007", tz="UTC")


def test_the_payload_of_a_packet_is_read_again(tmp_path):
    file = tmp_path / "a.pcap"
    file.write_bytes(pcap(out(1, data=b"MAIL"), out(5, data=b"RCPT"), out(9)))
    packets = read_capture(file)
    assert [read_payload(packets.iloc[n:]) for n in range(4)] == [b"MAIL", b"RCPT", b"", b""]
