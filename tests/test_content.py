import gzip
import json
import re
import subprocess
import tracemalloc
from itertools import groupby, pairwise

import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from smtpkit import tables
from smtpkit.content import ContentError, read_content, sniff
from smtpkit.measure import Measure

HEADER = b"Subject: x\r\n\r\n"  # 14 octets, two lines
FOLDED = b"""\
Received: from c.example.org ([192.0.2.10])
\tby mx.example.net with esmtp (Exim 4.96)
\t(envelope-from <a@example.org>)
\tid 1s1ABC-0001Qd-0a
\tfor b@example.net; Wed, 01 May 2024 10:00:00 +0000
Received: from x by y with esmtp id 1aaaaa-0001Qd-0a; Wed, 01 May 2024 09:00:00 +0000
Subject: id 1bbbbb-0001Qd-0a

Received: from z id 1ccccc-0001Qd-0a
"""


def measured(tmp_path, data: bytes, name: str = "message.eml") -> dict:
    (tmp_path / name).write_bytes(data)
    (row,) = read_content(tmp_path / name).to_dict("records")
    return row


@pytest.mark.parametrize(
    ("body", "size", "data_size"),
    [
        (b"", 14, 14),
        (b"a\r\nb\r\n", 20, 20),
        (b"a\nb\n", 18, 20),  # sent with CRLF
        (b".\n..x\nx.\n", 23, 28),  # dots at the start of two lines doubled
        (b"last", 18, 20),  # its line end added
    ],
)
def test_size_in_the_file_and_as_sent(tmp_path, body, size, data_size):
    row = measured(tmp_path, HEADER + body)
    assert (row["size"], row["data_size"]) == (size, data_size)


def test_binary_zeros(tmp_path):
    row = measured(tmp_path, HEADER + b"ab\0c\0\r\n\0")
    assert (row["nul_count"], row["first_nul"]) == (3, 16)
    assert pd.isna(measured(tmp_path, HEADER)["first_nul"])


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        (b"a\0\r\n", {"nul_last": True}),
        (b"\0a\r\n", {"nul_last": False, "first_nul": 14}),
        (b"a\rb\r\n", {"bare_cr": 1, "bare_lf": 0}),
        (b"a\nb\r\n", {"bare_cr": 0, "bare_lf": 1}),
        (b"\xc3\xa4\r\n", {"eight_bit": 2}),
        (b".\r\n..\r\na.\r\n", {"dot_lines": 2, "lines": 5}),
        (b"x" * 998 + b"\r\n", {"lines_above_998": 0, "longest_line_in": "body"}),
        (b"x" * 999 + b"\r\n", {"lines_above_998": 1, "lines_above_1000": 0}),
        (b"x" * 1025 + b"\r\n", {"lines_above_998": 1, "lines_above_1000": 1, "lines_above_1024": 1}),
        (b"--" + b"=" * 70 + b"\r\n", {"longest_run": 70, "longest_run_octet": "3d"}),
        (b"a\r\n", {"longest_line": 10, "longest_line_in": "header"}),
    ],
)
def test_what_networks_and_servers_stumble_over(tmp_path, body, expected):
    row = measured(tmp_path, HEADER + body)
    assert {name: row[name] for name in expected} == expected
    assert row["ends_with"] == (HEADER + body)[-5:].hex()


@given(st.binary(max_size=3000), st.lists(st.integers(0, 3000)), st.booleans())
def test_blocks_of_any_size_are_measured_alike(data, cuts, stuffed):
    whole, parts = Measure(stuffed=stuffed), Measure(stuffed=stuffed)
    whole.feed(data)
    edges = sorted({0, len(data), *(cut for cut in cuts if cut < len(data))})
    for start, end in pairwise(edges):
        parts.feed(data[start:end])
    whole.finish()
    parts.finish()
    assert whole.row() == parts.row()


