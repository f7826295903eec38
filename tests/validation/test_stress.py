"""Protects stress runs: accounts live through shocks, and ladders end where the edge does."""

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.markets import make_market, random_market, scripted
from workbench.backtest.run import run
from workbench.core.costs import FREE, Costs
from workbench.core.errors import DataError
from workbench.core.records import Account
from workbench.risk.scenarios import Shock
from workbench.strategies.hold import BuyAndHold
from workbench.strategies.momentum import TimeSeriesMomentum
from workbench.validation.frozen import delay, freeze, replay
from workbench.validation.stress import RUNGS, cost_ladder, replay_shocks

SIGN = TimeSeriesMomentum(horizon=20, volatility_bars=3, rebalance_every=1)


def daily(seed, n_symbols=2):
    return random_market(seed, n_bars=200, n_symbols=n_symbols, interval="D", volatility=0.02)


def gap(size, **fields):
    return Shock(name=f"{size:+.0%}", moves={"*": size}, **fields)


@pytest.mark.parametrize("strategy", [BuyAndHold(), SIGN], ids=lambda s: type(s).__name__)
def test_shock_of_nothing_leaves_every_window_as_it_was(strategy):
    """VA-10."""
    done = replay_shocks(strategy, daily(1), shocks=[Shock(name="nothing")], moments=5)

    assert (done.runs["change"] == 0.0).all()
    pd.testing.assert_frame_equal(done.runs.xs("nothing"), done.runs.xs("no shock"))
    assert done.table["moments"].tolist() == [5, 5]


@settings(max_examples=8, deadline=None)
@given(
    seed=st.integers(0, 1_000),
    leverage=st.sampled_from([0.5, 1.0, 4.0]),
    stop=st.sampled_from([None, 0.05]),
)
def test_larger_fall_never_leaves_a_long_account_more(seed, leverage, stop):
    """VA-10: at every moment, through stops and liquidations."""
    sizes = [-0.02, -0.1, -0.25, -0.5, -0.9]
    plan = scripted([[0.5, 0.4]], stop_loss=stop)

    done = replay_shocks(
        plan, daily(seed), shocks=[gap(size) for size in sizes], moments=3,
        account=Account(leverage=leverage, margin_leverage=10),
    )  # fmt: skip

    left = np.column_stack([done.runs["total_return"].xs(gap(size).name) for size in sizes])
    # A stop that fills at the open of the gap already gives what the stop without it gave later.
    assert (np.diff(left, axis=1) <= 1e-9).all()
    assert (left >= -1.0).all()


def test_gap_takes_a_leveraged_account_whole_and_no_more():
    done = replay_shocks(
        BuyAndHold(), daily(2), shocks=[gap(-0.4)], moments=4,
        account=Account(leverage=4, margin_leverage=10),
    )  # fmt: skip

    row = done.table.loc["-40%"]
    assert (row["liquidated"], row["worst_return"], row["worst_drawdown"]) == (1.0, -1.0, 1.0)
    assert done.table.loc["no shock", "liquidated"] == 0.0


def test_stop_fills_beyond_a_gap_and_at_its_price_in_a_slide():
    """The same fall of 30 per cent: no line from shock to loss knows the difference."""
    market = make_market(close=np.full(200, 100.0), interval="D")
    plan = scripted([1.0], stop_loss=0.05)
    shocks = [gap(-0.3), Shock(name="slide", moves={"*": -0.3}, slide_hours=24 * 7)]

    done = replay_shocks(plan, market, shocks=shocks, moments=3, days_after=10, costs=FREE)

    assert done.table.loc["-30%", "mean_return"] == pytest.approx(-0.3)
    step = 0.7 ** (1 / 7)
    assert done.table.loc["slide", "mean_return"] == pytest.approx(step**2 - 1, abs=1e-9)


