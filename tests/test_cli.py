import gzip
import hashlib
import json
import shutil
import subprocess
import sys

import fsspec
import pandas as pd
import pytest

from smtpkit import cli, tables
from smtpkit.cli import main

BROKEN = "198.51.100.25"


def run(capsys, *arguments):
    status = main([str(argument) for argument in arguments])
    return status, *capsys.readouterr()


# --- diagnose --------------------------------------------------------------------------------------------


def test_diagnose_prints_the_verdict_the_reasons_and_what_next(sample, capsys):
    status, out, err = run(capsys, "diagnose", sample)
    assert status == 0
    assert out.startswith("ERROR: pmtu_black_hole (certain; 8 messages affected)\n")
    for part in (
        "\n  Why\n  + ",
        "\n  What it is not\n  x fragment_loss: ",
        "Test:      for size in",
        "Remedy 1:",
        "Wireshark: ip.addr",
        "Healthy: 203.0.113.25",
    ):
        assert part in out
    assert err == ""


def test_diagnose_json(sample, capsys):
    status, out, _ = run(capsys, "diagnose", "--json", sample)
    document = json.loads(out)
    assert (status, document["schema"]) == (0, 1)
    assert [f["peer"] for f in document["findings"]] == [BROKEN]


def test_a_healthy_incident_says_so(sample, capsys):
    status, out, _ = run(capsys, "diagnose", sample, "--peer", "203.0.113.25")
    assert (status, out) == (
        0,
        "Nothing failed, and no path shows a defect, as far as these inputs tell.\nHealthy: 203.0.113.25\n",
    )


def test_a_name_that_is_not_in_its_plainest_form_is_the_same_input(tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "none").mkdir()
    for named in ("./nothing", "none/"):
        assert run(capsys, "diagnose", named)[:2] == (
            1,
            "There is nothing to judge: no delivery and no SMTP connection was found in what was read.\n",
        )


@pytest.mark.parametrize("make", ["missing", "empty", "junk"])
def test_a_named_input_that_cannot_be_used_is_one_line_and_status_1(sample, tmp_path, capsys, make):
    bad = tmp_path / "bad"
    if make != "missing":
        bad.write_bytes(b"" if make == "empty" else b"\x00\xff" * 500)
    status, out, err = run(capsys, "diagnose", bad, sample / "capture.pcap")
    assert status == 1
    assert out.startswith("ERROR: pmtu_black_hole")  # the rest is analysed all the same
    assert err.startswith(f"smtpkit: {bad}: ")
    assert err.count("\n") == 1


def test_files_met_inside_a_folder_never_change_the_status(sample, tmp_path, capsys):
    shutil.copytree(sample, tmp_path / "incident")
    (tmp_path / "incident" / "rejectlog").touch()
    (tmp_path / "incident" / "notes.txt").write_text("call the far side\n")
    assert run(capsys, "diagnose", tmp_path / "incident")[0] == 0


@pytest.mark.parametrize(
    "arguments",
    [
        (),
        ("diagnose",),
        ("diagnose", "x", "--peer", "mx"),
        ("diagnose", "x", "--since", "?"),
        ("paint", "x"),
        ("tables", "x"),
        ("report", "x", "-o", "x.txt"),
    ],
)
def test_wrong_usage_is_status_2(capsys, arguments):
    with pytest.raises(SystemExit) as stopped:
        main(arguments)
    assert stopped.value.code == 2
    assert "Traceback" not in capsys.readouterr().err


def test_names_of_files_cannot_act_on_the_terminal(tmp_path, capsys):
    bad = tmp_path / "\x1b[2Jbad\u202e"
    bad.touch()
    _, _, err = run(capsys, "diagnose", bad)
    assert "\x1b" not in err
    assert "\\x1b[2Jbad\\u202e" in err


