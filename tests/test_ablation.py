"""Parts of the evidence are taken away: a verdict may weaken, it may not become another one.

The samples' labels say what is true; the tests take them away before smtpkit sees a sample.
"""

import json
import subprocess

import pytest
import rewriting
from conftest import ROOT, needs

import smtpkit

SAMPLES = ROOT / "data" / "samples"
ONE_OF_EACH = (
    *(
        "orders-time-out",
        "one-branch-office",
        "friday-afternoon",
        "first-mail-of-new-people",
        "uploads-crawl",
    ),
    *("hangs-up-on-hello", "every-mail-to-one-site-waits", "one-site-takes-nothing", "long-mails-put-off"),
    *("new-firewall-at-the-partner", "one-in-four-hangs", "branch-mail-comes-late", "mirrored-switch"),
)
CUT_SHORT = (
    *("orders-time-out", "friday-afternoon", "first-mail-of-new-people", "uploads-crawl"),
    *("one-site-takes-nothing", "branch-mail-comes-late"),
)
ENDS_EARLY = ("slow-but-it-goes", "mail-by-ipv6", "monday-morning", "forms-come-back")
CUTS = (
    *(rewriting.without_syn, rewriting.without_icmp, rewriting.headers),
    *(rewriting.from_client, rewriting.from_server),
)


def parts(name):
    """Return the captures and the rest of a sample."""
    files = [p for p in (SAMPLES / name).iterdir() if p.name not in ("truth.json", "README.md")]
    captures = [p for p in files if "pcap" in p.name]
    return captures, [p for p in files if p not in captures]


def assert_no_other(name, *inputs):
    """Assert that no cause but the true ones is named, and none at a healthy peer."""
    faults = json.loads((SAMPLES / name / "truth.json").read_text())["faults"]
    found = smtpkit.diagnose(smtpkit.load(*inputs))
    loud = found[found["severity"].isin(("error", "warn"))]
    assert set(loud["cause"]) <= {fault["cause"] for fault in faults} | {"unexplained"}
    assert set(loud["peer"].dropna()) <= {fault["peer"] for fault in faults}
    return loud


@pytest.mark.parametrize("name", ONE_OF_EACH)
def test_the_log_alone(name):
    logs = [path for path in parts(name)[1] if path.is_file()]
    loud = assert_no_other(name, *logs)
    for one in loud[loud["cause"] == "unexplained"].itertuples():
        assert "it could be " in one.sentence
        assert any(sentence.startswith("Whether it is ") for sentence in one.not_observable)


@pytest.mark.parametrize("name", ONE_OF_EACH)
def test_the_capture_alone(name):
    assert_no_other(name, *parts(name)[0])


@pytest.mark.parametrize("cut", CUTS, ids=lambda cut: cut.__name__)
@pytest.mark.parametrize("name", CUT_SHORT)
def test_packets_left_out(name, cut, tmp_path):
    captures, rest = parts(name)
    for number, path in enumerate(captures):
        rewriting.rewrite(path, tmp_path / f"{'ab'[number]}.pcap", cut)
    assert_no_other(name, *sorted(tmp_path.iterdir()), *rest)


@needs("tshark")
@pytest.mark.parametrize("share", [0.25, 0.5, 0.8])
@pytest.mark.parametrize("name", ENDS_EARLY)
def test_a_capture_that_ends_while_mail_is_under_way(name, share, tmp_path):
    (path,) = parts(name)[0]
    count = len(smtpkit.read_capture(path))
    subprocess.run(["editcap", "-r", path, tmp_path / "cut.pcapng", f"1-{int(share * count)}"], check=True)
    assert_no_other(name, tmp_path / "cut.pcapng")


def test_the_log_alone_of_every_cause_that_stops_data_lists_the_true_one():
    found = smtpkit.diagnose(smtpkit.load(SAMPLES / "orders-time-out" / "mainlog.1.gz")).iloc[0]
    assert found["cause"] == "unexplained"
    assert "pmtu_black_hole" in found["sentence"]
    assert "long_line_close" not in found["sentence"]  # it timed out, nobody hung up


def test_a_421_for_a_timeout_is_no_refusal_where_nothing_tells_what_it_ends():
    found = smtpkit.diagnose(smtpkit.load(SAMPLES / "waits-five-minutes" / "mainlog"))
    assert found["cause"].tolist() == ["unexplained"]
