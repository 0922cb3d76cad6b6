"""The same conversations heard by another: tshark's SMTP dissector, and the streams that it puts together."""

import re
import subprocess
from collections import Counter
from itertools import groupby

import pandas as pd
import pytest
from conftest import CORPORA, ROOT, needs

from smtpkit import smtp
from smtpkit.capture import Reader, payload_of

SAMPLES = sorted((ROOT / "data" / "samples").glob("*/*.pcap*"))
# Where segments are cut, missing or repeated, the dissector takes text of messages for commands and counts
# lines twice: of such a stream it is no witness.
TROUBLED = "tcp.analysis.retransmission || tcp.analysis.lost_segment || tcp.analysis.ack_lost_segment"
TROUBLED += " || tcp.analysis.out_of_order || frame.len > frame.cap_len"
MADE = [ROOT / "data" / "samples" / "pmtu-black-hole" / "capture.pcap"]
NAMED = [
    "smtp-pipelining/input.pcap",
    "smtp-file-data-01/input.pcap",
    "smtp-long-command/input.pcap",
    "smtp-long-DATA-line/input.pcap",
    "smtp-data-rejected/10.7.29.101_49898-178.63.41.150_25.pcap",
    "Traces/smtp/smtp-bdat-pipeline-8bitmime.pcap",
    "Traces/smtp/smtp-many-addresses.pcap.gz",
    "Traces/smtp-attachment-msg.pcap",
    "Traces/smtp-one-side-only.pcap",
    "Traces/smtp.pcap",
    "Traces/smtp-multi-addr.pcap",
    "tls/smtp-starttls.pcap",
]
FIELDS = ["req.command", "req.parameter", "response.code", "rsp.parameter"]

# What the dissector (4.0) says and we do not, by the end of the file's path: it keeps blanks at a line's end,
# takes STAR TLS apart, and calls a line what is too long for one.
EXCEPTIONS = {
    "smtp-data-rejected/10.7.29.101_49898-178.63.41.150_25.pcap": 1,
    "smtp-long-command/input.pcap": 2,
    "tls/smtp-starttls.pcap": 2,
}


def captures():
    found = [path for path in sorted(CORPORA.rglob("*.pcap*")) if str(path).endswith(tuple(NAMED))]
    return [pytest.param(path, id="/".join(path.parts[-2:])) for path in [*found, *MADE]]


def heard(path):
    return smtp.listen((packets, payload_of(packets, payload)) for packets, payload in Reader(path))


def tshark(*arguments):
    return subprocess.run(["tshark", "-n", *arguments], capture_output=True, text=True, check=False).stdout


def dissected(path):
    """Return what tshark's dissector calls commands and reply lines, and the codes in order."""
    shown = ["-T", "fields", "-E", "aggregator=\x1f", "-e", "tcp.stream"]
    shown += [word for field in FIELDS for word in ("-e", f"smtp.{field}")]
    commands, replies, codes = Counter(), Counter(), {}
    for line in tshark("-r", str(path), "-Y", "smtp", *shown).splitlines():
        stream, *values = line.split("\t")
        verbs, arguments, numbers, texts = (value.split("\x1f") if value else [] for value in values)
        commands.update((stream, verb.upper()) for verb in verbs if verb)
        commands.update((stream, argument) for argument in arguments)
        replies.update((stream, text) for text in texts)
        codes.setdefault(stream, []).extend(map(int, numbers))
    return commands, replies, codes


def ours(path):
    """Return the same of our dialogue."""
    commands, replies, codes = Counter(), Counter(), {}
    for line in heard(path).dialogue.fillna({"verb": "", "argument": "", "text": ""}).itertuples():
        stream = str(line.stream)
        if line.direction == "reverse":
            replies[stream, line.text] += 1
            codes.setdefault(stream, []).append(line.reply_code)
        elif line.verb != "end of data":
            commands.update((stream, word) for word in (line.verb, line.argument) if word)
    return commands, replies, codes


def once(codes):
    return [code for code, _ in groupby(codes)]


