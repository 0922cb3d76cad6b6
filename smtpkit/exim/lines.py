"""The grammar of a line of an Exim log, and the functions that read a line by it.

Source: the Exim specification, chapter "Log files", and the functions that write these lines (``deliver.c``,
``receive.c``, ``smtp_in.c``, ``transports/smtp.c``). The grammar is the data at the top. A line is read once,
from left to right, so that a field counts only in its own place: what a peer wrote into a quoted value, an
address, a HELO name or an error text is none. What looks ahead looks `AHEAD` bytes at most: linear time.

These are plain functions over a buffer of bytes and tables of integers. Interpreted, both are memoryviews;
`forms.compiled` compiles the same source for large inputs. So: no class, no slice of the buffer.
"""

# mypy: disable-error-code="no-untyped-def"
from __future__ import annotations

from smtpkit.tables import KINDS

# --- the grammar -----------------------------------------------------------------------------------------

# The values of a line; `spans` has where each starts and ends. Most are columns of `log_lines`; words without
# a column of their own go to the options. `error` is what a remote host or an error function said.
SPANS = (
    *("pid", "message_id", "address", "original_address", "sender", "router", "transport", "host"),
    *("host_address", "host_port", "interface_address", "interface_port", "size", "protocol", "cipher"),
    *("confirmation", "header_message_id", "subject", "recipients", "queue_time", "delivery_time"),
    *("reception_time", "errno", "text", "reference", "return_path", "user", "authenticator"),
    *("certificate_verified", "peer_dn", "connection_id", "queue", "duration", "error"),
    *("option_1", "option_2", "option_3", "option_4", "option_5", "option_6", "option_7", "option_8"),
)
PID, MESSAGE_ID, ADDRESS, ORIGINAL_ADDRESS, SENDER, ROUTER, TRANSPORT, HOST = range(8)
HOST_ADDRESS, HOST_PORT, INTERFACE_ADDRESS, INTERFACE_PORT, SIZE, PROTOCOL, CIPHER = range(8, 15)
CONFIRMATION, HEADER_MESSAGE_ID, SUBJECT, RECIPIENTS, QUEUE_TIME, DELIVERY_TIME = range(15, 21)
RECEPTION_TIME, ERRNO, TEXT, REFERENCE, RETURN_PATH, USER, AUTHENTICATOR = range(21, 28)
CERTIFICATE_VERIFIED, PEER_DN, CONNECTION_ID, QUEUE, DURATION, ERROR = range(28, 34)
OPTION, LAST_OPTION = 34, 41

# What a letter means, by the flag ("Summary of Fields in Log Lines"); without a flag `text` has all.
ARRIVAL, DELIVERY, FAILURE, UNFLAGGED = range(4)
_LETTERS = (  # letter, on arrivals, on deliveries and failures, without a flag
    ("A", AUTHENTICATOR, AUTHENTICATOR, AUTHENTICATOR),
    ("C", OPTION, CONFIRMATION, -1),
    ("Ci", CONNECTION_ID, CONNECTION_ID, CONNECTION_ID),
    ("CV", CERTIFICATE_VERIFIED, CERTIFICATE_VERIFIED, CERTIFICATE_VERIFIED),
    ("D", OPTION, OPTION, DURATION),
    ("DN", PEER_DN, PEER_DN, PEER_DN),
    ("DT", DELIVERY_TIME, DELIVERY_TIME, -1),
    ("F", SENDER, SENDER, SENDER),
    ("P", PROTOCOL, RETURN_PATH, PROTOCOL),
    ("Q", QUEUE, QUEUE, QUEUE),
    ("QT", QUEUE_TIME, QUEUE_TIME, QUEUE_TIME),
    ("R", REFERENCE, ROUTER, -1),
    ("RT", RECEPTION_TIME, OPTION, -1),
    ("S", SIZE, SIZE, SIZE),
    ("SNI", OPTION, OPTION, OPTION),
    ("T", SUBJECT, TRANSPORT, -1),
    ("U", USER, USER, USER),
    ("X", CIPHER, CIPHER, CIPHER),
    ("id", HEADER_MESSAGE_ID, HEADER_MESSAGE_ID, -1),
    ("id*", HEADER_MESSAGE_ID, HEADER_MESSAGE_ID, -1),
)


def _packed(letters):
    return sum(byte << 8 * n for n, byte in enumerate(letters.encode()))


KEYS = tuple(_packed(row[0]) for row in _LETTERS)
COLUMNS = (
    *(tuple(row[1] for row in _LETTERS), tuple(row[2] for row in _LETTERS)),
    *(tuple(row[2] for row in _LETTERS), tuple(row[3] for row in _LETTERS)),
)
LONGEST_KEY = 6
# Fields without a value; what stands after them, up to the blank, is theirs (L*-, TFO**).
WORDS = (b"DS", b"L", b"K", b"PRDR", b"TFO", b"SPF", b"DMARC", b"ARC")

FLAGS = ("<=", "(=", "=>", "->", ">>", "*>", "==", "**")
FLAG_BYTES = tuple(ord(flag[0]) << 8 | ord(flag[1]) for flag in FLAGS)
FLAG_MODES = (ARRIVAL, ARRIVAL, DELIVERY, DELIVERY, DELIVERY, DELIVERY, FAILURE, FAILURE)
FAKEREJECT, DEFERRAL, BOUNCED = 1, 6, 7  # places in FLAGS, of which the first are the first kinds, too

