"""What strangers are given: nothing of the originals in it, and the same verdict."""

import base64
import json
import re
import shutil
from dataclasses import replace
from ipaddress import ip_address
from pathlib import Path

import pandas as pd
import pytest
from conftest import ROOT

import smtpkit
from smtpkit import findings, phrases, tables
from smtpkit.cli import main
from smtpkit.incident import TABLE_NAMES, InputError, save
from smtpkit.redact import pseudonyms, read_key, redact

KEY = bytes(range(32))
SAMPLES = ROOT / "data" / "samples"
CAUSES = (*("pmtu-black-hole", "mail-by-ipv6", "contracts-hang", "attachments-queue-up", "only-the-log"),)


@pytest.fixture(scope="module")
def incident(sample):
    return smtpkit.load(sample)


@pytest.mark.parametrize("name", CAUSES)
def test_redaction_and_judgement_may_change_places(name):
    incident = smtpkit.load(SAMPLES / name)
    names = pseudonyms(incident, KEY)
    judged = findings._records(smtpkit.diagnose(names.of_incident(incident)))
    assert judged
    assert judged == findings._records(names.of_table(smtpkit.diagnose(incident), "findings"))


def test_an_incident_is_handed_on_whole_to_the_report(tmp_path):
    found = redact(smtpkit.load(SAMPLES / "contracts-hang"), KEY)
    save(found, tmp_path)
    again = smtpkit.load(tmp_path)
    assert again.redacted
    assert again.octets == found.octets
    judged = findings._records(smtpkit.diagnose(again))
    assert judged == findings._records(smtpkit.diagnose(found))
    assert judged[0]["parameters"]["pattern_hex"] == "(withheld)"


# --- every class ------------------------------------------------------------------------------------------


def test_every_column_has_a_class_that_redaction_knows(incident):
    known = {"none", "hash", *pseudonyms(incident, KEY)._of_class}
    for table in tables.TABLES:
        described = tables.describe(table)
        assert described.loc[~described["privacy"].isin(known), "name"].tolist() == [], table


def test_a_column_without_a_class_is_dropped(incident, monkeypatch):
    forgotten = tuple(c._replace(privacy="") if c.name == "phase" else c for c in tables.TABLES["attempts"])
    monkeypatch.setitem(tables.TABLES, "attempts", forgotten)
    found = redact(incident, KEY)
    assert incident.attempts["phase"].notna().any()
    assert found.attempts["phase"].isna().all()
    assert found.inputs["sha256"].isna().all()


def test_rows_columns_numbers_and_times_stay(incident):
    found = redact(incident, KEY)
    for name in TABLE_NAMES:
        before, after = getattr(incident, name), getattr(found, name)
        assert after.columns.equals(before.columns)
        numbers = before.select_dtypes(["number", "boolean", "datetimetz"]).columns
        pd.testing.assert_frame_equal(after[numbers], before[numbers])
        assert (after.dtypes.astype(str) == before.dtypes.astype(str)).all()


def test_labels_are_the_same_in_all_tables_and_say_what_they_stand_for(incident):
    found = redact(incident, KEY)
    assert set(found.connections["server"]) == {"server A", "server B"}
    assert set(found.connections["client"]) == set(found.attempts["client"].dropna()) == {"client A"}
    assert set(found.packets["file"]) == {"capture A"}
    assert set(found.log_lines["file"]) == {"log A"}
    assert found.messages["message_id"].str.fullmatch("message [A-Z]+").all()
    assert found.messages["sender"].str.fullmatch("user [A-Z]+@domain [A-Z]+").all()
    before, after = (
        each.attempts.groupby("peer")["message_id"].nunique().sort_values() for each in (incident, found)
    )
    assert before.tolist() == after.tolist()


def test_the_key_decides_the_order(incident):
    first, again, other = (redact(incident, key).messages["sender"] for key in (KEY, KEY, KEY[::-1]))
    assert first.equals(again)
    assert not first.equals(other)


def test_addresses_are_mapped_where_other_programs_read_them(incident):
    found = redact(incident, KEY, mapped=True)
    before, after = ({*each.connections["server"], *each.connections["client"]} for each in (incident, found))
    assert len(before) == len(after)
    assert all(ip_address(address).version == 4 for address in after)
    assert not before & after


def test_one_address_is_kept(incident):
    found = redact(incident, KEY, keep=["198.51.100.25"])
    assert set(found.connections["server"]) == {"198.51.100.25", "server A"}


def test_a_key_of_another_length_is_refused(incident):
    with pytest.raises(ValueError, match="a key has 32 bytes, this one 3"):
        redact(incident, b"abc")


