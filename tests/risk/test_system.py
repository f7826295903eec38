"""Protects the one risk system: limits hold whatever is asked, it fails closed, and says why."""

import ast
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from tests.markets import make_instrument
from tests.risk.desk import (
    NO_LIMITS,
    NOW,
    decide,
    make_book,
    make_outlook,
    make_system,
    make_targets,
)
from workbench.core.errors import ConfigError, DataError, RiskRefused
from workbench.risk.breakers import Kind
from workbench.risk.decision import Decision, Level, Reason, Verdict
from workbench.risk.hedge import propose_hedge
from workbench.risk.limits import load_limits
from workbench.risk.margin import liquidation_distance
from workbench.risk.regime import Regime
from workbench.risk.state import Targets
from workbench.risk.system import RiskSystem

HOUR = timedelta(hours=1)
LARGE = {"risk_per_trade": 0.05, "risk_per_trade_large": 0.05}
DUST = 10.0
"""Two lots and two minimum orders, in USDT: what rounding may leave."""

weights = hnp.arrays(np.float64, (2, 3), elements=st.floats(-1, 1) | st.just(np.nan))
moves = hnp.arrays(np.float64, 3, elements=st.floats(-0.15, 0.15))


def reasons(decision):
    return {cut.reason for cut in decision.cuts}


class Desk:
    """A book that fills every decision at its price, and moves with the market."""

    def __init__(self, **changes):
        self.system = make_system(sectors={"AUSDT": "x", "BUSDT": "x"}, **changes)
        self.book, self.outlook = make_book(self.system), make_outlook(self.system)
        self.now = NOW

    def ask(self, wanted):
        self.system.observe(self.now, self.book, self.outlook)
        targets = make_targets(self.system, wanted, known_at=self.now)
        decision = self.system.review(targets, self.book, self.outlook)
        self.book = replace(self.book, qty=decision.qty)
        return decision

    def move(self, share):
        price = self.outlook.price * (1 + share)
        earned = (self.book.qty * (price - self.outlook.price)).sum(axis=1)
        self.outlook = replace(self.outlook, price=price, mark=price)
        self.book = replace(
            self.book,
            equity_usdt=self.book.equity_usdt + earned.sum(),
            pnl_usdt=self.book.pnl_usdt + earned,
        )
        self.now += HOUR


def breaches(desk, decision):
    """Every limit that the decided book is beyond, by more than the trim band and rounding."""
    limits, equity = desk.system.limits, max(desk.book.equity_usdt, 0.0)
    value = decision.qty * desk.outlook.price
    size, net = np.abs(value).sum(axis=0), value.sum(axis=0)
    most = (1 + limits.trim_band) * limits.max_gross * equity
    risk = desk.outlook.tail * np.sqrt(net @ desk.outlook.covariance @ net)
    found = {
        "gross": size.sum() - most,
        "leverage": np.abs(net).sum() - most,
        "net": abs(net.sum()) - (1 + limits.trim_band) * limits.max_net * equity,
        "symbol": size.max() - limits.max_symbol_share * most,
        "sector": size[:2].sum() - limits.max_sector_share * most,
        "value at risk": risk - (1 + limits.trim_band) * limits.max_value_at_risk * equity,
    }
    distance = liquidation_distance(equity, net, desk.system.ceilings.tiers)
    if np.abs(net).any() and distance < limits.min_liquidation_distance / (1 + limits.trim_band):
        found["liquidation"] = np.inf if np.abs(net).sum() > DUST * 6 else 0.0
    return {name: by for name, by in found.items() if by > DUST}


@given(
    st.lists(st.tuples(weights, moves), min_size=1, max_size=8),
    st.sampled_from(["conservative", "aggressive"]),
)
def test_review_of_any_targets_on_any_path_keeps_every_limit(steps, mode):
    """RK-02, RK-09, RK-22: gross, net, leverage, concentration, risk, liquidation distance."""
    desk = Desk(mode=mode)
    for wanted, share in steps:
        before = desk.book.qty
        decision = desk.ask(wanted)
        assert breaches(desk, decision) == {}
        lots = decision.qty / 0.001
        unchanged = decision.qty == before
        assert (unchanged | (np.abs(lots - np.rint(lots)) < 1e-6)).all()
        desk.move(share)