# Kinds of lines without a flag: the first that fits. What follows H= and its like begins with the second word
# and has the third one somewhere; after the fourth one a host is named.
_KINDS = (
    ("completed", b"Completed", b"", b""),
    ("connection_lost", b"SMTP data timeout ", b"", b"connection from "),
    ("connection_lost", b"SMTP command timeout ", b"", b"connection from "),
    ("connection_lost", b"SMTP connection lost after ", b"", b" H="),
    ("connection_lost", b"SMTP connection from ", b" lost", b"from "),
    ("connection_lost", b"SMTP connection Ci=", b" lost", b"from "),
    ("connection_lost", b"SMTP protocol connection lost", b"", b"from "),
    ("connection_lost", b"unexpected EOF while reading SMTP command from ", b"", b"from "),
    ("connection_lost", b"unexpected disconnection while reading SMTP command from ", b"", b"from "),
    ("connection_lost", b"Error or EOF on input from ", b"", b"from "),
    ("connection_lost", b"incomplete transaction (connection lost)", b"", b""),
    ("connection_lost", b"SMTP call from ", b" lost", b"from "),
    ("rejection", b"SMTP call from ", b" dropped", b"from "),
    ("rejection", b"SMTP protocol ", b"", b""),
    ("rejection", b"SMTP syntax ", b"", b""),
    ("rejection", b"rejected from <", b"", b"> H="),
    ("rejection", b"rejected ", b"", b" from "),
    ("rejection", b"temporarily rejected ", b"", b" from "),
    ("rejection", b"refused ", b"", b" from "),
    ("rejection", b"temporarily refused ", b"", b" from "),
    ("rejection", b"dropped ", b"", b""),
    ("rejection", b"Connection from ", b" refused", b"from "),
    ("rejection", b"connection from ", b" refused", b"from "),
    ("rejection", b"sender verify fail", b"", b""),
    ("rejection", b"sender verify defer", b"", b""),
    ("rejection", b"unqualified ", b" rejected", b"> H="),
    ("rejection", b"too many recipients: ", b" rejected", b""),
    ("rejection", b"overlong message header line", b"", b"from "),
    ("rejection", b"ridiculously long message header", b"", b"from "),
    ("rejection", b"local_scan() function ", b" rejected", b""),
    ("rejection", b"Error while reading message", b" rejected by ", b""),
    ("rejection", b"VRFY rejected", b"", b""),
    ("rejection", b"RCPT ", b"discarded by ", b""),
    ("rejection", b"MAIL ", b"discarded by ", b""),
    ("tls_error", b"TLS error", b"", b"connection from "),
    ("tls_error", b"TLS session", b" delivering unencrypted to H=", b" delivering unencrypted to H="),
    ("tls_error", b"DANE ", b" delivering unencrypted to H=", b" delivering unencrypted to H="),
    ("tls_error", b"a TLS session is required", b"", b""),
    ("tls_error", b"TLS session", b"", b""),
    ("tls_error", b"TLS ALPN ", b"", b""),
    ("tls_error", b"DANE ", b"", b""),
    ("tls_error", b"SSL", b"", b""),
    ("tls_error", b"[", b"] SSL verify ", b""),
    ("tls_error", b"[", b"] TLS ", b""),
    ("tls_error", b"[", b"] DANE ", b""),
    ("queue_run", b"Start ", b"queue run: ", b""),
    ("queue_run", b"End ", b"queue run: ", b""),
    ("queue_run", b"Abandon queue run: ", b"", b""),
    ("queue_run", b"queue run: ", b"", b""),
    ("queue_run", b"notify triggered queue run", b"", b""),
    ("daemon", b"exim ", b" daemon ", b""),
    ("daemon", b"pid ", b": SIG", b""),
    ("daemon", b"daemon: ", b"", b""),
    ("daemon", b"listen backlog ", b"", b""),
    ("daemon", b"socket bind() to port ", b"", b""),
    ("daemon", b"Exim configuration error", b"", b""),
    ("frozen", b"*** Frozen", b"", b""),
    ("frozen", b"Frozen", b"", b""),
    ("frozen", b"frozen", b"", b""),
    ("frozen", b"Unfrozen", b"", b""),
    ("frozen", b"unfrozen", b"", b""),
    ("frozen", b"Message is frozen", b"", b""),
    ("retry", b"retry time", b"", b""),
    ("warning", b"Warning: ", b"", b""),
    ("warning", b"WARNING", b"", b""),
    ("connection", b"SMTP connection ", b"", b"from "),
    ("connection", b"SMTPS connection ", b"", b"from "),
    ("connection", b"no MAIL in ", b"", b"from "),
    ("connection", b"no host name found ", b"", b""),
    ("connection", b"ident connection to ", b"", b""),
    ("connection", b"VRFY failed ", b"", b""),
    ("connection", b"ETRN ", b" received from ", b""),
    ("connection", b"ATRN ", b" received from ", b""),
    ("rejection", b"", b" authenticator failed for ", b" for "),
)
RULE_KINDS = tuple(KINDS.index(row[0]) for row in _KINDS)
RULE_STARTS, RULE_PARTS, RULE_HOSTS = (tuple(row[n] for row in _KINDS) for n in (1, 2, 3))
OLD_HOST_ERRORS = (b"Remote host ", b"SMTP timeout ", b"SMTP error from remote mail")  # with a message id
# After H=... and with a message id: a host's error begins with ": ", or with a capital and none of these.
NO_HOST_ERROR = (b"Warning:", b"RCPT ", b"MAIL ", b"TLS ", b"DKIM", b"PRDR ")
OTHER, HOST_ERROR = KINDS.index("other"), KINDS.index("host_error")

# The rows of `facts`: integers of each entry. A zone is minutes east, or NONE; a time without one is local.
START, END, BODY, TIME, ZONE, KIND = FACTS = range(6)
NONE = -(1 << 62)
AHEAD = 1000  # bytes; the longest address is 320
PROBES = 16  # places in a table of hashes
MULTIPLIER = 0x5BD1E995
MAX_HELO = 300
STAMP = b"0000-00-00 00:00:00"
DEFER, ROUTING, FOR, FROM, STRERROR_ENDS = b"defer (", b"routing", b"for ", b"from <", (b" H=", b" DT=")

