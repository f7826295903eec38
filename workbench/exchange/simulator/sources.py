"""Where the market comes from: candles; for trades and order books see ``archives``.

A source knows when it has something next and, asked to, publishes it. Several may feed one
exchange: trades beside books, for instance. A live feed is no source: it is pushed.
"""

from __future__ import annotations

from datetime import datetime
from decimal import Decimal
from typing import TYPE_CHECKING, Any, Final, Protocol

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from workbench.core.errors import DataError
from workbench.core.records import FIELDS, Market, to_moment
from workbench.exchange.records import Stamp
from workbench.exchange.simulator.candles import Candles, Row, length_ms
from workbench.exchange.simulator.orders import ZERO
from workbench.exchange.simulator.paths import Paths, make_paths

if TYPE_CHECKING:
    from workbench.exchange.simulator.markets import SymbolMarket
    from workbench.exchange.simulator.simulator import Simulator

CHUNK: Final = 512
"""Bars whose paths are made at once."""
PRICES: Final = ("open", "high", "low", "close")


class Source(Protocol):
    """Something that publishes a market in the order of time."""

    next_ms: int | None

    def bind(self, sim: Simulator) -> None:
        """Take the exchange up before anything is published."""

    def step(self, sim: Simulator, until_ms: int) -> None:
        """Publish what is due at ``next_ms``, or more where nobody would see a difference."""


