"""What a label claims, each checked on the wire and in the log of a run; yields what is not so."""

import re
import struct
from collections.abc import Callable, Iterator
from itertools import pairwise
from typing import TYPE_CHECKING

from lab import mainlog
from lab.packet import FIN, RST, SACK, SYN
from lab.wire import Connection, Seen, read

if TYPE_CHECKING:
    from lab.plan import Claim, Fault
    from lab.run import Result, Sent

Problems = Iterator[str]
REPEATS = 4  # sendings of one segment that make a stall
FINAL_DOT = 3
GO_ON = rb"354|250 (Accepted|\d+ (octets|byte chunk))"  # replies to RCPT, DATA and BDAT


# Which messages a fault hits


def every(sent: "Sent") -> bool:
    return True


def none(sent: "Sent") -> bool:
    return False


def longer_than(size: int) -> Callable[["Sent"], bool]:
    """Messages of more octets of data."""
    return lambda sent: len(sent.data) > size


def holding(pattern: bytes) -> Callable[["Sent"], bool]:
    return lambda sent: pattern in sent.data


def with_lines_above(octets: int) -> Callable[["Sent"], bool]:
    return lambda sent: max(map(len, sent.data.split(b"\r\n"))) > octets


# What must be seen


def affected(result: "Result", fault: "Fault") -> set[str]:
    """Ids with a failed attempt of the fault's client at its peer that this fault hits."""
    failed = mainlog.failed(result.log(fault.client), result.plan.host(fault.peer).address)
    return {name for name in failed if fault.hits is None or fault.hits(result.messages[name])}


def oversize_lost(result: "Result", fault: "Fault") -> Problems:
    """Packets above the path MTU were repeated and never arrived; smaller ones did."""
    limit, forward = int(str(fault.params["pmtu"])), fault.direction == "forward"
    connections = result.wire(fault.peer, fault.client).connections.values()
    long = [seen for each in connections for seen in each.sent(forward) if seen.length > limit]
    arrived = [seen for each in connections for seen in each.arrived(forward)]
    stuck = [each for each in connections if _repeated(each, forward, lambda seen: seen.length > limit)]
    if len(stuck) < len(affected(result, fault)):
        yield f"{len(stuck)} connections repeated a packet above {limit}"
    if not long or any(seen.length > limit for seen in arrived):
        yield f"of {len(long)} packets above {limit} some arrived"
    if forward and not any(limit - 400 < seen.length for seen in arrived):
        yield "no packet a little smaller arrived"


def no_too_big(result: "Result", fault: "Fault") -> Problems:
    """No ICMP packet too big came back to the client."""
    if result.wire(fault.peer, fault.client).too_big:
        yield "an ICMP packet too big came back"


def too_big_came(result: "Result", fault: "Fault") -> Problems:
    """ICMP packet too big came back to the client."""
    if not result.wire(fault.peer, fault.client).too_big:
        yield "no ICMP packet too big came back"


def fragments_lost(result: "Result", fault: "Fault") -> Problems:
    """Segments that a router cut up were repeated and never arrived whole."""
    connections = [each for name in affected(result, fault) for each in result.connections(name)]
    if not all(_repeated(each, True, lambda seen: not seen.packet.dont_fragment) for each in connections):
        yield "a connection repeated no segment that may be cut up"
    if not result.stopped_by["DropFragments"]:
        yield "no fragment was dropped"


def segment_lost(result: "Result", fault: "Fault") -> Problems:
    """The segment with the pattern was repeated and never arrived, others of its size did."""
    pattern = bytes.fromhex(str(fault.params["pattern_hex"]))
    for name in affected(result, fault):
        for each in result.connections(name):
            if not _repeated(each, True, lambda seen: pattern in seen.tcp.payload):
                yield f"{name}: no segment with the pattern was repeated"
            if any(pattern in seen.tcp.payload for seen in each.arrived(True)):
                yield f"{name}: a segment with the pattern arrived"
    if not any(seen.length > 1000 for seen in _all(result, fault, True)):
        yield "no long segment arrived"