@given(
    st.lists(st.tuples(weights, moves), min_size=1, max_size=4),
    weights,
    st.sampled_from([Kind.DAILY_LOSS, Kind.VOLATILITY, Kind.ORDER_RATE, Kind.STALE_DATA]),
)
def test_review_with_an_open_breaker_never_adds_risk(steps, wanted, kind):
    """RK-20: exits pass, entries do not, whatever is asked."""
    desk = Desk()
    for earlier, share in steps:
        desk.ask(earlier)
        desk.move(share * 0.2)
    if kind is Kind.DAILY_LOSS:
        lost = replace(desk.book, equity_usdt=desk.book.equity_usdt * 0.9)
        desk.book = lost
    elif kind is Kind.VOLATILITY:
        desk.outlook = replace(desk.outlook, volatility_ratio=5.0)
    elif kind is Kind.ORDER_RATE:
        desk.book = replace(desk.book, orders_per_min=1e4)
    else:
        desk.outlook = replace(desk.outlook, age_bars=np.full(3, 9.0))
    before = desk.book.qty
    decision = desk.ask(wanted)
    assert desk.system.breakers.scale == 0.0
    assert (np.abs(decision.qty) <= np.abs(before)).all()
    assert (decision.qty * before >= 0).all()
    closing = np.asarray(wanted).reshape(2, 3) == 0
    # What is left of a close is less than the exchange's smallest order.
    assert (np.abs(decision.qty[closing]) * desk.outlook.price.max() < DUST).all()


@given(weights, st.sampled_from(["conservative", "aggressive"]))
def test_review_asked_again_after_its_fills_trades_nothing(wanted, mode):
    """Idempotent: the same question has the same answer, and the answer once filled is final."""
    desk = Desk(mode=mode)
    desk.system.observe(NOW, desk.book, desk.outlook)
    targets = make_targets(desk.system, wanted)
    one = desk.system.review(targets, desk.book, desk.outlook)
    assert desk.system.review(targets, desk.book, desk.outlook).id == one.id
    filled = replace(desk.book, qty=one.qty)
    again = desk.system.review(targets, filled, desk.outlook)
    np.testing.assert_allclose(again.qty, one.qty, atol=0.0011)


@given(weights, weights, st.integers(0, 2), st.sampled_from(["price", "age", "turnover"]))
def test_review_with_one_symbol_missing_decides_the_others_as_if_it_were_kept(
    before, wanted, missing, what
):
    """No symbol's missing data reaches another's order."""
    desk = Desk()
    desk.ask(before)
    desk.now += HOUR
    book, outlook = desk.book, desk.outlook
    if what == "turnover":
        gone = replace(outlook, turnover_usdt=np.where(np.arange(3) == missing, np.nan, 1e9))
    else:
        gone = replace(outlook, age_bars=np.where(np.arange(3) == missing, 50.0, 0.0))
    wanted = np.array(wanted).reshape(2, 3)
    wanted[:, missing] = np.nan
    others = np.arange(3) != missing
    decisions = []
    for seen in (outlook, gone):
        other = Desk()
        other.ask(before)
        other.system.observe(desk.now, book, seen)
        targets = make_targets(other.system, wanted, known_at=desk.now)
        decisions.append(other.system.review(targets, book, seen))
    np.testing.assert_array_equal(decisions[0].qty[:, others], decisions[1].qty[:, others])
    held = np.abs(book.qty[:, missing])
    assert (np.abs(decisions[1].qty[:, missing]) <= held).all()


@given(st.lists(st.tuples(st.floats(-0.02, 0.02), st.floats(-3_000, 3_000)), max_size=30))
def test_observe_of_flows_moves_no_return_no_drawdown_and_no_breaker(steps):
    """A withdrawal is no loss and a deposit no profit."""
    with_flows, without = make_system(), make_system()
    equity, units, flows = 10_000.0, 10_000.0, 0.0
    outlook, now = make_outlook(with_flows), NOW
    for earned, flow in steps:
        now += 7 * HOUR
        units *= 1 + earned
        equity = equity * (1 + earned)
        flow = max(flow, 1_000.0 - equity)
        equity, flows = equity + flow, flows + flow
        books = (
            make_book(with_flows, equity_usdt=equity, flows_usdt=flows),
            make_book(without, equity_usdt=units),
        )
        one, changed = with_flows.observe(now, books[0], outlook)
        other, unchanged = without.observe(now, books[1], outlook)
        assert one.drawdown == pytest.approx(other.drawdown, abs=1e-9)
        assert one.daily_loss == pytest.approx(other.daily_loss, abs=1e-9)
        assert [c[:4] for c in changed] == [c[:4] for c in unchanged]


