"""The analysis flags against tshark's, on every capture there is."""

import subprocess

import pandas as pd
import pytest
from conftest import CORPORA, ROOT, needs

from smtpkit import tcp
from smtpkit.capture import CaptureError, read_capture

FLAGS = [
    *("retransmission", "fast_retransmission", "spurious_retransmission", "out_of_order", "duplicate_ack"),
    *("lost_segment", "ack_lost_segment", "zero_window", "zero_window_probe", "window_full", "keep_alive"),
]
COLUMNS = ["frame.number", "tcp.stream", "tcp.srcport", "tcp.seq_raw", "tcp.len"]
ENOUGH = 20  # positives from which on precision and recall say something

# Where the two differ, and who is right: (file, flag) -> frames that only we flag, that only tshark flags.
# In the PPPoE file the IP length of frames 19, 33, 41, 47, 63 and 81 counts 6 bytes of padding, beyond the
# length of PPPoE. Ours takes them for payload, by the IP header, so that the segment after each seems to
# repeat them, and its acknowledgment to be of something else. In reassembly.pcap it is the other way round:
# the frames are cut and tshark goes by the rest, but the acknowledgments in frames 8, 86 and 88 are of all.
DIFFERENCES = {
    ("pppoe-over-qinq.pcap", "retransmission"): ([47, 48, 82], []),
    ("pppoe-over-qinq.pcap", "out_of_order"): ([20, 35, 65], []),
    ("pppoe-over-qinq.pcap", "duplicate_ack"): ([], [45]),
    ("pppoe-over-qinq.pcap", "ack_lost_segment"): ([21, 36, 49, 71], []),
    ("reassembly.pcap", "lost_segment"): ([], [9, 87]),
    # tshark flags none while it takes duplicate ACKs for counted; segment 31407 is not in the file.
    ("reassembly.pcap", "ack_lost_segment"): ([105], [8, 10, 86, 88]),
    # A FIN sent again, with no duplicate ACK before: tshark sets their number to -1, more than 2 to it.
    ("reassembly.pcap", "fast_retransmission"): ([], [8, 10, 12]),
    # The file is not in order of time: frame 8, the data, is older than 7 and 6, which acknowledge it. tshark
    # flags only the first acknowledgment, and takes the one copy of the data for a repetition.
    ("ipv6-http-atomic-frag.pcap", "ack_lost_segment"): ([7], []),
    ("ipv6-http-atomic-frag.pcap", "retransmission"): ([], [8]),
    ("ipv6-http-atomic-frag.pcap", "spurious_retransmission"): ([], [8]),
}


# No witness of precision and recall, for the reasons above: where two lengths in the headers contradict each
# other, and where tshark calls a repetition fast that no duplicate ACK came before.
MALFORMED = {"pppoe-over-qinq.pcap"}
MISTAKEN = {("reassembly.pcap", "fast_retransmission")}


def captures():
    paths = [*CORPORA.glob("captures/**/*"), *ROOT.glob("data/samples/*/*.pcap*")]
    return sorted(path for path in paths if path.is_file() and path.name != "ORIGIN.txt")


def tshark(path):
    """Return tshark's flags by frame; what it calls out of order and has seen before is a retransmission.

    tshark 4.0 says so of any segment within an initial RTT of the last new one; its own numbers tell which of
    these were there before.
    """
    fields = [*COLUMNS, *(f"tcp.analysis.{flag}" for flag in FLAGS)]
    command = ["tshark", "-n", "-r", path, "-T", "fields", *(word for f in fields for word in ("-e", f))]
    text = subprocess.run(command, capture_output=True, text=True, check=False).stdout
    rows = pd.DataFrame([line.split("\t") for line in text.splitlines()], columns=[*COLUMNS, *FLAGS])
    rows[FLAGS] = rows[FLAGS] != ""
    seen = {}
    for row in rows.itertuples():
        key, start, size = row[2:4], row[4], row[5]
        if not start.isdigit() or not size.isdigit():
            continue
        before = seen.setdefault(key, [])
        start, end = int(start), int(start) + int(size)
        if row.out_of_order and any(a <= start and end <= b for a, b in before):
            rows.loc[row.Index, ["out_of_order", "retransmission"]] = False, True
        before.append((start, end))
    return rows.set_index(rows["frame.number"].astype(int))[FLAGS]


def without_copies(path, folder):
    """Return the capture without the packets that are in it twice: to Wireshark each is a retransmission."""
    packets = tcp.analysis(read_capture(path))
    frames = packets.loc[packets["captured_twice"], "frame"]
    if frames.empty:
        return path
    once = folder / path.name
    subprocess.run(["editcap", path, once, *map(str, frames)], check=True)
    return once


@pytest.fixture(scope="module")
def compared(tmp_path_factory):
    """Return for each capture and flag the frames that we flag and those that tshark does."""
    folder, found = tmp_path_factory.mktemp("once"), {}
    for path in captures():
        try:
            once = without_copies(path, folder)
        except CaptureError:
            continue
        ours, theirs = tcp.analysis(read_capture(once)).set_index("frame"), tshark(once)
        # tshark reads TCP in the last fragment of a packet, and never in one that is not whole.
        ours = ours[~ours["more_fragments"] & (ours["fragment_offset"] == 0)]
        theirs = theirs[theirs.index.isin(ours.index)]
        for flag in FLAGS:
            found[path, flag] = set(ours.index[ours[flag]]), set(theirs.index[theirs[flag]])
    return found


@needs("tshark")
def test_each_difference_is_known(compared):
    different = {key: (sorted(a - b), sorted(b - a)) for key, (a, b) in compared.items() if a != b}
    known = DIFFERENCES if CORPORA.exists() else {}
    assert {(path.name, flag): frames for (path, flag), frames in different.items()} == known


@needs("tshark")
def test_precision_and_recall(compared):
    judged = set()
    for flag in FLAGS:
        pairs = [
            pair
            for (path, name), pair in compared.items()
            if name == flag and path.name not in MALFORMED and (path.name, name) not in MISTAKEN
        ]
        ours, theirs, both = (
            sum(map(len, sets)) for sets in (*zip(*pairs, strict=True), (a & b for a, b in pairs))
        )
        if theirs >= ENOUGH:
            judged.add(flag)
            assert min(both / ours, both / theirs) >= 0.95, (flag, ours, theirs, both)
    assert judged >= {"retransmission", "duplicate_ack"}


@needs("tshark")
@pytest.mark.parametrize("name", ["ssh-dups.pcap", "m57-long-49600-80.pcap"])
def test_wireshark_finds_the_same_packets_twice(name, corpora, tmp_path):
    (path,) = (path for path in captures() if path.name == name)
    packets = tcp.analysis(read_capture(path))
    counted = subprocess.run(
        ["editcap", "-D", "10", path, tmp_path / "once.pcap"], capture_output=True, text=True, check=True
    )
    assert f"{packets['captured_twice'].sum()} packets skipped" in counted.stderr