# --- text -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("said", "passes"),
    [
        (
            "SMTP timeout after end of data (40945 bytes written): Connection timed out",
            "SMTP timeout after end of data 40945 bytes written Connection timed out",
        ),
        (
            "SMTP error from remote mail server after RCPT TO:<a.marsh@example.net>: 550 5.1.1 no a.marsh",
            "SMTP error from remote mail server after RCPT … 550 5.1.1 …",
        ),
        ("250 OK id=1xVDNI-0006Ax-10", "250 OK …"),
        ("mx1.example.net ESMTP Exim 4.96", "(withheld)"),
        ("a.marsh 550 Secret Street", "(withheld)"),
        ("esmtps", "esmtps"),
        ("SIZE 8BITMIME XACME HELP", "SIZE 8BITMIME … HELP"),
        ("", "(withheld)"),
    ],
)
def test_of_free_text_known_phrases_pass(said, passes):
    assert phrases.known(said) == passes


def test_mail_addresses_and_filters_keep_their_shape():
    assert phrases.mail("FROM:<a@b.example> SIZE=18023", str.upper) == "FROM:<A@B.EXAMPLE> SIZE=18023"
    assert phrases.mail("delivered a@b\nfailed delivered@c", str.upper) == "delivered A@B\nfailed DELIVERED@C"
    rule = "host mx.example.org and (tcp port 25 or icmp) and ip[6:2] & 0x1fff != 0"
    assert phrases.capture_filter(rule, lambda name: "?") == rule.replace("mx.example.org", "?")
    assert phrases.octets("41000d0a") == "xx000d0a"


def test_a_filter_is_judged_the_same(incident):
    rule = "host 198.51.100.25 and (tcp port 25 or icmp)"
    filtered = replace(incident, captures=incident.captures.assign(filter=rule))
    said = redact(filtered, KEY).captures["filter"].item()
    assert re.fullmatch(r"host server [AB] and \(tcp port 25 or icmp\)", said)


# --- the key ----------------------------------------------------------------------------------------------


def test_the_key_is_made_once_and_is_its_owners(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path))
    key = read_key()
    file = tmp_path / "smtpkit" / "key"
    assert len(key) == 32
    assert read_key() == read_key(file) == key
    assert file.stat().st_mode & 0o777 == 0o600
    assert file.parent.stat().st_mode & 0o777 == 0o700


def test_a_file_that_is_no_key_is_refused_in_a_sentence(tmp_path):
    (tmp_path / "key").write_text("secret")
    with pytest.raises(InputError, match=r"key: is no key of 64 hexadecimal digits; name a new file"):
        read_key(tmp_path / "key")


# --- nothing of the originals -----------------------------------------------------------------------------


def originals(sample, folder):
    """Return what the sample names: by plain expressions, from the files themselves."""
    log = (sample / "mainlog").read_text()
    mailboxes = set(re.findall(r"[\w.+-]+@[\w.-]+\w", log))
    ids = set(re.findall(r"\b[0-9A-Za-z]{6}-[0-9A-Za-z]{6}-[0-9A-Za-z]{2}\b", log))
    domains = {mailbox.partition("@")[2] for mailbox in mailboxes} | set(re.findall(r"H=\(?([\w.-]+)", log))
    addresses = set(re.findall(r"\b\d+\.\d+\.\d+\.\d+\b", log))
    subjects = set(
        re.findall(r"^Subject: (.{6,})$", "".join(p.read_text("latin-1") for p in messages(sample)), re.M)
    )
    assert min(map(len, (mailboxes, ids, domains, addresses))) > 1
    return mailboxes | ids | domains | addresses | subjects | locals_of(mailboxes) | {folder}


def messages(sample):
    return sorted((sample / "messages").iterdir())


def locals_of(mailboxes):
    """Return local parts that no sentence or style of our own holds."""
    ours = " ".join(
        path.read_text() for path in (ROOT / "smtpkit").rglob("*.*") if path.suffix in (".py", ".j2", ".css")
    )
    ours += (ROOT / "notebooks" / "1-incident.ipynb").read_text()
    return {
        local for local in (m.partition("@")[0] for m in mailboxes) if len(local) > 3 and local not in ours
    }


