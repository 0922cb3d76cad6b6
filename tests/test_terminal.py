"""The page in the terminal: typed findings, hostile text, narrow and wide terminals."""

import io

import pytest
from rich.console import Console

from smtpkit import terminal

HOSTILE = "[red]x[/red] \x1b[31m \u202e $(reboot)\n"


def finding(**more):
    return {
        **{"peer": "198.51.100.25", "severity": "error", "cause": "receiver_stall", "confidence": "likely"},
        "messages": ["a", "b"],
        "sentence": "198.51.100.25 stops reading.",
        "evidence": [{"sentence": "Its window was 0 for 30 s.", "source": "a.pcap frame 7"}],
        "against": [],
        "not_observable": [],
        "ruled_out": [{"cause": "packet_loss", "sentence": "Nothing was lost."}],
        "next_test": "swaks --server 198.51.100.25",
        "remedies": ["Ask the far postmaster.", "Wait."],
        "display_filter": "ip.addr == 198.51.100.25",
    } | more


def printed(show, *findings, width=80, healthy=()):
    console = Console(file=io.StringIO(), width=width)
    show({"findings": list(findings), "healthy": list(healthy)}, console)
    return console.file.getvalue()


def test_the_page_in_its_order():
    assert printed(terminal.page, finding(), healthy=["203.0.113.25"]) == (
        "ERROR: receiver_stall (likely; 2 messages affected)\n"
        "  198.51.100.25 stops reading.\n"
        "\n"
        "  Why\n"
        "  + Its window was 0 for 30 s.  [a.pcap frame 7]\n"
        "\n"
        "  What it is not\n"
        "  x packet_loss: Nothing was lost.\n"
        "\n"
        "  What next\n"
        "  Test:      swaks --server 198.51.100.25\n"
        "  Remedy 1:  Ask the far postmaster.\n"
        "  Remedy 2:  Wait.\n"
        "  Wireshark: ip.addr == 198.51.100.25\n"
        "\n"
        "Healthy: 203.0.113.25\n"
    )


@pytest.mark.parametrize("show", [terminal.page, terminal.verdict])
def test_of_very_many_findings_the_last_ones_have_a_line_each(show, monkeypatch):
    monkeypatch.setattr(terminal, "MOST_FINDINGS", 1)
    more = finding(peer="203.0.113.26", sentence="Told elsewhere.", messages=["c"])
    text = printed(show, finding(), more, finding(peer=None, sentence="More."))
    assert text.count("198.51.100.25 stops reading.") == 1
    assert text.count("More.") == 1
    assert "Told elsewhere." not in text
    assert text.endswith(
        "ERROR: receiver_stall at 203.0.113.26 (likely; 1 message affected)\n"
        "--json tells these in full, and --peer ADDRESS those of one server.\n\n"
    )


def test_the_verdict_is_short():
    assert printed(terminal.verdict, finding(messages=["a"])) == (
        "ERROR: receiver_stall (likely; 1 message affected)\n"
        "  198.51.100.25 stops reading.\n"
        "  Next test: swaks --server 198.51.100.25\n"
        "  Remedy:    Ask the far postmaster.\n"
        "\n"
    )


def test_what_did_no_harm_needs_no_remedy():
    shown = printed(terminal.verdict, finding(severity="chat", remedies=[], messages=[]))
    assert shown.splitlines()[2] == "  Next test: swaks --server 198.51.100.25"
    assert "Remedy" not in shown + printed(terminal.page, finding(severity="chat", remedies=[]))


def test_of_many_healthy_servers_some_are_named():
    healthy = [f"203.0.113.{n}" for n in range(25)]
    assert printed(terminal.page, finding(), healthy=healthy).endswith("203.0.113.19 and 5 more\n")


def test_sentences_are_wrapped_and_commands_are_not():
    command = "swaks --server 198.51.100.25 --body @" + "x" * 100
    sentence = "word " * 30
    lines = printed(terminal.page, finding(next_test=command, sentence=sentence), width=40).splitlines()
    assert f"  Test:      {command}" in lines
    assert max(len(line) for line in lines if "word" in line) <= 40
    assert not any(line.endswith(" ") for line in lines)


@pytest.mark.parametrize("show", [terminal.verdict, terminal.page])
def test_text_of_others_is_text(show):
    fields = ("sentence", "next_test", "display_filter")
    shown = printed(show, finding(**dict.fromkeys(fields, HOSTILE), remedies=[HOSTILE]), width=200)
    assert r"[red]x[/red] \x1b[31m \u202e $(reboot)\n" in shown
    assert "\x1b" not in shown
    assert "\u202e" not in shown


@pytest.mark.parametrize(
    ("healthy", "said"), [(["203.0.113.25"], "Nothing failed"), ([], "nothing to judge")]
)
def test_without_findings_it_says_so(healthy, said):
    assert said in printed(terminal.page, healthy=healthy)
