import numpy as np
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


def test_a_size_is_counted_once_for_each_copy_and_fate():
    sizes = mtu.sizes(dies(1500)).set_index("ip_len")
    assert sizes.loc[1500, ["sent", "repeated", "delivered", "lost", "undecided"]].tolist() == [6, 5, 0, 5, 1]
    assert sizes.loc[1500, "last_sent"] == pd.Timestamp("2026-01-31 12:00:06.30", tz="UTC")


# --- probing, clamping, ICMP -------------------------------------------------------------------------------

PROBED = HANDSHAKE + DIES.format(1460, 1461, 1521) + "12 > A seq=1 ack=1 len=1024\n12.1 < A seq=1 ack=1025\n"


def with_too_big(packets, seconds, next_hop_mtu):
    """The packets, and an ICMP too-big message to the client."""
    error = packets.iloc[[0]].assign(
        **{"src": "203.0.113.1", "dst": packets["src"].iloc[0], "ip_protocol": 1, "frame": 99},
        **{"icmp_type": 3, "icmp_code": 4, "next_hop_mtu": next_hop_mtu, "direction": pd.NA},
        time=packets["time"].iloc[0] + pd.Timedelta(seconds=seconds),
    )
    return pd.concat([packets, error], ignore_index=True)


def test_a_smaller_repeat_that_passes_without_icmp_is_probing():
    assert bracket(analysed(PROBED))["probed"]
    assert not bracket(with_too_big(analysed(PROBED), 7, 1300))["probed"]
    assert not bracket(dies(1500))["probed"]
    assert pd.isna(bracket(passes(1500))["probed"])


@pytest.mark.parametrize(("seconds", "named", "shrank"), [(7, 1300, True), (2, 1300, False), (7, 0, True)])
def test_whether_sizes_shrank_after_icmp(seconds, named, shrank):
    row = bracket(with_too_big(analysed(PROBED), seconds, named))
    assert (row["too_big"], row["shrank"]) == (1, shrank)
    assert pd.isna(bracket(analysed(PROBED))["shrank"])


def test_an_announced_mss_below_that_of_ethernet_is_clamped():
    low = HANDSHAKE.replace("< SA seq=0 ack=1 mss=1460", "< SA seq=0 ack=1 mss=1380")
    data = "0.06 > A seq=1 ack=1 len=100\n0.09 < PA seq=1 ack=101 len=50\n0.1 > A seq=101 ack=51\n"
    assert bracket(analysed(low + data))["clamped"]
    assert not bracket(analysed(low + data), direction="reverse")["clamped"]
    assert pd.isna(bracket(analysed(data))["clamped"])


# --- rates of loss -----------------------------------------------------------------------------------------


def rates(*connections):
    packets = pd.concat([one.assign(stream=n) for n, one in enumerate(connections)], ignore_index=True)
    packets["stream"] = packets["stream"].astype("Int32")
    return mtu.loss_rates(mtu.sizes(packets), tcp.connections(packets))


def test_rates_of_loss_by_class_with_exact_intervals():
    found = rates(dies(1500), passes(1500), passes(100)).set_index("low")
    assert found.loc[1500, ["high", "sent", "lost"]].tolist() == [1500, 6, 5]
    # R: binom.test(5, 6)$conf.int, binom.test(0, 2)$conf.int
    assert found.loc[1500, "rate_low"] == pytest.approx(0.3587654, abs=1e-7)
    assert found.loc[1500, "rate_high"] == pytest.approx(0.9957893, abs=1e-7)
    assert found.loc[0, ["high", "sent", "lost", "rate", "rate_low"]].tolist() == [576, 2, 0, 0.0, 0.0]
    assert found.loc[0, "rate_high"] == pytest.approx(1 - 0.025 ** (1 / 2))


def test_an_interval_of_a_share_is_that_of_clopper_and_pearson():
    low, high = mtu.loss_interval(np.array([0.0, 1, 5, 10]), np.array([10.0, 10, 10, 10]))
    assert low == pytest.approx([0.0, 0.0025, 0.1871, 0.6915], abs=1e-4)
    assert high == pytest.approx([0.3085, 0.4450, 0.8129, 1.0], abs=1e-4)


def test_of_all_lost_the_interval_reaches_one():
    found = rates(dies(1500)).set_index("low")
    assert (found.loc[1500, "rate"], found.loc[1500, "rate_high"]) == (1, 1)
    assert found.loc[1500, "rate_low"] == pytest.approx(0.025 ** (1 / 5))


def test_offload_packets_have_no_class():
    super_packet = analysed(HANDSHAKE + "0.06 > PA seq=1 ack=1 len=2920\n0.09 < A seq=1 ack=2921")
    assert rates(super_packet).empty
    assert mtu.loss_rates(tables.empty("sizes"), tables.empty("connections")).empty