TAB, SPACE, QUOTE, LEFT, RIGHT, STAR, PLUS, MINUS, DOT, SLASH = b'\t "()*+-./'
COLON, LESS, EQUALS, GREATER, AT, OPEN, BACKSLASH, CLOSE, UNDERSCORE, BAR = b":<=>@[\\]_|"


# --- characters and words --------------------------------------------------------------------------------


def digit(byte):
    """Tell a digit."""
    return 48 <= byte <= 57


def letter(byte):
    """Tell an ASCII letter."""
    return 65 <= byte <= 90 or 97 <= byte <= 122


def starts(buf, at, end, word):
    """Tell whether `word` stands at `at`."""
    if end - at < len(word):
        return False
    for k in range(len(word)):  # noqa: SIM110, numba compiles no generator
        if buf[at + k] != word[k]:
            return False
    return True


def find(buf, at, end, word):
    """Return where `word` stands first, from `at` on; -1 if nowhere."""
    for k in range(at, end - len(word) + 1):
        if buf[k] == word[0] and starts(buf, k, end, word):
            return k
    return -1


def ends_here(buf, at, end):
    """Tell whether a word ends at `at`: a blank or the end of the line."""
    return at >= end or buf[at] == SPACE


def word_end(buf, at, end):
    """Return the end of a plain value: a blank, or the colon that starts an error text."""
    while at < end and buf[at] != SPACE:
        if buf[at] == COLON and ends_here(buf, at + 1, end):
            break
        at += 1
    return at


def quoted_end(buf, at, end):
    """Return what is behind the quote that starts at `at`; one that is never closed runs to the end."""
    at += 1
    while at < end:
        if buf[at] == QUOTE:
            return at + 1
        at += 2 if buf[at] == BACKSLASH else 1
    return end


def nested_end(buf, at, end, closing):
    """Return where the bracket that opens at `at` is closed; -1 if another opens before, or it is too far."""
    opening, last = buf[at], min(end, at + AHEAD)
    at += 1
    while at < last:
        byte = buf[at]
        if byte == closing:
            return at
        if byte == opening:
            return -1
        at = quoted_end(buf, at, last) if byte == QUOTE else at + 1
    return -1


def put(spans, column, start, end):
    """Enter where a value of this line stands."""
    spans[2 * column] = start
    spans[2 * column + 1] = end


def missing(spans, column):
    """Tell whether a value is not there yet."""
    return spans[2 * column] < 0


# --- the start of a line ---------------------------------------------------------------------------------


def stamp_end(buf, at, end):
    """Return what is behind the time stamp at `at`, fraction and zone included; -1 if there is none."""
    if end - at < len(STAMP) or not (buf[at] == 50 or (buf[at] == 49 and buf[at + 1] == 57)):
        return -1
    for k in range(len(STAMP)):
        if (not digit(buf[at + k])) if STAMP[k] == 48 else buf[at + k] != STAMP[k]:
            return -1
    at += len(STAMP)
    if at + 1 < end and buf[at] == DOT and digit(buf[at + 1]):
        last = min(end, at + 7)
        at += 1
        while at < last and digit(buf[at]):
            at += 1
    if zone_at(buf, at, end):
        at += 6
    return at if ends_here(buf, at, end) else -1


def zone_at(buf, at, end):
    """Tell whether a zone such as `` +0100`` stands at `at`."""
    if end - at < 6 or buf[at] != SPACE or (buf[at + 1] != PLUS and buf[at + 1] != MINUS):
        return False
    return digits(buf, at + 2, 4) and ends_here(buf, at + 6, end)


def digits(buf, at, count):
    """Tell whether so many digits stand at `at`."""
    for k in range(at, at + count):  # noqa: SIM110
        if not digit(buf[k]):
            return False
    return True


def number(buf, at, count):
    """Return the number of so many digits."""
    value = 0
    for k in range(at, at + count):
        value = value * 10 + buf[k] - 48
    return value


def time_of(buf, at, end):
    """Return the time stamp that ends at `end` in nanoseconds since 1970, and its zone; NONE: no date."""
    zone = NONE
    if buf[end - 5] == PLUS or (buf[end - 5] == MINUS and buf[end - 6] == SPACE):
        zone = number(buf, end - 4, 2) * 60 + number(buf, end - 2, 2)
        zone = -zone if buf[end - 5] == MINUS else zone
        end -= 6
    year, month, day = number(buf, at, 4), number(buf, at + 5, 2), number(buf, at + 8, 2)
    hour, minute, second = number(buf, at + 11, 2), number(buf, at + 14, 2), number(buf, at + 17, 2)
    if not 1 <= month <= 12 or not 1 <= day <= month_length(year, month):
        return NONE, zone
    if hour > 23 or minute > 59 or second > 60 or zone >= 1440 or NONE < zone <= -1440:
        return NONE, zone
    fraction = 0
    for k in range(9):
        place = at + len(STAMP) + 1 + k
        fraction = fraction * 10 + (buf[place] - 48 if place < end else 0)
    seconds = ((days(year, month, day) * 24 + hour) * 60 + minute) * 60 + second
    return seconds * 1_000_000_000 + fraction, zone


