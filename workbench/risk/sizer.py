"""Sizer: what makes a strategy's weights larger or smaller, before any limit."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from workbench.core.errors import ConfigError
from workbench.core.measures import DAYS_A_YEAR
from workbench.risk.drawdown import simulated_multiple
from workbench.risk.kelly import kelly_size
from workbench.risk.sizing import blend, volatility_target

Floats = NDArray[np.float64]


class Sized(NamedTuple):
    """A multiple of a strategy's weights, and what each sizer said."""

    multiple: float
    words: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Sizer:
    """Which sizers are asked; their answers are blended by the geometric mean.

    A sizer that says zero has a veto. With none asked the weights stay as they are.

    Attributes
    ----------
    target_volatility : float
        Of the strategy's own positions in a year, by forecast; 0 does not ask.
    kelly_fraction : float
        Share of the Kelly stake that the record supports at 90 per cent confidence; 0 does not ask.
    max_drawdown : float
        Exceeded within ``horizon_days`` by at most one future in ten drawn from the record; 0 does
        not ask.
    floor, ceiling : float
        Least multiple, short of a veto, and the largest.
    min_days : int
        With a shorter record Kelly and drawdown say ``floor``.
    horizon_days : int
    refit_days : int
        Days from one answer to the next.
    """

    target_volatility: float = 0.0
    kelly_fraction: float = 0.0
    max_drawdown: float = 0.0
    floor: float = 0.25
    ceiling: float = 2.0
    min_days: int = 180
    horizon_days: int = 365
    refit_days: int = 7

    def __post_init__(self) -> None:
        is_sound = 0 < self.floor <= self.ceiling and self.refit_days >= 1 and self.min_days >= 30
        asked = (self.target_volatility, self.kelly_fraction, self.max_drawdown)
        if not is_sound or min(asked) < 0 or self.kelly_fraction > 1 or self.max_drawdown >= 1:
            raise ConfigError(
                f"{self} cannot size.",
                "Let 0 < floor <= ceiling, min_days be 30 or more, kelly_fraction at most 1 and "
                "max_drawdown below 1.",
            )

    def size(self, record: Floats, volatility: float, *, seed: int = 0) -> Sized:
        """Return the multiple now.

        Parameters
        ----------
        record : ndarray of shape (n_days,)
            Daily returns of the weights themselves, at a multiple of 1, up to now.
        volatility : float
            Forecast for a year of what the weights hold now; NaN or 0 where they hold nothing.
        seed : int, default=0
        """
        asked = []
        if self.target_volatility:
            asked.append(self._by_volatility(volatility))
        if self.kelly_fraction:
            asked.append(self._by_kelly(record, seed))
        if self.max_drawdown:
            asked.append(self._by_drawdown(record, seed))
        if not asked:
            return Sized(1.0, ())
        sizes, words = zip(*asked, strict=True)
        blended = float(blend(np.array(sizes), np.ones(len(sizes))))
        multiple = 0.0 if blended == 0.0 else min(max(blended, self.floor), self.ceiling)
        return Sized(multiple, words)

    def _by_volatility(self, volatility: float) -> tuple[float, str]:
        if not volatility > 0.0:
            return self.floor, "nothing is held whose volatility could be told"
        found = volatility_target(
            volatility, target=self.target_volatility, floor=self.floor, ceiling=self.ceiling
        )
        words = f"a volatility of {volatility:.0%} is to be {self.target_volatility:.0%}"
        return float(found), words

    def _by_kelly(self, record: Floats, seed: int) -> tuple[float, str]:
        if len(record) < self.min_days:
            return self.floor, f"{len(record)} days are too few for Kelly"
        stake = kelly_size(
            record,
            fraction=self.kelly_fraction,
            cap=self.ceiling,
            min_sample=self.min_days,
            reps=200,
            seed=seed,
        )
        words = f"a Kelly stake of {stake.full:.2f}, of which {stake.low:.2f} is supported"
        return stake.size, f"{words} ({stake.note})" if stake.note else words

    def _by_drawdown(self, record: Floats, seed: int) -> tuple[float, str]:
        if len(record) < self.min_days:
            return self.floor, f"{len(record)} days are too few to bound a drawdown"
        if not np.ptp(record) > 0.0:
            return self.floor, "the record does not move"
        found = simulated_multiple(
            record,
            limit=self.max_drawdown,
            horizon_bars=self.horizon_days,
            confidence=0.9,
            cap=self.ceiling,
            paths=500,
            seed=seed,
        )
        return found, f"{found:.2f} times keeps the drawdown within {self.max_drawdown:.0%}"


