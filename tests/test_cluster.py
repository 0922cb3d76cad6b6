"""A real scheduler and two real workers on the loopback: the same rows as on one machine."""

import gzip
import json
import subprocess
import sys
from contextlib import contextmanager

import dask
import pandas as pd
import pytest
from conftest import ROOT, needs
from pandas.testing import assert_frame_equal

from smtpkit.cli import main
from smtpkit.cluster import Cluster
from smtpkit.incident import TABLE_NAMES, load

SAMPLES = ROOT / "data" / "samples"
ROTATED, TWO_ENDS = SAMPLES / "export-files-stuck", SAMPLES / "drop-by-drop"
TWO_PEERS = SAMPLES / "two-partners-complain"
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


SCHEDULER = ["-m", "distributed.cli.dask_scheduler", "--host", "127.0.0.1", "--port", "0", "--no-dashboard"]


def started(*words):
    """Start a program of Dask's; return it when its line tells that it serves."""
    process = subprocess.Popen(
        [sys.executable, *words], stderr=subprocess.PIPE, stdout=subprocess.DEVNULL, text=True
    )
    lines = iter(process.stderr.readline, "")
    return process, next(line for line in lines if "at: " in line or "to: " in line)


def killed(process):
    process.kill()
    process.communicate()


@contextmanager
def serving(*words):
    """Yield the address of a scheduler."""
    process, line = started(*SCHEDULER, *words)
    try:
        yield line.split()[-1]
    finally:
        killed(process)


@pytest.fixture(scope="module")
def scheduler():
    with serving() as address:
        yield address


@pytest.fixture(scope="module")
def started_workers():
    found = {}
    yield found
    for process in found.values():
        killed(process)


@pytest.fixture
def workers(scheduler, started_workers, tmp_path_factory):
    """Two workers, by name; one that a test ended is replaced."""
    words = [
        "-m",
        "distributed.cli.dask_worker",
        scheduler,
        "--nthreads",
        "1",
        "--no-nanny",
        "--no-dashboard",
    ]
    for name in ("one", "other"):
        if name not in started_workers or started_workers[name].poll() is not None:
            folder = str(tmp_path_factory.mktemp(name))
            started_workers[name], _ = started(*words, "--name", name, "--local-directory", folder)
    return started_workers


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
        frame, own = large[name].compute() if name in large else getattr(found, name), getattr(expected, name)
        assert frame.dtypes.astype(str).to_dict() == own.dtypes.astype(str).to_dict()
        assert list(frame) == list(own)
        assert_frame_equal(plain(frame), plain(own), obj=name)


@needs("tshark")
def test_a_rotation_of_captures_and_of_logs_has_the_same_rows(cluster, incident):
    same(cluster, load(incident, workers=cluster), load(incident))


def test_the_captures_of_two_ends_stay_apart(cluster):
    same(cluster, load(TWO_ENDS, workers=cluster), load(TWO_ENDS))


@needs("tshark")
def test_the_rows_of_all_partitions_can_be_counted(cluster, incident):
    expected = load(incident, workers=cluster).packets["file"].astype(str).value_counts().to_dict()
    packets = cluster.tables()["packets"]
    assert packets.npartitions > 2
    assert packets["file"].astype(str).value_counts().compute().to_dict() == expected
    assert packets.groupby("file", observed=True).size().compute().to_dict() == expected


@needs("tshark")
def test_a_worker_that_ends_with_what_it_read_loses_nothing(cluster, workers, incident, monkeypatch):
    ended, kept = [], cluster._kept

    def kill_whoever_has_the_first_result(piece):
        if not ended:
            piece.result()
            (holder,) = cluster._client.who_has(piece)[piece.key]
            ended.append(cluster._client.scheduler_info()["workers"][holder]["name"])
            killed(workers[ended[0]])
        return kept(piece)

    monkeypatch.setattr(cluster, "_kept", kill_whoever_has_the_first_result)
    found = load(incident, workers=cluster)
    assert ended
    same(cluster, found, load(incident))


@needs("tshark")
@pytest.mark.parametrize("shuffle", [0, 1], ids=["packets", "log_lines"])
def test_a_worker_that_ends_in_a_shuffle_loses_nothing(cluster, workers, incident, shuffle, monkeypatch):
    begun, compute = [], cluster._client.compute

    def kill_one_where_a_shuffle_begins(*arguments):
        futures = compute(*arguments)
        if len(begun) == shuffle:
            killed(workers["one"])
        begun.append(futures)
        return futures

    monkeypatch.setattr(cluster._client, "compute", kill_one_where_a_shuffle_begins)
    found = load(incident, workers=cluster)
    monkeypatch.undo()
    assert len(begun) > shuffle
    same(cluster, found, load(incident))


def flipped(octets):
    return octets[:-900] + bytes([octets[-900] ^ 0xFF]) + octets[-899:]


# How files are damaged, of a capture and of a log, and what is said of them.
DAMAGED = {
    "empty.pcap": (lambda capture, log: b"", "is empty"),
    "header.pcap": (lambda capture, log: capture[:9], "ends inside its header"),
    "nonsense.pcap": (lambda capture, log: capture[:24] + bytes(range(256)) * 9, "holds no packets"),
    "uploads-crawl/capture_99999_1.pcap": (lambda capture, log: capture[:4], "ends inside its header"),
    "uploads-crawl/capture_99998_1.pcap": (lambda capture, log: capture[:-9], "in the middle of a packet"),
    "middle.pcap": (lambda capture, log: capture[:-19], "in the middle of a packet"),
    "broken.pcap.gz": (lambda capture, log: gzip.compress(capture)[:-400], "the gzip file ends too early"),
    "cutlog.gz": (lambda capture, log: gzip.compress(log)[:-40], "the gzip file ends too early"),
    "flippedlog.gz": (lambda capture, log: flipped(gzip.compress(log)), "the gzip file is damaged"),
    "nonsenselog": (lambda capture, log: b"2024-05-01 of Exim nothing\n" * 99, "is of no known kind"),
}


