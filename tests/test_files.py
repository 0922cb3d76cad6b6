import bz2
import gzip
import lzma

import pytest

from smtpkit.files import open_input

TEXT = b"".join(b"line %d of a log that repeats itself\n" % i for i in range(5000))
COMPRESS = {"gzip": gzip.compress, "bzip2": bz2.compress, "xz": lzma.compress, "plain": bytes}


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


@pytest.mark.parametrize("form", ["gzip", "bzip2", "xz"])
def test_a_cut_file_gives_its_beginning_and_says_so(tmp_path, form):
    whole = COMPRESS[form](TEXT)
    path = tmp_path / "cut"
    path.write_bytes(whole[:-20])
    data, damage = read(path)
    assert TEXT.startswith(data)
    assert damage == f"the {form} file ends too early"


@pytest.mark.parametrize("form", ["gzip", "bzip2", "xz"])
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