def foreign_reset(result: "Result", fault: "Fault") -> Problems:
    """A RST reached the client that the server never sent."""
    for name, each in _attempts(result, fault):
        resets = [seen for seen in each.arrived(False) if seen.tcp.flags & RST]
        if not resets or any(seen.tcp.flags & RST for seen in each.sent(False)):
            yield f"{name}: no RST, or the server's own"


def reset_forged(result: "Result", fault: "Fault") -> Problems:
    """The pattern brought a RST that the server never sent, and went no further."""
    pattern = bytes.fromhex(str(fault.params["pattern_hex"]))
    yield from foreign_reset(result, fault)
    for name, each in _attempts(result, fault):
        if pattern not in each.stream(True) or pattern in each.stream(True, arrived=True):
            yield f"{name}: the pattern was not sent, or arrived"


def hung_up(result: "Result", fault: "Fault") -> Problems:
    """The server closed and answered nothing, wherever in the data it was."""
    for name, each in _attempts(result, fault):
        yield from _closed_without_answer(result, name, each)


def hung_up_in_data(result: "Result", fault: "Fault") -> Problems:
    """The server closed before the final dot reached it, and answered nothing."""
    for name, each in _attempts(result, fault):
        if result.messages[name].data + b".\r\n" in each.stream(True, arrived=True):
            yield f"{name}: the final dot arrived"
        yield from _closed_without_answer(result, name, each)


def sent_in_clear(result: "Result", fault: "Fault") -> Problems:
    """The data of every affected message are on the wire, so that the other claims speak of something."""
    for name in affected(result, fault):
        if not result.connections(name, fault.peer):
            yield f"{name}: no connection has its text"


def hung_up_after_data(result: "Result", fault: "Fault") -> Problems:
    """The server closed after the final dot or the last chunk reached it, and answered nothing."""
    for name, each in _attempts(result, fault):
        if not _data_complete(each):
            yield f"{name}: the end of the data did not arrive"
        yield from _closed_without_answer(result, name, each)


def closed_after(seconds: float) -> "Claim":
    """The server closed so long after the last of the data had reached it."""

    def claim(result: "Result", fault: "Fault") -> Problems:
        for name, each in _attempts(result, fault):
            wait = each.closes(False)[0].time - _last_data(each)
            if not seconds - 0.05 < wait < seconds + 0.5:
                yield f"{name}: closed after {wait:.2f} s"

    return claim


def no_answer(result: "Result", fault: "Fault") -> Problems:
    """The server acknowledged all that the client sent; the client gave up before anything came back.

    Exim sends FIN with its last octets, so that alone is no giving up.
    """
    for name, each in _attempts(result, fault):
        if each.lost(True) or each.acknowledged() < len(each.stream(True)):
            yield f"{name}: something was lost or not acknowledged"
        said = _back(each, _last_data(each) + _patience(fault))
        last = b"".join(seen.tcp.payload for seen in said).splitlines()[-1:]
        if not last or not re.match(GO_ON, last[0]) or any(seen.tcp.flags & (FIN | RST) for seen in said):
            yield f"{name}: the server answered or closed before the client gave up: {last}"
    yield from _timed_out(result, fault)


def replied_late(result: "Result", fault: "Fault") -> Problems:
    """The server accepted every message when the client had gone, and met a RST."""
    for name, each in _attempts(result, fault):
        quiet = _last_data(each) + _patience(fault)
        late = [seen.tcp.payload for seen in each.arrived(False) if seen.time > quiet]
        if not any(payload.startswith(b"250") for payload in late):
            yield f"{name}: no late reply"
        if not any(seen.tcp.flags & RST for seen in each.sent(True)):
            yield f"{name}: the client still listened"


def gone_before_reply(result: "Result", fault: "Fault") -> Problems:
    """The receiving Exim was ready too late each time: it found the client gone, or accepted all the same."""
    log = result.log(fault.peer)
    attempts = len(list(_attempts(result, fault)))
    lost = log.count("SMTP connection lost after final dot")
    names = [re.escape(result.messages[name].name.decode()[13:-1]) for name in affected(result, fault)]
    accepted = len(re.findall(f"<= .* id=(?:{'|'.join(names)})", log))
    if not lost or not accepted or lost + accepted != attempts:
        yield f"{attempts} attempts, {lost} lost, {accepted} accepted"


