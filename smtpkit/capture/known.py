"""What a reader knows across packets and files: addresses, connections, first fragments."""

from __future__ import annotations

import secrets
from collections.abc import Iterator
from types import SimpleNamespace

import numpy as np

from smtpkit.capture import columns, decoder

REASSEMBLY = 60 * 10**9  # nanoseconds that the fragments of one packet may be apart, RFC 1122 3.3.2
REMEMBERED = 65536  # first fragments remembered at most


class Known:
    """The decoder's `Memory`, which grows, and the names of the addresses in it."""

    def __init__(self) -> None:
        self.names: list[str] = []
        self._counters = np.array([0, 0, 0, secrets.randbits(32)], np.int64)
        self._hosts = np.empty((0, 4), np.int64)
        self._connections = np.empty((0, 5), np.int64)
        self._host_slots = self._connection_slots = np.empty(0, np.int64)

    def memory(self, form: SimpleNamespace, frames: int) -> decoder.Memory:
        """Return the memory as `form` takes it, with room for what `frames` more frames can bring."""
        hosts, connections = int(self._counters[decoder.HOSTS]), int(self._counters[decoder.CONNECTIONS])
        need = max(hosts + 4 * frames, connections + 2 * frames)  # a packet and the one it quotes
        grown = need > len(self._hosts)
        if grown:
            room = 1 << (2 * need - 1).bit_length()
            self._hosts = _widened(self._hosts, room)
            self._connections = _widened(self._connections, room)
            self._host_slots = np.full(2 * room, -1)
            self._connection_slots = np.full(2 * room, -1)
        tables = (self._hosts, self._host_slots, self._connections, self._connection_slots, self._counters)
        memory = decoder.Memory(*map(form.view, tables))
        if grown:
            form.rehash(memory)
        return memory

    def only(self, streams: np.ndarray) -> Known:
        """Return what is known of these connections, to go on from here with their packets."""
        known, hosts = Known(), int(self._counters[decoder.HOSTS])
        connections = self._connections[: int(self._counters[decoder.CONNECTIONS])]
        connections = connections[np.isin(connections[:, decoder.NUMBER], streams)]
        known.names, known._counters = self.names[:hosts], self._counters.copy()
        known._hosts, known._connections = self._hosts[:hosts].copy(), connections
        known._counters[decoder.CONNECTIONS] = len(connections)
        return known

    def name_hosts(self) -> None:
        """Spell out the addresses that are new."""
        new = self._hosts[len(self.names) : int(self._counters[decoder.HOSTS])]
        self.names += map(columns.host_name, new.tolist())


class Fragments:
    """Ties later fragments to the connection of their first one, in whatever order they come."""

    def __init__(self) -> None:
        self._first: dict[tuple[int, ...], tuple[int, int]] = {}

    def tie(self, cells: np.ndarray, time: np.ndarray) -> None:
        """Fill in the streams of a batch's later fragments; `time` is that of each row."""
        waiting: dict[tuple[int, ...], list[int]] = {}
        for row, key, first in _fragments(cells):
            now = int(time[row])
            if first:
                self._remember(key, int(cells[decoder.STREAM, row]), now)
                cells[decoder.STREAM, waiting.pop(key, [])] = cells[decoder.STREAM, row]
            elif key in self._first and abs(now - self._first[key][1]) <= REASSEMBLY:
                cells[decoder.STREAM, row] = self._first[key][0]
            else:
                waiting.setdefault(key, []).append(row)

    def _remember(self, key: tuple[int, ...], stream: int, now: int) -> None:
        self._first.pop(key, None)
        self._first[key] = stream, now
        if len(self._first) > REMEMBERED:
            del self._first[next(iter(self._first))]


def _fragments(cells: np.ndarray) -> Iterator[tuple[int, tuple[int, ...], bool]]:
    """Yield row, what all fragments of one packet share, and whether it is the first of them."""
    rows = np.flatnonzero(cells[decoder.FRAGMENT_ID] >= 0)
    keys = cells[[decoder.SRC, decoder.DST, decoder.IP_PROTOCOL, decoder.FRAGMENT_ID]][:, rows]
    first = cells[decoder.FRAGMENT_OFFSET, rows] == 0
    yield from zip(rows.tolist(), map(tuple, keys.T.tolist()), first.tolist(), strict=True)


def _widened(table: np.ndarray, room: int) -> np.ndarray:
    wide = np.empty((room, table.shape[1]), np.int64)
    wide[: len(table)] = table
    return wide
