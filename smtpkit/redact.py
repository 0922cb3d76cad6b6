"""An incident for strangers: labels for all that it names, before anything is concluded from it.

This comes after the joining, which compares names, and before all judgement, so that whatever is derived has
never seen an original. The privacy class of each column in `smtpkit.tables` says what becomes of it; what has
no class is dropped. Equal originals have equal labels in all tables. Their order is the key's, so that it
tells nothing.

IP addresses become labels too; or, in tables and captures that other programs read, other addresses. In a
report those could be taken for somebody's.
"""

from __future__ import annotations

import hmac
import os
import re
import secrets
from collections.abc import Callable, Collection
from dataclasses import replace
from ipaddress import ip_address
from pathlib import Path
from typing import Any

import pandas as pd

from smtpkit import phrases, tables
from smtpkit.addresses import IPV6_LABEL, KEY_SIZE, is_address, prefix_preserving, stays
from smtpkit.incident import TABLE_NAMES, Incident, InputError
from smtpkit.phrases import WITHHELD

_TOKEN = re.compile(r"[0-9A-Za-z:][0-9A-Za-z.:-]{1,127}")  # octets in hexadecimal are the longest
# What things are called in their labels.
_FILES = {"capture": "capture", "log": "log", "message": "message file", "other": "file"}
_ENDS = ("server", "client", "address")
_MESSAGES = ("message", "Message-ID")


def redact(incident: Incident, key: bytes, *, keep: Collection[str] = (), mapped: bool = False) -> Incident:
    """Return the incident with pseudonyms only.

    Parameters
    ----------
    incident : Incident
        As `smtpkit.load` returns it.
    key : bytes
        32 bytes that stay with the user, see `read_key`.
    keep
        Originals that stay, such as the address of the server that it is all about.
    mapped
        IP addresses become other addresses (`smtpkit.addresses.prefix_preserving`), not labels.

    Returns
    -------
    Incident
        The same rows; numbers and times are as they were, hashes are gone.

    Raises
    ------
    ValueError
        If the key is not of 32 bytes.
    """
    return pseudonyms(incident, key, keep=keep, mapped=mapped).of_incident(incident)


def pseudonyms(
    incident: Incident, key: bytes, *, keep: Collection[str] = (), mapped: bool = False
) -> Pseudonyms:
    """Return what stands for each original of an incident; the parameters are those of `redact`."""
    if len(key) != KEY_SIZE:
        raise ValueError(f"a key has {KEY_SIZE} bytes, this one {len(key)}; `read_key` gives one")
    names = Pseudonyms(key, keep, _kinds(incident), mapped=mapped)
    names.of_incident(incident)  # meets all originals
    names.settle()
    return names


