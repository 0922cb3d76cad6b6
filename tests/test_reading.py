"""Batches, shares and limits change where rows are held, never what they say."""

import os
import signal
import subprocess
import sys
import threading

import pandas as pd
import pytest
from conftest import ROOT, needs
from pandas.testing import assert_frame_equal

import smtpkit
from smtpkit import cores, listener, logs, reading, stored
from smtpkit.cli import main
from smtpkit.incident import TABLE_NAMES, load
from smtpkit.spool import Spool
from smtpkit.tables import KEY, among
from smtpkit.traffic import Room
from smtpkit.workers import Here

SAMPLES = ROOT / "data" / "samples"
WITH_ICMP, TWO_ENDS, LOG = "export-files-stuck", "drop-by-drop", "only-the-log"
ORDER = {"attempts": ["end", "file", "line"], "packets": ["capture", "file", "frame"]}


def frames(incident, names=TABLE_NAMES):
    return {name: plain(getattr(incident, name), name) for name in names}


def plain(frame, name):
    """Rows in an order of their own; which texts a category knows is no matter."""
    frame = frame.astype(dict.fromkeys(frame.select_dtypes("category"), "string"))
    return frame.sort_values(ORDER[name], ignore_index=True) if name in ORDER else frame


def same(found, expected, without=()):
    found, expected = frames(found), frames(expected)
    for name in sorted({*TABLE_NAMES} - {*without}):
        assert_frame_equal(found[name], expected[name], obj=name)


@pytest.fixture
def in_batches(monkeypatch):
    monkeypatch.setattr(reading, "BATCH", 100)


@pytest.fixture
def on_three_cores(monkeypatch):
    monkeypatch.setattr(reading, "WORTH_WORKERS", 0)
    monkeypatch.setattr(reading, "cores", lambda: 3)


@pytest.fixture
def of_a_large_log(monkeypatch):
    monkeypatch.setattr(logs, "LARGE", 0)
    monkeypatch.setattr(logs, "PARTITIONS", 3)
    monkeypatch.setattr(logs, "BATCH", 50)


@pytest.fixture(scope="module")
def rotation(tmp_path_factory):
    """The capture of a sample as `tcpdump -C` would have written it, so that connections reach over files."""
    folder = tmp_path_factory.mktemp("rotation")
    capture = next((SAMPLES / WITH_ICMP).glob("*.pcap*"))
    subprocess.run(["editcap", "-F", "pcap", "-c", "80", capture, folder / "c.pcap"], check=True)
    return [*map(str, sorted(folder.glob("c_*")))]


@pytest.mark.parametrize("name", [WITH_ICMP, TWO_ENDS])
def test_batches_of_whole_connections_say_what_all_at_once_say(name, request):
    expected = load(SAMPLES / name)
    request.getfixturevalue("in_batches")
    same(load(SAMPLES / name), expected)


@pytest.fixture
def with_listeners(on_three_cores, monkeypatch):
    monkeypatch.setattr(reading, "may_fork", lambda: True)


@pytest.mark.parametrize("name", [WITH_ICMP, TWO_ENDS])
def test_several_processes_hear_what_one_does(name, request):
    capture = next((SAMPLES / name).glob("*.pcap*"))
    expected = load(capture)
    request.getfixturevalue("in_batches")
    request.getfixturevalue("with_listeners")
    same(load(capture), expected)


def test_a_listener_that_is_ended_is_told(with_listeners, monkeypatch):
    monkeypatch.setattr(listener, "_answer", lambda *_: os.kill(os.getpid(), signal.SIGKILL))
    capture = next((SAMPLES / WITH_ICMP).glob("*.pcap*"))
    found = load(capture)
    assert found.inputs.loc[0, "error"].startswith(f"{capture}: a process that listened was ended")
    assert found.connections.empty


