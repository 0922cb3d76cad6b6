"""Find the IP packet inside other layers: PPP, PPPoE, MPLS, GRE, IP in IP, VXLAN, Geneve.

IP and Ethernet are the decoder's own. dpkt gets one header at a time of the rest: more would make it read on,
and stumble on what is damaged.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator

import dpkt

from smtpkit.capture import decoder
from smtpkit.capture.decoder import IPV4, IPV6, MPLS, MPLS_MULTICAST, PPP, PPPOE

MAX_DEPTH = 8
MAX_OUTER = 1024  # bytes of headers around the innermost IP packet
ETHERNET = 0x6558  # Transparent Ethernet Bridging: a frame inside GRE or Geneve
GRE, UDP, VXLAN, GENEVE = -1, -2, -3, -4  # layers without an EtherType
_IN_IP = {decoder.IP_IN_IP: IPV4, decoder.IPV6_IN_IP: IPV6, decoder.GRE: GRE, decoder.UDP: UDP}
_IN_PPP = {dpkt.ppp.PPP_IP: IPV4, dpkt.ppp.PPP_IP6: IPV6}
_IN_UDP = {decoder.VXLAN: VXLAN, decoder.VXLAN_OF_LINUX: VXLAN, decoder.GENEVE: GENEVE}


def inner_ip(kind: int, data: bytes) -> tuple[int, int] | None:
    """Return where in `data` the innermost IP packet begins, and its EtherType; None if there is none.

    `kind` says what `data` is, as in ``frames[KIND]``.
    """
    found = [(at, each) for at, each in layers(kind, data) if each in (IPV4, IPV6)]
    return found[-1] if found and found[-1][0] <= MAX_OUTER else None


def layers(kind: int, data: bytes) -> Iterator[tuple[int, int]]:
    """Yield where in `data` each layer begins, down to one that is not known, and what it is.

    That is an EtherType, or one of GRE, UDP, VXLAN and GENEVE.
    """
    at, kind = 0, kind & ~decoder.TUNNEL
    for _ in range(MAX_DEPTH):
        yield at, kind
        try:
            size, kind = _LAYERS[kind](data[at : at + MAX_OUTER])
        except (KeyError, IndexError, struct.error, dpkt.Error):
            return
        at += size


def _ip(data: bytes) -> tuple[int, int]:
    protocol, transport, _, fragment_offset, _, _ = decoder.ip_header(data, 0, len(data))
    if fragment_offset:
        raise KeyError(protocol)
    return transport, _IN_IP[protocol]


def _ppp(data: bytes) -> tuple[int, int]:
    address = 2 if data[:2] == b"\xff\x03" else 0  # may be left out, RFC 1661 6.6
    ppp = dpkt.pppoe.PPP(data[address : address + 2])
    return address + (1 if data[address] & dpkt.ppp.PFC_BIT else 2), _IN_PPP[ppp.p]


def _pppoe(data: bytes) -> tuple[int, int]:
    pppoe = dpkt.pppoe.PPPoE(data[:6])
    return 6, {0: PPP}[pppoe.code]


def _mpls(data: bytes) -> tuple[int, int]:
    label = dpkt.ethernet.MPLSlabel(data[:4])
    if not label.s:
        return 4, MPLS
    return 4, {4: IPV4, 6: IPV6}[data[4] >> 4]


def _gre(data: bytes) -> tuple[int, int]:
    gre = dpkt.gre.GRE(data[:16])  # flags, checksum, key and number, RFC 2890
    return len(gre) - len(gre.data), gre.p


def _ethernet(data: bytes) -> tuple[int, int]:
    kind, at = decoder.ethernet(data, 12, len(data))
    return at, kind


def _udp(data: bytes) -> tuple[int, int]:
    return 8, _IN_UDP[decoder.u16(data, 2)]


def _vxlan(data: bytes) -> tuple[int, int]:
    return 8, {0x08: ETHERNET}[data[0]]  # flags, RFC 7348 5


def _geneve(data: bytes) -> tuple[int, int]:
    return 8 + (data[0] & 0x3F) * 4, {0: decoder.u16(data, 2)}[data[0] >> 6]  # version 0, RFC 8926 3.4


_LAYERS = {
    **{IPV4: _ip, IPV6: _ip, PPP: _ppp, PPPOE: _pppoe, MPLS: _mpls, MPLS_MULTICAST: _mpls},
    **{ETHERNET: _ethernet, GRE: _gre, UDP: _udp, VXLAN: _vxlan, GENEVE: _geneve},
}
