"""Verdicts on the sample, whole and with parts taken away: confidence may fall, no other cause may appear."""

import json
import re

import pandas as pd
import pytest
from conversation import analysed
from test_mtu import DIES, HANDSHAKE, dies, later, passes

import smtpkit
from smtpkit import findings, mtu, tables, tcp
from smtpkit.causes import CAUSES
from smtpkit.incident import TABLE_NAMES, Incident, load
from smtpkit.observations import NAMES, observations

UNEXPLAINED = [("unexplained", "error", "possible")]
BROKEN, HEALTHY = "198.51.100.25", "203.0.113.25"


@pytest.fixture(scope="module")
def incident(sample):
    return load(sample)


def typed(*connections, attempts=(), icmp=False):
    """An incident of typed connections, each of a stream of its own."""
    packets = pd.concat([one.assign(stream=n) for n, one in enumerate(connections)], ignore_index=True)
    packets["stream"] = packets["stream"].astype("Int32")
    if icmp:
        echo = packets.iloc[[0]].assign(
            ip_protocol=1, icmp_type=8, icmp_code=0, stream=pd.NA, direction=pd.NA
        )
        packets = pd.concat([packets, echo.astype(packets.dtypes)], ignore_index=True)
    ends, stalls, sizes = tcp.connections(packets), tcp.stalls(packets), mtu.sizes(packets)
    frames = {name: tables.empty(name) for name in TABLE_NAMES} | {
        "captures": tables.from_rows([{"capture": 0}], "captures"),
        "packets": packets,
        "connections": ends,
        "stalls": stalls,
        "sizes": sizes,
        "path_mtu": mtu.path_mtu(sizes, ends, stalls),
        "attempts": tables.from_rows(attempts, "attempts"),
    }
    return Incident(**frames, timezone="UTC", timezone_reason="typed")


def verdict(incident):
    found = smtpkit.diagnose(incident)
    return [tuple(row) for row in found[["cause", "severity", "confidence"]].itertuples(index=False)]


# --- the sample ------------------------------------------------------------------------------------------


def test_the_document_is_json_with_the_keys_of_the_contract(incident):
    document = findings.document(incident, smtpkit.diagnose(incident))
    assert json.loads(json.dumps(document)) == document
    assert list(document) == ["schema", "inputs", "findings", "healthy"]
    assert set(document["inputs"][0]) == {"path", "kind", "sha256", "rows", "skipped"}
    assert list(document["findings"][0]) == tables.describe("findings")["name"].tolist()
    assert document["healthy"] == [HEALTHY]


def test_the_commands_hold_this_incidents_own_figures(incident):
    finding = smtpkit.diagnose(incident).iloc[0]
    high, low = finding["parameters"]["pmtu_high"], finding["parameters"]["pmtu_low"]
    assert (
        f"for size in {high - 28} {low - 28}; do ping -4 -c 3 -M do -s $size {BROKEN}" in finding["next_test"]
    )
    assert any(f"mtu lock {low}" in remedy for remedy in finding["remedies"])
    assert re.fullmatch(rf"ip\.addr == {BROKEN} && tcp\.port in {{[\d, ]+}}", finding["display_filter"])


def test_evidence_names_frames_and_lines(incident):
    sources = [said["source"] for said in smtpkit.diagnose(incident).iloc[0]["evidence"] if said["source"]]
    assert any(re.search(r"capture\.pcap frame \d+$", source) for source in sources)
    assert any(re.search(r"mainlog line \d+$", source) for source in sources)


def test_look_alikes_are_ruled_out(incident):
    ruled_out = {one["cause"] for one in smtpkit.diagnose(incident).iloc[0]["ruled_out"]}
    assert {"packet_loss", "state_loss", "fragment_loss", "receiver_stall", "remote_timeout"} <= ruled_out


def test_observations_are_named_and_sourced(incident):
    seen = observations(incident)
    assert set(seen["observation"]) <= set(NAMES)
    assert seen["sentence"].notna().all()
    known = {name for cause in CAUSES for name in (*cause.requires, *cause.excludes, *cause.supports)}
    assert known <= set(NAMES)