def test_strategy_decides_on_the_shocked_market():
    """A momentum that is long before a lasting fall is short after it, and holds it no longer."""
    market = make_market(close=100 * 1.002 ** np.arange(300), interval="D")
    slide = Shock(name="slide", moves={"*": -0.6}, slide_hours=24 * 20)

    hold, sign = (
        replay_shocks(s, market, shocks=[slide], moments=3, days_after=40, costs=FREE)
        for s in (BuyAndHold(), SIGN)
    )

    assert hold.table.loc["slide", "mean_return"] < -0.5
    assert sign.table.loc["slide", "mean_return"] > hold.table.loc["slide", "mean_return"] + 0.1


def test_funding_shock_costs_the_side_that_it_is_against():
    market = daily(3, n_symbols=1)
    shocks = [Shock(name="long", funding_add=0.01), Shock(name="short", funding_add=-0.01)]

    done = replay_shocks(BuyAndHold(), market, shocks=shocks, moments=3, days_after=20)

    runs = done.runs["funding_usdt"]
    assert (runs.xs("long") > runs.xs("no shock")).all()
    assert (runs.xs("short") < runs.xs("no shock")).all()
    assert done.table.loc["long", "mean_change"] < 0 < done.table.loc["short", "mean_change"]


def test_shock_that_cannot_be_shown_is_listed_with_its_reason():
    done = replay_shocks(BuyAndHold(), daily(1, n_symbols=1), moments=2)

    assert done.table.loc["gap down 10 %", "status"] == "replayed"
    assert done.table.loc["squeeze up 20 %", "status"] == "not shown: the market has no BTCUSDT"
    assert done.table.loc["hedges fail", "moments"] == 0
    assert (done.table["status"] == "replayed").sum() < len(done.table)


def test_moments_that_cannot_show_a_shock_are_not_counted():
    market = random_market(1, n_bars=200, interval="D")
    market.funding_settled.iloc[:150] = np.nan
    done = replay_shocks(
        BuyAndHold(), market, shocks=[Shock(name="x", funding_add=0.01)], moments=10
    )

    assert 0 < done.table.loc["x", "moments"] < 10
    lacks = done.runs.xs("x")["lacks"]
    assert set(lacks) == {"", "the market has no funding rates"}


def test_shocks_in_threads_give_the_same_table():
    one, two = (replay_shocks(SIGN, daily(4), moments=3, workers=n) for n in (1, 4))

    pd.testing.assert_frame_equal(one.table, two.table)


def test_shocks_on_real_prices_hurt_who_is_long(majors):
    market = majors.select(["BTCUSDT", "ETHUSDT"]).between("2022-01-01", "2022-12-31")

    table = replay_shocks(BuyAndHold(), market, moments=3).table

    assert (table["status"] == "replayed").all()
    falls = ["gap down 10 %", "bitcoin down 20 %, others by beta", "bitcoin down 50 % in a day"]
    assert (table.loc[falls, "worst_change"] < [-0.08, -0.15, -0.3]).all()
    assert table.loc["squeeze up 20 %", "mean_change"] > 0.15
    assert table.loc["liquidity dries up", "mean_change"] < 0


def test_market_too_short_for_betas_and_days_after_is_refused():
    with pytest.raises(DataError, match="92 bars must lie before"):
        replay_shocks(BuyAndHold(), random_market(1, n_bars=95, interval="D"))
    with pytest.raises(DataError, match="same name"):
        replay_shocks(BuyAndHold(), daily(1), shocks=[gap(-0.1), gap(-0.1)])


def test_rung_of_todays_costs_is_the_plain_run():
    """VA-10: the rung of latency 0 as well."""
    market = random_market(1)
    plain = run(SIGN, market)
    rows = {"slippage_bps": 2.0, "latency_s": 0.0, "fee_scale": 1.0, "funding_scale": 1.0}

    for of, rung in rows.items():
        table = cost_ladder(SIGN, market, of=of).table
        assert list(table.index) == list(RUNGS[of])
        assert table.loc[rung, "sharpe"] == plain.measures()["sharpe"]
        assert table.loc[rung, "n_fills"] == len(plain.fills)


