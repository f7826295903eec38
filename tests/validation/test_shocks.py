"""Protects hypothetical shocks: what is not shocked stays, and what is moves as it would."""

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.markets import make_market, random_market
from workbench.core.costs import Costs
from workbench.core.errors import DataError
from workbench.core.records import FIELDS
from workbench.risk.scenarios import Shock, betas, load_shocks
from workbench.validation.shocks import lacking, shock_costs, shock_market

ROW = 120
PRICES = [f"{kind}{name}" for kind in ("", "mark_") for name in ("open", "high", "low", "close")]
NOTHING = Shock(name="nothing")


def layered(seed, n_symbols=3):
    """An hourly market with half-hour bars and bars of four hours beside it."""
    fine = random_market(seed, n_bars=400, n_symbols=n_symbols, interval="30")
    hourly = fine.resample("60")
    return replace(hourly, others={"30": fine, "240": hourly.resample("240")})


def gap(size, **fields):
    return Shock(name="gap", moves={"*": size}, **fields)


def shocked(market, shock, row=ROW):
    return shock_market(market, shock, at=market.index[row])


@settings(max_examples=10, deadline=None)
@given(seed=st.integers(0, 1_000))
def test_shock_of_nothing_changes_nothing_bit_for_bit(seed):
    """VA-10."""
    market = layered(seed)
    same = shocked(market, NOTHING)

    for one, other in [
        (market, same),
        *((market.others[k], same.others[k]) for k in ("30", "240")),
    ]:
        for name in FIELDS:
            pd.testing.assert_frame_equal(getattr(one, name), getattr(other, name))
    assert shock_costs(Costs(), NOTHING) == Costs()


@settings(max_examples=15, deadline=None)
@given(seed=st.integers(0, 1_000), size=st.floats(-0.9, 0.9))
def test_gap_jumps_at_the_open_and_everything_follows(seed, size):
    """VA-10: prices, marks, finer and coarser bars; nothing before."""
    market = layered(seed)
    after = shocked(market, gap(size))

    for name in PRICES:
        one, other = getattr(market, name), getattr(after, name)
        pd.testing.assert_frame_equal(one.iloc[:ROW], other.iloc[:ROW])
        np.testing.assert_allclose(other.iloc[ROW:], one.iloc[ROW:] * (1 + size))
    assert (after.low <= after.close).all(axis=None)
    assert (after.high >= after.open).all(axis=None)
    np.testing.assert_allclose(
        after.open.iloc[ROW] / after.close.iloc[ROW - 1],
        (1 + size) * market.open.iloc[ROW] / market.close.iloc[ROW - 1],
    )
    pd.testing.assert_frame_equal(after.others["30"].resample("60").close, after.close)
    pd.testing.assert_frame_equal(after.others["240"].high, after.resample("240").high)
    pd.testing.assert_frame_equal(after.volume, market.volume)
    np.testing.assert_allclose(after.turnover.iloc[ROW:], market.turnover.iloc[ROW:] * (1 + size))
    assert after.is_synthetic


def test_slide_and_recovery_take_their_hours():
    market = make_market(close=np.full(40, 100.0))
    shock = gap(-0.5, slide_hours=4, recovery=0.25, recovery_hours=2)

    close = shocked(market, shock, row=10).close["AAAUSDT"].to_numpy() / 100

    steps = [0.5 ** (k / 4) for k in range(5)]
    np.testing.assert_allclose(close[9:14], steps)
    np.testing.assert_allclose(close[14:16], [0.5 ** (1 - 0.125), 0.5**0.75])
    np.testing.assert_allclose(close[16:], 0.5**0.75)


def test_moves_of_named_symbols_leave_the_rest_to_the_star():
    market = random_market(1, n_symbols=3)
    shock = Shock(name="x", moves={"*": -0.4, "AAAUSDT": 0.0, "BBBUSDT": 0.1})

    moved = shocked(market, shock).close.iloc[-1] / market.close.iloc[-1]

    np.testing.assert_allclose(moved, [1.0, 1.1, 0.6])


def factored(seed, n_bars=300):
    """Two factors and a symbol that follows them by 1.7 and -0.4, and one that is new."""
    rng = np.random.default_rng(seed)
    moves = rng.normal(0, 0.01, (n_bars, 3))
    moves[:, 1] += 0.6 * moves[:, 0]
    moves[:, 2] = 1.7 * moves[:, 0] - 0.4 * moves[:, 1] + rng.normal(0, 1e-4, n_bars)
    close = 100 * np.exp(np.column_stack([moves, moves[:, 0]]).cumsum(axis=0))
    close[: ROW - 20, 3] = np.nan
    return make_market(close=close, symbols=("AAAUSDT", "BBBUSDT", "CCCUSDT", "DDDUSDT"))