# --- parts taken away ------------------------------------------------------------------------------------


def test_capture_alone(sample):
    found = smtpkit.diagnose(load(sample / "capture.pcap"))
    assert found[["cause", "severity", "peer"]].to_numpy().tolist() == [["pmtu_black_hole", "error", BROKEN]]
    assert found["messages"].tolist() == [[]]
    assert len(found["connections"].iloc[0]) == 8


def test_log_alone_tells_no_cause(sample):
    found = smtpkit.diagnose(load(sample / "mainlog"))
    assert found[["cause", "severity", "peer"]].to_numpy().tolist() == [["unexplained", "error", BROKEN]]
    could_be = "pmtu_black_hole, fragment_loss, nul_byte_drop, content_pattern_drop, remote_timeout"
    assert could_be in found["sentence"].iloc[0]
    assert not re.search("close|rejection|connect|tls", found["sentence"].iloc[0])  # the log rules these out
    unseen = found["not_observable"].iloc[0]
    assert "What happened on the wire: there is no capture." in unseen
    assert any(sentence.startswith("Whether it is remote_timeout: ") for sentence in unseen)
    assert "tcpdump" in found["next_test"].iloc[0]
    assert "-s 0" in found["next_test"].iloc[0]  # causes in the content are among them


def test_without_icmp_in_the_capture_its_absence_says_nothing(sample, incident):
    packets = incident.packets[incident.packets["ip_protocol"] == 6]
    seen = {"packets": packets, "captures": incident.captures.assign(icmp=0)}
    found = smtpkit.diagnose(Incident(**vars(incident) | seen)).iloc[0]
    assert found["cause"] == "pmtu_black_hole"
    assert any("ICMP too-big" in sentence for sentence in found["not_observable"])
    assert not any("came back" in said["sentence"] for said in found["evidence"])


# --- typed incidents -------------------------------------------------------------------------------------


def test_a_black_hole_that_stops_two_messages_is_certain():
    assert verdict(typed(dies(1500), dies(1480), passes(1300))) == [("pmtu_black_hole", "error", "certain")]


def test_one_message_tried_twice_may_fail_for_its_content():
    assert verdict(typed(dies(1500), dies(1500), passes(1300))) == [("pmtu_black_hole", "error", "likely")]


def test_ignored_icmp_is_evidence():
    packets = dies(1500)
    packets = pd.concat(
        [packets, packets.iloc[[5]].assign(ip_protocol=1, icmp_type=3, icmp_code=4, next_hop_mtu=1400)],
        ignore_index=True,
    )
    icmp = packets.index == len(packets) - 1
    packets.loc[icmp, ["src", "dst"]] = ["198.51.100.25", "192.0.2.10"]
    packets.loc[icmp, ["direction", "seq", "tcp_len", "delivered", "src_port", "dst_port"]] = pd.NA
    found = smtpkit.diagnose(typed(packets.astype(dies(1500).dtypes))).iloc[0]
    assert any("naming an MTU of 1400" in said["sentence"] for said in found["evidence"])


@pytest.mark.parametrize(
    "connections",
    [
        (dies(1500), passes(1500)),  # loss that hits now and then
        (passes(1500), passes(600)),
    ],
    ids=["large packets pass", "healthy"],
)
def test_no_black_hole(connections):
    assert "pmtu_black_hole" not in smtpkit.diagnose(typed(*connections))["cause"].tolist()


def test_with_df_clear_it_is_no_black_hole():
    found = verdict(typed(dies(1500).assign(df=False), dies(1500).assign(df=False)))
    assert found == [("fragment_loss", "error", "certain")]


def test_a_closed_window_is_no_black_hole():
    closed = dies(1500).assign(window=0)
    assert verdict(typed(closed, closed)) == [("receiver_stall", "error", "certain")]


