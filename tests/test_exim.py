import bz2
import gzip
import json
import os
import random
import re
import shutil
import subprocess
import sys
import tarfile
import time
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from conftest import needs
from hypothesis import given, settings
from hypothesis import strategies as st

from smtpkit import exim, tables
from smtpkit.exim import LogError, read_log, reader, sniff
from smtpkit.exim import lines as scanner

ID = "1s1ABC-000000001Qd-0a1B"
AT = "2024-05-01 10:00:00"


def log_of(tmp_path: Path, *lines: str | bytes, timezone: str = "UTC") -> exim.Log:
    path = tmp_path / "mainlog"
    path.write_bytes(b"".join((s if isinstance(s, bytes) else s.encode()) + b"\n" for s in lines))
    return read_log(path, timezone=timezone)


def fields(frame: pd.DataFrame) -> dict:
    """The values of the only row that are there."""
    (row,) = frame.to_dict("records")
    return {name: value for name, value in row.items() if not pd.isna(value)}


def parsed(tmp_path: Path, line: str) -> dict:
    found = fields(log_of(tmp_path, f"{AT} {ID} {line}").log_lines)
    assert found.pop("time") == pd.Timestamp("2024-05-01 10:00:00Z")
    return {name: found[name] for name in found if name not in ("file", "line", "message_id")}


# The start of a line


@pytest.mark.parametrize(
    ("start", "time", "pid", "message_id"),
    [
        ("2001-09-16 16:09:47 1s1ABC-0001Qd-0a", "2001-09-16 16:09:47Z", None, "1s1ABC-0001Qd-0a"),
        (f"2001-09-16 16:09:47.123 {ID}", "2001-09-16 16:09:47.123Z", None, ID),
        (f"2001-09-16 16:09:47 +0130 [815] {ID}", "2001-09-16 14:39:47Z", 815, ID),
        (f"2001-09-16 16:09:47.123 -0100 [815] {ID}", "2001-09-16 17:09:47.123Z", 815, ID),
        (f"Sep 16 16:09:48 mx exim[99]: 2001-09-16 16:09:47 {ID}", "2001-09-16 16:09:47Z", 99, ID),
        (f"<22>Sep  6 16:09:48 mx exim4[99]: 2001-09-06 16:09:47 [5] {ID}", "2001-09-06 16:09:47Z", 5, ID),
    ],
)
def test_time_process_and_message(tmp_path, start, time, pid, message_id):
    row = fields(log_of(tmp_path, f"{start} Completed").log_lines)
    assert (row["time"], row.get("pid"), row["message_id"]) == (pd.Timestamp(time), pid, message_id)
    assert row["kind"] == "completed"


@pytest.mark.parametrize(
    ("stamp", "zone", "utc"),
    [
        ("2024-07-01 12:00:00", "Europe/Berlin", "2024-07-01 10:00:00Z"),
        ("2024-01-01 12:00:00", "-0330", "2024-01-01 15:30:00Z"),
        ("2024-01-01 12:00:00", "+05:30", "2024-01-01 06:30:00Z"),
        ("2024-01-01 12:00:00 +0100", "America/New_York", "2024-01-01 11:00:00Z"),
        ("2024-10-27 02:30:00", "Europe/Berlin", "2024-10-27 00:30:00Z"),  # this hour comes twice: the first
        ("2024-03-31 02:30:00", "Europe/Berlin", "2024-03-31 01:30:00Z"),  # and this never: 03:30 summer time
    ],
)
def test_time_zones(tmp_path, stamp, zone, utc):
    assert log_of(tmp_path, f"{stamp} Start queue run: pid=1", timezone=zone).log_lines["time"][
        0
    ] == pd.Timestamp(utc)


def test_without_a_time_zone_it_is_the_machines(tmp_path, monkeypatch):
    monkeypatch.setenv("TZ", "Asia/Tokyo")
    time.tzset()
    try:
        (tmp_path / "mainlog").write_text("2024-01-01 12:00:00 Start queue run: pid=1\n")
        assert read_log(tmp_path / "mainlog").log_lines["time"][0] == pd.Timestamp("2024-01-01 03:00:00Z")
    finally:
        monkeypatch.undo()
        time.tzset()


@pytest.mark.parametrize("name", ["Mars/Olympus", "+25", "", "/etc/passwd", "../UTC", "+9900"])
def test_an_unknown_time_zone_is_one_sentence(tmp_path, name):
    with pytest.raises(LogError, match=re.escape(f"there is no time zone {name!r}; give a name such as")):
        log_of(tmp_path, f"{AT} x", timezone=name)


def test_a_date_that_does_not_exist_keeps_its_line(tmp_path):
    log = log_of(tmp_path, "2024-02-31 10:00:00 Start queue run: pid=1", f"{AT} End queue run: pid=1")
    assert log.log_lines["time"].isna().tolist() == [True, False]
    assert fields(log.skipped)["reason"] == "time stamp that is no date"


@pytest.mark.parametrize(
    ("start", "time", "pid"),
    [
        ("2024-05-01T10:00:00.123456+02:00 mx exim[99]: ", "2024-05-01 08:00:00.123456Z", 99),  # rsyslog
        ("2024-05-01T10:00:00+0200 mx exim4[99]: ", "2024-05-01 08:00:00Z", 99),  # journalctl -o short-iso
        ("<22>1 2024-05-01T10:00:00.5Z mx exim 99 - - ", "2024-05-01 10:00:00.5Z", 99),  # RFC 5424
        ('<22>1 2024-05-01T10:00:00Z mx exim 99 ID4 [a@1 b="c \\"] d"][e] ', "2024-05-01 10:00:00Z", 99),
        ("<22>1 2024-05-01T10:00:00Z mx exim - - - 2024-05-01 09:59:58 [7]", "2024-05-01 09:59:58Z", 7),
        ("<22>1 2024-05-01T10:00:00Z mx exim - - - 2024-05-01 09:59:58 +0100 ", "2024-05-01 08:59:58Z", None),
        ("2024-05-01T10:00:00Z mx mailer[99]: 2024-05-01 09:59:58 ", "2024-05-01 09:59:58Z", 99),
    ],
)
@pytest.mark.parametrize("rest", [f"{ID} => b@example.net R=r T=t"])
def test_syslog_with_and_without_exims_own_time(tmp_path, start, time, pid, rest):
    row = fields(log_of(tmp_path, f"{start.rstrip()} {rest}").log_lines)
    assert (row["time"], row.get("pid"), row["message_id"]) == (pd.Timestamp(time), pid, ID)
    assert (row["kind"], row["address"], row["router"]) == ("delivery", "b@example.net", "r")
    assert sniff(start.encode() + rest.encode())


def test_the_year_that_syslog_lacks_is_that_of_the_file(tmp_path):
    path = tmp_path / "mail.log"
    path.write_text("Dec 31 23:59:59 mx exim[9]: Start queue run: pid=1\nJan  1 00:00:01 mx exim[9]: x\n")
    os.utime(path, (1704200000, 1704200000))  # 2024-01-02
    times = read_log(path, timezone="UTC").log_lines["time"]
    assert times.tolist() == [pd.Timestamp("2023-12-31 23:59:59Z"), pd.Timestamp("2024-01-01 00:00:01Z")]


def test_lines_that_syslog_split_are_put_together(tmp_path):
    """The example of the Exim specification, section "Logging to syslog", with another process in between."""
    at = "Sep 16 16:09:43 ppsw exim[9]: "
    log = log_of(
        tmp_path,
        f"{at}[1/5] 2002-09-16 16:09:43 16RdAL-0006pc-00 rejected from",
        f"{at}[2/5]  [127.0.0.1] (ph10): syntax error in 'From' header",
        "Sep 16 16:09:43 ppsw exim[10]: 2002-09-16 16:09:43 16RdAM-0006pc-00 Completed",
        f"{at}[3/5]  when scanning for sender: missing or malformed lo",
        f'{at}[4/5] cal part in "<>" (envelope sender is <ph10@cam.exa',
        f"{at}[5/5] mple>)",
        f"{at}[1\\3] 2002-09-16 16:09:43 16RdAL-0006pc-00 rejected after DATA",
        f"{at}[2\\3] Envelope-from: <a@b>",
        f"{at}[3/3] F From: <>",
    ).log_lines
    assert log["line"].tolist() == [1, 3, 7]
    assert log["pid"].tolist() == [9, 10, 9]
    assert log["text"].tolist() == [
        "rejected from [127.0.0.1] (ph10): syntax error in 'From' header when scanning for sender: missing or"
        ' malformed local part in "<>" (envelope sender is <ph10@cam.example>)',
        "Completed",
        "rejected after DATA\nEnvelope-from: <a@b>\nF From: <>",
    ]


