"""Backtests of value at risk and expected shortfall.

A hit is a bar that lost more than was forecast for it. p-values are upper tails of the chi-squared
distribution; those by simulation are (k + 1) / (n + 1).

References
----------
.. [1] Kupiec (1995), "Techniques for verifying the accuracy of risk measurement models",
   Journal of Derivatives 3(2), 73-84.
.. [2] Christoffersen (1998), "Evaluating interval forecasts", International Economic Review
   39(4), 841-862.
.. [3] Basel Committee on Banking Supervision (1996), "Supervisory framework for the use of
   'backtesting' in conjunction with the internal models approach", table 2.
.. [4] Acerbi and Szekely (2014), "Backtesting expected shortfall", Risk, December, equations 4
   and 6.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import erfc, exp, log, sqrt
from typing import Final, Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

from workbench.core.errors import DataError

Zone = Literal["green", "yellow", "red"]

YELLOW: Final = 0.95
RED: Final = 0.9999
PLUS: Final = (0.0, 0.0, 0.0, 0.0, 0.0, 0.40, 0.50, 0.65, 0.75, 0.85, 1.0)
"""Basel's addition to its multiplier of 3, by hits in 250 days at 99 per cent [3]_."""

Z2_CRITICAL: Final = -0.7
"""Bound of the second statistic at 5 per cent, nearly the same for all tails [4]_, table 4."""


class LikelihoodRatio(NamedTuple):
    """A likelihood ratio and its p-value."""

    statistic: float
    p_value: float


def kupiec(hits: int, bars: int, *, level: float) -> LikelihoodRatio:
    """Test whether hits are as frequent as they should be [1]_.

    Examples
    --------
    >>> round(kupiec(20, 252, level=0.95).statistic, 2)
    3.91
    """
    _check_counts(hits, bars)
    expected = _log_chance(bars - hits, hits, 1.0 - level)
    seen = _log_chance(bars - hits, hits, hits / bars)
    return _test(-2.0 * (expected - seen), 1)


def kupiec_region(bars: int, *, level: float, confidence: float = 0.95) -> tuple[int, int]:
    """Return the fewest and the most hits that Kupiec's test lets pass [1]_.

    Examples
    --------
    >>> kupiec_region(510, level=0.99)
    (2, 10)
    """
    passing = [
        hits
        for hits in range(bars + 1)
        if kupiec(hits, bars, level=level).p_value > 1.0 - confidence
    ]
    if not passing:
        raise DataError(f"No count of hits in {bars} bars passes.", "Give more bars.")
    return passing[0], passing[-1]


@dataclass(frozen=True, slots=True)
class Transitions:
    """How often no hit and hit follow each other: ``n01`` counts hits after none."""

    n00: int
    n01: int
    n10: int
    n11: int

    @classmethod
    def of(cls, hits: Sequence[bool] | NDArray[np.bool_]) -> Transitions:
        """Count those of a series of hits."""
        is_hit = np.asarray(hits, dtype=bool)
        pairs = np.bincount(2 * is_hit[:-1] + is_hit[1:], minlength=4)
        return cls(*(int(n) for n in pairs))

    @property
    def after_none(self) -> float:
        """Share of hits after none; NaN where there is no such bar."""
        return _share(self.n01, self.n00 + self.n01)

    @property
    def after_hit(self) -> float:
        """Share of hits after a hit; NaN where there is no such bar."""
        return _share(self.n11, self.n10 + self.n11)

    @property
    def overall(self) -> float:
        """Share of hits among the bars that follow another."""
        return _share(self.n01 + self.n11, self.n00 + self.n01 + self.n10 + self.n11)


def independence(transitions: Transitions) -> LikelihoodRatio:
    """Test whether a hit makes the next one likelier [2]_, equation 9; without any hit it cannot.

    Examples
    --------
    >>> round(independence(Transitions(218, 14, 14, 6)).statistic, 2)
    9.53
    """
    t = transitions
    alike = _log_chance(t.n00 + t.n10, t.n01 + t.n11, t.overall)
    apart = _log_chance(t.n00, t.n01, t.after_none) + _log_chance(t.n10, t.n11, t.after_hit)
    return _test(-2.0 * (alike - apart), 1)


def christoffersen(hits: Sequence[bool] | NDArray[np.bool_], *, level: float) -> LikelihoodRatio:
    """Test frequency and independence of hits together [2]_: the sum of both ratios."""
    count = int(np.asarray(hits, dtype=bool).sum())
    frequency = kupiec(count, len(hits), level=level)
    return _test(frequency.statistic + independence(Transitions.of(hits)).statistic, 2)


