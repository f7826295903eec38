"""Protects the history: worth by day, returns that flows do not move, and measures of both."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.markets import random_market
from tests.portfolio.conftest import random_run
from tests.portfolio.test_accounting import START, fill, pay
from workbench.core.errors import DataError
from workbench.core.measures import DAYS_A_YEAR, measure_returns
from workbench.portfolio.accounting import Payment, read_fills, read_funding
from workbench.portfolio.history import daily_history, measure_history, pair_postings


def posted(result):
    first = result.market.index[0].to_pydatetime()
    capital = Payment("capital", first, "deposit", Decimal(str(result.account.capital_usdt)))
    return [capital, *read_fills(result.fills), *read_funding(result.funding)]


def test_history_of_a_backtest_is_that_of_the_backtest(busy):
    """PM-05: daily equity, returns and exposures of a run on real prices, from its postings."""
    market = busy.market
    table = daily_history(posted(busy), market.mark_close)
    ends = busy.equity.groupby((market.index - pd.Timedelta(1, unit="us")).floor("D")).last()
    assert np.allclose(table["equity_usdt"], ends, atol=1e-6)
    assert np.allclose(table["return_"], busy.daily_returns, atol=1e-9)
    value = (busy.positions * market.mark_close.ffill()).groupby(
        (market.index - pd.Timedelta(1, unit="us")).floor("D")
    ).last()  # fmt: skip
    assert np.allclose(table["gross_usdt"], value.abs().sum(axis=1), atol=1e-6)
    assert np.allclose(table["net_usdt"], value.sum(axis=1), atol=1e-6)
    is_alive = table["equity_usdt"] > 1e-6
    assert np.allclose((table["leverage"] * table["equity_usdt"])[is_alive],
                       table["gross_usdt"][is_alive])  # fmt: skip
    assert table["fees_usdt"].iloc[-1] == pytest.approx(busy.totals["fees_usdt"])
    assert table["funding_usdt"].iloc[-1] == pytest.approx(busy.totals["funding_usdt"])
    whole = table["realised_usdt"] + table["unrealised_usdt"] - table["fees_usdt"]
    whole += table["flows_usdt"] - table["funding_usdt"]
    assert np.allclose(whole, table["equity_usdt"], atol=1e-6)


def test_trades_of_a_backtest_are_those_of_the_backtest(busy):
    ours = pair_postings(posted(busy), busy.market.mark_close)
    theirs = busy.trades
    assert len(ours) == len(theirs)
    assert ours["pnl_usdt"].sum() == pytest.approx(busy.equity.iloc[-1] - 10_000, abs=1e-4)
    assert sorted(ours["pnl_usdt"]) == pytest.approx(sorted(theirs["pnl_usdt"]), abs=1e-4)
    assert (ours["is_open"].sum(), (ours["side"] > 0).sum()) == (
        theirs["is_open"].sum(), (theirs["side"] > 0).sum(),
    )  # fmt: skip


def test_at_least_twenty_measures_have_a_number(busy):
    """PM-02: those of the list, with 365 days a year."""
    own = posted(busy)
    table = daily_history(own, busy.market.mark_close)
    named = measure_history(table, pair_postings(own, busy.market.mark_close))
    asked = {
        "value_usdt", "pnl_usdt", "unrealised_usdt", "realised_usdt", "daily_return", "sharpe",
        "sortino", "calmar", "max_drawdown", "drawdown", "annual_volatility", "value_at_risk_95",
        "win_rate", "profit_factor", "average_win_usdt", "average_loss_usdt", "largest_win_usdt",
        "largest_loss_usdt", "n_trades", "exposure", "leverage", "funding_usdt", "fees_usdt",
    }  # fmt: skip
    assert asked <= set(named)
    assert np.isfinite([named[name] for name in asked]).all()
    expected = measure_returns(busy.daily_returns.to_numpy(), periods=DAYS_A_YEAR)
    assert named["sharpe"] == pytest.approx(expected["sharpe"])
    assert named["pnl_usdt"] == pytest.approx(busy.equity.iloc[-1] - 10_000)


@settings(max_examples=20, deadline=None)
@given(
    seed=st.integers(0, 1_000),
    flows=st.lists(
        st.tuples(
            st.integers(1, 190), st.sampled_from(["deposit", "withdrawal", "transfer", "interest"]),
            st.integers(1, 5_000),
        ),
        min_size=1, max_size=5,
    ),
)  # fmt: skip
def test_flows_alone_move_no_return_and_no_drawdown(seed, flows):
    """Money that comes or goes changes what is there, never what was earned on it."""
    market = random_market(seed, n_bars=200)
    table = pd.DataFrame({"AAAUSDT": market.mark_close["AAAUSDT"]})
    sign = {"withdrawal": -1}
    own = [pay("capital", "deposit", "100000")] + [
        pay(f"f{i}", kind, sign.get(kind, 1) * amount, at=60 * bar)
        for i, (bar, kind, amount) in enumerate(flows)
    ]
    history = daily_history(own, table)
    assert (history["return_"] == 0).all()
    assert (history["drawdown"] == 0).all()
    expected = 100_000 + sum(sign.get(kind, 1) * amount for _, kind, amount in flows)
    assert history["flow_usdt"].sum() == history["equity_usdt"].iloc[-1] == expected


def test_return_is_time_weighted_by_hand():
    """10 per cent earned on 1,000, then 5,000 come, then 10 per cent are lost: 1.1 x 0.9."""
    index = pd.date_range(START + timedelta(hours=6), periods=4, freq="6h")
    marks = pd.DataFrame({"AAAUSDT": [100.0, 110.0, 110.0, 99.0]}, index=index)
    own = [
        pay("a", "deposit", "1000", at=1), fill("1", "10", "100", at=2),
        pay("b", "deposit", "5500", at=780), fill("2", "50", "110", at=781),
    ]  # fmt: skip
    table = daily_history(own, marks)
    assert table["return_"].tolist() == pytest.approx([1.1 * 0.9 - 1])
    assert table["equity_usdt"].tolist() == pytest.approx([1_000 + 5_500 + 100 - 60 * 11])
    cash = daily_history(replaced(own, "b", kind="fee", amount_usdt=Decimal(-500)), marks)
    assert cash["return_"].iloc[0] != pytest.approx(table["return_"].iloc[0])


def replaced(own, name, **fields):
    return [replace(p, **fields) if p.id == name else p for p in own]


def test_each_flow_is_valued_on_the_marks_known_then():
    """A deposit of the same hour as a jump neither takes part in it nor dilutes it."""
    index = pd.date_range(START + timedelta(hours=1), periods=48, freq="h")
    path = np.where(np.arange(48) < 30, 100.0, 150.0)
    marks = pd.DataFrame({"AAAUSDT": path}, index=index)
    own = [pay("a", "deposit", "1000"), fill("1", "10", "100", at=1)]
    bare = daily_history(own, marks)
    for minute in (1799, 1830, 1860, 1861, 2000):
        fed = daily_history([*own, pay("b", "deposit", "9000", at=minute)], marks)
        total = (1 + fed["return_"]).prod()
        if minute < 1860:
            assert total == pytest.approx(1 + 500 / 10_000)
        else:
            assert total == pytest.approx((1 + bare["return_"]).prod())


def test_day_ends_at_midnight_and_days_without_bars_are_there():
    marks = pd.DataFrame(
        {"AAAUSDT": [100.0, 90.0]},
        index=pd.DatetimeIndex(
            [datetime(2024, 1, 2, tzinfo=UTC), datetime(2024, 1, 5, tzinfo=UTC)]
        ),
    )
    own = [pay("a", "deposit", "1000"), fill("1", "1", "100", at=24 * 60)]
    table = daily_history(own, marks)
    assert [str(day.date()) for day in table.index] == [
        "2023-12-31", "2024-01-01", "2024-01-02", "2024-01-03", "2024-01-04",
    ]  # fmt: skip
    assert table["n_positions"].tolist() == [0, 1, 1, 1, 1]
    assert table["equity_usdt"].tolist() == [1000, 1000, 1000, 1000, 990]


def test_order_of_the_postings_given_does_not_matter(majors):
    own = posted(random_run(majors, 1))
    order = np.random.default_rng(0).permutation(len(own))
    one = pair_postings(sorted(own, key=lambda p: p.moment), majors.mark_close)
    moments = {p.moment for p in own}
    assert len(moments) < len(own)
    mixed = sorted((own[i] for i in order), key=lambda p: (p.symbol, own.index(p)))
    pd.testing.assert_frame_equal(one, pair_postings(mixed, majors.mark_close))


def test_marks_that_end_too_early_or_have_no_zone_are_refused():
    own = [pay("a", "deposit", "1000", at=10_000)]
    marks = pd.DataFrame({"AAAUSDT": [1.0]}, index=pd.DatetimeIndex([START]))
    with pytest.raises(DataError, match="before the last posting"):
        daily_history(own, marks)
    for bad in (marks.tz_localize(None), marks.iloc[:0]):
        with pytest.raises(DataError, match="not indexed by time"):
            daily_history(own, bad)
    held = [pay("a", "deposit", "1000"), fill("1", "1", "5")]
    assert daily_history(held, marks.rename(columns={"AAAUSDT": "B"}))["n_positions"].iloc[0] == 1
