"""Protects the risk report: its numbers are those of the risk room, and none knows the future."""

import json

import numpy as np
import pandas as pd
import pytest

from tests.markets import random_market
from workbench.backtest import run
from workbench.core.errors import DataError
from workbench.core.measures import value_at_risk
from workbench.core.records import Account
from workbench.data import synthesise
from workbench.monitor.limits import LimitBook
from workbench.monitor.reports import read_reports
from workbench.research import record_risk, risk_limits, risk_report
from workbench.risk.breakers import Kind, Phase
from workbench.risk.limits import change_limits, load_limits
from workbench.risk.report import RiskReport, paragraph_html, section_html
from workbench.risk.scenarios import Shock
from workbench.risk.tables import SECTIONS
from workbench.store import Store
from workbench.strategies import MovingAverageCross

SYMBOLS = ["BTCUSDT", "ETHUSDT", "SOLUSDT"]
SHARES = {"BTCUSDT": 0.6, "ETHUSDT": 0.3, "SOLUSDT": -0.2}
SHOCK = [Shock(name="half", moves={"*": -0.5})]
OPTIONS = {"window_days": 120, "shocks": SHOCK, "account": Account()}


def hold(market, shares=SHARES, capital=10_000.0):
    """Quantities that are bought once, and the equity that they make."""
    first = market.mark_close.bfill().iloc[0]
    qty = pd.Series(shares).reindex(market.symbols).fillna(0.0) * capital / first
    moved = (market.mark_close.ffill() - first).fillna(0.0)
    positions = pd.DataFrame(np.tile(qty, (market.n_bars, 1)), market.index, market.symbols)
    return positions, capital + moved @ qty


@pytest.fixture(scope="module")
def market():
    """Half a year of hours of three symbols, with instruments and funding."""
    return synthesise(SYMBOLS, n_bars=24 * 170 + 7, seed=5)


@pytest.fixture(scope="module")
def report(market):
    return risk_report(market, *hold(market), **OPTIONS)


def test_report_tails_are_those_of_the_positions_held_throughout(report, market):
    """RK-10: today's weights on the days that end at the hour of the last bar."""
    weights = report.tables["positions"]["weight"]
    closes = market.close.iloc[::-24].iloc[::-1]
    book = (closes.pct_change().dropna()[weights.index] @ weights).tail(120)
    tails = report.tables["tails"]
    assert tails.loc["historical", "var_95"] == pytest.approx(value_at_risk(book.to_numpy()))
    assert (tails["es_99"] >= tails["var_99"]).all()
    # The worst half a per cent of 120 days is less than a day.
    assert not [name for name in tails if name.endswith("99.5")]
    now = report.headlines
    assert now["value_at_risk"] == tails.loc["garch_student", "var_95"]
    assert now["value_at_risk_low"] == tails["var_95"].min()


def test_report_contributions_add_up(report):
    """RK-11."""
    parts = report.tables["contributions"]
    assert parts["share_var"].sum() == pytest.approx(1.0)
    assert parts["component_var"].sum() == pytest.approx(
        report.tables["tails"].loc["student", "var_95"]
    )
    assert report.headlines["largest"] == parts["share_var"].idxmax()


def test_report_exposures_are_those_of_the_book(report, market):
    positions, equity = hold(market)
    value = positions.iloc[-1] * market.mark_close.iloc[-1] / equity.iloc[-1]
    now = report.headlines
    assert now["gross"] == pytest.approx(value.abs().sum())
    assert now["net"] == pytest.approx(value.sum())
    limits = report.tables["limits"]
    assert limits.loc["gross exposure", "use"] == pytest.approx(now["gross"] / 2.0)
    assert limits.loc["liquidation distance", "use"] == pytest.approx(
        load_limits().min_liquidation_distance / now["liquidation_distance"]
    )


def test_report_knows_nothing_of_what_comes_after(report, market):
    """The report of a moment is the same whatever the bars after it; yesterday's is in today's."""
    positions, equity = hold(market)
    then = market.index[-1] - pd.Timedelta(days=1)
    early = risk_report(market.until(then), positions, equity, **OPTIONS)
    again = risk_report(market, positions, equity, at=then, **OPTIONS)
    assert early.to_document() == again.to_document()
    shared = [name for name in report.before if name in early.headlines and "value_at" in name]
    assert report.before["value_at_risk"] == early.headlines["value_at_risk"]
    assert report.before["gross"] == early.headlines["gross"]
    assert report.before["regime"] == early.headlines["regime"]
    assert shared


def test_report_tells_trading_from_the_market(market):
    """The book doubles within the last day: what was traded is half of the risk that is there."""
    positions, equity = hold(market)
    positions.iloc[-10:] *= 2.0
    report = risk_report(market, positions, equity, **OPTIONS)
    now, then = report.headlines, report.before
    assert now["value_at_risk_same_book"] == pytest.approx(2 * then["value_at_risk"], rel=0.1)
    traded = 100 * (now["value_at_risk_same_book"] - then["value_at_risk"])
    assert f"{traded:+.2f} points by what was traded" in report.paragraph
    assert "the gross exposure went from" in report.paragraph


def test_report_names_what_is_over_and_what_is_near_its_limit(report, market):
    now = report.headlines
    tight = change_limits(
        load_limits(),
        max_value_at_risk=now["value_at_risk"] / 2,
        max_positions=3,
        max_gross=now["gross"] / 0.9,
        max_net=now["gross"],
    )
    tight = risk_report(market, *hold(market), limits=tight, **OPTIONS)
    over, near = tight.paragraph.split("Over the limit: ")[1].split("Near the limit: ")
    assert "value at risk, 95%" in over
    assert "positions" in over
    assert "gross exposure" in near