@needs("tshark")
@pytest.mark.parametrize("path", captures())
def test_commands_and_replies_are_as_the_dissector_says(path):
    """Of pipelined commands the dissector shows the first only: those are looked up in the streams below."""
    (commands, replies, codes), theirs = ours(path), dissected(path)
    unsaid = sum((theirs[0] - commands).values())
    assert unsaid == next((n for name, n in EXCEPTIONS.items() if str(path).endswith(name)), 0)
    challenges = {(stream, text) for stream, text in theirs[1] if text in ("VXNlcm5hbWU6", "UGFzc3dvcmQ6")}
    kept = {key: n for key, n in replies.items() if key[1]}
    assert kept == {key: n for key, n in theirs[1].items() if key not in challenges and key[1]}
    assert {stream: once(said) for stream, said in codes.items()} == {
        stream: once(said) for stream, said in theirs[2].items() if said
    }


@needs("tshark")
@pytest.mark.parametrize("path", SAMPLES, ids=lambda path: "/".join(path.parts[-2:]))
def test_undisturbed_streams_of_the_samples_are_as_the_dissector_says(path):
    troubled = set(tshark("-r", str(path), "-Y", TROUBLED, "-T", "fields", "-e", "tcp.stream").split())

    def undisturbed(said):
        return {key: n for key, n in said.items() if key[0] not in troubled and key[1]}

    (commands, replies, codes), theirs = ours(path), dissected(path)
    unsaid = Counter(undisturbed(theirs[0])) - commands
    assert {word for _, word in unsaid} <= {"STAR", "TLS"}
    assert undisturbed(replies) == undisturbed(theirs[1])
    for stream in set(theirs[2]) - troubled:
        assert once(codes.get(stream, [])) == once(theirs[2][stream])


def streams(path, numbers):
    """Return what each client sent, as Wireshark puts it together: stream -> octets."""
    follow = [word for number in numbers for word in ("-z", f"follow,tcp,raw,{number}")]
    sent, text = {}, tshark("-r", str(path), "-q", *follow)
    for part in text.split("Filter: tcp.stream eq ")[1:]:
        number = int(part.split()[0])
        sides = {"": b"", "\t": b""}
        for line in part.splitlines()[1:]:
            if re.fullmatch(r"\t?(?:[0-9a-f]{2})+", line):
                sides[line[: line.startswith("\t")]] += bytes.fromhex(line)
        sent[number] = sides[""] if re.search(r"Node 1: \S+:(?:25|587)\n", part) else sides["\t"]
    return sent


@needs("tshark")
@pytest.mark.parametrize("path", captures())
def test_each_command_stands_in_the_stream_that_wireshark_puts_together(path):
    dialogue = heard(path).dialogue
    lines = dialogue[(dialogue["direction"] == "forward") & dialogue["verb"].notna()]
    sent = streams(path, sorted(set(lines["stream"])))
    assert len(lines)
    for line in lines.itertuples():
        octets = sent[line.stream][line.relative_seq - 1 :][: line.length]
        assert octets.endswith(b"\n")
        if line.verb == "end of data":
            assert octets == b".\r\n"
        elif line.verb != "AUTH":
            assert octets.split()[0].upper() == line.verb.encode()


@needs("tshark")
@pytest.mark.parametrize("path", captures())
def test_messages_are_those_of_the_stream(path):
    packets = pd.concat([batch for batch, _ in Reader(path)])
    found = heard(path).transactions.dropna(subset=["data_size"])
    found = found[found["verb"] == "DATA"]
    sent = streams(path, sorted(set(found["stream"])))
    for one in found.itertuples():
        own = packets[(packets["stream"] == one.stream) & packets["dst_port"].isin([25, 587])]
        start = int(one.data_seq) - int(own["seq"].iloc[0]) - 1  # the first packet is the SYN
        message = sent[one.stream][start : start + one.data_size]
        assert sent[one.stream][start - 6 : start].upper() == b"DATA\r\n" or b"DATA" not in sent[one.stream]
        assert sent[one.stream][start + one.data_size :].startswith(b".\r\n")
        assert b"\r\n.\r\n" not in message
        assert one.longest_line == max(len(line) - line.startswith(b".") for line in message.split(b"\r\n"))
        assert one.nul_count == message.count(0)
        assert bytes.fromhex(one.ends_with) == message[-5:]