def month_length(year, month):
    """Return the days of a month."""
    if month == 2:
        return 29 if year % 4 == 0 and (year % 100 != 0 or year % 400 == 0) else 28
    return 30 + (month + month // 8) % 2


def days(year, month, day):
    """Return the days since 1970 (proleptic Gregorian calendar; March is the first month of its count)."""
    if month <= 2:
        year, month = year - 1, month + 12
    return year * 365 + year // 4 - year // 100 + year // 400 + (153 * month - 457) // 5 + day - 719469


def heads(buf, facts, count):
    """Find which entries start with a time stamp: enter the time, and in BODY where it ends (-1: none)."""
    for i in range(count):
        at, end = facts[START, i], facts[END, i]
        while at < end and buf[at] == 0:  # a crash leaves them where its last lines should be
            at += 1
        facts[START, i] = at
        body = stamp_end(buf, at, end)
        facts[BODY, i] = body
        if body >= 0:
            facts[TIME, i], facts[ZONE, i] = time_of(buf, at, body)


def message_id_end(buf, at, end):
    """Return the end of the message id at `at`: 6-6-2 characters up to Exim 4.96, 6-11-4 since; or -1."""
    if end - at < 16 or not digit(buf[at]) or buf[at + 6] != MINUS:
        return -1
    dash = 13 if buf[at + 13] == MINUS else 18
    stop = at + (16 if dash == 13 else 23)
    if stop > end or buf[at + dash] != MINUS or not ends_here(buf, stop, end):
        return -1
    for k in range(at, stop):
        if k != at + 6 and k != at + dash and not (digit(buf[k]) or letter(buf[k])):
            return -1
    return stop


# --- a whole line ----------------------------------------------------------------------------------------


def decode(buf, facts, spans, found, used, count):
    """Read `count` entries: enter the kind of each, and in `found` where its values stand.

    Parameters
    ----------
    spans
        Room for one line; all its starts are -1.
    found
        For each value of `SPANS` a list of those that there are: entry, start, end.
    used
        How long each of these lists is.
    """
    for i in range(count):
        if facts[BODY, i] < 0:
            facts[KIND, i] = OTHER
            put(spans, TEXT, facts[START, i], facts[END, i])
        else:
            facts[KIND, i] = read(buf, facts[BODY, i], facts[END, i], spans)
        collect(spans, found, used, i)


def collect(spans, found, used, i):
    """Move the values of an entry into the lists, and make room for those of the next."""
    for column in range(len(used)):
        if not missing(spans, column):
            n = used[column]
            found[column, n, 0], found[column, n, 1] = i, spans[2 * column]
            found[column, n, 2] = spans[2 * column + 1]
            used[column], spans[2 * column] = n + 1, -1


def read(buf, at, end, spans):
    """Read one entry from behind its time stamp; return its kind."""
    if end - at > 3 and buf[at + 1] == OPEN:
        stop = at + 2
        while stop < end and digit(buf[stop]):
            stop += 1
        if stop > at + 2 and stop < end and buf[stop] == CLOSE and ends_here(buf, stop + 1, end):
            put(spans, PID, at + 2, stop)
            at = stop + 1
    stop = message_id_end(buf, at + 1, end)
    if stop < 0:
        return unflagged(buf, at, end, spans)
    put(spans, MESSAGE_ID, at + 1, stop)
    if stop + 2 < end and ends_here(buf, stop + 3, end):
        both = buf[stop + 1] << 8 | buf[stop + 2]
        for flag in range(len(FLAG_BYTES)):
            if FLAG_BYTES[flag] == both:
                flagged(buf, stop + 3, end, flag, spans)
                return flag
    return unflagged(buf, stop, end, spans)


def flagged(buf, at, end, flag, spans):
    """Read what follows a flag: the address, fields, and an error text where something failed."""
    mode = FLAG_MODES[flag]
    after = address(buf, at + 1, end, spans)
    start, stop = spans[2 * ADDRESS], spans[2 * ADDRESS + 1]
    if mode == FAILURE and not is_address(buf, start, stop):
        put(spans, ADDRESS, -1, -1)
        put(spans, ORIGINAL_ADDRESS, -1, -1)
        put(spans, TEXT, min(at + 1, end), end)
        return
    if mode == ARRIVAL and stop - start == 2 and buf[start] == LESS and buf[start + 1] == GREATER:
        put(spans, ADDRESS, start, start)
    at = fields(buf, after, end, mode, spans)
    if mode == FAILURE:
        at = skip_colon(buf, at, end)
        if flag == BOUNCED:
            end = time_at_end(buf, at, end, spans)
        if at < end:
            put(spans, TEXT, at, end)
        put(spans, ERROR, spans[2 * TEXT], spans[2 * TEXT + 1])


def is_address(buf, at, end):
    """Tell an address from a message: it has a domain, or is a file, a pipe, a reply or `:fail:`."""
    if at < end and (buf[at] == BAR or buf[at] == SLASH or buf[at] == COLON or buf[at] == GREATER):
        return True
    return find(buf, at, end, b"@") >= 0


def skip_colon(buf, at, end):
    """Return where an error text starts: behind `` : `` or ``: ``."""
    if at < end and buf[at] == SPACE:
        at += 1
    if at < end and buf[at] == COLON:
        at += 1
        if at < end and buf[at] == SPACE:
            at += 1
    return at


def time_at_end(buf, at, end, spans):
    """Enter the DT= that ends the line of a failure; return what is before it."""
    stop = end - 1
    while stop > at and (digit(buf[stop]) or letter(buf[stop]) or buf[stop] == DOT):
        stop -= 1
    if stop - 3 < at or stop + 1 == end or not starts(buf, stop - 3, end, b" DT="):
        return end
    put(spans, DELIVERY_TIME, stop + 1, end)
    return stop - 3


def unflagged(buf, at, end, spans):
    """Read a line without a flag: its host and sender; then tell its kind."""
    if at + 1 < end:
        put(spans, TEXT, at + 1, end)
    rest = fields(buf, at, end, UNFLAGGED, spans)
    if rest == at and not missing(spans, MESSAGE_ID) and named(buf, at + 1, end):
        rest = max(rest, host(buf, at + 1, end, spans))  # before Exim 4.85 H= was not there
    if is_host_error(buf, rest, end, spans):
        put(spans, ERROR, skip_colon(buf, rest, end), end)
        return HOST_ERROR
    rest = min(rest + 1, end)
    for rule in range(len(RULE_KINDS)):
        if fits(buf, rest, end, rule):
            if len(RULE_HOSTS[rule]):
                named_host(buf, rest, end, RULE_HOSTS[rule], spans)
            return RULE_KINDS[rule]
    return OTHER


def named(buf, at, end):
    """Tell whether ``name.domain [`` stands at `at`."""
    dots = 0
    while at < end and (letter(buf[at]) or digit(buf[at]) or buf[at] == DOT or buf[at] == MINUS):
        dots += buf[at] == DOT
        at += 1
    return dots > 0 and starts(buf, at, end, b" [")


def fits(buf, at, end, rule):
    """Tell whether a rule for kinds fits what stands from `at` on."""
    if not starts(buf, at, end, RULE_STARTS[rule]):
        return False
    return len(RULE_PARTS[rule]) == 0 or find(buf, at, end, RULE_PARTS[rule]) >= 0


def is_host_error(buf, at, end, spans):
    """Tell whether what follows ``H=name [address]`` is an error of that host."""
    if missing(spans, MESSAGE_ID) or at + 1 >= end:
        return False
    for word in OLD_HOST_ERRORS:
        if starts(buf, at + 1, end, word):
            return True
    if missing(spans, HOST_ADDRESS) or at + 1 >= end:
        return False
    for column in (SENDER, SIZE, PROTOCOL, CIPHER, USER, QUEUE_TIME):
        if not missing(spans, column):
            return False
    if buf[at] == COLON:
        return buf[at + 1] == SPACE
    if not 65 <= buf[at + 1] <= 90:
        return False
    for word in NO_HOST_ERROR:  # noqa: SIM110
        if starts(buf, at + 1, end, word):
            return False
    return True


def named_host(buf, at, end, marker, spans):
    """Read the host that is named after `marker` in the middle of a text, and the fields behind it."""
    at = find(buf, at, end, marker)
    if at < 0 or not missing(spans, HOST_ADDRESS):
        return
    stop = host(buf, at + len(marker), end, spans)
    if stop >= 0:
        fields(buf, stop, end, UNFLAGGED, spans)
        last_duration(buf, stop, end, spans)


def last_duration(buf, at, end, spans):
    """Enter the D= that the line of an incoming connection has behind its text."""
    place = find(buf, at, end, b" D=") if missing(spans, DURATION) else -1
    if place >= 0:
        put(spans, DURATION, place + 3, word_end(buf, place + 3, end))


# --- addresses -------------------------------------------------------------------------------------------


def address(buf, at, end, spans):
    """Read ``user (parent@x) <original@x>``; return what is behind it."""
    stop = plain_end(buf, at, end)
    if starts(buf, at, end, b"<>"):
        stop = at + 2
    elif stop < 0:
        stop = loose_end(buf, at, end)
    put(spans, ADDRESS, min(at, end), stop)
    after = parents_end(buf, stop, end)
    if after < 0:
        after = stop
    if after + 1 < end and buf[after] == SPACE and buf[after + 1] == LESS:
        close = nested_end(buf, after + 1, end, GREATER)
        if close >= 0 and (ends_here(buf, close + 1, end) or buf[close + 1] == COLON):
            put(spans, ORIGINAL_ADDRESS, after + 2, close)
            return close + 1
    return after


def plain_end(buf, at, end):
    """Return the end of ``local@domain``, of which the local part may be quoted; -1 if it is none."""
    if at >= end or buf[at] == BAR or buf[at] == SLASH or buf[at] == COLON or buf[at] == GREATER:
        return -1
    while at < end and buf[at] != AT:
        if buf[at] == SPACE:
            return -1
        at = quoted_end(buf, at, end) if buf[at] == QUOTE else at + 1
    if at >= end:
        return -1
    while at < end and buf[at] != SPACE:
        at += 1
    return at - 1 if buf[at - 1] == COLON else at


def loose_end(buf, at, end):
    """Return the end of a file, a pipe, a local user or ``:fail:`` and its like: what comes next ends it."""
    if at < end and buf[at] == COLON:
        colon = at + 1
        while colon < end and letter(buf[colon]):
            colon += 1
        if colon > at + 1 and colon < end and buf[colon] == COLON:
            at = colon + 1
    while at < end:
        byte = buf[at]
        if byte == QUOTE:
            at = quoted_end(buf, at, end)
        elif (byte == COLON and at + 1 < end and buf[at + 1] == SPACE) or (
            byte == SPACE and next_starts(buf, at + 1, end)
        ):
            return at
        else:
            at += 1
    return min(at, end)


def next_starts(buf, at, end):
    """Tell whether what follows an address starts here: a field, ``: ``, ``<original>`` or ``(parent)``."""
    if at + 1 >= end:
        return False
    if letter(buf[at]):
        if buf[at + 1] == EQUALS or (at + 2 < end and letter(buf[at + 1]) and buf[at + 2] == EQUALS):
            return True
        return starts(buf, at, end, ROUTING) or starts(buf, at, end, DEFER)
    if buf[at] == COLON:
        return buf[at + 1] == SPACE
    if buf[at] == LESS:
        close = nested_end(buf, at, end, GREATER)
        return close >= 0 and (ends_here(buf, close + 1, end) or buf[close + 1] == COLON)
    return parents_end(buf, at - 1, end) >= 0


def parents_end(buf, at, end):
    """Return what is behind `` (parent@x, parent2@x)``; -1 if it is none, or part of another thing."""
    if at + 1 >= end or buf[at] != SPACE or buf[at + 1] != LEFT:
        return -1
    close = nested_end(buf, at + 1, end, RIGHT)
    if close < 0:
        return -1
    at = close + 1
    if at >= end or buf[at] == COLON:
        return at
    if buf[at] != SPACE or at + 1 >= end:
        return -1
    if buf[at + 1] == LESS or buf[at + 1] == COLON:
        return at
    k = at + 1
    while k < end and letter(buf[k]):
        k += 1
    return at if at + 1 < k < end and buf[k] == EQUALS else -1


# --- fields ----------------------------------------------------------------------------------------------


def fields(buf, at, end, mode, spans):
    """Read fields from `at` on; return where they end.

    A word that is no field ends them, but for arrivals and deliveries, whose lines have nothing else: there
    it is entered as text, a tail that was not read.
    """
    tries = 4
    while at < end and buf[at] == SPACE:
        after = field(buf, at + 1, end, mode, spans)
        if after < 0 and mode == ARRIVAL and tries and starts(buf, at + 1, end, FOR):
            tries -= 1  # a few: with more the time would be quadratic
            after = recipients(buf, at + 5, end, spans)
        if after < 0 and mode == ARRIVAL and starts(buf, at + 1, end, FROM):
            close = nested_end(buf, at + 6, end, GREATER)
            if close >= 0 and ends_here(buf, close + 1, end):
                option(spans, at + 1, close + 1)
                after = close + 1
        if after < 0 and mode <= DELIVERY:
            after = unread(buf, at + 1, end, spans)
        if after < 0:
            return at
        at = after
    if mode <= DELIVERY and at < end:
        unread(buf, at, end, spans)
        return end
    return at


def unread(buf, at, end, spans):
    """Enter a word that is no field as text, up to the next field."""
    stop = at
    while not ends_here(buf, stop, end):
        stop = quoted_end(buf, stop, end) if buf[stop] == QUOTE else stop + 1
    stop = min(stop, end)
    put(spans, TEXT, at if missing(spans, TEXT) else spans[2 * TEXT], stop)
    return stop


def option(spans, start, end):
    """Enter a field that has no column of its own; the last place takes all that are left."""
    slot = OPTION
    while slot < LAST_OPTION and not missing(spans, slot):
        slot += 1
    if slot > OPTION:
        start = start - 1 if missing(spans, slot) else spans[2 * slot]  # with the blank before it
    put(spans, slot, start, end)


def field(buf, at, end, mode, spans):
    """Read the field at `at`; return what is behind it, or -1 if there is none."""
    key, stop = 0, at
    while (
        stop < end
        and stop - at < LONGEST_KEY
        and (letter(buf[stop]) or digit(buf[stop]) or buf[stop] == STAR)
    ):
        key |= buf[stop] << 8 * (stop - at)
        stop += 1
    if stop == at or stop >= end or buf[stop] != EQUALS or not letter(buf[at]):
        return word(buf, at, end, mode, spans)
    if key == 72:  # H
        return host_field(buf, stop + 1, end, spans)
    if key == 73 and stop + 1 < end and buf[stop + 1] == OPEN:  # I
        return interface(buf, stop + 1, end, spans)
    column = -1 if mode == UNFLAGGED else OPTION
    for k in range(len(KEYS)):
        if KEYS[k] == key:
            column = COLUMNS[mode][k]
    return -1 if column < 0 else value(buf, at, stop + 1, end, column, mode, spans)


def word(buf, at, end, mode, spans):
    """Read a field without a value, or ``defer (number): reason``."""
    if mode == FAILURE and starts(buf, at, end, DEFER):
        return defer(buf, at + len(DEFER), end, spans)
    if mode == FAILURE and starts(buf, at, end, ROUTING):
        stop = word_end(buf, at, end)
        return stop if stop == at + len(ROUTING) and starts(buf, stop, end, b" defer (") else -1
    stop = known_word_end(buf, at, end)
    if stop >= 0 and mode == UNFLAGGED:
        return stop if starts(buf, stop, end, b" H=") else -1
    if stop >= 0:
        option(spans, at, stop)
    return stop


def known_word_end(buf, at, end):
    """Return the end of a field without a value; -1 if there is none."""
    for known in WORDS:
        if starts(buf, at, end, known):
            stop = at + len(known)
            while stop < end and (buf[stop] == STAR or buf[stop] == DOT or buf[stop] == MINUS):
                stop += 1
            if stop == word_end(buf, at, end):
                return stop
    return -1


def value(buf, at, start, end, column, mode, spans):
    """Read a value: quoted, in angle brackets, or up to the next blank. `at` is where its letter stands.

    A letter counts once; but confirmation and subject follow values that a peer can fill with anything.
    """
    new = missing(spans, column) or column in (CONFIRMATION, SUBJECT)
    stop, first, last = word_end(buf, start, end), start, start
    if start < end and buf[start] == QUOTE:
        last = quoted_end(buf, start, end)
        stop = last
        while not ends_here(buf, stop, end):
            stop += 1
        first, last = start + 1, last - 1 if last - 1 > start and buf[last - 1] == QUOTE else last
        if column == HEADER_MESSAGE_ID and stop > last + 1:
            first, last = start, stop
    elif start < end and buf[start] == LESS and nested_end(buf, start, end, GREATER) >= 0:
        stop = nested_end(buf, start, end, GREATER) + 1
        first, last = start + 1, stop - 1
    else:
        if column == USER and mode == ARRIVAL:
            stop = user_end(buf, stop, end)
        last = stop
    if column == OPTION:
        option(spans, at, stop)
    elif new:
        put(spans, column, first, last)
    return stop


def user_end(buf, at, end):
    """Return the end of a user's name, which may have blanks: where the next field starts."""
    last = min(end, at + AHEAD)
    while at < last and buf[at] == SPACE:
        stop = at + 1
        while stop < last and letter(buf[stop]):
            stop += 1
        if stop >= last or buf[stop] != SPACE or known_word_end(buf, at + 1, end) >= 0:
            return at
        at = stop
    return at


def host_field(buf, at, end, spans):
    """Read H=: name (HELO) [address]:port, or a name alone. The first one counts."""
    stop = host(buf, at, end, spans) if missing(spans, HOST_ADDRESS) else -1
    if stop < 0:
        stop = word_end(buf, at, end)
        if missing(spans, HOST) and missing(spans, HOST_ADDRESS) and stop > at:
            put(spans, HOST, at, stop)
    return stop


def host(buf, at, end, spans):
    """Read name (HELO) [address]:port, of which only the last bracket can be relied on; -1 if there is none.

    A HELO name may hold brackets, and is in brackets itself, so that one is taken of which no other follows.
    """
    start, stop = at, at
    while stop < end and buf[stop] != SPACE and buf[stop] != OPEN and buf[stop] != LEFT:
        stop += 1
    named, at = stop > start, stop
    if named and at < end and buf[at] == SPACE:
        at += 1
    first, last = start, stop
    if at < end and buf[at] == LEFT:
        limit = min(end, at + MAX_HELO)
        opening = at
        while at < limit and buf[at] != QUOTE:
            if buf[at] == RIGHT and at + 1 < end and buf[at + 1] == SPACE:
                close = bracket(buf, at + 2, end)
                if close >= 0:
                    if not named:
                        first, last = opening, at + 1
                    enter_host(buf, at + 2, close, first, last, spans)
                    return close
            at += 1
        return -1
    close = bracket(buf, at, end)
    if close >= 0:
        enter_host(buf, at, close, first, last, spans)
    return close


def bracket(buf, at, end):
    """Return what is behind ``[address]:port*`` at `at`; -1 if it is not there, or another one follows."""
    if starts(buf, at, end, b"DS "):
        at += 3
    if at >= end or buf[at] != OPEN:
        return -1
    last = min(end, at + AHEAD)
    while at < last and buf[at] != CLOSE:
        if buf[at] == SPACE:
            return -1
        at += 1
    if at >= last:
        return -1
    at = port_end(buf, at + 1, end)
    if at < end and buf[at] == STAR:
        at += 1
    if at < end and buf[at] != SPACE and buf[at] != COLON:
        return -1
    follows = at + 1 < end and buf[at] == SPACE and (buf[at + 1] == OPEN or buf[at + 1] == LEFT)
    return -1 if follows and buf[at + 1] == OPEN else at if not follows else helo_follows(buf, at, end)


def helo_follows(buf, at, end):
    """Return `at` unless what stands there in parentheses is a HELO name with its address."""
    last = min(end, at + MAX_HELO)
    for k in range(at + 2, last - 2):
        if buf[k] == RIGHT and buf[k + 1] == SPACE and buf[k + 2] == OPEN:
            return -1
    return at


def port_end(buf, at, end):
    """Return what is behind ``:port`` at `at`, which may be masked; `at` if there is none."""
    if at >= end or buf[at] != COLON:
        return at
    stop = at + 1
    while stop < end and (digit(buf[stop]) or letter(buf[stop]) or buf[stop] == UNDERSCORE):
        stop += 1
    return at if stop == at + 1 else stop


def enter_host(buf, at, end, first, last, spans):
    """Enter the name from `first` to `last`, address and port from `at` to `end`, unless there are some."""
    if last > first and missing(spans, HOST) and missing(spans, HOST_ADDRESS):
        put(spans, HOST, first, last)
    if missing(spans, HOST_ADDRESS):
        enter_address(buf, at, end, HOST_ADDRESS, HOST_PORT, spans)


def enter_address(buf, at, end, column, port, spans):
    """Enter what is in the bracket, and the port behind it."""
    while buf[at] != OPEN:
        at += 1
    close = at
    while buf[close] != CLOSE:
        close += 1
    put(spans, column, at + 1, close)
    stop = port_end(buf, close + 1, end)
    if stop > close + 1:
        put(spans, port, close + 2, stop)


def interface(buf, at, end, spans):
    """Read I=[address]:port."""
    close = at
    last = min(end, at + AHEAD)
    while close < last and buf[close] != CLOSE and buf[close] != SPACE:
        close += 1
    if close >= last or buf[close] != CLOSE:
        return -1
    stop = port_end(buf, close + 1, end)
    if missing(spans, INTERFACE_ADDRESS):
        enter_address(buf, at, stop, INTERFACE_ADDRESS, INTERFACE_PORT, spans)
    return stop


def defer(buf, at, end, spans):
    """Read ``number)``, and where the number is positive what strerror() says, up to H=, DT= or the end."""
    close = at
    last = min(end, at + 20)
    while close < last and buf[close] != RIGHT:
        close += 1
    if close >= last:
        return -1
    if missing(spans, ERRNO):
        put(spans, ERRNO, at, close)
    start = close + 3
    if buf[at] == MINUS or buf[at] == 48 or not starts(buf, close, end, b"): "):
        return close + 1
    k = start
    while k < end and buf[k] != COLON:
        if buf[k] == SPACE and (
            starts(buf, k, end, STRERROR_ENDS[0]) or starts(buf, k, end, STRERROR_ENDS[1])
        ):
            break
        k += 1
    if k < end and buf[k] == COLON:
        return close + 1
    put(spans, TEXT, start, k)
    return k


def recipients(buf, at, end, spans):
    """Read the addresses that end an arrival's line; -1 if something else is among them."""
    start = at
    while at < end:
        domain, odd = False, False
        while not ends_here(buf, at, end):
            domain = domain or buf[at] == AT
            odd = odd or buf[at] == EQUALS or buf[at] == QUOTE
            at = quoted_end(buf, at, end) if buf[at] == QUOTE and not domain else at + 1
        if odd and not domain:
            return -1
        at += 1
    put(spans, RECIPIENTS, start, end)
    return end


# --- values ----------------------------------------------------------------------------------------------


def gather(buf, found, quoted, first, offsets, out):
    r"""Copy values one behind the other; of `quoted` ones ``\"`` and ``\\`` are undone.

    The entries are the rows from `first` on; `offsets` says where in `out` the value of each row starts, and
    where the last one ends. Where the first one starts is there already.

    Returns
    -------
    int
        Where the last one ends.
    """
    to, row = offsets[first], first + 1
    for n in range(len(found)):
        while row <= first + found[n, 0]:
            offsets[row] = to
            row += 1
        at, end = found[n, 1], found[n, 2]
        if quoted and at > 0 and buf[at - 1] == QUOTE:
            to = unescape(buf, at, end, out, to)
            continue
        for k in range(end - at):
            out[to + k] = buf[at + k]
        to += end - at
    for left in range(row, len(offsets)):
        offsets[left] = to
    return to


def mark(found, first, there):
    """Set the bit of each row that has a value; the entries are the rows from `first` on."""
    for n in range(len(found)):
        row = first + found[n, 0]
        there[row >> 3] |= 1 << (row & 7)


def unescape(buf, at, end, out, to):
    r"""Copy a quoted text, in which ``\"`` and ``\\`` stand for the second one; return where it ends."""
    while at < end:
        if buf[at] == BACKSLASH and at + 1 < end and (buf[at + 1] == QUOTE or buf[at + 1] == BACKSLASH):
            at += 1
        out[to] = buf[at]
        to += 1
        at += 1
    return to


def intern(buf, found, slots, codes, firsts):
    """Give the different values numbers: enter that of each entry, and where in `found` it stands first.

    The table of hashes, `slots`, has a power of two of places. A value that is not found in a few of these
    counts as one more: so the time is linear, and a value that was made to be hit may have several numbers.

    Returns
    -------
    int
        How many numbers there are.
    """
    count, mask, code = 0, len(slots) - 1, -1
    for n in range(len(found)):
        at, end = found[n, 1], found[n, 2]
        if n and same(buf, at, end, found[n - 1, 1], found[n - 1, 2]):  # which is frequent
            codes[found[n, 0]] = code
            continue
        place, tries, code = hashed(buf, at, end) * len(slots) >> 32, PROBES, -1
        while tries and code < 0 and slots[place] >= 0:
            first = firsts[slots[place]]
            if same(buf, at, end, found[first, 1], found[first, 2]):
                code = slots[place]
            place, tries = (place + 1) & mask, tries - 1
        if code < 0:
            code = count
            firsts[code] = n
            if tries:
                slots[place] = code
            count += 1
        codes[found[n, 0]] = code
    return count


def hashed(buf, at, end):
    """Return a number of 32 bits for a text; the upper ones depend on all of it."""
    total = end - at
    while at + 4 <= end:
        four = buf[at] | buf[at + 1] << 8 | buf[at + 2] << 16 | buf[at + 3] << 24
        total = (total ^ four) * MULTIPLIER & 0xFFFFFFFF
        total ^= total >> 15
        at += 4
    while at < end:
        total = (total ^ buf[at]) * MULTIPLIER & 0xFFFFFFFF
        at += 1
    return total


def same(buf, at, end, start, stop):
    """Tell whether two texts are equal."""
    if end - at != stop - start:
        return False
    for k in range(end - at):  # noqa: SIM110
        if buf[at + k] != buf[start + k]:
            return False
    return True


def integers(buf, found, largest, values, absent):
    """Read values as numbers; a masked one, and one that is too large, is absent."""
    for n in range(len(found)):
        at, end = found[n, 1], found[n, 2]
        negative = at < end and buf[at] == MINUS
        at += negative
        readable = at < end and end - at <= 18
        total = 0
        while at < end and readable:
            readable = digit(buf[at])
            total = total * 10 + buf[at] - 48
            at += 1
        if readable and total <= largest:
            values[found[n, 0]] = -total if negative else total
            absent[found[n, 0]] = False


def durations(buf, found, values, absent):
    """Read values such as ``1d4h``, ``5m0s`` or ``0.204s``, in seconds; a masked one is absent."""
    for n in range(len(found)):
        at, end = found[n, 1], found[n, 2]
        readable = at < end and end - at <= 40
        total, unit = 0.0, 1 << 62
        while at < end and readable:
            amount, decimals, after = 0, 0, False
            start = at
            while at < end and (digit(buf[at]) or (buf[at] == DOT and not after and at > start)):
                if buf[at] == DOT:
                    after = True
                else:
                    amount = amount * 10 + buf[at] - 48
                    decimals += after
                at += 1
            seconds = unit_seconds(buf[at]) if at < end else 0
            readable = at > start and at - start <= 15 and 0 < seconds < unit and (not after or seconds == 1)
            total += amount * seconds / 10.0**decimals
            unit = seconds
            at += 1
        if readable:
            values[found[n, 0]] = total
            absent[found[n, 0]] = False


def unit_seconds(byte):
    """Return the seconds of w, d, h, m, s; else 0."""
    units = b"wdhms"
    lengths = (604800, 86400, 3600, 60, 1)
    for k in range(5):
        if units[k] == byte:
            return lengths[k]
    return 0