def test_a_part_without_the_others_is_kept_and_counted(tmp_path):
    log = log_of(tmp_path, "May  1 10:00:00 mx exim[9]: [2/3] of something", "May  1 10:00:00 mx exim[9]: x")
    assert log.log_lines["text"].tolist() == ["of something", "x"]
    assert fields(log.skipped)["reason"] == "part of a split syslog line whose other parts are missing"


def test_what_others_wrote_into_the_syslog_is_text(tmp_path):
    row = fields(
        log_of(
            tmp_path, f"2024-05-01T10:00:00Z mx dovecot[3]: {ID} => a@b R=r T=t", f"{AT} x"
        ).log_lines.head(1)
    )
    assert (row["kind"], row["text"]) == ("other", f"dovecot: {ID} => a@b R=r T=t")


def test_a_rotation_is_read_in_order_of_time(tmp_path):
    (tmp_path / "mainlog").write_text("2024-05-03 10:00:00 c\n")
    (tmp_path / "mainlog.1").write_text("2024-05-02 10:00:00 b\n")
    (tmp_path / "mainlog.2.gz").write_bytes(gzip.compress(b"2024-05-01 10:00:00 a\n"))
    (tmp_path / "rejectlog-20240502").write_text("2024-05-02 09:00:00 r\n2024-05-02 11:00:00 s\n")
    log = read_log(*sorted(tmp_path.iterdir()), timezone="UTC").log_lines
    assert log["text"].tolist() == ["a", "r", "b", "s", "c"]


def test_standard_input():
    code = "from smtpkit import read_log; print(read_log('-', timezone='UTC').log_lines['text'].tolist())"
    done = subprocess.run([sys.executable, "-c", code], input=f"{AT} a\n", capture_output=True, text=True)
    assert done.stdout == "['a']\n"


def test_the_hour_that_comes_twice_is_told_apart_by_order(tmp_path):
    log = log_of(
        tmp_path,
        *(f"2024-10-27 {clock} x" for clock in ("01:59:59", "02:10:00", "02:59:00", "02:58:59", "02:00:01")),
        *(f"2024-10-27 {clock} x" for clock in ("02:30:00", "03:00:00")),
        timezone="Europe/Berlin",
    )
    assert log.log_lines["time"].dt.strftime("%d %H:%M:%S").tolist() == [
        *("26 23:59:59", "27 00:10:00", "27 00:59:00", "27 00:58:59"),
        *("27 01:00:01", "27 01:30:00", "27 02:00:00"),
    ]
    row = fields(log.skipped)
    assert (row["count"], row["where"]) == (5, "line 2")
    assert row["reason"].startswith("time stamp in the hour that summer time repeats")


def test_the_hour_that_never_comes_is_flagged(tmp_path):
    row = fields(log_of(tmp_path, "2024-03-31 02:30:00 x", timezone="Europe/Berlin").skipped)
    assert row["reason"].startswith("time stamp in the hour that summer time leaves out")


# Lines with a flag, typed by hand after the specification and real logs

HOST = {"host": "mx.example.net", "host_address": "198.51.100.1"}
B = {"address": "b@example.net", "router": "r", "transport": "t"}
FLAGGED = [
    (
        "<= a@example.org H=c.example.org (helo) [192.0.2.10]:40000 I=[192.0.2.1]:25 P=esmtps L-"
        " X=TLS1.3:TLS_AES_256:256 CV=no K S=12345 RT=0.204s id=x@example.org"
        ' T="a => \\"b\\"" from <a@example.org> for b@example.net "c d"@example.net',
        {"kind": "arrival", "address": "a@example.org", "host": "c.example.org", "host_address": "192.0.2.10"}
        | {"host_port": 40000, "interface_address": "192.0.2.1", "interface_port": 25, "protocol": "esmtps"}
        | {"cipher": "TLS1.3:TLS_AES_256:256", "size": 12345, "reception_time": 0.204, "subject": 'a => "b"'}
        | {"header_message_id": "x@example.org", "recipients": 'b@example.net "c d"@example.net'}
        | {"certificate_verified": "no", "options": "L- K from <a@example.org>"},
    ),
    (
        "<= <> R=1s1ABC-000000001Qd-0a1A U=mail P=local S=sss",  # a bounce, its size masked
        {"kind": "arrival", "address": "", "protocol": "local", "user": "mail"}
        | {"reference": "1s1ABC-000000001Qd-0a1A"},
    ),
    (
        '<= "spaced user"@example.org U=spaced user P=local S=10 id*=E1@example.org',
        {"kind": "arrival", "address": '"spaced user"@example.org', "protocol": "local", "size": 10}
        | {"header_message_id": "E1@example.org", "user": "spaced user"},
    ),
    (
        "<= a@example.org H=([IPv6:2001:db8::1]) [2001:db8::1] P=smtp S=1 for SRS0=ZZ=YY=h=a@example.net",
        {"kind": "arrival", "address": "a@example.org", "host": "([IPv6:2001:db8::1])"}
        | {"host_address": "2001:db8::1", "protocol": "smtp", "size": 1}
        | {"recipients": "SRS0=ZZ=YY=h=a@example.net"},
    ),
    (
        "(= a@example.org H=(x) [192.0.2.10] P=smtp S=1",
        {"kind": "fakereject", "address": "a@example.org", "host": "(x)", "host_address": "192.0.2.10"}
        | {"protocol": "smtp", "size": 1},
    ),
    (
        "=> b@example.net F=<a@example.org> P=<a@example.org> R=r T=t S=99 H=mx.example.net DS"
        ' [198.51.100.1]:25* I=[192.0.2.1]:41235 TFO* X=TLS1.2:x:256* CV=dane DN="/CN=mx" L PRDR K'
        ' C="250 OK \\"x\\" C:\\\\d\\\\n250 H=y" QT=3m45s DT=1d4h',
        {"kind": "delivery", **B, **HOST, "host_port": 25, "sender": "a@example.org", "size": 99}
        | {"interface_address": "192.0.2.1", "interface_port": 41235, "cipher": "TLS1.2:x:256*"}
        | {"confirmation": '250 OK "x" C:\\d\\n250 H=y', "queue_time": 225.0, "delivery_time": 100800.0}
        | {"certificate_verified": "dane", "peer_dn": "/CN=mx", "return_path": "a@example.org"}
        | {"options": "TFO* L PRDR K"},
    ),
    (
        "-> user <original@example.net> R=r T=t",
        {"kind": "additional_delivery", **B, "address": "user", "original_address": "original@example.net"},
    ),
    (
        "=> user (parent@example.net, p2@example.net) <o@example.net> R=r T=t",
        {"kind": "delivery", **B, "address": "user", "original_address": "o@example.net"},
    ),
    (
        '=> |/bin/sh -c "cat > R=x" <pipe@example.net> R=r T=t',
        {
            "kind": "delivery",
            **B,
            "address": '|/bin/sh -c "cat > R=x"',
            "original_address": "pipe@example.net",
        },
    ),
    (
        "=> /var/mail/a b <c@example.net> R=r T=t",
        {"kind": "delivery", **B, "address": "/var/mail/a b", "original_address": "c@example.net"},
    ),
    (
        "=> >a@example.net,b@example.net <c@example.net> R=r T=t",
        {"kind": "delivery", **B, "address": ">a@example.net,b@example.net"}
        | {"original_address": "c@example.net"},
    ),
    (
        "=> :blackhole: <a@example.net> R=r",
        {"kind": "delivery", "address": ":blackhole:", "original_address": "a@example.net", "router": "r"},
    ),
    ("=> discarded (system filter)", {"kind": "delivery", "address": "discarded"}),
    (
        "=> b@example.net R=r T=t H=host.1:host.2",
        {"kind": "delivery", **B, "host": "host.1:host.2"},
    ),
    (
        '>> b@example.net R=r T=t H=mx.example.net [198.51.100.1] C="250 OK"',
        {"kind": "cutthrough_delivery", **B, **HOST, "confirmation": "250 OK"},
    ),
    ("*> b@example.net R=r T=t", {"kind": "suppressed_delivery", **B}),
    (
        "== b@example.net R=r T=t defer (110): Connection timed out H=mx.example.net [198.51.100.1]:25"
        " I=[192.0.2.1]:41234 DT=5m0s: SMTP timeout after sending data block (40945 bytes written)",
        {"kind": "deferral", **B, **HOST, "host_port": 25, "errno": 110, "interface_address": "192.0.2.1"}
        | {"interface_port": 41234, "delivery_time": 300.0, "bytes_written": 40945}
        | {"text": "SMTP timeout after sending data block (40945 bytes written)"},
    ),
    (
        "== b@example.net R=r T=t defer (-44) H=mx.example.net [198.51.100.1]: SMTP error from remote mail"
        ' server after RCPT TO:<c@example.net>: 450 H=x [192.0.2.99] C="250"',
        {"kind": "deferral", **B, **HOST, "errno": -44, "smtp_code": 450}
        | {
            "text": "SMTP error from remote mail server after RCPT TO:<c@example.net>: 450 H=x [192.0.2.99]"
            ' C="250"'
        },
    ),
    (
        "== b@example.net R=r T=t defer (dd): Connection refused",  # its number masked
        {"kind": "deferral", **B, "text": "Connection refused"},
    ),
    (
        "== b@example.net R=r T=t defer (13): Permission denied: creating lock file /x (euid=1)",
        {"kind": "deferral", **B, "errno": 13, "text": "Permission denied: creating lock file /x (euid=1)"},
    ),
    (
        "== b@example.net routing defer (-52): retry time not reached",
        {"kind": "deferral", "address": "b@example.net", "errno": -52, "text": "retry time not reached"},
    ),
    (
        "== b@example.net R=r T=t defer (-18): Remote host mx.example.net [198.51.100.1] closed connection"
        " in response to end of data",  # Exim 4.8x
        {"kind": "deferral", **B, **HOST, "errno": -18}
        | {"text": "Remote host mx.example.net [198.51.100.1] closed connection in response to end of data"},
    ),
    (
        "** b@example.net R=r T=t: SMTP error from remote mailer after RCPT TO:<b@example.net>:"
        " host mx.example.net [198.51.100.1]: 553 no",  # Exim 4.8x
        {"kind": "failure", **B, **HOST, "smtp_code": 553}
        | {
            "text": "SMTP error from remote mailer after RCPT TO:<b@example.net>: host mx.example.net"
            " [198.51.100.1]: 553 no"
        },
    ),
    (
        "** b@example.net R=r T=t H=mx.example.net [198.51.100.1] X=TLS1.2:x:256 CV=yes : SMTP error from"
        " remote mail server after RCPT TO:<b@example.net>: 550 no\\n550 DT=1s DT=0.5s",
        {"kind": "failure", **B, **HOST, "cipher": "TLS1.2:x:256", "smtp_code": 550, "delivery_time": 0.5}
        | {"certificate_verified": "yes"}
        | {"text": "SMTP error from remote mail server after RCPT TO:<b@example.net>: 550 no\\n550 DT=1s"},
    ),
    (
        "** b@example.net R=r T=t H=mx.example.net [198.51.100.1] : Connection timed out : SMTP timeout after"
        " RCPT TO:<c@example.net>",
        {"kind": "failure", **B, **HOST}
        | {"text": "Connection timed out : SMTP timeout after RCPT TO:<c@example.net>"},
    ),
    (
        '** :fail: fail message@example.net <":fail: fail message"@example.net> R=special : fail message',
        {"kind": "failure", "address": ":fail: fail message@example.net", "router": "special"}
        | {"original_address": '":fail: fail message"@example.net', "text": "fail message"},
    ),
    (
        "** b@example.net: retry timeout exceeded",
        {"kind": "failure", "address": "b@example.net", "text": "retry timeout exceeded"},
    ),
    (
        '** mua_wrapper is set but expansion of "x" failed',  # no address at all
        {"kind": "failure", "text": 'mua_wrapper is set but expansion of "x" failed'},
    ),
]


