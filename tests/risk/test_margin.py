"""Protects the margin of an account: tiers, the prices and the move at which it is liquidated.

Worked examples of exchanges, the backtest kernel, and the balance that each answer must solve.
"""

from decimal import Decimal

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.markets import make_instrument, make_market, scripted
from workbench.backtest import run
from workbench.core import margin as core
from workbench.core.costs import FREE
from workbench.core.errors import DataError
from workbench.core.records import Account, RiskTier
from workbench.risk.margin import (
    Nearness,
    Tiers,
    cascade,
    classify_distance,
    cross_liquidation_price,
    initial,
    isolated_liquidation_price,
    liquidation_distance,
    maintenance,
    safe_leverage,
    stack_tiers,
)

SYMBOLS = ("AAAUSDT", "BBBUSDT", "CCCUSDT")


def deep(symbol, *, limit, rates):
    """An instrument whose tiers end at multiples of a limit, with continuous deductions."""
    tiers = []
    for k, rate in enumerate(map(Decimal, rates)):
        before = tiers[-1] if tiers else None
        deduction = (
            core.tier_deduction(
                before.deduction_usdt, before.limit_usdt, before.maintenance_rate, rate
            )
            if before
            else Decimal(0)
        )
        tiers.append(RiskTier(Decimal(limit * (k + 1)), rate, 2 * rate, 1 / (2 * rate), deduction))
    return make_instrument(symbol, tiers=tuple(tiers))


INSTRUMENTS = {
    "AAAUSDT": deep("AAAUSDT", limit=20_000, rates=("0.005", "0.01", "0.02", "0.05", "0.125")),
    "BBBUSDT": deep("BBBUSDT", limit=7_000, rates=("0.01", "0.02", "0.25")),
    "CCCUSDT": deep("CCCUSDT", limit=500, rates=("0.02",)),
}
TIERS = stack_tiers(INSTRUMENTS, SYMBOLS)

values = st.lists(
    st.one_of(st.just(0.0), st.floats(100, 90_000), st.floats(-90_000, -100)),
    min_size=3,
    max_size=3,
).map(np.array)
held = values.filter(lambda v: bool(v.any()))


def by_hand(symbol, value):
    """Maintenance by a walk over the instrument's own tiers, in Decimal."""
    size = abs(Decimal(float(value)))
    tiers = INSTRUMENTS[symbol].tiers
    tier = next((t for t in tiers if size <= t.limit_usdt), tiers[-1])
    return float(core.maintenance_margin(size, tier.maintenance_rate, tier.deduction_usdt))


def needed(value):
    return sum(by_hand(s, v) for s, v in zip(SYMBOLS, value, strict=True))


def flat(rate, deduction=0.0):
    """One tier without end for one symbol."""
    return Tiers(*(np.array([[x]]) for x in (np.inf, rate, deduction, 200.0)))


def one(x):
    return np.array([float(x)])


def test_tiers_of_different_depth_are_stacked():
    assert TIERS.limit.shape == (3, 5)
    assert TIERS.limit[1].tolist() == [7_000, 14_000, np.inf, np.inf, np.inf]
    assert TIERS.rate[1].tolist() == [0.01, 0.02, 0.25, 0.25, 0.25]
    assert TIERS.deduction[2].tolist() == [0.0] * 5


def test_symbol_without_tiers_is_named():
    bare = {"AAAUSDT": make_instrument(), "BBBUSDT": make_instrument("BBBUSDT", tiers=())}
    with pytest.raises(DataError, match="no margin tiers of BBBUSDT, CCCUSDT"):
        stack_tiers(bare, SYMBOLS)


@given(values)
def test_maintenance_of_many_is_that_of_each_by_its_tier(value):
    """RK-22: tiered maintenance margin."""
    expected = [by_hand(s, v) for s, v in zip(SYMBOLS, value, strict=True)]
    assert maintenance(value, TIERS) == pytest.approx(expected, rel=1e-12, abs=1e-9)
    assert (
        maintenance(np.stack([value, -value]), TIERS).tolist()
        == [maintenance(value, TIERS).tolist()] * 2
    )


