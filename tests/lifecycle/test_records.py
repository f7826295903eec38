"""Protects the measures of a stage: all from what was recorded, none assumed (GR-07)."""

from dataclasses import replace
from datetime import timedelta

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.lifecycle.scene import COSTS, NOON, make_records
from tests.markets import random_market, scripted
from workbench.backtest.run import run
from workbench.core.errors import DataError
from workbench.lifecycle import Prediction, Records, graduation_score, measure_records

START = NOON - timedelta(days=40)


def measure(records, *, start=START, end=NOON, **changes):
    given_ = {"costs": COSTS, "prediction": None} | changes
    return measure_records(records, start=start, end=end, **given_)


def fills_of(*rows):
    names = ("filled_at", "symbol", "side", "qty", "price", "fee_usdt", "funding_usdt")
    table = pd.DataFrame(rows, columns=[*names, "expected_price"])
    table["filled_at"] = START + pd.to_timedelta(table["filled_at"], unit="h")
    return table.assign(order_id=[str(k) for k in range(len(table))])


def orders_of(*rows):
    table = pd.DataFrame(rows, columns=["sent_at", "qty", "status"])
    table["sent_at"] = START + pd.to_timedelta(table["sent_at"], unit="h")
    return table.assign(order_id=[str(k) for k in range(len(table))])


def equity_of(*values):
    return pd.Series(values, index=pd.date_range(START, periods=len(values), freq="D", unit="us"))


BY_HAND = Records(
    fills=fills_of(
        (1, "A", 1, 2.0, 101.0, 1.0, 0.0, 100.0),  # long 2
        (2, "A", -1, 1.0, 110.0, 0.5, 0.25, 110.0),  # one out: +9
        (3, "B", -1, 10.0, 10.0, 0.2, 0.0, 10.0),  # short 10
        (4, "A", -1, 3.0, 90.0, 1.5, 0.5, 91.0),  # the other out: -11; and short 2
        (5, "B", 1, 10.0, 9.0, 0.2, -0.1, 9.0),  # out: +10
        (6, "A", 1, 1.0, 80.0, 0.4, 0.0, 80.0),  # half of the short out; still open
    ),
    orders=orders_of(
        (1, 2.0, "filled"), (2, 1.0, "filled"), (3, 10.0, "filled"), (4, 3.0, "filled"),
        (5, 10.0, "filled"), (6, 3.0, "cancelled"), (7, 1.0, "rejected"), (8, 2.0, "lost"),
    ),
    equity=equity_of(1000.0, 1010.0, 999.9, 1019.898),
    mismatches=pd.DatetimeIndex([START + timedelta(hours=3)]),
    incidents=pd.DatetimeIndex([], tz="UTC"),
)  # fmt: skip


def test_measures_by_hand():
    found = measure(BY_HAND)
    # A: gross 9 - 11, fees 1 + 0.5 + 0.5 (a third of the turn), funding 0.25 + 0.5.
    # B: gross 10, fees 0.4, funding -0.1.
    first, second = 9 - 11 - 2.0 - 0.75, 10 - 0.4 + 0.1
    returns = np.array([0.01, -0.01, 0.02])
    value = 200 + 110 + 100 + 273 + 90 + 80
    worse = 2 * 1.0 + 3 * 1.0

    assert found["trades"] == 2
    assert found["win_rate"] == 0.5
    assert found["profit_factor"] == pytest.approx(second / -first)
    assert found["losses_in_a_row"] == 1
    assert found["days"] == 3
    assert found["sharpe"] == pytest.approx(returns.mean() / returns.std(ddof=1) * np.sqrt(365))
    assert found["sharpe_7d"] is None
    assert found["max_drawdown"] == pytest.approx(0.01)
    assert found["execution_rate"] == 6 / 8
    assert found["fill_share"] == pytest.approx(27 / 32)
    assert found["slippage"] == pytest.approx(worse / value)
    assert found["cost_drift"] == pytest.approx((worse + 3.8) / value / 8e-4 - 1)
    assert (found["decision_mismatches"], found["reconciliation_incidents"]) == (1, 0)
    assert found["correlation"] == 0
    assert found["shortfall_p"] is None
    assert found["score"] is None


