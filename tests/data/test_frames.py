"""Protects the border of the lake: bar starts become known_at, and nothing is moved in time."""

from datetime import UTC, datetime, timedelta

import numpy as np
import pandas as pd
import polars as pl
import pytest

from workbench.core.errors import DataError
from workbench.data import Lake, Series, check_series, import_file, load
from workbench.data.frames import predict_funding

START = datetime(2024, 1, 1, tzinfo=UTC)


def bars(n, *, step=timedelta(hours=1), first=START, base=100.0):
    times = [first + k * step for k in range(n)]
    table = pl.DataFrame({"time": pl.Series(times).dt.cast_time_unit("us")})
    close = base + np.arange(n) % 7
    return table.with_columns(
        open=pl.Series(close), high=pl.Series(close + 1), low=pl.Series(close - 1),
        close=pl.Series(close), volume=pl.lit(1.0), turnover=pl.Series(close),
    )  # fmt: skip


def stamps(times, name, values):
    time = pl.Series("time", times).dt.cast_time_unit("us")
    return pl.DataFrame({"time": time, name: [float(v) for v in values]})


@pytest.fixture
def lake(tmp_path):
    lake = Lake(tmp_path / "lake")
    lake.write(Series("kline", "AAAUSDT", "60"), bars(72))
    return lake


def test_bar_start_becomes_known_at_in_microseconds(lake):
    """DF-03: a bar is known at its close."""
    market = load(["AAAUSDT"], lake=lake)
    assert market.index[0] == pd.Timestamp("2024-01-01 01:00", tz="UTC")
    assert str(market.index.dtype) == "datetime64[us, UTC]"
    assert market.close.iloc[3, 0] == 103.0


def test_span_is_of_known_at_and_includes_both_ends(lake):
    market = load(
        ["AAAUSDT"], lake=lake, start=START + timedelta(hours=5), end=START + timedelta(hours=8)
    )
    assert [str(t)[11:13] for t in market.index] == ["05", "06", "07", "08"]


def test_symbols_are_aligned_on_their_union_and_missing_is_nan(lake):
    lake.write(Series("kline", "BBBUSDT", "60"), bars(10, first=START + timedelta(hours=70)))
    market = load(["AAAUSDT", "BBBUSDT"], lake=lake)
    assert market.n_bars == 80
    assert market.close["BBBUSDT"].isna().sum() == 70
    assert not market.member["BBBUSDT"].iloc[0]


def test_funding_stands_in_the_bar_that_ends_at_its_stamp(lake):
    """BT-07: with the jitter of milliseconds that some venues write."""
    times = [
        START + timedelta(hours=8, milliseconds=7),
        START + timedelta(hours=16, milliseconds=-3),
    ]
    lake.write(Series("funding", "AAAUSDT"), stamps(times, "rate", [1e-4, 2e-4]))
    settled = load(["AAAUSDT"], lake=lake).funding_settled["AAAUSDT"].dropna()
    assert [t.hour for t in settled.index] == [8, 16]
    assert settled.tolist() == [1e-4, 2e-4]


def test_funding_of_a_day_is_summed_in_its_bar(tmp_path):
    lake = Lake(tmp_path)
    lake.write(Series("kline", "AAAUSDT", "D"), bars(3, step=timedelta(days=1)))
    times = [START + timedelta(hours=8 * k) for k in range(0, 7)]
    lake.write(Series("funding", "AAAUSDT"), stamps(times, "rate", [1, 2, 4, 8, 16, 32, 64]))
    settled = load(["AAAUSDT"], interval="D", lake=lake).funding_settled["AAAUSDT"]
    # The stamp at the first bar's start belongs to the day before.
    assert settled.tolist()[:2] == [2 + 4 + 8, 16 + 32 + 64]
    assert np.isnan(settled.iloc[2])


def test_funding_in_a_gap_belongs_to_no_bar(tmp_path):
    lake = Lake(tmp_path)
    lake.write(
        Series("kline", "AAAUSDT", "60"),
        pl.concat([bars(5), bars(5, first=START + timedelta(hours=20))]),
    )
    lake.write(Series("funding", "AAAUSDT"), stamps([START + timedelta(hours=8)], "rate", [1.0]))
    assert load(["AAAUSDT"], lake=lake).funding_settled.isna().all().all()


