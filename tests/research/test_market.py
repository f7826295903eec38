"""Protects the load: nothing after the sealed date is seen, and what is sealed can be judged on."""

import numpy as np
import pandas as pd
import pytest

import workbench as wb
from workbench.core.errors import DataError
from workbench.research.market import HELD_BACK, load_sealed, sealed_date, unseal
from workbench.store import Store


@pytest.fixture
def candles(home):
    """Half a year of hourly candles in a file."""
    index = pd.date_range("2024-01-01", periods=24 * 180, freq="1h")
    close = 100 * np.exp(np.random.default_rng(1).normal(0, 0.005, len(index)).cumsum())
    frame = pd.DataFrame({"timestamp": index, "open": close, "high": close, "low": close})
    path = home / "BTCUSDT_60.csv"
    frame.assign(close=close, volume=1.0).to_csv(path, index=False)
    return path


def test_load_of_a_file_ends_at_the_sealed_date(candles):
    """DESIGN 5: enforced in research.load."""
    market = wb.load(["BTCUSDT"], source=candles)

    until = sealed_date(market)
    assert market.index[-1] <= until < market.index[-1] + market.bar_length
    assert wb.load(["BTCUSDT"], end="2030-01-01").index[-1] == market.index[-1]


def test_load_sealed_follows_the_market_without_a_gap(candles):
    market = wb.load(["BTCUSDT"], source=candles)

    after = load_sealed(market, bars=24)

    assert after.index[0] == market.index[-1] - 23 * market.bar_length
    # All that the file holds: its last bar is taken to be in progress.
    assert market.n_bars + (after.index > market.index[-1]).sum() == 24 * 180 - 1


def test_unseal_moves_the_date_on_record(candles):
    wb.load(["BTCUSDT"], source=candles)

    unseal("2024-06-01", reason="a look")

    assert wb.load(["BTCUSDT"]).index[-1] == pd.Timestamp("2024-06-01", tz="UTC")
    with Store.open() as store:
        assert store.events(kind="seal")["detail"][0]["reason"] == "a look"


def test_load_of_what_is_sealed_whole_says_so(candles):
    wb.load(["BTCUSDT"], source=candles)

    with pytest.raises(DataError, match="sealed"):
        wb.load(["BTCUSDT"], start="2024-06-20")


def test_load_sealed_of_a_synthetic_market_goes_on_for_half_a_year(home):
    market = wb.load(["BTCUSDT"], source="synthetic", start="2024-01-01", end="2024-03-01", seed=3)

    after = load_sealed(market, bars=48)

    assert after.index[-1] - market.index[-1] == HELD_BACK
    pd.testing.assert_frame_equal(after.close.iloc[:48], market.close.iloc[-48:], check_freq=False)


def test_load_sealed_of_a_market_made_by_hand_is_none(home):
    from tests.markets import random_market

    assert load_sealed(random_market(1), bars=10) is None


def test_load_with_an_effect_carries_it_in_every_title(home):
    span = {"source": "synthetic", "start": "2024-01-01", "end": "2024-02-01"}

    planted = wb.load(["BTCUSDT"], effect=0.05, **span)

    assert planted.watermark == "SYNTHETIC · PLANTED EFFECT"
    assert planted.resample("D").watermark == planted.watermark
    plain = wb.load(["BTCUSDT"], **span)
    assert not np.allclose(plain.close, planted.close)
    assert plain.snapshot_id != planted.snapshot_id


def test_load_with_an_effect_on_real_data_is_refused(candles):
    with pytest.raises(DataError, match="synthetic"):
        wb.load(["BTCUSDT"], source=candles, effect=0.05)


def test_load_of_another_venue_of_the_lake(home, candles):
    """What `workbench data synth` wrote, or an import from elsewhere, is loaded by its name."""
    wb.data.write_market(wb.data.synthesise(["BTCUSDT"], n_bars=300, seed=2), home / "data/lake")
    wb.data.import_file(candles, lake=home / "data/lake", venue="binance")

    made = wb.load(["BTCUSDT"], source="lake:synthetic")
    assert (made.watermark, made.n_bars) == ("SYNTHETIC", 300)
    assert wb.load(["BTCUSDT"], source="lake:binance").watermark == ""
    with pytest.raises(DataError, match="from bybit"):
        wb.load(["BTCUSDT"])
