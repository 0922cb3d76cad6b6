"""Damaged and hostile captures, and the two forms of the decoder on the same bytes."""

import bz2
import gzip
import lzma
import subprocess
import sys
from itertools import accumulate

import pandas as pd
import pytest
from backports import zstd
from capture_bytes import SEGMENT, enhanced, interface, ip4, old, pcap, section, simple, tcp
from capture_seeds import FILES, PACKETS
from conftest import ROOT
from hypothesis import given, settings
from hypothesis import strategies as st

from smtpkit import tables
from smtpkit.capture import CaptureError, Reader, payload_of, reader

COMPRESS = {"gzip": gzip.compress, "bzip2": bz2.compress, "xz": lzma.compress, "zstd": zstd.compress}
LINKS = st.sampled_from([0, 1, 9, 101, 113, 228, 276])
CHANGES = st.lists(st.tuples(st.sampled_from(PACKETS), st.integers(0, 60), st.integers(0, 255)), max_size=9)


def read(path):
    """Read all there is; every packet must be a row or counted, and every payload within its buffer."""
    capture = Reader(path)
    batches = list(capture)
    for packets, payload in batches:
        sizes = packets["tcp_len"].fillna(0)
        assert all(len(t) <= n for t, n in zip(payload_of(packets, payload), sizes, strict=True))
        assert (packets["payload_offset"].dropna() < len(payload)).all()
    skipped = capture.skipped
    lost = skipped["where"].str.startswith("frame") & ~skipped["reason"].str.contains(", kept ")
    rows = sum(len(packets) for packets, _ in batches)
    assert rows + skipped["count"][lost].sum() == capture.captures.loc[0, "packets"]
    return tables.concat([packets for packets, _ in batches], "packets"), capture


TRUNCATED = {
    "pcap": [pcap(), *(pcap(p)[24:] for p in PACKETS[:4])],
    "pcapng": [
        section() + interface(),
        enhanced(SEGMENT),
        simple(SEGMENT),
        old(SEGMENT),
        enhanced(PACKETS[0]),
    ],
}


@pytest.mark.parametrize("pieces", TRUNCATED.values(), ids=TRUNCATED)
def test_every_truncation_gives_the_packets_before_it(tmp_path, pieces):
    path, whole = tmp_path / "a", b"".join(pieces)
    ends = list(accumulate(map(len, pieces)))
    for size in range(24, len(whole) + 1):
        path.write_bytes(whole[:size])
        packets, capture = read(path)
        assert packets["frame"].tolist() == [i for i, end in enumerate(ends) if i and end <= size]
        cut = size not in [24 if pieces[0][:4] == whole[:4] == pcap()[:4] else 28, *ends]
        assert capture.skipped["reason"].tolist() == ["file ends in the middle of a packet"] * cut


@pytest.mark.parametrize("size", range(1, 24))
@pytest.mark.parametrize("whole", [pcap(SEGMENT), section() + interface()], ids=["pcap", "pcapng"])
def test_a_file_cut_in_its_header(tmp_path, whole, size):
    path = tmp_path / "a"
    path.write_bytes(whole[:size])
    try:
        assert len(read(path)[0]) == 0
    except CaptureError as error:
        assert str(error).startswith(f"{path}: byte ")  # noqa: PT017


@pytest.mark.parametrize("compress", COMPRESS.values(), ids=COMPRESS)
def test_every_truncation_of_a_compressed_file_gives_a_beginning(tmp_path, compress):
    path, whole = tmp_path / "a", compress(pcap(*PACKETS[:4]))
    frames = []
    for size in range(1, len(whole)):
        path.write_bytes(whole[:size])
        try:
            packets, capture = read(path)
        except CaptureError as error:
            assert str(error).startswith(f"{path}: byte ")  # noqa: PT017
            continue
        frames.append(packets["frame"].tolist())
        assert len(capture.skipped)
    assert all(found == list(range(1, len(found) + 1)) for found in frames)


