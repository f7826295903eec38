"""Protects what orders are said to have cost: exact sums, costs that were put in come out again."""

from datetime import timedelta
from decimal import Decimal

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from statsmodels.api import OLS, add_constant

from tests.execution.made import START
from tests.markets import random_market
from tests.portfolio.conftest import random_run
from workbench.core.costs import Costs
from workbench.core.errors import DataError
from workbench.execution.analytics import PARTS, compare_algorithms, measure_orders, split_shortfall
from workbench.execution.calibration import (
    LEAST,
    Estimate,
    fit_impact,
    impact_points,
    measured_costs,
)
from workbench.execution.report import draw_impact, report_page, write_report
from workbench.portfolio.attribution import attribute

D = Decimal


def seconds(number):
    return pd.Timestamp(START + timedelta(seconds=float(number)))


def order(**changes):
    row = {
        "order_id": "a", "symbol": "AAAUSDT", "side": 1, "qty": D(10), "algorithm": "twap",
        "decided_at": seconds(0), "sent_at": seconds(2), "ended_at": seconds(62),
        "decision": D(100), "arrival": D("100.2"), "final": D(101),
    }  # fmt: skip
    return row | changes


def fill(**changes):
    row = {
        "order_id": "a", "filled_at": seconds(5), "qty": D(6), "price": D("100.5"),
        "fee_usdt": D("0.33"), "is_maker": False, "mid": D("100.3"), "spread": D("0.1"),
    }  # fmt: skip
    return row | changes


TWO = [fill(), fill(filled_at=seconds(9), qty=D(2), price=D("100.25"), fee_usdt=D("-0.01"),
                    is_maker=True)]  # fmt: skip


def test_shortfall_is_divided_as_by_hand():
    """EX-08: 8 of 10 bought, 6 taken at 100.5 and 2 made at 100.25, a tenth wide, left at 101."""
    row = split_shortfall(pd.DataFrame([order()]), pd.DataFrame(TWO)).loc["a"]
    assert row["delay"] == 8 * D("0.2")
    assert row["spread"] == D("0.05") * (6 - 2)
    assert row["impact"] == 6 * D("0.3") + 2 * D("0.05") - D("0.2")
    assert row["fee"] == D("0.32")
    assert row["missed"] == 2 * D(1)
    assert row["shortfall"] == 6 * D("0.5") + 2 * D("0.25") + D("0.32") + 2
    assert sum(row[list(PARTS)]) == row["shortfall"]


def test_orders_are_measured_as_by_hand():
    """EX-08: benchmarks, signed slippage, latency, maker share and fill rate."""
    tape = pd.DataFrame(
        {"price": [99.0, 100.0, 102.0, 104.0], "qty": [9.0, 1.0, 3.0, 9.0]},
        index=pd.DatetimeIndex([seconds(s) for s in (-5, 17, 32, 63)]),
    )
    row = measure_orders(pd.DataFrame([order()]), pd.DataFrame(TWO), tape={"AAAUSDT": tape}).loc[
        "a"
    ]
    average = (6 * 100.5 + 2 * 100.25) / 8
    assert row["average"] == pytest.approx(average)
    assert row["vwap"] == pytest.approx((100 + 3 * 102) / 4)
    assert row["twap"] == pytest.approx((15 * 99 + 15 * 100 + 30 * 102) / 60)
    assert row["slippage_arrival_bps"] == pytest.approx((average / 100.2 - 1) * 1e4)
    assert row["slippage_vwap_bps"] == pytest.approx((average / 101.5 - 1) * 1e4)
    assert row["slippage_mid_bps"] == pytest.approx((average / 100.3 - 1) * 1e4)
    assert row["maker_share"] == pytest.approx(200.5 / 803.5)
    assert (row["fill_rate"], row["latency_s"], row["wait_s"]) == (0.8, 2.0, 3.0)
    assert row["missed_bps"] == pytest.approx(20.0)
    sold = measure_orders(pd.DataFrame([order(side=-1)]), pd.DataFrame(TWO)).loc["a"]
    assert sold["slippage_arrival_bps"] == pytest.approx(-row["slippage_arrival_bps"])
    assert np.isnan(sold["vwap"])


def test_an_order_without_a_fill_missed_everything():
    own = pd.DataFrame([order()])
    none = pd.DataFrame([fill()]).iloc[:0]
    row = measure_orders(own, none).loc["a"]
    assert row["shortfall_bps"] == row["missed_bps"] == pytest.approx(100.0)
    assert (row["fill_rate"], row["value_usdt"]) == (0.0, 0.0)
    assert np.isnan(row[["average", "maker_share", "wait_s"]].astype(float)).all()
    assert compare_algorithms(measure_orders(own, none)).loc["twap", "fill_rate"] == 0.0