@pytest.mark.parametrize(("line", "expected"), FLAGGED)
def test_lines_with_a_flag(tmp_path, line, expected):
    row = parsed(tmp_path, line)
    assert row.pop("flag") == line[:2]
    assert row == expected


@pytest.mark.parametrize(
    ("line", "kind"),
    [
        ("Completed", "completed"),
        ("Completed QT=35m", "completed"),
        ("H=mx.example.net [198.51.100.1] Connection refused", "host_error"),
        ("H=mx.example.net [198.51.100.1]:25: SMTP timeout after EHLO x: Connection timed out", "host_error"),
        ("H=mx.example.net [198.51.100.1] TLS error on connection (recv): x", "tls_error"),
        (
            "H=(x) [192.0.2.10] F=<a@b> rejected RCPT <z@b>: 192.0.2.1 [192.0.2.1] : SMTP error after x",
            "rejection",
        ),
        ("H=(x) [192.0.2.10] temporarily rejected RCPT <z@b>", "rejection"),
        ("H=(x) [192.0.2.10] Warning: H=y [192.0.2.1]: SMTP timeout", "warning"),
        ("SMTP connection from (x) [192.0.2.10] lost while reading message data (header)", "connection_lost"),
        (
            "SMTP data timeout (message abandoned) on connection from (x) [192.0.2.10] F=<a@b> D=5m",
            "connection_lost",
        ),
        ("SMTP connection lost after final dot H=(x) [192.0.2.10] P=smtps", "connection_lost"),
        ("SMTP connection from [192.0.2.10]:40000 (TCP/IP connection count = 1)", "connection"),
        ("SMTP connection from (x) [192.0.2.10] closed by QUIT", "connection"),
        ("TLS session: (gnutls_handshake): timed out", "tls_error"),
        ("Start 'lowpri' queue run: pid=1", "queue_run"),
        ("exim 4.96 daemon started: pid=1, no queue runs", "daemon"),
        ("Frozen (delivery error message)", "frozen"),
        ("unfrozen by root", "frozen"),
        ("[127.0.0.1] -> '2001 b@c'", "other"),
        ("H=(x) [192.0.2.1] X=TLS1.3:A:256 CV=no F=<a@b> A=plain:u rejected after DATA: no", "rejection"),
        ("rejected from <a@b> H=(x) [192.0.2.1]: message too big: read=10 max=9", "rejection"),
        ("rejected EHLO from (x y) [192.0.2.1]: syntactically invalid argument(s): x y", "rejection"),
        ("unqualified sender rejected: <a> H=(x) [192.0.2.1]", "rejection"),
        ("temporarily refused connection from [192.0.2.1]: not in reserve list", "rejection"),
        ("Connection from [192.0.2.1] refused: too many connections", "rejection"),
        ('SMTP call from (x) [192.0.2.1] dropped: too many nonmail commands (last was "RSET")', "rejection"),
        ("login authenticator failed for (x) [192.0.2.1]: 535 Incorrect authentication data", "rejection"),
        ("H=(x) [192.0.2.1] F=<a@b> RCPT <c@d>: discarded by RCPT ACL", "rejection"),
        ("U=root F=<a@b> rejected by non-SMTP ACL: no", "rejection"),
        ("H=(x) [192.0.2.1] incomplete transaction (connection lost) from <a@b>", "connection_lost"),
        ("unexpected EOF while reading SMTP command from (x) [192.0.2.1]", "connection_lost"),
        ("SMTP connection from (x) [192.0.2.1] TLS lost D=2s", "connection_lost"),
        ("no MAIL in SMTP connection from (x) [192.0.2.1] D=5m C=EHLO,QUIT", "connection"),
        ("TLS error (SSL_read): on connection from (x) [192.0.2.1] error:0A", "tls_error"),
        ("[192.0.2.1] SSL verify error: depth=0 error=self signed", "tls_error"),
        ("Abandon queue run: pid=1 (load 9.00, max 8.00)", "queue_run"),
        ("pid 1: SIGHUP received: re-exec daemon", "daemon"),
        ("Unfrozen by forced delivery", "frozen"),
        ("H=mx.example.net [192.0.2.1] retry time not reached", "retry"),
        ("SMTP error from remote mail server after RCPT TO:<a@b>: host mx [192.0.2.1]: 450 x", "host_error"),
        ("Remote host mx [192.0.2.1] closed connection in response to initial connection", "host_error"),
        ("mx.example.net [192.0.2.1]: Connection timed out", "host_error"),  # Exim 4.6x
        ("Spool file is locked (another process is handling this message)", "other"),
        ("event => b@example.net R=r T=t", "other"),
        (". => b@example.net", "other"),
    ],
)
def test_lines_without_a_flag(tmp_path, line, kind):
    row = parsed(tmp_path, line)
    assert (row["kind"], row["text"], row.get("flag")) == (kind, line, None)