def read_key(path: str | os.PathLike[str] | None = None) -> bytes:
    """Return the user's key; the first time it is made, in a file that only its owner can read.

    Parameters
    ----------
    path
        The file; by default ``smtpkit/key`` in ``$XDG_CONFIG_HOME``, else in ``~/.config``.

    Raises
    ------
    InputError
        If the file does not hold 64 hexadecimal digits.
    OSError
        If it cannot be read or made.
    """
    home = os.environ.get("XDG_CONFIG_HOME") or Path.home() / ".config"
    file = Path(home, "smtpkit", "key") if path is None else Path(path)
    if not file.exists():
        file.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        with open(os.open(file, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as new:
            new.write(secrets.token_hex(KEY_SIZE) + "\n")
    with open(file, "rb") as made:
        digits = made.read(2 * KEY_SIZE + 2).strip()
    if not re.fullmatch(rb"[0-9A-Fa-f]{%d}" % (2 * KEY_SIZE), digits):
        raise InputError(
            f"{file}: is no key of {2 * KEY_SIZE} hexadecimal digits; name a new file to make one"
        )
    return bytes.fromhex(digits.decode())


class Pseudonyms:
    """What stands for each original of one incident; made by `pseudonyms`.

    `kinds` says of addresses and files what they are: the first word of their labels.
    """

    def __init__(self, key: bytes, keep: Collection[str], kinds: dict[str, str], *, mapped: bool) -> None:
        self._key, self._kinds = key, kinds
        self._keep = {original.casefold() for original in keep}
        self._map = prefix_preserving(key) if mapped else None
        self._labels: dict[str, dict[str, str]] = {}  # kind -> original -> label
        self._in_sentences: dict[str, str] = {}
        self._files = re.compile("(?!)")
        self._of_class: dict[str, Callable[[Any], Any]] = {
            "address": self._address,
            "host": lambda cell: self._label("host", cell.casefold()),
            "name": lambda cell: self._label("name", cell),
            "mailbox": lambda cell: phrases.mail(cell, self._mailbox),
            "message_id": self._message,
            "path": lambda cell: self._label(self._kinds.get(cell, "file"), cell),
            "text": phrases.known,
            "filter": lambda cell: phrases.capture_filter(cell, self._address),
            "octets": phrases.octets,
            "sentence": self._sentence,
            "figures": lambda cell: cell,
        }

    def of_incident(self, incident: Incident) -> Incident:
        """Return the incident redacted; what its messages' octets have in common they still have."""
        frames: dict[str, Any] = {name: self.of_table(getattr(incident, name), name) for name in TABLE_NAMES}
        substitutes = bytes(sorted(range(256), key=lambda octet: self._order(chr(octet))))
        octets = {self._message(name): held.translate(substitutes) for name, held in incident.octets.items()}
        return replace(incident, **frames, octets=octets, redacted=True)

    def of_table(self, frame: pd.DataFrame, table: str) -> pd.DataFrame:
        """Return a table redacted by the classes of its columns; what has none becomes <NA>."""
        columns = tables.TABLES[table] + (tables.TABLES["analysis"] if table == "packets" else ())
        classes = {column.name: column.privacy for column in columns}
        secret = [name for name in frame.columns if classes.get(name) != "none"]
        secret.sort(key=lambda name: classes.get(name) != "figures")  # octets in them stand in sentences too
        return frame.assign(**{name: self._column(frame[name], classes.get(name, "")) for name in secret})

    def settle(self) -> None:
        """Give labels to all originals that were met, in the key's order."""
        for kind, labels in self._labels.items():
            for number, original in enumerate(sorted(labels, key=self._order)):
                six = kind in _ENDS and ":" in original
                labels[original] = f"{kind} {_letters(number)}{IPV6_LABEL if six else ''}"
            if kind in (*_ENDS, *_MESSAGES, *_FILES.values()):
                self._in_sentences |= labels
        files = [name for kind in _FILES.values() for name in self._labels.get(kind, ())]
        longest_first = "|".join(map(re.escape, sorted(files, key=len, reverse=True)))
        if files:
            self._files = re.compile(rf"(?<![\w./-])(?:{longest_first})(?![\w/-])")

    def _order(self, original: str) -> bytes:
        return hmac.digest(self._key, original.encode("utf-8", "surrogatepass"), "sha256")

    def _column(self, values: pd.Series, privacy: str) -> pd.Series:
        of_cell = self._of_class.get(privacy)
        if of_cell is None:
            return pd.Series(pd.NA, index=values.index).astype(values.dtype)
        if values.dtype == object:
            return values.map(lambda cell: self._nested(cell, of_cell), na_action="ignore")
        labels = {original: of_cell(original) for original in values.dropna().unique()}
        return values.map(labels).astype("category" if values.dtype == "category" else values.dtype)

    def _nested(self, cell: Any, of_cell: Callable[[Any], Any]) -> Any:
        """Redact what lists and dicts hold; of octets that tell messages apart, zeros alone are said."""
        if isinstance(cell, list):
            return [self._nested(value, of_cell) for value in cell]
        if isinstance(cell, dict):
            octets = cell.get("pattern_hex")
            if octets and octets != "00":
                self._in_sentences |= {octets: WITHHELD, octets[:32]: WITHHELD}  # `ping -p` takes 16
                cell = cell | {"pattern_hex": WITHHELD}
            return {name: self._nested(value, of_cell) for name, value in cell.items()}
        return of_cell(cell) if isinstance(cell, str) else cell

    def _label(self, kind: str, original: str) -> str:
        if original.casefold() in self._keep:
            return original
        return self._labels.setdefault(kind, {}).setdefault(original, WITHHELD)

    def _address(self, original: str, else_: str = "host") -> str:
        """Return what stands for an IP address, or for the name of a host or domain in the place of one."""
        if not is_address(original):
            return self._label(else_, original.casefold())
        address = ip_address(original)
        if stays(address) or original.casefold() in self._keep:
            return original
        if self._map is None:
            return self._label(self._kinds.get(original, "address"), original)
        if original not in self._in_sentences:
            self._in_sentences[original] = str(self._map(address))
        return self._in_sentences[original]

    def _mailbox(self, original: str) -> str:
        """Return what stands for LOCAL@DOMAIN, or for one of them: a name with a dot is a domain."""
        local, at, domain = original.rpartition("@")
        user = self._label("user", local) if local else ""
        if at or "." in domain or ":" in domain:
            return f"{user}{at}{self._address(domain, 'domain')}"
        return self._label("user", domain)

    def _message(self, original: str) -> str:
        exim = re.fullmatch(tables.MESSAGE_ID, original)
        return self._label(_MESSAGES[0] if exim else _MESSAGES[1], original)

    def _sentence(self, words: str) -> str:
        """Redact a sentence of our own: files, addresses, messages and octets stand in it."""
        labelled = self._files.sub(lambda found: self._in_sentences[found[0]], words)
        return _TOKEN.sub(lambda found: self._token(found[0]), labelled)

    def _token(self, token: str) -> str:
        """Replace the longest beginning of a token that stands for something; a port may follow."""
        for end in range(len(token), 1, -1):
            if token[:end] in self._in_sentences and not token[end : end + 1].isalnum():
                return self._in_sentences[token[:end]] + token[end:]
        return token


def _kinds(incident: Incident) -> dict[str, str]:
    """Return what each file and each address is; who serves anybody is a server."""
    kinds = {path: _FILES[kind] for path, kind in incident.inputs[["path", "kind"]].to_numpy()}
    ends = incident.connections, incident.attempts
    for name in ("client", "server", "peer"):
        for address in pd.concat([frame[name] for frame in ends if name in frame]).dropna().unique():
            kinds[address] = "client" if name == "client" else "server"
    return kinds


def _letters(number: int) -> str:
    """Count A, B, ..., Z, AA, AB, ..."""
    rest, letter = divmod(number, 26)
    return (_letters(rest - 1) if rest else "") + chr(ord("A") + letter)
