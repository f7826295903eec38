"""Rounds: what each bar asks of risk, the same in a backtest and in the engine.

A round is one bar, in this order: prices move forecasts and sizers (``advance``), the account is
measured (``observe``), targets come due (``due``), and those that are due are reviewed (``ask``).
Targets are due where a weight changed, where a position drifted from what was granted of it, and
where risk now leaves another share than it granted. What was refused for a reason that passes by
itself stays due.
"""

from __future__ import annotations

from datetime import datetime
from typing import Final

import numpy as np
from numpy.typing import NDArray

from workbench.portfolio.rebalance import due_targets
from workbench.risk.breakers import Change
from workbench.risk.decision import Decision, Reason
from workbench.risk.outlook import Backdrop, Forecaster
from workbench.risk.sizer import Sizing
from workbench.risk.state import Book, Outlook, Targets
from workbench.risk.system import Reading, RiskSystem
from workbench.strategies.base import WEIGHT_QUANTUM

Floats = NDArray[np.float64]
Mask = NDArray[np.bool_]

WAITS: Final = frozenset({Reason.DATA, Reason.COLLAR, Reason.BREAKER, Reason.LEVEL})
"""Refusals that pass by themselves: the target is asked for again at the next bar."""


class Rounds:
    """What was acted on and granted so far, of shape (n_strategies, n_symbols) each.

    Parameters
    ----------
    system : RiskSystem
    forecaster : Forecaster
    sizing : Sizing
    bands : ndarray of shape (n_strategies,)
        Each strategy's ``rebalance_band``.
    weight : ndarray, optional
        Weights that were last acted on, in quanta. Whoever fills orders writes it: what was traded
        for at all was acted on, and an exit by a bracket makes it 0. Arrays that are handed in are
        kept and changed in place.
    lock : ndarray, optional
        Sign of a position that a bracket closed: no entry on that side before the weight was on the
        other one, or 0.
    granted : ndarray, optional
        Share of what the weight stands for that risk left.
    """

    def __init__(
        self,
        system: RiskSystem,
        forecaster: Forecaster,
        sizing: Sizing,
        *,
        bands: Floats,
        weight: Floats | None = None,
        lock: Floats | None = None,
        granted: Floats | None = None,
    ) -> None:
        shape = len(system.strategies), len(system.symbols)
        self.system, self.forecaster, self.sizing = system, forecaster, sizing
        self.bands = bands[:, None]
        self.weight = np.zeros(shape) if weight is None else weight
        self.lock = np.zeros(shape) if lock is None else lock
        self.granted = np.ones(shape) if granted is None else granted
        self.granted_at = np.ones(shape)
        self.multiplier = 1.0
        self._multipliers = np.ones(shape)

    def advance(self, known_at: datetime, price: Floats, mark: Floats) -> Floats:
        """Take the prices of a bar, of shape (n_symbols,) with NaN for none; return the scales."""
        moved = price / self.forecaster.price - 1.0
        self.forecaster.update(price, mark)
        return self.sizing.advance(known_at, moved, self.forecaster.covariance)

    def outlook(self, backdrop: Backdrop, *, turnover_usdt: Floats) -> Outlook:
        """Return what is known and forecast now."""
        scales = self.sizing.scales
        return self.forecaster.outlook(backdrop, turnover_usdt=turnover_usdt, scales=scales)

    def observe(
        self, known_at: datetime, book: Book, outlook: Outlook
    ) -> tuple[Reading, list[Change]]:
        """Measure the account, and what is left of a size by breakers, regime and correlation."""
        system = self.system
        reading, changes = system.observe(known_at, book, outlook)
        regime, correlation = system.size_multipliers(outlook)
        self.multiplier = system.multiplier * regime * correlation
        self._multipliers = self.multiplier * np.repeat(
            outlook.scales[:, None], len(system.symbols), axis=1
        )
        return reading, changes

    def due(self, wanted: Floats, book: Book) -> Mask:
        """Return which targets ask for an order.

        ``wanted`` are the quantised weights of now, as fractions; NaN keeps the position.
        """
        scale = self.system.leverage * book.equity_usdt * book.shares[:, None]
        is_free = wanted * self.lock <= 0.0
        self.lock[is_free] = 0.0
        due = due_targets(
            wanted, self.weight * WEIGHT_QUANTUM, book.qty * self.forecaster.price,
            scale_usdt=scale, band=self.bands, granted=self.granted,
        )  # fmt: skip
        due &= is_free
        moved = np.abs(self._multipliers - self.granted_at)
        if moved.any():
            due |= is_free & (np.abs(wanted) * moved > self.bands)
        return due

    def ask(
        self,
        known_at: datetime,
        wanted: Floats,
        due: Mask,
        brackets: Floats,
        book: Book,
        outlook: Outlook,
    ) -> Decision:
        """Have the targets that are due reviewed, and remember what was granted of each.

        ``brackets`` are the distances of an entry now, of shape (n_strategies, n_symbols, 3).
        """
        weights = np.where(due, wanted, np.nan)
        decision = self.system.review(Targets(known_at, weights, brackets), book, outlook)
        self._grant(decision, weights, due | (decision.qty != book.qty), book)
        is_done = due & (decision.qty == book.qty) & ~cut_by(decision, WAITS)
        self.weight[is_done] = np.rint(wanted[is_done] / WEIGHT_QUANTUM)
        return decision

    def _grant(self, decision: Decision, weights: Floats, changed: Mask, book: Book) -> None:
        # What was not cut is granted whole: its drift is that of the weight itself.
        is_cut = cut_by(decision, frozenset(Reason))
        scale = self.system.leverage * book.equity_usdt
        own = np.where(np.isnan(weights), self.weight * WEIGHT_QUANTUM, weights)
        asked = own * scale * book.shares[:, None]
        value = decision.qty * np.nan_to_num(decision.price)
        with np.errstate(divide="ignore", invalid="ignore"):
            share = np.where(is_cut & (asked != 0.0), value / asked, self.sizing.scales[:, None])
        self.granted[changed] = share[changed]
        self.granted_at[changed] = self._multipliers[changed]


def cut_by(decision: Decision, reasons: frozenset[Reason]) -> Mask:
    """Return which targets were cut for one of some reasons, of shape (n_strategies, n_symbols)."""
    is_cut = np.zeros(decision.qty.shape, dtype=np.bool_)
    for cut in decision.cuts:
        if cut.reason in reasons:
            is_cut |= cut.after != cut.before
    return is_cut