def test_open_interest_is_as_of_and_not_older_than_two_steps(lake):
    times = [START + timedelta(hours=4 * k) for k in range(3)]
    lake.write(Series("open_interest", "AAAUSDT", "240"), stamps(times, "open_interest", [1, 2, 3]))
    interest = load(["AAAUSDT"], lake=lake).open_interest["AAAUSDT"]
    assert interest.iloc[:4].tolist() == [1, 1, 1, 2]
    assert interest.iloc[15] == 3
    assert interest.iloc[17:].isna().all()


def test_marks_are_taken_where_they_are_whole(lake):
    lake.write(Series("mark", "AAAUSDT", "60"), bars(72, base=200.0))
    market = load(["AAAUSDT"], lake=lake)
    assert market.mark_close.iloc[0, 0] == 200.0
    assert not market.mark_is_last


def test_finer_bars_come_beside(lake):
    fine = bars(72 * 4, step=timedelta(minutes=15))
    lake.write(Series("kline", "AAAUSDT", "15"), fine)
    market = load(["AAAUSDT"], lake=lake, finer="15")
    assert market.others["15"].n_bars == 72 * 4
    assert market.others["15"].index[0] == pd.Timestamp("2024-01-01 00:15", tz="UTC")
    with pytest.raises(DataError, match="not finer"):
        load(["AAAUSDT"], lake=lake, finer="240")


def test_snapshot_id_follows_every_file_behind_the_load(lake):
    bare = load(["AAAUSDT"], lake=lake).snapshot_id
    assert load(["AAAUSDT"], lake=lake).snapshot_id == bare
    lake.write(Series("funding", "AAAUSDT"), stamps([START + timedelta(hours=8)], "rate", [1e-4]))
    assert load(["AAAUSDT"], lake=lake).snapshot_id != bare


def test_missing_series_says_how_to_get_it(lake):
    with pytest.raises(DataError, match="workbench data pull ZZZUSDT"):
        load(["ZZZUSDT"], lake=lake)


def test_series_that_failed_its_check_is_refused_until_accepted(lake):
    """DF-01: data pass quality before they are used."""
    series = Series("kline", "AAAUSDT", "60")
    bad = bars(72)
    lake.write(
        series, bad.with_columns(high=pl.when(pl.int_range(72) == 9).then(1.0).otherwise("high"))
    )
    with pytest.raises(DataError, match="--accept inconsistent_bar"):
        load(["AAAUSDT"], lake=lake)
    check_series(lake, series, accept=["inconsistent_bar"])
    assert load(["AAAUSDT"], lake=lake).n_bars == 72


def test_predicted_funding_is_the_formula_of_the_exchange():
    """BYBIT.md 2.7: the average premium with weights 1..n, pulled to the interest rate."""
    hour = 3_600_000_000
    known = np.arange(1, 9) * hour
    premium = np.array([0.001, 0.002, 0, 0, 0, 0, 0, 0.004])
    rate = predict_funding(premium, known, hour, minutes=480, cap=0.005)
    average = (0.001 * 1 + 0.002 * 2 + 0.004 * 8) / 36
    assert rate[-1] == pytest.approx(average + np.clip(1e-4 - average, -5e-4, 5e-4))
    assert rate[0] == pytest.approx(0.001 - 5e-4)
    assert predict_funding(premium * 100, known, hour, minutes=480, cap=0.005).max() == 0.005
    quiet = predict_funding(np.full(8, 2e-4), known, hour, minutes=480, cap=0.005)
    assert np.allclose(quiet, 1e-4)


def test_real_funding_changes_its_interval_part_way(shared_data, tmp_path):
    """Trap: WIF settles every 8 hours and later every 4."""
    lake = Lake(tmp_path)
    for name in ("ohlcv_1h", "funding"):
        import_file(shared_data / "bybit_linear_2024" / f"{name}.parquet", lake=lake)
    settled = load(["WIFUSDT"], lake=lake).funding_settled["WIFUSDT"].dropna()
    steps = settled.index.to_series().diff().dropna().dt.total_seconds() / 3600
    assert set(steps) >= {4.0, 8.0}
