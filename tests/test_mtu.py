import pandas as pd
import pytest
from conversation import analysed, conversation

from smtpkit import mtu, tables, tcp

HANDSHAKE = "0.00 > S seq=0 mss=1460\n0.03 < SA seq=0 ack=1 mss=1460\n0.03 > A seq=1 ack=1\n"
PASSES = HANDSHAKE + "0.06 > PA seq=1 ack=1 len={0}\n0.09 < A seq=1 ack={1}\n"
DIES = """0.06 > A  seq=1 ack=1 len={0}
0.06 > PA seq={1} ack=1 len=60
0.09 < A  seq=1 ack=1 sack={1}-{2}
0.30 > A  seq=1 ack=1 len={0}
0.70 > A  seq=1 ack=1 len={0}
1.50 > A  seq=1 ack=1 len={0}
3.10 > A  seq=1 ack=1 len={0}
6.30 > A  seq=1 ack=1 len={0}
"""


def passes(size, **options):
    """A connection on which one data packet of `size` bytes (IP, IPv4) was delivered."""
    return analysed(PASSES.format(size - 40, size - 39), **options)


def dies(size, **options):
    """A connection on which a data packet of `size` bytes is repeated for ever while a short one passes."""
    return analysed(HANDSHAKE + DIES.format(size - 40, size - 39, size + 21), **options)


def later(packets, seconds):
    return packets.assign(time=packets["time"] + pd.Timedelta(seconds=seconds))


def bracket(*connections, direction="forward"):
    packets = pd.concat([one.assign(stream=n) for n, one in enumerate(connections)], ignore_index=True)
    packets["stream"] = packets["stream"].astype("Int32")
    found = mtu.path_mtu(mtu.sizes(packets), tcp.connections(packets), tcp.stalls(packets))
    return found[found["direction"] == direction].iloc[0]


def test_sizes_count_copies_by_ip_length():
    sizes = mtu.sizes(dies(1500)).set_index("ip_len")
    assert sizes.loc[1500, ["sent", "delivered", "lost", "times_lost"]].tolist() == [6, 0, 5, 5]
    assert sizes.loc[100, ["sent", "delivered", "lost", "times_lost"]].tolist() == [1, 1, 0, 0]
    assert sizes.loc[1500, "frame_lost"] == 4
    assert sizes.loc[1500, "df"]


def test_the_bracket_lies_between_the_largest_delivered_and_the_smallest_lost():
    row = bracket(passes(1300), passes(900), dies(1500), dies(1450))
    assert (row["delivered"], row["lost"], row["full_size"]) == (1300, 1450, 1500)
    assert not row["inferred"]
    assert row["df"]
    assert row["delivered_above"] == 0


def test_loss_that_hits_large_and_small_is_no_bracket():
    row = bracket(dies(1500), later(passes(1500), 2))
    assert row["delivered_above"] == 1
    assert row["fixed_at"] is pd.NaT


def test_large_packets_delivered_before_the_path_changed_are_no_contradiction():
    row = bracket(passes(1500), later(dies(1500), 60))
    assert (row["delivered"], row["lost"]) == (100, 1500)
    assert row["broke_at"] == pd.Timestamp("2026-01-31 12:01:00.060", tz="UTC")


def test_where_nothing_at_all_passes_any_more_there_is_no_bracket():
    text = HANDSHAKE + "\n".join(
        line for line in DIES.splitlines() if "sack" not in line and "len=60" not in line
    )
    row = bracket(analysed(text.format(1460)))
    assert pd.isna(row["lost"])


def test_two_losses_in_a_row_are_bad_luck():
    lines = (HANDSHAKE + DIES.format(1460, 1461, 1521)).splitlines()
    row = bracket(analysed("\n".join([*lines[:7], "5.0 > A seq=1 ack=1 len=20", "5.1 < A seq=1 ack=1521"])))
    assert pd.isna(row["lost"])


def test_offload_packets_prove_no_size():
    super_packet = analysed(HANDSHAKE + "0.06 > PA seq=1 ack=1 len=2920\n0.09 < A seq=1 ack=2921")
    sizes = mtu.sizes(super_packet)
    assert sizes[["ip_len", "offload", "delivered"]].to_numpy().tolist() == [[2960, True, 0]]


def test_beside_offload_packets_one_within_the_mss_may_be_two_small_ones():
    text = HANDSHAKE + (
        "0.06 > A seq=1 ack=1 len=2920\n0.06 > PA seq=2921 ack=1 len=1400\n0.06 > PA seq=4321 ack=1 len=200\n"
        "0.09 < A seq=1 ack=4521"
    )
    sizes = mtu.sizes(analysed(text)).set_index("ip_len")["delivered"]
    assert sizes.to_dict() == {2960: 0, 1440: 0, 240: 1}


def test_the_first_sending_as_a_super_packet_does_not_hide_the_size_of_its_repeats():
    text = (HANDSHAKE + DIES.format(1460, 8001, 8061)).replace(
        "0.06 > A  seq=1 ack=1 len=1460", "0.06 > A seq=1 ack=1 len=8000"
    )
    row = bracket(analysed(text), passes(1200))
    assert (row["delivered"], row["lost"]) == (1200, 1500)


def test_behind_the_loss_the_mss_stands_in_for_the_size():
    text = HANDSHAKE + (
        "0.04 < PA seq=1 ack=1 len=30\n0.08 > PA seq=1461 ack=31 len=90\n"
        "0.08 < A seq=31 ack=1 sack=1461-1551\n9 < FA seq=31 ack=1"
    )
    row = bracket(analysed(text), passes(1320))
    assert (row["delivered"], row["lost"], row["inferred"]) == (1320, 1500, True)


def test_a_small_gap_behind_the_loss_infers_nothing():
    text = HANDSHAKE + "0.08 > PA seq=201 ack=1 len=90\n0.08 < A seq=1 ack=1 sack=201-291\n9 < FA seq=1 ack=1"
    assert pd.isna(bracket(analysed(text))["lost"])


def test_ipv6_has_longer_headers_and_no_df():
    ends = {"client": "2001:db8::10", "server": "2001:db8::25", "headers": 40}
    v6 = analysed((HANDSHAKE + DIES.format(1440, 1441, 1501)).replace("mss=1460", "mss=1440"), **ends)
    row = bracket(v6)
    assert (row["lost"], row["full_size"]) == (1500, 1500)
    assert pd.isna(row["df"])


def test_directions_are_kept_apart():
    reverse = conversation(HANDSHAKE + DIES.format(1460, 1461, 1521).translate(str.maketrans("<>", "><")))
    packets = tcp.analysis(reverse)
    assert bracket(packets, direction="reverse")["lost"] == 1500
    paths = mtu.path_mtu(mtu.sizes(packets), tcp.connections(packets), tcp.stalls(packets))
    assert paths["direction"].tolist() == ["reverse"]


def test_of_no_packets_there_are_no_sizes():
    packets = tcp.analysis(tables.empty("packets"))
    assert mtu.sizes(packets).empty
    assert mtu.path_mtu(mtu.sizes(packets), tcp.connections(packets), tcp.stalls(packets)).empty


@pytest.mark.parametrize("size", [1500, 1487])
def test_df_clear_is_told(size):
    text = (HANDSHAKE + DIES.format(size - 40, size - 39, size + 21)).replace(" len=", " df=0 len=")
    assert not bracket(analysed(text))["df"]
