"""Protects the market: one index by known_at, nothing from the future, nothing silently missing."""

from datetime import UTC, datetime
from decimal import Decimal

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.markets import make_index, make_instrument, make_market, random_market
from workbench.core.errors import DataError
from workbench.core.records import (
    FIELDS,
    Account,
    Market,
    from_bar_start,
    interval_delta,
    to_bar_start,
    to_decimal,
    to_float,
)


def frame(values, index=None, columns=("AAAUSDT",)):
    table = np.asarray(values, dtype=float).reshape(len(values), len(columns))
    index = make_index(len(values)) if index is None else index
    return pd.DataFrame(table, index=index, columns=list(columns))


class TestFromFrames:
    @pytest.mark.parametrize("unit", ["s", "ms", "us", "ns"])
    def test_index_of_any_unit_becomes_microseconds(self, unit):
        """Trap: pandas 3 counts in microseconds, other tools in others."""
        market = Market.from_frames(
            {"close": frame([1, 2], make_index(2).as_unit(unit))}, interval="60"
        )
        assert str(market.index.dtype) == "datetime64[us, UTC]"
        assert market.index[0] == pd.Timestamp("2024-01-01 01:00", tz="UTC")
        assert market.index.name == "known_at"

    def test_naive_index_is_refused(self):
        with pytest.raises(DataError, match="zone"):
            Market.from_frames(
                {"close": frame([1], make_index(1).tz_localize(None))}, interval="60"
            )

    @pytest.mark.parametrize("order", [[1, 0], [0, 0]])
    def test_index_not_increasing_is_refused(self, order):
        with pytest.raises(DataError, match="strictly increasing"):
            Market.from_frames({"close": frame([1, 2], make_index(2)[order])}, interval="60")

    def test_frames_unaligned_are_refused(self):
        with pytest.raises(DataError, match="unlike close"):
            Market.from_frames({"close": frame([1, 2]), "open": frame([1])}, interval="60")

    def test_unknown_field_is_refused_with_the_known(self):
        with pytest.raises(DataError, match="open_interest"):
            Market.from_frames({"close": frame([1]), "price": frame([1])}, interval="60")

    def test_missing_fields_are_nan_and_mark_falls_back_flagged(self):
        market = make_market(close=[1.0, 2.0])
        assert market.funding_settled.isna().all().all()
        assert market.mark_close.equals(market.close)
        assert market.mark_is_last
        assert not random_market(1).mark_is_last


class TestTime:
    def test_until_holds_what_was_known_and_no_more(self):
        market = random_market(1)
        moment = market.index[10] + pd.Timedelta(minutes=59)
        assert market.until(moment).index[-1] == market.index[10]
        assert market.until(moment, bars=3).n_bars == 3

    def test_between_includes_both_ends(self):
        market = random_market(1)
        assert market.between(market.index[2], market.index[4]).n_bars == 3

    @settings(max_examples=30)
    @given(st.integers(30, 299), st.sampled_from(["120", "240", "480", "D"]))
    def test_resample_of_a_prefix_is_a_prefix_of_the_resample(self, cut, interval):
        """SM-03: a longer bar is labelled by the moment when it is complete."""
        market = random_market(2)
        part = market.until(market.index[cut]).resample(interval)
        whole = market.resample(interval)
        assert part.index.equals(whole.index[: part.n_bars])
        for name in FIELDS:
            pd.testing.assert_frame_equal(
                getattr(part, name), getattr(whole, name).iloc[: part.n_bars], check_freq=False
            )
        assert part.n_bars == 0 or part.index[-1] <= market.index[cut]

    def test_resample_aggregates_each_field_in_its_way(self):
        market = random_market(3)
        day = market.resample("D")
        rows = market.between("2024-01-02 01:00Z", "2024-01-03 00:00Z")
        assert day.index[1] == pd.Timestamp("2024-01-03", tz="UTC")
        assert np.allclose(day.open.iloc[1], rows.open.iloc[0])
        assert np.allclose(day.close.iloc[1], rows.close.iloc[-1])
        assert np.allclose(day.high.iloc[1], rows.high.max())
        assert np.allclose(day.mark_low.iloc[1], rows.mark_low.min())
        assert np.allclose(day.funding_settled.iloc[1], rows.funding_settled.sum())
        assert np.allclose(day.turnover.iloc[1], rows.turnover.sum())

    def test_resample_to_a_shorter_interval_is_refused(self):
        with pytest.raises(DataError, match="whole multiple"):
            random_market(1).resample("15")

    def test_bar_start_and_back(self):
        known = frame([1, 2])
        starts = to_bar_start(known, "60")
        assert starts.index[0] == pd.Timestamp("2024-01-01", tz="UTC")
        assert from_bar_start(starts, "60").index.equals(known.index)

    def test_year_has_365_days(self):
        assert random_market(1).bars_per_year == 8760


def test_select_unknown_symbol_names_the_known():
    with pytest.raises(DataError, match=r"no ZZZUSDT.*AAAUSDT, BBBUSDT"):
        random_market(1).select(["ZZZUSDT"])


def test_watermark_says_synthetic():
    market = Market.from_frames({"close": frame([1])}, interval="60", is_synthetic=True)
    assert market.watermark == "SYNTHETIC"


@given(st.decimals(-1000, 1000, places=4))
def test_border_to_decimal_and_back_keeps_the_step(amount):
    step = Decimal("0.0001")
    assert to_decimal(to_float(amount), step=step) == amount


def test_border_refuses_what_is_not_a_number():
    with pytest.raises(DataError, match="cannot become"):
        to_decimal(float("nan"), step=Decimal(1))


def test_interval_unknown_lists_the_known():
    with pytest.raises(DataError, match=r"'1h' is not an interval.*60"):
        interval_delta("1h")


def test_account_without_capital_is_refused():
    with pytest.raises(DataError, match="above 0"):
        Account(capital_usdt=0)


def test_instrument_is_frozen():
    with pytest.raises(AttributeError):
        make_instrument().symbol = "X"


def test_until_a_datetime_of_another_zone():
    market = random_market(1)
    assert market.until(datetime(2024, 1, 1, 12, tzinfo=UTC)).n_bars == 12
