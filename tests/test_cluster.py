"""A real scheduler and two real workers on the loopback: the same rows as on one machine."""

import json
import os
import shutil
import signal
import subprocess
import sys

import pytest
from conftest import ROOT, needs
from pandas.testing import assert_frame_equal

from smtpkit.cli import main
from smtpkit.cluster import Cluster
from smtpkit.incident import TABLE_NAMES, load

SAMPLES = ROOT / "data" / "samples"
ROTATED, TWO_ENDS = SAMPLES / "export-files-stuck", SAMPLES / "drop-by-drop"
KEYS = [
    "capture",
    "stream",
    "transaction",
    "file",
    "line",
    "frame",
    "message_id",
    "time",
    "relative_seq",
    "end",
]


def started(*words):
    """Start a program of Dask's; return it when its line tells that it serves."""
    process = subprocess.Popen(
        [sys.executable, "-m", *words], stderr=subprocess.PIPE, stdout=subprocess.DEVNULL, text=True
    )
    lines = iter(process.stderr.readline, "")
    return process, next(line for line in lines if "at: " in line or "to: " in line)


@pytest.fixture(scope="module")
def scheduler(tmp_path_factory):
    process, line = started(
        "distributed.cli.dask_scheduler", "--host", "127.0.0.1", "--port", "0", "--no-dashboard"
    )
    yield line.split()[-1]
    process.kill()
    process.communicate()


@pytest.fixture
def workers(scheduler, tmp_path):
    words = ["distributed.cli.dask_worker", scheduler, "--nthreads", "1", "--no-nanny", "--no-dashboard"]
    found = [
        started(*words, "--name", name, "--local-directory", str(tmp_path))[0] for name in ("one", "other")
    ]
    yield found
    for process in found:
        process.kill()
        process.communicate()


@pytest.fixture
def cluster(scheduler, workers, monkeypatch):
    for name in ("TOGETHER", "PARTITION"):
        monkeypatch.setattr(f"smtpkit.cluster.{name}", 1)  # as many partitions as files
    found = Cluster(scheduler)
    found._client.wait_for_workers(2)
    yield found
    found.close()


@pytest.fixture(scope="module")
def incident(tmp_path_factory):
    """A capture in several files and a log in two, so that connections and messages reach over them."""
    folder = tmp_path_factory.mktemp("incident")
    capture = next(ROTATED.glob("*.pcap*"))
    subprocess.run(["editcap", "-F", "pcap", "-c", "80", capture, folder / "c.pcap"], check=True)
    lines = (ROTATED / "mainlog").read_text().splitlines(keepends=True)
    (folder / "mainlog.1").write_text("".join(lines[: len(lines) // 2]))
    (folder / "mainlog").write_text("".join(lines[len(lines) // 2 :]))
    return folder


def plain(frame):
    frame = frame.astype(dict.fromkeys(frame.select_dtypes("category"), "string"))
    return frame.sort_values([key for key in KEYS if key in frame], kind="stable", ignore_index=True)


def same(cluster, found, expected):
    large = cluster.tables()
    for name in TABLE_NAMES:
        frame = large[name].compute() if name in large else getattr(found, name)
        assert_frame_equal(
            plain(frame)[list(getattr(expected, name))], plain(getattr(expected, name)), obj=name
        )


@needs("tshark")
def test_a_rotation_of_captures_and_of_logs_has_the_same_rows(cluster, incident):
    same(cluster, load(incident, workers=cluster), load(incident))


def test_the_captures_of_two_ends_stay_apart(cluster):
    same(cluster, load(TWO_ENDS, workers=cluster), load(TWO_ENDS))


@needs("tshark")
def test_a_worker_that_ends_in_the_middle_loses_nothing(cluster, workers, incident, monkeypatch):
    killed, kept = [], cluster._kept

    def kill_whoever_has_the_first_result(piece):
        if not killed:
            piece.result()
            (holder,) = cluster._client.who_has(piece)[piece.key]
            name = cluster._client.scheduler_info()["workers"][holder]["name"]
            killed.append(workers[("one", "other").index(name)])
            os.kill(killed[0].pid, signal.SIGKILL)
            killed[0].wait()
        return kept(piece)

    monkeypatch.setattr(cluster, "_kept", kill_whoever_has_the_first_result)
    found = load(incident, workers=cluster)
    assert killed
    same(cluster, found, load(incident))


@needs("tshark")
def test_a_damaged_file_among_many_is_reported_and_stops_nothing(cluster, incident, tmp_path):
    expected = load(incident)
    folder = tmp_path / "many"
    shutil.copytree(incident, folder)
    (folder / "damaged.pcap").write_bytes(b"\xd4\xc3\xb2\xa1 cut")
    found = load(folder, workers=cluster)
    errors = found.inputs.set_index("path")["error"].dropna()
    assert errors.index.tolist() == [str(folder / "damaged.pcap")]
    assert "ends inside its header" in errors.iloc[0]
    assert len(found.connections) == len(expected.connections)


@needs("tshark")
def test_tables_of_a_cluster_are_read_back(scheduler, workers, incident, tmp_path, capsys):
    assert main(["tables", str(incident), "-o", str(tmp_path), "--cluster", scheduler]) == 0
    same_as = load(incident)
    found = load(tmp_path)
    assert_frame_equal(plain(found.packets)[list(same_as.packets)], plain(same_as.packets))
    capsys.readouterr()
    documents = []
    for path in (tmp_path, incident):
        assert main(["diagnose", "--json", str(path)]) == 0
        documents.append(json.loads(capsys.readouterr().out))
    assert documents[0]["findings"] == documents[1]["findings"]
    assert documents[0]["findings"][0]["cause"] == "nul_byte_drop"


@pytest.mark.parametrize("address", ["tcp://127.0.0.1:1", "nonsense://x"])
def test_where_no_scheduler_answers_a_sentence_says_so(address, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr("smtpkit.cluster.ANSWER", 1)
    with pytest.raises(SystemExit) as ended:
        main(["tables", str(TWO_ENDS), "-o", str(tmp_path), "--cluster", address])
    assert ended.value.code == 2
    assert f"--cluster {address}: no scheduler answers there" in capsys.readouterr().err


@pytest.mark.parametrize("option", [["--redact"], ["--format", "csv"], ["--peer", "192.0.2.1"]])
def test_what_a_cluster_does_not_do_is_said(option, tmp_path, capsys):
    with pytest.raises(SystemExit) as ended:
        main(["tables", str(TWO_ENDS), "-o", str(tmp_path), "--cluster", "tcp://127.0.0.1:1", *option])
    assert ended.value.code == 2
    assert "--cluster writes all rows" in capsys.readouterr().err
