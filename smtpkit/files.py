"""Open input files: plain, gzip, bzip2, xz or zstd, told by their first bytes and not by their names."""

from __future__ import annotations

import atexit
import bz2
import gzip
import io
import lzma
import os
import re
import shutil
import sys
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import NamedTemporaryFile
from typing import Any

from pyarrow import fs

if sys.version_info >= (3, 14):
    from compression import zstd
else:
    from backports import zstd

STANDARD_INPUT = "-"
MOST_MEMORY = 256 << 20  # bytes that xz may take: `xz -9` needs 65 MB. zstd by itself takes 128 MB at most.
_COPY = "SMTPKIT_STANDARD_INPUT"


class _Xz:
    """Reads xz streams within a limit of memory, which `lzma.open` cannot be given."""

    def __init__(self, file: io.BufferedReader) -> None:
        self._file = file
        self._next()

    def _next(self) -> None:
        self._stream = lzma.LZMADecompressor(lzma.FORMAT_XZ, MOST_MEMORY)

    def readinto1(self, buffer: memoryview) -> int:
        data = b""
        while not data:
            given = b""
            if self._stream.eof or self._stream.needs_input:
                given = self._stream.unused_data or self._file.read(io.DEFAULT_BUFFER_SIZE)
            if self._stream.eof:
                given = given.lstrip(b"\0")  # padding
                if not given:
                    return 0
                self._next()
            elif not given and self._stream.needs_input:
                raise EOFError
            data = self._stream.decompress(given, len(buffer))
        buffer[: len(data)] = data
        return len(data)

    def close(self) -> None:
        """Leave the file to whom it belongs."""


_URL = re.compile(r"[a-z][a-z0-9+.-]+://")

_FORMATS = (
    (re.compile(rb"\x1f\x8b\x08"), "gzip", gzip.open),
    (re.compile(rb"BZh[1-9](1AY&SY|\x17rE8P\x90)"), "bzip2", bz2.open),
    (re.compile(rb"\xfd7zXZ\0"), "xz", _Xz),
    (re.compile(rb"\x28\xb5\x2f\xfd"), "zstd", zstd.open),
)


class Input(io.BufferedReader):
    """An input file's own bytes, decompressed, in order.

    A compressed file that is cut or damaged ends where its readable bytes end; `damage` then says why, and is
    known once the end has been read. It is no exception, since that would cost the last bytes of a `read` and
    the last line of an iteration.
    """

    raw: _Raw

    @property
    def damage(self) -> str | None:
        """What is wrong with the compressed file, in one clause; None if nothing was met so far."""
        return self.raw.damage


def open_input(path: str | os.PathLike[str]) -> Input:
    """Open `path` for reading, whatever it is compressed with; `-` is standard input.

    Nothing is held but a buffer and the compression's window, which is bounded, so a small file that swells
    to terabytes costs time and no memory.

    Raises
    ------
    OSError
        If the file cannot be opened.
    """
    file = open_raw(path)
    head = file.peek(10)
    for magic, name, opener in _FORMATS:
        if magic.match(head):
            return Input(_Raw(file, opener(file), name))
    return Input(_Raw(file, file, "plain"))


def open_raw(path: str | os.PathLike[str]) -> io.BufferedReader:
    """Open `path` for reading its own bytes, compressed or not.

    Raises
    ------
    OSError
        If the file cannot be opened.
    """
    path = located(path)
    if not is_url(path):
        return open(path, "rb")
    with _told(path):
        return io.BufferedReader(_remote(path)[0].open(path))


def create(path: str | os.PathLike[str]) -> Any:
    """Open a file to write its bytes anew.

    Raises
    ------
    OSError
        If that cannot be done.
    """
    with _reached(path) as (system, name):
        return system.open_output_stream(name)


def make_folder(path: str | os.PathLike[str]) -> None:
    """Make a folder, and those that it is in, unless it is there.

    Raises
    ------
    OSError
        If that cannot be done.
    """
    with _reached(path) as (system, name):
        system.create_dir(name)


def remove(path: str | os.PathLike[str]) -> None:
    """Remove a file, or a folder with all that it holds, if it is there."""
    with _reached(path) as (system, name):
        kind = system.get_file_info(name).type
        if kind == fs.FileType.Directory:
            system.delete_dir(name)
        elif kind != fs.FileType.NotFound:
            system.delete_file(name)


def exists(path: str | os.PathLike[str]) -> bool:
    """Say whether a file or folder is there."""
    with _reached(path) as (system, name):
        return system.get_file_info(name).type != fs.FileType.NotFound