def test_a_hole_that_probing_cures_is_a_note():
    text = HANDSHAKE + (
        "0.06 > A seq=1 ack=1 len=1460\n0.3 > A seq=1 ack=1 len=1460\n0.7 > A seq=1 ack=1 len=1460\n"
        "1.5 > A seq=1 ack=1 len=1460\n3.1 > A seq=1 ack=1 len=1000\n3.13 < A seq=1 ack=1001\n"
        "3.14 > A seq=1001 ack=1 len=460\n3.17 < A seq=1 ack=1461"
    )
    found = smtpkit.diagnose(typed(analysed(text), analysed(text))).iloc[0]
    assert (found["severity"], found["parameters"]) == ("note", {"pmtu_low": 1040, "pmtu_high": 1500})


def test_the_reverse_direction_has_the_client_announce_a_smaller_mss():
    turned = str.maketrans("<>", "><")
    text = HANDSHAKE + DIES.format(1460, 1461, 1521).translate(turned)
    found = smtpkit.diagnose(typed(analysed(text), analysed(text))).iloc[0]
    assert (found["direction"], found["peer"], found["clients"]) == ("reverse", BROKEN, ["192.0.2.10"])
    assert "advmss" in found["next_test"]


def test_ipv6_commands():
    six = {"client": "2001:db8::10", "server": "2001:db8::25", "headers": 40}
    found = smtpkit.diagnose(typed(dies(1480, **six), dies(1480, **six))).iloc[0]
    assert "ping -6 -c 3 -M do -s 1452 2001:db8::25" in found["next_test"].replace("$size", "1452")
    assert found["display_filter"].startswith("ipv6.addr == 2001:db8::25")
    assert "ICMPv6 type 2" in found["remedies"][0]


def test_what_failed_otherwise_is_unexplained():
    failed = {
        "message_id": "1abcDE-000001-2x",
        "peer": BROKEN,
        "client": "192.0.2.10",
        "outcome": "deferred",
    }
    failed |= {"phase": "AUTH", "error": "other", "file": "mainlog", "line": 7}
    found = smtpkit.diagnose(typed(passes(600), attempts=[failed])).iloc[0]
    assert (found["cause"], found["messages"]) == ("unexplained", ["1abcDE-000001-2x"])
    assert found["evidence"] == [
        {"sentence": "Failed once: other, phase AUTH.", "source": "mainlog line 7"},
        {"sentence": "No data had been sent of the messages that failed.", "source": "mainlog line 7"},
    ]


def test_of_very_many_paths_those_with_most_failures_are_examined(monkeypatch):
    failed = {"outcome": "deferred", "error": "timeout", "phase": "connect"}
    attempts = [
        {"peer": f"192.0.2.{host}", "message_id": f"1rvxxx-00000000{host}-{n:04}", **failed}
        for host, times in ((1, 1), (2, 3), (3, 2))
        for n in range(times)
    ]
    taken = {"peer": "192.0.2.1", "message_id": "1rvxxx-000000009-0000", "outcome": "delivered"}
    seen = typed(dies(1500), attempts=[*attempts, taken])
    monkeypatch.setattr(findings, "MOST_PATHS", 2)
    found = smtpkit.diagnose(seen)
    assert {"192.0.2.2", "192.0.2.3"} & set(found["peer"]) == {"192.0.2.2"}
    note = found[found["peer"].isna()].iloc[0]
    assert (note["severity"], note["parameters"]) == ("note", {"paths": 2, "failures": 3})
    assert findings.healthy(seen, found) == []


def test_what_a_receiver_abandoned_without_a_name_is_mail_that_stopped():
    abandoned = {"peer": "192.0.2.25", "outcome": "failed", "phase": "sending data block", "error": "timeout"}
    attempts = [abandoned | {"capture": 0, "stream": stream, "matched_by": "ports"} for stream in (0, 1)]
    found = typed(dies(1500), dies(1500), passes(1300), attempts=attempts)
    assert verdict(found) == [("pmtu_black_hole", "error", "likely")]


