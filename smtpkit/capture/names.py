"""Names of link layers, EtherTypes and IP protocols: tcpdump.org's and IANA's, as far as one meets them."""

from smtpkit.capture import decoder

LINK_TYPES = {
    0: "NULL",
    1: "ETHERNET",
    9: "PPP",
    12: "RAW",
    14: "RAW",
    50: "PPP_HDLC",
    51: "PPP_ETHER",
    101: "RAW",
    104: "C_HDLC",
    105: "IEEE802_11",
    107: "FRELAY",
    108: "LOOP",
    113: "LINUX_SLL",
    117: "PFLOG",
    127: "IEEE802_11_RADIOTAP",
    138: "APPLE_IP_OVER_IEEE1394",
    149: "PKTAP",
    189: "USB_LINUX",
    220: "USB_LINUX_MMAPPED",
    228: "IPV4",
    229: "IPV6",
    239: "NFLOG",
    253: "NETLINK",
    276: "LINUX_SLL2",
}
ETHERTYPES = {
    0x0806: "ARP",
    0x0842: "Wake-on-LAN",
    0x880B: "PPP without IP",
    0x8847: "MPLS without IP",
    0x8848: "MPLS without IP",
    0x8863: "PPPoE discovery",
    0x8864: "PPPoE without IP",
    0x888E: "EAPOL",
    0x88CC: "LLDP",
    0x88E5: "MACsec",
    0x88F7: "PTP",
}
PROTOCOLS = {
    2: "IGMP",
    4: "IP in IP",
    17: "UDP",
    41: "IPv6 in IP",
    47: "GRE",
    50: "ESP",
    51: "AH",
    88: "EIGRP",
    89: "OSPF",
    97: "EtherIP",
    103: "PIM",
    112: "VRRP",
    115: "L2TP",
    132: "SCTP",
    137: "MPLS in IP",
}
_REASONS = {
    decoder.NOT_IP: "not IP",
    decoder.CUT: "headers cut off by the snap length",
    decoder.BAD_IP: "damaged IP header",
    decoder.NO_PACKET: "no packet, but a record that is numbered like one",
    decoder.BAD_TCP: "damaged TCP header, kept as far as it is readable",
    decoder.LONG_IP: "IP length beyond the end of the frame, kept without payload",
    decoder.NO_INTERFACE: "of an interface that the file does not describe",
}


def link_type(number: int) -> str:
    """Return the name of a LINKTYPE, or the number itself."""
    return LINK_TYPES.get(number, str(number))


def reason(kind: int) -> str:
    """Return why a frame gave no row, as ``frames[KIND]`` tells; what has no name here has one in common."""
    if kind >= 0:
        return f"{ETHERTYPES[kind]} is not read" if kind in ETHERTYPES else _REASONS[decoder.NOT_IP]
    if kind <= decoder.OTHER_PROTOCOL:
        name = PROTOCOLS.get(decoder.OTHER_PROTOCOL - kind)
        return f"{name} is not read" if name else "neither TCP nor ICMP"
    return _REASONS[kind]
