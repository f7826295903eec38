"""Protects rebalancing: what is due as the kernel says, and orders that keep every limit."""

from dataclasses import replace
from decimal import Decimal

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.markets import make_instrument, random_market, scripted
from workbench.backtest import run
from workbench.core.costs import FREE, Costs
from workbench.core.errors import ConfigError, DataError
from workbench.core.records import Account, to_float
from workbench.portfolio.rebalance import Prices, Rules, due_moments, due_targets, plan_rebalance

NAMES = ["AAAUSDT", "BBBUSDT", "CCCUSDT", "DDDUSDT", "EEEUSDT"]
INSTRUMENTS = {name: make_instrument(name) for name in NAMES}
PRICE = pd.Series([100.0, 20.0, 3.0, 50_000.0, 0.5], NAMES)
EQUITY = 100_000.0
COSTS = Costs(taker_fee_bps=5.5, spread_bps=2.0, slippage_bps=1.0)
weights = st.lists(
    st.one_of(st.floats(-1, 1), st.just(0.0), st.just(float("nan"))), min_size=5, max_size=5
)


def plan(wanted, held=(0.0,) * 5, *, prices=None, costs=COSTS, rules=None, **options):
    own = {"equity_usdt": EQUITY, "instruments": INSTRUMENTS} | options
    return plan_rebalance(
        pd.Series(wanted, NAMES), pd.Series(held, NAMES), prices=prices or Prices(PRICE),
        costs=costs, rules=rules, **own,
    )  # fmt: skip


def lots(held):
    """Quantities as positions have them: in whole lots."""
    return [0.0 if w != w else round(w * EQUITY / p, 3) for w, p in zip(held, PRICE, strict=True)]


@settings(max_examples=60)
@given(
    wanted=weights, held=weights, band=st.floats(0, 0.3),
    most=st.one_of(st.none(), st.integers(0, 5)), leverage=st.floats(0, 4),
    turnover=st.floats(0, 4), is_scheduled=st.booleans(), least=st.floats(0, 5_000),
)  # fmt: skip
def test_no_limit_is_passed_and_every_order_is_an_order(
    wanted, held, band, most, leverage, turnover, is_scheduled, least
):
    """PM-03, PM-06: positions, leverage, turnover, lots and the least order, whatever is wanted."""
    rules = Rules(band, most, leverage, turnover, least)
    own = lots(held)
    found = plan(wanted, own, rules=rules, is_scheduled=is_scheduled)
    before = pd.Series(own, NAMES) * PRICE / EQUITY
    after = before.copy()
    for one in found.proposals:
        instrument = INSTRUMENTS[one.symbol]
        assert isinstance(one.qty, Decimal)
        assert one.qty > 0
        assert one.qty % instrument.qty_step == 0
        assert one.qty <= instrument.max_market_qty
        if one.why != "exit":
            assert one.qty >= instrument.min_qty
            assert one.notional_usdt >= max(least, 5)
        after[one.symbol] += one.side * to_float(one.qty) * PRICE[one.symbol] / EQUITY
        assert one.weight_after == pytest.approx(after[one.symbol], abs=1e-9)
        assert one.cost_usdt == pytest.approx(one.notional_usdt * (5.5 + 1.0 + 1.0) * 1e-4)
    assert np.allclose(after, found.weights, atol=1e-9)
    reduced = sum(
        abs(one.weight_after - one.weight_before)
        for one in found.proposals if abs(one.weight_after) < abs(one.weight_before)
    )  # fmt: skip
    gross = before.abs().sum() - reduced
    assert after.abs().sum() <= max(leverage, gross) + 1e-9
    assert found.turnover <= max(turnover, reduced) + 1e-9
    assert found.turnover >= reduced
    n_before, n_after = (before != 0).sum(), (after.abs() > 1e-12).sum()
    assert most is None or n_after <= max(n_before, most)
    for i, name in enumerate(NAMES):
        if np.isnan(wanted[i]):
            assert after[name] == pytest.approx(before[name])


@settings(max_examples=40)
@given(wanted=weights, held=weights)
def test_without_limits_the_plan_arrives_within_a_lot_and_is_then_done(wanted, held):
    found = plan(wanted, lots(held))
    skipped = {one.symbol for one in found.skipped}
    goal = pd.Series(wanted, NAMES).where(~np.isnan(wanted), found.weights)
    for name in set(NAMES) - skipped:
        lot = PRICE[name] * 0.001 / EQUITY
        capped = 5_000 * PRICE[name] / EQUITY
        gap = abs(found.weights[name] - goal[name])
        assert gap <= lot + 1e-9 or any(
            one.notional_usdt / EQUITY == pytest.approx(capped) for one in found.proposals
        )
    again = plan(wanted, (found.weights * EQUITY / PRICE).round(3).tolist())
    largest = max((one.notional_usdt for one in again.proposals), default=0.0)
    if all(one.qty < 5_000 for one in found.proposals):
        assert largest == 0.0


