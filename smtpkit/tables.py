"""The data model: every table and every column, stated here and nowhere else.

A table is a plain pandas DataFrame that always has all of its columns, empty rather than None. Absent is
``<NA>``, never zero. Times are UTC, durations seconds, lengths bytes (octets). ``forward`` is from the SMTP
client to the SMTP server, ``reverse`` the other way.

The last field of a column is its privacy class, which drives redaction: ``address`` (IP), ``host`` (a name),
``mailbox`` (may hold a local part), ``message_id``, ``path``, ``name`` (chosen by the site), ``text`` (free
text from the wire or the log), ``filter`` (of a capture), ``octets`` (of a message), ``hash``, ``sentence``
(our own words about what is in other columns), ``figures`` (numbers by name), ``none``. Numbers and times are
``none`` and need not say so; text that says nothing has no class, and is dropped.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, NamedTuple

import pandas as pd

TIME = "datetime64[ns, UTC]"
KEY = ["capture", "stream"]  # of a connection
ENDS = ["client", "client_port", "server", "server_port"]  # of the same at any capture point
SMTP_PORTS = (25, 465, 587, 2525)  # by which a server is known where neither SYN nor log tells it
# Exim's message id, up to 4.96 and since 4.97 (Exim specification, "Message identification"). It begins with
# the time in seconds, in base 62: with a digit until the year 2260.
MESSAGE_ID = r"[0-9][0-9A-Za-z]{5}-(?:[0-9A-Za-z]{6}-[0-9A-Za-z]{2}|[0-9A-Za-z]{11}-[0-9A-Za-z]{4})"


class Column(NamedTuple):
    """One column: pandas dtype, meaning, unit, the source's term for it, privacy class."""

    name: str
    dtype: str
    meaning: str
    unit: str = ""
    source: str = ""
    privacy: str = ""


_CONNECTION = (
    Column("capture", "Int16", "capture point, row of `captures`"),
    Column("stream", "Int32", "TCP connection within the capture, from 0", source="tcp.stream"),
)
_DIRECTION = Column("direction", "string", "forward (client to server) or reverse", privacy="none")
_FILE = Column("file", "category", "input file that the row was read from", privacy="path")
_LINE = Column("line", "Int64", "line in that file, from 1; the first one of a continued line")
_FRAME = Column("frame", "Int64", "packet's number in that file, from 1", source="frame.number")
_PATH = (
    Column("client", "string", "address of the SMTP client", source="RFC 5321 2.3.5", privacy="address"),
    Column("client_port", "Int32", "its TCP port", source="tcp.port"),
    Column("server", "string", "address of the SMTP server", source="RFC 5321 2.3.5", privacy="address"),
    Column("server_port", "Int32", "its TCP port", source="tcp.port"),
)
_AROUND = tuple(
    column
    for direction in ("forward", "reverse")
    for column in (
        Column(f"too_big_{direction}", "Int64", f"ICMP too-big messages about {direction} packets"),
        Column(f"next_hop_mtu_{direction}", "Int64", "smallest MTU that they name", "byte", "icmp.mtu"),
        Column(f"first_too_big_{direction}", TIME, "the first of them"),
        Column(f"fragments_{direction}", "Int64", f"later fragments of {direction} packets"),
        Column(
            f"fragmented_{direction}",
            "Int64",
            f"{direction} packets of which fragments were captured; <NA> on IPv6, if any were",
        ),
        Column(f"reassembled_{direction}", "Int64", "of these, those of which every fragment was captured"),
        Column(
            f"reassembly_exceeded_{direction}",
            "Int64",
            f"ICMP messages that fragments of {direction} packets never became whole",
            source="RFC 792, RFC 4443 3.3",
        ),
    )
)
_TRAFFIC = tuple(
    column
    for direction, sender, receiver in (("forward", "client", "server"), ("reverse", "server", "client"))
    for column in (
        Column(
            f"bytes_sent_{direction}", "Int64", f"payload that the {sender} is known to have sent", "byte"
        ),
        Column(f"bytes_acknowledged_{direction}", "Int64", f"of it, acknowledged by the {receiver}", "byte"),
        Column(f"retransmissions_{direction}", "Int64", f"packets of the {sender} that repeat data"),
        Column(f"bytes_retransmitted_{direction}", "Int64", "payload that they repeat", "byte"),
        Column(
            f"duplicate_acks_{direction}",
            "Int64",
            f"duplicate ACKs that the {sender} sent",
            source="tcp.analysis.duplicate_ack",
        ),
        Column(f"last_{direction}", TIME, f"last packet of the {sender}"),
        Column(
            f"zero_window_time_{direction}",
            "Float64",
            f"time that the {sender} had to wait at the {receiver}'s window of 0",
            "s",
            "RFC 9293 3.8.6.1",
        ),
        Column(
            f"lost_at_window_{direction}",
            "Int64",
            f"first byte that the {sender} had to repeat, less the end of the {receiver}'s window, unscaled, "
            "when it was first sent; <NA> without repeats, or without a scale",
            "byte",
            "RFC 7323 2",
        ),
    )
)
_DEAD = tuple(
    column
    for direction, sender in (("forward", "client"), ("reverse", "server"))
    for column in (
        Column(
            f"dead_packets_{direction}",
            "Int64",
            f"packets of the {sender} from dead_from on that ask for an answer; <NA>: cannot be told",
        ),
        Column(f"dead_smallest_{direction}", "Int64", "smallest IP length of these, offload apart", "byte"),
        Column(f"dead_largest_{direction}", "Int64", "largest IP length of these, offload apart", "byte"),
    )
)
_ENDS = tuple(
    Column(f"{flag}_{direction}", TIME, f"first {flag.upper()} of the {sender}")
    for flag in ("fin", "rst")
    for direction, sender in (("forward", "client"), ("reverse", "server"))
)