def test_value_on_the_limit_belongs_to_the_lower_tier():
    value = np.array([20_000.0, 20_000.01, np.nan])
    many = Tiers(*(np.repeat(part[:1], 3, axis=0) for part in TIERS))
    assert maintenance(value, many) == pytest.approx([100.0, 100.0001, np.nan], nan_ok=True)
    assert (value / initial(value, 1e9, many))[:2].tolist() == pytest.approx([100.0, 50.0])


def test_initial_margin_is_charged_at_the_leverage_that_the_tier_allows():
    value = np.array([10_000.0, -30_000.0, 500.0])
    assert initial(value, 30.0, TIERS).tolist() == pytest.approx([10_000 / 30, 15_000, 20.0])


@pytest.mark.parametrize(
    ("entry", "qty", "leverage", "rate", "extra", "price"),
    [
        # Bybit's help: one bitcoin, long at 20,000 with 50 times.
        (20_000, 1, 50, 0.005, 0, 19_700),
        # A long at 10,000 due at 9,500 by its maintenance of 0.5 %, then with 1,000 more, then
        # twice as large with the same 1,000.
        (10_000, 1, 10_000 / 550, 0.005, 0, 9_500),
        (10_000, 1, 10_000 / 550, 0.005, 1_000, 8_500),
        (10_000, 2, 10_000 / 550, 0.005, 1_000, 9_000),
        # Phemex's help, USDT-margined: 500 contracts at 0.4 with 5 times and 1 %.
        (0.4, 500, 5, 0.01, 0, 0.323234),
        # The first one the other way.
        (20_000, -1, 50, 0.005, 0, 20_300),
    ],
)
def test_isolated_price_of_worked_examples(entry, qty, leverage, rate, extra, price):
    """RK-22: within 0.1 %. The exchanges' helps charge maintenance on the entry."""
    found = isolated_liquidation_price(one(entry), one(qty), leverage, flat(rate), extra=extra)
    assert found == pytest.approx([price], rel=1e-3)


def test_cross_price_of_the_worked_example_of_two_positions():
    """RK-22: Binance's example, ether and bitcoin long on one wallet, to the cent."""
    entry, mark = np.array([1_456.84, 32_481.98]), np.array([1_335.18, 31_967.27])
    qty = np.array([3_683.979, 109.488])
    shape = np.array([[[np.inf], [np.inf]], [[0.1], [0.025]], [[135_365.0], [16_300.0]],
                      [[5.0], [20.0]]])  # fmt: skip
    tiers = Tiers(*shape)
    assert maintenance(qty * mark, tiers) == pytest.approx([356_512.508, 71_200.81144])
    equity = 1_535_443.01 + core.unrealised_pnl(entry, mark, qty).sum()
    found = cross_liquidation_price(equity, qty, mark, tiers)
    assert found == pytest.approx([1_153.26, 26_316.89], abs=0.005)


@given(
    value=values, leverage=st.floats(1, 30), extra=st.floats(0, 5_000),
    entry=st.lists(st.floats(0.5, 5_000), min_size=3, max_size=3).map(np.array),
)  # fmt: skip
def test_isolated_margin_meets_maintenance_at_the_price(value, leverage, extra, entry):
    """RK-22, trap: the sign of added margin. It moves the price away for longs and for shorts."""
    qty = value / entry
    price = isolated_liquidation_price(entry, qty, leverage, TIERS, extra=extra)
    bare = isolated_liquidation_price(entry, qty, leverage, TIERS)
    left = initial(value, leverage, TIERS) + extra + core.unrealised_pnl(entry, price, qty)
    for k, symbol in enumerate(SYMBOLS):
        if np.isnan(price[k]):
            at_zero = initial(value, leverage, TIERS)[k] + extra - abs(value[k])
            assert value[k] == 0 or (value[k] > 0 and at_zero >= 0)
            continue
        due = by_hand(symbol, qty[k] * price[k])
        assert left[k] == pytest.approx(due, abs=1e-7 * abs(value[k]))
        assert np.sign(qty[k]) * (price[k] - bare[k]) <= 1e-9 * bare[k]