@pytest.mark.parametrize(
    "line",
    [
        "Remote host mx.example.net [192.0.2.7] closed connection in response to EHLO x",
        "SMTP timeout while connected to mx.example.net [192.0.2.7] after initial connection",
        "SMTP error from remote mail server after RCPT TO:<a@b>: host mx.example.net [192.0.2.7]: 450 x",
        "mx.example.net [192.0.2.7]: Connection timed out",
        "rejected EHLO from mx.example.net [192.0.2.7]: x",
        "rejected from <a@b> H=mx.example.net [192.0.2.7]: message too big",
        "SMTP connection Ci=7 from mx.example.net [192.0.2.7]:1 lost",
        "TLS session: timed out: delivering unencrypted to H=mx.example.net [192.0.2.7] (not in x)",
    ],
)
def test_hosts_that_a_text_names(tmp_path, line):
    row = parsed(tmp_path, line)
    assert (row["host"], row["host_address"]) == ("mx.example.net", "192.0.2.7")


def test_the_enhanced_status_stands_behind_the_code(tmp_path):
    rest = "SMTP error from remote mail server after RCPT TO:<b@c>: 550"
    for text, status in (
        (f"{rest} 5.1.1 no", "5.1.1"),
        (f"{rest}-5.7.26 x\\n550 y", "5.7.26"),
        (f"{rest} no", None),
    ):
        log = log_of(tmp_path, f"{AT} {ID} ** b@c R=r T=t H=mx [192.0.2.1]: {text}")
        assert fields(log.log_lines).get("enhanced_status") == status
        assert fields(log.attempts).get("enhanced_status") == status


def test_a_flag_counts_after_a_message_id_only(tmp_path):
    assert (
        fields(log_of(tmp_path, f"{AT} => b@example.net R=r T=t H=x [192.0.2.1]").log_lines)["kind"]
        == "other"
    )


def test_digits_in_brackets_are_a_process_and_an_address_is_not(tmp_path):
    row = fields(log_of(tmp_path, f"{AT} [127.0.0.1] SSL verify error: x").log_lines)
    assert (row.get("pid"), row["text"]) == (None, "[127.0.0.1] SSL verify error: x")


# What peers forge


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("<= a@b H=(x) [192.0.2.9]) [192.0.2.10] P=smtp S=1", {"host_address": "192.0.2.10"}),
        ("<= a@b H=(x) [192.0.2.9] (y) [192.0.2.10]:5 P=smtp S=1", {"host_address": "192.0.2.10"}),
        ("<= a@b H=(x [192.0.2.9]) [192.0.2.10] P=smtp S=1", {"host_address": "192.0.2.10"}),
        ('<= "x H=y [192.0.2.9] S=1"@b H=(h) [192.0.2.10] P=smtp S=2', {"size": 2}),
        ('<= a@b H=(h) [192.0.2.10] P=smtp S=1 id=x T="y" for z@b T="real" for b@c', {"subject": "real"}),
        ('<= a@b P=smtp S=1 T="\\" for x@y S=5 \\\\" for b@c', {"recipients": "b@c", "size": 1}),
        ('=> b@c R=r T=t H=m [192.0.2.10] DN="a" C="forged"" C="real"', {"confirmation": "real"}),
        ('=> b@c F=<"> H=x [192.0.2.9]"@d> R=r T=t H=m [192.0.2.10] C="2"', {"host_address": "192.0.2.10"}),
        ('=> "b R=x H=y [192.0.2.9]"@c R=r T=t H=m [192.0.2.10]', {"host_address": "192.0.2.10"}),
        ('== b@c R=r T=t defer (-46) H=m [192.0.2.10]: SMTP error from remote mail server after end of data: '
         "450 (5 bytes written)", {"bytes_written": None, "smtp_code": 450}),
        ('== b@c R=r T=t defer (-44) H=m [192.0.2.10]: SMTP error from remote mail server after '
         'RCPT TO:<"x>: 550 y"@c>: 450 z', {"smtp_code": 450}),
    ],
)  # fmt: skip
def test_forged_fields_do_not_count(tmp_path, line, expected):
    row = parsed(tmp_path, line)
    assert {name: row.get(name) for name in expected} == expected


# Lines that continue, junk, damage


def test_lines_without_a_time_stamp_continue_the_one_above(tmp_path):
    log = log_of(
        tmp_path, f"{AT} Warning: No certificate", " Suggested action: install one", "", f"{AT} x", "y"
    )
    assert log.log_lines["text"].tolist() == [
        "Warning: No certificate\n Suggested action: install one",
        "x\ny",
    ]
    assert log.log_lines["line"].tolist() == [1, 4]
    assert log.skipped.empty


def test_junk_is_counted_and_kept(tmp_path):
    log = log_of(
        tmp_path, b"\xff\xfe lead", f"{AT} a", b"\x01\x80", b"\0\0\0" + f"{AT} b".encode(), b"\0\0", b"last"
    )
    assert log.log_lines["text"].tolist() == ["\\xff\\xfe lead", "a\n\x01\\x80", "b\nlast"]
    counts = {row["reason"]: (row["count"], row["where"]) for row in log.skipped.to_dict("records")}
    assert counts == {
        "line without a time stamp, kept as text": (2, "line 1"),
        "binary zeros before a line": (2, "line 4"),
    }


def test_a_line_of_megabytes_is_cut_and_counted(tmp_path):
    log = log_of(tmp_path, f"{AT} x" + "y" * (3 << 20), f"{AT} z", *["w" * 1000] * 1100)
    assert [len(text) for text in log.log_lines["text"]] == [
        (1 << 20) - len(AT) - 1,
        1 + 1047 * 1001,
        53 * 1001 - 1,
    ]
    counts = dict(zip(log.skipped["reason"], log.skipped["count"], strict=True))
    assert counts == {
        "rest of a line longer than 1048576 bytes": 1,
        "line without a time stamp, kept as text": 1,  # a new row, since the one above is long enough
    }


@pytest.mark.parametrize("compress", [gzip.compress, bz2.compress])
def test_compressed_logs_and_their_damage(tmp_path, compress):
    text = "".join(f"{AT} Start queue run: pid={n}\n" for n in range(20000)).encode()
    (tmp_path / "mainlog.1").write_bytes(compress(text))
    assert len(read_log(tmp_path / "mainlog.1", timezone="UTC").log_lines) == 20000
    (tmp_path / "mainlog.1").write_bytes(gzip.compress(text)[:5000])
    log = read_log(tmp_path / "mainlog.1", timezone="UTC")
    assert 0 < len(log.log_lines) < 20000
    assert "too early" in fields(log.skipped)["reason"]


def test_what_is_no_log_is_one_sentence(tmp_path):
    with pytest.raises(LogError, match="mainlog: no line starts with an Exim time stamp; give an Exim main"):
        log_of(tmp_path, "hello", "world")
    with pytest.raises(LogError, match=r"absent: cannot be read \(No such file or directory\); check"):
        read_log(tmp_path / "absent")
    with pytest.raises(LogError, match=r"cannot be read \(Is a directory\)"):
        read_log(tmp_path)