TABLES: dict[str, tuple[Column, ...]] = {
    # One row for each capture point. A rotation of files is one capture, the two ends of a path are two.
    "captures": (
        Column("capture", "Int16", "number of the capture point, from 0"),
        Column("files", "string", "its files in time order", privacy="sentence"),
        Column(
            "link_type",
            "string",
            "name of the link layer",
            source="LINKTYPE_ of the pcap registry",
            privacy="none",
        ),
        Column("snap_length", "Int64", "bytes kept of each packet; <NA> if packets are whole", "byte"),
        Column(
            "filter",
            "string",
            "capture filter, where the file tells",
            source="pcapng if_filter",
            privacy="filter",
        ),
        Column("dropped", "Int64", "packets that the capturing system lost", source="pcapng isb_ifdrop"),
        Column("acked_unseen", "Int64", "packets that acknowledge what the capture lacks: it lost packets"),
        Column("captured_twice", "Int64", "TCP packets that are in it once more"),
        Column("packets", "Int64", "packets in the files, of whatever kind"),
        Column("icmp", "Int64", "ICMP messages among them"),
        Column("icmpv6", "Int64", "ICMPv6 messages among them"),
        Column("first", TIME, "time of the first packet"),
        Column("last", TIME, "time of the last packet"),
        Column("steps_back", "Int64", "packets whose time is before that of the packet before them"),
        Column(
            "largest_step_back", "Float64", "by how much at most; microseconds come of several queues", "s"
        ),
        Column("clock_offset", "Float64", "log's clock minus the capture's; <NA> if nothing joins", "s"),
        Column(
            "vantage",
            "string",
            "where it was taken: client, server, between; <NA> if undecided",
            privacy="none",
        ),
        Column("vantage_reason", "string", "why we think so", privacy="sentence"),
    ),
    # One row for each TCP or ICMP packet, and each later fragment. Header facts only.
    "packets": (
        Column("capture", "Int16", "capture point, row of `captures`"),
        _FILE,
        Column("frame", "int32", "packet's number in its file, from 1", source="frame.number"),
        Column("time", TIME, "time stamp of the capture", source="frame.time_epoch"),
        Column("frame_len", "int32", "length on the wire, link header included", "byte", "frame.len"),
        Column("captured_len", "int32", "bytes of it in the file", "byte", "frame.cap_len"),
        Column("src", "category", "source address", source="ip.src", privacy="address"),
        Column("dst", "category", "destination address", source="ip.dst", privacy="address"),
        Column("src_port", "UInt16", "source port; <NA> without a TCP header", source="tcp.srcport"),
        Column("dst_port", "UInt16", "destination port", source="tcp.dstport"),
        Column("ip_version", "uint8", "4 or 6", source="ip.version"),
        Column("ip_protocol", "uint8", "what the IP packet carries: 6, 1 or 58", source="ip.proto"),
        Column("ip_len", "int32", "IP packet, headers included; IPv6: 40 + payload length", "byte", "ip.len"),
        Column("ttl", "uint8", "time to live, hop limit", source="ip.ttl"),
        Column("ip_id", "UInt16", "identification; <NA> on IPv6", source="ip.id"),
        Column("df", "boolean", "don't fragment; <NA> on IPv6", source="ip.flags.df"),
        Column("fragment_offset", "uint16", "0 unless a later fragment", "byte", "ip.frag_offset"),
        Column("more_fragments", "bool", "fragments follow", source="ip.flags.mf"),
        Column("tcp_len", "Int32", "TCP payload by the headers, not by what was captured", "byte", "tcp.len"),
        Column("tcp_header_len", "UInt8", "TCP header with options", "byte", "tcp.hdr_len"),
        Column("seq", "UInt32", "sequence number as in the header", source="tcp.seq_raw"),
        Column("ack", "UInt32", "acknowledgment number as in the header", source="tcp.ack_raw"),
        Column("flags", "UInt16", "the 12 flag bits", source="tcp.flags"),
        Column("window", "UInt16", "window as in the header, unscaled", source="tcp.window_size_value"),
        Column("mss", "UInt16", "maximum segment size option", "byte", "tcp.options.mss_val"),
        Column("window_scale", "UInt8", "window scale option, a shift", source="tcp.options.wscale.shift"),
        Column("sack_permitted", "boolean", "option present; <NA> without TCP", source="RFC 2018"),
        Column(
            "sack",
            "string",
            "SACK blocks `left-right`, blanks between",
            source="tcp.options.sack_le",
            privacy="none",
        ),
        Column("ts_value", "UInt32", "timestamp value", source="tcp.options.timestamp.tsval"),
        Column("ts_echo", "UInt32", "timestamp echo reply", source="tcp.options.timestamp.tsecr"),
        Column(
            "checksum_offload",
            "bool",
            "TCP checksum of the pseudo-header only: seen on the very host that sends it",
            source="Wireshark: matches partial checksum",
        ),
        Column("icmp_type", "UInt8", "ICMP or ICMPv6 type", source="icmp.type"),
        Column("icmp_code", "UInt8", "ICMP or ICMPv6 code", source="icmp.code"),
        Column("next_hop_mtu", "UInt32", "of a too-big message; 0 is what it says", "byte", "icmp.mtu"),
        Column("quoted_ip_len", "UInt32", "length of the IP packet that an ICMP error quotes", "byte"),
        Column("outer_len", "int16", "tunnel headers before this IP header", "byte"),
        Column("stream", "Int32", "connection; of an ICMP error: the one it quotes", source="tcp.stream"),
        Column("payload_offset", "UInt32", "TCP payload's place in its batch's buffer; <NA> if not captured"),
    ),
    # Columns that tcp.analysis adds to packets; flags by Wireshark's names (tcp.analysis.*).
    "analysis": (
        Column(
            "direction",
            "category",
            "forward (client to server) or reverse; <NA> if captured_twice",
            privacy="none",
        ),
        Column("captured_twice", "bool", "the same packet once more, met elsewhere: no part of what follows"),
        Column("relative_seq", "Int64", "seq - first seq of the direction, past 2^32 too", "byte", "tcp.seq"),
        Column("relative_ack", "Int64", "ack - first seq of the other direction", "byte", "tcp.ack"),
        Column(
            "retransmission",
            "bool",
            "seen before, and sent again; the next two are kinds of it",
            source="tcp.analysis",
        ),
        Column("fast_retransmission", "bool", "after duplicate ACKs", source="tcp.analysis"),
        Column("spurious_retransmission", "bool", "acknowledged before already", source="tcp.analysis"),
        Column("out_of_order", "bool", "late, but never seen before", source="tcp.analysis"),
        Column("duplicate_ack", "bool", "the same acknowledgment once more", source="tcp.analysis"),
        Column("lost_segment", "bool", "a segment before this one was not captured", source="tcp.analysis"),
        Column("ack_lost_segment", "bool", "acknowledges what was not captured", source="tcp.analysis"),
        Column("zero_window", "bool", "window 0", source="tcp.analysis"),
        Column("zero_window_probe", "bool", "one byte into a window of 0", source="tcp.analysis"),
        Column("window_full", "bool", "fills the receiver's window", source="tcp.analysis"),
        Column(
            "beyond_unscaled_window", "bool", "ends beyond the window as it stands in the header, unscaled"
        ),
        Column("keep_alive", "bool", "0 or 1 byte before the next sequence number", source="tcp.analysis"),
        Column("offload", "bool", "longer than the MSS allows: segmentation offload joined several packets"),
        Column("delivered", "boolean", "this very copy was acknowledged (ACK or SACK); <NA> if undecidable"),
        Column(
            "bytes_in_flight",
            "Int32",
            "sent, up to this data packet, and not yet acknowledged cumulatively",
            "byte",
            "RFC 5681 2: FlightSize",
        ),
        Column(
            "ack_rtt",
            "Float32",
            "from the data that this packet acknowledges to here; <NA> where data in flight was sent twice",
            "s",
            "RFC 6298 3",
        ),
    ),
    "connections": (
        *_CONNECTION,
        *_PATH,
        Column("client_known_by", "string", "what tells client from server: SYN or port", privacy="none"),
        Column("start", TIME, "first packet"),
        Column("end", TIME, "last packet"),
        Column("handshake", "string", "complete, unanswered, refused, or unseen", privacy="none"),
        Column("initial_rtt", "Float64", "SYN to the ACK of SYN-ACK", "s", "tcp.analysis.initial_rtt"),
        Column("syn_rtt", "Float64", "its first part, SYN to SYN-ACK: large where the client is near", "s"),
        Column("ttl_client", "UInt8", "TTL of the client's packets, as captured"),
        Column("ttl_server", "UInt8", "TTL of the server's packets, as captured"),
        Column(
            "checksum_offload",
            "string",
            "client, server or both: whose packets mostly have checksums left to the network card",
            privacy="none",
        ),
        Column("mss_client", "UInt16", "MSS that the client announced", "byte", "RFC 9293 3.7.1"),
        Column("mss_server", "UInt16", "MSS that the server announced", "byte", "RFC 9293 3.7.1"),
        Column("window_scale_client", "UInt8", "client's window scale", source="RFC 7323 2"),
        Column("window_scale_server", "UInt8", "server's window scale", source="RFC 7323 2"),
        Column("packets", "Int64", "TCP packets, both directions"),
        Column("syns", "Int64", "SYNs of the client"),
        Column("sack_permitted", "boolean", "agreed on, in both SYNs", source="RFC 2018 2"),
        Column("timestamps", "boolean", "agreed on, in both SYNs", source="RFC 7323 3"),
        Column("ecn_offered", "boolean", "the client's first SYN asks for ECN", source="RFC 3168 6.1.1"),
        Column("ecn", "boolean", "agreed on, in both SYNs", source="RFC 3168 6.1.1"),
        *_TRAFFIC,
        Column("sacks", "Int64", "packets with SACK blocks", source="tcp.options.sack"),
        Column(
            "sack_outside",
            "Int64",
            "of these, with an edge outside of all that the other side sent; <NA> if that was not captured",
            source="RFC 2018 4",
        ),
        Column("sack_outside_frame", "Int64", "the first of them", source="frame.number"),
        Column("last_new_forward", TIME, "when the client's stream last moved on (new data or new ACK)"),
        Column(
            "waiting_bytes",
            "Int64",
            "payload of the client after the server's last, with no answer in the capture; what came when "
            "the other side had left does not count",
            "byte",
        ),
        Column("waiting_since", TIME, "the first of it; the handshake, where neither side sent payload"),
        Column("max_pause", "Float64", "longest time in which neither side sent anything", "s"),
        Column("pause_start", TIME, "when it began: the packet before it"),
        Column(
            "dead_from",
            TIME,
            "first packet since which none, of either side, is known to have arrived; <NA>: never, or cannot "
            "be told",
        ),
        *_DEAD,
        *_AROUND,
        Column("unreachable_type", "UInt8", "first ICMP error other than too-big", source="icmp.type"),
        Column("unreachable_code", "UInt8", "its code", source="icmp.code"),
        Column("unreachable_frame", "Int64", "its packet's number in its file", source="frame.number"),
        *_ENDS,
        Column(
            "ended_by",
            "string",
            "client or server: who sent the first FIN or RST; <NA>: nobody",
            privacy="none",
        ),
        Column("ended_how", "string", "FIN, RST or silence", privacy="none"),
        Column(
            "closed_by",
            "string",
            "client or server, in whose name the connection was closed first, by the acknowledgments; <NA>: "
            "nobody, or both at once",
            privacy="none",
        ),
        Column("close_time", TIME, "its FIN or RST; of both at once, the first"),
        Column(
            "unprompted_client", "boolean", "the client's first FIN or RST does not answer one of the server"
        ),
        Column(
            "unprompted_server", "boolean", "the server's first FIN or RST does not answer one of the client"
        ),
        Column(
            "reset_forged",
            "boolean",
            "a RST has another distance by its TTL, or both a window and an IP identification, unlike its "
            "host's packets; <NA>: no RST, or no other packet of that host",
        ),
        Column("reset_frame", "Int64", "that RST, else the first one", source="frame.number"),
        Column("reset_ttl", "UInt8", "its TTL", source="ip.ttl"),
        _FILE,
        _FRAME,
    ),
    # A stall: no new byte acknowledged for max(1 s, 3 x initial RTT) while data is outstanding.
    # Of one connection the first 200.
    "stalls": (
        *_CONNECTION,
        _DIRECTION,
        Column("start", TIME, "when data was outstanding and its last new byte had been acknowledged"),
        Column("end", TIME, "when a new byte was acknowledged, else the end of the connection or capture"),
        Column("duration", "Float64", "end - start", "s"),
        Column("seq", "UInt32", "first unacknowledged byte, as in the header", source="RFC 9293 SND.UNA"),
        Column("relative_seq", "Int64", "the same, relative to the direction's first seq", "byte", "tcp.seq"),
        Column("outstanding", "Int64", "bytes sent and not acknowledged, at most", "byte"),
        Column("missing", "boolean", "the first unacknowledged byte was never captured: lost upstream"),
        Column("gap", "Int64", "bytes from there to the next byte captured, where missing", "byte"),
        Column("repeats", "Int64", "times that the first unacknowledged byte was sent again"),
        Column("repeat_ip_len", "Int64", "IP length that most repeats had, offload packets left out", "byte"),
        Column("smallest_repeat_ip_len", "Int64", "smallest IP length among the repeats", "byte"),
        Column(
            "sizes_tried",
            "string",
            "IP lengths that it was sent in, in order, the first 8",
            "byte",
            privacy="none",
        ),
        Column(
            "delivered_before", "Int64", "largest IP length of the direction delivered before, here", "byte"
        ),
        Column("first_interval", "Float64", "time between the last two sendings: the first such pair", "s"),
        Column("last_interval", "Float64", "the same, last pair", "s"),
        Column(
            "backoff", "Float64", "median ratio of successive intervals; 2 is exponential", "", "RFC 6298"
        ),
        Column(
            "peer_packets", "Int64", "packets that came back meanwhile: the path still carries small ones"
        ),
        Column("passed", "Int64", "smaller data packets beyond it that arrived meanwhile"),
        Column("largest_passed", "Int64", "IP length of the largest of these", "byte"),
        Column("not_passed", "Int64", "smaller ones that did not; <NA> if ACKs could not report it"),
        Column("smallest_not_passed", "Int64", "IP length of the smallest of these", "byte"),
        Column("repeated_reply", "Int64", "packets that the other side repeated meanwhile (its 354)"),
        Column(
            "duplicate_sacks",
            "Int64",
            "D-SACKs of the receiver, up to the end: data had arrived, but no acknowledgment of it",
            source="RFC 2883",
        ),
        Column(
            "reply_duplicate_sacks",
            "Int64",
            "D-SACKs of the sender meanwhile: it had that repeated reply, its acknowledgment was lost",
            source="RFC 2883",
        ),
        Column("window", "Int64", "receiver's window during the stall, scaled if known", "byte"),
        Column(
            "ended_by",
            "string",
            "acknowledgment, FIN, RST (of the receiving side), or silence",
            privacy="none",
        ),
        Column(
            "given_up_by",
            "string",
            "client or server: whose FIN or RST came first since its start",
            privacy="none",
        ),
        Column("given_up_at", TIME, "time of that FIN or RST"),
        _FILE,
        _FRAME,
    ),
    # One row for each IP length of data packets of one connection and direction.
    "sizes": (
        *_CONNECTION,
        _DIRECTION,
        Column("ip_len", "Int64", "IP length", "byte", "ip.len"),
        Column("offload", "bool", "super-packets of segmentation offload: never on the wire at this size"),
        Column("sent", "Int64", "packets of this size that were captured"),
        Column("repeated", "Int64", "of these, copies that repeat data"),
        Column("delivered", "Int64", "of these, copies known to have been delivered and of known wire size"),
        Column("lost", "Int64", "of these, copies known to have been lost"),
        Column("undecided", "Int64", "of these, copies of which nobody knows whether they arrived"),
        Column("delivered_beyond_window", "Int64", "of those delivered, beyond the unscaled window"),
        Column("lost_within_window", "Int64", "of those lost, within the unscaled window"),
        Column("times_lost", "Int64", "largest number of lost copies of one and the same segment"),
        Column("df", "boolean", "all had DF set; <NA> on IPv6"),
        Column("last_sent", TIME, "last copy"),
        Column("first_lost", TIME, "first lost copy"),
        Column("last_lost", TIME, "last lost copy"),
        Column("first_delivered", TIME, "first delivered copy"),
        Column("last_delivered", TIME, "last delivered copy"),
        _FILE,
        Column("frame_lost", "Int64", "first packet of this size that was lost", source="frame.number"),
        Column("frame_delivered", "Int64", "last packet of this size that was delivered"),
    ),
    # One row for each capture, client, server and direction.
    "path_mtu": (
        Column("capture", "Int16", "capture point, row of `captures`"),
        Column("client", "string", "address of the SMTP client", privacy="address"),
        Column("server", "string", "address of the SMTP server", privacy="address"),
        _DIRECTION,
        Column("mss", "Int64", "smaller of the two announced, at most over connections", "byte"),
        Column("full_size", "Int64", "IP packet that this MSS allows", "byte", "RFC 6691"),
        Column("delivered", "Int64", "largest IP packet known to be delivered", "byte"),
        Column("lost", "Int64", "smallest IP packet lost 3 times while smaller ones passed", "byte"),
        Column("inferred", "boolean", "`lost` is full_size: the lost packets were not captured themselves"),
        Column(
            "delivered_above",
            "Int64",
            "data packets of at least `lost` delivered in the period of the losses",
        ),
        Column("broke_at", TIME, "first loss at that size, where such packets were delivered before"),
        Column("fixed_at", TIME, "first delivery of that size after the last loss"),
        Column("too_big", "Int64", "ICMP too-big messages for this path", source="RFC 1191, RFC 8201"),
        Column("next_hop_mtu", "Int64", "smallest MTU that they name", "byte", "icmp.mtu"),
        Column("df", "boolean", "the lost packets, else all of this direction, had DF set; <NA> on IPv6"),
        Column(
            "shrank",
            "boolean",
            "no larger packet than ICMP too-big names was sent from a second after it on; <NA>: none came",
        ),
        Column(
            "probed",
            "boolean",
            "a segment lost again and again was delivered when sent smaller, without ICMP; <NA>: no such "
            "loss",
            source="RFC 4821",
        ),
        Column(
            "clamped",
            "boolean",
            "the MSS that limits this direction is below Ethernet's, on some connection: its announcer's "
            "link, or clamped on the way; <NA> without the SYN",
            source="RFC 9293 3.7.1",
        ),
        Column("fragments", "Int64", "later fragments captured in this direction"),
        Column("fragmented", "Int64", "packets of which fragments were captured; <NA> on IPv6, if any were"),
        Column("reassembled", "Int64", "of these, those of which every fragment was captured"),
        Column(
            "reassembly_exceeded",
            "Int64",
            "ICMP messages that fragments of this direction never became whole",
            source="RFC 792, RFC 4443 3.3",
        ),
    ),
    # One row for each capture, client, server, direction and class of packet sizes that it has.
    "loss_rates": (
        Column("capture", "Int16", "capture point, row of `captures`"),
        Column("client", "string", "address of the SMTP client", privacy="address"),
        Column("server", "string", "address of the SMTP server", privacy="address"),
        _DIRECTION,
        Column("low", "Int64", "smallest IP length of the class", "byte", "ip.len"),
        Column("high", "Int64", "largest IP length of the class; <NA>: no end", "byte", "ip.len"),
        Column("sent", "Int64", "data packets captured whose fate is known, offload apart"),
        Column("lost", "Int64", "of these, lost"),
        Column("rate", "Float64", "lost / sent"),
        Column("rate_low", "Float64", "lower end of its 95% interval", source="Clopper and Pearson 1934"),
        Column("rate_high", "Float64", "upper end of its 95% interval", source="Clopper and Pearson 1934"),
    ),
    # One row for each command, reply line and final dot in clear; of one connection the first 20,000.
    "dialogue": (
        *_CONNECTION,
        Column("time", TIME, "time of the packet that holds its last octet"),
        _DIRECTION,
        Column("relative_seq", "Int64", "place of its first octet in the direction's stream", "byte"),
        Column("length", "Int64", "octets, CRLF included; <NA>: its end was not captured", "byte"),
        Column(
            "verb",
            "string",
            "of a command: its verb, or `end of data` for the final dot; <NA> if none is known. "
            "Of a reply: what it answers, `banner` for the greeting; <NA> if nothing that was captured",
            source="RFC 5321 4.1",
            privacy="none",
        ),
        Column("argument", "string", "of AUTH the mechanism only, of others all", "", "", "mailbox"),
        Column("reply_code", "Int16", "code of a reply line", source="RFC 5321 4.2"),
        Column("text", "string", "text of a reply line; <NA> of a challenge (334)", privacy="text"),
        _FILE,
        Column("frame", "int32", "that packet", source="frame.number"),
    ),
    # One row for each connection to an SMTP port, and each other one where SMTP was spoken in clear.
    "sessions": (
        *_CONNECTION,
        Column("is_smtp", "boolean", "SMTP was spoken in clear; <NA> if nothing was said that tells"),
        Column("greeting_code", "Int16", "code of the greeting", source="RFC 5321 3.1"),
        Column("greeting", "string", "text of its first line", privacy="text"),
        Column("greeting_wait", "Float64", "SYN-ACK to its first octet", "s"),
        Column(
            "helo",
            "string",
            "the client's last EHLO, HELO or LHLO",
            source="RFC 5321 4.1.1.1",
            privacy="none",
        ),
        Column(
            "keywords", "string", "EHLO keywords, blanks between", source="RFC 5321 4.1.1.1", privacy="text"
        ),
        Column(
            "masked",
            "boolean",
            "ESMTP inspection on the way: asterisks in the greeting, commands or keywords made XXXX",
        ),
        Column(
            "starttls",
            "string",
            "not offered, offered (not used), unanswered, refused, accepted; <NA>: no EHLO reply seen",
            source="RFC 3207",
            privacy="none",
        ),
        Column(
            "tls",
            "string",
            "how far the TLS handshake came: client hello, server hello, alert, "
            "established (application data from both sides); <NA>: none begun",
            source="RFC 8446",
            privacy="none",
        ),
        Column("tls_alert", "Int16", "its description; <NA> if encrypted", "", "tls.alert_message.desc"),
        Column("tls_alert_by", "string", "client or server", privacy="none"),
        Column("client_hello_size", "Int64", "first record of the ClientHello, with header", "byte"),
        Column(
            "server_flight_size",
            "Int64",
            "what the server sent from its first record until the client went on, else until the end",
            "byte",
        ),
        Column("auth", "string", "mechanism of AUTH", source="RFC 4954", privacy="none"),
        Column("transactions", "Int64", "mail transactions begun; <NA> in TLS"),
        Column("last_command", "string", "verb of the last command", privacy="none"),
        Column("last_command_time", TIME, "when it was sent"),
        Column("last_command_acknowledged", "boolean", "TCP has acknowledged all of it"),
        Column("last_reply_code", "Int16", "code of the last reply", source="RFC 5321 4.2"),
        Column("last_reply", "string", "text of its last line", privacy="text"),
        Column("last_reply_time", TIME, "when it was sent"),
        Column(
            "answered",
            "boolean",
            "the last command or final dot has its reply; <NA> if a gap may hold it, or in TLS",
        ),
        Column("quit", "boolean", "QUIT was sent; <NA> in TLS"),
        Column(
            "phase",
            "string",
            "where it ended: one of PHASES, TLS or QUIT; the oldest unanswered command, else the last one; "
            "<NA>: not to be seen (TLS established), or no SMTP",
            source="Exim",
            privacy="none",
        ),
        Column("conflicting", "bool", "overlapping segments differ: which one the receiver took is unknown"),
        Column("gaps_forward", "bool", "octets of the client were not captured"),
        Column("gaps_reverse", "bool", "octets of the server were not captured"),
        _FILE,
        _FRAME,
    ),
    # One row for each message begun in clear: MAIL, refused or not, or data whose MAIL was not captured.
    "transactions": (
        *_CONNECTION,
        Column("transaction", "Int32", "number on its connection, from 0"),
        Column("mail_time", TIME, "time of MAIL"),
        Column("declared_size", "Int64", "SIZE= of MAIL", "byte", "RFC 1870"),
        Column("recipients", "Int64", "RCPT commands"),
        Column("recipients_accepted", "Int64", "of these, accepted"),
        Column("verb", "string", "DATA or BDAT; <NA>: neither was sent", source="RFC 3030", privacy="none"),
        Column("start", TIME, "time of the 354 reply, or of the first BDAT; <NA>: no data was begun"),
        Column("data_seq", "UInt32", "sequence number of the first byte of message data"),
        Column("data_size", "Int64", "octets of data with CRLF, no final dot; <NA>: no end seen", "byte"),
        Column("data_seen", "Int64", "of these, captured", "byte"),
        Column("bytes_sent", "Int64", "octets of data sent, as sequence numbers tell", "byte"),
        Column("bytes_delivered", "Int64", "of these, acknowledged", "byte"),
        Column("end_sent", TIME, "when the final dot, or the end of the last chunk, was sent"),
        Column("end_acknowledged", "boolean", "TCP has acknowledged it"),
        Column("end_split", "boolean", "CRLF.CRLF cut over segments; <NA> of BDAT"),
        Column("message_id", "string", "Exim id found in the message's own header", privacy="message_id"),
        Column("header_message_id", "string", "Message-ID", "", "RFC 5322 3.6.4", "message_id"),
        Column("data_end_seq", "UInt32", "sequence number up to which the data's reply acknowledges"),
        Column("end", TIME, "time of the reply to the data: to the final dot, or before it"),
        Column("reply_wait", "Float64", "end_sent, or its ACK where that came alone, to that reply", "s"),
        Column("reply_code", "Int16", "code of that reply, else of the last refusal", "", "RFC 5321 4.2"),
        Column("reply", "string", "text of its last line", privacy="text"),
        Column("enhanced", "string", "status in it, such as 5.7.1", source="RFC 3463", privacy="none"),
        Column(
            "phase",
            "string",
            "how far it came: the oldest unanswered command, else the last",
            "",
            "Exim",
            privacy="none",
        ),
        Column("longest_line", "Int64", "of the data seen: octets of the longest line, no CRLF", "byte"),
        Column("nul_count", "Int64", "of the data seen: binary zeros"),
        Column("first_nul", "Int64", "offset of the first one in the data seen", "byte"),
        Column("eight_bit", "Int64", "of the data seen: octets above 127"),
        Column("bare_lf", "Int64", "of the data seen: LF without CR"),
        Column("bare_cr", "Int64", "of the data seen: CR without LF"),
        Column("ends_with", "string", "last five octets of the data seen, hexadecimal", privacy="octets"),
        _FILE,
        _FRAME,
    ),
    "log_lines": (
        _FILE,
        Column("line", "int32", "line in that file, from 1; the first one of a continued line"),
        Column("time", TIME, "time stamp"),
        Column("pid", "Int64", "process id", source="log_selector +pid"),
        Column("message_id", "string", "Exim's id, 16 or 23 characters", privacy="message_id"),
        Column(
            "flag",
            "category",
            "<= (= => -> >> *> == ** or absent",
            source="Exim: Logging message delivery",
            privacy="none",
        ),
        Column("kind", "category", "arrival, delivery, deferral, ...: one of KINDS", privacy="none"),
        Column("address", "string", "first address after the flag; on <= the sender", "", "", "mailbox"),
        Column("original_address", "string", "address in angle brackets after it", "", "", "mailbox"),
        Column("sender", "category", "F= only", "", "Exim: F", "mailbox"),
        Column("router", "category", "R= where it means a router", "", "Exim: R", privacy="name"),
        Column("transport", "category", "T= where it means a transport", "", "Exim: T", privacy="name"),
        Column("host", "category", "name in H=, as logged", "", "Exim: H", "host"),
        Column("host_address", "category", "address in H=", "", "Exim: H", "address"),
        Column("host_port", "Int32", "port in H=", "", "Exim: H"),
        Column("interface_address", "category", "address in I=", "", "Exim: I", "address"),
        Column("interface_port", "Int32", "port in I=", "", "Exim: I"),
        Column("size", "Int64", "S=, message size", "byte", "Exim: S"),
        Column("protocol", "category", "P= on arrivals", "", "Exim: P", privacy="text"),
        Column("cipher", "category", "X=, TLS cipher suite", "", "Exim: X", privacy="none"),
        Column("confirmation", "string", "C= on deliveries, quotes undone", "", "Exim: C", "text"),
        Column("header_message_id", "string", "id= on arrivals", "", "Exim: id", "message_id"),
        Column("subject", "string", "T= on arrivals", "", "Exim: T", "text"),
        Column("recipients", "string", "addresses after `for`, as logged", "", "Exim: for", "mailbox"),
        Column(
            "reference", "string", "R= of a bounce: the message that it is about", "", "Exim: R", "message_id"
        ),
        Column("return_path", "category", "P= on deliveries and failures", "", "Exim: P", "mailbox"),
        Column("user", "category", "U=, local user or identity (RFC 1413)", "", "Exim: U", "mailbox"),
        Column("authenticator", "category", "A=, with id and sender where logged", "", "Exim: A", "mailbox"),
        Column("certificate_verified", "category", "CV=: yes, no or dane", "", "Exim: CV", privacy="none"),
        Column(
            "peer_dn", "category", "DN=, distinguished name of the peer's certificate", "", "Exim: DN", "host"
        ),
        Column("queue", "category", "Q=, name of a queue", "", "Exim: Q", privacy="name"),
        Column("connection_id", "category", "Ci=, of an incoming connection", "", "Exim: Ci", privacy="none"),
        Column(
            "options", "category", "other fields and words, as logged, blanks between", "", "Exim", "text"
        ),
        Column("duration", "Float64", "D=, time that an incoming connection took", "s", "Exim: D"),
        Column("queue_time", "Float64", "QT=, time on the queue", "s", "Exim: QT"),
        Column("delivery_time", "Float64", "DT=, time the delivery took", "s", "Exim: DT"),
        Column("reception_time", "Float64", "RT=, time the reception took", "s", "Exim: RT"),
        Column("errno", "Int32", "number in defer (N); negative ones are Exim's own", "", "Exim"),
        Column("smtp_code", "Int16", "reply code in the error text", "", "RFC 5321 4.2"),
        Column(
            "enhanced_status",
            "category",
            "status code behind it, such as 5.1.1",
            "",
            "RFC 3463",
            privacy="none",
        ),
        Column("bytes_written", "Int64", "(N bytes written): accepted by the kernel", "byte", "Exim"),
        Column(
            "text",
            "string",
            "the error text; without a flag all after the id; else what was not read",
            "",
            "",
            "text",
        ),
    ),
    "messages": (
        Column("message_id", "string", "Exim's id", privacy="message_id"),
        Column("arrival", TIME, "time of its <= line"),
        Column("sender", "string", "envelope sender, empty for a bounce", privacy="mailbox"),
        Column("size", "Int64", "S= of the arrival", "byte", "Exim: S"),
        Column("protocol", "string", "P= of the arrival", source="Exim: P", privacy="text"),
        Column("peer", "string", "address that it came from", privacy="address"),
        Column("header_message_id", "string", "id= of the arrival", privacy="message_id"),
        Column("recipients", "Int64", "addresses that a delivery was tried for"),
        Column("delivered", "Int64", "of these, delivered in the end"),
        Column("failed", "Int64", "of these, failed in the end"),
        Column("deferred", "Int64", "of these, still deferred in the end"),
        Column("outcomes", "string", "one line for each: outcome, blank, address", privacy="mailbox"),
        Column("bounce_of", "string", "id of the message that it is about", "", "Exim: R", "message_id"),
        Column("completed", TIME, "time of its Completed line"),
        _FILE,
        _LINE,
    ),
    # One row for each message and host tried.
    "attempts": (
        Column("message_id", "string", "Exim's id; <NA> where a receiver gave none", privacy="message_id"),
        Column("client", "string", "address of the SMTP client; <NA>: this host", privacy="address"),
        Column("client_port", "Int32", "its port, where logged"),
        Column("peer", "string", "address of the SMTP server; <NA>: this host", privacy="address"),
        Column("peer_port", "Int32", "its port, where logged"),
        Column("host", "string", "name of the other side, as logged", privacy="host"),
        Column("start", TIME, "end - DT=, where logged"),
        Column("end", TIME, "time of the attempt's first line"),
        Column("outcome", "string", "delivered, deferred or failed", privacy="none"),
        Column("phase", "string", "how far it came: one of PHASES", privacy="none"),
        Column("error", "string", "class of the error: one of ERRORS; <NA> if delivered", privacy="none"),
        Column("size", "Int64", "S= of the delivery, else of the arrival", "byte", "Exim: S"),
        Column("bytes_written", "Int64", "accepted by the kernel, not delivered", "byte", "Exim"),
        Column("bytes_acknowledged", "Int64", "acknowledged by the server, from the capture", "byte"),
        Column("recipients", "Int64", "addresses of the message in this attempt"),
        Column("errno", "Int32", "number in defer (N)", source="Exim"),
        Column("smtp_code", "Int16", "reply code in the error text", source="RFC 5321 4.2"),
        Column(
            "enhanced_status",
            "string",
            "status code behind it, such as 5.1.1",
            source="RFC 3463",
            privacy="none",
        ),
        Column("confirmation", "string", "C= of the delivery", source="Exim: C", privacy="text"),
        Column("text", "string", "error text", privacy="text"),
        *_CONNECTION,
        Column(
            "matched_by",
            "string",
            "ports, confirmation, message_id or time; <NA> if no connection fits",
            privacy="none",
        ),
        _FILE,
        _LINE,
    ),
    # One row for each message: a file, or what a capture holds whole of one that passed by.
    "content": (
        _FILE,
        Column("capture", "Int16", "capture that the message was taken from; <NA>: a message file"),
        Column("stream", "Int32", "its connection there", source="tcp.stream"),
        Column("transaction", "Int32", "its number in `transactions`"),
        Column("message_id", "string", "Exim id in the file's name or Received header", "", "", "message_id"),
        Column("header_message_id", "string", "Message-ID", "", "RFC 5322 3.6.4", "message_id"),
        Column("size", "Int64", "octets of the message as stored, dots not doubled", "byte"),
        Column(
            "data_size", "Int64", "octets after DATA: CRLF, dots doubled, no final dot", "byte", "RFC 5321"
        ),
        Column("lines", "Int64", "lines, header included"),
        Column("nul_count", "Int64", "binary zeros", source="Exim: $body_zerocount"),
        Column("first_nul", "Int64", "offset of the first one, in the file or in what was sent", "byte"),
        Column("nul_last", "boolean", "the last octet of the last line is a binary zero"),
        Column(
            "longest_line", "Int64", "octets of the longest line without CRLF", "byte", "RFC 5321 4.5.3.1.6"
        ),
        Column("longest_line_number", "Int64", "its number, from 1"),
        Column("longest_line_in", "string", "header or body", privacy="none"),
        Column("lines_above_998", "Int64", "lines of more octets than that", source="RFC 5322 2.1.1"),
        Column("lines_above_1000", "Int64", "lines of more octets than that"),
        Column("lines_above_1024", "Int64", "lines of more octets than that"),
        Column("bare_cr", "Int64", "CR without LF", source="RFC 5321 2.3.8"),
        Column("bare_lf", "Int64", "LF without CR; 0 in a file whose lines all end so", "", "RFC 5321 2.3.8"),
        Column("eight_bit", "Int64", "octets above 127", source="RFC 6152"),
        Column("dot_lines", "Int64", "lines that begin with a dot", source="RFC 5321 4.5.2"),
        Column("longest_run", "Int64", "octets of the longest run of one octet", "byte"),
        Column("longest_run_octet", "string", "that octet, hexadecimal", privacy="none"),
        Column("ends_with", "string", "last five octets, hexadecimal", privacy="octets"),
        Column("mime", "string", "types and encodings of the parts, at most 100", "", "RFC 2045", "text"),
    ),
    # The analyst's decision table: what was seen, per path, connection and message.
    # One row for each delivery that failed, from the packets where there are any, else from the log.
    "failures": (
        Column("peer", "string", "address of the SMTP server", privacy="address"),
        Column("client", "string", "address of the SMTP client", privacy="address"),
        *_CONNECTION,
        Column("message_id", "string", "Exim's id", privacy="message_id"),
        Column("manner", "string", "how it failed: one of observations.MANNERS", privacy="none"),
        _DIRECTION,
        Column("phase", "string", "how far it came: one of PHASES", privacy="none"),
        Column("observed", "boolean", "the packets tell the manner; else the log does"),
        Column("time", TIME, "the log's line, else the connection's end"),
        Column("source", "string", "FILE line N, FILE frame N", privacy="sentence"),
    ),
    "observations": (
        Column("peer", "string", "address of the SMTP server", privacy="address"),
        Column("client", "string", "address of the SMTP client", privacy="address"),
        _DIRECTION,
        Column(
            "manner",
            "string",
            "of the failures that it is about; `stall` for a path's packet sizes",
            privacy="none",
        ),
        *_CONNECTION,
        Column("message_id", "string", "Exim's id", privacy="message_id"),
        Column("observation", "string", "name, as in observations.NAMES", privacy="none"),
        Column("value", "boolean", "seen, not seen, or <NA>: not observable"),
        Column("sentence", "string", "the same for a reader, with its figures", privacy="sentence"),
        Column(
            "figures", "object", "numbers of it that a cause's parameters are taken from", privacy="figures"
        ),
        Column("source", "string", "FILE frame N, FILE line N", privacy="sentence"),
    ),
    # Nested columns hold lists and dicts, as in the JSON of the command line.
    "findings": (
        Column("peer", "string", "address of the SMTP server", privacy="address"),
        Column("clients", "object", "addresses of the SMTP clients affected", privacy="address"),
        Column("cause", "string", "code of the cause", privacy="none"),
        Column("direction", "string", "forward, reverse or <NA>", privacy="none"),
        Column(
            "severity",
            "string",
            "error, warn, note or chat",
            source="Wireshark's expert information",
            privacy="none",
        ),
        Column("confidence", "string", "certain, likely or possible", privacy="none"),
        Column("sentence", "string", "the finding in one sentence", privacy="sentence"),
        Column("parameters", "object", "figures of the cause by name", privacy="figures"),
        Column("messages", "object", "Exim ids with a failed attempt from this fault", privacy="message_id"),
        Column("connections", "object", "connections affected", privacy="sentence"),
        Column("display_filter", "string", "Wireshark display filter for these", privacy="sentence"),
        Column("evidence", "object", "sentences for it, with sources", privacy="sentence"),
        Column("against", "object", "sentences against it, with sources", privacy="sentence"),
        Column("not_observable", "object", "what could not be seen", privacy="sentence"),
        Column("ruled_out", "object", "other causes, and why not", privacy="sentence"),
        Column("next_test", "string", "a command", privacy="sentence"),
        Column("remedies", "object", "what to do, best first", privacy="sentence"),
    ),
    # One row for each fault of either of two incidents; counted are messages like those that it hit before.
    "changes": (
        Column("peer", "string", "address of the SMTP server", privacy="address"),
        Column("cause", "string", "code of the cause", privacy="none"),
        Column("direction", "string", "forward, reverse or <NA>", privacy="none"),
        Column("state", "string", "new, remains, undecided, harmless or gone", privacy="none"),
        Column("sentence", "string", "why, with figures", privacy="sentence"),
        Column(
            "feature",
            "string",
            "what a message must have as much of to be counted; <NA>: all are",
            privacy="none",
        ),
        Column("least", "Float64", "the least of it that failed before"),
        Column("tried_before", "Int64", "messages sent to the server before"),
        Column("failed_before", "Int64", "of these, failed at least once"),
        Column("tried_after", "Int64", "messages sent to the server after"),
        Column("failed_after", "Int64", "of these, failed at least once"),
        Column("p", "Float64", "probability that chance alone leaves so few failures", source="Fisher 1922"),
    ),
    "inputs": (
        Column("path", "string", "as given or found", privacy="path"),
        Column("kind", "string", "capture, log, message or other", privacy="none"),
        Column("sha256", "string", "of the file's bytes", privacy="hash"),
        Column("rows", "Int64", "packets, log lines or messages read"),
        Column("named", "bool", "named by the user, not met inside a folder"),
        Column("error", "string", "one sentence if it could not be used", privacy="sentence"),
    ),
    "skipped": (
        Column("file", "string", "input file", privacy="path"),
        Column("reason", "string", "what could not be read, or was left out", privacy="sentence"),
        Column("count", "Int64", "how often"),
        Column("where", "string", "first place: frame, line or byte", privacy="sentence"),
    ),
}

