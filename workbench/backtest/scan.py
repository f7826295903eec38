"""One bar at a time: an account that something decides for, and the ``step`` of a strategy."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from workbench.backtest import kernel
from workbench.backtest.inputs import Floats, Inputs
from workbench.core.errors import ModelError
from workbench.core.records import Market
from workbench.strategies.base import FLAT, KEEP, WEIGHT_QUANTUM, Held, Intent, SteppedStrategy


@dataclass(slots=True)
class Walk:
    """A run in progress: the account, and the weights and brackets that it was given so far."""

    inputs: Inputs
    weights: NDArray[np.int16]
    brackets: Floats
    book: Floats
    cash: Floats
    equity: Floats
    positions: Floats
    paid: Floats
    fills: list[Floats] = field(default_factory=list)

    @classmethod
    def begin(cls, inputs: Inputs, n_bars: int, n_columns: int, *, keeps: bool) -> Walk:
        """Return a fresh account; ``keeps`` says whether positions and funding are kept."""
        book, cash = kernel.open_account(inputs.capital_usdt, n_columns)
        rows = n_bars if keeps else 0
        return cls(
            inputs=inputs,
            weights=np.full((n_bars, n_columns), KEEP, dtype=np.int16),
            brackets=np.full((n_bars, n_columns, kernel.N_BRACKETS), np.nan),
            book=book,
            cash=cash,
            equity=np.empty(n_bars),
            positions=np.zeros((rows, n_columns)),
            paid=np.zeros((rows, n_columns)),
        )

    def books(self) -> tuple[Floats, Floats, Floats, Floats, Floats]:
        """Return equity, cash, positions, funding paid and fills."""
        fills = np.concatenate(self.fills) if self.fills else np.empty((0, kernel.N_FILL))
        return self.equity, self.cash, self.positions, self.paid, fills

    def advance(self, i: int) -> None:
        """Let the kernel advance the account over bar i."""
        before = int(self.cash[kernel.N_FILLS])
        log = np.empty((3 * len(self.book), kernel.N_FILL))
        self.cash[kernel.N_FILLS] = 0
        given = self.inputs
        kernel.simulate(
            i, i + 1, given.bars, self.weights, self.brackets, given.finer, given.finer_first,
            given.spec, given.tiers, given.rules, self.book, self.cash, self.equity,
            self.positions, self.paid, log,
        )  # fmt: skip
        n_fills = int(self.cash[kernel.N_FILLS])
        if n_fills:
            self.fills.append(log[:n_fills])
        self.cash[kernel.N_FILLS] = before + n_fills


@dataclass(slots=True)
class Scan:
    """A stepped strategy in progress: its features and state, and where its answers go.

    The arrays are those of a ``Walk``, or the strategy's columns of one; ``inputs`` are those of
    its own columns.
    """

    strategy: SteppedStrategy
    symbols: list[str]
    inputs: Inputs
    features: dict[str, Floats]
    weights: NDArray[np.int16]
    brackets: Floats
    book: Floats
    cash: Floats
    state: dict[str, Any]

    @classmethod
    def begin(
        cls, strategy: SteppedStrategy, market: Market, walk: Walk, inputs: Inputs, first: int = 0
    ) -> Scan:
        """Return a strategy before its first bar, whose columns begin at ``first``."""
        features = {name: frame.to_numpy() for name, frame in strategy.features(market).items()}
        for name, values in features.items():
            if len(values) != market.n_bars:
                raise ModelError(
                    f"The feature {name} has {len(values)} rows, the market {market.n_bars}.",
                    "Return one row for each known_at.",
                )
        own = slice(first, first + len(market.symbols))
        return cls(
            strategy=strategy,
            symbols=market.symbols,
            inputs=inputs,
            features=features,
            weights=walk.weights[:, own],
            brackets=walk.brackets[:, own],
            book=walk.book[own],
            cash=walk.cash,
            state=strategy.init(),
        )

    def step(self, i: int) -> list[int]:
        """Let the strategy answer at the close of bar i; return the columns that rest an order."""
        row = {name: values[i] for name, values in self.features.items()}
        self.state, intents = self.strategy.step(self.state, row, self.held(i))
        self.want(i, intents)
        resting = [self.symbols.index(t.symbol) for t in intents if t.style != "market"]
        return [s for s in resting if self.book[s, kernel.REST_TTL] > 0]

    def held(self, i: int) -> dict[str, Held]:
        """Return what the strategy may know of its positions at the close of bar i."""
        answer = {}
        for s, symbol in enumerate(self.symbols):
            qty, entry = self.book[s, kernel.QTY], self.book[s, kernel.ENTRY]
            if qty == 0:
                answer[symbol] = FLAT
                continue
            close = self.inputs.bars[i, s, kernel.CLOSE]
            scale = self.inputs.rules[kernel.LEVERAGE] * self.cash[kernel.EQUITY]
            scale *= self.book[s, kernel.SHARE]
            answer[symbol] = Held(
                weight=qty * close / scale if scale > 0 else float("nan"),
                entry_price=entry,
                bars_held=i + 1 - int(self.book[s, kernel.ENTERED]),
                open_return=float(np.sign(qty)) * (close / entry - 1.0),
            )
        return answer

    def want(self, i: int, intents: Sequence[Intent]) -> None:
        """Write the intents of bar i where the kernel reads them in bar i + 1."""
        groups: defaultdict[str, list[Intent]] = defaultdict(list)
        for intent in intents:
            if intent.symbol not in self.symbols:
                raise ModelError(
                    f"{type(self.strategy).__name__} wants {intent.symbol}, unknown here.",
                    f"It may trade {', '.join(self.symbols)}.",
                )
            groups[intent.group or f"\0{intent.symbol}"].append(intent)
        for name, members in groups.items():
            for intent in members:
                self._write(i, intent)
            if not name.startswith("\0") and not all(self._can_send(i, m) for m in members):
                for intent in members:
                    s = self.symbols.index(intent.symbol)
                    self.weights[i, s] = KEEP
                    self.book[s, kernel.REST_TTL] = 0

    def _write(self, i: int, intent: Intent) -> None:
        s = self.symbols.index(intent.symbol)
        if not abs(intent.weight) <= 1:
            raise ModelError(
                f"{type(self.strategy).__name__} wants a weight of {intent.weight}.",
                "Weights lie in [-1, 1]; leverage belongs to the account.",
            )
        whole = round(intent.weight / WEIGHT_QUANTUM)
        distances = [intent.stop_loss, intent.take_profit, intent.trailing]
        if intent.style == "market":
            self.brackets[i, s] = distances
            self.weights[i, s] = whole
            return
        if not intent.limit_price > 0 or intent.ttl_bars < 1:
            raise ModelError(
                f"The {intent.style} intent for {intent.symbol} has limit_price "
                f"{intent.limit_price} and ttl_bars {intent.ttl_bars}.",
                "A resting intent needs a positive price and at least one bar to live.",
            )
        self.brackets[i : i + intent.ttl_bars, s] = distances
        self.book[s, kernel.REST_WEIGHT] = whole
        self.book[s, kernel.REST_PRICE] = intent.limit_price
        self.book[s, kernel.REST_TTL] = intent.ttl_bars
        self.book[s, kernel.REST_POST_ONLY] = float(intent.style == "post_only")

    def _can_send(self, i: int, intent: Intent) -> bool:
        s = self.symbols.index(intent.symbol)
        if i + 1 >= len(self.weights) or np.isnan(self.inputs.bars[i + 1, s, kernel.FILL]):
            return False
        whole = round(intent.weight / WEIGHT_QUANTUM)
        target = kernel.size_order(
            i + 1, s, whole, self.inputs.spec, self.inputs.rules, self.book, self.cash.copy(),
            self.inputs.bars,
        )  # fmt: skip
        return bool(target != self.book[s, kernel.QTY] or whole == self.book[s, kernel.WEIGHT])


def scan(strategy: SteppedStrategy, market: Market, inputs: Inputs, *, keeps: bool) -> Walk:
    """Alternate a strategy's ``step`` and the kernel over every bar of a market."""
    walk = Walk.begin(inputs, market.n_bars, len(market.symbols), keeps=keeps)
    steps = Scan.begin(strategy, market, walk, inputs)
    for i in range(market.n_bars):
        walk.advance(i)
        steps.step(i)
    return walk