def test_an_empty_log_is_empty_tables(tmp_path):
    for name, table in log_of(tmp_path)._asdict().items():
        pd.testing.assert_frame_equal(table, tables.empty(name))


@pytest.mark.parametrize(
    ("head", "is_log"),
    [
        (b"2024-05-01 10:00:00 x", True),
        (b"junk\0\xff\n\0\0\0002024-05-01 10:00:00.123 +0100 [1] x", True),
        (b"May  1 10:00:00 mx exim[1]: 2024-05-01 10:00:00 x", True),
        (b"", False),
        (b"2024-05-01T10:00:00 x", False),
        (b"see 2024-05-01 10:00:00 x", False),
        (b"\xd4\xc3\xb2\xa1" + bytes(40), False),
        (b"Received: from x\nSubject: 2024-05-01 10:00:00 x\n", False),
    ],
)
def test_sniff(head, is_log):
    assert sniff(head) is is_log


PIECES = ['"', '\\"', ' "', "<", ' <"', " <", " (", ' ("', " H=(", " H=a (b) [", " H=", " for a", ' C="', "="]
PIECES += [": ", ")", " defer (x): ", " DT=1", "retry ", " : ", " SMTP", "(x) [1] ", "a@", "\0", " <a> "]
PIECES += [' T="\\', "- ", "[", " R", " lost", "RCPT TO:<", " id 1s1ABC-"]


@pytest.mark.parametrize("piece", PIECES)
def test_adversarial_lines_take_linear_time(tmp_path, piece):
    """With a quadratic pattern each would take minutes."""
    starts = ["", f"{ID} H=a [192.0.2.1]: SMTP error from remote mail server after ", "SMTP connection from "]
    starts += [f"{ID} {flag} " for flag in ("<=", "=>", "==", "**")] + [f"{ID} == a@b defer (1): x H="]
    lines = (f"{AT} {start}{piece * ((1 << 16) // len(piece))}" for start in starts)
    assert len(log_of(tmp_path, *lines).log_lines) == len(starts)


# Attempts and messages

ATTEMPT = ["peer", "outcome", "phase", "error", "recipients"]


def attempts_of(tmp_path: Path, *lines: str) -> list[tuple]:
    """Attempts of lines ``minute:second text`` of one message."""
    log = log_of(tmp_path, *(f"2024-05-01 10:{line[:5]} {ID} {line[6:]}" for line in lines))
    return list(
        log.attempts[ATTEMPT]
        .astype(object)
        .where(log.attempts[ATTEMPT].notna(), None)
        .itertuples(index=False, name=None)
    )


MX1, MX2 = "H=mx1.example.net [198.51.100.1]", "H=mx2.example.net [198.51.100.2]"
REFUSED = "SMTP error from remote mail server after RCPT TO"


def test_host_line_and_address_line_are_one_attempt(tmp_path):
    timeout = "SMTP timeout after end of data (40945 bytes written)"
    log = log_of(
        tmp_path,
        f"2024-05-01 10:00:00.000 {ID} <= a@example.org H=c [192.0.2.10] P=esmtp S=39939",
        f"2024-05-01 10:05:00.500 {ID} {MX1}: {timeout}: Connection timed out",
        f"2024-05-01 10:05:01.600 {ID} == b@example.net R=r T=t defer (110): Connection timed out {MX1}:25"
        f" I=[192.0.2.1]:41234 DT=5m0s: {timeout}",
    )
    assert fields(log.attempts) == {
        "message_id": ID, "client": "192.0.2.1", "client_port": 41234, "peer": "198.51.100.1",
        "host": "mx1.example.net", "start": pd.Timestamp("2024-05-01 10:00:00.500Z"),
        "end": pd.Timestamp("2024-05-01 10:05:00.500Z"), "outcome": "deferred", "phase": "end of data",
        "error": "timeout", "size": 39939, "bytes_written": 40945, "recipients": 1, "errno": 110,
        "file": str(tmp_path / "mainlog"), "line": 2, "text": f"{timeout}: Connection timed out",
    }  # fmt: skip


def test_failure_at_one_host_and_success_at_the_next(tmp_path):
    assert attempts_of(
        tmp_path,
        f"00:00 {MX1} Connection refused",
        f'00:01 => b@example.net R=r T=t {MX2} C="250 OK"',
        f'00:01 -> c@example.net R=r T=t {MX2} C="250 OK"',
    ) == [
        ("198.51.100.1", "deferred", "connect", "refused", None),
        ("198.51.100.2", "delivered", "end of data", None, 2),
    ]


def test_each_retry_is_an_attempt_and_a_skipped_host_is_none(tmp_path):
    deferred = "== b@example.net R=r T=t defer (111): Connection refused"
    assert attempts_of(
        tmp_path,
        f"00:00 {MX1} Connection refused",
        f"00:00 {deferred}",
        "05:00 == b@example.net R=r T=t defer (-53): retry time not reached for any host",
        "05:01 == b@example.net routing defer (-52): retry time not reached",
        f"15:00 {MX1} Connection refused",
        f"15:00 {deferred}",
        "15:00 ** b@example.net: retry timeout exceeded",
        "40:00 ** c@example.net: retry timeout exceeded",
    ) == [
        ("198.51.100.1", "deferred", "connect", "refused", 1),
        ("198.51.100.1", "failed", "connect", "refused", 1),
    ]


def test_the_second_recipient_has_no_host(tmp_path):
    closed = "Remote host closed connection in response to end of data"
    assert attempts_of(
        tmp_path,
        f"00:00 {MX1}: {closed}",
        f"00:00 == b@example.net R=r T=t defer (-18) {MX1}: {closed}",
        f"00:00 == c@example.net R=r T=t defer (-18): {closed}",
        "00:00 == d@example.net R=r T=local defer (-22): mailbox is full",
    ) == [("198.51.100.1", "deferred", "end of data", "lost connection", 2)]


def test_one_transaction_that_refuses_a_recipient_is_delivered(tmp_path):
    refused = f"** c@example.net R=r T=t {MX1} : {REFUSED}:<c@example.net>: 550 no"
    accepted = f'=> b@example.net R=r T=t {MX1} C="250 OK"'
    for lines in ((accepted, refused), (refused, accepted)):
        assert attempts_of(tmp_path, *(f"00:00 {line}" for line in lines)) == [
            ("198.51.100.1", "delivered", "end of data", None, 2)
        ]


def test_recipients_that_one_host_puts_off_are_one_attempt(tmp_path):
    assert attempts_of(
        tmp_path,
        f"00:00 {MX1} {REFUSED}:<b@example.net>: 451 later",
        f"00:00 {MX1} {REFUSED}:<c@example.net>: 451 later",
        f"00:01 == b@example.net R=r T=t defer (-44) {MX2}: {REFUSED}:<b@example.net>: 451 later",
        f"00:01 == c@example.net R=r T=t defer (-44) {MX2}: {REFUSED}:<c@example.net>: 451 later",
    ) == [("198.51.100.1", "deferred", "RCPT", "4xx", 2), ("198.51.100.2", "deferred", "RCPT", "4xx", 2)]


def test_going_on_without_tls_is_a_second_attempt(tmp_path):
    assert attempts_of(
        tmp_path,
        f"00:00 TLS session: (gnutls_handshake): timed out: delivering unencrypted to {MX1} (not in x)",
        f'00:01 => b@example.net R=r T=t {MX1}:25 C="250 OK"',
    ) == [
        ("198.51.100.1", "deferred", "STARTTLS", "timeout", None),
        ("198.51.100.1", "delivered", "end of data", None, 1),
    ]


def test_what_tls_says_on_closing_is_no_attempt(tmp_path):
    timeout = "SMTP timeout after pipelined end of data (2961 bytes written)"
    assert attempts_of(
        tmp_path,
        f"00:00 {MX1}: {timeout}: Connection timed out",
        f"00:02 {MX1} TLS error on connection (recv): Function was interrupted.",
        f"00:04 == b@example.net R=r T=t defer (110): Connection timed out {MX1}: {timeout}",
    ) == [("198.51.100.1", "deferred", "end of data", "timeout", 1)]


