"""Holdings: what each strategy holds as risk sees it, and what fills and exits mean for targets.

The books are exact and belong to the manager; here they are arrays of float64 for risk, with a row
for each strategy and a column for each symbol. What is traded for a target was acted on; a position
that went to nothing though a target stood was closed by a bracket or by somebody else: its side is
locked until the strategy's weight has left it.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from decimal import Decimal
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from workbench.core.records import Instrument, to_float
from workbench.exchange.records import ZERO
from workbench.execution.manager import OrderManager
from workbench.portfolio.accounting import Fill, Posting
from workbench.portfolio.rounds import Rounds
from workbench.risk.decision import Decision
from workbench.risk.state import Book
from workbench.strategies.base import FLAT, WEIGHT_QUANTUM, Held

Floats = NDArray[np.float64]

KEPT: Final = ("wanted", "target", "entered", "best")
"""The arrays that a document holds beside those of the rounds."""
OF_ROUNDS: Final = ("weight", "lock", "granted", "granted_at")


class Holdings:
    """Positions, profit and stops by strategy and symbol.

    ``wanted`` are the weights that were last asked about, in quanta, and ``target`` the quantities
    that were decided; ``entered`` is the bar in which a position began, by its number.
    """

    def __init__(
        self, manager: OrderManager, rounds: Rounds, instruments: Mapping[str, Instrument]
    ) -> None:
        self.manager, self.rounds, self.instruments = manager, rounds, instruments
        system = rounds.system
        self.strategies, self.symbols = system.strategies, system.symbols
        self._row = {name: k for k, name in enumerate(self.strategies)}
        self._column = {symbol: s for s, symbol in enumerate(self.symbols)}
        shape = len(self.strategies), len(self.symbols)
        self.held: dict[tuple[int, int], Decimal] = {}
        self.qty, self._cost, self._earned = np.zeros(shape), np.zeros(shape), np.zeros(shape)
        self._net, self._net_cost = np.zeros(shape[1]), np.zeros(shape[1])
        self.wanted, self.target = np.zeros(shape), np.full(shape, np.nan)
        self.entered, self.best = np.zeros(shape), np.full(shape, np.nan)
        self.bar = 0

    # What was traded

    def apply(self, postings: Iterable[Posting], *, is_exit: bool) -> None:
        """Take postings of strategies; ``is_exit`` says that no decision asked for them."""
        touched = set()
        for posting in postings:
            place = self._place(posting.strategy, posting.symbol)
            if place is None:
                continue
            touched.add(place)
            if isinstance(posting, Fill):
                before = self.held.get(place, ZERO)
                self.held[place] = before + posting.qty
                self._move(place, before, self.held[place], is_exit=is_exit)
        for place in touched:
            self._refresh(place)
        self._refresh_net()

    def sync(self) -> None:
        """Take everything from the books; what has changed since is applied as one fill each."""
        for (strategy, symbol), line in self.manager.books.shares.lines.items():
            place = self._place(strategy, symbol)
            if place is None:
                continue
            before, after = self.held.get(place, ZERO), line.position.qty
            self.held[place] = after
            if before != after:
                self._move(place, before, after, is_exit=not after)
            self._refresh(place)
        self._refresh_net()

    def _place(self, strategy: str, symbol: str) -> tuple[int, int] | None:
        row, column = self._row.get(strategy), self._column.get(symbol)
        return None if row is None or column is None else (row, column)

    def _move(
        self, place: tuple[int, int], before: Decimal, after: Decimal, *, is_exit: bool
    ) -> None:
        rounds = self.rounds
        if after * before <= 0 and after:
            self.entered[place], self.best[place] = self.bar + 1, np.nan
        if is_exit and not after and self.target[place] != 0.0:
            # As the backtest's kernel does when a bracket closes.
            rounds.weight[place], rounds.lock[place] = 0.0, 1.0 if before > 0 else -1.0
            self.target[place] = 0.0
        elif not np.isnan(self.wanted[place]):
            rounds.weight[place] = self.wanted[place]

    def _refresh(self, place: tuple[int, int]) -> None:
        row, column = place
        line = self.manager.books.shares.lines[self.strategies[row], self.symbols[column]]
        self.qty[place] = to_float(line.position.qty)
        self._cost[place] = to_float(line.position.cost)
        self._earned[place] = to_float(line.realised_usdt - line.fees_usdt - line.funding_usdt)

    def _refresh_net(self) -> None:
        for symbol, position in self.manager.books.account.positions.items():
            column = self._column.get(symbol)
            if column is not None:
                self._net[column] = to_float(position.qty)
                self._net_cost[column] = to_float(position.cost)

    # What was decided

    def decided(self, decision: Decision, wanted: Floats) -> None:
        """Note what a decision lets be held, and the weights that it was about (NaN for none)."""
        is_about = ~np.isnan(wanted)
        self.wanted[is_about] = np.rint(wanted[is_about] / WEIGHT_QUANTUM)
        moved = decision.qty != decision.held
        self.target[moved | is_about] = decision.qty[moved | is_about]

    def give_up(self, symbol: str) -> None:
        """Note that a person closes a symbol: who holds it enters again only on a new side."""
        self.target[:, self._column[symbol]] = np.nan

    # What risk and strategies see

    def advance(self, high: Floats, low: Floats) -> None:
        """Count one more bar; trailing stops follow its extremes."""
        self.bar += 1
        self.best = np.where(
            self.qty > 0.0,
            np.fmax(self.best, high),
            np.where(self.qty < 0.0, np.fmin(self.best, low), np.nan),
        )

    @property
    def equity_usdt(self) -> float:
        """Wallet and unrealised profit, on the last mark."""
        mark = self.rounds.forecaster.mark
        open_pnl = np.where(self._net != 0.0, self._net * mark - self._net_cost, 0.0).sum()
        return to_float(self.manager.books.account.wallet_usdt) + float(open_pnl)

    @property
    def pnl_usdt(self) -> Floats:
        """Profit of each strategy after costs, ever since, of shape (n_strategies,)."""
        mark = self.rounds.forecaster.mark
        open_pnl = np.where(self.qty != 0.0, self.qty * mark - self._cost, 0.0)
        return np.asarray((self._earned + open_pnl).sum(axis=1))

    def book(
        self, shares: Floats, *, orders_per_min: float = 0.0, reject_rate: float = 0.0
    ) -> Book:
        """Return the account as risk takes it."""
        return Book(
            qty=self.qty.copy(),
            stops=self._stops(),
            equity_usdt=self.equity_usdt,
            flows_usdt=to_float(self.manager.books.account.flows_usdt),
            shares=shares,
            pnl_usdt=self.pnl_usdt,
            orders_per_min=orders_per_min,
            reject_rate=reject_rate,
        )

    def _stops(self) -> Floats:
        stops = np.full(self.qty.shape, np.nan)
        for k, s in zip(*np.nonzero(self.qty), strict=True):
            symbol, side = self.symbols[s], int(np.sign(self.qty[k, s]))
            bracket = self.manager.memory.brackets.get((self.strategies[k], symbol))
            if bracket is None:
                continue
            level = bracket.stop_price(side, self.instruments[symbol].tick_size)
            if level is not None:
                stops[k, s] = to_float(level)
            if bracket.trail is not None and not np.isnan(self.best[k, s]):
                trail = self.best[k, s] - side * to_float(bracket.price * bracket.trail)
                stops[k, s] = side * np.fmax(side * stops[k, s], side * trail)
        return stops

    def seen_by(self, strategy: str, shares: Floats, symbols: Sequence[str]) -> dict[str, Held]:
        """Return what a strategy may know of its own positions: never money."""
        k, price = self._row[strategy], self.rounds.forecaster.price
        scale = self.rounds.system.leverage * self.equity_usdt * shares[k]
        answer = {}
        for symbol in symbols:
            s = self._column[symbol]
            qty = float(self.qty[k, s])
            if not qty:
                answer[symbol] = FLAT
                continue
            line = self.manager.books.shares.lines[strategy, symbol]
            entry = to_float(line.position.entry)
            answer[symbol] = Held(
                weight=qty * price[s] / scale if scale > 0 else float("nan"),
                entry_price=entry,
                bars_held=self.bar + 1 - int(self.entered[k, s]),
                open_return=float(np.sign(qty) * (price[s] / entry - 1.0)),
            )
        return answer

    # What outlives the process

    def document(self) -> dict[str, Any]:
        """Return what must outlive the process, by strategy and symbol."""
        arrays = {name: getattr(self, name) for name in KEPT}
        arrays |= {name: getattr(self.rounds, name) for name in OF_ROUNDS}
        return {
            "bar": self.bar,
            "strategies": self.strategies,
            "symbols": self.symbols,
            "held": [[k, s, str(qty)] for (k, s), qty in sorted(self.held.items()) if qty],
            "arrays": {name: table.tolist() for name, table in arrays.items()},
        }

    def restore(self, document: Mapping[str, Any]) -> None:
        """Take what an earlier process left; what is new begins as if nothing had happened."""
        rows = [(self._row.get(name), k) for k, name in enumerate(document["strategies"])]
        columns = [(self._column.get(name), s) for s, name in enumerate(document["symbols"])]
        pairs = [
            ((row, column), (k, s))
            for row, k in rows
            for column, s in columns
            if row is not None and column is not None
        ]
        for name, table in document["arrays"].items():
            own = getattr(self.rounds if name in OF_ROUNDS else self, name)
            for place, (k, s) in pairs:
                value = table[k][s]
                own[place] = np.nan if value is None else value
        there = {(k, s): Decimal(qty) for k, s, qty in document["held"]}
        self.held = {place: there.get(old, ZERO) for place, old in pairs}
        self.bar = document["bar"]
