"""Track: the account's value over time, flows left out: peaks, days, and each strategy's own.

The account is valued in units, which deposits and withdrawals buy and sell at their value.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from workbench.core.errors import DataError
from workbench.core.measures import DAYS_A_YEAR, drawdown_from, sharpe
from workbench.risk.state import Book

Floats = NDArray[np.float64]

LEAST_DAYS: Final = 30
"""Days of trading before a Sharpe ratio or a consistency is held against anybody."""
KEPT: Final = ("nav", "peak", "day_nav", "units", "flows", "equity")
"""What a document holds of the account, beside its days and strategies."""


class Track:
    """Values of a unit of the account: now, at its peak, and at the start of the UTC day.

    ``days`` are the last daily returns; ``sharpe`` and ``consistency`` (days without a loss) are
    of them, NaN while there are too few.
    """

    def __init__(self, strategies: Sequence[str], *, n_days: int) -> None:
        self.strategies = tuple(strategies)
        self.days: deque[float] = deque(maxlen=n_days)
        self.nav, self.peak, self.day_nav, self.units = 1.0, 1.0, 1.0, 0.0
        self.flows, self.equity = 0.0, 0.0
        n = len(self.strategies)
        self.own, self.own_peak, self.pnl = np.ones(n), np.ones(n), np.zeros(n)
        self.sharpe = self.consistency = float("nan")
        self.last: datetime | None = None

    @property
    def drawdown(self) -> float:
        """How far a unit is below its peak, as a fraction of it."""
        return drawdown_from(self.nav, self.peak)

    @property
    def daily_loss(self) -> float:
        """What a unit has lost since the UTC day began, as a fraction."""
        return 1.0 - self.nav / self.day_nav if self.day_nav > 0.0 else 1.0

    @property
    def strategy_drawdown(self) -> Floats:
        """How far each strategy is below its peak, of shape (n_strategies,)."""
        return np.asarray(drawdown_from(self.own, self.own_peak))

    def advance(self, known_at: datetime, book: Book) -> None:
        """Take the account as it is now.

        Raises
        ------
        DataError
            If time runs backwards.
        """
        last = self.last
        if last is not None and known_at < last:
            raise DataError(f"{known_at} lies before {last}.", "Hand moments in the order of time.")
        flow, self.flows = book.flows_usdt - self.flows, book.flows_usdt
        self.last = known_at
        if last is None:
            self.units, self.equity, self.pnl = book.equity_usdt, book.equity_usdt, book.pnl_usdt
            return
        if known_at.date() != last.date():
            self.days.append(-self.daily_loss)
            self.day_nav = self.nav
            self._judge()
        if self.units > 0.0:
            self.nav = max((book.equity_usdt - flow) / self.units, 0.0)
        if flow and self.nav > 0.0:
            self.units = book.equity_usdt / self.nav
        self.peak = max(self.peak, self.nav)
        allotted = book.shares * self.equity
        with np.errstate(divide="ignore", invalid="ignore"):
            earned = np.where(allotted > 0.0, (book.pnl_usdt - self.pnl) / allotted, 0.0)
        self.own = np.maximum(self.own * (1.0 + earned), 0.0)
        self.own_peak = np.maximum(self.own_peak, self.own)
        self.pnl, self.equity = book.pnl_usdt, book.equity_usdt

    def keep_days(self, n_days: int) -> None:
        """Look back over so many days from now on."""
        self.days = deque(self.days, maxlen=n_days)

    def restart(self, strategy: str | None = None) -> None:
        """Let the peak of a strategy, or of the account, start anew where it stands."""
        if strategy is None:
            self.peak = self.nav
            return
        row = self.strategies.index(strategy)
        self.own_peak[row] = self.own[row]

    def document(self) -> dict[str, Any]:
        """Return everything as plain values."""
        rows = zip(self.strategies, self.own, self.own_peak, self.pnl, strict=True)
        return {
            "known_at": None if self.last is None else self.last.isoformat(),
            **{name: getattr(self, name) for name in KEPT},
            "days": list(self.days),
            "strategies": {name: [float(x) for x in row] for name, *row in rows},
        }

    def restore(self, document: Mapping[str, Any]) -> None:
        """Take what an earlier process left; a strategy that is new starts at its peak."""
        for name in KEPT:
            setattr(self, name, float(document[name]))
        self.days.extend(document["days"])
        kept = document["strategies"]
        rows = np.array([kept.get(name, (1.0, 1.0, 0.0)) for name in self.strategies])
        self.own, self.own_peak, self.pnl = rows.T.copy()
        self._judge()
        moment = document["known_at"]
        self.last = None if moment is None else datetime.fromisoformat(moment)

    def _judge(self) -> None:
        if len(self.days) >= LEAST_DAYS:
            returns = np.array(self.days)
            self.sharpe = float(sharpe(returns, DAYS_A_YEAR))
            self.consistency = float((returns >= 0.0).mean())