@given(value=held, share=st.floats(0.02, 3), mark=st.floats(0.5, 5_000))
def test_cross_price_is_where_the_account_is_due_while_others_stand(value, share, mark):
    equity = share * np.abs(value).sum()
    qty, marks = value / mark, np.full(3, mark)
    price = cross_liquidation_price(equity, qty, marks, TIERS)
    is_due = equity <= needed(value)
    for k in range(3):
        if np.isnan(price[k]):
            assert value[k] >= 0
            continue
        if abs(equity - needed(value)) > 1e-9 * equity:
            assert is_due == (np.sign(qty[k]) * (price[k] - mark) > 0)
        moved = marks.copy()
        moved[k] = price[k]
        after = equity + float(core.unrealised_pnl(marks, moved, qty).sum())
        if price[k] > 0:
            assert after == pytest.approx(needed(qty * moved), abs=1e-7 * np.abs(value).sum())


@given(value=held, share=st.floats(0.001, 2))
def test_distance_is_the_joint_move_at_which_equity_meets_maintenance(value, share):
    """RK-22: exact over tiers, longs and shorts together."""
    equity = share * np.abs(value).sum()
    distance = liquidation_distance(equity, value, TIERS)

    def free(move):
        return equity - move * np.abs(value).sum() - needed(value * (1 - move * np.sign(value)))

    if distance == 0:
        assert free(0) <= 1e-9 * equity
    elif distance == np.inf:
        assert free(1.0) >= -1e-9 * equity
    else:
        assert free(distance) == pytest.approx(0, abs=1e-7 * np.abs(value).sum())
        assert free(distance * 0.999) > 0


def test_account_under_water_is_due_at_every_price_of_a_short():
    found = cross_liquidation_price(-1e5, np.array([0.0, -2.0, 2.0]), np.full(3, 100.0), TIERS)
    assert found[1] == 0.0
    assert found[2] > 100.0


def test_distance_without_a_position_or_with_a_missing_mark():
    assert liquidation_distance(100.0, np.zeros(3), TIERS) == np.inf
    assert np.isnan(liquidation_distance(100.0, np.array([1.0, np.nan, 0.0]), TIERS))
    assert np.isnan(liquidation_distance(np.nan, np.array([1.0, 0.0, 0.0]), TIERS))
    assert liquidation_distance(-5.0, np.array([1.0, 0.0, 0.0]), TIERS) == 0.0


def shocked(weights, move):
    """An account of the kernel that holds some weights at 100 when every mark moves against it."""
    side = np.sign(weights)
    calm, still = np.full((2, 3), 100.0), np.full((3, 3), 100.0)
    mark = np.vstack([calm, 100.0 * (1 - side * move)])
    market = make_market(
        symbols=SYMBOLS, instruments=INSTRUMENTS, open=still, high=still, low=still, close=still,
        mark_open=mark, mark_close=mark, mark_high=np.maximum(mark, 100.0),
        mark_low=np.minimum(mark, 100.0),
    )  # fmt: skip
    account = Account(10_000, leverage=8, margin_leverage=100)
    return run(scripted([list(weights)]), market, costs=FREE, account=account)


@pytest.mark.parametrize(
    "weights",
    [(0.5, 0.0, 0.0), (-0.7, 0.0, 0.05), (0.3, -0.2, 0.1), (-0.9, -0.05, -0.02), (0.0, 0.15, 0.1)],
)
def test_kernel_liquidates_at_the_distance(weights):
    """RK-22: the backtest, which asks bar by bar, agrees on both sides of the distance."""
    weights = np.array(weights)
    qty = shocked(weights, 0.0).positions.iloc[-1].to_numpy()
    distance = liquidation_distance(10_000.0, qty * 100.0, TIERS)
    assert 0.01 < distance < 0.5
    assert shocked(weights, distance * (1 - 1e-6)).n_liquidations == 0
    assert shocked(weights, distance * (1 + 1e-6)).n_liquidations == np.count_nonzero(qty)


@given(value=held, stop=st.floats(0.002, 0.5), buffer=st.floats(0, 0.1))
def test_liquidation_at_the_safe_leverage_lies_beyond_the_stop(value, stop, buffer):
    found = safe_leverage(stop, value, TIERS, buffer=buffer)
    entry = np.full(3, 100.0)
    cap = TIERS.leverage[:, 0]
    for k in range(3):
        if value[k] == 0:
            assert np.isnan(found[k])
        elif found[k] > 0:
            price = isolated_liquidation_price(entry, value / entry, found, TIERS)[k]
            reach = np.sign(value[k]) * (1 - price / 100)
            is_never = np.isnan(price)
            assert is_never or reach >= stop + buffer - 1e-9
            if found[k] < 0.999 * initial_cap(value, k):
                assert reach == pytest.approx(stop + buffer, abs=1e-9)
            assert found[k] <= cap[k]


