"""Ceilings: every limit on a target book, applied one after another, each cut noted."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from workbench.risk.caps import cap_loads, cap_net, cap_risk
from workbench.risk.decision import Cut, Reason
from workbench.risk.limits import Limits
from workbench.risk.margin import Tiers
from workbench.risk.sizing import RiskSchedule, risk_fraction
from workbench.risk.state import Book, Outlook

Floats = NDArray[np.float64]
Mask = NDArray[np.bool_]


class Scene(NamedTuple):
    """One review in progress, in USDT and of shape (n_strategies, n_symbols).

    ``held`` and ``asked`` (where a strategy set a target), ``stop`` (loss at the stop over value),
    the account's equity, and who was ``cut`` why so far.
    """

    book: Book
    held: Floats
    asked: Mask
    stop: Floats
    equity: float
    cuts: list[Cut]

    def note(
        self, reason: Reason, load: float, limit: float, before: Floats, after: Floats
    ) -> Floats:
        """Return the book after a cut, and keep it on record if it changed anything."""
        if not (before == after).all():
            self.cuts.append(Cut(reason, load, limit, before, after))
        return after


class Ceilings:
    """The limits of an account on some symbols, ready to be applied."""

    def __init__(
        self,
        limits: Limits,
        symbols: Sequence[str],
        tiers: Tiers,
        *,
        sectors: Mapping[str, str] | None,
        margin_leverage: float,
    ) -> None:
        self.limits, self.tiers, self.margin_leverage = limits, tiers, margin_leverage
        named = [(sectors or {}).get(symbol, symbol) for symbol in symbols]
        codes, names = pd.factorize(np.array(named, dtype=object))
        self._sectors = (codes[None, :] == np.arange(len(names))[:, None]).astype(np.float64)
        self._each, self._all = np.eye(len(symbols)), np.ones((1, len(symbols)))

    def loads(self, equity: float) -> list[tuple[Reason, Floats, Floats]]:
        """Return the limits on sums of absolute values, the narrow ones first.

        Each has what a symbol counts for in its groups, of shape (n_groups, n_symbols), and the
        limit of each group. Margin rates are those of the largest position that is allowed.
        """
        limits, tiers = self.limits, self.tiers
        whole = limits.max_gross * equity
        most = min(limits.max_symbol_share * whole, whole)
        each, k = np.arange(len(tiers.limit)), np.argmax(tiers.limit >= most, axis=1)
        rate, allowed = tiers.rate[each, k], tiers.leverage[each, k]
        margin = 1.0 / np.minimum(allowed, self.margin_leverage)
        move = limits.min_liquidation_distance
        at_move = move + rate * (1.0 + move)
        in_sector = np.full(len(self._sectors), limits.max_sector_share * whole)
        return [
            (Reason.SYMBOL, self._each, np.full(len(rate), most)),
            (Reason.SECTOR, self._sectors, in_sector),
            (Reason.GROSS, self._all, np.array([whole])),
            (Reason.MARGIN, margin[None, :], np.array([(1.0 - limits.min_free_margin) * equity])),
            (Reason.LIQUIDATION, at_move[None, :], np.array([equity])),
        ]

    def is_passed(self, value: Floats, equity: float) -> bool:
        """Return whether absolute values per symbol are beyond one of ``loads`` and its band."""
        band = 1.0 + self.limits.trim_band
        return any(
            bool((members @ value > limit * band).any()) for _, members, limit in self.loads(equity)
        )

    def apply(self, target: Floats, scene: Scene, outlook: Outlook) -> Floats:
        """Return a target book under every limit."""
        target = self._count(target, scene)
        target = self._fit_trades(target, scene)
        traded = self.limits.max_turnover_share * outlook.turnover_usdt
        free = np.where(np.isfinite(traded), traded, np.inf)
        # A market that thins out stops entries, and forces nobody out of it.
        target = self._cap(target, scene, Reason.LIQUIDITY, self._each, free, band=np.inf)
        for reason, members, most in self.loads(scene.equity):
            target = self._cap(target, scene, reason, members, most)
        heat = np.array([self.limits.max_heat * scene.equity])
        target = self._cap(target, scene, Reason.HEAT, self._all, heat, unit=scene.stop)
        return self._fit_net(target, scene, outlook)

    def _cap(
        self,
        target: Floats,
        scene: Scene,
        reason: Reason,
        members: Floats,
        most: Floats,
        *,
        band: float | None = None,
        unit: Floats | None = None,
    ) -> Floats:
        band = self.limits.trim_band if band is None else band
        after, load, limit = cap_loads(
            target, scene.held, scene.asked, members=members, limits=most, band=band, unit=unit
        )
        return target if after is target else scene.note(reason, load, limit, target, after)

    def _fit_trades(self, target: Floats, scene: Scene) -> Floats:
        limits = self.limits
        schedule = RiskSchedule(
            limits.risk_per_trade,
            limits.risk_per_trade_large,
            limits.decay_from_usdt,
            limits.decay_to_usdt,
            limits.decay,
        )
        most = risk_fraction(scene.equity, schedule) * scene.equity
        at_stop = np.abs(target) * scene.stop
        is_over = scene.asked & (at_stop > most)
        if not is_over.any():
            return target
        fitted = np.where(is_over, np.copysign(most / scene.stop, target), target)
        worst = float(at_stop[is_over].max())
        return scene.note(Reason.TRADE_RISK, worst, most, target, fitted)

    def _fit_net(self, target: Floats, scene: Scene, outlook: Outlook) -> Floats:
        # Last, since these may let a smaller hedge raise what others measure.
        limits, held, asked = self.limits, scene.held, scene.asked
        band, most = limits.trim_band, limits.max_net * scene.equity
        after, load, limit = cap_net(target, held, asked, limit=most, band=band)
        if after is not target:
            target = scene.note(Reason.NET, load, limit, target, after)
        tail, covariance = outlook.tail, fill_covariance(outlook.covariance)
        most = limits.max_value_at_risk * scene.equity / tail
        after, load, limit = cap_risk(
            target, held, asked, covariance=covariance, limit=most, band=band
        )
        if after is target:
            return target
        return scene.note(Reason.VALUE_AT_RISK, load * tail, limit * tail, target, after)

    def _count(self, target: Floats, scene: Scene) -> Floats:
        most = self.limits.max_positions
        n = int(np.count_nonzero(target))
        if n <= most:
            return target
        is_new = (scene.held == 0.0) & (target != 0.0)
        size = np.where(is_new, np.abs(target), np.inf).ravel()
        smallest = np.argsort(size, kind="stable")[: min(n - most, int(is_new.sum()))]
        fewer = target.copy()
        fewer.ravel()[smallest] = 0.0
        return scene.note(Reason.POSITIONS, float(n), float(most), target, fewer)


def fill_covariance(covariance: Floats) -> Floats:
    """Fill what is unknown with the largest variance that is known, and no diversification."""
    is_there = np.isfinite(covariance)
    if is_there.all():
        return covariance
    known = np.diagonal(covariance)[np.diagonal(is_there)]
    variance = np.where(np.diagonal(is_there), np.diagonal(covariance), known.max(initial=0.0))
    return np.where(is_there, covariance, np.sqrt(variance[:, None] * variance[None, :]))