@given(weights)
def test_review_puts_a_stop_on_every_entry(wanted):
    """RK-02: none brought one, so each has the default by volatility, at most five per cent."""
    decision = decide(make_system(), wanted)
    stops = decision.brackets[:, :, 0]
    np.testing.assert_allclose(stops[decision.qty != 0], 0.05)


def test_review_keeps_the_strategys_own_bracket_and_sizes_by_its_stop():
    """RK-05: one per cent of 10,000 at a stop one per cent away is 10,000; at ten, 1,000."""
    system = make_system(1, 2, max_symbol_share=1.0, max_sector_share=1.0, max_value_at_risk=1.0)
    brackets = [[[0.04, 0.2, np.nan], [0.1, np.nan, np.nan]]]
    decision = decide(system, [[0.9, 0.9]], brackets=brackets)
    np.testing.assert_allclose(decision.qty * 100, [[2_500, 1_000]])
    np.testing.assert_allclose(decision.brackets, brackets)
    assert reasons(decision) == {Reason.TRADE_RISK}


def test_review_of_a_poor_reward_refuses_the_entry_and_not_the_exit():
    brackets = [[[0.02, 0.01, np.nan]] * 2]
    system = make_system(1, 2)
    book = make_book(system, qty=np.array([[0.0, 3.0]]))
    decision = decide(system, [[0.2, 0.01]], book=book, brackets=brackets)
    np.testing.assert_allclose(decision.qty, [[0.0, 1.0]])
    assert decision.verdict(0, 0) is Verdict.REFUSED
    assert decision.verdict(0, 1) is Verdict.APPROVED


@pytest.mark.parametrize(
    ("changes", "why"),
    [
        ({"price": np.array([np.nan, 100.0])}, Reason.DATA),
        ({"age_bars": np.array([3.0, 0.0])}, Reason.DATA),
        ({"covariance": np.array([[np.nan, np.nan], [np.nan, 4e-4]])}, Reason.DATA),
        ({"turnover_usdt": np.array([np.nan, 1e9])}, Reason.DATA),
        ({"mark": np.array([90.0, 100.0])}, Reason.COLLAR),
        ({"mark": np.array([np.nan, 100.0])}, Reason.COLLAR),
    ],
)
def test_review_of_a_symbol_without_sound_data_refuses_its_entry_alone(changes, why):
    """RK-02: fails closed."""
    system = make_system(1, 2)
    decision = decide(system, [[0.1, 0.1]], outlook=make_outlook(system, **changes))
    np.testing.assert_allclose(decision.qty, [[0.0, 10.0]])
    assert reasons(decision) == {why}
    assert decision.verdict(0, 0) is Verdict.REFUSED


def test_review_with_a_position_that_cannot_be_valued_lets_nothing_enter_and_everything_leave():
    system = make_system(1, 2)
    outlook = make_outlook(system, price=np.array([np.nan, 100.0]))
    book = make_book(system, qty=np.array([[1.0, 0.0]]))
    assert (decide(system, [[np.nan, 0.1]], book=book, outlook=outlook).qty == [[1.0, 0.0]]).all()
    system = make_system(1, 2)
    assert (decide(system, [[0.0, 0.0]], book=book, outlook=outlook).qty == 0).all()


@pytest.mark.parametrize(
    ("regime", "left"),
    [(Regime.LOW, 1.0), (Regime.NORMAL, 1.0), (Regime.HIGH, 0.6), (Regime.CRISIS, 0.25),
     (Regime.UNKNOWN, 0.6)],
)  # fmt: skip
def test_review_in_a_regime_leaves_its_share(regime, left):
    """RK-17."""
    system = make_system(1, 2)
    decision = decide(system, [[0.1, -0.1]], outlook=make_outlook(system, regime=regime))
    np.testing.assert_allclose(decision.qty, [[10 * left, -10 * left]])
    assert reasons(decision) == ({Reason.REGIME} if left < 1 else set())


def test_review_where_symbols_move_as_one_leaves_less_but_not_less_than_the_floor():
    system = make_system(1, 2, correlation_floor=0.95)
    decision = decide(system, [[0.1, 0.1]], outlook=make_outlook(system, correlation=1.0))
    np.testing.assert_allclose(decision.qty, 9.5)


