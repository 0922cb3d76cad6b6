"""Which messages are compared byte by byte, and where they are read."""

import shutil

import pytest
from conftest import ROOT

import smtpkit
from smtpkit import octets, tables
from smtpkit.cli import main

SAMPLES = ROOT / "data" / "samples"


def test_files_are_read_where_all_that_failed_have_one(tmp_path):
    for name in ("bad", "good"):
        (tmp_path / name).write_bytes(b"Subject: x\n\n" + name.encode() + b"\n")
    attempts = tables.from_rows(
        [
            {"message_id": "bad", "peer": "192.0.2.1", "outcome": "deferred"},
            {"message_id": "good", "peer": "192.0.2.1", "outcome": "delivered"},
            {"message_id": "elsewhere", "peer": "192.0.2.2", "outcome": "delivered"},
        ],
        "attempts",
    )
    files = tables.from_rows(
        [
            {"message_id": name, "file": str(tmp_path / name), "size": (tmp_path / name).stat().st_size}
            for name in ("bad", "good")
        ],
        "content",
    )
    found = octets.from_files(attempts, files)
    assert found == {"bad": b"Subject: x\r\n\r\nbad\r\n", "good": b"Subject: x\r\n\r\ngood\r\n"}
    assert octets.from_files(attempts, files[files["message_id"] == "good"]) == {}


@pytest.mark.parametrize(
    ("sample", "trigger"),
    [
        ("contracts-hang", b"STRICTLY CONFIDENTIAL"),  # as its README says
        ("drawings-wait", b"A" * 24),
    ],
)
def test_without_message_files_the_pattern_is_found_in_the_capture(sample, trigger):
    folder = SAMPLES / sample
    incident = smtpkit.load(*folder.glob("capture*"), *folder.glob("*mainlog*"))
    (finding,) = smtpkit.diagnose(incident).to_dict("records")
    assert finding["cause"] == "content_pattern_drop"
    assert bytes.fromhex(finding["parameters"]["pattern_hex"]) in trigger
    failed = incident.attempts.loc[incident.attempts["outcome"] == "deferred", "message_id"]
    for name in failed:
        assert trigger in incident.octets[name]


def test_tables_read_the_messages_again_while_their_files_are_there(tmp_path):
    sample = shutil.copytree(SAMPLES / "contracts-hang", tmp_path / "incident")
    assert main(["tables", str(sample), "-o", str(tmp_path / "tables")]) == 0
    whole = smtpkit.load(sample)
    assert smtpkit.load(tmp_path / "tables").octets == whole.octets
    shutil.rmtree(sample)
    assert smtpkit.load(tmp_path / "tables").octets == {}
