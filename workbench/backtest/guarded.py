"""Risk on: the kernel and ``RiskSystem.review`` alternate, bar by bar, on one account.

Each strategy has its own columns, one for each symbol, so that its positions, stops, fills and
profit are its own; they share the wallet and the margin. Orders of several strategies in a symbol
are not netted here, which costs a little more than netting them would. A bar in which no target
changed, nothing drifted and no limit is passed asks nobody.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Final

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from workbench.backtest import kernel
from workbench.backtest.inputs import Floats, Inputs, build_brackets, check_frame, traded_a_day
from workbench.backtest.scan import Scan, Walk
from workbench.core.records import Account, Market
from workbench.risk.breakers import Change
from workbench.risk.decision import Decision, Reason
from workbench.risk.diversity import find_sectors
from workbench.risk.limits import Limits
from workbench.risk.outlook import Backdrop, Forecaster, read_backdrops
from workbench.risk.regime import Regime
from workbench.risk.sizer import Sizer, Sizing
from workbench.risk.state import Book, Outlook, Targets
from workbench.risk.system import Reading, RiskSystem
from workbench.strategies.base import KEEP, WEIGHT_QUANTUM, SteppedStrategy, Strategy, quantise

WAITS: Final = frozenset({Reason.DATA, Reason.COLLAR, Reason.BREAKER, Reason.LEVEL})
"""Refusals that pass by themselves: the target is asked for again at the next bar."""

LOGGED: Final = ("drawdown", "daily_loss", "value_at_risk", "gross", "net", "level")
COLUMNS: Final = (
    "known_at", "strategy", "symbol", "verdict", "reason", "asked_usdt", "before_usdt",
    "after_usdt", "granted_usdt", "words",
)  # fmt: skip


@dataclass(frozen=True)
class RiskLog:
    """What risk measured, decided and changed in a backtest.

    Attributes
    ----------
    limits : Limits
    readings : DataFrame of shape (n_bars, 8)
        ``drawdown``, ``daily_loss``, ``value_at_risk``, ``gross``, ``net`` (fractions of the
        equity), ``level``, ``regime`` and ``multiplier`` at each bar.
    decisions : tuple of Decision
        Those that asked for an order, were cut, or both.
    changes : tuple of Change
        Of the breakers.
    pnl : DataFrame of shape (n_bars, n_strategies)
        Profit of each strategy after costs since the beginning, in USDT.
    scales : DataFrame of shape (n_bars, n_strategies)
        What sizers made of each strategy's weights.
    """

    limits: Limits
    readings: pd.DataFrame
    decisions: tuple[Decision, ...]
    changes: tuple[Change, ...]
    pnl: pd.DataFrame
    scales: pd.DataFrame

    @property
    def refusals(self) -> pd.DataFrame:
        """Every target that was refused or made smaller: a row for each reason."""
        rows = [
            (
                decision.known_at, strategy, symbol, str(verdict), str(cut.reason),
                decision.asked_usdt[k, s], cut.before[k, s], cut.after[k, s],
                decision.qty[k, s] * decision.price[s], cut.words,
            )
            for decision in self.decisions
            for strategy, symbol, verdict, cut in decision.refusals()
            for k, s in [(decision.strategies.index(strategy), decision.symbols.index(symbol))]
        ]  # fmt: skip
        return pd.DataFrame(rows, columns=list(COLUMNS))


@dataclass(slots=True)
class _Run:
    # A guarded run in progress.
    system: RiskSystem
    walk: Walk
    shares: Floats
    scans: Mapping[int, Scan]
    bands: Sequence[Floats]
    outlooks: Forecaster
    backdrops: list[Backdrop]
    turnover: Floats
    moments: list[Any]
    price: Floats
    mark: Floats
    granted_at: Floats
    decisions: list[Decision]
    changes: list[Change]
    readings: list[Reading]
    multipliers: list[float]
    pnl: Floats
    sizing: Sizing
    scales: Floats

    @property
    def shape(self) -> tuple[int, int]:
        return len(self.system.strategies), len(self.system.symbols)

    def bar(self, i: int) -> None:
        walk, system = self.walk, self.system
        walk.advance(i)
        moved = self.price[i] / self.outlooks.price - 1.0
        self.outlooks.update(self.price[i], self.mark[i])
        covariance = self.outlooks.covariance
        self.scales[i] = self.sizing.advance(self.moments[i], moved, covariance)
        book, outlook = self.book(i), self.outlook(i)
        reading, changes = system.observe(self.moments[i], book, outlook)
        self.changes += changes
        self.readings.append(reading)
        regime, correlation = system.size_multipliers(outlook)
        self.multipliers.append(system.multiplier * regime * correlation)
        multiplier = self.multipliers[-1] * np.repeat(self.scales[i], self.shape[1])
        walk.book[:, kernel.TARGET] = walk.book[:, kernel.QTY]
        resting = {
            k * self.shape[1] + s: scan for k, scan in self.scans.items() for s in scan.step(i)
        }
        wanted = walk.weights[i].reshape(self.shape)
        self.sizing.take(np.where(wanted == KEEP, np.nan, wanted * WEIGHT_QUANTUM))
        if i + 1 == len(walk.weights):
            return
        due = self.due(i, multiplier)
        due[list(resting)] = True
        if due.any() or system.needs_trim(book, outlook):
            self.ask(i, due, resting, book, outlook, multiplier)

    def book(self, i: int) -> Book:
        held = self.walk.book
        qty = held[:, kernel.QTY].reshape(self.shape)
        mark = self.walk.inputs.bars[i, :, kernel.MARK_CLOSE]
        entry = held[:, kernel.ENTRY]
        open_pnl = np.where(held[:, kernel.QTY] != 0.0, (mark - entry) * held[:, kernel.QTY], 0.0)
        pnl = (held[:, kernel.EARNED] + open_pnl).reshape(self.shape).sum(axis=1)
        self.pnl[i] = pnl
        return Book(
            qty=qty.copy(),
            stops=held[:, kernel.LEVEL].reshape(self.shape).copy(),
            equity_usdt=float(self.walk.cash[kernel.EQUITY]),
            flows_usdt=0.0,
            shares=self.shares,
            pnl_usdt=pnl,
        )

    def outlook(self, i: int) -> Outlook:
        return self.outlooks.outlook(
            self.backdrops[i], turnover_usdt=self.turnover[i], scales=self.scales[i]
        )

    def due(self, i: int, multiplier: Floats) -> NDArray[np.bool_]:
        # Weights that changed, positions that drifted from what was granted, and targets for which
        # risk now leaves more or less than when it granted them.
        walk, n = self.walk, self.shape[1]
        due, own = np.empty((2, len(walk.book)), dtype=np.bool_)
        for k, rules in enumerate(self.bands):
            kernel.find_due(i + 1, walk.inputs.bars, walk.weights, rules, walk.book, walk.cash, own)
            due[k * n : (k + 1) * n] = own[k * n : (k + 1) * n]
        moved = np.abs(multiplier - self.granted_at)
        if moved.any():
            wanted = walk.weights[i] * WEIGHT_QUANTUM
            band = np.repeat([rules[kernel.BAND] for rules in self.bands], n)
            is_free = (walk.weights[i] != KEEP) & (wanted * walk.book[:, kernel.LOCK] <= 0.0)
            due |= is_free & (np.abs(wanted) * moved > band)
        return due

    def ask(
        self,
        i: int,
        due: NDArray[np.bool_],
        resting: Mapping[int, Scan],
        book: Book,
        outlook: Outlook,
        multiplier: Floats,
    ) -> None:
        walk, shape = self.walk, self.shape
        weights = np.where(due, walk.weights[i] * WEIGHT_QUANTUM, np.nan)
        for column in resting:
            weights[column] = walk.book[column, kernel.REST_WEIGHT] * WEIGHT_QUANTUM
        row = min(i, len(walk.brackets) - 1)
        targets = Targets(
            self.moments[i],
            weights.reshape(shape),
            walk.brackets[row].reshape((*shape, kernel.N_BRACKETS)),
        )
        decision = self.system.review(targets, book, outlook)
        if decision.cuts or (decision.qty != decision.held).any():
            self.decisions.append(decision)
        qty = decision.qty.ravel()
        changed = due | (qty != book.qty.ravel())
        self.grant(decision, weights, changed, multiplier)
        walk.book[:, kernel.TARGET] = qty
        done = due & (qty == book.qty.ravel()) & ~_cut_by(decision, WAITS).ravel()
        walk.book[done, kernel.WEIGHT] = walk.weights[i, done]
        brackets = decision.brackets.reshape((-1, kernel.N_BRACKETS))
        walk.brackets[row, due] = brackets[due]
        for column in resting:
            self.rest(i, column, decision, weights[column])

    def grant(
        self, decision: Decision, weights: Floats, changed: NDArray[np.bool_], multiplier: Floats
    ) -> None:
        # What was not cut is granted whole: its drift is that of the weight itself.
        book = self.walk.book
        is_cut = _cut_by(decision, frozenset(Reason))
        scale = self.walk.inputs.rules[kernel.LEVERAGE] * self.walk.cash[kernel.EQUITY]
        sized = np.repeat(self.sizing.scales, self.shape[1])
        own = book[:, kernel.WEIGHT] * WEIGHT_QUANTUM * (book[:, kernel.WEIGHT] != KEEP)
        asked = np.where(np.isnan(weights), own, weights) * scale * book[:, kernel.SHARE]
        value = (decision.qty * np.nan_to_num(decision.price)).ravel()
        with np.errstate(divide="ignore", invalid="ignore"):
            share = np.where(is_cut.ravel() & (asked != 0.0), value / asked, sized)
        book[changed, kernel.GRANTED] = share[changed]
        self.granted_at[changed] = multiplier[changed]

    def rest(self, i: int, column: int, decision: Decision, weight: float) -> None:
        # A resting order is sized when it fills: its weight is cut as the target was.
        book = self.walk.book
        book[column, kernel.TARGET] = book[column, kernel.QTY]
        share = book[column, kernel.GRANTED]
        book[column, kernel.GRANTED] = 1.0
        qty = decision.qty.ravel()[column]
        if qty == book[column, kernel.QTY]:
            book[column, kernel.REST_TTL] = 0.0
            return
        book[column, kernel.REST_WEIGHT] = np.trunc(book[column, kernel.REST_WEIGHT] * share)
        last = i + int(book[column, kernel.REST_TTL])
        brackets = decision.brackets.reshape((-1, kernel.N_BRACKETS))
        self.walk.brackets[i:last, column] = brackets[column]


def run_guarded(
    strategies: Mapping[str, Strategy],
    market: Market,
    inputs: Inputs,
    *,
    account: Account,
    limits: Limits,
    shares: Mapping[str, float] | None = None,
    sectors: Mapping[str, str] | None = None,
    sizers: Mapping[str, Sizer] | None = None,
) -> tuple[Walk, RiskLog]:
    """Run strategies on one account with risk on; columns are strategy by strategy.

    Parameters
    ----------
    strategies : mapping of str to Strategy
    market : Market
        With the instruments of every symbol.
    inputs : Inputs
        Of the market, one column a symbol.
    account : Account
    limits : Limits
    shares : mapping of str to float, optional
        Fraction of the equity that each strategy is allotted; equal parts without it.
    sectors : mapping of symbol to str, optional
        By default those of ``risk.diversity.find_sectors``.
    sizers : mapping of str to Sizer, optional
        Of the strategies whose weights are scaled before limits.

    Raises
    ------
    ConfigError
        If instruments are missing, or there are too many strategies.
    """
    names, n = list(strategies), len(market.symbols)
    system = RiskSystem(
        limits,
        symbols=market.symbols,
        strategies=names,
        instruments=market.instruments,
        sectors=find_sectors(market.symbols) if sectors is None else sectors,
        leverage=account.leverage,
        margin_leverage=account.margin_leverage,
    )
    walk = Walk.begin(_widen(inputs, len(names)), market.n_bars, len(names) * n, keeps=True)
    part = np.array([1.0 / len(names) if shares is None else shares[name] for name in names])
    walk.book[:, kernel.SHARE] = np.repeat(part, n)
    bands, scans = [], {}
    for k, strategy in enumerate(strategies.values()):
        rules = walk.inputs.rules.copy()
        rules[kernel.BAND] = strategy.rebalance_band
        bands.append(rules)
        own = slice(k * n, (k + 1) * n)
        if isinstance(strategy, SteppedStrategy):
            scans[k] = Scan.begin(strategy, market, walk, replace(inputs, rules=rules), k * n)
            continue
        walk.weights[:, own] = quantise(check_frame(strategy.weights(market), market, "weights"))
        walk.brackets[:, own] = build_brackets(strategy, market)
    returns = market.close.pct_change(fill_method=None)
    level = limits.value_at_risk_level
    run = _Run(
        system=system,
        walk=walk,
        shares=part,
        scans=scans,
        bands=bands,
        outlooks=Forecaster(n, bar_length=market.bar_length, level=level),
        backdrops=read_backdrops(returns, bar_length=market.bar_length, level=level),
        turnover=traded_a_day(market).to_numpy(),
        moments=list(market.index.to_pydatetime()),
        price=market.close.to_numpy(),
        mark=market.mark_close.to_numpy(),
        granted_at=np.ones(len(names) * n),
        decisions=[],
        changes=[],
        readings=[],
        multipliers=[],
        pnl=np.zeros((market.n_bars, len(names))),
        sizing=Sizing(
            [(sizers or {}).get(name) for name in names], n_symbols=n, leverage=account.leverage
        ),
        scales=np.ones((market.n_bars, len(names))),
    )
    for i in range(market.n_bars):
        run.bar(i)
    return walk, _log(run, market, limits, names)


def _cut_by(decision: Decision, reasons: frozenset[Reason]) -> NDArray[np.bool_]:
    is_cut = np.zeros(decision.qty.shape, dtype=np.bool_)
    for cut in decision.cuts:
        if cut.reason in reasons:
            is_cut |= cut.after != cut.before
    return is_cut


def _widen(inputs: Inputs, n_strategies: int) -> Inputs:
    rules = inputs.rules.copy()
    rules[kernel.BY_QUANTITY] = 1.0
    if n_strategies == 1:
        return replace(inputs, rules=rules)
    bars, finer = (np.tile(table, (1, n_strategies, 1)) for table in (inputs.bars, inputs.finer))
    spec, tiers = (
        np.tile(inputs.spec, (n_strategies, 1)),
        np.tile(inputs.tiers, (n_strategies, 1, 1)),
    )
    return replace(inputs, bars=bars, finer=finer, spec=spec, tiers=tiers, rules=rules)


def _log(run: _Run, market: Market, limits: Limits, names: list[str]) -> RiskLog:
    table = pd.DataFrame(
        {name: [getattr(reading, name) for reading in run.readings] for name in LOGGED},
        index=market.index,
    )
    table["level"] = table["level"].astype(int)
    table["regime"] = [int(Regime(b.regime)) for b in run.backdrops]
    table["multiplier"] = run.multipliers
    return RiskLog(
        limits=limits,
        readings=table,
        decisions=tuple(run.decisions),
        changes=tuple(run.changes),
        pnl=pd.DataFrame(run.pnl, index=market.index, columns=names),
        scales=pd.DataFrame(run.scales, index=market.index, columns=names),
    )