@pytest.mark.parametrize(
    ("changes", "wanted", "reason"),
    [
        ({"max_gross": 1.5, "max_symbol_share": 0.4, **LARGE}, [0.55, -0.55, 0.55], Reason.GROSS),
        ({"max_net": 0.2}, [0.3, 0.3, 0.1], Reason.NET),
        (LARGE, [0.5, 0, 0], Reason.SYMBOL),
        ({"max_sector_share": 0.2, "max_gross": 1.5}, [0.19, -0.19, 0.1], Reason.SECTOR),
        ({"max_heat": 0.01}, [0.2, 0.2, 0.2], Reason.HEAT),
        ({"min_free_margin": 0.97}, [0.2, 0.2, -0.2], Reason.MARGIN),
        ({"min_liquidation_distance": 0.9, **LARGE}, [0.39, 0.39, -0.39], Reason.LIQUIDATION),
        ({"max_value_at_risk": 0.005}, [0.2, 0.2, 0.2], Reason.VALUE_AT_RISK),
        ({"max_turnover_share": 1e-6}, [0.2, 0.2, 0.2], Reason.LIQUIDITY),
        ({"max_positions": 2}, [0.2, 0.3, 0.1], Reason.POSITIONS),
        ({}, [0.0004, 0.2, 0.2], Reason.LOTS),
    ],
)  # fmt: skip
def test_review_beyond_a_limit_names_the_limit(changes, wanted, reason):
    """RK-02, RK-09, RK-18: one case for each, where nothing else binds."""
    loose = {"max_heat": 1.0, "max_value_at_risk": 1.0, "max_sector_share": 1.0}
    system = make_system(1, 3, sectors={"AUSDT": "x", "BUSDT": "x"}, **(loose | changes))
    decision = decide(system, [wanted])
    assert reason in reasons(decision)
    (cut, *_) = [cut for cut in decision.cuts if cut.reason is reason]
    assert np.abs(cut.after).sum() < np.abs(cut.before).sum()
    assert cut.words in decision.explain()
    assert "{" not in cut.words


def test_review_of_more_positions_than_allowed_leaves_out_the_smallest_entries():
    system = make_system(1, 3, max_positions=2, max_heat=1.0, max_value_at_risk=1.0)
    book = make_book(system, qty=np.array([[0.5, 0, 0]]))
    decision = decide(system, [[np.nan, 0.1, 0.2]], book=book)
    assert (decision.qty != 0).tolist() == [[True, False, True]]


def test_review_without_limits_sizes_as_the_weights_say():
    system = make_system(1, 3)
    system.set_limits(NO_LIMITS)
    decision = decide(system, [[1.0, -0.5, np.nan]])
    np.testing.assert_allclose(decision.qty, [[100.0, -50.0, 0.0]])
    assert decision.cuts == ()
    assert np.isnan(decision.brackets).all()


def test_review_of_an_account_far_below_its_peak_closes_everything_until_a_person_rearms_it():
    """RK-20: latched, acts in the same cycle, and can close again."""
    system = make_system(1, 2)
    outlook = make_outlook(system)
    book = make_book(system, qty=np.array([[20.0, 10.0]]))
    system.observe(NOW, book, outlook)
    fallen = replace(book, equity_usdt=7_000.0)
    now = NOW + HOUR
    _, changes = system.observe(now, fallen, outlook)
    assert Kind.DRAWDOWN in {change.kind for change in changes}
    assert system.needs_trim(fallen, outlook)
    keep = make_targets(system, [[np.nan, np.nan]], known_at=now)
    decision = system.review(keep, fallen, outlook)
    assert (decision.qty == 0).all()
    assert "below its peak" in decision.explain()
    flat = make_book(system, equity_usdt=7_000.0)
    now += timedelta(days=1)
    system.observe(now, flat, outlook)
    system.rearm(Kind.DRAWDOWN, by="me", reason="looked into it", now=now)
    now += timedelta(minutes=30)
    reading, _ = system.observe(now, flat, outlook)
    assert reading.drawdown == 0.0
    decision = system.review(make_targets(system, [[0.1, 0.1]], known_at=now), flat, outlook)
    np.testing.assert_allclose(decision.qty * 100, 350.0)
    assert reasons(decision) == {Reason.BREAKER}