class TrafficLight(NamedTuple):
    """Basel's judgement of a number of hits.

    Attributes
    ----------
    at_most, exactly : float
        Chances of so many hits or fewer, and of just so many, from a model that is right.
    zone : {"green", "yellow", "red"}
    plus : float
        Addition to the multiplier of 3. For other samples than 250 bars at 99 per cent, that of
        the smallest count of the table that is at least as unlikely.
    """

    at_most: float
    exactly: float
    zone: Zone
    plus: float


def traffic_light(hits: int, bars: int, *, level: float = 0.99) -> TrafficLight:
    """Judge a number of hits by its chance under a model that is right [3]_."""
    from scipy.special import bdtr

    _check_counts(hits, bars)
    at_most = float(bdtr(hits, bars, 1.0 - level))
    below = float(bdtr(hits - 1, bars, 1.0 - level)) if hits else 0.0
    zone: Zone = "green" if at_most < YELLOW else "yellow" if at_most < RED else "red"
    table = bdtr(np.arange(len(PLUS) - 1), 250, 0.01)
    plus = 0.0 if zone == "green" else PLUS[int(np.searchsorted(table, at_most - 1e-12))]
    return TrafficLight(at_most, at_most - below, zone, plus)


class ShortfallTest(NamedTuple):
    """Acerbi and Szekely's statistics: zero where the shortfalls are right, negative where low.

    ``z1`` looks at the size of the hits alone and is NaN without any; ``z2`` at size and number.
    ``p_value`` is of z2, by simulation, NaN without scenarios; ``is_low`` compares it with 5 per
    cent, or z2 with its published bound where there are none.
    """

    z1: float
    z2: float
    p_value: float
    is_low: bool


def acerbi_szekely(
    returns: NDArray[np.floating],
    value_at_risk: NDArray[np.floating],
    shortfall: NDArray[np.floating],
    *,
    level: float,
    scenarios: NDArray[np.floating] | None = None,
) -> ShortfallTest:
    """Test forecasts of expected shortfall [4]_.

    Parameters
    ----------
    returns, value_at_risk, shortfall : ndarray of shape (n_bars,)
        Each bar's return, and the losses that were forecast for it.
    level : float
    scenarios : ndarray of shape (n_scenarios, n_bars), optional
        Returns drawn from the distributions that were forecast. Without them the published bound
        of -0.7 decides.

    Raises
    ------
    DataError
        If the shapes differ, or a forecast is not finite or a shortfall not positive.
    """
    x, var, es = (np.asarray(a, dtype=np.float64) for a in (returns, value_at_risk, shortfall))
    is_whole = x.shape == var.shape == es.shape and np.isfinite([x, var, es]).all()
    if not is_whole or (es <= 0).any():
        raise DataError(
            f"Returns {x.shape} and forecasts {var.shape}, {es.shape} cannot be tested.",
            "Give one finite return, value at risk and positive shortfall for each bar.",
        )
    z2 = float(_second(x, var, es, level))
    is_hit = x < -var
    z1 = float((x[is_hit] / es[is_hit]).mean() + 1.0) if is_hit.any() else float("nan")
    if scenarios is None:
        return ShortfallTest(z1, z2, float("nan"), z2 < Z2_CRITICAL)
    drawn = _second(np.asarray(scenarios, dtype=np.float64), var, es, level)
    p_value = float((np.sum(drawn <= z2) + 1) / (len(drawn) + 1))
    return ShortfallTest(z1, z2, p_value, p_value <= 0.05)


def _second(
    x: NDArray[np.float64], var: NDArray[np.float64], es: NDArray[np.float64], level: float
) -> NDArray[np.float64]:
    return np.asarray(np.where(x < -var, x / es, 0.0).mean(axis=-1) / (1.0 - level) + 1.0)


def _log_chance(misses: int, hits: int, rate: float) -> float:
    # 0 ln 0 is 0.
    below = misses * log(1.0 - rate) if misses else 0.0
    return below + (hits * log(rate) if hits else 0.0)


def _share(part: int, whole: int) -> float:
    return part / whole if whole else float("nan")


def _test(ratio: float, freedom: Literal[1, 2]) -> LikelihoodRatio:
    ratio = max(ratio, 0.0)
    return LikelihoodRatio(ratio, erfc(sqrt(ratio / 2.0)) if freedom == 1 else exp(-ratio / 2.0))


def _check_counts(hits: int, bars: int) -> None:
    if bars < 1 or not 0 <= hits <= bars:
        raise DataError(f"{hits} hits in {bars} bars cannot be.", "Give a count of the bars.")