# --- look-alikes, and what tells them apart ---------------------------------------------------------------

SAID = HANDSHAKE + "0.1 < PA seq=1 ack=1 len=40\n0.2 > PA seq=1 ack=41 len=900\n0.3 < A seq=41 ack=901\n"
STUCK = DIES.format(1460, 1461, 1521).splitlines()


def stuck(*lines, handshake=HANDSHAKE, **options):
    """A connection with a full-size packet in vain, and of the lines of DIES those that are named."""
    return analysed(handshake + "\n".join(lines), **options)


def causes(incident):
    return smtpkit.diagnose(incident)["cause"].tolist()


def test_where_the_other_side_falls_silent_the_connection_was_forgotten():
    mute = stuck(STUCK[0], *STUCK[3:])
    assert causes(typed(mute, mute, passes(600))) == ["unexplained"]


def test_where_a_reply_is_repeated_for_ever_small_packets_do_not_pass_either():
    replies = [
        f"{time} < PA seq=1 ack=1 len=30\n{time} > A seq=1461 ack=31" for time in (0.05, 0.25, 0.7, 1.5, 3.2)
    ]
    deaf = stuck("0.05 < PA seq=1 ack=1 len=30", STUCK[0], replies[1], STUCK[3], *replies[2:], *STUCK[4:])
    assert causes(typed(deaf, deaf, passes(600))) == ["unexplained"]


def test_where_the_small_tail_dies_as_well_it_is_not_the_size():
    lines = [line for line in STUCK if "sack" not in line]
    dead = stuck(*lines, "0.09 < A seq=1 ack=1 win=900")
    dead = stuck(lines[0], lines[1], "0.09 < PA seq=1 ack=1 len=10", *lines[2:])
    assert causes(typed(dead, dead, passes(600))) == ["unexplained"]


def test_a_tail_that_is_too_large_itself_says_nothing():
    big_tail = [line.replace("len=60", "len=1400") for line in STUCK if "sack" not in line]
    one = stuck(*big_tail[:2], "0.09 < PA seq=1 ack=1 len=10", *big_tail[2:])
    assert causes(typed(one, one, passes(600))) == ["pmtu_black_hole"]


def test_what_is_lost_beyond_the_unscaled_window_is_not_lost_for_its_size():
    scaled = HANDSHAKE.replace("< SA seq=0 ack=1", "< SA seq=0 ack=1 scale=7 win=500").replace(
        "> S seq=0", "> S seq=0 scale=7"
    )
    text = (
        scaled
        + "0.05 < PA seq=1 ack=1 len=30 win=500\n"
        + DIES.format(1460, 1461, 1521).replace("ack=1 ", "ack=31 ")
    )
    text = "\n".join(line for line in text.splitlines() if "sack" not in line and "len=60" not in line)
    text = text.replace("0.30 >", "0.29 < PA seq=1 ack=1 len=30 win=500\n0.30 >")
    small = analysed(scaled + "0.06 > PA seq=1 ack=1 len=300\n0.09 < A seq=1 ack=301 win=500")
    assert causes(typed(analysed(text), analysed(text), small)) == ["window_scaling"]


def test_a_capture_that_ends_in_the_middle_accuses_nobody():
    syn = analysed("0.0 > S seq=0\n0.9 > A seq=0 ack=0")[:1]
    unacknowledged = analysed(HANDSHAKE + "0.06 > PA seq=1 ack=1 len=1460\n0.07 > A seq=1461 ack=1 len=1460")
    assert causes(typed(syn, unacknowledged)) == []