def test_report_comes_out_of_its_document_as_it_went_in(report):
    again = RiskReport.from_document(json.loads(json.dumps(report.to_document())))
    assert paragraph_html(again) == paragraph_html(report)
    for name in SECTIONS:
        assert section_html(again, name) == section_html(report, name)
    assert again.tables["history"].index.equals(report.tables["history"].index)


def test_stress_of_a_book_that_is_too_large_is_liquidated(market):
    """RK-19: a long of four times the equity does not live to see half of the price."""
    positions, equity = hold(market, {"BTCUSDT": 4.0})
    equity[:] = (
        10_000.0 * market.mark_close["BTCUSDT"].iloc[-1] / market.mark_close["BTCUSDT"].iloc[0]
    )
    report = risk_report(market, positions, equity, **OPTIONS)
    assert report.tables["stress"].loc["half", "equity_usdt"] == 0.0
    assert "would leave 0.0" in report.paragraph
    assert report.headlines["liquidation_distance"] < 0.5


def test_flat_book_says_so(market):
    report = risk_report(market, *hold(market, {}), **OPTIONS)
    assert "The book is flat" in report.paragraph
    assert not {"tails", "positions", "stress"} & set(report.tables)
    assert "Not in this report" in section_html(report, "tails")
    assert "Nothing is near a limit" in report.paragraph


def test_run_with_risk_on_tells_breakers_and_refusals_up_to_the_moment(market):
    limits = change_limits(load_limits(), max_daily_loss=0.004, max_gross=0.6, max_net=0.6)
    result = run(MovingAverageCross(), market, limits=limits)
    log = result.risk
    opened = [c.at for c in log.changes if c.kind is Kind.DAILY_LOSS and c.after is Phase.OPEN]
    report = risk_report(market, result.positions, result.equity, log=log, at=opened[-1], **OPTIONS)
    table = report.tables["breakers"]
    assert table.loc["daily loss", ["phase", "opened"]].tolist() == ["open", len(opened)]
    assert "a loss of" in table.loc["daily loss", "words"]
    assert report.mode == limits.title
    assert report.tables["limits"].loc["gross exposure", "limit"] == 0.6
    refused = log.refusals
    is_recent = (refused["known_at"] <= opened[-1]) & (
        refused["known_at"] > pd.Timestamp(opened[-1]) - pd.Timedelta(days=30)
    )
    assert report.tables["refusals"]["times"].sum() == is_recent.sum() > 0


def test_short_and_disjoint_history_is_left_out_with_its_reason():
    """Two symbols that were never there together, and one whose price stands still."""
    market = synthesise(SYMBOLS, n_bars=24 * 130, seed=2)
    close = market.close.copy()
    close.iloc[: 24 * 100, 1] = np.nan
    close.iloc[:, 2] = 50.0
    frames = {"close": close}
    market = type(market).from_frames(frames, interval="60", instruments=market.instruments)
    report = risk_report(market, *hold(market, {"BTCUSDT": 0.5, "ETHUSDT": 0.5}), **OPTIONS)
    notes = " ".join(report.notes)
    assert "No tails: what is held shares 29 days, and 101 are needed." in notes
    assert "No volatility forecast of ETHUSDT: it has 29 days." in notes
    assert "SOLUSDT did not move" in notes
    assert report.tables["volatility"].loc["BTCUSDT", "garch"] > 0
    assert "value_at_risk" not in report.headlines


def test_single_bar_has_exposures_and_no_more():
    market = synthesise(SYMBOLS, n_bars=2, seed=2)
    market = market.until(market.index[0])
    report = risk_report(market, *hold(market), **OPTIONS)
    assert report.headlines["gross"] == pytest.approx(1.1)
    assert report.before == {}
    assert "no report of the day before" in report.paragraph


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda m, p, e: (m, p, e - e.iloc[-1]), "The equity is 0.00 USDT"),
        (lambda m, p, e: (m.resample("W"), p, e), "Bars of W are longer than a day"),
        (lambda m, p, e: (m.select(SYMBOLS[:2]), p, e), "SOLUSDT is held and has no mark"),
    ],
)
def test_what_cannot_be_measured_is_refused(market, change, said):
    with pytest.raises(DataError, match=said):
        risk_report(*change(market, *hold(market)), **OPTIONS)


def test_market_without_instruments_or_bitcoin_says_what_it_cannot_tell():
    market = random_market(3, n_bars=24 * 130, with_instruments=False)
    report = risk_report(market, *hold(market, {"AAAUSDT": 1.0}), **OPTIONS)
    notes = " ".join(report.notes)
    assert "No beta: the market does not hold BTCUSDT." in notes
    assert "No liquidation distance: There are no margin tiers of AAAUSDT." in notes


def test_recorded_report_is_found_again(report, home):
    number = record_risk(report)
    record_risk(report)
    with Store.open() as store:
        found = read_reports(store)
    assert [each.number for each in found] == [number + 1, number]
    assert found[0].report.paragraph == report.paragraph


def test_limits_are_those_in_force_unless_a_mode_is_named(home):
    assert risk_limits() == load_limits("conservative")
    with Store.open() as store:
        tighter = change_limits(load_limits(), max_gross=1.6)
        LimitBook(store).change(tighter, by="a person", reason="a test")
    assert risk_limits().max_gross == 1.6
    assert risk_limits("aggressive") == load_limits("aggressive")