def test_as_a_process_without_jupyter(sample):
    code = (
        "import sys; from smtpkit.cli import main; main(sys.argv[1:]); assert 'papermill' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code, "diagnose", sample], check=True, capture_output=True)


def smtpkit(*arguments, given):
    code = "import sys; from smtpkit.cli import main; sys.exit(main(sys.argv[1:]))"
    command = [sys.executable, "-c", code, *map(str, arguments)]
    return subprocess.run(command, input=given, capture_output=True, check=False)


def test_a_capture_from_standard_input(sample):
    given = (sample / "capture.pcap").read_bytes()
    done = smtpkit("diagnose", "--json", "-", sample / "mainlog", given=given)
    document = json.loads(done.stdout)
    assert (done.returncode, done.stderr) == (0, b"")
    capture = document["inputs"][0]
    assert (capture["path"], capture["kind"]) == ("-", "capture")
    assert capture["sha256"] == hashlib.sha256(given).hexdigest()
    assert document["findings"][0]["evidence"][0]["source"].startswith("- frame ")


@pytest.mark.parametrize("pack", [bytes, gzip.compress])
def test_a_log_from_a_pipe(sample, pack):
    given = (sample / "mainlog").read_bytes()
    done = smtpkit("diagnose", "--json", "-", given=pack(given))
    document = json.loads(done.stdout)
    assert (done.returncode, done.stderr) == (0, b"")
    assert [(i["path"], i["kind"], i["rows"]) for i in document["inputs"]] == [
        ("-", "log", given.count(b"\n"))
    ]
    assert document["findings"]


def test_a_report_on_standard_input(sample, tmp_path):
    given = (sample / "capture.pcap").read_bytes()
    done = smtpkit("report", "-", "-o", tmp_path / "r.html", given=given)
    assert done.returncode == 0
    assert done.stdout.startswith(b"ERROR: pmtu_black_hole")


def test_standard_input_without_anything_is_one_line_and_status_1(sample):
    done = smtpkit("diagnose", "-", sample, given=b"")
    assert (done.returncode, done.stderr) == (1, b"smtpkit: -: is empty; nothing was analysed of it\n")


# --- tables ----------------------------------------------------------------------------------------------


def test_tables_are_the_cache(sample, tmp_path, capsys):
    assert run(capsys, "tables", sample, "-o", tmp_path / "t")[0] == 0
    names = {path.name for path in (tmp_path / "t").iterdir()}
    wanted = set(tables.TABLES) - {"analysis", "changes"}
    assert names == {f"{name}.parquet" for name in wanted} | {"finding-1.pcapng"}
    first, again = (run(capsys, "diagnose", "--json", given)[1] for given in (sample, tmp_path / "t"))
    assert json.loads(again) == json.loads(first)


def test_tables_are_written_to_another_file_system_and_read_from_it(sample, capsys):
    url = "memory://bucket/tables"
    for _ in range(2):  # the second time over the first
        assert run(capsys, "tables", sample, "-o", url) == (0, f"Tables: {url}\n", "")
    expected = json.loads(run(capsys, "diagnose", "--json", sample)[1])
    assert json.loads(run(capsys, "diagnose", "--json", url)[1])["findings"] == expected["findings"]
    assert json.loads(run(capsys, "diagnose", "--json", url, "--peer", BROKEN)[1])["healthy"] == []
    memory = fsspec.filesystem("memory")
    assert memory.exists("/bucket/tables/finding-1.pcapng")
    assert run(capsys, "tables", sample, "-o", url, "--format", "csv")[0] == 0
    assert len(pd.read_csv(f"{url}/connections.csv")) == len(pd.read_parquet(f"{url}/connections.parquet"))


@pytest.mark.parametrize(
    ("url", "said"), [("nosuch://x", "Protocol not known: nosuch"), ("s3://bucket", "s3fs")]
)
def test_a_file_system_that_nothing_installed_knows_is_said_in_a_sentence(url, said, sample, capsys):
    status, _, err = run(capsys, "tables", sample, "-o", url)
    assert (status, err.count("\n")) == (1, 1)
    assert err.startswith(f"smtpkit: {url}: ")
    assert said in err


def test_without_fsspec_a_url_says_what_to_install(sample, capsys, monkeypatch):
    monkeypatch.setitem(sys.modules, "fsspec", None)
    status, _, err = run(capsys, "tables", sample, "-o", "s3://bucket/tables")
    assert status == 1
    assert "need smtpkit-notebooks[cluster]" in err


def test_tables_as_csv(sample, tmp_path, capsys):
    assert run(capsys, "tables", sample, "-o", tmp_path / "t", "--format", "csv")[0] == 0
    packets = pd.read_csv(tmp_path / "t" / "packets.csv")
    assert set(tables.describe("packets")["name"]) <= set(packets)


def test_a_spreadsheet_takes_no_formula_from_others():
    frame = pd.DataFrame({"text": ["=1+1", "@SUM", "-2", "fine"], "number": [-1, 2, 3, 4]})
    assert cli._harmless(frame)["text"].tolist() == ["'=1+1", "'@SUM", "'-2", "fine"]
    assert cli._harmless(frame)["number"].tolist() == [-1, 2, 3, 4]


# --- report ----------------------------------------------------------------------------------------------


def test_the_report_lies_where_the_contract_says(sample, tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    status, out, _ = run(capsys, "report", sample)
    assert status == 0
    assert out.startswith("ERROR: pmtu_black_hole (certain; 8 messages affected)\n")
    assert out.endswith("\nReport: report/pmtu-black-hole.html\n")
    assert (tmp_path / "report" / "pmtu-black-hole.html").stat().st_size > 10_000


@pytest.mark.parametrize(
    ("path", "name"),
    [
        ("a/incident", "incident"),
        ("capture.pcap.gz", "capture"),
        ("mainlog", "mainlog"),
        ("m.2026.log", "m.2026"),
        ("capture.pcapng.zst", "capture"),
        ("-", "standard-input"),
    ],
)
def test_a_report_is_named_after_its_input(path, name):
    assert cli._name(path) == name


def test_a_report_on_a_missing_file_is_status_1(tmp_path, capsys):
    status, _, err = run(capsys, "report", tmp_path / "none.pcap", "-o", tmp_path / "r.html")
    assert status == 1
    assert err.startswith(f"smtpkit: {tmp_path}/none.pcap: cannot be read (No such file or directory)")


def test_payload_is_drawn_only_where_it_is_asked_for(sample, tmp_path, capsys):
    output = tmp_path / "r.html"
    assert run(capsys, "report", sample, "-o", output)[0] == 0
    assert "Hexdump" not in output.read_text()
    assert run(capsys, "report", sample, "--show-payload", "-o", output)[0] == 0
    assert "Hexdump" in output.read_text()


def test_payload_is_nothing_for_strangers(sample, tmp_path, capsys):
    with pytest.raises(SystemExit) as wrong:
        main(["report", str(sample), "--redact", "--show-payload", "-o", str(tmp_path / "r.html")])
    assert wrong.value.code == 2
    assert "--redact and --show-payload contradict each other" in capsys.readouterr().err


# --- compare ---------------------------------------------------------------------------------------------


def test_compare_says_what_became_of_each_fault(sample, tmp_path, capsys):
    after = sample.parent / "after-the-remedy"
    status, out, err = run(capsys, "compare", sample, after, "-o", tmp_path / "both.html")
    assert (status, err) == (0, "")
    assert out.startswith("GONE: pmtu_black_hole at 198.51.100.25\n  8 of 8 messages with a size of 1398 or")
    assert out.endswith(f"\nReport: {tmp_path / 'both.html'}\n")
    assert "<h1>Mail before and after a change</h1>" in (tmp_path / "both.html").read_text()


def test_compare_with_an_input_that_is_missing(sample, tmp_path, capsys):
    status, out, err = run(capsys, "compare", sample, tmp_path / "nothing")
    assert (status, err.count("\n")) == (1, 1)
    assert out.startswith("UNDECIDED: pmtu_black_hole")


def test_compare_of_two_healthy_incidents(sample, capsys):
    after = sample.parent / "after-the-remedy"
    assert run(capsys, "compare", after, after)[:2] == (
        0,
        "Neither of the two has a fault: there is nothing to compare.\n",
    )