def never_greeted(result: "Result", fault: "Fault") -> Problems:
    """The server took every connection, and sent nothing before the client closed."""
    for each in _of(result, fault):
        closed = min((seen.time for seen in each.closes(True)), default=float("inf"))
        if not any(seen.tcp.flags & SYN for seen in each.arrived(False)):
            yield "a connection did not come about"
        if any(seen.tcp.payload or seen.tcp.flags & (FIN | RST) for seen in _back(each, closed)):
            yield "the server said something or closed before the client did"
        if each.stream(True):
            yield "the client did not wait"
    yield from _timed_out(result, fault)


def window_closed(result: "Result", fault: "Fault") -> Problems:
    """The server's window went to 0 and stayed; all that was sent arrived."""
    for name, each in _attempts(result, fault):
        if sum(seen.tcp.window == 0 for seen in each.arrived(False)) < REPEATS or each.lost(True):
            yield f"{name}: the window did not stay closed, or something was lost"


def cut_off(result: "Result", fault: "Fault") -> Problems:
    """From some moment on nothing of a connection passed, of any size, either way."""
    stuck = [each for each in _of(result, fault) if each.lost(True) or each.lost(False)]
    if len(stuck) < len(affected(result, fault)):
        yield f"only in {len(stuck)} connections something was lost"
    for each in stuck:
        for forward in (True, False):
            lost, sent = each.lost(forward), each.sent(forward)
            later = sent[sent.index(lost[0]) :] if lost else []
            if len(later) != len(lost):
                yield f"{len(later) - len(lost)} packets passed after the first was lost"


def forgotten(result: "Result", fault: "Fault") -> Problems:
    """A middlebox lost the connection, and nothing passed any more."""
    yield from cut_off(result, fault)
    if not result.stopped_by["Forget"]:
        yield "the middlebox forgot nothing"


def cut_off_at_pattern(result: "Result", fault: "Fault") -> Problems:
    """The first segment that did not pass was the one with the pattern; nothing did after it."""
    pattern = bytes.fromhex(str(fault.params["pattern_hex"]))
    yield from cut_off(result, fault)
    for name, each in _attempts(result, fault):
        if not any(pattern in seen.tcp.payload for seen in each.lost(True)[:1]):
            yield f"{name}: the pattern was not what was lost first"


def lossy(result: "Result", fault: "Fault") -> Problems:
    """About the planned share of packets was lost, small ones and large."""
    packets = [
        seen
        for each in result.wire(fault.peer, fault.client).connections.values()
        for seen in each.sent(True)
    ]
    lost = [
        seen
        for each in result.wire(fault.peer, fault.client).connections.values()
        for seen in each.lost(True)
    ]
    wanted = float(str(fault.params["loss_rate"]))
    if not 0.6 * wanted < len(lost) / max(1, len(packets)) < 1.5 * wanted:
        yield f"{len(lost)} of {len(packets)} packets lost"
    if not any(seen.length < 200 for seen in lost) or not any(seen.length > 1000 for seen in lost):
        yield "not all sizes were lost"


def sack_untranslated(result: "Result", fault: "Fault") -> Problems:
    """The client's numbers were changed on the way, but not in the SACK blocks that came back."""
    for name, each in _attempts(result, fault):
        starts = {seen.tcp.seq for seen in (*each.sent(True), *each.arrived(True)) if seen.tcp.flags & SYN}
        if len(starts) < 2:
            yield f"{name}: the client's first number was not changed"
        first, last = (seen.tcp.seq for seen in (each.sent(True)[0], each.sent(True)[-1]))
        edges = [edge for seen in each.arrived(False) for edge in _sack_edges(seen)]
        if not edges or any((edge - first) % 2**32 <= (last - first) % 2**32 for edge in edges):
            yield f"{name}: no SACK, or one that makes sense"
    if not result.stopped_by["Loss"]:
        yield "nothing was lost"