@pytest.mark.parametrize("scheduled", [False, True])
def test_band_leaves_small_drifts_and_the_calendar_does_not(scheduled):
    held = [105.0, 0.0, 0.0, 0.0, 0.0]  # a weight of 0.105
    found = plan([0.1, 0.0, 0.0, 0.0, 0.0], held, rules=Rules(band=0.01), is_scheduled=scheduled)
    assert [(one.why, one.side, one.qty) for one in found.proposals] == (
        [("calendar", -1, Decimal("5.000"))] if scheduled else []
    )
    drifted = plan([0.1, 0.0, 0.0, 0.0, 0.0], [120.0, 0, 0, 0, 0], rules=Rules(band=0.01))
    assert [(one.why, one.qty) for one in drifted.proposals] == [("drift", Decimal("20.000"))]


def test_entries_and_exits_are_due_whatever_the_band():
    found = plan([0.005, 0.0, np.nan, np.nan, np.nan], [0, 200, 0, 0, 0], rules=Rules(band=0.5))
    assert {one.symbol: one.why for one in found.proposals} == {
        "AAAUSDT": "entry", "BBBUSDT": "exit",
    }  # fmt: skip


def test_an_exit_is_never_too_small():
    """What is left of a position, worth less than any order may be, can still be closed."""
    found = plan([0.0] * 5, [0.02, 0, 0, 0, 0], rules=Rules(min_order_usdt=5_000))
    assert [(one.why, one.qty) for one in found.proposals] == [("exit", Decimal("0.020"))]
    kept = plan([0.01, 0, 0, 0, 0], [0, 0, 0, 0, 0], rules=Rules(min_order_usdt=5_000))
    assert kept.skipped == (("AAAUSDT", "1000.00 USDT is below the least order"),)


def test_reductions_come_first_and_whole_and_free_room_for_the_rest():
    """A turn is an exit and an entry: the exit is not held up by the cap."""
    found = plan([-0.5, 0.5, 0.0, 0.0, 0.0], [400, 0, 50_000 / 3, 0, 0],
                 rules=Rules(max_turnover=1.0))  # fmt: skip
    after = found.weights
    assert [one.symbol for one in found.proposals] == ["AAAUSDT", "CCCUSDT", "AAAUSDT", "BBBUSDT"]
    assert after["CCCUSDT"] == pytest.approx(0.5 - 5_000 * 3 / EQUITY, abs=1e-3)
    assert after["AAAUSDT"] < 0
    scaled = plan([-0.5, 0.5, 0.0, 0.0, 0.0], [400, 0, 0, 0, 0], rules=Rules(max_turnover=0.4))
    assert scaled.weights["AAAUSDT"] == 0
    assert scaled.weights["BBBUSDT"] == 0


def test_the_largest_new_positions_have_the_places_there_are():
    found = plan([0.1, -0.3, 0.2, 0.05, np.nan], [10, 0, 0, 0, 0], rules=Rules(max_positions=3))
    assert set(found.weights.index[found.weights != 0]) == {"AAAUSDT", "BBBUSDT", "CCCUSDT"}
    assert [tuple(one) for one in found.skipped] == [("DDDUSDT", "beyond 3 positions")]


def test_an_order_that_costs_more_than_it_gains_is_left_out_only_when_asked():
    """And never one that reduces."""
    wanted, held = [0.2, 0.2, 0.0, 0.0, 0.0], [0.0, 0.0, 5_000.0, 0.0, 0.0]
    assert len(plan(wanted, held).proposals) == 3
    expected = pd.Series([0.01, 0.0001, 0.05, 0.0, 0.0], NAMES)
    found = plan(wanted, held, prices=Prices(PRICE, expected=expected))
    assert {one.symbol for one in found.proposals} == {"AAAUSDT", "CCCUSDT"}
    assert found.skipped[0].words == "costs 15.00 USDT to gain 2.00"
    assert found.cost_usdt == pytest.approx((20_000 + 15_000) * 7.5e-4)


def test_cost_has_the_impact_of_the_square_root_law():
    prices = Prices(PRICE, PRICE * 0 + 4e6, PRICE * 0 + 0.03)
    found = plan([0.4, 0, 0, 0, 0], costs=replace(FREE, impact=1.0), prices=prices)
    assert found.cost_usdt == pytest.approx(40_000 * 0.03 * np.sqrt(40_000 / 4e6))


