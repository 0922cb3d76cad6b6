"""Open input files: plain, gzip, bzip2 or xz, told by their first bytes and not by their names."""

from __future__ import annotations

import bz2
import gzip
import io
import lzma
import os
import re
import zlib
from typing import Any

_FORMATS = (
    (re.compile(rb"\x1f\x8b\x08"), "gzip", gzip.open),
    (re.compile(rb"BZh[1-9](1AY&SY|\x17rE8P\x90)"), "bzip2", bz2.open),
    (re.compile(rb"\xfd7zXZ\0"), "xz", lzma.open),
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
    """Open `path` for reading, whatever it is compressed with.

    Nothing is held but a buffer, so a small file that swells to terabytes costs time and no memory.

    Raises
    ------
    OSError
        If the file cannot be opened.
    """
    file = open(path, "rb")  # noqa: SIM115
    head = file.peek(10)
    for magic, name, opener in _FORMATS:
        if magic.match(head):
            return Input(_Raw(file, opener(file), name))
    return Input(_Raw(file, file, "plain"))


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
        except (zlib.error, lzma.LZMAError, gzip.BadGzipFile) as error:
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