def initial_cap(value, k):
    """The leverage that the tier of a value allows."""
    return abs(value[k]) / initial(value, 1e9, TIERS)[k]


def test_safe_leverage_is_zero_where_even_one_is_too_much():
    assert safe_leverage(1.2, np.array([-100.0, 100.0, 0.0]), TIERS).tolist()[:2] == [0.0, 0.0]
    assert np.isnan(safe_leverage(np.nan, np.array([1.0, 1.0, 1.0]), TIERS)).all()


def test_classes_of_distance_end_at_their_bounds():
    table = {0.31: "SAFE", 0.30: "WATCH", 0.15: "NEAR", 0.05: "CRITICAL", 0.0: "CRITICAL"}
    assert {d: classify_distance(d).name for d in table} == table
    assert classify_distance(float("inf")) is Nearness.SAFE
    assert classify_distance(float("nan")) is Nearness.CRITICAL
    assert classify_distance(0.2, bounds={Nearness.NEAR: 0.25}) is Nearness.NEAR


@given(value=held, share=st.floats(0.05, 0.6))
def test_cascade_at_the_bankruptcy_price_takes_all_at_the_distance(value, share):
    """RK-22: what the kernel does to the whole account at once, in steps."""
    equity = share * np.abs(value).sum()
    distance = liquidation_distance(equity, value, TIERS)
    steps = cascade(equity, value, TIERS)
    if distance == np.inf:
        assert steps == []
        return
    assert sorted(step.column for step in steps) == np.flatnonzero(value).tolist()
    assert [step.move for step in steps] == pytest.approx([distance] * len(steps), rel=1e-6)
    if distance > 0:
        assert steps[-1].equity == pytest.approx(0, abs=1e-6 * equity)


@given(value=held, share=st.floats(0.05, 0.6), forfeit=st.floats(0, 1))
def test_cascade_keeps_the_account_to_the_cent(value, share, forfeit):
    equity = share * np.abs(value).sum()
    steps = cascade(equity, value, TIERS, forfeit=forfeit)
    left, before, size = equity, 0.0, np.abs(value)
    for step in steps:
        assert step.move >= before
        left -= (step.move - before) * size.sum() + step.lost
        now = abs(value[step.column]) * (1 - np.sign(value[step.column]) * step.move)
        assert abs(step.value) == pytest.approx(now, rel=1e-9)
        assert step.equity == pytest.approx(left, abs=1e-6 * equity)
        assert step.lost <= by_hand(SYMBOLS[step.column], step.value) * (1 + 1e-9)
        size[step.column], before = 0.0, step.move
    assert [s.needed for s in steps[-1:]] in ([], [0.0]) or steps[-1].needed > 0


def test_takeover_that_moves_prices_brings_the_next_one_nearer():
    value = np.array([20_000.0, 12_000.0, -5_000.0])
    impact = np.full((3, 3), 2e-4)
    calm = cascade(4_000.0, value, TIERS, forfeit=0.0)
    pushed = cascade(4_000.0, value, TIERS, forfeit=0.0, impact=impact)
    assert pushed[0] == calm[0]._replace(equity=pushed[0].equity, needed=pushed[0].needed)
    first = calm[0].value
    shift = -np.sign(first) * 2e-4 * np.sqrt(abs(first))
    others = np.delete(value * (1 - np.sign(value) * calm[0].move), calm[0].column)
    gained = float((others * shift).sum())
    assert pushed[0].equity - calm[0].equity == pytest.approx(gained)
    assert gained < 0
    assert pushed[1].move < calm[1].move


def test_cascade_stops_where_the_rest_can_bear_the_whole_move():
    value = np.array([20_000.0, 100.0, 0.0])
    steps = cascade(19_000.0, value, TIERS, forfeit=0.0)
    assert [step.column for step in steps] == [0]
    assert steps[0].equity > steps[0].needed > 0


def test_cascade_of_unknown_values_is_refused():
    with pytest.raises(DataError, match="is missing"):
        cascade(1_000.0, np.array([1.0, np.nan, 0.0]), TIERS)