money = st.decimals("0.00001", "99999", places=5)


@settings(max_examples=60)
@given(
    st.lists(st.tuples(money, money, money, st.booleans()), max_size=6),
    st.tuples(money, money, money), st.sampled_from([1, -1]), money,
)  # fmt: skip
def test_parts_add_up_to_the_whole_to_the_last_digit(rows, prices, side, rest):
    decision, arrival, final = prices
    orders = pd.DataFrame([order(
        side=side, qty=sum((q for q, *_ in rows), rest), decision=decision, arrival=arrival,
        final=final,
    )])  # fmt: skip
    fills = pd.DataFrame(
        [fill(qty=q, price=p, mid=m, is_maker=k) for q, p, m, k in rows], columns=list(fill())
    )
    row = split_shortfall(orders, fills).loc["a"]
    assert sum(row[list(PARTS)]) == row["shortfall"]


def test_an_order_filled_at_once_is_divided_as_a_backtest_divides_it():
    """One definition: delay, spread and fee are attribution's, and impact is its slippage."""
    result = random_run(random_market(5, n_bars=400, volatility=0.01), 5, leverage=0.5)
    own, close = result.fills, result.market.close
    layers = attribute(
        own, result.funding, close=close, mark=result.market.mark_close,
        spread_bps=result.costs.spread_bps,
    )  # fmt: skip
    own = own.assign(mid=own["price"] - own["side"] * own["slippage_usdt"] / own["qty"])
    before = close.shift(1).stack()
    decision = [before[key] for key in zip(own["known_at"], own["symbol"].astype(str), strict=True)]
    own["decision"] = own["mid"].where(~own["reason"].isin(["weight", "rebalance"]), decision)
    own["order_id"] = [f"o{k}" for k in range(len(own))]
    orders = own[["order_id", "symbol", "side", "qty", "decision"]].assign(
        algorithm="market", decided_at=own["known_at"], sent_at=own["known_at"],
        ended_at=own["known_at"], arrival=own["mid"], final=own["mid"],
    )  # fmt: skip
    is_taken = own["slippage_usdt"] != 0
    fills = own[["order_id", "qty", "price", "fee_usdt", "mid"]].assign(
        filled_at=own["known_at"], is_maker=False,
        spread=(own["mid"] * result.costs.spread_bps * 1e-4).where(is_taken, 0.0),
    )  # fmt: skip
    parts = split_shortfall(orders, fills)[list(PARTS)].astype(float)
    parts = parts.groupby(own["symbol"].astype(str).to_numpy()).sum()
    layers = layers.droplevel("strategy").loc[parts.index]
    pairs = [("delay", "delay"), ("spread", "spread"), ("fee", "fee"), ("impact", "slippage")]
    for name, layer in pairs:
        assert parts[name].to_numpy() == pytest.approx(-layers[layer].to_numpy(), abs=1e-6)
    assert (layers[["delay", "spread", "slippage", "fee"]] != 0).all(axis=None)


def simulate(n, seed, *, impact=0.8, slip_bps=1.0, spread_bps=2.0, noise=0.02, algorithm="market"):
    """Orders with known costs: one fill each, in a market whose mid moves by noise meanwhile."""
    rng = np.random.default_rng(seed)
    side, price = rng.choice([1, -1], n), rng.uniform(20, 200, n)
    volatility, day = rng.uniform(0.01, 0.08, n), np.exp(rng.uniform(15, 19, n))
    size = volatility * np.sqrt(rng.uniform(1e-5, 0.02, n))
    value = (size / volatility) ** 2 * day
    push = slip_bps * 1e-4 + impact * size + noise * size * rng.normal(size=n)
    half = spread_bps * 1e-4 / 2
    at = [seconds(60 * k) for k in range(n)]
    names = [f"{algorithm}{k}" for k in range(n)]
    paid = price * (1 + side * (half + push))
    qty = value / paid
    orders = pd.DataFrame({
        "order_id": names, "symbol": "AAAUSDT", "side": side, "qty": qty, "algorithm": algorithm,
        "decided_at": at, "sent_at": [t + timedelta(seconds=0.2) for t in at],
        "ended_at": [t + timedelta(seconds=30) for t in at], "decision": price, "arrival": price,
        "final": price, "volatility": volatility, "day_usdt": day,
    })  # fmt: skip
    waits = rng.exponential(0.1, n)
    fills = pd.DataFrame({
        "order_id": names, "qty": qty, "price": paid, "is_maker": False, "mid": price,
        "filled_at": [t + timedelta(seconds=0.2 + w) for t, w in zip(at, waits, strict=True)],
        "fee_usdt": value * 5.5e-4, "spread": price * spread_bps * 1e-4,
    })  # fmt: skip
    return orders, fills