def test_icmp_that_comes_late_and_takes_effect_is_no_fault():
    text = HANDSHAKE + (
        "0.06 > A seq=1 ack=1 len=1460\n0.3 > A seq=1 ack=1 len=1460\n0.7 > A seq=1 ack=1 len=1460\n"
        "1.5 > A seq=1 ack=1 len=1460\n1.6 > A seq=1 ack=1 len=1000\n1.63 < A seq=1 ack=1001"
    )
    packets = analysed(text)
    icmp = packets.iloc[[6]].assign(ip_protocol=1, icmp_type=3, icmp_code=4, next_hop_mtu=1400)
    icmp[["src", "dst"]] = ["198.51.100.25", "192.0.2.10"]
    icmp[["direction", "seq", "tcp_len", "delivered", "src_port", "dst_port"]] = pd.NA
    packets = pd.concat([packets, icmp], ignore_index=True).astype(packets.dtypes)
    assert causes(typed(packets)) == []


@pytest.mark.parametrize(
    "large",
    [later(passes(1500), -60), later(passes(1500), 60)],
    ids=["the path broke", "the path was repaired"],
)
def test_a_path_that_changes_while_the_capture_runs(large):
    found = smtpkit.diagnose(typed(large, dies(1500), dies(1500), passes(1300)))
    assert found["cause"].tolist() == ["pmtu_black_hole"]
    assert found["parameters"].iloc[0] == {"pmtu_low": 1300, "pmtu_high": 1500}


def test_what_a_capture_at_the_receiver_holds_has_crossed_the_path():
    at_server = [one.assign(time=one["time"]) for one in (dies(1500), dies(1500), passes(1300))]
    incident = typed(*at_server)
    captures = incident.captures.assign(vantage="server")
    mtus = mtu.path_mtu(incident.sizes, incident.connections, incident.stalls, captures)
    assert mtus["lost"].isna().all()


def test_at_the_receiver_the_df_bit_of_what_arrived_tells_of_what_did_not():
    text = HANDSHAKE + (
        "0.04 < PA seq=1 ack=1 len=30\n0.08 > PA seq=1461 ack=31 len=90 df={0}\n"
        "0.08 < A seq=31 ack=1 sack=1461-1551\n9 < FA seq=31 ack=1"
    )
    assert causes(typed(analysed(text.format(1)), passes(600))) == ["pmtu_black_hole"]
    fragmented = analysed(text.format(0)), passes(600).assign(df=False)
    assert causes(typed(*fragmented)) == ["fragment_loss"]


def test_first_fragments_that_come_again_and_again_are_packets_that_do_not_arrive():
    packets = analysed(HANDSHAKE + DIES.format(1156, 1461, 1521)).assign(df=False)
    packets["ip_id"] = packets.index.to_series().astype(packets["ip_id"].dtype)
    packets["more_fragments"] = packets["tcp_len"] == 1156
    exceeded = packets.iloc[[0]].assign(ip_protocol=1, icmp_type=11, icmp_code=1, direction=pd.NA)
    exceeded[["src", "dst"]] = ["198.51.100.25", "192.0.2.10"]
    exceeded[["src_port", "dst_port", "seq", "tcp_len", "delivered"]] = pd.NA
    told = pd.concat([packets, exceeded]).astype(packets.dtypes)
    found = smtpkit.diagnose(typed(told, told, passes(600).assign(df=False)))
    assert found[["cause", "confidence"]].to_numpy().tolist() == [["fragment_loss", "certain"]]
    assert found["parameters"].iloc[0] == {"pmtu_low": 600, "pmtu_high": 1500}
    untold = smtpkit.diagnose(typed(packets, packets, passes(600).assign(df=False)))
    assert untold["parameters"].tolist() == found["parameters"].tolist()
    passed = passes(1196).assign(df=False)  # a filter leaves out the rest of all: these arrive
    assert causes(typed(packets, packets, passed)) != ["fragment_loss"]


@pytest.mark.parametrize(("size", "severities"), [(1300, []), (1076, ["note"])], ids=["told", "probing"])
def test_at_the_receiver_the_size_in_which_it_came_at_last_tells_who_shrank_it(size, severities):
    text = HANDSHAKE + (
        "0.05 < PA seq=1 ack=1 len=30\n0.08 > PA seq=1461 ack=31 len=90\n"
        "0.08 < A seq=31 ack=1 sack=1461-1551\n"
        f"2.2 > A seq=1 ack=31 len={size - 40}\n2.21 < A seq=31 ack={size - 39} sack=1461-1551\n"
        f"2.25 > A seq={size - 39} ack=31 len={1500 - size}\n2.26 < A seq=31 ack=1551"
    )
    found = smtpkit.diagnose(typed(analysed(text), passes(600)))
    assert found["severity"].tolist() == severities