_MAY_TELL = {"string", "category", "object"}  # dtypes of columns whose class must be stated
TABLES = {
    table: tuple(c if c.privacy or c.dtype in _MAY_TELL else c._replace(privacy="none") for c in columns)
    for table, columns in TABLES.items()
}
KINDS = (
    *("arrival", "fakereject", "delivery", "additional_delivery", "cutthrough_delivery"),
    *("suppressed_delivery", "deferral", "failure", "completed", "host_error", "rejection"),
    *("connection_lost", "connection", "tls_error", "queue_run", "daemon", "frozen", "retry", "warning"),
    "other",
)
PHASES = (
    *("connect", "banner", "EHLO", "STARTTLS", "AUTH", "MAIL", "RCPT", "DATA"),
    *("sending data block", "end of data"),
)
ERRORS = (
    *("lost connection", "timeout", "broken pipe", "reset", "refused", "unreachable"),
    *("4xx", "5xx", "TLS", "local limit", "other"),
)


def empty(table: str) -> pd.DataFrame:
    """Return `table` without rows: all columns with their dtypes."""
    return pd.DataFrame({c.name: pd.Series(dtype=c.dtype) for c in TABLES[table]})


def conform(frame: pd.DataFrame, table: str) -> pd.DataFrame:
    """Return `frame` with just the columns of `table`, in order and of their dtypes.

    Columns that `frame` lacks become ``<NA>``.
    """
    if [(name, str(dtype)) for name, dtype in frame.dtypes.items()] == [c[:2] for c in TABLES[table]]:
        return frame.copy(deep=False)
    columns = {c.name: _column(frame, c) for c in TABLES[table]}
    return pd.DataFrame(columns, index=frame.index)