def test_review_of_a_strategy_far_below_its_peak_refuses_it_alone():
    """RK-04."""
    system = make_system(2, 2)
    outlook = make_outlook(system)
    system.observe(NOW, make_book(system), outlook)
    book = make_book(system, equity_usdt=9_999.0, pnl_usdt=np.array([-900.0, 899.0]))
    now = NOW + HOUR
    reading, _ = system.observe(now, book, outlook)
    assert reading.strategy_drawdown[0] == pytest.approx(0.18)
    wanted = make_targets(system, [[0.1, 0.1], [0.1, 0.1]], known_at=now)
    decision = system.review(wanted, book, outlook)
    assert (decision.qty[0] == 0).all()
    assert (decision.qty[1] > 0).all()
    system.restart("s0")
    now += HOUR
    system.observe(now, book, outlook)
    decision = system.review(replace(wanted, known_at=now), book, outlook)
    assert (decision.qty > 0).all()


@pytest.mark.parametrize(
    ("equity", "level"),
    [
        (9_950.0, Level.LOW),
        (9_700.0, Level.MEDIUM),
        (9_600.0, Level.HIGH),
        (9_400.0, Level.CRITICAL),
        (-5.0, Level.CRITICAL),
    ],
)
def test_observe_grades_what_is_used_of_the_limits(equity, level):
    """RK-04: by the worst of drawdown, daily loss and value at risk."""
    system = make_system(1, 2)
    outlook = make_outlook(system)
    system.observe(NOW, make_book(system), outlook)
    reading, _ = system.observe(NOW + HOUR, make_book(system, equity_usdt=equity), outlook)
    assert reading.level is level


def test_observe_of_a_poor_record_is_high_after_thirty_days_and_not_before():
    """RK-04: Sharpe ratio and consistency."""
    system = make_system(1, 2)
    outlook, equity, levels = make_outlook(system), 10_000.0, []
    for day in range(40):
        equity *= 0.9997 if day % 2 else 1.0002
        book = make_book(system, equity_usdt=equity)
        reading, _ = system.observe(NOW + timedelta(days=day), book, outlook)
        levels.append(reading.level)
    assert levels[:30] == [Level.LOW] * 30
    assert levels[-1] is Level.HIGH
    assert reading.consistency == pytest.approx(0.5, abs=0.02)


def test_set_limits_takes_effect_in_the_next_review():
    """RK-03: a tightening acts at once, and what was there is trimmed to it."""
    desk = Desk()
    desk.ask([[0.7, 0.7, -0.7], [0.7, 0.7, -0.7]])
    held = np.abs(desk.book.qty * 100).sum()
    tight = load_limits().model_copy(update={"max_gross": 0.3, "max_net": 0.3})
    desk.system.set_limits(tight)
    desk.now += HOUR
    desk.system.observe(desk.now, desk.book, desk.outlook)
    assert desk.system.needs_trim(desk.book, desk.outlook)
    decision = desk.ask(np.full((2, 3), np.nan))
    assert held > 3_060 > np.abs(decision.qty * 100).sum()


def test_restored_system_reads_and_decides_as_the_one_that_stopped():
    """State survives a restart: peaks, days, breakers and flows."""
    one, other = make_system(2, 2), make_system(2, 2)
    outlook, rng = make_outlook(one), np.random.default_rng(1)
    equity, now = 10_000.0, NOW
    for _ in range(200):
        now += 5 * HOUR
        equity *= 1 + rng.normal(0, 0.01)
        book = make_book(one, equity_usdt=equity, pnl_usdt=np.array([equity - 10_000.0, 0.0]))
        one.observe(now, book, outlook)
    other.restore(one.document())
    now += HOUR
    seen, again = one.observe(now, book, outlook)[0], other.observe(now, book, outlook)[0]
    assert seen._replace(strategy_drawdown=0) == again._replace(strategy_drawdown=0)
    np.testing.assert_array_equal(seen.strategy_drawdown, again.strategy_drawdown)
    assert one.document() == other.document()
    with pytest.raises(DataError, match="lies before"):
        other.observe(now - HOUR, book, outlook)


def test_review_of_a_moment_that_was_not_observed_is_an_error():
    system = make_system(1, 2)
    book, outlook = make_book(system), make_outlook(system)
    with pytest.raises(DataError, match="nothing was observed"):
        system.review(make_targets(system, [[0.1, 0.1]]), book, outlook)
    system.observe(NOW + HOUR, book, outlook)
    with pytest.raises(DataError, match="was observed last"):
        system.review(make_targets(system, [[0.1, 0.1]]), book, outlook)


