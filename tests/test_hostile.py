"""An incident whose every name wants to be run, in all outputs: shown as text, nothing is executed."""

import json
import os
import re
import shutil
import subprocess

import matplotlib as mpl
import matplotlib.pyplot as plt
import pandas as pd
import pytest
from conftest import needs
from matplotlib.cbook import is_math_text

import smtpkit
from smtpkit import findings, plot, report, show
from smtpkit.cli import main

# HTML, quotes, math text, rich markup, an escape sequence, a mark that turns the writing, shell, a formula.
NASTY = "<script>alert(1)</script>&\"'$x^2$[/rich]\x1b[31m\u202e`id`$(touch pwned);=1+1"
FILE = NASTY.replace("/", "_")
WORD = re.sub(r"""[][()"'/=; ]""", "_", NASTY)  # what still is a name in a log line
ADDRESS = "198.51.100.25"
# Where an address stands in the log: nothing of it may get into a command.
TRAPS = ["$(touch pwned)", "'`id`'", "fe80::1%$(id)", "\x1b[2Jx"]
NOT_TO_BE_SEEN = ("\x1b", "\u202e")


@pytest.fixture(autouse=True)
def _figures():
    mpl.use("Agg")
    yield
    plt.close("all")


@pytest.fixture(scope="module")
def folder(sample, tmp_path_factory):
    """The sample with hostile names of hosts, subjects, replies, queues, messages and files."""
    folder = tmp_path_factory.mktemp("hostile") / f"_{FILE}"
    folder.mkdir()
    log = (sample / "mainlog").read_text()
    quoted = NASTY.replace('"', "'")
    log = log.replace("H=mx1.example.net ", f"H={WORD} ").replace("H=(crm.example.org)", f"H=({WORD})")
    log = re.sub(r' C="250 OK', f' C="250 {quoted}', log)
    log = re.sub(r"(<= .*)$", rf'\1 T="{quoted}"'.replace("\\x", "x"), log, flags=re.MULTILINE)
    (folder / f"={FILE}.log").write_text(log)
    shutil.copy(sample / "capture.pcap", folder / f"{FILE}.pcap")
    message = next(path for path in (sample / "messages").iterdir() if "1xVDNG-00068A-08" in path.name)
    text = message.read_bytes().replace(b"Subject: ", b"Subject: " + NASTY.encode())
    (folder / f"{message.stem}.eml").write_bytes(text)
    (folder / f"@{FILE}").write_text(f"{NASTY}\n")
    return folder


@pytest.fixture(scope="module")
def incident(folder):
    return smtpkit.load(folder)


@pytest.fixture(scope="module")
def page(folder, tmp_path_factory):
    output = tmp_path_factory.mktemp("page") / "r.html"
    report.render([folder], output)
    return output


def test_the_verdict_is_not_moved_by_names(incident):
    found = smtpkit.diagnose(incident)
    assert found[["cause", "peer"]].to_numpy().tolist() == [["pmtu_black_hole", ADDRESS]]
    assert len(found["messages"].iloc[0]) == 8
    assert WORD in set(incident.attempts["host"])


def test_the_terminal(folder, capsys):
    main(["diagnose", str(folder)])
    out, err = capsys.readouterr()
    assert not [mark for mark in NOT_TO_BE_SEEN if mark in out + err]
    assert "\\x1b[31m\\u202e" in out


def test_json(folder, capsys):
    main(["diagnose", "--json", str(folder)])
    out = capsys.readouterr().out
    assert out.isascii()
    assert NASTY.replace("/", "_") in json.loads(out)["inputs"][0]["path"]


def test_csv_holds_no_formula(folder, tmp_path, capsys):
    main(["tables", "--format", "csv", "-o", str(tmp_path / "t"), str(folder)])
    for path in (tmp_path / "t").glob("*.csv"):
        cells = pd.read_csv(path, dtype="string", keep_default_na=False)
        text = cells.select_dtypes("string").drop(columns=[c for c in cells if numeric(cells[c])])
        assert not [c for c in text if text[c].str.match(r"[=+@\t\r-]").any()], path.name
    assert not [mark for mark in NOT_TO_BE_SEEN if mark in capsys.readouterr().out]


def numeric(column):
    return column[column != ""].str.fullmatch(r"-?[\d.e+-]+").all()


def test_the_page(page):
    text = page.read_text()
    assert "<script" not in text.lower()
    assert not [mark for mark in NOT_TO_BE_SEEN if mark in text]
    assert "&lt;script&gt;alert(1)" in text
    assert "\\x1b[31m\\u202e" in text


@needs("chromium")
def test_the_page_in_a_browser_that_runs_scripts(page):
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        options = {"executable_path": shutil.which("chromium"), "args": ["--no-sandbox"]}
        browser = playwright.chromium.launch(**options)
        tab, said = browser.new_page(), []
        tab.on("dialog", lambda dialog: said.append(dialog.message) or dialog.dismiss())
        tab.goto(page.as_uri())
        assert tab.locator("script").count() == 0
        assert "<script>alert(1)" in tab.inner_text("body")
        assert said == []
        browser.close()


def test_figures_take_no_math(incident):
    hostile = incident.attempts.assign(peer=NASTY)
    ax = plot.attempts_by_size(hostile)
    texts = [text.get_text() for text in ax.figure.findobj(plt.Text)]
    assert any("script" in text for text in texts)
    assert not [text for text in texts if is_math_text(text)]
    assert not [mark for mark in NOT_TO_BE_SEEN if any(mark in text for text in texts)]


def test_plain_text_of_cells_in_a_notebook(incident):
    document = findings.document(incident, smtpkit.diagnose(incident))
    for shown in (
        show.attempts(incident),
        show.skipped(incident),
        show.evidence(document),
        show.about(document),
    ):
        assert not [mark for mark in NOT_TO_BE_SEEN if mark in repr(shown)]


@pytest.mark.parametrize("trap", TRAPS)
def test_commands_take_nothing_from_a_log_that_is_no_address(sample, tmp_path, capsys, trap):
    log = (sample / "mainlog").read_text().replace(f"[{ADDRESS}]", f"[{trap}]")
    (tmp_path / "mainlog").write_text(log)
    main(["diagnose", "--json", "--timezone", "UTC", str(tmp_path / "mainlog")])
    found = json.loads(capsys.readouterr().out)["findings"]
    for finding in found:
        for command in (finding["next_test"], finding["display_filter"], *finding["remedies"]):
            assert trap not in command
    main(["diagnose", "--timezone", "UTC", str(tmp_path / "mainlog")])
    assert "\x1b" not in capsys.readouterr().out


def test_commands_are_read_by_a_shell_as_they_stand(folder, capsys, tmp_path):
    main(["diagnose", "--json", str(folder)])
    (finding,) = json.loads(capsys.readouterr().out)["findings"]
    nothing = {"PATH": str(tmp_path), "HOME": str(tmp_path)}
    command = ["/bin/sh", "-n", "-c", finding["next_test"]]
    assert subprocess.run(command, env=nothing, cwd=tmp_path, check=False).returncode == 0
    assert "pwned" not in finding["next_test"] + finding["display_filter"]
    assert os.listdir(tmp_path) == []


def test_redacted_outputs_have_none_of_it(folder, tmp_path, capsys):
    (tmp_path / "key").write_text("00" * 32)
    main(["diagnose", "--json", "--redact", "--key", str(tmp_path / "key"), str(folder)])
    out = capsys.readouterr().out
    assert "alert" not in out
    assert "pwned" not in out