def test_costs_that_were_put_in_are_measured_within_their_errors():
    """EX-08, EX-09: spread 2, fee 5.5, slippage 1 bp, impact 0.8, and 60 makers at 2 bp."""
    orders, fills = simulate(500, 7, noise=1.0)
    made, made_fills = simulate(60, 8, algorithm="maker")
    sign = made.set_index("order_id")["side"].loc[made_fills["order_id"]].to_numpy()
    made_fills = made_fills.assign(
        is_maker=True, price=made_fills["mid"] - sign * made_fills["spread"] / 2
    )
    made_fills["fee_usdt"] = made_fills["qty"] * made_fills["price"] * 2e-4
    fills = pd.concat([fills, made_fills], ignore_index=True)
    table = measure_orders(pd.concat([orders, made], ignore_index=True), fills)
    seen = measured_costs(table, fills, assumed=Costs(has_funding=False))
    truth = {"maker_fee_bps": 2.0, "taker_fee_bps": 5.5, "spread_bps": 2.0, "slippage_bps": 1.0,
             "impact": 0.8, "latency_s": 0.2 + 0.1 * np.log(2)}  # fmt: skip
    for name, expected in truth.items():
        one = seen.estimates[name]
        assert abs(one.value - expected) < 3 * one.error + 1e-9
        assert getattr(seen.costs, name) == one.value
    assert not seen.costs.has_funding
    assert not seen.assumed
    assert seen.estimates["impact"].n == 500
    assert 0.05 < seen.estimates["impact"].error < 0.15
    assert "impact 0." in seen.words
    mean = compare_algorithms(table)
    assert mean.loc["maker", "spread_bps"] == pytest.approx(-1.0, abs=0.01)
    assert mean.loc["market", ["n_orders", "fill_rate", "maker_share"]].tolist() == [500, 1.0, 0.0]
    slips = table.loc[table["algorithm"] == "market", "slippage_arrival_bps"]
    assert mean.loc["market", "p95_bps"] == pytest.approx(np.percentile(slips, 95))


def test_errors_of_the_fit_cover_the_truth_as_often_as_they_say():
    """EX-09: noise grows with size, where textbook errors cover the truth in 69 of 100 only."""
    hits, explained = 0, []
    for seed in range(300):
        rng = np.random.default_rng(seed)
        size = rng.lognormal(-6, 0.5, 200)
        paid = 1e-4 + 0.8 * size + size * rng.normal(size=200)
        table = pd.DataFrame({
            "volatility": 0.03, "value_usdt": (size / 0.03) ** 2, "day_usdt": 1.0, "qty": 1.0,
            "decision": 100.0, "arrival": 100.0, "fill_rate": 1.0, "impact_bps": paid * 1e4,
        })  # fmt: skip
        fit = fit_impact(table)
        hits += abs(fit.impact.value - 0.8) < 1.96 * fit.impact.error
        explained.append(fit.r2)
    assert 0.91 <= hits / 300 <= 0.98
    assert 0.05 < np.median(explained) < 0.4


def test_fit_equals_that_of_statsmodels():
    """EX-09: coefficients, HC3 errors and R squared."""
    table = measure_orders(*simulate(40, 6, noise=1.0))
    size, paid = impact_points(table)
    oracle = OLS(paid, add_constant(size)).fit(cov_type="HC3")
    fit = fit_impact(table)
    assert [fit.slippage.value, fit.impact.value] == pytest.approx(oracle.params)
    assert [fit.slippage.error, fit.impact.error] == pytest.approx(oracle.bse)
    assert fit.r2 == pytest.approx(oracle.rsquared)


def test_fit_without_noise_is_exact():
    fit = fit_impact(measure_orders(*simulate(50, 1, noise=0.0)))
    assert (fit.impact.value, fit.slippage.value) == (pytest.approx(0.8), pytest.approx(1e-4))
    assert fit.r2 == pytest.approx(1.0)