class Sizing:
    """The sizers of some strategies, and the records that they look at.

    A record is what a strategy's weights would have earned by themselves, without costs: it goes on
    while they are refused or sized to nothing, so that a strategy can earn its size back.
    """

    def __init__(
        self, sizers: Sequence[Sizer | None], *, n_symbols: int, leverage: float, seed: int = 0
    ) -> None:
        self.sizers, self.leverage, self.seed = tuple(sizers), leverage, seed
        self.weights = np.zeros((len(self.sizers), n_symbols))
        self.scales = np.ones(len(self.sizers))
        self.words: tuple[tuple[str, ...], ...] = ((),) * len(self.sizers)
        self.days: list[Floats] = []
        self._growth = np.ones(len(self.sizers))
        self._last: datetime | None = None

    def advance(self, known_at: datetime, moved: Floats, covariance: Floats) -> Floats:
        """Return the multiples after one more bar, of shape (n_strategies,).

        ``moved`` is each symbol's return over the bar (NaN for none), ``covariance`` the forecast
        of daily returns. Sizers answer when a UTC day has ended, each as often as it wants.
        """
        earned = self.weights @ np.where(np.isfinite(moved), moved, 0.0)
        self._growth = self._growth * np.maximum(1.0 + self.leverage * earned, 0.0)
        last, self._last = self._last, known_at
        if last is None or last.date() == known_at.date():
            return self.scales
        self.days.append(self._growth - 1.0)
        self._growth = np.ones(len(self.sizers))
        scales = self.scales.copy()
        for k, sizer in enumerate(self.sizers):
            if sizer is None or (len(self.days) - 1) % sizer.refit_days:
                continue
            own = self.leverage * self.weights[k]
            known = np.where(np.isfinite(covariance), covariance, 0.0)
            volatility = float(np.sqrt(max(own @ known @ own, 0.0) * DAYS_A_YEAR))
            record = np.array([day[k] for day in self.days])
            sized = sizer.size(record, volatility, seed=self.seed)
            scales[k] = sized.multiple
            self.words = (*self.words[:k], sized.words, *self.words[k + 1 :])
        self.scales = scales
        return scales

    def take(self, weights: Floats) -> None:
        """Take the weights wanted now, of shape (n_strategies, n_symbols); NaN keeps."""
        self.weights = np.where(np.isnan(weights), self.weights, weights)

    def document(self) -> dict[str, Any]:
        """Return what it has seen as plain values, to go on from after a restart."""
        return {
            "weights": self.weights.tolist(),
            "scales": self.scales.tolist(),
            "words": [list(own) for own in self.words],
            "days": [day.tolist() for day in self.days],
            "growth": self._growth.tolist(),
            "last": None if self._last is None else self._last.isoformat(),
        }

    def restore(self, document: Mapping[str, Any]) -> None:
        """Take what an earlier process left of the same strategies and symbols."""
        self.weights = np.array(document["weights"], dtype=np.float64)
        self.scales = np.array(document["scales"], dtype=np.float64)
        self.words = tuple(tuple(own) for own in document["words"])
        self.days = [np.array(day, dtype=np.float64) for day in document["days"]]
        self._growth = np.array(document["growth"], dtype=np.float64)
        last = document["last"]
        self._last = None if last is None else datetime.fromisoformat(last)
