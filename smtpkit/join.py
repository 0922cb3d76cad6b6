"""The log's attempts laid over the capture's connections. Pure; nothing else compares the two.

An attempt and a connection belong together by, in this order: both ends' ports; Exim's message id in the
message's own header; the server's confirmation; time. The last one is a guess and is called so.
"""

from __future__ import annotations

from collections.abc import Iterator

import pandas as pd

from smtpkit import tables
from smtpkit.tables import ENDS, KEY

QUARTER = pd.Timedelta(minutes=15)
SECOND = pd.Timedelta(seconds=1)  # what a time stamp without milliseconds leaves out
NEAR = pd.Timedelta(seconds=5)  # whole-second stamps, DT= that counts the look-ups too
PROMPT = pd.Timedelta(seconds=30)  # a first attempt follows the arrival, unless the queue is long
CLOCKS_APART = 3600  # seconds, at most
FARTHEST_ZONE = 15 * 3600  # seconds
CLEARLY = 1.2  # times the votes of the second best
SAMPLE = 100  # connections that show an offset
MOST_COMPARED = 10_000  # deliveries compared with these
_ENDS = ["client", "server", "server_port"]
COMMANDS = 1200  # bytes of commands before the data: EHLO, MAIL, some recipients
FIRST_WINDOW = 10_000  # bytes that any sender sends without waiting (RFC 6928: 10 segments)
_BEFORE_MAIL = tables.PHASES[: tables.PHASES.index("MAIL")]
MOST_TRIES = 50  # transactions that can be told apart by time alone
_ACCEPTED = rf"\bid=({tables.MESSAGE_ID})\b"  # a receiving Exim's own id in its reply
# Times of an attempt and of its connection that can lie close together, and how close.
_TIMES = (
    ("start", "start", NEAR),
    ("end", "end", NEAR),
    ("end", "last_new_forward", NEAR),
    ("arrival", "start", PROMPT),
)


def zone_offset(
    attempts: pd.DataFrame, connections: pd.DataFrame, transactions: pd.DataFrame
) -> pd.Timedelta | None:
    """Return what a zone-less log's local time is ahead of the capture, in whole quarter-hours.

    Message ids that both hold decide; without them the offset at which most connections end together with a
    delivery to the same server. None where nothing joins, or two offsets join about as well.

    Parameters
    ----------
    attempts, connections, transactions : DataFrame
        The tables of these names; the times of attempts read as if they were UTC.
    """
    held = transactions.dropna(subset=["message_id", "end"])[["message_id", "end"]]
    known = attempts[attempts["outcome"] == "delivered"].merge(held, on="message_id", suffixes=("", "_of"))
    seconds = (known["end"] - known["end_of"]).dt.total_seconds().dropna()
    if seconds.empty:
        seconds = _differences(attempts, connections, FARTHEST_ZONE)["seconds"]
    votes = _votes(seconds)
    ahead = votes.index.to_series().astype(float)
    quarters = (ahead / QUARTER.total_seconds()).round()
    even = (ahead - quarters * QUARTER.total_seconds()).abs() <= NEAR.total_seconds()
    # A clock that is off as well leaves a rest: that takes three deliveries to believe.
    likely = votes.where((quarters.abs() <= 4 * 14) & (even | (votes >= 3))).dropna()
    best = likely.groupby(quarters).max().sort_values(ascending=False)
    if best.empty or (len(best) > 1 and best.iloc[0] < CLEARLY * best.iloc[1]):
        return None
    return float(best.index.to_numpy(float)[0]) * QUARTER