def test_a_missing_price_stops_its_own_order_alone():
    """Risk never crosses from one symbol's missing data to another's order."""
    price = PRICE.where(PRICE.index != "BBBUSDT")
    found = plan([0.1, 0.1, 0.0, 0.0, 0.0], prices=Prices(price))
    assert [one.symbol for one in found.proposals] == ["AAAUSDT"]
    assert found.skipped == (("BBBUSDT", "no price"),)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"prices": Prices(PRICE * np.nan), "held": [1, 0, 0, 0, 0]}, "AAAUSDT is held and has no"),
        ({"equity_usdt": 0.0}, "equity is not above 0"),
        ({"equity_usdt": float("nan")}, "equity is not above 0"),
        ({"instruments": {"AAAUSDT": INSTRUMENTS["AAAUSDT"]}}, "no instrument BBBUSDT, CCC"),
        ({"costs": replace(FREE, impact=1.0)}, "impact needs"),
    ],
)
def test_what_cannot_be_planned_is_refused(options, words):
    with pytest.raises(DataError, match=words):
        plan([0.1] * 5, options.pop("held", [0.0] * 5), **options)


def test_a_position_without_a_target_is_neither_closed_nor_forgotten():
    with pytest.raises(DataError, match="ZZZUSDT is held and has no target"):
        plan_rebalance(
            pd.Series([0.1], ["AAAUSDT"]), pd.Series([1.0], ["ZZZUSDT"]), equity_usdt=EQUITY,
            prices=Prices(PRICE), instruments=INSTRUMENTS, costs=COSTS,
        )  # fmt: skip
    with pytest.raises(ConfigError, match="no rules"):
        Rules(band=float("nan"))


@settings(max_examples=25, deadline=None)
@given(
    seed=st.integers(0, 10_000), band=st.sampled_from([0.005, 0.02, 0.1, float("inf")]),
    leverage=st.sampled_from([0.5, 2.0]),
)  # fmt: skip
def test_due_targets_are_those_that_the_kernel_trades_for(seed, band, leverage):
    """Parity: at every bar, over whole runs, what is due here is what was ordered there."""
    rng = np.random.default_rng(seed)
    market = random_market(seed, n_bars=150, with_instruments=False, volatility=0.005)
    script = rng.uniform(-0.5, 0.5, market.close.shape).round(4)
    script[rng.random(script.shape) < 0.5] = np.nan
    script = pd.DataFrame(script).ffill(limit=3).to_numpy()
    own = scripted(script.tolist(), rebalance_band=band)
    result = run(own, market, costs=FREE, account=Account(1e6, leverage=leverage))
    wanted = result.weights.to_numpy()
    applied = np.zeros(wanted.shape[1])
    traded = {
        (row, str(symbol))
        for row, symbol in zip(
            market.index.get_indexer(result.fills["known_at"]), result.fills["symbol"], strict=True
        )
    }
    for t in range(market.n_bars - 1):
        held = result.positions.iloc[t].to_numpy() * market.close.iloc[t].to_numpy()
        due = due_targets(
            wanted[t], applied, held, scale_usdt=leverage * float(result.equity.iloc[t]), band=band,
        )  # fmt: skip
        assert {(t + 1, s) for s, is_due in zip(market.symbols, due, strict=True) if is_due} == {
            key for key in traded if key[0] == t + 1
        }
        applied = np.where(due, wanted[t], applied)


def test_what_was_cut_on_purpose_is_no_drift():
    """A target of 1,000 of which risk left a half: 500 held is no drift, 600 is."""
    options = {"scale_usdt": 10_000.0, "band": 0.005, "granted": np.array([0.5, 0.5])}
    wanted = np.array([0.1, 0.1])
    due = due_targets(wanted, wanted, np.array([500.0, 600.0]), **options)
    assert due.tolist() == [False, True]


@pytest.mark.parametrize(
    ("every", "days"),
    [
        ("day", ["01", "02", "03", "04", "05", "06", "07", "08", "09", "10"]),
        ("week", ["01", "08"]),
        ("month", ["01"]),
    ],
)
def test_calendar_asks_once_at_the_start_of_each_period(every, days):
    """2024-01-01 was a Monday; midnight belongs to the day that begins."""
    index = pd.date_range("2024-01-01", "2024-01-10 20:00", freq="4h", tz="UTC")
    due = index[due_moments(index, every=every)]
    assert [f"{t:%d}" for t in due] == days
    assert (due == due.normalize()).all()


@given(
    st.lists(st.integers(0, 200_000), min_size=1, max_size=60, unique=True), st.integers(1, 60),
    st.sampled_from(["day", "week", "month"]),
)  # fmt: skip
def test_calendar_reads_no_later_row(minutes, cut, every):
    """PM-03, causal by ``known_at``; and with gaps the first bar after the start is due."""
    start = pd.Timestamp("2024-01-01", tz="UTC")
    index = pd.DatetimeIndex([start + pd.Timedelta(minutes=m) for m in sorted(minutes)])
    whole = due_moments(index, every=every)
    assert (due_moments(index[:cut], every=every) == whole[:cut]).all()
    code = {"day": "%Y-%m-%d", "week": "%G-%V", "month": "%Y-%m"}[every]
    assert whole.sum() == len(set(index.strftime(code)))
    local = due_moments(index.tz_convert("Asia/Tokyo"), every=every)
    assert (local == whole).all()
