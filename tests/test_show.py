"""What the cells of a notebook show: all of it escaped, nothing private in it."""

import base64
import re
from dataclasses import replace

import matplotlib as mpl
import matplotlib.pyplot as plt
import pandas as pd
import pytest

import smtpkit
from smtpkit import findings, plot, show, tables
from smtpkit.excerpt import excerpt

NASTY = "<script>alert(1)</script>&\"'$x^2$[/rich]\x1b[31m\u202eetirw =1+1 _a"
ESCAPED = "&lt;script&gt;alert(1)&lt;/script&gt;&amp;&#34;&#39;$x^2$[/rich]\\x1b[31m\\u202eetirw =1+1 _a"


def finding(**values):
    said = {"sentence": "Seen.", "source": "a.pcap frame 12"}
    return {
        **{
            "peer": "203.0.113.25",
            "clients": ["192.0.2.10"],
            "cause": "pmtu_black_hole",
            "direction": "forward",
        },
        **{
            "severity": "error",
            "confidence": "certain",
            "sentence": "Large packets vanish.",
            "parameters": {},
        },
        **{"messages": ["1aBcDe-000001-AA"], "connections": [], "display_filter": "tcp.stream == 0"},
        **{"evidence": [said], "against": [], "not_observable": [], "ruled_out": [], "next_test": "ping"},
        **{"remedies": ["Let ICMP through."]},
    } | values


def document(*found, healthy=()):
    return {"schema": 1, "inputs": [], "findings": list(found), "healthy": list(healthy)}


@pytest.fixture(scope="module")
def incident(sample):
    return smtpkit.load(sample)


def display_filters(found):
    """The part without files from which its packets could be read."""
    return show.display_filters(found, smtpkit.load())


PARTS = (
    show.verdict,
    show.remedies,
    show.evidence,
    show.ruled_out,
    show.not_observable,
    display_filters,
)


def test_the_verdict_carries_the_document():
    found = document(finding())
    bundle = show.verdict(found)._repr_mimebundle_()
    assert bundle["application/vnd.smtpkit.findings+json"] is found
    assert set(show.remedies(found)._repr_mimebundle_()) == {"text/html", "text/plain"}


def test_the_verdict_has_two_sentences_and_the_messages():
    text = repr(show.verdict(document(finding(), healthy=["198.51.100.7"])))
    assert "Error\n· certain · pmtu black hole" in text
    assert "Large packets vanish.\nIt stopped or delayed 1 message." in text
    assert "1aBcDe-000001-AA" in text
    assert "No fault was found at 198.51.100.7.\nIt serves as a comparison." in text


def test_a_healthy_incident_has_a_verdict():
    assert "There is nothing to repair." in repr(show.verdict(document(healthy=["198.51.100.7"])))
    assert "There is nothing to judge" in repr(show.verdict(document()))


@pytest.mark.parametrize("part", PARTS[1:-1])
def test_without_findings_every_part_is_one_sentence(part):
    assert re.fullmatch(r"Nothing \w+.*\.", repr(part(document(healthy=["198.51.100.7"]))))


def test_several_findings_are_told_apart_in_every_part():
    two = document(finding(), finding(peer="198.51.100.7", cause="unexplained"))
    for part in PARTS[1:]:
        assert "<h3>2. unexplained at 198.51.100.7</h3>" in part(two).html


def test_of_very_many_findings_the_last_ones_have_a_row_each(monkeypatch):
    monkeypatch.setattr(show, "MOST_FINDINGS", 1)
    others = [finding(peer="203.0.113.26", sentence="Told elsewhere."), finding(peer=None, sentence="More.")]
    verdict = repr(show.verdict(document(finding(), *others)))
    assert "Large packets vanish." in verdict
    assert "More." in verdict
    assert "Told elsewhere." not in verdict
    assert "error pmtu black hole certain 203.0.113.26 1" in verdict
    assert "203.0.113.26" not in repr(show.evidence(document(finding(), *others)))
    assert "The other findings" not in repr(show.verdict(document(finding())))


def test_evidence_has_both_sides_with_sources():
    against = [{"sentence": "But this.", "source": "mainlog line 3"}]
    lines = repr(show.evidence(document(finding(against=against)))).splitlines()
    assert "for it Seen. a.pcap frame 12" in lines
    assert "against it But this. mainlog line 3" in lines


def test_a_command_of_several_lines_keeps_them():
    html = show.remedies(document(finding(next_test="ping -s 1472 192.0.2.1\ntracepath '<x>'"))).html
    assert "<code>ping -s 1472 192.0.2.1\ntracepath &#39;&lt;x&gt;&#39;</code>" in html


