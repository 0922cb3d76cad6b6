"""What capture files say: containers, compression, rotation, damage."""

import bz2
import gzip
import lzma
import struct
import subprocess
import sys

import pandas as pd
import pytest
from backports import zstd
from capture_bytes import (
    ACK,
    SEGMENT,
    START,
    SYN,
    back,
    block,
    enhanced,
    interface,
    old,
    option,
    out,
    pcap,
    section,
    simple,
)

from smtpkit import tables
from smtpkit.capture import CaptureError, Reader, containers, payload_of, read_capture, sniff

SEQS = [1, 2, 3]
THREE = [out(seq, data=b"x" * seq) for seq in SEQS]
TIME = pd.Timestamp(START, unit="s", tz="UTC")


@pytest.fixture
def file(tmp_path):
    def file(data, name="a.pcap"):
        (tmp_path / name).write_bytes(data)
        return str(tmp_path / name)

    return file


def read(path):
    """Return the packets, and the reader with its `skipped` and `captures`."""
    reader = Reader(path)
    return pd.concat([packets for packets, _ in reader]), reader


def skipped(reader):
    return reader.skipped[["reason", "count", "where"]].to_numpy().tolist()


@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize("nano", [False, True])
def test_pcap_in_both_byte_orders_and_resolutions(file, order, nano):
    packets = read_capture(file(pcap(*THREE, order=order, nano=nano)))
    assert packets["seq"].tolist() == SEQS
    unit = pd.Timedelta(7, "ns" if nano else "us")
    assert packets["time"].tolist() == [TIME + pd.Timedelta(i, "s") + unit for i in range(3)]


@pytest.mark.parametrize("order", ["<", ">"])
def test_the_modified_pcap_of_old_kernels(file, order):
    head = struct.pack(f"{order}IHHiIII", 0xA1B2CD34, 2, 4, 0, 0, 65535, 101)
    record = struct.pack(f"{order}IIIIIHBx", START, 7, len(SEGMENT), len(SEGMENT), 2, 0x800, 0) + SEGMENT
    assert read_capture(file(head + 2 * record))["seq"].tolist() == [1000, 1000]


@pytest.mark.parametrize("order", ["<", ">"])
def test_pcapng_in_both_byte_orders(file, order):
    blocks = [enhanced(p, START * 10**6 + 7, order=order) for p in THREE]
    packets = read_capture(file(section(order) + interface(order=order) + b"".join(blocks)))
    assert packets["seq"].tolist() == SEQS
    assert packets["time"].tolist() == [TIME + pd.Timedelta(7, "us")] * 3


def test_interfaces_differ_in_link_type_and_clock(file):
    data = section()
    data += interface(options=option(9, b"\x09") + option(14, struct.pack("<q", 3600)))
    data += interface(0, options=option(9, b"\x8a") + option(0, b""))
    data += enhanced(SEGMENT, START * 10**9 + 123456789, 0)
    data += enhanced(b"\2\0\0\0" + SEGMENT, (START << 10) + 512, 1)
    packets, reader = read(file(data))
    later = TIME + pd.Timedelta(3600, "s") + pd.Timedelta(123456789, "ns")
    assert packets["time"].tolist() == [later, TIME + pd.Timedelta(500, "ms")]
    assert packets["seq"].tolist() == [1000, 1000]
    assert reader.captures.loc[0, "link_type"] == "RAW, NULL"