def test_local_deliveries_and_arrivals_are_no_attempts(tmp_path):
    assert not attempts_of(
        tmp_path,
        "00:00 <= a@example.org H=c.example.org [192.0.2.10] P=esmtp S=1",
        "00:01 => user <user@example.net> R=r T=local",
        '00:01 => user <user@example.net> R=r T=lmtp H=host.1:host.2 C="250 OK"',
        "00:01 == b@example.net R=r T=local defer (-22): mailbox is full",
        "00:01 ** b@example.net R=r T=t : message has lines too long for transport",
        "00:01 H=(x) [192.0.2.10] F=<a@example.org> rejected after DATA: no",
    )


PHASES = """
banner|lost connection|Remote host closed connection in response to initial connection
banner|timeout|SMTP timeout after initial connection: Connection timed out
banner|5xx|SMTP error from remote mail server after initial connection: 554 go away
EHLO|timeout|SMTP timeout after EHLO [IPv6:2001:db8::1]: Connection timed out
EHLO|5xx|SMTP error from remote mail server after HELO mail.example.org: 501 no
STARTTLS|4xx|SMTP error from remote mail server after STARTTLS: 450 temp problem
STARTTLS|timeout|TLS session: (SSL_connect): timed out
STARTTLS|TLS|TLS session: (gnutls_handshake): A TLS fatal alert has been received
STARTTLS|TLS|a TLS session is required, but the server did not offer TLS support
AUTH|5xx|SMTP error from remote mail server after AUTH PLAIN: 535 no
MAIL|4xx|SMTP error from remote mail server after pipelined MAIL FROM:<a@b> SIZE=1: 452 4.3.1 full
RCPT|timeout|SMTP timeout after RCPT TO:<b@c>: Connection timed out
RCPT|5xx|Malformed SMTP reply in response to RCPT TO:<b@c>: 550 lost
DATA|other|SMTP error from remote mail server after pipelined DATA: 354 no
sending data block|timeout|SMTP timeout after sending data block (40945 bytes written): Connection timed out
sending data block|broken pipe|smtp send to mx.example.net [198.51.100.1] failed: Broken pipe
sending data block|other|failed to write a data block
end of data|4xx|SMTP error from remote mail server after end of data: 421 SMTP incoming data timeout
end of data|other|SMTP error from remote mail server after end of data: 850 NONSENSE
end of data|timeout|SMTP timeout after pipelined end of data (17099 bytes written): Connection timed out
end of data|lost connection|Remote host closed connection in response to pipelined end of data
end of data|lost connection|Remote end closed connection after data
connect|reset|Connection reset by peer
connect|unreachable|No route to host
connect|unreachable|Network is unreachable
"""


@pytest.mark.parametrize("case", PHASES.strip().splitlines())
def test_phase_and_error_by_the_text(tmp_path, case):
    phase, error, text = case.split("|")
    ((_, _, found_phase, found_error, _),) = attempts_of(tmp_path, f"00:00 {MX1}: {text}")
    assert (found_phase, found_error) == (phase, error)


def test_the_errno_tells_where_the_text_is_only_a_host(tmp_path):
    line = f"== b@example.net R=r T=t defer (32): Broken pipe {MX1}: lost.example.net [198.51.100.1]"
    assert attempts_of(tmp_path, f"00:00 {line}") == [
        ("198.51.100.1", "deferred", "sending data block", "broken pipe", 1)
    ]


def test_a_connection_that_was_prohibited_is_unreachable(tmp_path):
    line = f"{MX1}: mx1.example.net [198.51.100.1]: Permission denied"
    ((_, _, phase, error, _),) = attempts_of(tmp_path, f"00:00 {line}")
    assert (phase, error) == ("connect", "unreachable")


LOST_CLIENTS = """
sending data block|timeout|300|SMTP data timeout (message abandoned) on connection from HOST F=<a@b> D=5m0s
sending data block|lost connection||SMTP connection from HOST lost while reading message data (header)
end of data|lost connection||SMTP connection lost after final dot H=HOST P=smtps
|timeout|300|SMTP command timeout on connection from HOST D=5m
|timeout|300|SMTP command timeout on TLS connection from HOST D=5m
|lost connection|1.5|unexpected disconnection while reading SMTP command from HOST D=1.5s
STARTTLS|timeout||TLS error on connection from HOST (gnutls_handshake): timed out
STARTTLS|TLS||TLS error on connection from HOST (SSL_accept): error: x
"""


@pytest.mark.parametrize("case", LOST_CLIENTS.strip().splitlines())
def test_clients_that_went_away(tmp_path, case):
    phase, error, seconds, line = case.split("|")
    host = "c.example.org (helo) [192.0.2.10]:40000 I=[198.51.100.1]:25"
    row = fields(log_of(tmp_path, f"{AT} {line.replace('HOST', host)}").attempts)
    assert (row["client"], row["client_port"], row["host"]) == ("192.0.2.10", 40000, "c.example.org")
    assert (row["peer"], row["peer_port"], row["outcome"]) == ("198.51.100.1", 25, "failed")
    assert (row.get("phase", ""), row["error"]) == (phase, error)
    assert (row["end"] - row["start"]).total_seconds() == float(seconds) if seconds else "start" not in row


def test_a_command_timeout_with_a_message_id_is_one_in_the_data(tmp_path):
    """With CHUNKING the id is there as soon as the first BDAT is."""
    log = log_of(tmp_path, f"{AT} {ID} SMTP command timeout on connection from (x) [192.0.2.10]:45182")
    assert fields(log.attempts)["phase"] == "sending data block"


def test_tls_that_is_not_closed_properly_is_no_attempt(tmp_path):
    log = log_of(
        tmp_path, f"{AT} TLS error on connection from (x) [192.0.2.10] (recv): not properly terminated"
    )
    assert log.attempts.empty


def test_messages_count_the_last_outcome_of_each_recipient(tmp_path):
    log = log_of(
        tmp_path,
        f"2024-05-01 10:00:00 {ID} <= a@example.org H=c.example.org [192.0.2.10] P=esmtp S=399 id=x@e",
        f"2024-05-01 10:00:01 {ID} == b@example.net R=r T=t defer (111): Connection refused",
        f"2024-05-01 10:00:01 {ID} == c@example.net R=r T=t defer (111): Connection refused",
        f"2024-05-01 10:00:01 {ID} => user <user@example.net> R=r T=local",
        f"2024-05-01 10:00:01 {ID} => :blackhole: <nobody@example.net> R=r",
        f"2024-05-01 10:00:02 {ID} ** d@example.net R=r T=t : no",
        f"2024-05-01 10:30:00 {ID} => b@example.net R=r T=t {MX1}",
    )
    assert fields(log.messages) == {
        "message_id": ID, "arrival": pd.Timestamp("2024-05-01 10:00:00Z"), "sender": "a@example.org",
        "size": 399, "protocol": "esmtp", "peer": "192.0.2.10", "header_message_id": "x@e", "recipients": 4,
        "delivered": 2, "failed": 1, "deferred": 1, "file": str(tmp_path / "mainlog"), "line": 1,
        "outcomes": "delivered b@example.net\ndeferred c@example.net\ndelivered user@example.net\n"
        "failed d@example.net",
    }  # fmt: skip


def test_a_completed_message_has_no_recipient_left(tmp_path):
    """What was deferred before is an address that others replaced, such as an alias."""
    log = log_of(
        tmp_path,
        f"2024-05-01 10:00:00 {ID} <= <> R=1s1ABC-000000001Qd-0a1A U=mail P=local S=1",
        f"2024-05-01 10:00:01 {ID} == list@example.net routing defer (-1): lookup failed",
        f"2024-05-01 10:30:00 {ID} => b@example.net <list@example.net> R=r T=t {MX1}",
        f"2024-05-01 10:30:00 {ID} Completed",
    )
    row = fields(log.messages)
    assert (row["sender"], row["recipients"], row["delivered"], row["deferred"]) == ("", 1, 1, 0)
    assert (row["outcomes"], row["bounce_of"]) == ("delivered b@example.net", "1s1ABC-000000001Qd-0a1A")
    assert row["completed"] == pd.Timestamp("2024-05-01 10:30:00Z")


# Whole logs