def test_text_of_others_is_shown_as_text():
    said = {"sentence": NASTY, "source": NASTY}
    hostile = finding(
        **{
            "peer": NASTY,
            "sentence": NASTY,
            "messages": [NASTY],
            "next_test": NASTY,
            "display_filter": NASTY,
        },
        **{"evidence": [said], "against": [said], "not_observable": [NASTY], "remedies": [NASTY]},
        **{"ruled_out": [{"cause": NASTY, "sentence": NASTY}], "cause": NASTY, "confidence": NASTY},
    )
    for part in PARTS:
        shown = part(document(hostile, hostile, healthy=[NASTY]))
        assert shown.html.count(ESCAPED) >= 2
        assert "<script" not in shown.html
        assert "\x1b" not in shown.html + repr(shown)
        assert "\u202e" not in shown.html + repr(shown)


def test_a_table_shows_text_of_others_as_text():
    shown = show.table(pd.DataFrame({NASTY: [NASTY]}), caption=NASTY)
    assert shown.html.count(ESCAPED) == 5  # caption twice, head, label for phones, cell
    assert "<script" not in shown.html


def test_a_table_tells_how_much_it_leaves_out():
    shown = show.table(pd.DataFrame({"n": range(5)}), caption="Five", most_rows=3)
    assert shown.html.count("<tr>") == 4
    assert "2 more rows are left out here" in repr(shown)


def test_a_table_has_caption_and_scopes():
    html = show.table(pd.DataFrame({"a": [1], "b": [pd.NA]}), caption="Two").html
    assert "<caption>Two</caption>" in html
    assert html.count('<th scope="col"') == 2
    assert ">–</td>" in html


def test_a_figure_is_an_image_with_words():
    mpl.use("Agg")
    ax = plt.subplots()[1]
    ax.plot([1, 2])
    ax.set_label('A "line" <up>')
    shown = show.figure(ax)
    assert 'alt="A &#34;line&#34; &lt;up&gt;"' in shown.html
    assert 'src="data:image/png;base64,iVBOR' in shown.html
    assert repr(shown) == 'A "line" <up>'
    assert plt.get_fignums() == []


def test_an_empty_figure_is_a_sentence():
    mpl.use("Agg")
    shown = show.figure(plot.attempts_by_size(tables.empty("attempts")))
    assert (
        shown.html == "<p>No log tells the sizes of messages that were tried: there is nothing to draw.</p>"
    )
    assert plt.get_fignums() == []


def test_attempts_have_times_ends_sizes_and_no_text_of_replies(incident):
    shown = show.attempts(incident)
    # mainlog lines 3, 85 and 86 and packet 10 of the capture, read by eye and by tshark
    (row,) = [line for line in repr(shown).splitlines() if "1xVDNG-00068A-08" in line]
    assert row == (
        "2026-11-22 19:37:43 25.0 1xVDNG-00068A-08 192.0.2.10:58482 198.51.100.25:25 "
        "deferred end of data timeout 16753 17003 101 tcp.stream==0 ports mainlog 85"
    )


def test_attempts_have_the_time_of_a_log_in_another_zone(incident):
    shown = show.attempts(replace(incident, timezone="+0130"))
    (row,) = [line for line in repr(shown).splitlines() if "1xVDNG-00068A-08" in line]
    assert row.startswith("2026-11-22 19:37:43 2026-11-22 21:07:43 +0130 25.0 1xVDNG-00068A-08")


def test_no_private_column_is_shown(incident):
    secret = "secret@example.org"
    private = {
        name: table.assign(
            **{
                column.name: secret
                for column in tables.TABLES[name]
                if column.privacy in ("mailbox", "text") and column.name in table
            }
        )
        for name in ("attempts", "log_lines", "messages", "transactions")
        for table in [getattr(incident, name)]
    }
    loaded = replace(incident, **private)
    found = document(finding())
    shown = [show.attempts(loaded), show.skipped(loaded), show.scope(loaded), show.about(found)]
    assert not [part for part in shown if secret in part.html]


def test_failures_come_first_where_not_all_fit(incident, monkeypatch):
    monkeypatch.setattr(show, "MOST_ROWS", 3)
    outcomes = re.findall(r"delivered|deferred|failed", repr(show.attempts(incident)))
    assert outcomes[:3] == ["deferred"] * 3


def test_ends_that_the_log_does_not_name_are_this_host(incident):
    unknown = tables.from_rows([{"message_id": "1aBcDe-000001-AA", "file": "mainlog"}], "attempts")
    shown = repr(
        show.attempts(replace(incident, attempts=unknown, connections=incident.connections.iloc[:0]))
    )
    assert "1aBcDe-000001-AA this host this host –" in shown


def test_skipped_and_inputs_are_listed(incident):
    nothing = replace(incident, skipped=tables.empty("skipped"), inputs=tables.empty("inputs"))
    assert repr(show.skipped(nothing)).startswith("Nothing was skipped")
    empty = tables.from_rows([{"path": "b.log", "named": True, "error": "b.log is empty"}], "inputs")
    assert "b.log b.log is empty 1 –" in repr(show.skipped(replace(nothing, inputs=empty)))
    rows = [{"file": "a.pcap", "reason": "cut", "count": 2, "where": "frame 9"}]
    lost = replace(incident, skipped=tables.from_rows(rows, "skipped"))
    assert "a.pcap cut 2 frame 9" in repr(show.skipped(lost))
    about = document() | {"inputs": [{"path": "a.pcap", "kind": "capture", "sha256": "00ff", "rows": 7}]}
    assert "a.pcap capture 7 00ff" in repr(show.about(about))
    assert f"pandas {pd.__version__}" in repr(show.about(about))


