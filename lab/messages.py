"""Readable messages of wanted sizes and oddities, from a seed."""

import random
import textwrap
from dataclasses import dataclass
from email.utils import formatdate

WORDS = """\
about after again already annual answer archive autumn balance before better board bridge budget
building business calendar carpet centre certain chapter choir city class coffee colour committee concert
corner council country course customer daily detail dinner door draft early east edition engine evening
every example expect family festival field figure finance first floor forest former friday garden general
gentle glass guest hall harbour hotel house hundred idea inform invoice island january journey kitchen
label lake language large late leather letter library light list little local machine manual many market
meadow meeting member minute model monday morning mountain museum music narrow nature never night north
notice number office open orchard order other outside paper parcel park partner people perhaps picture
place plan player please point printer product quarter question quiet railway reader recent record remain
reply report request river room sample school season second section senior service several share shelf
signal simple small south spring staff station still stone story street student summer supply table
teacher ticket timber today together tomorrow tower trade travel tuesday under useful valley village
visit volume wagon water weather weekend west while window winter within wooden work writer year young"""
SUBJECTS = """Minutes of the last meeting|Order confirmation|Your booking|Draft of the programme|Price list|
Travel plan|Re: the new building|Report for this quarter|Address list|Answers to your questions|Choir dates|
Text for the leaflet|Re: invoice|Chapter two|Notes from the visit|Inventory""".replace("\n", "").split("|")


@dataclass(frozen=True)
class Body:
    """What the text of a message is like."""

    line: int = 72  # octets of its longest lines, without CRLF
    holds: bytes = b""  # put in once
    place: float = 0.6  # where: 0 is the begin, 1 the end of the last line


def compose(rng: random.Random, sender: str, recipients: list[str], size: int, body: Body) -> bytes:
    """Write a message of exactly `size` octets, its line ends counted as CRLF."""
    header = (
        f"Date: {formatdate()}\r\n"
        f"From: {sender}\r\n"
        f"To: {', '.join(recipients)}\r\n"
        f"Subject: {rng.choice(SUBJECTS)}\r\n"
        f"Message-ID: <{rng.randrange(16**12):012x}@{sender.partition('@')[2]}>\r\n"
        "\r\n"
    ).encode()
    text = _text(rng, size - len(header) - len(body.holds), body.line).encode()
    at = len(text) - len("\r\n")
    if body.place < 1:  # within a line
        at = text.rfind(b" ", 0, max(2, int(at * body.place)))
    return header + text[:at] + body.holds + text[at:]


def _text(rng: random.Random, size: int, line: int) -> str:
    """Write sentences, and fill the last line up."""
    sentences: list[str] = []
    length = 0
    while length < size:
        sentences.append(" ".join(rng.choices(WORDS.split(), k=rng.randint(5, 14))).capitalize() + ".")
        length += len(sentences[-1])
    text = "\r\n".join(textwrap.wrap(" ".join(sentences), line, break_on_hyphens=False))
    text = text[: size - 4].rstrip()
    return text + " " + "." * (size - len(text) - 3) + "\r\n"
