import gzip
import os
import shutil

import fsspec
import pandas as pd
import pytest
from capture_bytes import ACK, START, SYN, back, enhanced, interface, out, section
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import smtpkit
from smtpkit import tables
from smtpkit.incident import TABLE_NAMES, InputError, load

BROKEN, HEALTHY = "198.51.100.25", "203.0.113.25"


@pytest.fixture(scope="module")
def incident(sample):
    return load(sample)


def error_of(path):
    return load(path).inputs["error"].iloc[0]


def test_every_table_is_there_with_all_its_columns(incident):
    for name in TABLE_NAMES:
        declared = tables.describe(name)["name"].tolist()
        if name == "packets":
            declared += tables.describe("analysis")["name"].tolist()
        assert list(getattr(incident, name)) == declared


def test_the_inputs_are_known_by_their_content(incident):
    kinds = incident.inputs.assign(name=incident.inputs["path"].str.split("/").str[-1]).set_index("name")[
        "kind"
    ]
    assert kinds["capture.pcap"] == "capture"
    assert kinds["mainlog"] == "log"
    assert kinds[[name for name in kinds.index if name.endswith(".eml")]].eq("message").all()
    assert "truth.json" not in kinds


def test_the_label_is_never_read(incident):
    assert not incident.inputs["path"].str.contains("truth").any()


def test_every_attempt_has_its_connection(incident):
    assert incident.attempts["stream"].notna().all()
    assert set(incident.attempts["client"]) == {"192.0.2.10"}


def test_where_the_capture_was_taken(incident):
    assert incident.captures["vantage"].tolist() == ["client"]
    assert abs(incident.captures["clock_offset"].iloc[0]) < 1


@pytest.mark.parametrize("zone", ["America/St_Johns", "Asia/Kathmandu"])
def test_a_log_without_zone_is_read_in_the_zone_that_joins(sample, tmp_path, zone):
    shutil.copy(sample / "capture.pcap", tmp_path)
    lines = (sample / "mainlog").read_text().splitlines(keepends=True)
    moved = (
        pd.Timestamp(line[:23], tz="UTC").tz_convert(zone).strftime("%F %T.%f")[:-3] + line[23:]
        for line in lines
    )
    (tmp_path / "mainlog").write_text("".join(moved))
    found = load(tmp_path)
    offset = pd.Timestamp("2026-11-22", tz=zone).strftime("%z")
    assert (found.timezone, found.timezone_reason) == (
        offset,
        "the offset at which log and capture join best",
    )
    assert found.attempts["end"].tolist() == load(sample).attempts["end"].tolist()


def test_files_over_the_same_time_are_two_capture_points_and_no_rotation(sample, tmp_path):
    whole = (sample / "capture.pcap").read_bytes()
    for name, end in (("end1.pcap", None), ("end2.pcap", -200)):
        (tmp_path / name).write_bytes(whole[:end])
    assert len(load(tmp_path).captures) == 2


# --- inputs that cannot be used --------------------------------------------------------------------------


def test_a_missing_file(tmp_path):
    assert error_of(tmp_path / "none.pcap") == (
        f"{tmp_path}/none.pcap: cannot be read (No such file or directory); "
        "check the name and the permissions"
    )


def test_an_empty_file(tmp_path):
    (tmp_path / "mainlog").touch()
    assert error_of(tmp_path / "mainlog") == f"{tmp_path}/mainlog: is empty; nothing was analysed of it"


