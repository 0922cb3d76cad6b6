"""Every sample's findings equal its label, which the tests take away before smtpkit sees the sample."""

import json
import shutil

import pytest
from conftest import ROOT

import smtpkit
from smtpkit import findings

SAMPLES = sorted((ROOT / "data" / "samples").glob("*/truth.json"))


@pytest.fixture(params=SAMPLES, ids=lambda path: path.parent.name)
def labelled(request, tmp_path):
    """Return the truth of a sample, and a copy of the sample without it."""
    folder = tmp_path / "incident"
    shutil.copytree(request.param.parent, folder, ignore=shutil.ignore_patterns("truth.json", "README.md"))
    return json.loads(request.param.read_text()), folder


def test_findings_equal_the_truth(labelled):
    truth, folder = labelled
    incident = smtpkit.load(folder)
    document = findings.document(incident, smtpkit.diagnose(incident))
    faults = [f for f in document["findings"] if f["severity"] in ("error", "warn")]
    assert len(faults) == len(truth["faults"])
    for found, fault in zip(faults, truth["faults"], strict=True):
        for name in ("cause", "peer", "direction"):
            assert found[name] == fault[name]
        assert sorted(found["messages"]) == sorted(fault["affected"])
        assert found["parameters"]["pmtu_low"] <= fault["params"]["pmtu"] < found["parameters"]["pmtu_high"]
    assert truth["peer"] not in document["healthy"]
    assert document["healthy"]
