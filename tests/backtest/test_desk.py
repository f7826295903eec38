"""Protects several strategies on one account: their profits are the account's, to the cent."""

import numpy as np
import pandas as pd
import pytest

from tests.markets import random_market, scripted
from tests.risk.desk import NO_LIMITS
from workbench.backtest.desk import run_desk
from workbench.core.errors import ConfigError
from workbench.core.measures import total_return
from workbench.portfolio.attribution import attribute
from workbench.risk.limits import load_limits

LIMITS = load_limits("aggressive")


def plans(n_bars):
    """A trend, its opposite in another rhythm, and one that only sits."""
    rng = np.random.default_rng(4)
    draws = rng.uniform(-1, 1, (2, n_bars // 6 + 1, 2)).repeat(6, axis=1)[:, :n_bars]
    return {
        "fast": scripted(draws[0].tolist(), stop_loss=0.03, rebalance_band=0.05),
        "slow": scripted(draws[1].tolist(), rebalance_band=0.05),
        "sits": scripted([[0.4, -0.4]] * n_bars, rebalance_band=0.1),
    }


@pytest.fixture(scope="module")
def result():
    """Three strategies over ten days, at four times their part."""
    market = random_market(8, n_bars=240, n_symbols=2, volatility=0.012)
    return run_desk(plans(240), market, limits=LIMITS)


def test_run_desk_gives_each_of_several_a_tenth_at_most(result):
    """PM-06."""
    assert result.shares.to_dict() == {"fast": 0.1, "slow": 0.1, "sits": 0.1}
    value = result.positions.abs().to_numpy() * np.tile(result.market.close.to_numpy(), 3)
    gross = value.reshape(240, 3, 2).sum(axis=2) / result.equity.to_numpy()[:, None]
    assert 0.05 < gross.max() < 0.21


def test_run_desk_books_of_fills_and_funding_are_the_equity_to_the_cent(result):
    """PM-01: by the exact books, strategy by strategy, every layer named."""
    market = result.market
    table = attribute(
        result.fills, result.funding, close=market.close, mark=market.mark_close, spread_bps=1.0
    )
    gained = result.equity.iloc[-1] - result.account.capital_usdt
    assert table["pnl"].sum() == pytest.approx(gained, abs=0.005)
    by_strategy = table["pnl"].groupby(level="strategy").sum()[list(result.strategies)]
    pd.testing.assert_series_equal(
        by_strategy, result.risk.pnl.iloc[-1], check_names=False, atol=0.005
    )
    assert (table["fee"] < 0).all()


def test_run_desk_strategy_returns_weighted_by_shares_are_the_accounts(result):
    """PM-05."""
    whole = (result.strategy_returns * result.shares).sum(axis=1)
    np.testing.assert_allclose(whole, result.daily_returns, atol=1e-12)
    compound = total_return(result.daily_returns.to_numpy())
    assert compound == pytest.approx(result.equity.iloc[-1] / 10_000 - 1)


def test_run_desk_net_positions_are_what_the_exchange_holds(result):
    named = result.positions.T.groupby(level="symbol").sum().T
    np.testing.assert_allclose(result.net_positions, named[result.market.symbols])
    assert (
        result.net_positions.abs().sum() < result.positions.abs().T.groupby("symbol").sum().T.sum()
    ).any()


def test_run_desk_with_one_strategy_stopped_leaves_the_others_trading(result):
    """SM-01: the drawdown of one refuses it alone."""
    limits = LIMITS.model_copy(update={"max_strategy_drawdown": 0.02})
    held = run_desk(plans(240), result.market, limits=limits)
    refused = held.refusals.query("reason == 'strategy'")
    first, since = refused.iloc[0][["strategy", "known_at"]]
    later = held.fills[held.fills["known_at"] > since]
    assert set(later["strategy"]) - {first}


@pytest.mark.parametrize(
    ("shares", "what"),
    [
        ({"fast": 0.5, "slow": 0.1, "sits": 0.1}, "up to 0.1"),
        ({"fast": 0.1, "slow": 0.1}, "do not fit"),
        ({"fast": 0.1, "slow": 0.1, "sits": 0.0}, "above 0"),
    ],
)
def test_run_desk_with_shares_that_do_not_fit_says_which(shares, what):
    with pytest.raises(ConfigError, match=what):
        run_desk(plans(60), random_market(1, n_bars=60), limits=LIMITS, shares=shares)


def test_run_desk_of_nobody_is_an_error():
    with pytest.raises(ConfigError, match="no strategy"):
        run_desk({}, random_market(1), limits=NO_LIMITS)


def test_run_desk_of_one_strategy_has_the_account_to_itself():
    market = random_market(1, n_bars=60)
    one = run_desk({"one": scripted([[0.3, 0.3]] * 60)}, market, limits=LIMITS)
    assert one.shares["one"] == 1.0