def split_dot_lost(result: "Result", fault: "Fault") -> Problems:
    """CRLF.CRLF was cut over two segments just where messages failed, and its rest never arrived."""
    if not result.stopped_by["SplitDot"]:
        yield "nothing was dropped"
    hit = affected(result, fault)
    for name, sent in result.messages.items():
        for each in result.connections(name, fault.peer) if fault.peer in sent.mail.to else []:
            whole = any(b"\r\n.\r\n" in seen.tcp.payload for seen in each.sent(True))
            if whole == (name in hit):
                yield f"{name}: failed {name in hit}, end of data in one segment {whole}"


def beyond_window_lost(result: "Result", fault: "Fault") -> Problems:
    """Just what lay beyond the window as it stands in the header was lost."""
    for name, each in _attempts(result, fault):
        allowed, within = None, True
        lost = {id(seen) for seen in each.lost(True)}
        for seen in each.at_client:
            if not seen.packet.forward and not seen.tcp.flags & SYN:
                allowed = seen.tcp.ack + seen.tcp.window
            elif id(seen) in lost and seen.tcp.payload:
                within &= allowed is not None and seen.tcp.seq + len(seen.tcp.payload) > allowed
        if not lost or not within:
            yield f"{name}: {len(lost)} packets lost, all beyond the unscaled window: {within}"


def scale_changed(result: "Result", fault: "Fault") -> Problems:
    """The server's SYN reached the client with another window scale than it was sent with."""
    for _, each in _attempts(result, fault):
        sent = [seen.tcp.options for seen in each.sent(False) if seen.tcp.flags & SYN]
        arrived = [seen.tcp.options for seen in each.arrived(False) if seen.tcp.flags & SYN]
        if sent[:1] == arrived[:1]:
            yield "the SYN arrived as it was sent"


def replied(code: str) -> "Claim":
    """The server's reply with this code reached the client, and Exim logged it."""

    def claim(result: "Result", fault: "Fault") -> Problems:
        connections = result.wire(fault.peer, fault.client).connections.values()
        replies = sum(
            len(re.findall(rf"(?m)^{code}[ -]".encode(), each.stream(False, True))) for each in connections
        )
        logged = len(re.findall(rf": {code}[ -]", result.log()))
        if not replies or not logged:
            yield f"{replies} replies {code} on the wire, {logged} in the log"

    return claim


def tls_failed(result: "Result", fault: "Fault") -> Problems:
    """The handshake failed although every packet of it arrived."""
    begun = [
        each
        for each in result.wire(fault.peer, fault.client).connections.values()
        if b"STARTTLS" in each.stream(True)
    ]
    if not begun or any(each.lost(True) or each.lost(False) for each in begun):
        yield f"{len(begun)} handshakes, or packets were lost"
    if not re.search(r"TLS session: ", result.log()):
        yield "no TLS error in the log"


def never_connected(result: "Result", fault: "Fault") -> Problems:
    """SYNs were sent, and no connection came about."""
    connections = result.wire(fault.peer, fault.client).connections.values()
    if not any(seen.tcp.flags & SYN for each in connections for seen in each.sent(True)):
        yield "no SYN was sent"
    if any(seen.tcp.flags & SYN for each in connections for seen in each.arrived(False)):
        yield "a SYN came back"


def refused(result: "Result", fault: "Fault") -> Problems:
    """Every SYN met a RST of the server's own."""
    for each in _of(result, fault):
        if not any(seen.tcp.flags & RST for seen in each.sent(False)):
            yield "a SYN met no RST"


def swallowed(result: "Result", fault: "Fault") -> Problems:
    """SYNs were repeated, none reached the server, and nothing came back."""
    for each in _of(result, fault):
        if len(each.sent(True)) < REPEATS or each.at_server or each.arrived(False):
            yield f"{len(each.sent(True))} SYNs, {len(each.at_server)} packets at the server"