def test_a_fault_of_a_listener_is_raised_here(with_listeners, monkeypatch):
    monkeypatch.setattr(listener, "_answer", lambda *_: 1 // 0)
    with pytest.raises(ZeroDivisionError):
        load(next((SAMPLES / WITH_ICMP).glob("*.pcap*")))


def test_nothing_is_forked_beside_threads(monkeypatch):
    monkeypatch.setattr(threading, "active_count", lambda: 1)
    assert cores.may_fork() == (sys.platform == "linux")
    monkeypatch.setattr(threading, "active_count", lambda: 2)
    assert not cores.may_fork()


@needs("tshark")
def test_a_rotation_read_on_several_cores_is_the_same_as_on_one(rotation, request):
    expected = load(*rotation)
    assert expected.captures["files"].str.count(",").tolist() == [len(rotation) - 1]
    request.getfixturevalue("in_batches")
    request.getfixturevalue("on_three_cores")
    same(load(*rotation), expected)


@needs("tshark")
def test_connections_reach_over_the_shares_of_the_cores(rotation, on_three_cores):
    sources = list(reading._sources([rotation]))
    assert len(sources) == 3
    assert all(len(source.shared) for source in sources)


@pytest.mark.parametrize("forked", [True, False])
def test_both_ends_on_two_cores(forked, on_three_cores, monkeypatch):
    monkeypatch.setattr(reading, "may_fork", lambda: forked)
    found = load(SAMPLES / TWO_ENDS)
    monkeypatch.undo()
    same(found, load(SAMPLES / TWO_ENDS))


def ended(source, **_):
    os.kill(os.getpid(), signal.SIGKILL)


def test_a_process_that_is_ended_while_it_reads_is_told(with_listeners, monkeypatch, capsys):
    monkeypatch.setattr(reading, "read_source", ended)
    assert main(["diagnose", str(SAMPLES / TWO_ENDS)]) == 1
    told = capsys.readouterr().err
    assert "a process that read it was ended, perhaps for want of memory; cannot go on" in told


def test_beyond_a_limit_packets_stay_where_something_went_wrong(in_batches, monkeypatch):
    expected = load(SAMPLES / WITH_ICMP)
    monkeypatch.setattr(reading, "MOST", Room(250, 100_000))
    found = load(SAMPLES / WITH_ICMP)
    same(found, expected, without=["packets", "dialogue", "skipped"])
    left_out = found.skipped[found.skipped["reason"].str.contains("want of room")]
    assert left_out["count"].sum() == len(expected.packets) - len(found.packets) > 0
    stuck = found.connections[among(found.connections, found.stalls)]
    assert among(stuck, found.packets[KEY].dropna()).all()
    columns = ["cause", "peer", "messages", "parameters", "confidence"]
    assert_frame_equal(smtpkit.diagnose(found)[columns], smtpkit.diagnose(expected)[columns])


def test_beyond_a_limit_connections_stay_on_which_something_went_wrong(in_batches, monkeypatch):
    expected = load(SAMPLES / WITH_ICMP)
    monkeypatch.setattr(reading, "MOST", Room(0, 8))
    found = load(SAMPLES / WITH_ICMP)
    left_out = found.skipped[found.skipped["reason"].str.startswith("connections not kept")]
    assert left_out["count"].sum() == len(expected.connections) - len(found.connections) > 0
    assert among(expected.stalls, found.connections).all()
    assert among(found.sizes, found.connections).all()
    assert found.captures["packets"].tolist() == expected.captures["packets"].tolist()


def test_what_has_no_room_goes_to_the_spool(in_batches, monkeypatch, tmp_path):
    expected = load(SAMPLES / WITH_ICMP)
    monkeypatch.setattr(reading, "MOST", Room(250, 100_000))
    spool = Spool(tmp_path)
    found = load(SAMPLES / WITH_ICMP, workers=Here(spool))
    assert found.skipped["count"].sum() == expected.skipped["count"].sum()
    for name in ("packets", "dialogue"):
        whole = pd.concat([getattr(found, name), *spool.pieces(name)]).sort_values([*KEY, "frame"])
        rows = plain(whole, name).sort_values(["frame", "time"], ignore_index=True)
        assert_frame_equal(
            rows, plain(getattr(expected, name), name).sort_values(["frame", "time"], ignore_index=True)
        )


@pytest.mark.parametrize("filters", [{"peer": "198.51.100.59"}, {"host": "mx-a.example.org"}])
def test_filters_act_while_reading(filters, in_batches, monkeypatch):
    expected = load(SAMPLES / WITH_ICMP, **filters)
    monkeypatch.setattr(reading, "MOST", Room(len(expected.packets), 100_000))
    found = load(SAMPLES / WITH_ICMP, **filters)
    same(found, expected)


def test_a_log_in_parts_says_what_it_says_as_a_whole(request):
    expected = load(SAMPLES / LOG)
    request.getfixturevalue("of_a_large_log")
    found = load(SAMPLES / LOG)
    same(found, expected, without=["log_lines", "skipped"])
    failed = expected.attempts.loc[expected.attempts["outcome"] != "delivered", "message_id"]
    lines = expected.log_lines[expected.log_lines["message_id"].isin(failed)]
    assert_frame_equal(plain(found.log_lines, ""), plain(lines.reset_index(drop=True), ""))
    assert found.skipped["count"].sum() == len(expected.log_lines) - len(lines)


def written(folder, expected):
    """Compare the large tables in a folder with those of an incident."""
    for name in ("packets", "dialogue", "log_lines"):
        rows = pd.read_parquet(folder / f"{name}.parquet")
        keys = [key for key in ("file", "line", "frame", "time") if key in rows]
        rows, whole = (plain(rows, "").sort_values(keys) for rows in (rows, getattr(expected, name)))
        rows, whole = (frame.reset_index(drop=True).astype("string") for frame in (rows, whole))
        assert_frame_equal(rows, whole, obj=name)


def test_of_a_large_input_what_a_filter_wants_is_written(
    in_batches, of_a_large_log, monkeypatch, tmp_path, capsys
):
    monkeypatch.setattr(reading, "MOST", Room(250, 100_000))
    words = ["--peer", "198.51.100.59", "--until", "2030-01-01"]
    assert main(["tables", str(SAMPLES / WITH_ICMP), "-o", str(tmp_path), *words]) == 0
    monkeypatch.undo()
    written(tmp_path, load(SAMPLES / WITH_ICMP, peer="198.51.100.59"))


def test_of_a_large_log_failures_and_what_else_was_sent_there_stay(of_a_large_log, monkeypatch):
    expected = load(SAMPLES / LOG)
    failed = expected.attempts["outcome"] != "delivered"
    tried = expected.attempts["message_id"].isin(expected.attempts.loc[failed, "message_id"])
    monkeypatch.setattr(logs, "MOST", tried.sum() + 2)
    monkeypatch.setattr(logs, "PARTITIONS", 1)
    found = load(SAMPLES / LOG)
    left_out = found.skipped.set_index("reason")["count"].filter(like="attempts not kept")
    assert left_out.sum() == len(expected.attempts) - len(found.attempts) > 0
    assert (found.attempts["outcome"] != "delivered").sum() == failed.sum()
    gone = set(expected.attempts["message_id"]) - set(found.attempts["message_id"])
    assert not found.messages["message_id"].isin(gone).any()


def test_all_rows_of_a_large_input_are_written_and_those_of_faults_read_back(
    in_batches, of_a_large_log, monkeypatch, tmp_path, capsys
):
    monkeypatch.setattr(reading, "MOST", Room(250, 100_000))
    assert main(["tables", str(SAMPLES / WITH_ICMP), "-o", str(tmp_path)]) == 0
    monkeypatch.undo()
    expected = load(SAMPLES / WITH_ICMP)
    written(tmp_path, expected)
    monkeypatch.setattr(stored, "MOST", Room(250, 100_000))
    found = load(tmp_path)
    assert among(found.connections[among(found.connections, found.stalls)], found.packets).all()
    left_out = found.skipped.loc[found.skipped["file"].str.contains("packets"), "count"]
    assert left_out.sum() == len(expected.packets) - len(found.packets) > 0


def test_the_lines_of_a_large_log_go_to_the_spool(of_a_large_log, tmp_path):
    spool = Spool(tmp_path)
    found = load(SAMPLES / LOG, workers=Here(spool))
    lines = pd.concat([found.log_lines, *spool.pieces("log_lines")])
    assert sorted(lines["line"]) == sorted(smtpkit.read_log(SAMPLES / LOG / "mainlog").log_lines["line"])
    assert found.skipped.empty