def test_betas_find_what_was_planted_and_equal_statsmodels():
    import statsmodels.api as sm

    market = factored(1)
    found = betas(market, ["AAAUSDT", "BBBUSDT"], until=market.index[ROW - 1])

    np.testing.assert_allclose(found.loc["CCCUSDT"], [1.7, -0.4], atol=0.01)
    np.testing.assert_array_equal(found.iloc[:2], np.eye(2))
    assert found.loc["DDDUSDT"].isna().all()
    logs = np.diff(np.log(market.close.iloc[:ROW].to_numpy()), axis=0)
    oracle = sm.OLS(logs[:, 2], sm.add_constant(logs[:, :2])).fit()
    np.testing.assert_allclose(found.loc["CCCUSDT"], oracle.params[1:])


def test_betas_of_a_window_forget_what_lies_before():
    market = factored(1)
    turned = market.close.to_numpy(copy=True)
    turned[:40, 2] = np.linspace(50, 90, 40)
    other = make_market(close=turned, symbols=market.symbols)
    until = market.index[ROW]

    pd.testing.assert_frame_equal(
        betas(market, ["AAAUSDT"], until=until, days=3),
        betas(other, ["AAAUSDT"], until=until, days=3),
    )


def test_factor_shock_moves_others_by_beta_and_the_new_one_like_the_average():
    market = factored(2)
    moved = np.log(
        shocked(market, Shock(name="x", factors={"AAAUSDT": -0.2})).close.iloc[-1]
        / market.close.iloc[-1]
    )
    found = betas(market, ["AAAUSDT"], until=market.index[ROW - 1])["AAAUSDT"]

    assert moved["AAAUSDT"] == pytest.approx(np.log(0.8))
    assert moved["CCCUSDT"] == pytest.approx(found["CCCUSDT"] * np.log(0.8))
    assert moved["DDDUSDT"] == pytest.approx(found.iloc[:3].mean() * np.log(0.8))


def test_two_factors_move_the_rest_by_joint_betas():
    market = factored(3)
    shock = Shock(name="x", factors={"AAAUSDT": -0.1, "BBBUSDT": -0.3})

    moved = np.log(shocked(market, shock).close.iloc[-1] / market.close.iloc[-1])

    np.testing.assert_allclose(np.exp(moved.iloc[:2]), [0.9, 0.7])
    assert moved["CCCUSDT"] == pytest.approx(1.7 * np.log(0.9) - 0.4 * np.log(0.7), abs=0.01)


@settings(max_examples=15, deadline=None)
@given(seed=st.integers(0, 1_000), share=st.floats(0.05, 1.0), sign=st.sampled_from([-1, 1]))
def test_correlations_become_what_is_asked_and_each_symbol_keeps_its_own_moves(seed, share, sign):
    """VA-10, Kim and Finger (2000)."""
    market = random_market(seed, n_bars=300, n_symbols=4)
    after = shocked(market, Shock(name="x", correlation=sign * share))

    one, other = (np.log(m.close.iloc[ROW - 1 :]).diff().iloc[1:] for m in (market, after))
    goal = np.ones((4, 4)) if sign > 0 else np.eye(4)
    target = (1 - share) * one.corr() + share * goal
    np.testing.assert_allclose(other.corr(), target, atol=1e-6)
    np.testing.assert_allclose(other.std(), one.std())
    np.testing.assert_allclose(other.mean(), one.mean(), atol=1e-12)
    np.testing.assert_allclose(after.close.iloc[-1], market.close.iloc[-1])
    pd.testing.assert_frame_equal(after.close.iloc[:ROW], market.close.iloc[:ROW])


def test_correlations_are_changed_by_moving_returns_as_little_as_can_be():
    """The distance of the two Gaussians, Olkin and Pukelsheim (1982), equation 4."""
    from scipy.linalg import sqrtm

    market = random_market(5, n_bars=300, n_symbols=3)
    after = shocked(market, Shock(name="x", correlation=0.7))

    one, other = (np.log(m.close.iloc[ROW - 1 :]).diff().iloc[1:] for m in (market, after))
    moved = (((other - one) / one.std(ddof=0)) ** 2).to_numpy().sum() / len(one)
    root = sqrtm(one.corr().to_numpy())
    least = 6 - 2 * np.trace(sqrtm(root @ other.corr().to_numpy() @ root))
    assert moved == pytest.approx(least)