def icmp_came(kind: tuple[int, int, int]) -> "Claim":
    """ICMP of this protocol, type and code came back to the client, for every connection."""

    def claim(result: "Result", fault: "Fault") -> Problems:
        wire = result.wire(fault.peer, fault.client)
        if not 0 < len(wire.connections) <= wire.icmp[kind]:
            yield f"{len(wire.connections)} connections, ICMP: {dict(wire.icmp)}"

    return claim


# What only looks like a fault


def sizes_shrank(result: "Result", fault: "Fault") -> Problems:
    """Path MTU discovery worked: a packet above the limit was lost, later ones were no larger."""
    limit, forward = int(str(fault.params["pmtu"])), fault.direction != "reverse"
    if any(seen.length > limit for seen in _all(result, fault, forward)):
        yield "a packet above the path MTU arrived"
    if not any(seen.length > limit for each in _of(result, fault) for seen in each.lost(forward)):
        yield "no packet above the path MTU was sent"


def clamped(result: "Result", fault: "Fault") -> Problems:
    """No packet above the limit was sent, although the interfaces would take it, and data filled it."""
    limit = int(str(fault.params["pmtu"]))
    longest = max(seen.length for seen in _all(result, fault, True))
    if _all_lost(result, fault) or not limit - 60 < longest <= limit:
        yield f"the longest packet had {longest} octets, or packets were lost"


def oversize_probed(result: "Result", fault: "Fault") -> Problems:
    """A packet above the limit was repeated in vain, and a smaller one with its first octets arrived."""
    limit = int(str(fault.params["pmtu"]))
    for each in _of(result, fault):
        stuck = {seen.tcp.seq for seen in each.lost(True) if seen.length > limit}
        if stuck & {seen.tcp.seq for seen in each.arrived(True) if seen.tcp.payload}:
            return
    yield "no smaller packet arrived in the place of a lost one"


def super_packets(result: "Result", fault: "Fault") -> Problems:
    """The sender's own capture holds packets larger than any link takes; the wire does not."""
    point = result.plan.captures[0]
    longest = max(len(data) for _, data in read(result.folder / point.file.removesuffix(".gz")))
    if longest < 2000 or any(seen.length > 1500 for seen in _all(result, fault, True)):
        yield f"the longest packet of the capture has {longest} octets"


def repaired(result: "Result", fault: "Fault") -> Problems:
    """Packets were lost, sent again, and all was delivered."""
    if len(_all_lost(result, fault)) < REPEATS:
        yield "hardly a packet was lost"


def reordered(result: "Result", fault: "Fault") -> Problems:
    """Segments overtook others, and none was lost."""
    late = 0
    for each in result.wire(fault.peer, fault.client).connections.values():
        seqs = [seen.tcp.seq for seen in each.arrived(True) if seen.tcp.payload]
        late += sum(after < before for before, after in pairwise(seqs))
    if late < REPEATS or _all_lost(result, fault):
        yield f"{late} segments came late, or some were lost"


def duplicated(result: "Result", fault: "Fault") -> Problems:
    """More packets arrived than were sent."""
    connections = result.wire(fault.peer, fault.client).connections.values()
    more = sum(len(each.arrived(True)) - len(each.sent(True)) for each in connections)
    if more < REPEATS:
        yield f"{more} packets came twice"


def delivered_late(seconds: float) -> "Claim":
    """Some message took at least so long, and was delivered."""

    def claim(result: "Result", fault: "Fault") -> Problems:
        spans = [each.at_client[-1].time - each.at_client[0].time for each in _of(result, fault)]
        if max(spans, default=0) < seconds:
            yield f"the longest connection took {max(spans, default=0):.1f} s"

    return claim


def odd_content_passed(pattern: bytes) -> "Claim":
    """The pattern reached the server."""

    def claim(result: "Result", fault: "Fault") -> Problems:
        if not any(pattern in each.stream(True, arrived=True) for each in _of(result, fault)):
            yield "the pattern did not arrive"

    return claim