@given(st.lists(st.sampled_from([b"a", b"\r", b"\n", b"\r\n", b".", b"aaa", b"\0", b"\xff"]), max_size=80))
def test_counts_against_a_plain_computation(pieces):
    data = b"".join(pieces)
    measure = Measure()
    measure.feed(data)
    measure.finish()
    row = measure.row()
    assert row["longest_run"] == max((len(list(run)) for _, run in groupby(data)), default=0)
    assert row["bare_cr"] == len(re.findall(rb"\r(?!\n)", data))
    assert row["eight_bit"] == sum(octet > 127 for octet in data)
    assert row["dot_lines"] == len(re.findall(rb"^\.", data, re.MULTILINE))
    assert row["nul_last"] == (re.sub(rb"\r?\n\Z", b"", data)[-1:] == b"\0")


MIXED = b"""\
Content-Type: multipart/mixed; boundary=x

--x
Content-Type: text/plain

--\x20
hello
--x
Content-Type: application/pdf
Content-Transfer-Encoding: base64

QUJD
--x--
"""


def test_the_mime_structure(tmp_path):
    found = measured(tmp_path, MIXED)["mime"]
    assert found == "multipart/mixed(text/plain, application/pdf base64)"
    assert measured(tmp_path, MIXED.replace(b"QUJD", b"QUJD\n" * 100_000))["mime"] == found


def test_a_deeply_nested_message_has_a_bounded_structure(tmp_path):
    level = b"Content-Type: multipart/mixed; boundary=b%d\n\n--b%d\n"
    assert len(measured(tmp_path, b"".join(level % (n, n) for n in range(5000)))["mime"]) < 10_000


SPOOLED = b"""\
1s1ABC-0001Qd-0a-H
user 1000 1000
<a@example.org>
1714557600 0
-body_linecount 1
XX
1
b@example.net

025T To: <other@example.net>
013* Subject: old
013  Subject: new
"""


def test_both_files_of_the_spool_are_one_message(tmp_path):
    header, body = tmp_path / "1s1ABC-0001Qd-0a-H", tmp_path / "1s1ABC-0001Qd-0a-D"
    header.write_bytes(SPOOLED.replace(b"025T", b"024T"))
    assert pd.isna(read_content(header)["data_size"][0])
    body.write_bytes(b"1s1ABC-0001Qd-0a-D\nhello\n")
    (row,) = read_content(header, body).to_dict("records")
    assert row["file"] == str(body)
    assert row["size"] == len(b"To: <other@example.net>\n" + b"Subject: new\n" + b"\n" + b"hello\n")
    assert row["data_size"] == row["size"] + 4
    assert sniff(SPOOLED)


@pytest.mark.parametrize("end", [b"\n", b"\r\n", b""])
@pytest.mark.parametrize("length", [11, 998, 65534, 65535, 65536, 65537, 200000])
def test_the_longest_line_without_its_end(tmp_path, length, end):
    row = measured(tmp_path, HEADER + b"x\n" + b"y" * length + end)
    assert (row["longest_line"], row["longest_line_number"]) == (length, 4)


def test_the_first_of_equally_long_lines(tmp_path):
    assert measured(tmp_path, b"ab\ncd\nef\n")["longest_line_number"] == 1


@given(st.lists(st.sampled_from([b"a", b".", b"\0", b"\r", b"\n", b"\r\n", b"x" * 65536])))
def test_against_a_plain_computation(tmp_path_factory, pieces):
    data = b"".join(pieces)
    *ended, rest = data.split(b"\n")
    bare = [line.removesuffix(b"\r") for line in ended] + [rest] * bool(rest)
    row = measured(tmp_path_factory.mktemp("content"), data)
    assert row["size"] == len(data)
    assert row["nul_count"] == data.count(b"\0")
    assert row["longest_line"] == max(map(len, bare), default=0)
    assert row["data_size"] == sum(len(line) + 2 + line.startswith(b".") for line in bare)