def test_what_too_few_orders_tell_stays_assumed():
    orders, fills = simulate(LEAST - 1, 2)
    seen = measured_costs(measure_orders(orders, fills), fills, assumed=Costs(impact=0.3))
    assert seen.costs == Costs(impact=0.3)
    assert not seen.estimates
    assert seen.assumed["spread_bps"] == f"{LEAST - 1} of {LEAST} seen"
    assert f"impact as assumed (An impact cannot be fitted to {LEAST - 1} orders)" in seen.words
    orders, fills = simulate(100, 2)
    bare = measure_orders(orders.drop(columns=["volatility", "day_usdt"]), fills)
    seen = measured_costs(bare, fills)
    assert set(seen.assumed) == {"maker_fee_bps", "slippage_bps", "impact"}
    assert seen.costs.taker_fee_bps == pytest.approx(5.5)


def test_a_rebate_stays_and_an_impact_below_zero_counts_as_none():
    orders, fills = simulate(200, 4, impact=-0.5, slip_bps=-2.0, noise=0.0)
    fills = fills.assign(is_maker=np.arange(200) < 50)
    fills.loc[:49, "fee_usdt"] = -1e-4 * fills["qty"] * fills["price"]
    seen = measured_costs(measure_orders(orders, fills), fills)
    assert seen.costs.maker_fee_bps == pytest.approx(-1.0)
    assert (seen.costs.impact, seen.costs.slippage_bps) == (0.0, 0.0)
    assert seen.estimates["impact"].value == pytest.approx(-0.5)


@pytest.mark.parametrize(
    ("orders", "fills", "words"),
    [
        ([order(side=0)], TWO, "its side is none"),
        ([order(), order()], TWO, "stands twice"),
        ([order(final=None)], TWO, "orders lack a value"),
        ([order()], [fill(mid=float("nan"))], "fills lack a value"),
        ([order()], [fill(order_id="b")], "belongs to no order: b"),
        ([order()], [*TWO, fill(qty=D("2.1"))], "More of a was filled"),
    ],
)
def test_records_that_cannot_be_right_are_refused(orders, fills, words):
    with pytest.raises(DataError, match=words):
        split_shortfall(pd.DataFrame(orders), pd.DataFrame(fills))


def test_a_missing_column_is_named():
    with pytest.raises(DataError, match="fills lack spread"):
        split_shortfall(pd.DataFrame([order()]), pd.DataFrame(TWO).drop(columns="spread"))


def test_tape_before_and_after_an_order_says_nothing():
    late = pd.DataFrame({"price": [1.0], "qty": [1.0]}, pd.DatetimeIndex([seconds(30)]))
    row = measure_orders(pd.DataFrame([order()]), pd.DataFrame(TWO), tape={"AAAUSDT": late}).loc[
        "a"
    ]
    assert row["vwap"] == 1.0
    assert np.isnan(row["twap"])
    still = late.set_axis(pd.DatetimeIndex([seconds(0)]))
    row = measure_orders(pd.DataFrame([order()]), pd.DataFrame(TWO), tape={"AAAUSDT": still})
    assert row["twap"].tolist() == [1.0]
    assert np.isnan(row["vwap"]).all()


def test_report_is_a_page_that_needs_nothing_and_a_table_that_reads_back(tmp_path):
    """EX-09."""
    orders, fills = simulate(120, 3, noise=1.0)
    table = measure_orders(orders, fills)
    costs = measured_costs(table, fills)
    write_report(table, costs, tmp_path / "costs.html", watermark="SYNTHETIC")
    page = (tmp_path / "costs.html").read_text()
    for words in (
        "SYNTHETIC",
        "120 orders",
        "impact, bp",
        "95\u202f%",
        "square-root law",
    ):
        assert words in page
    assert "https://cdn" not in page.split("<body>")[0]
    write_report(table, costs, tmp_path / "costs.csv")
    back = pd.read_csv(tmp_path / "costs.csv", index_col="order_id")
    assert back["shortfall_bps"].to_numpy() == pytest.approx(table["shortfall_bps"].to_numpy())
    with pytest.raises(DataError, match="End it with"):
        write_report(table, costs, tmp_path / "costs.pdf")
    few = measure_orders(*simulate(5, 3))
    assert "cannot be fitted to 5 orders" in report_page(few, costs)
    figure = draw_impact(table, fit_impact(table))
    assert len(figure.data) == 2


def test_estimate_says_its_range():
    assert Estimate(0.8, 0.05, 40).words == "0.8 ± 0.098 (40)"
