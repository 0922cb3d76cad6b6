"""Names of link layers: the registry of tcpdump.org, as far as one meets them."""

NAMES = {
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


def name(link: int) -> str:
    """Return the name of LINKTYPE number `link`, or the number itself."""
    return NAMES.get(link, str(link))