@pytest.fixture(scope="module")
def traded():
    """A backtest with funding and turns, as the exchange would have reported its fills."""
    market = random_market(5, n_bars=24 * 30, volatility=0.01)
    rng = np.random.default_rng(8)
    wanted = np.repeat(rng.choice([-0.4, -0.2, 0.0, 0.2, 0.4], (24 * 6, 2)), 5, axis=0)
    result = run(scripted(wanted.tolist()), market)
    fills, row = result.fills.copy(), dict(zip(market.index, range(market.n_bars), strict=True))
    paid = np.vstack([np.zeros(2), result.funding.cumsum().to_numpy()])
    column = {symbol: k for k, symbol in enumerate(market.symbols)}
    before = dict.fromkeys(market.symbols, 0.0)
    funding = []
    for fill in fills.itertuples():
        total = paid[row[fill.known_at], column[fill.symbol]]
        funding.append(total - before[fill.symbol])
        before[fill.symbol] = total
    fills["funding_usdt"] = funding
    fills["expected_price"] = fills["price"] - fills["side"] * fills["slippage_usdt"] / fills["qty"]
    fills["order_id"] = [str(k) for k in range(len(fills))]
    orders = fills[["order_id", "qty"]].assign(sent_at=fills["filled_at"], status="filled")
    days = result.equity[result.equity.index.hour == 0]
    return result, Records(fills=fills, orders=orders, equity=days)


def test_measures_of_a_backtest_are_those_of_its_own_trades(traded):
    result, records = traded
    closed = result.trades[~result.trades["is_open"]].sort_values("exited_at")
    pnl = closed["pnl_usdt"].to_numpy()
    found = measure(
        records, start=result.market.index[0] - timedelta(hours=2), end=result.market.index[-1]
    )

    assert found["trades"] == len(closed) > 20
    assert found["win_rate"] == pytest.approx((pnl > 0).mean())
    assert found["profit_factor"] == pytest.approx(pnl[pnl > 0].sum() / -pnl[pnl < 0].sum())
    assert found["execution_rate"] == found["fill_share"] == 1
    # Spread and slippage of the cost model, paid on every fill.
    assert found["slippage"] == pytest.approx(2.5e-4, rel=0.05)
    assert found["cost_drift"] == pytest.approx(0.0, abs=0.05)


def average_cost(fills):
    """Realised profit of each trip by average cost, an accounting of its own."""
    done = []
    for _, own in fills.groupby("symbol", sort=False):
        held, cost, pnl = 0.0, 0.0, 0.0
        for fill in own.itertuples():
            qty, fee = fill.side * fill.qty, fill.fee_usdt / fill.qty
            if held * qty < 0:
                out = min(abs(held), abs(qty)) * np.sign(qty)
                pnl += -out * (fill.price - cost) - fee * abs(out)
                held, qty = held + out, qty - out
                if abs(held) < 1e-9:
                    done.append((fill.filled_at, pnl))
                    held, pnl = 0.0, 0.0
            if abs(qty) > 1e-9:
                cost = (cost * abs(held) + fill.price * abs(qty)) / (abs(held) + abs(qty))
                held, pnl = held + qty, pnl - fee * abs(qty)
    return np.array([pnl for _, pnl in sorted(done, key=lambda each: each[0])])


@settings(deadline=None, max_examples=60)
@given(
    rows=st.lists(
        st.tuples(
            st.sampled_from("AB"), st.sampled_from([1, -1]), st.integers(1, 5), st.integers(90, 110)
        ),
        min_size=1,
        max_size=25,
    )
)
def test_trips_of_any_fills_are_those_of_average_cost(rows):
    fills = fills_of(
        *(
            (k + 1, symbol, side, float(qty), float(price), 0.01 * qty, 0.0, float(price))
            for k, (symbol, side, qty, price) in enumerate(rows)
        )
    )
    found = measure(replace(BY_HAND, fills=fills))
    pnl = average_cost(fills)

    assert found["trades"] == len(pnl)
    if len(pnl):
        assert found["win_rate"] == pytest.approx((pnl > 0).mean())


def test_measures_read_the_window_only():
    """Recomputed over the stage's window; what was before or is after changes nothing."""
    records = make_records(NOON, n_days=60, losing=0.3)
    whole = measure(records, start=NOON - timedelta(days=60))
    last = measure(records, start=NOON - timedelta(days=20))
    early = measure(records, start=NOON - timedelta(days=60), end=NOON - timedelta(days=40))

    assert (whole["trades"], last["trades"], early["trades"]) == (240, 80, 80)
    assert (whole["days"], last["days"]) == (60, 20)
    assert early["sharpe"] != last["sharpe"]
    returns = records.returns.to_numpy()[-20:]
    assert last["sharpe"] == pytest.approx(returns.mean() / returns.std(ddof=1) * np.sqrt(365))
    week = records.returns.to_numpy()[-7:]
    assert last["sharpe_7d"] == pytest.approx(week.mean() / week.std(ddof=1) * np.sqrt(365))


def test_trip_opened_before_the_window_counts_where_it_closed():
    late = measure(BY_HAND, start=START + timedelta(hours=3, minutes=30))

    assert late["trades"] == 2