@pytest.mark.parametrize("of", ["slippage_bps", "fee_scale"])
def test_more_cost_never_leaves_more(of):
    """Small lots, so that the same trades are made on every rung."""
    market = random_market(2, n_symbols=1, with_instruments=False)
    done = cost_ladder(scripted([0.5, -0.5] * 150), market, of=of).table

    assert (np.diff(done["total_return"]) < 0).all()


def test_latency_within_a_bar_is_the_cost_and_beyond_it_a_late_decision():
    market = random_market(3)
    done = cost_ladder(SIGN, market, of="latency_s", rungs=[90, 3_600, 2 * 3_600 + 90]).table

    late = delay(freeze(SIGN, market), 2)
    assert done.loc[90, "sharpe"] == run(SIGN, market, costs=Costs(latency_s=90)).measures().sharpe
    assert (
        done.loc[3_600, "sharpe"]
        == replay(delay(freeze(SIGN, market), 1), market).measures["sharpe"]
    )
    assert (
        done.loc[7_290, "sharpe"]
        == replay(late, market, costs=Costs(latency_s=90)).measures["sharpe"]
    )


def test_edge_of_a_bar_is_gone_a_bar_late():
    """A forecast of the next bar alone earns at once and nothing later."""
    rng = np.random.default_rng(0)
    moves = rng.normal(0, 0.01, 2_000)
    close = 100 * np.exp(np.cumsum(moves))
    seen = np.sign(np.append(moves[1:], 0.0))
    market = make_market(close=close, open=np.append(100.0, close[:-1]))

    ladder = cost_ladder(
        scripted(seen.tolist()), market, of="latency_s", rungs=[0, 1_800, 3_600], costs=FREE
    )

    sharpe = ladder.table["sharpe"]
    assert sharpe[0] > 80
    assert 0 < sharpe[1_800] < sharpe[0]
    assert abs(sharpe[3_600]) < 5


def test_break_even_lies_where_the_edge_pays_for_its_trades():
    """A bar earns 10 bps and costs twice the slippage: 5 bps are what it can bear."""
    close = 100 * np.cumprod(np.tile([1.001, 1 / 1.001], 200))
    rng = np.random.default_rng(0)
    close = close * np.exp(rng.normal(0, 1e-6, 400))
    market = make_market(close=close, open=np.append(100.0, close[:-1]))
    plan = scripted([0.0 if k % 2 == 0 else 1.0 for k in range(400)])
    bare = Costs(0, 0, 0, 0, 0, 0)

    ladder = cost_ladder(plan, market, of="slippage_bps", rungs=[0, 4, 6, 8], costs=bare)

    assert ladder.gone_at == 6
    assert ladder.break_even == pytest.approx(5, abs=0.1)


def test_ladder_without_an_end_or_without_an_edge_says_so():
    market = make_market(close=100 * 1.001 ** np.arange(300) * np.tile([1, 1.0001], 150))
    up = cost_ladder(BuyAndHold(), market, of="slippage_bps")
    down = cost_ladder(scripted([-1.0]), market, of="slippage_bps")

    assert (up.gone_at, up.break_even) == (np.inf, np.inf)
    assert (down.gone_at, down.break_even) == (0.0, 0.0)


@pytest.mark.parametrize("rungs", [[], [-1, 2], [1, 1], [3, 2]])
def test_rungs_that_do_not_rise_are_refused(rungs):
    with pytest.raises(DataError, match="rungs of a ladder"):
        cost_ladder(BuyAndHold(), random_market(1), of="slippage_bps", rungs=rungs)


def test_funding_ladder_without_rates_is_refused():
    with pytest.raises(DataError, match="no funding rates"):
        cost_ladder(BuyAndHold(), make_market(close=[100.0, 101, 102]), of="funding_scale")