def test_review_of_another_shape_is_an_error():
    system = make_system(1, 2)
    book, outlook = make_book(system), make_outlook(system)
    system.observe(NOW, book, outlook)
    targets = Targets(NOW, np.zeros((2, 1)), np.zeros((2, 1, 3)))
    with pytest.raises(DataError, match="not of 1 strategies and 2 symbols"):
        system.review(targets, book, outlook)


def test_observe_of_an_equity_that_is_no_number_is_an_error():
    system = make_system(1, 2)
    with pytest.raises(DataError, match="not a number"):
        system.observe(NOW, make_book(system, equity_usdt=float("nan")), make_outlook(system))


def test_system_without_the_rules_of_a_symbol_does_not_start():
    with pytest.raises(ConfigError, match="BUSDT"):
        RiskSystem(
            load_limits(),
            symbols=["AUSDT", "BUSDT"],
            strategies=["s"],
            instruments={"AUSDT": make_instrument("AUSDT")},
        )


def test_system_of_more_strategies_than_allowed_does_not_start():
    """PM-06."""
    with pytest.raises(ConfigError, match="11 strategies"):
        make_system(11, 1)


def test_decision_made_by_anybody_else_is_refused():
    decision = decide(make_system(1, 2), [[0.1, 0.1]])
    with pytest.raises(RiskRefused, match="made elsewhere"):
        replace(decision, seal=None)
    with pytest.raises(RiskRefused, match="made elsewhere"):
        Decision(**{f: getattr(decision, f) for f in Decision.__slots__} | {"seal": object()})


def test_no_other_module_makes_a_decision():
    """Only ``review`` does: nobody else takes the seal."""
    package = Path(__file__).resolve().parents[2] / "workbench"
    takes = [
        path.name
        for path in package.rglob("*.py")
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.ImportFrom) and any(a.name == "_SEAL" for a in node.names)
    ]
    assert takes == ["system.py"]


def test_review_of_a_proposed_hedge_cuts_it_as_any_order():
    """RK-21: the proposal is a strategy's targets; within limits it lowers the risk, beyond it is
    cut.
    """
    rng = np.random.default_rng(5)
    common = rng.normal(0, 0.02, (400, 1))
    index = pd.date_range("2023-01-01", periods=400, tz="UTC")
    moves = common + rng.normal(0, 0.005, (400, 3))
    returns = pd.DataFrame(moves, index=index, columns=["AUSDT", "BUSDT", "CUSDT"])
    system = make_system(2, 3, max_stop=0.04)
    outlook = make_outlook(system, covariance=returns.cov().to_numpy(), correlation=0.5)
    book = make_book(system, qty=np.array([[15.0, 0, 0], [0, 0, 0]]))
    proposal = propose_hedge(
        returns.cov() * 365,
        pd.Series({"AUSDT": 1_500.0}),
        ["BUSDT", "CUSDT"],
        funding={"BUSDT": 0.0, "CUSDT": 0.0},
        equity_usdt=10_000.0,
    )
    hedge = proposal.weights(5_000.0)
    wanted = [[np.nan] * 3, [hedge.get(symbol, np.nan) for symbol in system.symbols]]
    before, _ = system.observe(NOW, book, outlook)
    decision = system.review(make_targets(system, wanted), book, outlook)
    assert decision.cuts == ()
    hedged = replace(book, qty=decision.qty)
    after, _ = system.observe(NOW + HOUR, hedged, outlook)
    assert after.value_at_risk < 0.5 * before.value_at_risk
    tight = make_system(2, 3, max_symbol_share=0.05, max_sector_share=0.4)
    assert Reason.SYMBOL in reasons(decide(tight, wanted, book=book, outlook=outlook))


def test_decision_explains_itself():
    decision = decide(make_system(1, 2), [[0.9, 0.0]])
    assert decision.explain().splitlines()[0] == (
        "s0 AUSDT: asked long 9,000 USDT, resized: holds nothing, now long 2,000 USDT (stop 5.00% "
        "away, take-profit 15.00% away): the stop would cost 450 USDT, a trade may risk 100."
    )
    np.testing.assert_allclose(decision.orders, [20.0, 0.0])
    (refusal,) = decision.refusals()
    assert refusal[:3] == ("s0", "AUSDT", Verdict.RESIZED)