@pytest.fixture(scope="module")
def thousand(tmp_path_factory):
    """A rotation of captures, captures of their own, a rotation of logs, and damaged files: a thousand."""
    folder = tmp_path_factory.mktemp("thousand")
    captures = sorted(SAMPLES.glob("*/*.pcap*"))
    for name, pieces in (("uploads-crawl", 6), ("drop-by-drop", 700)):
        (folder / name).mkdir()
        for capture in (SAMPLES / name).glob("*.pcap*"):
            subprocess.run(
                ["editcap", "-F", "pcap", "-c", str(pieces), capture, folder / name / f"{capture.stem}.pcap"],
                check=True,
            )
    lines = b"".join(log.read_bytes() for log in sorted(SAMPLES.glob("*/mainlog"))).splitlines(keepends=True)
    for name, (damage, _) in DAMAGED.items():
        (folder / name).write_bytes(damage(captures[0].read_bytes(), b"".join(lines[:300])))
    missing = 1000 - sum(path.is_file() for path in folder.rglob("*"))
    (folder / "logs").mkdir()
    for n in range(missing):
        (folder / "logs" / f"mainlog.{n}").write_bytes(b"".join(lines[300 + n :: missing]))
    return folder


@needs("tshark")
def test_damaged_files_among_a_thousand_are_reported_and_stop_nothing(scheduler, workers, thousand):
    with Cluster(scheduler) as cluster:
        found = load(thousand, workers=cluster)
        same(cluster, found, load(thousand))
    said = pd.concat(
        [found.inputs.set_index("path")["error"].dropna(), found.skipped.set_index("file")["reason"]]
    )
    assert len(found.inputs) == 1000
    for name, (_, reason) in DAMAGED.items():
        assert reason in " ".join(said[[str(thousand / name)]])


FILTERS = [
    {"peer": "203.0.113.177"},
    {"host": "relay.example.net", "since": "2026-11-22T19:40:40"},
    {"message": "1xVDQQ-0008Sy-25", "until": "2026-11-23"},
]


@pytest.mark.parametrize("filters", FILTERS, ids=str)
def test_filters_leave_the_same_rows(scheduler, workers, filters):
    with Cluster(scheduler) as cluster:
        same(cluster, load(TWO_PEERS, workers=cluster, **filters), load(TWO_PEERS, **filters))


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


def refused(address, folder, capsys):
    """Return what is said where a cluster is of no use."""
    with pytest.raises(SystemExit) as ended:
        main(["tables", str(TWO_ENDS), "-o", str(folder), "--cluster", address])
    assert ended.value.code == 2
    said = capsys.readouterr().err
    assert "Traceback" not in said
    return said.partition(f"--cluster {address}: ")[2]


@pytest.mark.parametrize("address", ["tcp://127.0.0.1:1", "nonsense://x"])
def test_where_no_scheduler_answers_a_sentence_says_so(address, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr("smtpkit.cluster.ANSWER", 1)
    assert refused(address, tmp_path, capsys).startswith("no scheduler answers there")


def test_a_worker_without_smtpkit_is_named(tmp_path, capsys):
    without = (
        "import sys; sys.modules['smtpkit'] = None; from distributed.cli import dask_worker as d; d.main()"
    )
    words = ["--no-nanny", "--no-dashboard", "--local-directory", str(tmp_path)]
    with serving() as address:
        process, _ = started("-c", without, address, *words)
        said = refused(address, tmp_path, capsys)
        killed(process)
    assert said.startswith("smtpkit-notebooks is not installed at tcp:")


@needs("openssl")
def test_tls_needs_the_certificates_that_the_scheduler_trusts(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr("smtpkit.cluster.ANSWER", 2)
    files = {name: [str(tmp_path / f"{name}.{kind}") for kind in ("pem", "key")] for name in ("own", "other")}
    for pem, key in files.values():
        words = [
            "req",
            "-x509",
            "-newkey",
            "rsa:2048",
            "-nodes",
            "-subj",
            "/CN=x",
            "-keyout",
            key,
            "-out",
            pem,
        ]
        subprocess.run(["openssl", *words], check=True, capture_output=True)
    pem, key = files["own"]
    words = ["--tls-ca-file", pem, "--tls-cert", pem, "--tls-key", key, "--protocol", "tls"]
    with serving(*words) as address:
        own, other = (refused_with(*pair, address, tmp_path, capsys) for pair in files.values())
    assert own.startswith("no worker is there")  # who sees that is connected
    assert other.startswith("no scheduler answers there (TLS certificate does not match")


def refused_with(pem, key, *arguments):
    tls = {"ca-file": pem, "client.cert": pem, "client.key": key}
    with dask.config.set({f"distributed.comm.tls.{name}": path for name, path in tls.items()}):
        return refused(*arguments)


@pytest.mark.parametrize("option", [["--redact"], ["--format", "csv"]])
def test_what_a_cluster_does_not_do_is_said(option, tmp_path, capsys):
    with pytest.raises(SystemExit) as ended:
        main(["tables", str(TWO_ENDS), "-o", str(tmp_path), "--cluster", "tcp://127.0.0.1:1", *option])
    assert ended.value.code == 2
    assert "--cluster writes Parquet" in capsys.readouterr().err