def test_events_are_counted_inside_the_window():
    records = make_records(
        NOON, n_days=30,
        mismatches=pd.DatetimeIndex([NOON - timedelta(days=20), NOON - timedelta(days=2)]),
        incidents=pd.DatetimeIndex([NOON - timedelta(days=20)]),
    )  # fmt: skip
    last = measure(records, start=NOON - timedelta(days=7))

    assert (last["decision_mismatches"], last["reconciliation_incidents"]) == (1, 0)
    edges = pd.DatetimeIndex([NOON - timedelta(days=7), NOON])
    assert (
        measure(replace(records, incidents=edges), start=edges[0])["reconciliation_incidents"] == 1
    )  # after the start, up to and with the end
    nothing = replace(records, mismatches=None, incidents=None)
    assert measure(nothing)["decision_mismatches"] is None
    assert measure(nothing)["reconciliation_incidents"] is None


def test_correlation_is_the_largest_with_the_others_on_common_days():
    """GR-03: measured on returns."""
    mine = make_records(NOON, n_days=40, seed=1)
    same = mine.returns * 3.0
    rng = np.random.default_rng(4)
    half = mine.returns + rng.normal(0, 0.01, len(mine.returns))
    others = {"half": half, "opposite": -mine.returns}
    expected = np.corrcoef(mine.returns, half)[0, 1]

    assert measure(mine, others=others)["correlation"] == pytest.approx(expected)
    assert measure(mine, others={**others, "same": same})["correlation"] == pytest.approx(1.0)
    assert measure(mine, others={"opposite": -mine.returns})["correlation"] == pytest.approx(-1.0)
    assert measure(mine, others={"short": same.iloc[-10:]})["correlation"] is None
    assert measure(mine, others={"flat": same * 0.0})["correlation"] is None


def test_score_is_made_of_the_measures_beside_it():
    found = measure(make_records(NOON, n_days=40, losing=0.3), validation_score=0.8)
    parts = ("sharpe", "max_drawdown", "win_rate", "profit_factor", "validation_score")

    assert found["score"] == graduation_score(
        **{name: found[name] for name in (*parts, "execution_rate", "slippage")}
    )


def test_shortfall_watches_from_where_it_is_told():
    records = make_records(NOON, n_days=60, mean=-0.01)
    promise = Prediction(0.001, 0.1)
    short = measure(records, start=NOON - timedelta(days=5), prediction=promise)
    long = measure(
        records, start=NOON - timedelta(days=5), prediction=promise,
        watched_since=NOON - timedelta(days=60),
    )  # fmt: skip

    assert long["shortfall_p"] < 0.05 < short["shortfall_p"]


def test_nothing_recorded_yet_is_unknown_not_good():
    """No constants: what was not seen is None."""
    empty = Records(BY_HAND.fills.iloc[:0], BY_HAND.orders.iloc[:0], equity_of(1000.0))
    found = measure(empty)

    unknown = {name for name, value in found.items() if value is None}
    assert unknown == {
        "sharpe", "sharpe_7d", "win_rate", "profit_factor", "execution_rate", "fill_share",
        "slippage", "cost_drift", "decision_mismatches", "reconciliation_incidents", "shortfall_p",
        "validation_score", "score",
    }  # fmt: skip
    assert (found["trades"], found["days"]) == (0, 0)


NAIVE = BY_HAND.fills.assign(filled_at=BY_HAND.fills["filled_at"].dt.tz_localize(None))
TWICE = pd.Series(1.0, index=pd.DatetimeIndex([START, START + timedelta(hours=1)]))


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"fills": BY_HAND.fills.drop(columns="fee_usdt")}, "fills lack fee_usdt"),
        ({"fills": BY_HAND.fills.assign(price=np.nan)}, "A number of the fills is missing"),
        ({"fills": BY_HAND.fills.assign(qty=-1.0)}, "quantity not above zero"),
        ({"fills": BY_HAND.fills[::-1]}, "fills have no zone or are not in order"),
        ({"fills": NAIVE}, "fills have no zone"),
        ({"orders": BY_HAND.orders.assign(status="gone")}, "ended as 'gone'"),
        ({"equity": equity_of()}, "equity is missing"),
        ({"equity": equity_of(1.0, np.nan)}, "not finite"),
        ({"equity": equity_of(1.0, 0.0, 1.0)}, "after everything was lost"),
        ({"equity": BY_HAND.equity.tz_localize(None)}, "equity have no zone"),
        ({"equity": TWICE}, "Two values of the equity are of one day"),
    ],
)  # fmt: skip
def test_records_that_cannot_be_believed_are_refused(changes, words):
    with pytest.raises(DataError, match=words):
        replace(BY_HAND, **changes)
