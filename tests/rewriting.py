"""Captures written anew with some packets left out or cut short, packet by packet."""

import io
import struct

import dpkt

from smtpkit.files import open_input

SMTP = (25, 587)
SYN = 2
IP_AT = {1: 14, 101: 0, 113: 16, 276: 20}  # link type -> octets before the IP header, without tags


class Frame:
    """A captured frame of IP without options: where its headers end, its ports and flags if it is TCP."""

    def __init__(self, data, link):
        self.data, self.end, self.src_port, self.dst_port, self.flags = data, len(data), None, None, 0
        ip = IP_AT[link] + 4 * (link == 1 and data[12:14] == b"\x81\x00")
        six = data[ip] >> 4 == 6
        self.protocol = data[ip + 6] if six else data[ip + 9]
        self.length = max(
            len(data), ip + 40 * six + struct.unpack_from(">H", data, ip + (4 if six else 2))[0]
        )
        later = not six and struct.unpack_from(">H", data, ip + 6)[0] & 0x1FFF
        if self.protocol == dpkt.ip.IP_PROTO_TCP and not later:
            tcp = ip + (40 if six else 20)
            self.src_port, self.dst_port = struct.unpack_from(">HH", data, tcp)
            self.flags, self.end = data[tcp + 13], tcp + 4 * (data[tcp + 12] >> 4)


def rewrite(path, to, keep):
    """Write to `to` what `keep` returns of each frame of the capture `path`; None leaves it out."""
    with open_input(path) as file:
        reader = dpkt.pcap.UniversalReader(io.BytesIO(file.read()))
    out = struct.pack("<IHHiIII", 0xA1B2C3D4, 2, 4, 0, 0, 262144, reader.datalink())
    for time, data in reader:
        frame = Frame(bytes(data), reader.datalink())
        kept = keep(frame)
        if kept is not None:
            seconds, micro = divmod(round(float(time) * 10**6), 10**6)
            out += struct.pack("<IIII", seconds, micro, len(kept), frame.length) + kept
    to.write_bytes(out)


def without_syn(frame):
    return None if frame.flags & SYN else frame.data


def without_icmp(frame):
    return None if frame.protocol in (1, 58) else frame.data


def headers(frame):
    return frame.data[: frame.end]


def from_client(frame):
    return None if frame.src_port in SMTP else frame.data


def from_server(frame):
    return None if frame.dst_port in SMTP else frame.data