@pytest.fixture(scope="module")
def corpus(corpora, tmp_path_factory) -> list[Path]:
    folder = tmp_path_factory.mktemp("logs")
    with tarfile.open(corpora / "exim-testsuite-logs" / "exim-testsuite-logs-dev.tar.xz") as archive:
        archive.extractall(folder, filter="data")
    return sorted(path for path in folder.rglob("*") if path.is_file())


def test_every_line_of_exims_test_suite_is_a_row_or_continues_one(corpus):
    stamp = re.compile(r"(?m)^\d{4}-\d\d-\d\d \d\d:\d\d:\d\d")
    texts = {str(path): path.read_bytes().decode("utf-8", "backslashreplace") for path in corpus}
    logs = {path: text for path, text in texts.items() if stamp.search(text)}
    rows = read_log(*logs, timezone="UTC").log_lines
    rows["text"] = rows["text"].fillna("").where(rows["time"].notna(), "\n" + rows["text"])
    for path, lines in rows.groupby("file", observed=True):
        assert lines["time"].notna().sum() == len(stamp.findall(logs[path]))
        continued = [line for text in lines["text"].str.split("\n") for line in text[1:]]
        assert continued == [
            line for line in logs[path].split("\n") if line.strip() and not stamp.match(line)
        ]


def test_flags_of_exims_test_suite(corpus):
    """An independent, simpler count: message id and flag with blanks around."""
    mains = [path for path in corpus if path.parent.name == "log"]
    flagged = re.compile(r"(?m)^[-\d]{10} [\d:.]+ (?:[+-]\d{4} )?(?:\[\d+\] )?[\w-]{16,23} ([=<>*(-]{2}) ")
    expected = pd.Series([flag for p in mains for flag in flagged.findall(p.read_text("utf-8", "replace"))])
    found = read_log(*mains, timezone="UTC").log_lines["flag"].dropna()
    assert found.value_counts().to_dict() == expected.value_counts().to_dict()


def test_deliveries_of_exims_test_suite_have_no_unread_tail(corpus):
    lines = read_log(*(p for p in corpus if p.parent.name == "log"), timezone="UTC").log_lines
    whole = lines[lines["flag"].isin(["<=", "=>", "->", ">>", "*>"])]
    assert whole["text"].dropna().str.startswith("\n").all()  # lines that continue them, nothing else
    failed = lines[lines["flag"].isin(["==", "**"])]
    assert not failed["text"].str.contains(r"^(?:[RTHX]=| )").any()


# A log in proper form: 16-character ids, which is all that eximstats and exigrep of Debian 12 know.
PROPER = """\
2024-05-01 10:00:00 1s1ABC-0001Qd-0a <= a@example.org H=c.example.org [192.0.2.10] P=esmtp S=1000
2024-05-01 10:00:01 1s1ABC-0001Qd-0a => b@example.net R=r T=smtp S=1020 H=mx.example.net [198.51.100.1]
2024-05-01 10:00:01 1s1ABC-0001Qd-0a -> c@example.net R=r T=smtp S=1020 H=mx.example.net [198.51.100.1]
2024-05-01 10:00:01 1s1ABC-0001Qd-0a Completed
2024-05-01 10:00:02 1s1ABD-0001Qd-0b <= a@example.org U=a P=local S=2000
2024-05-01 10:00:03 1s1ABD-0001Qd-0b H=mx.example.net [198.51.100.1] Connection refused
2024-05-01 10:00:03 1s1ABD-0001Qd-0b == b@example.net R=r T=smtp defer (111): Connection refused
2024-05-01 10:00:04 1s1ABE-0001Qd-0c <= <> R=1s1ABC-0001Qd-0a U=mail P=local S=3000
2024-05-01 10:00:05 1s1ABE-0001Qd-0c ** x@example.net R=r T=smtp H=mx.example.net [198.51.100.1]: no
2024-05-01 10:00:05 1s1ABE-0001Qd-0c => d <d@example.org> R=l T=local S=3000
2024-05-01 10:00:05 1s1ABE-0001Qd-0c Completed
2024-05-01 10:00:06 H=(x) [192.0.2.10] F=<a@example.org> rejected RCPT <z@example.net>: no
"""


def output_of(program: str, *arguments: str) -> str:
    path = shutil.which(program, path=f"/usr/sbin:{os.environ['PATH']}")
    done = subprocess.run([path, *arguments], capture_output=True, text=True, errors="surrogateescape")
    return done.stdout


@needs("eximstats")
@pytest.mark.parametrize("log", ["proper", "sample"])
def test_totals_are_those_of_eximstats(tmp_path, sample, log):
    path = sample / "mainlog"
    if log == "proper":
        path = tmp_path / "mainlog"
        path.write_text(PROPER)
    said = output_of("eximstats", str(path))
    received = re.search(r"Received +\S+ +(\d+) +\d+ +(\d+) +\S+ +(\d+)", said)
    delivered = re.search(r"Delivered +\S+ +(\d+) +(\d+)", said)
    assert received
    assert delivered
    ours = read_log(path, timezone="UTC")
    kinds = ours.log_lines["kind"].value_counts()
    with_sizes = ours.log_lines[ours.log_lines["message_id"].isin(ours.messages["message_id"])]
    assert int(received[1]) == kinds["arrival"]
    assert int(received[2]) == with_sizes.loc[with_sizes["kind"] == "deferral", "message_id"].nunique()
    assert int(received[3]) == with_sizes.loc[with_sizes["kind"] == "failure", "message_id"].nunique()
    assert int(delivered[1]) == kinds["delivery"]
    assert int(delivered[2]) == kinds["delivery"] + kinds.get("additional_delivery", 0)


@needs("exigrep")
def test_lines_of_a_message_are_those_of_exigrep(sample):
    log = read_log(sample / "mainlog", timezone="UTC").log_lines
    text = (sample / "mainlog").read_text().splitlines()
    for message_id, group in log.groupby("message_id"):
        said = output_of("exigrep", "--no-pager", message_id, str(sample / "mainlog"))
        expected = [line for line in said.splitlines() if line.startswith("2") and f" {message_id} " in line]
        assert [text[number - 1] for number in group["line"]] == expected


def test_the_sample_has_an_attempt_for_each_host_tried(sample):
    """Every affected message failed at the broken peer and no healthy one did, by the label of the sample."""
    truth = json.loads((sample / "truth.json").read_text())
    attempts = read_log(sample / "mainlog", timezone="UTC").attempts
    failed = attempts[attempts["outcome"] != "delivered"]
    assert set(failed["message_id"]) == set(truth["affected"])
    assert set(failed["peer"]) == {truth["peer"]}
    assert failed["client_port"].notna().all()


# eximstats and exigrep of Debian 12 know ids of 16 characters only.
LONG_ID = re.compile(rb"\b([0-9]\w{5})-\w{5}(\w{6})-\w\w(\w\w)\b")


@pytest.fixture(scope="module")
def short_ids(corpus, tmp_path_factory) -> list[Path]:
    folder = tmp_path_factory.mktemp("short")
    for path in corpus:
        if path.parent.name == "log":
            (folder / path.name).write_bytes(LONG_ID.sub(rb"\1-\2-\3", path.read_bytes()))
    return sorted(folder.iterdir())


@needs("eximstats")
def test_totals_of_exims_test_suite_are_those_of_eximstats(short_ids, tmp_path):
    """Messages received, delivered, addresses, and messages delayed and failed, which arrived before."""
    whole = tmp_path / "mainlog"
    whole.write_bytes(b"".join(path.read_bytes().rstrip(b"\n") + b"\n" for path in short_ids))
    said = output_of("eximstats", "-nr", "-ne", "-nt", str(whole))
    received = re.search(r"Received +\S+ +(\d+) .*?(\d+) +[\d.]+% +(\d+) +[\d.]+%", said)
    delivered = re.search(r"Delivered +\S+ +(\d+) +(\d+)", said)
    assert received
    assert delivered
    lines = read_log(whole, timezone="UTC").log_lines
    kinds = lines["kind"].value_counts()
    known: dict[str, set[str]] = {}
    late = {"deferral": 0, "failure": 0}
    for message_id, kind in lines.dropna(subset="message_id")[["message_id", "kind"]].itertuples(index=False):
        seen = known.setdefault(message_id, set())
        late[kind] = late.get(kind, 0) + ("arrival" in seen and kind not in seen)
        seen.add(kind)
        if kind == "completed":
            del known[message_id]
    assert [int(n) for n in received.groups()] == [kinds["arrival"], late["deferral"], late["failure"]]
    assert [int(n) for n in delivered.groups()] == [
        kinds["delivery"],
        kinds["delivery"] + kinds["additional_delivery"],
    ]


