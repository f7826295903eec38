"""Risk on: the kernel and ``RiskSystem.review`` alternate, bar by bar, on one account.

Each strategy has its own columns, one for each symbol, so that its positions, stops, fills and
profit are its own; they share the wallet and the margin. Orders of several strategies in a symbol
are not netted here, which costs a little more than netting them would. A bar in which no target
changed, nothing drifted and no limit is passed asks nobody.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, Final

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from workbench.backtest import kernel
from workbench.backtest.inputs import Floats, Inputs, build_brackets, check_frame, traded_a_day
from workbench.backtest.scan import Scan, Walk
from workbench.core.records import Account, Market
from workbench.portfolio.rounds import Rounds
from workbench.risk.breakers import Change
from workbench.risk.decision import Decision
from workbench.risk.diversity import find_sectors
from workbench.risk.limits import Limits
from workbench.risk.outlook import Backdrop, Forecaster, read_backdrops
from workbench.risk.regime import Regime
from workbench.risk.sizer import Sizer, Sizing
from workbench.risk.state import Book, Outlook
from workbench.risk.system import Reading, RiskSystem
from workbench.strategies.base import KEEP, WEIGHT_QUANTUM, SteppedStrategy, Strategy, quantise

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
    # A guarded run in progress: the kernel fills what a round grants.
    rounds: Rounds
    walk: Walk
    shares: Floats
    scans: Mapping[int, Scan]
    backdrops: list[Backdrop]
    turnover: Floats
    moments: list[Any]
    price: Floats
    mark: Floats
    decisions: list[Decision]
    changes: list[Change]
    readings: list[Reading]
    multipliers: list[float]
    pnl: Floats
    scales: Floats

    @property
    def shape(self) -> tuple[int, int]:
        return self.rounds.weight.shape

    def bar(self, i: int) -> None:
        walk, rounds = self.walk, self.rounds
        walk.advance(i)
        self.scales[i] = rounds.advance(self.moments[i], self.price[i], self.mark[i])
        book = self.book(i)
        outlook = rounds.outlook(self.backdrops[i], turnover_usdt=self.turnover[i])
        reading, changes = rounds.observe(self.moments[i], book, outlook)
        self.changes += changes
        self.readings.append(reading)
        self.multipliers.append(rounds.multiplier)
        walk.book[:, kernel.TARGET] = walk.book[:, kernel.QTY]
        resting = {
            k * self.shape[1] + s: scan for k, scan in self.scans.items() for s in scan.step(i)
        }
        weights = walk.weights[i].reshape(self.shape)
        wanted = np.where(weights == KEEP, np.nan, weights * WEIGHT_QUANTUM)
        rounds.sizing.take(wanted)
        if i + 1 == len(walk.weights):
            return
        due = rounds.due(wanted, book)
        for column in resting:
            due.flat[column] = True
            wanted.flat[column] = walk.book[column, kernel.REST_WEIGHT] * WEIGHT_QUANTUM
        if due.any() or rounds.system.needs_trim(book, outlook):
            self.ask(i, wanted, due, resting, book, outlook)

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

    def ask(
        self,
        i: int,
        wanted: Floats,
        due: NDArray[np.bool_],
        resting: Mapping[int, Scan],
        book: Book,
        outlook: Outlook,
    ) -> None:
        walk, shape = self.walk, self.shape
        row = min(i, len(walk.brackets) - 1)
        given = walk.brackets[row].reshape((*shape, kernel.N_BRACKETS))
        decision = self.rounds.ask(self.moments[i], wanted, due, given, book, outlook)
        if decision.cuts or (decision.qty != decision.held).any():
            self.decisions.append(decision)
        walk.book[:, kernel.TARGET] = decision.qty.ravel()
        brackets = decision.brackets.reshape((-1, kernel.N_BRACKETS))
        walk.brackets[row, due.ravel()] = brackets[due.ravel()]
        for column in resting:
            self.rest(i, column, decision)

    def rest(self, i: int, column: int, decision: Decision) -> None:
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
    scans = {}
    for k, strategy in enumerate(strategies.values()):
        own = slice(k * n, (k + 1) * n)
        if isinstance(strategy, SteppedStrategy):
            scans[k] = Scan.begin(strategy, market, walk, inputs, k * n)
            continue
        walk.weights[:, own] = quantise(check_frame(strategy.weights(market), market, "weights"))
        walk.brackets[:, own] = build_brackets(strategy, market)
    returns = market.close.pct_change(fill_method=None)
    level = limits.value_at_risk_level
    # The kernel writes what was acted on and locked while it fills: these are its own columns.
    weight, lock, granted = (
        walk.book[:, column].reshape(len(names), n)
        for column in (kernel.WEIGHT, kernel.LOCK, kernel.GRANTED)
    )
    run = _Run(
        rounds=Rounds(
            system,
            Forecaster(n, bar_length=market.bar_length, level=level),
            Sizing(
                [(sizers or {}).get(name) for name in names], n_symbols=n, leverage=account.leverage
            ),
            bands=np.array([strategy.rebalance_band for strategy in strategies.values()]),
            weight=weight,
            lock=lock,
            granted=granted,
        ),
        walk=walk,
        shares=part,
        scans=scans,
        backdrops=read_backdrops(returns, bar_length=market.bar_length, level=level),
        turnover=traded_a_day(market).to_numpy(),
        moments=list(market.index.to_pydatetime()),
        price=market.close.to_numpy(),
        mark=market.mark_close.to_numpy(),
        decisions=[],
        changes=[],
        readings=[],
        multipliers=[],
        pnl=np.zeros((market.n_bars, len(names))),
        scales=np.ones((market.n_bars, len(names))),
    )
    for i in range(market.n_bars):
        run.bar(i)
    return walk, _log(run, market, limits, names)


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
