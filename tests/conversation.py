"""Packets typed by hand: one line a packet, as one reads them in Wireshark.

    0.000 > S  seq=0 mss=1460
    0.020 < SA seq=0 ack=1 mss=1460
    0.040 > A  seq=1 ack=1 len=100

`>` goes from client to server. Header numbers are the relative ones plus an initial sequence number for each
direction, modulo 2^32.
"""

import pandas as pd

from smtpkit import tables, tcp

CLIENT, SERVER = "192.0.2.10", "198.51.100.25"
FLAGS = {"F": 1, "S": 2, "R": 4, "P": 8, "A": 16, "E": 64, "C": 128}


def conversation(
    text, *, stream=0, client=CLIENT, server=SERVER, port=40000, isn=(1000, 7000), headers=20, first_frame=1
):
    """Return the table `packets` of the connection in `text`."""
    rows = []
    for number, line in enumerate(filter(None, text.splitlines())):
        time, sign, *words = line.split()
        given = dict(word.split("=") for word in words if "=" in word)
        forward = sign == ">"
        mine, other = isn if forward else isn[::-1]
        length = int(given.get("len", 0))
        options = int(given.get("options", 0))
        rows.append(
            {
                "capture": 0,
                "file": "typed.pcap",
                "frame": first_frame + number,
                "time": pd.Timestamp("2026-01-31 12:00:00", tz="UTC") + pd.Timedelta(seconds=float(time)),
                "src": client if forward else server,
                "dst": server if forward else client,
                "src_port": port if forward else 25,
                "dst_port": 25 if forward else port,
                "ip_version": 6 if ":" in client else 4,
                "ip_protocol": 6,
                "ip_len": headers + 20 + options + length,
                "frame_len": headers + 34 + options + length,
                "captured_len": headers + 34 + options + length,
                "ttl": int(given.get("ttl", 64)),
                "ip_id": int(given["id"]) if "id" in given else None,
                "df": None if ":" in client else given.get("df", "1") == "1",
                "fragment_offset": 0,
                "more_fragments": False,
                "tcp_len": length,
                "tcp_header_len": 20 + options,
                "seq": (int(given["seq"]) + mine) % 2**32,
                "ack": (int(given["ack"]) + other) % 2**32 if "ack" in given else 0,
                "flags": sum(FLAGS[letter] for letter in words[0]),
                "window": int(given.get("win", 65000)),
                "mss": int(given["mss"]) if "mss" in given else None,
                "window_scale": int(given["scale"]) if "scale" in given else None,
                "sack_permitted": "S" in words[0] and "nosack" not in words,
                "sack": _sack(given.get("sack"), other),
                "ts_value": int(given["ts"]) if "ts" in given else None,
                "checksum_offload": "offload" in words,
                "outer_len": 0,
                "stream": stream,
            }
        )
    return tables.from_rows(rows, "packets")


def _sack(blocks, isn):
    if blocks is None:
        return None
    pairs = (block.split("-") for block in blocks.split(","))
    return " ".join(f"{(int(a) + isn) % 2**32}-{(int(b) + isn) % 2**32}" for a, b in pairs)


def analysed(text, **options):
    """Return the packets of `text` with their analysis."""
    return tcp.analysis(conversation(text, **options))