def test_a_capture_that_begins_in_the_stall_makes_it_possible_at_most():
    begun = stuck(*STUCK[3:], handshake="")
    assert verdict(typed(begun, begun, later(passes(600), 1))) == [("pmtu_black_hole", "error", "possible")]


def test_nobody_is_healthy_of_whom_no_mail_is_seen_to_be_taken():
    whole = HANDSHAKE + "0.1 < PA seq=1 ack=1 len=40\n0.2 > PA seq=1 ack=41 len=900\n"
    incident = typed(analysed(whole + "0.3 < PA seq=41 ack=901 len=20"))
    found = smtpkit.diagnose(incident)
    assert found.empty
    assert findings.healthy(incident, found) == []


def test_what_was_slow_or_lost_and_did_no_harm_is_chat():
    one = {"capture": 0, "stream": 0, "file": "typed.pcap", "frame": 9}
    start = pd.Timestamp("2026-01-31 12:00:00", tz="UTC")
    said = [
        one | {"time": start, "direction": "forward", "verb": "DATA"},
        one | {"time": start + pd.Timedelta("11s"), "direction": "reverse", "verb": "DATA"},
    ]
    lossy = analysed(
        HANDSHAKE
        + "".join(
            f"{at} > A seq={seq} ack=1 len=100\n{at + 0.3} > A seq={seq} ack=1 len=100\n"
            f"{at + 0.33} < A seq=1 ack={seq + 100}\n"
            for at, seq in ((1, 1), (2, 101), (3, 201))
        )
    )
    delivered = {"peer": BROKEN, "client": "192.0.2.10", "outcome": "delivered", "capture": 0, "stream": 0}
    incident = typed(lossy, attempts=[delivered | {"message_id": "a", "file": "mainlog", "line": 1}])
    incident = Incident(**vars(incident) | {"dialogue": tables.from_rows(said, "dialogue")})
    found = smtpkit.diagnose(incident)
    assert found[["cause", "severity"]].to_numpy().tolist() == [
        ["remote_timeout", "chat"],
        ["packet_loss", "chat"],
    ]
    assert found["parameters"].iloc[0]["seconds"] == 11
    assert found["parameters"].iloc[1]["loss_rate"] == 0.5
    # Clopper-Pearson of 3 in 6: 0.118 to 0.882
    way = "from 192.0.2.10 to 198.51.100.25 3 were lost: between 11.8% and 88.2%"
    assert way in found["evidence"].iloc[1][0]["sentence"]
    assert findings.healthy(incident, found) == [BROKEN]


def test_a_capture_of_one_direction_is_named_as_what_is_missing():
    tried = {"peer": BROKEN, "client": "192.0.2.10", "file": "mainlog", "line": 1, "message_id": "a"}
    tried |= {"outcome": "deferred", "phase": "end of data", "error": "timeout", "capture": 0, "stream": 0}
    packets = passes(1300)
    found = smtpkit.diagnose(typed(packets[packets["src"] != BROKEN], attempts=[tried])).iloc[0]
    missing = "What the server sent on 1 of 1 connections: only one direction was captured."
    assert found["cause"] == "unexplained"
    assert missing in found["not_observable"]