def from_rows(rows: Iterable[dict[str, Any]], table: str) -> pd.DataFrame:
    """Return `table` made of dicts; keys that a row lacks become ``<NA>``."""
    return conform(pd.DataFrame(list(rows)), table)


def concat(frames: Iterable[pd.DataFrame], table: str) -> pd.DataFrame:
    """Put pieces of one table together, in order, with a new index."""
    pieces = [frame for frame in frames if len(frame)]
    if not pieces:
        return empty(table)
    return conform(pd.concat(pieces, ignore_index=True), table)


def among(frame: pd.DataFrame, keys: pd.DataFrame) -> pd.Series:
    """Mark the rows of `frame` whose connection (capture and stream) is one of those in `keys`."""
    if frame.empty or keys.empty:
        return pd.Series(False, frame.index)
    number = frame["capture"].astype("Int64") * 2**32 + frame["stream"].astype("Int64")
    known = (keys["capture"].astype("Int64") * 2**32 + keys["stream"].astype("Int64")).dropna()
    return number.isin(known).astype(bool)


def describe(table: str) -> pd.DataFrame:
    """Return the columns of `table`: name, dtype, meaning, unit, source's term, privacy class.

    Raises
    ------
    KeyError
        If there is no such table; the message names those that there are.
    """
    if table not in TABLES:
        raise KeyError(f"no table {table!r}; there are {', '.join(TABLES)}")
    return pd.DataFrame(TABLES[table], columns=list(Column._fields))


def _column(frame: pd.DataFrame, column: Column) -> pd.Series:
    if column.name in frame and frame[column.name].notna().any():
        return frame[column.name].astype(column.dtype)  # type: ignore[call-overload]
    if column.dtype in _NEVER_ABSENT and len(frame):
        raise KeyError(f"column {column.name!r} cannot be <NA> and is missing")
    return pd.Series(index=frame.index, dtype=column.dtype)


_NEVER_ABSENT = {"int16", "int32", "uint8", "bool"}