def below(folder: str | os.PathLike[str], name: str) -> str:
    """Return the path of what has this name in a folder."""
    return f"{os.fspath(folder).rstrip('/')}/{name}"


def file_system(path: str | os.PathLike[str]) -> tuple[fs.FileSystem, str]:
    """Return the file system of a path or URL, as pyarrow takes it, and the path in it.

    Raises
    ------
    OSError
        If nothing is installed that knows it.
    """
    path = os.fspath(path)
    if not is_url(path):
        return fs.LocalFileSystem(), os.path.abspath(path)
    system, name = _remote(path)
    return fs.PyFileSystem(fs.FSSpecHandler(system)), name


def size(path: str | os.PathLike[str]) -> int:
    """Return the bytes that a file has, compressed or not."""
    path = located(path)
    return int(_remote(path)[0].size(path)) if is_url(path) else os.path.getsize(path)


def walk(folder: str) -> list[str]:
    """Return the regular files below a folder, in order; none if it is no folder."""
    if is_url(folder):
        try:
            system, path = _remote(folder)
            return sorted(map(system.unstrip_protocol, system.find(path))) if system.isdir(path) else []
        except OSError:
            return []  # whoever opens it says why
    below = (os.path.join(top, name) for top, _, names in os.walk(folder) for name in names)
    return sorted((file for file in below if os.path.isfile(file) and not os.path.islink(file)), key=Path)


def written(path: str | os.PathLike[str]) -> float:
    """Return when a file was last written, in seconds since 1970."""
    path = located(path)
    return _remote(path)[0].modified(path).timestamp() if is_url(path) else os.stat(path).st_mtime


def normal(path: str | os.PathLike[str]) -> str:
    """Return the name that a path has in the tables."""
    path = os.fspath(path)
    return path if is_url(path) else str(Path(path))


def is_url(path: str) -> bool:
    """Tell whether a path names a file of another file system, such as s3://bucket/mainlog."""
    return _URL.match(path) is not None


def _remote(path: str) -> tuple[Any, str]:
    """Return the file system of a URL, and the path in it."""
    try:
        import fsspec
    except ImportError as error:
        raise OSError(
            None, "file systems other than local ones need smtpkit-notebooks[cluster]", path
        ) from error
    try:
        return fsspec.url_to_fs(path)
    except (ValueError, ImportError) as error:
        raise OSError(None, str(error), path) from error


@contextmanager
def _reached(path: str | os.PathLike[str]) -> Iterator[tuple[fs.FileSystem, str]]:
    """Yield the file system of a path, and the path in it; what fails there names the path."""
    system, name = file_system(path)
    with _told(path):
        yield system, name


@contextmanager
def _told(path: str | os.PathLike[str]) -> Iterator[None]:
    """Let what a file system raises be an OSError that names the path: each has exceptions of its own."""
    try:
        yield
    except Exception as error:
        if isinstance(error, OSError) and error.filename is not None:
            raise
        reason = os.strerror(error.errno) if isinstance(error, OSError) and error.errno else str(error)
        raise OSError(None, reason or type(error).__name__, os.fspath(path)) from error


def located(path: str | os.PathLike[str]) -> str:
    """Return where `path` lies: itself, or the copy of standard input if it is `-`.

    Standard input is read more than once: to see what it is, and to read it; and by the process that runs a
    notebook, which learns from the environment where the copy is.
    """
    path = os.fspath(path)
    if path != STANDARD_INPUT:
        return path
    if _COPY not in os.environ:
        with (
            open(0, "rb", closefd=False) as given,
            NamedTemporaryFile(prefix="smtpkit-", delete=False) as copy,
        ):
            atexit.register(os.unlink, copy.name)
            shutil.copyfileobj(given, copy)
        os.environ[_COPY] = copy.name
    return os.environ[_COPY]


class _Raw(io.RawIOBase):
    def __init__(self, file: io.BufferedReader, source: Any, format_name: str) -> None:
        self._file, self._source, self._format = file, source, format_name
        self.damage: str | None = None

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        if self.damage:
            return 0
        try:
            return self._source.readinto1(buffer)
        except EOFError:
            self.damage = f"the {self._format} file ends too early"
        except (zlib.error, lzma.LZMAError, gzip.BadGzipFile, zstd.ZstdError) as error:
            self.damage = f"the {self._format} file is damaged ({error})"
        except OSError as error:
            if error.errno:  # the device failed; bz2 tells of bad bytes by an OSError without a number
                raise
            self.damage = f"the {self._format} file is damaged ({error})"
        return 0

    def close(self) -> None:
        if not self.closed:
            self._source.close()
            self._file.close()
        super().close()