@pytest.mark.parametrize("compress", COMPRESS.values(), ids=COMPRESS)
@settings(max_examples=100, deadline=None)
@given(data=st.data())
def test_changed_bytes_of_a_compressed_file_never_break_the_reader(tmp_path_factory, compress, data):
    changed = bytearray(compress(FILES["raw"]))
    for _ in range(data.draw(st.integers(1, 3))):
        changed[data.draw(st.integers(0, len(changed) - 1))] = data.draw(st.integers(0, 255))
    path = tmp_path_factory.mktemp("compressed") / "a"
    path.write_bytes(changed + data.draw(st.binary(max_size=20)))
    try:
        read(path)
    except CaptureError as error:
        assert str(error).startswith(f"{path}: byte ")  # noqa: PT017


@pytest.mark.parametrize("name", FILES)
@settings(max_examples=200, deadline=None)
@given(data=st.data())
def test_changed_bytes_never_break_the_reader(tmp_path_factory, name, data):
    changed = bytearray(FILES[name])
    for _ in range(data.draw(st.integers(1, 6))):
        changed[data.draw(st.integers(0, len(changed) - 1))] = data.draw(st.integers(0, 255))
    path = tmp_path_factory.mktemp("changed") / "a"
    path.write_bytes(changed)
    try:
        read(path)
    except CaptureError as error:
        assert str(error).startswith(f"{path}: byte ")  # noqa: PT017


@settings(max_examples=200, deadline=None)
@given(packets=st.lists(st.binary(max_size=120), max_size=5), link=LINKS)
def test_packets_of_any_bytes_never_break_the_reader(tmp_path_factory, packets, link):
    path = tmp_path_factory.mktemp("any") / "a"
    path.write_bytes(pcap(*packets, link=link))
    read(path)


def compare(path, monkeypatch):
    results = []
    for frames in (10**9, 0):
        monkeypatch.setattr(reader, "INTERPRETED_FRAMES", frames)
        packets, capture = read(path)
        results.append((packets, capture.skipped, capture.captures))
    for interpreted, compiled in zip(*results, strict=True):
        pd.testing.assert_frame_equal(interpreted, compiled)


@pytest.mark.parametrize("name", FILES)
def test_the_compiled_form_reads_the_same(tmp_path, monkeypatch, name):
    path = tmp_path / "a"
    path.write_bytes(FILES[name])
    compare(path, monkeypatch)


@settings(max_examples=100, deadline=None)
@given(changes=CHANGES)
def test_the_compiled_form_reads_changed_packets_the_same(tmp_path_factory, changes):
    path = tmp_path_factory.mktemp("forms") / "a"
    path.write_bytes(pcap(*(p[:at] + bytes([value]) + p[at + 1 :] for p, at, value in changes)))
    with pytest.MonkeyPatch.context() as monkeypatch:
        compare(path, monkeypatch)


def test_the_corpora_are_read_the_same(corpora, monkeypatch):
    for path in sorted((corpora / "captures").glob("**/*")):
        if path.is_file() and path.name != "ORIGIN.txt":
            compare(path, monkeypatch)


def test_the_form_may_change_between_batches(tmp_path, monkeypatch):
    monkeypatch.setattr(reader, "INTERPRETED_FRAMES", 8192)
    path = tmp_path / "a"
    path.write_bytes(pcap(*(ip4(tcp(1, ports=(1024 + i, 25))) for i in range(20_000))))
    assert read(path)[0]["stream"].tolist() == list(range(20_000))


def fuzz(program, *arguments):
    command = [sys.executable, ROOT / "tests" / "fuzz" / program, *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, check=False)


def test_a_short_campaign_of_the_fuzzer_finds_nothing(tmp_path):
    pytest.importorskip("atheris")
    done = fuzz("capture.py", tmp_path, "-runs=20000", "-seed=1", "-max_len=2000", "-artifact_prefix=/tmp/")
    assert (done.returncode, done.stderr.splitlines()[-1][:15]) == (0, "Done 20000 runs"), done.stderr[-3000:]


def test_the_compiled_form_reads_nothing_out_of_bounds():
    done = fuzz("compiled.py", 200)
    assert (done.returncode, done.stdout) == (0, "1000 mutated files read\n"), done.stderr[-3000:]
