"""Find the IP packet inside other layers, with dpkt: PPP, PPPoE, MPLS, GRE, IP in IP."""

from __future__ import annotations

import struct

import dpkt

from smtpkit.capture.decoder import IPV4, IPV6, MPLS, MPLS_MULTICAST, PPP, PPPOE, TUNNEL

MAX_DEPTH = 8
MAX_OUTER = 1024  # bytes of headers around the innermost IP packet
_GRE = dpkt.ip.IP_PROTO_GRE
_IN_IP = {4: IPV4, 41: IPV6, _GRE: _GRE}
_IN_PPP = {dpkt.ppp.PPP_IP: IPV4, dpkt.ppp.PPP_IP6: IPV6}


def inner_ip(kind: int, data: bytes) -> tuple[int, int] | None:
    """Return where in `data` the innermost IP packet begins, and its EtherType; None if there is none.

    `kind` says what `data` is, as in ``frames[KIND]``. A tunnelled packet is decoded by the same code as any
    other, so dpkt gets one header at a time: more would make it read on, and stumble on what is damaged.
    """
    at, kind = 0, kind & ~TUNNEL
    for _ in range(MAX_DEPTH):
        try:
            size, inner = _LAYERS[kind](data[at:])
        except (KeyError, IndexError, struct.error, dpkt.Error):
            return None
        if inner is None:
            return (at, kind) if at <= MAX_OUTER else None
        at, kind = at + size, inner
    return None


def _ipv4(data: bytes) -> tuple[int, int | None]:
    ip = dpkt.ip.IP(data[:20])
    return ip.hl * 4, None if ip.offset else _IN_IP.get(ip.p)


def _ipv6(data: bytes) -> tuple[int, int | None]:
    return 40, _IN_IP.get(data[6])  # dpkt's class insists on reading the extension headers


def _ppp(data: bytes) -> tuple[int, int | None]:
    address = 2 if data[:2] == b"\xff\x03" else 0  # may be left out, RFC 1661 6.6
    ppp = dpkt.pppoe.PPP(data[address : address + 2])
    return address + (1 if data[address] & dpkt.ppp.PFC_BIT else 2), _IN_PPP[ppp.p]


def _pppoe(data: bytes) -> tuple[int, int | None]:
    pppoe = dpkt.pppoe.PPPoE(data[:6])
    return 6, {0: PPP}[pppoe.code]


def _mpls(data: bytes) -> tuple[int, int | None]:
    label = dpkt.ethernet.MPLSlabel(data[:4])
    if not label.s:
        return 4, MPLS
    return 4, {4: IPV4, 6: IPV6}[data[4] >> 4]


def _gre(data: bytes) -> tuple[int, int | None]:
    gre = dpkt.gre.GRE(data[:16])  # flags, checksum, key and number, RFC 2890
    return len(gre) - len(gre.data), {IPV4: IPV4, IPV6: IPV6, PPP: PPP}[gre.p]


_LAYERS = {IPV4: _ipv4, IPV6: _ipv6, PPP: _ppp, PPPOE: _pppoe, MPLS: _mpls, MPLS_MULTICAST: _mpls, _GRE: _gre}
