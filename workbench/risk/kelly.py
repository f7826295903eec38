"""Kelly: the stake that grows fastest, and how much of it a sample can vouch for.

References
----------
.. [1] Thorp (2006), "The Kelly criterion in blackjack, sports betting and the stock market",
   Handbook of Asset and Liability Management 1, 385-428, section 7.1.
.. [2] MacLean, Ziemba and Blazenko (1992), "Growth versus security in dynamic investment
   analysis", Management Science 38(11), 1562-1585.
.. [3] Politis and White (2004), "Automatic block-length selection for the dependent bootstrap",
   Econometric Reviews 23(1).
"""

from __future__ import annotations

from dataclasses import dataclass
from math import inf
from typing import Final

import numpy as np
from numpy.typing import NDArray

from workbench.core.bootstrap import bootstrap_indices
from workbench.core.errors import DataError
from workbench.core.measures import check_returns

Floats = NDArray[np.float64]

_HALVINGS: Final = 40


@dataclass(frozen=True, slots=True)
class KellySize:
    """A fractional Kelly stake and the band it rests on.

    Attributes
    ----------
    size : float
        Multiple of the sampled bet to hold: ``fraction`` of ``low``, at most the cap.
    full : float
        The whole Kelly stake of the sample as it is.
    low, high : float
        Bounds of it: each is crossed in ``1 - level`` of the resamples.
    note : str
        Why the size is zero or at the cap; empty otherwise.
    """

    size: float
    full: float
    low: float
    high: float
    note: str


def kelly_size(
    returns: NDArray[np.floating],
    *,
    fraction: float = 0.5,
    cap: float = 1.0,
    min_sample: int = 250,
    level: float = 0.9,
    block: float | None = None,
    reps: int = 1_000,
    seed: int = 0,
) -> KellySize:
    """Return a fractional Kelly stake that rests on the lower bound of what the sample tells.

    Parameters
    ----------
    returns : ndarray of shape (n_bars,)
        Of the bet at a multiple of 1, per bar or trade, as fractions.
    fraction : float, default=0.5
    cap : float, default=1.0
        Largest size.
    min_sample : int, default=250
        With fewer returns the size is zero.
    level : float, default=0.9
        One-sided confidence of the bounds.
    block : float, optional
        Mean block of the stationary bootstrap; the cube root of the sample's length by default, the
        rate at which it is best [3]_.
    reps, seed : int

    Raises
    ------
    DataError
        If a return is missing or infinite, or an option is out of range.

    Notes
    -----
    The stake maximises the mean of log(1 + f r) over the sample, so that fat tails count as they
    are. It is zero without an edge, and a sample without a loss has none that could be trusted: its
    stake has no bound. No stake goes beyond what the worst loss allows, whether or not a resample
    holds it. Losses worse than any in the sample are what the cap is for.
    """
    x = check_returns(np.asarray(returns, dtype=np.float64))
    if not (0.0 < fraction <= 1.0 and cap > 0.0 and 0.5 <= level < 1.0):
        raise DataError(
            f"A fraction of {fraction}, a cap of {cap} and a level of {level} give no size.",
            "Give a fraction in (0, 1], a cap above 0 and a level from 0.5 to below 1.",
        )
    if len(x) < min_sample:
        note = f"{len(x)} returns are fewer than the {min_sample} asked for"
        return KellySize(0.0, 0.0, 0.0, 0.0, note)
    if x.min() >= 0.0:
        return KellySize(0.0, inf, 0.0, inf, "no return is a loss: the stake has no bound")
    limit = -1.0 / float(x.min())
    length = len(x) ** (1 / 3) if block is None else block
    rows = bootstrap_indices(len(x), block=length, reps=reps, seed=seed)
    full = float(_best_stakes(x, limit))
    low, high = np.quantile(_best_stakes(x[rows], limit), [1.0 - level, level]).tolist()
    size = min(fraction * low, cap)
    note = f"no edge at {level:.0%} confidence" if size <= 0.0 else ""
    return KellySize(size, full, low, high, note if size < cap else f"capped at {cap:g}")


def discrete_kelly(outcomes: NDArray[np.floating], chances: NDArray[np.floating]) -> float:
    """Return the stake that maximises the expected logarithm of the equity; 0 without an edge.

    ``outcomes`` are what a stake of one wins or loses, one of them a loss, and ``chances`` how
    often. For two of them see ``core.measures.kelly_stake``.

    Examples
    --------
    >>> round(discrete_kelly(np.array([1.0, -1.0]), np.array([0.6, 0.4])), 6)
    0.2
    """
    x, p = np.asarray(outcomes, dtype=np.float64), np.asarray(chances, dtype=np.float64)
    is_sound = x.shape == p.shape and np.isfinite(x).all() and (p >= 0.0).all()
    if not is_sound or abs(p.sum() - 1.0) > 1e-9 or not (x[p > 0.0] < 0.0).any():
        raise DataError(
            "These are no bets with chances, or none of them can lose.",
            "Give an outcome for every chance, one of them a loss, and chances that add up to 1.",
        )
    return float(_best_stakes(x, -1.0 / float(x[p > 0.0].min()), p))


def expected_growth(
    stake: float, outcomes: NDArray[np.floating], chances: NDArray[np.floating]
) -> float:
    """Return the mean logarithm of the equity's growth by a stake on discrete outcomes."""
    return float(np.asarray(chances) @ np.log1p(stake * np.asarray(outcomes)))


def continuous_kelly(mean: float, sd: float, *, rate: float = 0.0) -> float:
    """Return the multiple of a diffusion that grows fastest [1]_: (mean - rate) / variance."""
    return (mean - rate) / sd**2


def continuous_growth(multiple: float, mean: float, sd: float, *, rate: float = 0.0) -> float:
    """Return the growth rate of a multiple of a diffusion [1]_, what is not invested at ``rate``.

    Examples
    --------
    >>> round(continuous_growth(continuous_kelly(0.11, 0.15, rate=0.06), 0.11, 0.15, rate=0.06), 6)
    0.115556
    """
    return rate + multiple * (mean - rate) - 0.5 * (multiple * sd) ** 2


def kelly_growth_share(fraction: float) -> float:
    """Return the share of the whole Kelly stake's excess growth that a fraction of it keeps [2]_.

    c (2 - c): half of it keeps three quarters, twice of it nothing.
    """
    return fraction * (2.0 - fraction)


def _best_stakes(x: Floats, limit: float, chances: Floats | float = 1.0) -> Floats:
    # Where the slope of the mean logarithm, which only falls, crosses zero; for each row at once.
    low, high = np.zeros(x.shape[:-1]), np.full(x.shape[:-1], limit)
    weighted = chances * x
    for _ in range(_HALVINGS):
        middle = 0.5 * (low + high)
        slope = (weighted / (1.0 + middle[..., None] * x)).sum(axis=-1)
        low, high = np.where(slope > 0.0, middle, low), np.where(slope > 0.0, high, middle)
    return low