@pytest.mark.parametrize(
    ("name", "message_id"),
    [
        ("1s1ABC-0001Qd-0a.eml", "1s1ABC-0001Qd-0a"),
        ("1s1ABC-000000001Qd-0a1B", "1s1ABC-000000001Qd-0a1B"),
        ("1s1ABC-000000001Qd-0a1B-D.gz", "1s1ABC-000000001Qd-0a1B"),
        ("sample-number-01.eml", None),
        ("message.eml", None),
    ],
)
def test_message_id_by_the_name(tmp_path, name, message_id):
    found = measured(tmp_path, HEADER, name)["message_id"]
    assert found == message_id or (message_id is None and pd.isna(found))


@pytest.mark.parametrize("end", [b"\n", b"\r\n"])
def test_message_id_by_the_topmost_received_field(tmp_path, end):
    data = FOLDED.replace(b"\n", end)
    assert measured(tmp_path, data)["message_id"] == "1s1ABC-0001Qd-0a"
    second = data[data.index(b"Received", 1) :]
    assert measured(tmp_path, second)["message_id"] == "1aaaaa-0001Qd-0a"
    assert pd.isna(measured(tmp_path, second[second.index(b"Subject") :])["message_id"])


def test_a_spool_file_has_no_header(tmp_path):
    row = measured(tmp_path, b"1s1ABC-0001Qd-0a-D\nbody\n")
    assert row["message_id"] == "1s1ABC-0001Qd-0a"
    assert pd.isna(row["data_size"])


def test_compressed_and_damaged(tmp_path):
    packed = gzip.compress(HEADER + bytes(range(256)) * 1000)
    assert measured(tmp_path, packed)["size"] == 14 + 256000
    with pytest.raises(
        ContentError, match=r"message\.eml: the gzip file ends too early, so its size is not known"
    ):
        measured(tmp_path, packed[:-20])


def test_what_cannot_be_opened_is_one_sentence(tmp_path):
    with pytest.raises(ContentError, match=r"absent: cannot be read \(No such file or directory\); check"):
        read_content(tmp_path / "absent")


def test_an_empty_file_and_no_file(tmp_path):
    row = measured(tmp_path, b"")
    assert (row["size"], row["data_size"], row["longest_line"]) == (0, 0, 0)
    pd.testing.assert_frame_equal(read_content(), tables.empty("content"))


def test_a_large_line_takes_little_memory(tmp_path):
    (tmp_path / "large").write_bytes(b"x" * (30 << 20))
    tracemalloc.start()
    assert read_content(tmp_path / "large")["longest_line"][0] == 30 << 20
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 2 << 20


@pytest.mark.parametrize(
    ("head", "is_message"),
    [
        (HEADER, True),
        (FOLDED, True),
        (FOLDED[:50], True),
        (b"From: a@example.org\nX-Long: " + b"x" * 100, True),
        (b"1s1ABC-0001Qd-0a-D\nbody", True),
        (b"", False),
        (b"hello\n\nSubject: x\n", False),
        (b"# Title\n\nFrom: here\n", False),
        (b"name: x\nversion: 1\n", False),
        (b"From a@example.org Wed May  1\nSubject: x\n\n", False),  # mbox: many messages
        (b"2024-05-01 10:00:00 1s1ABC-0001Qd-0a <= a@example.org\n", False),
        (b"\xd4\xc3\xb2\xa1\x02\0\x04\0", False),
        (b'{"cause": "x",\n "from": "y"}\n', False),
    ],
)
def test_sniff(head, is_message):
    assert sniff(head) is is_message


def test_the_sample_is_measured_as_by_wc(sample):
    """`wc -L` gives the longest line, `wc -c` the octets; the ids are those of the label."""
    paths = sorted((sample / "messages").iterdir())
    content = read_content(*paths)
    said = subprocess.run(
        ["wc", "-c", "-L", *paths], capture_output=True, text=True, check=True, env={"LC_ALL": "C"}
    )
    figures = [line.split()[:2] for line in said.stdout.splitlines()[: len(paths)]]
    assert [
        [str(n), str(w)] for n, w in zip(content["size"], content["longest_line"], strict=True)
    ] == figures
    truth = json.loads((sample / "truth.json").read_text())
    assert set(content["message_id"]) == set(truth["affected"]) | set(truth["healthy"])
    assert all(sniff(path.read_bytes()[:4096]) for path in paths)