class CandleSource:
    """A market of candles: each bar opens one millisecond after its start and ends with it.

    ``start`` is when trading begins (the first bar if none): what is known before is history.
    """

    def __init__(
        self, market: Market, *, start: str | datetime | pd.Timestamp | None = None
    ) -> None:
        self.market = market
        self.length = length_ms(market.interval)
        self.ends = market.index.as_unit("ms").asi8
        self.first = 0 if start is None else int(self.ends.searchsorted(_millis(start), "right"))
        if self.first >= len(self.ends):
            raise DataError(
                f"The market ends at {market.index[-1]}, before {start}.", "Start earlier."
            )
        self.row, self.stage = self.first, 0
        self.next_ms: int | None = int(self.ends[self.first]) - self.length + 1
        self.values = {name: getattr(market, name).to_numpy() for name in FIELDS}
        self._paths: dict[int, list[Paths]] = {}

    @property
    def start_ms(self) -> int:
        """When trading begins."""
        return int(self.ends[self.first]) - self.length

    def bind(self, sim: Simulator) -> None:
        """Make ticks and lots of the frames, and hand what is history to the exchange."""
        self.columns = [
            (s, sim.markets[symbol])
            for s, symbol in enumerate(self.market.symbols)
            if symbol in sim.markets
        ]
        self.steps, self.seed = max(4, sim.settings.steps), sim.seed
        shape = (len(self.ends), len(self.market.symbols), 4)
        self.ticks, self.marks = np.zeros(shape, np.int64), np.zeros(shape, np.int64)
        self.lots = np.zeros(shape[:2], np.int64)
        self.is_there = ~np.isnan(self.values["close"]) & ~np.isnan(self.values["open"])
        for s, market in self.columns:
            tick, step = float(market.contract.tick), float(market.contract.step)
            for k, name in enumerate(PRICES):
                self.ticks[:, s, k] = _whole(self.values[name][:, s], tick)
                self.marks[:, s, k] = _whole(self.values[f"mark_{name}"][:, s], tick)
            self.lots[:, s] = _whole(self.values["volume"][:, s], step)
            market.traded, market.marked, market.indexed = (Candles(self.length) for _ in range(3))
            for row in range(self.first):
                if self.is_there[row, s]:
                    market.keep(*self._rows(market, s, row))
            rates = self.values["funding_settled"][: self.first, s]
            market.settled += [
                Stamp(int(self.ends[row]), _exact(round(float(rates[row]), 12)))
                for row in np.flatnonzero(np.isfinite(rates)).tolist()
            ]
            interest = self.values["open_interest"][: self.first, s]
            for row in np.flatnonzero(np.isfinite(interest)).tolist():
                sim.feed_interest(market, _exact(interest[row]), int(self.ends[row]))
            seen = np.flatnonzero(self.is_there[: self.first + 1, s])
            if len(seen):
                last = int(seen[-1])
                k = 0 if last == self.first else 3
                market.last = market.contract.price(int(self.ticks[last, s, k]))
                market.mark = market.index = market.contract.price(int(self.marks[last, s, k]))
                self._quote(sim, market, s, last, int(self.ticks[last, s, k]), 1)
            self._tell_funding(market, s, max(self.first - 1, 0))

    def step(self, sim: Simulator, until_ms: int) -> None:
        """Publish the next trade of every symbol, or the end of the bar."""
        row, end = self.row, int(self.ends[self.row])
        if sim.settings.is_exact:
            self._step_exact(sim, row)
        elif self.stage == 0 and until_ms >= end + self.length and sim.is_idle():
            self._end(sim, row)
            self.stage = -1
        elif self.stage < self.steps:
            self._trade(sim, row, self.stage)
        else:
            self._end(sim, row)
            self.stage = -1
        self.stage += 1
        self._plan()

    def _plan(self) -> None:
        stages = self.steps if self.stage else 0
        if self.stage == 0:
            self.row += 1
            if self.row >= len(self.ends):
                self.next_ms = None
                return
        end = int(self.ends[self.row])
        start = end - self.length
        if self.stage == 0:
            self.next_ms = start + 1
        elif self.stage >= stages:
            self.next_ms = end
        else:
            self.next_ms = start + 1 + (self.length - 1) * self.stage // self.steps

    def _step_exact(self, sim: Simulator, row: int) -> None:
        from workbench.exchange.simulator import exact

        bars = {
            market.symbol: exact.Bar(*(_exact(self.values[name][row, s]) for name in exact.FIELDS))
            for s, market in self.columns
            if self.is_there[row, s]
        }
        if self.stage == 0:
            exact.open_bars(sim, bars)
            self.stage = self.steps - 1
            return
        exact.close_bars(sim, bars)
        self._end(sim, row)
        self.stage = -1

    def _trade(self, sim: Simulator, row: int, k: int) -> None:
        chunk, at = divmod(row, CHUNK)
        paths = self._paths.get(chunk) or self._make(chunk)
        for (s, market), path in zip(self.columns, paths, strict=True):
            if not self.is_there[row, s]:
                continue
            ticks, lots = int(path.ticks[at, k]), int(path.lots[at, k])
            mark = market.contract.price(int(path.marks[at, k]))
            sign = int(path.signs[at, k])
            market.value(sim.now_ms, mark, mark)
            sim.feed_trade(market, ticks, lots, sign)
            self._quote(sim, market, s, row, ticks, sign)
            sim.feed_done(market)

    def _make(self, chunk: int) -> list[Paths]:
        rows = slice(chunk * CHUNK, (chunk + 1) * CHUNK)
        made = [
            make_paths(
                self.ticks[rows, s],
                self.marks[rows, s],
                self.lots[rows, s],
                self.steps,
                np.random.default_rng([self.seed, s, chunk]),
            )
            for s, _ in self.columns
        ]
        self._paths = {chunk: made}
        return made

    def _quote(
        self, sim: Simulator, market: SymbolMarket, s: int, row: int, ticks: int, sign: int
    ) -> None:
        # The trade was at the ask of a buyer and at the bid of a seller: the book stands there.
        per_minute = int(self.lots[row, s]) * 60_000 // self.length
        sim.feed_made(market, ticks, sign, lots=per_minute, salt=row)

    def _end(self, sim: Simulator, row: int) -> None:
        end = int(self.ends[row])
        for s, market in self.columns:
            if not self.is_there[row, s]:
                continue
            market.now_ms = end
            market.keep(*self._rows(market, s, row))
            if not sim.settings.is_exact:
                market.last = market.contract.price(int(self.ticks[row, s, 3]))
                market.mark = market.index = market.contract.price(int(self.marks[row, s, 3]))
            self._settle(sim, market, s, row)

    def _settle(self, sim: Simulator, market: SymbolMarket, s: int, row: int) -> None:
        rate = self.values["funding_settled"][row, s]
        if not np.isnan(rate):
            sim.settle_funding(market, _exact(round(float(rate), 12)), int(self.ends[row]))
        self._tell_funding(market, s, row)
        interest = self.values["open_interest"][row, s]
        if not np.isnan(interest):
            sim.feed_interest(market, _exact(interest), int(self.ends[row]))

    def _tell_funding(self, market: SymbolMarket, s: int, row: int) -> None:
        predicted = self.values["funding_predicted"][row, s]
        if not np.isnan(predicted):
            market.funding_rate = _exact(round(float(predicted), 8))

    def _rows(self, market: SymbolMarket, s: int, row: int) -> tuple[Row, Row]:
        start = int(self.ends[row]) - self.length
        tick = market.contract.tick
        size = market.contract.step * int(self.lots[row, s])
        o, high, low, c = (tick * ticks for ticks in self.ticks[row, s].tolist())
        value = float(self.values["turnover"][row, s])
        turnover = c * size if np.isnan(value) else _exact(round(value, 4))
        marks = (tick * ticks for ticks in self.marks[row, s].tolist())
        return (start, o, high, low, c, size, turnover), (start, *marks, ZERO, ZERO)


def _whole(values: NDArray[np.float64], step: float) -> NDArray[np.int64]:
    return np.rint(np.nan_to_num(values) / step).astype(np.int64)


def _exact(value: Any) -> Decimal:
    return Decimal(repr(float(value)))


def _millis(moment: str | datetime | pd.Timestamp) -> int:
    return int(to_moment(moment).timestamp() * 1000)
