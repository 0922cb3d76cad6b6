import bz2
import gzip
import lzma
import os
import struct
import subprocess
import sys

import pytest
from backports import zstd

from smtpkit import files
from smtpkit.files import open_input

TEXT = b"".join(b"line %d of a log that repeats itself\n" % i for i in range(5000))
COMPRESS = {
    "gzip": gzip.compress,
    "bzip2": bz2.compress,
    "xz": lzma.compress,
    "zstd": zstd.compress,
    "plain": bytes,
}


@pytest.fixture(params=COMPRESS)
def form(request):
    return request.param


def read(path):
    with open_input(path) as stream:
        return stream.read(), stream.damage


def test_the_bytes_come_out_whatever_the_file_is_called(tmp_path, form):
    path = tmp_path / "mainlog"
    path.write_bytes(COMPRESS[form](TEXT))
    assert read(path) == (TEXT, None)


def test_lines_can_be_iterated(tmp_path, form):
    path = tmp_path / "mainlog.1"
    path.write_bytes(COMPRESS[form](TEXT))
    with open_input(path) as stream:
        assert list(stream) == TEXT.splitlines(keepends=True)


@pytest.mark.parametrize("form", ["gzip", "bzip2", "xz", "zstd"])
def test_a_cut_file_gives_its_beginning_and_says_so(tmp_path, form):
    whole = COMPRESS[form](TEXT)
    path = tmp_path / "cut"
    path.write_bytes(whole[:-20])
    data, damage = read(path)
    assert TEXT.startswith(data)
    assert damage == f"the {form} file ends too early"


@pytest.mark.parametrize("form", ["gzip", "bzip2", "xz", "zstd"])
def test_a_damaged_file_never_raises(tmp_path, form):
    whole = bytearray(COMPRESS[form](TEXT))
    whole[len(whole) // 2] ^= 0xFF
    path = tmp_path / "damaged"
    path.write_bytes(whole)
    data, damage = read(path)
    assert len(data) <= len(TEXT)
    assert f"the {form} file" in damage


def test_a_cut_gzip_file_gives_nearly_everything(tmp_path):
    path = tmp_path / "cut.gz"
    path.write_bytes(gzip.compress(TEXT)[:-8])  # without the checksum and length at its end
    assert read(path) == (TEXT, "the gzip file ends too early")


def test_a_missing_file_is_an_os_error(tmp_path):
    with pytest.raises(FileNotFoundError):
        open_input(tmp_path / "nothing")


def test_an_empty_file_is_empty(tmp_path):
    (tmp_path / "empty").touch()
    assert read(tmp_path / "empty") == (b"", None)


def test_streams_may_follow_one_another(tmp_path, form):
    path = tmp_path / "two"
    path.write_bytes(2 * COMPRESS[form](TEXT))
    assert read(path) == (2 * TEXT, None)


def test_padding_of_xz_is_no_stream(tmp_path):
    path = tmp_path / "padded"
    path.write_bytes(lzma.compress(TEXT) + bytes(4) + lzma.compress(TEXT) + bytes(8))
    assert read(path) == (2 * TEXT, None)


@pytest.mark.parametrize("form", ["gzip", "bzip2", "xz", "zstd"])
def test_a_bomb_costs_no_memory(tmp_path, form):
    path = tmp_path / "bomb"
    path.write_bytes(COMPRESS[form](bytes(100_000_000)))
    code = "import re, sys; from smtpkit.files import open_input\n"
    code += "peak = lambda: int(re.search(r'VmHWM:\\s+(\\d+)', open('/proc/self/status').read())[1])\n"
    code += "n, before, file = 0, peak(), open_input(sys.argv[1])\n"
    code += "while got := len(file.read(65536)): n += got\nprint(n, peak() - before)"
    done = subprocess.run([sys.executable, "-c", code, path], capture_output=True, text=True, check=True)
    size, kilobytes = map(int, done.stdout.split())
    assert size == 100_000_000
    assert kilobytes < 20_000


def test_a_window_that_takes_too_much_memory_is_declined(tmp_path):
    wide = [{"id": lzma.FILTER_LZMA2, "dict_size": 1 << 30}]
    (tmp_path / "xz").write_bytes(lzma.compress(TEXT, filters=wide))
    # zstd's frame header (RFC 8878, 3.1.1): a window of 2^31 bytes, one raw block of 1 byte, the last one
    (tmp_path / "zstd").write_bytes(struct.pack("<IBB", 0xFD2FB528, 0, 21 << 3) + b"\x09\0\0x")
    for form in ("xz", "zstd"):
        data, damage = read(tmp_path / form)
        assert data == b""
        assert damage.startswith(f"the {form} file is damaged (")


@pytest.mark.parametrize("given", [TEXT, gzip.compress(TEXT)], ids=["plain", "gzip"])
def test_standard_input_can_be_read_again_and_by_another_process(given):
    ask = "from smtpkit.files import open_input; print(len(open_input('-').read()))"
    code = f"import subprocess, sys; {ask}; {ask}; sys.stdout.flush()\n"
    code += f"subprocess.run([sys.executable, '-c', {ask!r}], stdin=subprocess.DEVNULL, check=True)\n"
    code += "import os; print(os.environ['SMTPKIT_STANDARD_INPUT'])"
    done = subprocess.run([sys.executable, "-c", code], input=given, capture_output=True, check=True)
    *sizes, copy = done.stdout.decode().split()
    assert sizes == [str(len(TEXT))] * 3
    assert not os.path.exists(copy)
    assert done.stderr == b""


def test_a_file_that_only_begins_like_a_dash_is_a_file(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "-x").write_bytes(b"x")
    assert files.located("-x") == "-x"
    assert read("-x") == (b"x", None)