def _differences(attempts: pd.DataFrame, connections: pd.DataFrame, within: float) -> pd.DataFrame:
    """Return, for each capture, the seconds from connections' ends to those of deliveries to their server.

    Differences of over `within` seconds are left out, and each counts once for a connection.
    """
    some = connections.iloc[:: max(1, len(connections) // SAMPLE)]
    margin = pd.Timedelta(seconds=within)
    ended = attempts[attempts["outcome"] == "delivered"].dropna(subset="end")[["peer", "end"]]
    ended = ended[ended["end"].between(some["start"].min() - margin, some["end"].max() + margin)]
    ends = some[[*KEY, "server", "last_new_forward"]]
    pairs = ended.iloc[:MOST_COMPARED].merge(ends, left_on="peer", right_on="server")
    pairs["seconds"] = (pairs["end"] - pairs["last_new_forward"]).dt.total_seconds()
    pairs = pairs[pairs["seconds"].abs() <= within]
    return pairs[~pairs.assign(whole=pairs["seconds"].round()).duplicated([*KEY, "whole"])]


def _votes(seconds: pd.Series) -> pd.Series:
    """Count for each whole second how many differences lie within a second of it."""
    counts = seconds.round().value_counts()
    beside = (counts.reindex(counts.index + step, fill_value=0).to_numpy() for step in (-1, 1))
    return counts + sum(beside)


def join(
    attempts: pd.DataFrame, connections: pd.DataFrame, transactions: pd.DataFrame, messages: pd.DataFrame
) -> pd.DataFrame:
    """Give each attempt its connection.

    Parameters
    ----------
    attempts, connections, transactions, messages : DataFrame
        The tables of these names.

    Returns
    -------
    DataFrame
        `attempts` with `capture`, `stream`, `matched_by` and `bytes_acknowledged`, and `client`, `peer` and
        their ports where the log lacks them.
    """
    joined = attempts.copy()
    if (attempts["end"].dropna().dt.microsecond == 0).all():
        # Stamps without milliseconds are cut off: half a second later is the better guess.
        joined, messages = (_later(frame, SECOND / 2) for frame in (joined, messages))
    ahead = _log_ahead(joined, connections)
    connections = connections.assign(connection=_copies(connections))
    held = transactions.dropna(subset="start").merge(connections[[*KEY, *_ENDS, "connection"]], on=KEY)
    held = _on_log_clock(held, ahead, ["start"])
    captured, connections = (
        connections,
        _on_log_clock(connections, ahead, ["start", "end", "last_new_forward"]),
    )
    outgoing = joined["peer"].notna()
    for how, pairs in (
        ("ports", _by_ports(joined, connections)),
        ("message_id", _by_text(joined, held, held["message_id"], joined["message_id"].where(outgoing))),
        ("confirmation", _by_text(joined, held, held["reply"], _last_line(joined["confirmation"]))),
        (
            "confirmation",
            _by_text(joined, held, held["reply"].str.extract(_ACCEPTED)[0], joined["message_id"]),
        ),
    ):
        _take(joined, pairs, how)
    _take(joined, _by_time(joined, connections, messages), "time")
    joined[["start", "end"]] = attempts[["start", "end"]]
    _move_to_own_end(joined, captured, outgoing)
    return _complete(joined, captured)


def _copies(connections: pd.DataFrame) -> pd.Series:
    """Give each connection a number, the same where two captures hold it."""
    connections = connections.sort_values("start")
    turn = connections.groupby(["capture", *ENDS], dropna=False).cumcount()
    return connections.assign(turn=turn).groupby([*ENDS, "turn"], dropna=False).ngroup()


def _later(frame: pd.DataFrame, by: pd.Timedelta) -> pd.DataFrame:
    times = [name for name in ("start", "end", "arrival") if name in frame]
    return frame.assign(**{name: frame[name] + by for name in times})


def _log_ahead(attempts: pd.DataFrame, connections: pd.DataFrame) -> pd.Series:
    """Return how far the log's clock is ahead of each capture's, in seconds, where enough deliveries agree.

    Of all differences between the end of a delivery and that of a connection to its server, those of true
    pairs lie close together. No offset is believed that fewer than three agree on.
    """
    near = _differences(attempts, connections, CLOCKS_APART)
    return near.groupby("capture")["seconds"].apply(_agreed).dropna()


def _agreed(seconds: pd.Series) -> float:
    votes = _votes(seconds)
    centres = votes.index.to_numpy(float)
    best = float(centres[votes.to_numpy().argmax()])
    centre = 0.0 if 2 * votes[abs(centres) <= 1].max() >= votes.max() else best
    median = float(seconds[(seconds - centre).abs() <= 1.5].median())
    return median if votes.max() >= 3 and abs(median) >= 1 else float("nan")


def _on_log_clock(frame: pd.DataFrame, ahead: pd.Series, times: list[str]) -> pd.DataFrame:
    shift = pd.to_timedelta(frame["capture"].map(ahead).astype("Float64").fillna(0.0).astype(float), unit="s")
    return frame.assign(**{name: frame[name] + shift for name in times})


def clock_offset(attempts: pd.DataFrame, connections: pd.DataFrame) -> pd.Series:
    """Return for each capture how far the log's clock is ahead of the capture's, in seconds.

    The median over deliveries that join by more than time, else over all that join, of the log line's time
    minus the last new data of their connection. A log of whole seconds is behind by half a second on average.
    """
    delivered = attempts[attempts["outcome"] == "delivered"]
    sure = delivered[delivered["matched_by"] != "time"].dropna(subset=KEY)
    pairs = (sure if len(sure) else delivered).merge(connections[[*KEY, "last_new_forward"]], on=KEY)
    ahead = (pairs["end"] - pairs["last_new_forward"]).dt.total_seconds()
    return ahead.groupby(pairs["capture"]).median()


def _open(attempts: pd.DataFrame) -> pd.DataFrame:
    return attempts[attempts["stream"].isna()]


def _take(attempts: pd.DataFrame, pairs: Iterator[tuple[int, int, int]], how: str) -> None:
    found = [] if _open(attempts).empty else list(pairs)
    rows = [row for row, _, _ in found]
    attempts.loc[rows, "capture"] = [capture for _, capture, _ in found]
    attempts.loc[rows, "stream"] = [stream for _, _, stream in found]
    attempts.loc[rows, "matched_by"] = how


def _by_ports(attempts: pd.DataFrame, connections: pd.DataFrame) -> Iterator[tuple[int, int, int]]:
    """Yield attempts whose client port is logged; a port used twice goes by time."""
    known = _open(attempts).dropna(subset=["client_port"]).reset_index(names="row")
    ends = connections.dropna(subset=["client_port"])
    pairs = known.merge(ends, on="client_port", suffixes=("", "_of"))
    pairs = pairs.rename(columns={"server": "server_of", "server_port": "server_port_of"})
    pairs = pairs[_same_ends(pairs) & (pairs["end"] >= pairs["start_of"] - SECOND)]
    pairs = pairs.assign(ago=pairs["end"] - pairs["start_of"]).sort_values("ago")
    nearest = pairs.drop_duplicates("row")
    yield from zip(*(nearest[name].tolist() for name in ("row", "capture_of", "stream_of")), strict=True)


def _same_ends(pairs: pd.DataFrame) -> pd.Series:
    """Compare addresses; what the log does not say cannot differ."""
    client = (pairs["client"] == pairs["client_of"]).fillna(False) | pairs["client"].isna()
    server = (pairs["peer"] == pairs["server_of"]).fillna(False) | pairs["peer"].isna()
    port = pairs["peer_port"].isna() | (pairs["peer_port"] == pairs["server_port_of"]).fillna(False)
    return client & server & port


def _last_line(confirmation: pd.Series) -> pd.Series:
    """Return the text of a confirmation's last line, without its reply code."""
    return confirmation.str.replace(r"^(?:.*\\n)?\d{3}[ -]", "", regex=True)


def _by_text(
    attempts: pd.DataFrame, held: pd.DataFrame, captured: pd.Series, logged: pd.Series
) -> Iterator[tuple[int, int, int]]:
    """Yield attempts whose text in the log a transaction of that path holds; several tries go by time.

    A text that very many transactions hold (a bare ``OK``) tells nothing. What failed before MAIL, as where
    STARTTLS timed out and the next connection went in clear, had no transaction.
    """
    held = held.assign(text=captured).dropna(subset="text").rename(columns={"start": "began"})
    held = held[[*KEY, "connection", "text", "began", *_ENDS]].rename(
        columns={name: f"{name}_of" for name in _ENDS}
    )
    held = held[held.groupby("text")["text"].transform("size") <= MOST_TRIES]
    tried = _open(attempts)
    tried = tried[~tried["phase"].isin(_BEFORE_MAIL)]
    pairs = tried.drop(columns=KEY).assign(text=logged).dropna(subset="text")
    pairs = pairs.reset_index(names="row").merge(held, on="text")
    pairs = pairs[_same_ends(pairs) & (pairs["end"] >= pairs["began"] - SECOND)]
    yield from _one_to_one(pairs.assign(cost=pairs["end"] - pairs["began"], misfit=0))


def _by_time(
    attempts: pd.DataFrame, connections: pd.DataFrame, messages: pd.DataFrame
) -> Iterator[tuple[int, int, int]]:
    """Yield attempts by when they began (DT=, else the arrival before a first try) or ended."""
    taken = attempts[KEY].dropna().merge(connections[[*KEY, "connection"]], on=KEY)["connection"]
    free = ~connections["connection"].isin(taken)
    columns = [*_ENDS, "start", "end", "last_new_forward"]
    ends = connections.loc[
        free, [*KEY, "connection", *columns, "bytes_sent_forward", "bytes_acknowledged_forward"]
    ]
    left = _open(attempts).drop(columns=KEY).reset_index(names="row")
    left = left.merge(messages[["message_id", "arrival"]], on="message_id", how="left")
    left["first"] = ~attempts.duplicated(["message_id", "peer"])[left["row"]].to_numpy()
    pairs = pd.concat([_near(left, ends, *times) for times in _TIMES]).drop_duplicates(["row", *KEY])
    pairs = pairs[_same_ends(pairs) & (pairs["start_of"] <= pairs["end"] + SECOND)]
    pairs = pairs.assign(cost=_distance(pairs), misfit=_misfit(pairs))
    yield from _one_to_one(pairs[pairs["misfit"] < 3].dropna(subset="cost"))


def _near(
    left: pd.DataFrame, ends: pd.DataFrame, ours: str, theirs: str, within: pd.Timedelta
) -> pd.DataFrame:
    """Pair attempts and connections of the same server, else client, whose times are about `within` apart.

    Both are put into spans of that length, so that a busy day does not pair everything with everything.
    """
    spans = ends.assign(span=ends[theirs].dt.floor(within)).rename(columns=lambda name: f"{name}_of")
    spans = pd.concat([spans.assign(span=spans["span_of"] + step * within) for step in (-1, 0, 1)])
    spans = spans.rename(columns={f"{name}_of": name for name in (*KEY, "connection")})
    known = left.assign(span=left[ours].dt.floor(within)).dropna(subset="span")
    return pd.concat(
        known[known["peer"].notna() == (end == "server")].merge(
            spans, left_on=[mine, "span"], right_on=[f"{end}_of", "span"]
        )
        for mine, end in (("peer", "server"), ("client", "client"))
    )


def _distance(pairs: pd.DataFrame) -> pd.Series:
    """Return how far attempt and connection are apart in time; NaT where too far."""
    begun = (pairs["start"] - pairs["start_of"]).abs()
    ended = (pairs["end"] - pairs["end_of"]).abs()
    quiet = (pairs["end"] - pairs["last_new_forward_of"]).abs().fillna(ended)
    ended = ended.where(ended < quiet, quiet)
    waited = (pairs["start_of"] - pairs["arrival"]).abs().where(pairs["first"])
    delivered = pairs["outcome"] == "delivered"
    cost = begun.where(begun <= NEAR)
    cost = cost.fillna(ended.where(ended <= NEAR)).where(~delivered | (ended <= NEAR))
    late = waited.where((waited <= PROMPT) & ~delivered & pairs["start"].isna())
    return cost.fillna(late)


def _misfit(pairs: pd.DataFrame) -> pd.Series:
    """Grade how badly the bytes of a connection fit an attempt: 0 well, 1 with TLS perhaps, 2 hardly, 3 not.

    What was delivered was acknowledged, all of it. Of what failed, Exim's "bytes written" and the commands
    before it are what the connection sent, unless the network took less than a first window.
    """
    sent, acknowledged = pairs["bytes_sent_forward_of"], pairs["bytes_acknowledged_forward_of"]
    more = sent - pairs["bytes_written"]
    close = more.between(0, COMMANDS) | pairs["bytes_written"].isna()
    loose = (more <= 4 * COMMANDS + sent / 16) & (sent >= pairs["bytes_written"].clip(upper=FIRST_WINDOW))
    whole = pairs["bytes_written"].isna() & (acknowledged >= sent)
    grade = pd.Series(2, index=pairs.index).mask(_true(loose), 1).mask(_true(close), 0).mask(_true(whole), 1)
    short = (acknowledged < sent) | (acknowledged < pairs["size"])
    delivered = pairs["outcome"] == "delivered"
    return grade.where(~delivered, 0).mask(_true(delivered & short), 3)


def _true(values: pd.Series) -> pd.Series:
    return values.fillna(False).astype(bool)


def _one_to_one(pairs: pd.DataFrame) -> Iterator[tuple[int, int, int]]:
    """Yield deliveries before failures, cheap pairs first, each attempt and each connection once.

    Two captures' copies of a connection are one.

    A failure on one connection is often followed at once by a delivery on the next.
    """
    rows: set[int] = set()
    taken: set[int] = set()
    pairs = pairs.assign(failed=pairs["outcome"] != "delivered").sort_values(["failed", "misfit", "cost"])
    columns = (pairs[name].tolist() for name in ("row", *KEY, "connection"))
    for row, capture, stream, connection in zip(*columns, strict=True):
        if row not in rows and connection not in taken:
            rows.add(row)
            taken.add(connection)
            yield row, capture, stream


def _move_to_own_end(attempts: pd.DataFrame, connections: pd.DataFrame, outgoing: pd.Series) -> None:
    """Of two captures that hold a connection choose the one at the log's host.

    The answer to the SYN takes longest at the client. What was lost on the way is only seen at the sender.
    """
    copies = connections.dropna(subset="syn_rtt").sort_values("syn_rtt").groupby("connection")[KEY]
    numbers = attempts[KEY].merge(connections[[*KEY, "connection"]], on=KEY, how="left")["connection"]
    numbers = numbers.set_axis(attempts.index)
    for rows, nearest in ((outgoing, copies.last()), (~outgoing, copies.first())):
        moved = numbers[rows & numbers.isin(nearest.index)]
        attempts.loc[moved.index, KEY] = nearest.loc[moved].to_numpy()


def _complete(attempts: pd.DataFrame, connections: pd.DataFrame) -> pd.DataFrame:
    """Fill in from the connection what the log does not say."""
    columns = [*ENDS, "bytes_acknowledged_forward"]
    known = connections[[*KEY, *columns]].rename(columns=lambda name: name if name in KEY else f"{name}_of")
    found = attempts[KEY].merge(known, on=KEY, how="left").set_index(attempts.index)
    names = zip(("client", "client_port", "peer", "peer_port", "bytes_acknowledged"), columns, strict=True)
    unlogged = {end: attempts[end].isna() for end in ("client", "peer")}
    for name, column in names:
        attempts[name] = attempts[name].fillna(found[f"{column}_of"])
    for end, rows in unlogged.items():
        attempts.loc[rows, end] = attempts.loc[rows, end].fillna(_this_host(attempts[rows], end))
    return attempts


def _this_host(attempts: pd.DataFrame, end: str) -> pd.Series:
    """Return the address that all joined attempts have at this end: one for each IP version, else <NA>."""
    other = attempts["peer" if end == "client" else "client"]
    six = other.str.contains(":", regex=False)
    known = attempts[end].groupby(six)
    single = known.first().where(known.min() == known.max())
    return six.map(single).astype("string")