def passed_over_tls(peer: str, hits: Callable[["Sent"], bool]) -> "Claim":
    """Messages like those that failed reached this peer, over TLS."""

    def claim(result: "Result", fault: "Fault") -> Problems:
        address = result.plan.host(peer).address
        likewise = [name for name, sent in result.messages.items() if hits(sent) and peer in sent.mail.to]
        if not likewise:
            yield f"no such message for {peer}"
        for name in likewise:
            if not re.search(rf"{name} [=-]> .*\[{address}\].* X=TLS", result.log()):
                yield f"{name}: not delivered over TLS"

    return claim


def fragments_arrived(result: "Result", fault: "Fault") -> Problems:
    """A router cut packets up, and their parts arrived."""
    if not result.wire(fault.peer, fault.client).fragments["server"]:
        yield "no fragment arrived"


def deferred_first(result: "Result", fault: "Fault") -> Problems:
    """Messages were put off by a reply, and delivered later."""
    peer = result.plan.host(fault.peer).address
    if len(mainlog.failed(result.log(), peer) & mainlog.completed(result.log())) < 2:
        yield "hardly a message was put off and delivered later"


# Helpers


def _of(result: "Result", fault: "Fault") -> list[Connection]:
    return list(result.wire(fault.peer, fault.client).connections.values())


def _all(result: "Result", fault: "Fault", forward: bool) -> list[Seen]:
    return [seen for each in _of(result, fault) for seen in each.arrived(forward)]


def _all_lost(result: "Result", fault: "Fault") -> list[Seen]:
    return [seen for each in _of(result, fault) for seen in each.lost(True)]


def _attempts(result: "Result", fault: "Fault") -> Iterator[tuple[str, Connection]]:
    """Connections of the affected messages; there must be some, unless the text is not to be seen."""
    for name in sorted(affected(result, fault)):
        for connection in result.connections(name, fault.peer):
            yield name, connection


def _closed_without_answer(result: "Result", name: str, connection: Connection) -> Problems:
    """The server closed, and the last thing that it said was to go on.

    Exim's QUIT and FIN may ride on the last data, so the order of the FINs tells nothing; its log does.
    """
    last = connection.stream(False).splitlines()[-1:]
    if not last or not re.match(GO_ON, last[0]):
        yield f"{name}: the server's last words: {last}"
    said = re.search(rf"{name} H=.*Remote host closed connection", result.log())
    if not connection.closes(False) or not said:
        yield f"{name}: the server did not hang up"


def _data_complete(connection: Connection) -> bool:
    """Whether all of the data reached the server; Exim sends QUIT without waiting."""
    stream = connection.stream(True, arrived=True).removesuffix(b"QUIT\r\n")
    chunk = re.search(rb".*\nBDAT (\d+) LAST\r\n", stream, re.DOTALL)
    if chunk:
        return len(stream) - chunk.end() >= int(chunk[1])
    return stream.endswith(b"\r\n.\r\n")


def _last_data(connection: Connection) -> float:
    """When the last of the client's data reached the server."""
    return max(seen.time for seen in connection.arrived(True) if seen.tcp.payload)


def _back(connection: Connection, until: float) -> list[Seen]:
    return [seen for seen in connection.arrived(False) if seen.time < until]


def _patience(fault: "Fault") -> float:
    """How long the client waited, if the label says it [s]."""
    return float(str(fault.params.get("seconds", 0)))


def _timed_out(result: "Result", fault: "Fault") -> Problems:
    """Exim logged a timeout for every affected message."""
    for name in affected(result, fault):
        if not re.search(rf"{name} .*SMTP timeout", result.log(fault.client)):
            yield f"{name}: no timeout in the log"


def _sack_edges(seen: Seen) -> list[int]:
    options, at = seen.tcp.options, seen.tcp.option_at(SACK)
    if at is None:
        return []
    return [edge for (edge,) in struct.iter_unpack("!I", options[at + 2 : at + options[at + 1]])]


def _repeated(connection: Connection, forward: bool, which: Callable[[Seen], bool]) -> bool:
    seqs = [seen.tcp.seq for seen in connection.sent(forward) if seen.tcp.payload and which(seen)]
    return any(seqs.count(seq) >= REPEATS for seq in set(seqs))