def test_a_pipe_is_not_waited_for(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    assert error_of(tmp_path / "pipe") == f"{tmp_path}/pipe: is no regular file; give a file or a folder"


def test_an_empty_folder(tmp_path):
    assert error_of(tmp_path) == f"{tmp_path}: holds no files; nothing was analysed of it"


@pytest.mark.parametrize("junk", [b"\x00\x01\x02" * 999, b"just some words\n" * 9, b"\xff" * 70000])
def test_a_file_of_no_known_kind(tmp_path, junk):
    (tmp_path / "junk").write_bytes(junk)
    assert "is of no known kind; give a pcap or pcapng capture, an Exim log or" in error_of(tmp_path / "junk")


def test_a_capture_cut_in_the_middle_of_a_packet(sample, tmp_path):
    whole = (sample / "capture.pcap").read_bytes()
    (tmp_path / "cut.pcap").write_bytes(whole[:-7])
    found = load(tmp_path / "cut.pcap")
    assert found.skipped["reason"].tolist() == ["file ends in the middle of a packet"]
    assert len(found.packets) == len(load(sample / "capture.pcap").packets) - 1
    assert found.inputs["error"].isna().all()


def test_a_capture_whose_compression_is_cut(sample, tmp_path):
    whole = gzip.compress((sample / "capture.pcap").read_bytes())
    (tmp_path / "cut.pcap.gz").write_bytes(whole[: len(whole) // 2])
    found = load(tmp_path / "cut.pcap.gz")
    assert 0 < len(found.packets) < len(load(sample / "capture.pcap").packets)
    assert len(found.skipped) >= 1


def test_a_log_with_binary_junk(sample, tmp_path):
    log = (sample / "mainlog").read_bytes()
    middle = log.index(b"\n", len(log) // 2) + 1
    (tmp_path / "mainlog").write_bytes(log[:middle] + bytes(range(256)) * 40 + b"\n" + log[middle:])
    clean, found = load(sample / "mainlog"), load(tmp_path / "mainlog")
    assert len(found.attempts) == len(clean.attempts)
    assert len(found.log_lines) >= len(clean.log_lines)
    assert found.inputs["error"].isna().all()


def test_a_capture_without_packets(sample, tmp_path):
    (tmp_path / "none.pcap").write_bytes((sample / "capture.pcap").read_bytes()[:24])
    assert (
        error_of(tmp_path / "none.pcap") == f"{tmp_path}/none.pcap: holds no packets; take the capture again"
    )


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_a_damaged_capture_gives_what_can_be_read(sample, tmp_path, data):
    damaged = bytearray((sample / "capture.pcap").read_bytes()[:30_000])
    places = data.draw(
        st.lists(st.tuples(st.integers(24, len(damaged) - 1), st.integers(0, 255)), min_size=5)
    )
    for place, byte in places:
        damaged[place] = byte
    (tmp_path / "damaged.pcap").write_bytes(damaged)
    incident = load(tmp_path / "damaged.pcap")
    smtpkit.diagnose(incident)
    assert len(incident.packets) or len(incident.skipped) or incident.inputs["error"].notna().all()


def test_what_is_given_twice_counts_once(sample, tmp_path):
    shutil.copy(sample / "mainlog", tmp_path / "copy")
    once, twice = load(sample / "mainlog"), load(sample / "mainlog", tmp_path / "copy", sample / "mainlog")
    assert len(twice.attempts) == len(once.attempts)


def test_a_message_file_that_cannot_be_read_does_not_stop_the_rest(sample, tmp_path):
    message = next((sample / "messages").iterdir())
    (tmp_path / "cut.eml.gz").write_bytes(gzip.compress(message.read_bytes())[:-30])
    incident = load(tmp_path / "cut.eml.gz", sample / "capture.pcap")
    assert len(incident.packets)
    assert incident.inputs["error"].notna().tolist() == [True, False]


def test_stamps_with_a_zone_need_no_guess(sample, tmp_path):
    lines = (sample / "mainlog").read_text().splitlines(keepends=True)
    (tmp_path / "mainlog").write_text("".join(f"{line[:23]} +0000{line[23:]}" for line in lines))
    incident = load(tmp_path / "mainlog")
    assert incident.timezone_reason == "the log's stamps have their zone"


def test_a_long_log_joins_a_short_capture_in_its_zone(sample, tmp_path):
    shutil.copy(sample / "capture.pcap", tmp_path)
    log = (sample / "mainlog").read_text()
    delivery = next(line for line in log.splitlines() if " => " in line)
    start = pd.Timestamp(log[:19]) - pd.Timedelta(hours=9)
    earlier = [
        f"{start + pd.Timedelta(seconds=37 * n):%F %T}{delivery[19:]}\n".replace(
            delivery.split()[3], f"1xAAAA-{n:06}-00"
        )
        for n in range(700)
    ]
    (tmp_path / "mainlog").write_text("".join(earlier) + log)
    assert load(tmp_path).timezone == "UTC"


def test_links_in_a_folder_are_left_out(tmp_path, sample):
    (tmp_path / "mainlog").symlink_to(sample / "mainlog")
    assert error_of(tmp_path).endswith("holds no files; nothing was analysed of it")


# --- filters ---------------------------------------------------------------------------------------------


def test_peer(sample):
    found = load(sample, peer=BROKEN)
    assert set(found.connections["server"]) == set(found.attempts["peer"]) == {BROKEN}
    assert smtpkit.diagnose(found)["cause"].tolist() == ["pmtu_black_hole"]


def test_host(sample):
    found = load(sample, host="MX.example.com")
    assert set(found.connections["server"]) == {HEALTHY}
    assert smtpkit.diagnose(found).empty


def test_message(sample, incident):
    chosen = incident.attempts.loc[incident.attempts["outcome"] == "deferred", "message_id"].iloc[0]
    found = load(sample, message=chosen)
    assert set(found.messages["message_id"]) == {chosen}
    assert set(found.connections["stream"]) == set(found.attempts["stream"])


def test_since_and_until(sample, incident):
    middle = incident.attempts["end"].sort_values().iloc[10]
    early, late = load(sample, until=str(middle)), load(sample, since=str(middle))
    assert 0 < len(early.attempts) < len(incident.attempts)
    assert 0 < len(late.attempts) < len(incident.attempts)
    assert set(early.attempts["message_id"]) | set(late.attempts["message_id"]) == set(
        incident.messages["message_id"]
    )


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        (
            {"peer": "mx.example.com"},
            "peer 'mx.example.com' is not an IP address; give one such as 192.0.2.1",
        ),
        (
            {"since": "yesterday-ish"},
            "since 'yesterday-ish' is not a time; give one such as 2026-01-31T12:00",
        ),
        ({"until": ""}, "until '' is not a time; give one such as 2026-01-31T12:00"),
        ({"timezone": "Mars/Olympus"}, "Mars/Olympus"),
    ],
)
def test_a_filter_that_cannot_be_understood(sample, options, sentence):
    with pytest.raises(InputError, match=sentence):
        load(sample, **options)


def test_a_capture_says_what_is_wrong_with_it(tmp_path):
    data = out(2, 8, data=b"EHLO mx.example\r\n")
    unseen = back(8, 99, data=b"250 fine\r\n")
    packets = [out(1, flags=SYN), back(7, 2, SYN | ACK), data, data, unseen]
    clock = [1, 2, 3, 3, 2]
    blocks = [enhanced(packet, (START + t) * 10**6) for packet, t in zip(packets, clock, strict=True)]
    (tmp_path / "a.pcapng").write_bytes(section() + interface() + b"".join(blocks))
    row = load(tmp_path / "a.pcapng").captures.loc[0]
    columns = ["packets", "captured_twice", "acked_unseen", "steps_back", "largest_step_back"]
    assert row[columns].tolist() == [5, 1, 1, 1, 1.0]


def test_files_of_another_file_system_are_read_like_those_of_this_one(sample):
    memory = fsspec.filesystem("memory")
    memory.put(f"{sample}/", "/incident/", recursive=True)
    found, expected = load("memory://incident"), load(sample)
    assert found.inputs["path"].str.startswith("memory:///incident/").all()
    assert found.inputs["sha256"].tolist() == expected.inputs["sha256"].tolist()
    for name in ("connections", "attempts", "content"):
        assert getattr(found, name).drop(columns="file").equals(getattr(expected, name).drop(columns="file"))


@pytest.mark.parametrize("url", ["memory://nowhere/x.pcap", "nosuch://host/x.pcap"])
def test_a_file_that_cannot_be_had_from_there_is_said_in_a_sentence(url, sample):
    found = load(url, sample)
    assert found.inputs["error"].dropna().iloc[0].startswith(f"{url}: cannot be read (")
    assert len(found.connections) > 0