def forms(original):
    """Return an original in the forms in which it could have slipped through."""
    yield from (original.lower(), original.encode().hex())
    if re.fullmatch(r"[\d.]+", original):
        octets = original.split(".")
        yield from (".".join(reversed(octets)), "".join(f"{int(octet):02x}" for octet in octets))
    yield base64.b64encode(original.encode()).decode()[: len(original.encode()) * 8 // 6].lower()


def leaked(text, names):
    text = text.lower()
    return [(name, form) for name in names for form in forms(name) if form in text]


@pytest.fixture(scope="module")
def given(sample, tmp_path_factory):
    """The sample in a folder whose name tells of its owner, a key, and all that it names."""
    folder = tmp_path_factory.mktemp("acme") / "acme-works-ltd"
    shutil.copytree(sample, folder)
    (folder / "README.md").unlink()
    key = folder.parent / "key"
    key.write_text(KEY.hex())
    return folder, ["--redact", "--key", str(key)], originals(sample, "acme-works")


def test_the_search_finds_what_is_there(given, capsys):
    folder, _, names = given
    assert main(["diagnose", "--json", str(folder)]) == 0
    assert {name for name, _ in leaked(capsys.readouterr().out, names)} >= {"198.51.100.25", "acme-works"}


@pytest.mark.parametrize("options", [[], ["--json"]])
def test_nothing_leaks_from_what_is_printed(given, capsys, options):
    folder, redacted, names = given
    assert main(["diagnose", *options, *redacted, str(folder)]) == 0
    out, err = capsys.readouterr()
    assert leaked(out, names) == []
    assert err == ""
    if options:
        assert {entry["sha256"] for entry in json.loads(out)["inputs"]} == {None}
        assert KEY.hex() not in out


def test_nothing_leaks_from_tables(given, tmp_path, capsys):
    folder, redacted, names = given
    for kind in ("csv", "parquet"):
        assert main(["tables", *redacted, "--format", kind, "-o", str(tmp_path / kind), str(folder)]) == 0
    for path in sorted(tmp_path.glob("*/*")):
        text = path.read_bytes().decode("latin-1")
        if path.suffix == ".parquet":
            frame = pd.read_parquet(path)
            text += "\n".join(frame.astype("string").fillna("").to_csv().splitlines()) + str(frame.attrs)
            text += " ".join(str(c) for n in frame.select_dtypes("category") for c in frame[n].cat.categories)
        assert leaked(text, names) == [], path.name
    assert "acme" not in capsys.readouterr().out


def test_nothing_leaks_from_the_report(given, tmp_path, capsys):
    folder, redacted, names = given
    assert main(["report", *redacted, "-o", str(tmp_path / "r.html"), str(folder)]) == 0
    page = (tmp_path / "r.html").read_text()
    images = [base64.b64decode(image) for image in re.findall(r"base64,([A-Za-z0-9+/=]+)", page)]
    assert len(images) > 1
    text = re.sub(r"base64,[A-Za-z0-9+/=]+", "", page)
    assert leaked(text, names) == []
    assert not [
        name for image in images for name, _ in leaked(image.decode("latin-1"), names) if len(name) > 5
    ]
    assert "server A" in page
    assert "names and addresses are replaced by labels" in page
    assert str(Path(tmp_path).parent) not in page
    assert leaked(capsys.readouterr().out, names) == []


def test_a_report_whose_bytes_are_withheld_is_whole(tmp_path, capsys):
    key = tmp_path / "key"
    given = ["report", "--redact", "--key", str(key), "-o", str(tmp_path / "r.html")]
    assert main([*given, str(SAMPLES / "contracts-hang")]) == 0
    assert "fail on the bytes (withheld)" in capsys.readouterr().out


def test_a_redacted_report_has_a_name_of_its_own(given, tmp_path, monkeypatch, capsys):
    folder, redacted, _ = given
    seen = []
    monkeypatch.setattr(
        "smtpkit.report.render", lambda inputs, output: seen.append((inputs, output)) or smtp_document()
    )
    monkeypatch.chdir(tmp_path)
    assert main(["report", *redacted, str(folder)]) == 0
    ((inputs, output),) = seen
    assert output == Path("report") / "redacted.html"
    assert inputs != [str(folder)]
    assert not Path(inputs[0]).exists()


def smtp_document():
    return {"schema": 1, "inputs": [], "findings": [], "healthy": []}


# --- the command line -------------------------------------------------------------------------------------


def test_an_unusable_input_is_named_to_its_owner(given, tmp_path, capsys):
    _, redacted, _ = given
    assert main(["diagnose", *redacted, str(tmp_path / "none.pcap")]) == 1
    assert "none.pcap: cannot be read" in capsys.readouterr().err


@pytest.mark.parametrize("arguments", [["--keep", "mx"], ["--key", "/dev/null"]])
def test_wrong_usage_is_a_sentence_and_status_2(given, capsys, arguments):
    with pytest.raises(SystemExit) as stopped:
        main(["diagnose", "--redact", *arguments, str(given[0])])
    assert stopped.value.code == 2
    assert "Traceback" not in capsys.readouterr().err


def test_a_capture_is_redacted(given, tmp_path, capsys):
    folder, (_, *key), names = given
    copy = tmp_path / "copy.pcapng"
    assert main(["redact", *key, str(folder / "capture.pcap"), "-o", str(copy)]) == 0
    assert re.fullmatch(r"Capture: .*copy\.pcapng \(517 packets\)\n", capsys.readouterr().out)
    assert leaked(copy.read_bytes().decode("latin-1"), names) == []
    found = smtpkit.diagnose(smtpkit.load(copy))
    assert found["cause"].tolist() == ["pmtu_black_hole"]


def test_a_capture_is_not_overwritten_by_its_copy(given, capsys):
    folder, (_, *key), _ = given
    capture = str(folder / "capture.pcap")
    with pytest.raises(SystemExit):
        main(["redact", *key, capture, "-o", capture])
    assert "is the capture itself" in capsys.readouterr().err


def test_what_is_no_capture_cannot_be_redacted(given, tmp_path, capsys):
    folder, (_, *key), _ = given
    assert main(["redact", *key, str(folder / "mainlog"), "-o", str(tmp_path / "x")]) == 1
    assert "neither pcap nor pcapng" in capsys.readouterr().err