def test_time_stamps_of_any_resolution(file):
    units = [10**i for i in range(128)] + [2**i for i in range(128)]
    usable = [u for u in units if u < 2**62]
    ticks = [min(START, 2**62 // u) * u + u // 3 if u < 2**62 else 1 for u in units]
    clocks = [interface(options=option(9, bytes([i]))) for i in range(256)]
    packets = [enhanced(SEGMENT, t, number) for number, t in enumerate(ticks)]
    times = read_capture(file(section() + b"".join(clocks + packets)))["time"]
    for time, tick, unit in zip(times, ticks, units, strict=True):
        exact = tick * 10**9 // unit
        assert 0 <= exact - time.value <= 1 if unit in usable else time is pd.NaT


def test_sections_start_anew(file):
    data = section(">") + interface(order=">") + enhanced(SEGMENT, order=">")
    data += section() + interface(1) + interface() + enhanced(out(7), number=1)
    assert read_capture(file(data))["seq"].tolist() == [1000, 7]


@pytest.mark.parametrize("order", ["<", ">"])
def test_simple_and_old_packet_blocks(file, order):
    data = section(order) + interface(snap=44, order=order)
    data += simple(out(1, data=b"0123456789")[:44], length=50, order=order) + old(SEGMENT, order=order)
    reader = Reader(file(data))
    [(packets, payload)] = reader
    columns = ["frame", "seq", "tcp_len", "captured_len"]
    assert packets[columns].to_numpy().tolist() == [[1, 1, 10, 44], [2, 1000, 5, 45]]
    assert packets["time"].isna().tolist() == [True, False]
    assert payload_of(packets, payload) == [b"0123", b"QUIT\n"]
    assert reader.captures.loc[0, "snap_length"] == 44


def test_what_pcapng_tells_of_the_capture(file):
    rule = option(11, b"\0tcp port 25") + option(0, b"")
    drops = option(4, struct.pack("<Q", 10)) + option(5, struct.pack("<Q", 3)) + option(0, b"")
    early = block(5, struct.pack("<III", 0, 0, 0) + option(5, struct.pack("<Q", 2)))
    data = section() + interface(1, 262144, rule) + early + block(5, struct.pack("<III", 0, 0, 0) + drops)
    reader = Reader(file(data + enhanced(b"")))
    list(reader)
    row = reader.captures.loc[0]
    assert row[["filter", "dropped", "packets", "first", "last"]].tolist() == [
        "tcp port 25",
        3,
        1,
        TIME,
        TIME,
    ]
    assert row[["snap_length", "clock_offset", "vantage"]].isna().all()


def test_pcap_knows_no_filter_and_no_drops(file):
    _, reader = read(file(pcap(SEGMENT)))
    assert reader.captures[["filter", "dropped", "snap_length"]].isna().all(axis=None)


def test_unknown_blocks_are_passed_over_and_records_are_numbered_like_packets(file):
    unknown, names, custom = block(0x77, b"1234"), block(4, bytes(4)), block(0xBAD, bytes(8))
    data = section() + interface() + unknown + enhanced(out(1)) + names + custom + enhanced(out(2))
    packets, reader = read(file(data))
    assert packets[["frame", "seq"]].to_numpy().tolist() == [[1, 1], [3, 2]]
    assert skipped(reader) == [["no packet, but a record that is numbered like one", 1, "frame 2"]]


def test_a_packet_of_an_unknown_interface_is_counted(file):
    packets, reader = read(file(section() + interface() + enhanced(out(1), number=5) + enhanced(out(2))))
    assert packets["frame"].tolist() == [2]
    assert skipped(reader) == [["of an interface that the file does not describe", 1, "frame 1"]]


@pytest.mark.parametrize("compress", [gzip.compress, bz2.compress, lzma.compress, zstd.compress])
def test_compressed_captures(file, compress):
    assert read_capture(file(compress(pcap(*THREE))))["seq"].tolist() == SEQS


def test_a_cut_gzip_file_gives_what_is_there(file):
    packets, reader = read(file(gzip.compress(pcap(*THREE))[:-4]))
    assert packets["seq"].tolist() == SEQS
    assert skipped(reader) == [["the gzip file ends too early", 1, "byte 198, after frame 3"]]


@pytest.mark.parametrize("chunk", [40, 100, 1000])
@pytest.mark.parametrize("form", [pcap, lambda *p: section() + interface() + b"".join(map(enhanced, p))])
def test_records_may_lie_across_chunks(file, monkeypatch, chunk, form):
    monkeypatch.setattr(containers, "CHUNK", chunk)
    path = file(form(*THREE, *[out(9, data=b"y" * 500)] * 20))
    texts = [text for packets, payload in Reader(path) for text in payload_of(packets, payload)]
    assert texts == [b"x", b"xx", b"xxx"] + [b"y" * 500] * 20
    assert read_capture(path)["frame"].tolist() == list(range(1, 24))


def test_a_rotation_is_one_capture_in_order_of_time(file):
    handshake = file(pcap(out(1, flags=SYN), back(7, 2, SYN | ACK)), "b.pcap")
    rest = file(pcap(out(2, 8)).replace(struct.pack("<I", START), struct.pack("<I", START + 60)), "a.pcap")
    reader = Reader(rest, handshake)
    packets = tables.concat([packets for packets, _ in reader], "packets")
    assert packets["frame"].tolist() == [1, 2, 1]
    assert packets["file"].tolist() == [handshake, handshake, rest]
    assert packets["stream"].tolist() == [0, 0, 0]
    row = reader.captures.loc[0]
    assert (row["files"], row["packets"]) == (f"{handshake}, {rest}", 3)
    assert (row["last"] - row["first"]).total_seconds() == 60
    assert read_capture(rest, handshake).equals(packets)


def test_time_that_jumps_back_is_counted(file):
    times = [100, 99, 99, 50, 120]
    data = section() + interface() + b"".join(enhanced(SEGMENT, (START + t) * 10**6) for t in times)
    _, reader = read(file(data))
    row = reader.captures.loc[0]
    assert row[["steps_back", "largest_step_back"]].tolist() == [2, 49.0]
    assert (row["last"] - row["first"]).total_seconds() == 70
    _, straight = read(file(pcap(*THREE), "b.pcap"))
    assert straight.captures.loc[0, "steps_back"] == 0
    assert straight.captures["largest_step_back"].isna().all()


def test_time_that_jumps_back_between_batches_is_counted(file, monkeypatch):
    monkeypatch.setattr(containers, "CHUNK", 100)
    ahead = struct.pack("<I", START + 2)
    data = pcap(*THREE, *THREE).replace(ahead, struct.pack("<I", START + 9), 1)
    assert read(file(data))[1].captures.loc[0, ["steps_back", "largest_step_back"]].tolist() == [1, 6.0]


def test_a_rotation_may_be_compressed_in_part(file):
    ends = [START + i for i in (120, 0, 60)]
    forms = [gzip.compress, zstd.compress, bytes]
    paths = []
    for number, (start, form) in enumerate(zip(ends, forms, strict=True)):
        data = section() + interface() + enhanced(out(start - START + 1), start * 10**6)
        paths.append(file(form(data), f"cap{number}"))
    assert read_capture(*paths)["seq"].tolist() == [1, 61, 121]


def test_drop_counts_of_several_interfaces_and_sections_add_up(file):
    def drops(count, number, order):
        body = struct.pack(f"{order}III", number, 0, 0) + option(5, struct.pack(f"{order}Q", count), order)
        return block(5, body, order)

    data = section() + interface() + interface() + drops(3, 0, "<") + drops(4, 1, "<")
    data += section(">") + interface(order=">") + drops(5, 0, ">") + enhanced(SEGMENT, order=">")
    assert read(file(data))[1].captures.loc[0, "dropped"] == 12


@pytest.mark.parametrize("order", ["<", ">"])
def test_drops_that_packets_tell_of_add_up_unless_there_are_statistics(file, order):
    count = option(1, b"five!", order) + option(4, struct.pack(f"{order}Q", 7), order)

    def with_options(number):
        return enhanced(SEGMENT, number=number, order=order, options=count + option(0, b"", order))

    def with_field(lost):
        ends = struct.pack(f"{order}HHIIII", 0, lost, 0, 0, len(SEGMENT), len(SEGMENT))
        return block(2, ends + SEGMENT, order)

    head = section(order) + 2 * interface(order=order)
    told = with_options(0) + with_options(0) + with_options(1) + enhanced(SEGMENT, order=order)
    packets, reader = read(file(head + told + with_field(2) + with_field(0xFFFF)))
    assert (len(packets), reader.captures.loc[0, "dropped"]) == (6, 23)
    total = struct.pack(f"{order}III", 0, 0, 0) + option(5, struct.pack(f"{order}Q", 20), order)
    assert read(file(head + told + block(5, total, order)))[1].captures.loc[0, "dropped"] == 27


def test_a_file_cut_in_a_packet(file):
    packets, reader = read(file(pcap(*THREE)[:-1]))
    assert packets["seq"].tolist() == [1, 2]
    # 24 + 16 + 41 + 16 + 42
    assert skipped(reader) == [["file ends in the middle of a packet", 1, "byte 139, after frame 2"]]


def test_a_damaged_record_ends_the_reading(file):
    data = bytearray(pcap(*THREE))
    data[139 + 11] = 0xFF
    packets, reader = read(file(bytes(data)))
    assert packets["seq"].tolist() == [1, 2]
    reason = "damaged record, the rest of the file is not read"
    assert skipped(reader) == [[reason, 1, "byte 139, after frame 2"]]


def test_a_block_shorter_than_its_packet(file):
    bad = block(6, struct.pack("<IIIII", 0, 0, 0, 100, 100) + b"x" * 20)
    packets, reader = read(file(section() + interface() + enhanced(SEGMENT) + bad))
    assert packets["seq"].tolist() == [1000]
    assert "damaged record" in skipped(reader)[0][0]


@pytest.mark.parametrize(
    ("data", "sentence"),
    [
        (b"", "byte 0: the file is empty"),
        (b"Return-path: <alice@example.org>\n", "byte 0: neither pcap nor pcapng"),
        (pcap()[:23], "byte 23: the file ends inside its header"),
        (gzip.compress(b"")[:9], "byte 0: the gzip file ends too early"),
    ],
)
def test_what_is_no_capture(file, data, sentence):
    path = file(data)
    with pytest.raises(CaptureError) as error:
        read_capture(path)
    assert str(error.value).startswith(f"{path}: {sentence}")


def test_a_capture_without_packets_is_an_empty_table(file):
    path = file(pcap())
    assert len(read_capture(path)) == 0
    reader = Reader(path)
    assert list(reader) == []
    assert reader.captures.loc[0, "packets"] == 0
    assert reader.captures["first"].isna().all()


def test_a_file_beside_others_that_is_no_capture_is_skipped(file):
    good, bad = file(pcap(SEGMENT)), file(b"nothing of the kind", "b.pcap")
    reader = Reader(bad, good)
    assert sum(len(packets) for packets, _ in reader) == 1
    assert reader.skipped[["file", "reason"]].to_numpy().tolist() == [[bad, "no capture"]]


def test_a_missing_file_is_an_os_error(tmp_path):
    with pytest.raises(FileNotFoundError):
        read_capture(tmp_path / "a.pcap")


def test_sniff():
    assert all(sniff(data) for data in (pcap(), pcap(order=">", nano=True), section(), section(">")))
    assert not any(sniff(data) for data in (b"", b"2026-01-01 00:00:00", b"\n\r\r\n" * 4, pcap()[:3]))


def test_importing_loads_no_compiler():
    code = "import sys, smtpkit.capture; sys.exit('numba' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
