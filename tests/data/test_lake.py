"""Protects the lake: nothing lost, nothing half-written, the same rows the same bytes."""

import multiprocessing
import os
from datetime import UTC, datetime, timedelta
from decimal import Decimal

import polars as pl
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.markets import make_instrument
from workbench.core.errors import DataError
from workbench.data import Lake, Series

START = datetime(2024, 1, 30, tzinfo=UTC)
SERIES = Series("kline", "BTCUSDT", "60")


def rows(first, count, *, close=1.0):
    times = [START + timedelta(hours=first + k) for k in range(count)]
    table = {"time": pl.Series(times).dt.cast_time_unit("us")}
    for name in ("open", "high", "low", "close"):
        table[name] = [close + k for k in range(first, first + count)]
    return pl.DataFrame(table)


@pytest.fixture
def lake(tmp_path):
    return Lake(tmp_path / "lake")


def contents(lake):
    return {path.name: path.read_bytes() for path in lake.files(SERIES)}


def test_write_splits_by_month_and_reads_back(lake):
    report = lake.write(SERIES, rows(0, 100))
    assert [path.name for path in report.files] == ["2024-01.parquet", "2024-02.parquet"]
    held = lake.read(SERIES)
    assert held["close"].to_list() == [1.0 + k for k in range(100)]
    assert held.schema["time"] == pl.Datetime("us", "UTC")
    assert held["volume"].null_count() == 100


def test_write_again_changes_no_byte(lake):
    """DF-01: idempotent."""
    lake.write(SERIES, rows(0, 100))
    before = contents(lake)
    report = lake.write(SERIES, rows(20, 50))
    assert (report.n_new, report.n_changed, report.files) == (0, 0, ())
    assert contents(lake) == before


def test_write_of_other_values_counts_them(lake):
    lake.write(SERIES, rows(0, 10))
    report = lake.write(SERIES, rows(8, 4, close=5.0))
    assert (report.n_new, report.n_changed) == (2, 2)
    assert lake.read(SERIES)["close"].to_list()[7:9] == [8.0, 13.0]


@settings(
    max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(
    spans=st.lists(st.tuples(st.integers(0, 80), st.integers(1, 60)), min_size=1, max_size=5),
    order=st.randoms(use_true_random=False),
)
def test_write_in_any_order_and_overlap_gives_the_same_rows(tmp_path_factory, spans, order):
    one, other = (Lake(tmp_path_factory.mktemp("lake")) for _ in range(2))
    for span in spans:
        one.write(SERIES, rows(*span))
    order.shuffle(spans)
    for span in spans:
        other.write(SERIES, rows(*span))
    assert one.read(SERIES).equals(other.read(SERIES))
    assert contents(one) == contents(other)


def test_crash_before_the_rename_leaves_the_old_file_whole(lake, monkeypatch):
    lake.write(SERIES, rows(0, 10))
    before = contents(lake)

    def crash(_):
        raise OSError("the power is gone")

    monkeypatch.setattr(os, "fsync", crash)
    with pytest.raises(OSError, match="power"):
        lake.write(SERIES, rows(10, 10))
    monkeypatch.undo()
    assert contents(lake) == before
    assert not list(lake.root.rglob("*.part"))


def write_span(root, first):
    for k in range(5):
        Lake(root).write(SERIES, rows(first + 5 * k, 5))


def test_two_processes_writing_at_once_lose_no_row(lake):
    context = multiprocessing.get_context("spawn")
    writers = [context.Process(target=write_span, args=(lake.root, first)) for first in (0, 20)]
    for writer in writers:
        writer.start()
    for writer in writers:
        writer.join()
        assert writer.exitcode == 0
    assert len(lake.read(SERIES)) == 45


def test_read_of_a_span_includes_its_start_only(lake):
    lake.write(SERIES, rows(0, 100))
    part = lake.read(SERIES, start=START + timedelta(hours=5), end=START + timedelta(hours=8))
    assert part["close"].to_list() == [6.0, 7.0, 8.0]
    assert lake.read(Series("kline", "NONEUSDT", "60")).is_empty()


def test_series_lists_what_is_there(lake):
    lake.write(SERIES, rows(0, 3))
    lake.write(Series("funding", "BTCUSDT"), rows(0, 1).select("time", rate=pl.lit(1e-4)))
    assert {series.kind for series in lake.series()} == {"kline", "funding"}
    assert lake.span(SERIES) == (START, START + timedelta(hours=2), 3)


def test_sql_sees_kinds_as_views_and_explains_errors(lake):
    lake.write(SERIES, rows(0, 3))
    answer = lake.sql("SELECT symbol, COUNT(*) AS n FROM kline GROUP BY symbol")
    assert answer.rows() == [("BTCUSDT", 3)]
    with pytest.raises(DataError, match="Views with data: kline"):
        lake.sql("SELECT * FROM trades")


def test_instruments_round_trip_keeps_every_decimal(lake):
    instrument = make_instrument(launched=START, tick_size=Decimal("0.00010"))
    lake.write_instruments([instrument])
    lake.write_instruments([make_instrument("BBBUSDT")])
    held = lake.read_instruments()
    assert held["AAAUSDT"] == instrument
    assert str(held["AAAUSDT"].tick_size) == "0.00010"
    assert set(held) == {"AAAUSDT", "BBBUSDT"}


@pytest.mark.parametrize(
    "frame",
    [
        pl.DataFrame({"close": [1.0]}),
        pl.DataFrame({"time": [datetime(2024, 1, 1)], "close": [1.0]}),  # noqa: DTZ001
    ],
)
def test_rows_without_a_moment_are_refused(lake, frame):
    with pytest.raises(DataError, match="UTC"):
        lake.write(SERIES, frame)


def test_unknown_kind_lists_the_known(lake):
    with pytest.raises(DataError, match="open_interest"):
        lake.write(Series("ticks", "BTCUSDT"), rows(0, 1))


def test_digest_follows_the_content(lake):
    path = lake.write(SERIES, rows(0, 3)).files[0]
    first = lake.digest(path)
    lake.write(SERIES, rows(3, 1))
    assert lake.digest(path) != first
