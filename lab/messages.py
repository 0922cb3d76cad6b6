"""Readable messages of wanted sizes, from a seed."""

import random
import textwrap
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
LINE = 72


def compose(rng: random.Random, sender: str, recipients: list[str], size: int) -> bytes:
    """Write a message of `size` octets, its line ends counted as CRLF."""
    header = (
        f"Date: {formatdate()}\r\n"
        f"From: {sender}\r\n"
        f"To: {', '.join(recipients)}\r\n"
        f"Subject: {rng.choice(SUBJECTS)}\r\n"
        f"Message-ID: <{rng.randrange(16**12):012x}@{sender.partition('@')[2]}>\r\n"
        "\r\n"
    )
    return (header + _text(rng, size - len(header))).encode()


def _text(rng: random.Random, size: int) -> str:
    sentences: list[str] = []
    length = 0
    while length < size:
        sentences.append(" ".join(rng.choices(WORDS.split(), k=rng.randint(5, 14))).capitalize() + ".")
        length += len(sentences[-1])
    lines = textwrap.wrap(" ".join(sentences), LINE)
    return "\r\n".join(lines)[: max(0, size - 2)].rstrip() + "\r\n"
