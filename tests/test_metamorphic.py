"""What does not matter is changed: the findings stay the same."""

from dataclasses import replace
from ipaddress import ip_address

import pandas as pd
import pytest
from conftest import ROOT

import smtpkit
from smtpkit import mtu, tables
from smtpkit.incident import TABLE_NAMES, Incident

SAMPLES = ROOT / "data" / "samples"
CHOSEN = ("orders-time-out", "one-branch-office", "long-calls-cut", "drawings-wait", "second-try-works")
PER_CONNECTION = ("packets", "connections", "stalls", "sizes", "sessions", "transactions", "dialogue")


@pytest.fixture(scope="module", params=CHOSEN)
def incident(request):
    return smtpkit.load(SAMPLES / request.param)


@pytest.fixture(scope="module")
def expected(incident):
    return told(incident)


def told(incident):
    """Return what the findings say, without names, places and times."""
    found = smtpkit.diagnose(incident)
    found = found.assign(count=found["messages"].map(len), size=found["connections"].map(len))
    columns = ["cause", "severity", "confidence", "direction", "parameters", "count", "size"]
    return found[columns].to_dict("records")


def changed(incident: Incident, wanted, change, octets=None):
    """Return the incident with `change` made to the columns that `wanted` picks by their declaration."""
    columns = {c.name: c for table in ("packets", "analysis") for c in tables.TABLES[table]}
    frames = {}
    for name in TABLE_NAMES:
        declared = columns if name == "packets" else {c.name: c for c in tables.TABLES[name]}
        frame = getattr(incident, name)
        picked = {c: change(frame[c]).astype(frame[c].dtype) for c in frame if wanted(declared[c])}
        frames[name] = frame.assign(**picked)
    return replace(incident, **frames, octets=incident.octets if octets is None else octets)


def test_a_shift_in_time(incident, expected):
    moved = changed(
        incident, lambda c: c.dtype == tables.TIME, lambda times: times + pd.Timedelta("40 days 3h")
    )
    assert told(moved) == expected


def test_other_addresses(incident, expected):
    def renamed(addresses):
        return addresses.map(lambda address: str(ip_address(address) + 1), na_action="ignore")

    moved = changed(incident, lambda c: c.privacy == "address" and c.dtype == "string", renamed)
    assert told(moved) == expected


def test_other_client_ports(incident, expected):
    def shifted(ports):
        return ports.where(ports < 1024, ports - 1000)

    moved = changed(incident, lambda c: c.name in ("client_port", "src_port", "dst_port"), shifted)
    assert told(moved) == expected


def test_other_message_ids(incident, expected):
    def renamed(ids):
        return ids.map(lambda name: name[::-1], na_action="ignore")

    octets = {name[::-1]: data for name, data in incident.octets.items()}
    moved = changed(incident, lambda c: c.name == "message_id", renamed, octets)
    assert told(moved) == expected


def test_healthy_traffic_doubled(incident, expected):
    sick = set(smtpkit.diagnose(incident)["peer"])
    ends = incident.connections
    healthy = ends[~ends["server"].isin(sick)]
    frames = {}
    for name in PER_CONNECTION:
        frame = getattr(incident, name)
        again = frame.merge(healthy[["capture", "stream"]], on=["capture", "stream"])
        again = again.assign(stream=again["stream"] + 10_000).astype(frame.dtypes)
        frames[name] = pd.concat([frame, again], ignore_index=True)
    frames["path_mtu"] = mtu.path_mtu(
        frames["sizes"], frames["connections"], frames["stalls"], incident.captures
    )
    assert told(replace(incident, **frames)) == expected


def test_the_order_of_rows(incident, expected):
    frames = {
        name: getattr(incident, name).iloc[::-1].reset_index(drop=True)
        for name in ("attempts", "connections", "sizes", "content", "messages")
    }
    assert sorted(map(str, told(replace(incident, **frames)))) == sorted(map(str, expected))