@needs("exigrep")
def test_groups_of_exims_test_suite_are_those_of_exigrep(short_ids):
    """Exigrep prints the lines of each message as often as it is completed."""
    chosen = short_ids[::6]  # each takes a run of exigrep
    lines = read_log(*chosen, timezone="UTC").log_lines.dropna(subset="message_id")
    ours = {path: group[["line", "message_id"]] for path, group in lines.groupby("file", observed=True)}
    stamped = re.compile(r"\d{4}-\d\d-\d\d [\d:.]+ (?:[+-]\d{4} )?(?:\[\d+\] )?(\w{6}-\w{6}-\w\w)")
    for path in chosen:
        text = path.read_text("utf-8", "backslashreplace").split("\n")
        said = output_of("exigrep", "--no-pager", ".", str(path)).encode("utf-8", "surrogateescape")
        found = (stamped.match(line) for line in said.decode("utf-8", "backslashreplace").split("\n"))
        expected = sorted((m.string.rstrip(), m[1]) for m in found if m)
        rows = ours[str(path)].itertuples(index=False) if str(path) in ours else ()
        assert sorted((text[number - 1].rstrip(), name) for number, name in rows) == expected


def test_every_kind_is_one_that_the_table_names(corpus):
    kinds = read_log(*(p for p in corpus if p.parent.name == "log"), timezone="UTC").log_lines["kind"]
    assert set(kinds) <= set(tables.KINDS)


# Laws


def test_compiled_and_interpreted_read_alike(corpus, tmp_path, monkeypatch):
    paths = [p for p in corpus if p.parent.name != "paniclog"]
    path = tmp_path / "adversarial"
    path.write_bytes(SEED + "".join(f"{AT} {ID} <= {piece * 99}\n" for piece in PIECES).encode())
    interpreted = read_log(*paths, path, timezone="UTC")
    monkeypatch.setattr(reader, "INTERPRETED", -1)
    for ours, theirs in zip(read_log(*paths, path, timezone="UTC"), interpreted, strict=True):
        pd.testing.assert_frame_equal(ours, theirs)


def test_names_that_were_made_to_collide_are_read_all_the_same(tmp_path, monkeypatch):
    hosts = [f"mx{n % 50}.example.org" for n in range(150)]
    path = tmp_path / "mainlog"
    path.write_text("".join(f"{AT} {ID} => a@example.org R=r T=t H={host} [192.0.2.1]\n" for host in hosts))
    monkeypatch.setattr(scanner, "hashed", lambda *_: 0)
    host = read_log(path, timezone="UTC").log_lines["host"]
    assert host.tolist() == hosts
    assert len(host.cat.categories) == 50


def test_blocks_do_not_show(corpus, monkeypatch):
    """Where a file is cut changes nothing but the numbers of what is odd at a cut."""
    paths = [p for p in corpus if p.parent.name == "log"]
    whole = read_log(*paths, timezone="UTC").log_lines
    monkeypatch.setattr(reader, "BLOCK", 700)
    pd.testing.assert_frame_equal(read_log(*paths, timezone="UTC").log_lines, whole)


def test_columns_that_only_some_blocks_have(tmp_path, monkeypatch):
    """Texts and numbers begin late and end early; the hosts become too many for codes of one byte."""
    monkeypatch.setattr(reader, "BLOCK", 700)
    hosts = [f"mx{n}.example.org" for n in range(300)]
    delivery = f'{AT} {ID} => a@example.org R=r T=t H={{}} [192.0.2.1] QT=3s C="250 {{}}"'
    idle = [f"{AT} {ID} Completed"] * 50
    frame = log_of(tmp_path, *idle, *(delivery.format(h, h) for h in hosts), *idle).log_lines
    none = [pd.NA] * 50
    assert frame["confirmation"].tolist() == [*none, *(f"250 {host}" for host in hosts), *none]
    assert frame["queue_time"].tolist() == [*none, *[3.0] * 300, *none]
    assert frame["host"].astype("string").tolist() == [*none, *hosts, *none]


class Counted:
    """Bytes that count how often they are looked at."""

    def __init__(self, data: bytes) -> None:
        self.data, self.looks = data, 0

    def __len__(self) -> int:
        return len(self.data)

    def __getitem__(self, at: int) -> int:
        self.looks += 1
        return self.data[at]


def looks(line: bytes) -> int:
    """How often the bytes of a line are looked at to read it."""
    buffer = Counted(line)
    facts = np.empty((len(scanner.FACTS), 1), np.int64)
    spans, used = np.full(2 * len(scanner.SPANS), -1), np.zeros(len(scanner.SPANS), int)
    found = np.empty((len(scanner.SPANS), 1, 3), int)
    facts[scanner.START], facts[scanner.END] = 0, len(line)
    scanner.heads(buffer, facts, 1)
    scanner.decode(buffer, facts, spans, found, used, 1)
    return buffer.looks


@pytest.mark.parametrize(
    "piece", [*PIECES, '<\\"', " <a", " (a", " for a@b", ") [x] (", " H=(a) [1] (", "<>"]
)
def test_a_line_twice_as_long_is_looked_at_twice_as_often(piece):
    for start in ("<= ", "=> ", "== ", "** ", "H=a [192.0.2.1]: ", "SMTP connection from ", "<= a@b H=x"):
        short, long = (looks(f"{AT} {ID} {start}{piece * (n // len(piece))}".encode()) for n in (6000, 12000))
        assert long < 2.3 * short


def test_of_whole_messages(sample, corpus):
    """f(a + b) = f(a) + f(b) where a and b share no message."""
    chooser = random.Random(1)
    for path in (sample / "mainlog", *chooser.sample([p for p in corpus if p.parent.name == "log"], 20)):
        lines = read_log(path, timezone="UTC").log_lines
        half = lines["message_id"].map(lambda _: chooser.random() < 0.5, na_action=None)
        half = half.groupby(lines["message_id"].fillna("none")).transform("first").astype(bool)
        for function, table in ((exim.messages, "messages"), (exim.attempts, "attempts")):
            parts = tables.concat([function(lines[half]), function(lines[~half])], table)
            by = ["message_id", "file", "line"]
            pd.testing.assert_frame_equal(
                parts.sort_values(by, ignore_index=True), function(lines).sort_values(by, ignore_index=True)
            )


SEED = PROPER.encode() + "".join(f"{AT} {ID} {line}\n" for line, _ in FLAGGED).encode()
MUTATION = st.tuples(st.integers(0, len(SEED) - 1), st.binary(max_size=8), st.integers(0, 20))


@given(st.lists(MUTATION, max_size=30))
@settings(max_examples=100, deadline=None)
def test_changed_bytes_never_raise_and_never_lose_a_line(tmp_path_factory, mutations):
    data = bytearray(SEED)
    for place, new, length in mutations:
        data[place : place + length] = new
    path = tmp_path_factory.mktemp("changed") / "mainlog"
    path.write_bytes(data)
    try:
        log = read_log(path, timezone="UTC")
    except LogError:
        assert not sniff(bytes(data))
        return
    filled = [number for number, line in enumerate(bytes(data).split(b"\n"), 1) if line.strip(b"\0\r\t ")]
    rows = log.log_lines["line"].tolist()
    texts = log.log_lines["text"].fillna("").str.count("\n").tolist()
    assert rows == sorted(set(rows))
    assert rows[0] <= filled[0]
    assert sum(texts) + len(rows) >= len(filled)


@given(st.binary(max_size=2000))
@settings(max_examples=50, deadline=None)
def test_any_bytes_are_a_log_or_a_log_error(tmp_path_factory, data):
    path = tmp_path_factory.mktemp("any") / "mainlog"
    path.write_bytes(f"{AT} x\n".encode() + data)
    assert read_log(path, timezone="UTC").log_lines["text"].iloc[0].startswith("x")
