"""The notebooks: clean in the repository, and they run, on less than everything too."""

import ast
import json
import shutil

import nbformat
import pytest
from conftest import ROOT

from smtpkit import report
from smtpkit.show import DOCUMENT

SAMPLES = ROOT / "data" / "samples"
NOTEBOOKS = sorted((ROOT / "notebooks").glob("*.ipynb"))


@pytest.fixture(params=NOTEBOOKS, ids=lambda path: path.stem)
def notebook(request):
    return nbformat.read(request.param, as_version=4)


def code(notebook):
    return [cell for cell in notebook.cells if cell.cell_type == "code"]


def tags(cell):
    return cell.metadata.get("tags", [])


def test_a_notebook_is_kept_without_outputs(notebook):
    nbformat.validate(notebook)
    assert not [cell for cell in code(notebook) if cell.outputs or cell.execution_count]


def test_a_notebook_begins_with_what_it_answers_needs_and_takes(notebook):
    first = notebook.cells[0].source
    assert first.startswith("# ")
    assert all(f"**{word}" in first for word in ("Answers", "Needs", "Takes"))


def test_one_cell_holds_the_parameters(notebook):
    (parameters,) = [cell for cell in notebook.cells if "parameters" in tags(cell)]
    names = [target.id for line in ast.parse(parameters.source).body for target in line.targets]
    if names[0] == "before":
        names = ["inputs", *names[2:], "message", "since", "until"]
    assert names[:7] == ["inputs", "timezone", "peer", "host", "message", "since", "until"]
    assert set(names[7:]) <= {"show_payload"}


def test_cells_are_short_and_define_nothing(notebook):
    for cell in code(notebook):
        assert len(cell.source.splitlines()) <= 5 or "parameters" in tags(cell)
        assert not [
            node
            for node in ast.walk(ast.parse(cell.source))
            if isinstance(node, ast.FunctionDef | ast.ClassDef | ast.Lambda)
        ]


def run(name, **parameters):
    """Run a notebook; return its text and the document in it, if any."""
    notebook = report.run(report.find(name), **parameters)
    outputs = [output for cell in code(notebook) for output in cell.outputs]
    assert [output.evalue for output in outputs if output.output_type == "error"] == []
    assert [output.text for output in outputs if output.output_type == "stream"] == []
    data = [output.data for output in outputs]
    document = next((each[DOCUMENT] for each in data if DOCUMENT in each), None)
    return "\n".join(each["text/plain"] for each in data), document


def executed(inputs, **parameters):
    """Run the incident notebook; return its text and its document."""
    return run("1-incident", inputs=inputs, **parameters)


@pytest.fixture
def truth(sample):
    return json.loads((sample / "truth.json").read_text())


def test_it_runs_on_the_sample_as_it_is(truth, monkeypatch):
    monkeypatch.chdir(ROOT / "notebooks")
    path = report.find("1-incident")
    notebook = report.run(path)
    (found,) = [o.data[DOCUMENT] for c in code(notebook) for o in c.outputs if DOCUMENT in o.get("data", {})]
    assert [(f["cause"], f["peer"]) for f in found["findings"]] == [(truth["cause"], truth["peer"])]


def test_it_runs_on_a_log_alone(sample, truth, tmp_path):
    log = shutil.copy(sample / "mainlog", tmp_path)
    text, found = executed([str(log)], timezone="UTC")
    assert {f["peer"] for f in found["findings"]} == {truth["peer"]}
    assert "No capture shows a connection that stalled" in text
    assert "No capture shows what became of data packets" in text
    assert "Delivery attempts by message size." in text


def test_it_runs_on_a_capture_alone(sample, truth, tmp_path):
    capture = shutil.copy(sample / "capture.pcap", tmp_path)
    text, found = executed([str(capture)])
    assert {f["peer"] for f in found["findings"]} == {truth["peer"]}
    assert "No log of delivery attempts was among the inputs." in text
    assert "Time-sequence diagram of" in text


def test_it_runs_on_the_healthy_server_alone(sample, tmp_path):
    text, found = executed([str(sample)], peer="203.0.113.25")
    assert [f for f in found["findings"] if f["severity"] in ("error", "warn")] == []
    assert "There is nothing to repair." in text


def test_it_runs_on_nothing(tmp_path):
    text, found = executed([str(tmp_path / "missing"), str(tmp_path)])
    assert found["findings"] == []
    assert "There is nothing to judge" in text


OTHERS = ["2-retransmission-stalls", "3-packet-sizes-and-mtu", "4-failures-by-size-and-content"]


@pytest.mark.parametrize("name", OTHERS)
def test_each_runs_on_a_content_drop(name):
    # 7 of 21 connections stall, and these hold what 7 attempts of the log failed on (the sample's README)
    text, _ = run(name, inputs=[str(SAMPLES / "contracts-hang")])
    seen = {
        "2-retransmission-stalls": "Stalls of 7 of 21 connections: 0 went on, 7 never did",
        "3-packet-sizes-and-mtu": "delivered up to 1500 bytes, lost from 93 to 1500 bytes.",
        "4-failures-by-size-and-content": "the bytes of the verdict (limit 1): 7 of 7 failed",
    }
    assert seen[name] in text
    assert "No payload is shown" in text or not name.startswith("4")


@pytest.mark.parametrize("name", OTHERS)
def test_each_runs_on_healthy_servers(name):
    text, _ = run(name, inputs=[str(SAMPLES / "radio-link")])
    seen = {
        "2-retransmission-stalls": "None of 16 connections stalled",
        "3-packet-sizes-and-mtu": "No capture shows a connection that stalled",
        "4-failures-by-size-and-content": "No feature is known of messages of which some failed",
    }
    assert seen[name] in text


@pytest.mark.parametrize("name", OTHERS)
def test_each_runs_on_nothing(name, tmp_path):
    text, _ = run(name, inputs=[str(tmp_path / "missing")])
    assert "Neither packets nor log lines were read." in text


def test_payload_is_drawn_where_it_is_asked_for():
    text, _ = run("1-incident", inputs=[str(SAMPLES / "contracts-hang")], show_payload=True)
    assert "suspected ones are marked, the first at" in text


def test_before_and_after_runs_on_the_samples_as_it_is(monkeypatch):
    monkeypatch.chdir(ROOT / "notebooks")
    text, _ = run("5-before-and-after")
    assert "gone" in text
    assert "8 of 8 messages with a size of 1398 or more failed before, 0 of 8 after" in text
    assert "No packet above 1400 bytes was sent" in text


def test_before_and_after_of_two_logs(sample, tmp_path):
    logs = [str(shutil.copy(sample / "mainlog", tmp_path / name)) for name in ("one", "two")]
    text, _ = run("5-before-and-after", before=logs[:1], after=logs[1:], timezone="UTC")
    assert "remains" in text
    assert "It is still there" in text