def test_correlations_of_symbols_with_gaps_are_left_alone():
    market = random_market(1, n_symbols=3)
    close = market.close.copy()
    close.iloc[200, 2] = np.nan
    after = shocked(replace(market, close=close), Shock(name="x", correlation=1.0))

    pd.testing.assert_series_equal(after.close["CCCUSDT"], close["CCCUSDT"])
    assert after.close["AAAUSDT"].iloc[200] != close["AAAUSDT"].iloc[200]


def test_funding_and_turnover_change_from_the_shock_on_and_costs_as_a_whole():
    market = random_market(1)
    shock = Shock(
        name="x", funding_scale=2.0, funding_add=0.001, turnover_scale=0.1, spread_scale=10,
        slippage_scale=3, fee_scale=2, latency_s=5,
    )  # fmt: skip
    after = shocked(market, shock)

    paid, was = after.funding_settled, market.funding_settled
    pd.testing.assert_frame_equal(paid.iloc[:ROW], was.iloc[:ROW])
    pd.testing.assert_frame_equal(paid.iloc[ROW:], was.iloc[ROW:] * 2.0 + 0.001)
    pd.testing.assert_frame_equal(after.turnover.iloc[ROW:], market.turnover.iloc[ROW:] * 0.1)
    pd.testing.assert_frame_equal(after.close, market.close)
    assert shock_costs(Costs(2, 5, 1, 2, 0, 1), shock) == Costs(4, 10, 10, 6, 0, 6)


@pytest.mark.parametrize(
    ("shock", "words"),
    [
        (Shock(name="x", factors={"BTCUSDT": -0.1}), "no BTCUSDT"),
        (Shock(name="x", moves={"*": -0.1, "BTCUSDT": 0.0}), "no BTCUSDT"),
        (Shock(name="x", correlation=0.5), "fewer than two symbols"),
        (Shock(name="x", funding_add=0.001), "no funding rates"),
        (Shock(name="x", funding_scale=0.0), "no funding rates"),
    ],
)
def test_market_that_cannot_show_a_shock_says_what_it_lacks(shock, words):
    market = make_market(close=np.linspace(100, 110, 200))

    assert words in lacking(market, shock, row=ROW)
    with pytest.raises(DataError, match=words):
        shocked(market, shock)


def test_factor_without_enough_bars_before_is_said_to_be_lacking():
    market = random_market(1)
    shock = Shock(name="x", factors={"AAAUSDT": -0.1})

    assert "no 30 bars before" in lacking(market, shock, row=30)
    assert lacking(market, shock, row=31) == ""


@pytest.mark.parametrize("at", ["2023-01-01", "2025-01-01"])
def test_shock_outside_the_market_is_refused(at):
    with pytest.raises(DataError, match="no bar"):
        shock_market(random_market(1), NOTHING, at=at)


@pytest.mark.parametrize("shock", load_shocks(), ids=lambda shock: shock.name)
def test_package_shock_changes_the_market_or_its_costs(shock):
    """VA-10: factor, correlation breakdown, liquidity and several at once are among them."""
    market = random_market(1, n_symbols=3)
    names = dict(zip(market.symbols, ("BTCUSDT", "ETHUSDT", "SOLUSDT"), strict=True))
    frames = {name: getattr(market, name).rename(columns=names) for name in (*FIELDS, "member")}
    market = replace(market, **frames, instruments={})
    after = shocked(market, shock)

    differs = [n for n in FIELDS if not getattr(after, n).equals(getattr(market, n))]
    assert differs or shock_costs(Costs(), shock) != Costs()
    assert shock.what
    assert (after.low.iloc[ROW:] > 0).all(axis=None)


def test_package_shocks_cover_every_kind():
    shocks = load_shocks()

    assert len({shock.name for shock in shocks}) == len(shocks) >= 12
    assert any(len(shock.factors) > 1 for shock in shocks)
    assert any(shock.correlation > 0 for shock in shocks)
    assert any(shock.correlation < 0 for shock in shocks)
    assert any(shock.spread_scale > 1 and shock.turnover_scale < 1 for shock in shocks)
    assert {np.sign(shock.funding_add) for shock in shocks} == {-1, 0, 1}
