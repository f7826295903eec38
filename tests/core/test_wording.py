"""Protects how measures are shown: every one has words, a unit that is its own, one direction."""

import pytest

from workbench.core.measures import RETURN_MEASURES, TRADE_MEASURES
from workbench.core.wording import (
    LESS,
    MORE,
    SHARES,
    THIN,
    better_way,
    describe_name,
    describe_value,
)


@pytest.mark.parametrize("name", [*RETURN_MEASURES, *TRADE_MEASURES])
def test_every_measure_is_written_in_words(name):
    assert "_" not in describe_name(name)
    assert describe_name(f"buy_and_hold.{name}") == f"buy and hold: {describe_name(name)}"


def test_directions_and_units_name_measures_and_do_not_clash():
    beside = {  # what a backtest and a sweep add to the measures of returns and trades
        *("volatility", "exposure", "share_above_zero", "final_equity_usdt", "turnover_usdt"),
        *("turnover_a_year", "fees_usdt", "slippage_usdt", "funding_usdt", "n_liquidations"),
        "n_margin_cuts",
    }
    assert set() == MORE & LESS
    assert {*RETURN_MEASURES, *TRADE_MEASURES} | beside >= MORE | LESS | SHARES
    assert better_way("strategy.max_drawdown") == -1
    assert better_way("buy_and_hold.sharpe") == 1
    assert better_way("n_trades") == 0


@pytest.mark.parametrize(
    ("name", "value", "text"),
    [
        ("max_drawdown", 0.4700, "47.0 %"),
        ("value_at_risk_95", 0.00752, "0.75 %"),
        ("strategy.expected_shortfall_97.5", 0.0158, "1.58 %"),
        ("longest_drawdown_bars", 6541.0, "6,541"),
        ("fees_usdt", 598.6433, "598.64"),
        ("fees_usdt", 25_105.62, "25,106"),
        ("kappa_3", -0.0042, "-0.0042"),
        ("funding_usdt", 0.0, "0.00"),
        ("win_rate", float("nan"), "—"),
        ("omega", float("inf"), "∞"),
        ("sharpe", None, "—"),
        ("fast", 24, "24"),
    ],
)
def test_value_is_written_in_its_unit(name, value, text):
    assert describe_value(name, value).replace(THIN, " ") == text