def test_without_hashes_the_inputs_are_still_listed():
    about = document() | {"inputs": [{"path": "a.pcap", "kind": "capture", "rows": 7}]}
    assert "a.pcap capture 7 –" in repr(show.about(about))


def test_the_example_is_the_first_stalled_connection_of_a_finding(incident):
    found = findings.document(incident, smtpkit.diagnose(incident))
    example = show.example(incident, found)
    first = found["findings"][0]["connections"][0]
    assert set(example.packets["stream"]) == {first["stream"]} == set(example.stalls["stream"])
    assert set(example.path_mtu["server"]) == {"198.51.100.25"}
    assert len(example.path_mtu) == 1
    # each connection to that server, and the client's direction alone
    assert set(example.sizes["direction"]) == {"forward"}
    ends = incident.connections.set_index("stream")["server"]
    assert set(ends[example.sizes["stream"]]) == {"198.51.100.25"}


def test_without_a_finding_the_example_is_a_path_that_works(incident):
    example = show.example(incident, document(healthy=["203.0.113.25"]))
    assert example.stalls.empty
    assert not example.sizes.empty


def test_without_a_capture_the_example_is_empty(incident):
    bare = {name: tables.empty(name) for name in ("connections", "stalls", "sizes", "path_mtu")}
    example = show.example(replace(incident, packets=incident.packets.iloc[:0], **bare), document(finding()))
    assert example.packets.empty
    assert example.sizes.empty


@pytest.mark.parametrize(
    ("parameters", "threshold"),
    [
        ({"size_low": 10, "size_high": 20, "size_measure": "S"}, (10, 20)),
        ({"size_low": 10, "size_high": 20, "size_measure": "data"}, None),
        ({"size_low": 10, "size_high": None, "size_measure": "S"}, None),
        ({}, None),
    ],
)
def test_the_threshold_is_of_the_size_that_the_log_tells(incident, parameters, threshold):
    assert show.example(incident, document(finding(parameters=parameters))).threshold == threshold


def test_a_figure_has_its_numbers_under_it():
    mpl.use("Agg")
    ax = plt.subplots()[1]
    ax.plot([1, 2])
    ax.set_label("Drawn.")
    shown = show.figure(ax, pd.DataFrame({"Lost": [7], "Sure": [True]}))
    assert repr(shown).splitlines() == ["Drawn.", "In numbers", "Lost Sure", "7 yes"]


def test_an_empty_table_is_a_sentence():
    assert repr(show.table(tables.empty("stalls"), caption="Stalls")) == "Stalls: there are none."


def test_columns_are_told_with_their_units():
    lines = repr(show.columns("stalls")).splitlines()
    assert lines[:2] == ["The table stalls", "Name Meaning Unit Source"]
    assert "duration end - start s" in lines


def test_the_longest_stall_needs_no_finding(incident):
    example = show.longest_stall(incident)
    assert example.stalls["duration"].max() == incident.stalls["duration"].max()
    assert set(example.dialogue["stream"]) == set(example.packets["stream"]) == set(example.stalls["stream"])
    none = show.longest_stall(replace(incident, stalls=tables.empty("stalls")))
    assert none.packets.empty
    assert none.sizes.empty


def test_the_dying_segment_was_captured_and_stalled_longest(incident):
    made = tables.from_rows(
        [
            {"duration": 9.0, "missing": True, "frame": 1},
            {"duration": 5.0, "missing": False, "frame": 2},
            {"duration": 7.0, "missing": False, "frame": 3},
        ],
        "stalls",
    )
    assert show.longest_stall(incident)._replace(stalls=made).dying["frame"].tolist() == [3]


def test_the_bytes_of_a_finding_are_suspects(incident):
    found = document(finding(parameters={"pattern_hex": "00ff"}), finding(parameters={"pattern_hex": None}))
    assert show.example(incident, found).suspects == [b"\x00\xff"]


def test_the_packets_of_a_finding_are_in_the_page(incident):
    found = {"findings": smtpkit.diagnose(incident).to_dict("records")}
    shown = show.display_filters(found, incident).html
    (packets,) = re.findall(
        r'download="finding-1.pcapng" href="data:application/octet-stream;base64,(.*?)"', shown
    )
    assert base64.b64decode(packets) == excerpt(incident, found["findings"][0])


def test_packets_whose_capture_is_gone_are_left_out(incident):
    gone = replace(incident, packets=incident.packets.assign(file="gone.pcap"))
    found = {"findings": smtpkit.diagnose(incident).to_dict("records")}
    assert "download=" not in show.display_filters(found, gone).html
