import pandas as pd
import pytest

from smtpkit import tables

PRIVACY = {
    *("address", "host", "mailbox", "message_id", "path", "name", "text"),
    *("filter", "octets", "hash", "sentence", "figures", "none"),
}


@pytest.mark.parametrize("table", tables.TABLES)
def test_every_column_says_what_it_means(table):
    described = tables.describe(table)
    assert described["name"].is_unique
    assert (described["meaning"].str.len() > 3).all()
    assert set(described["privacy"]) <= PRIVACY


@pytest.mark.parametrize("table", tables.TABLES)
def test_an_empty_table_has_all_columns_and_survives_conform(table):
    empty = tables.empty(table)
    pd.testing.assert_frame_equal(tables.conform(empty, table), empty)
    pd.testing.assert_frame_equal(tables.from_rows([], table), empty)
    pd.testing.assert_frame_equal(tables.concat([], table), empty)


def test_absent_is_na_never_zero():
    row = tables.from_rows([{"file": "mainlog", "line": 1, "kind": "other"}], "log_lines")
    assert row[["size", "errno", "time", "text"]].isna().all(axis=None)


def test_a_column_that_cannot_be_absent_must_be_there():
    with pytest.raises(KeyError, match="'frame' cannot be <NA>"):
        tables.conform(pd.DataFrame({"capture": [0], "file": ["a"]}), "packets")


def test_describe_names_the_tables_that_there_are():
    with pytest.raises(KeyError, match="no table 'stall'; there are captures, packets"):
        tables.describe("stall")
