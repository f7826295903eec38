"""Protects ``workbench autopsy``: what a visitor reads about trades of their own."""

import pandas as pd
import pytest
from typer.testing import CliRunner

from tests.data.test_tradelist import freqtrade_trade, write_freqtrade
from workbench.cli import app
from workbench.cli.terminal import err, out
from workbench.core.config import load_config
from workbench.data import import_file
from workbench.store import Store


@pytest.fixture(autouse=True)
def _wide(monkeypatch, _width_of_columns):
    monkeypatch.setattr(out, "_width", 200)
    monkeypatch.setattr(err, "_width", 200)


@pytest.fixture
def bars(home, shared_data):
    """A quarter of BTC, daily: the opens by the start of each bar."""
    path = shared_data / "bybit_dirty_raw_1d" / "BTCUSDT.csv"
    if not path.is_file():
        pytest.skip(f"needs {path}")
    rows = pd.read_csv(path)
    rows = rows.drop_duplicates("timestamp").tail(200).head(150)
    clean = home / "BTCUSDT_1d.csv"
    rows.to_csv(clean, index=False)
    import_file(clean, lake=load_config().lake_dir)
    stamps = pd.to_datetime(rows["timestamp"], unit="ms", utc=True)
    return pd.Series(rows["open"].to_numpy(dtype=float), index=pd.DatetimeIndex(stamps))


def call(*words):
    return CliRunner().invoke(app, ["autopsy", *map(str, words)])


def trades(bars, count=40):
    return [
        freqtrade_trade(
            pair="BTC/USDT:USDT", amount=0.05, leverage=1.0, funding_fees=0.0,
            open_date=str(bars.index[3 * k + 2]), close_date=str(bars.index[3 * k + 4]),
            open_rate=bars.iloc[3 * k + 2], close_rate=bars.iloc[3 * k + 4],
        )
        for k in range(count)
    ]  # fmt: skip


def test_autopsy_shows_what_was_read_the_waterfall_and_the_verdict(bars, home):
    path = write_freqtrade(home / "backtest-result.zip", trades(bars))
    done = call(path, "--trials", "200")
    assert done.exit_code == 0, done.output + done.stderr
    assert "freqtrade backtest: 40 trades of BTCUSDT" in done.output
    assert "guessed: the perpetual BTCUSDT for BTC/USDT:USDT" in done.output
    for layer in ("as claimed", "Bybit's taker fees", "next-open fills", "margin and liquidation"):
        assert layer in done.output
    assert "REFUSED" in done.output
    assert "before the gate autopsy" in done.output
    assert "> 0" in done.output
    assert "UNLEDGERED" in done.output
    with Store.open() as store:
        assert store.trials().empty
        assert store.events(kind="verdict").empty


def test_autopsy_flags_prices_and_names_what_lacks(bars, home):
    rows = trades(bars)
    rows[3]["open_rate"] *= 1.5
    rows.append(freqtrade_trade(pair="DOGE/USDT:USDT"))
    done = call(write_freqtrade(home / "b.zip", rows), "--trials", 1)
    assert done.exit_code == 0, done.output + done.stderr
    assert "impossible: BTCUSDT at" in done.output
    assert "left out: 1 trades of DOGEUSDT: workbench data pull DOGEUSDT" in done.output


def test_autopsy_without_the_number_of_trials_is_not_held(bars, home):
    done = call(write_freqtrade(home / "b.zip", trades(bars)))
    assert done.exit_code == 2
    assert "--trials" in done.output


def test_autopsy_of_what_the_lake_has_nothing_of_ends_with_one(home):
    done = call(write_freqtrade(home / "b.zip", [freqtrade_trade()]), "--trials", 1)
    assert done.exit_code == 1
    assert "workbench data pull BTCUSDT" in done.stderr


def test_autopsy_of_a_pickle_is_refused(home):
    done = call(home / "records.pkl", "--trials", 1)
    assert done.exit_code == 1
    assert "runs whatever code" in done.stderr