def test_where_the_sender_cannot_use_sacks_no_rate_of_loss_is_told():
    lossy = analysed(
        HANDSHAKE
        + "".join(
            f"{at} > A seq={seq} ack=1 len=100\n{at + 0.3} > A seq={seq} ack=1 len=100\n"
            f"{at + 0.33} < A seq=1 ack={seq + 100} sack=90000-90100\n"
            for at, seq in ((1, 1), (2, 101), (3, 201))
        )
    )
    delivered = {"peer": BROKEN, "client": "192.0.2.10", "outcome": "delivered", "capture": 0, "stream": 0}
    found = smtpkit.diagnose(typed(lossy, attempts=[delivered | {"message_id": "a"}])).iloc[0]
    assert (found["cause"], found["severity"], found["confidence"]) == ("packet_loss", "chat", "possible")
    assert found["parameters"]["loss_rate"] is None
    assert "changes sequence numbers" in found["evidence"][0]["sentence"]


def test_failed_connections_of_which_no_log_tells_are_found():
    refused = analysed("0 > S seq=0\n0.03 < RA seq=0 ack=1")
    assert verdict(typed(refused)) == [("connect_failure", "error", "certain")]


def test_mail_that_was_put_off_and_then_met_a_fault_is_said_at_the_fault():
    tried = {"peer": BROKEN, "client": "192.0.2.10", "file": "mainlog", "line": 1}
    at = [pd.Timestamp(f"2026-01-31 12:0{minute}:00", tz="UTC") for minute in (0, 5)]
    put_off = tried | {"outcome": "deferred", "phase": "RCPT", "error": "4xx", "smtp_code": 451, "end": at[0]}
    stuck = tried | {"outcome": "deferred", "phase": "end of data", "error": "timeout", "end": at[1]}
    attempts = [
        put_off | {"message_id": "large"},
        put_off | {"message_id": "small"},
        stuck | {"message_id": "large", "capture": 0, "stream": 0, "matched_by": "ports"},
        tried | {"message_id": "small", "outcome": "delivered", "end": at[1]},
    ]
    incident = typed(dies(1500), dies(1500), attempts=attempts)
    done = [{"message_id": "small", "delivered": 1, "failed": 0, "deferred": 0}]
    found = smtpkit.diagnose(Incident(**vars(incident) | {"messages": tables.from_rows(done, "messages")}))
    assert found[["cause", "severity", "messages"]].to_numpy().tolist() == [
        ["pmtu_black_hole", "error", ["large"]],
        ["smtp_rejection", "note", ["small"]],
    ]


def test_a_server_that_hangs_up_on_some_messages_only_may_mind_their_content():
    closed = analysed(SAID + "0.4 < FA seq=41 ack=901")
    tried = {"peer": BROKEN, "client": "192.0.2.10", "file": "mainlog", "line": 1, "matched_by": "ports"}
    lost = tried | {"outcome": "deferred", "phase": "end of data", "error": "lost connection", "capture": 0}
    failed = [lost | {"message_id": f"failed {n}", "stream": n} for n in range(3)]
    passed = [tried | {"message_id": "passed", "outcome": "delivered"}]
    assert causes(typed(closed, closed, closed, attempts=failed)) == ["close_after_data"]
    assert causes(typed(closed, closed, closed, attempts=failed + passed)) == ["unexplained"]


def test_attempts_outside_the_capture_belong_to_the_same_fault_if_large():
    tried = {"peer": BROKEN, "client": "192.0.2.10", "phase": "end of data", "error": "timeout"}
    tried |= {"file": "mainlog", "line": 1, "end": pd.Timestamp("2026-01-31 12:00:30", tz="UTC")}
    joined = {"capture": 0, "stream": 0, "matched_by": "ports"}
    attempts = [
        tried | joined | {"message_id": "joined", "outcome": "deferred", "size": 20000},
        tried | {"message_id": "larger", "outcome": "deferred", "size": 9000},
        tried | {"message_id": "passed", "outcome": "delivered", "size": 1200},
        tried | {"message_id": "smaller", "outcome": "deferred", "size": 900},
    ]
    found = smtpkit.diagnose(typed(dies(1500), dies(1500), attempts=attempts))
    assert dict(zip(found["cause"], found["messages"], strict=True)) == {
        "pmtu_black_hole": ["joined", "larger"],
        "unexplained": ["smaller"],
    }
