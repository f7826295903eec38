"""Monte Carlo: what else the same trades or the same returns could have led to.

Returns are simple, per trade or per bar, as fractions of equity; equity starts at 1, and a return
of -1 ends it. Levels of loss are those of ``core.measures``.

References
----------
.. [1] Maritz and Jarrett (1978), "A note on estimating the variance of the sample median",
   JASA 73(361).
.. [2] Feller (1968), "An introduction to probability theory and its applications", vol. 1, XIV.2.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice, permutations, product
from math import factorial
from typing import Any, Final

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from workbench.core.errors import DataError
from workbench.core.measures import drawdown_path, expected_shortfall, value_at_risk
from workbench.validation.processes import check_rows

Floats = NDArray[np.float64]
MAX_ENUMERATED: Final = 4_000_000
CHUNK: Final = 2_000_000
BASIS_POINT: Final = 1e-4


@dataclass(frozen=True, slots=True)
class Outcomes:
    """Where the paths ended, and how deep they fell on the way.

    Attributes
    ----------
    final : ndarray of shape (n_paths,)
        Equity at the end, from 1.
    drawdown : ndarray of shape (n_paths,)
        Deepest fall from a peak, as a positive fraction.
    """

    final: Floats
    drawdown: Floats

    @property
    def p_loss(self) -> float:
        """Share of the paths that ended below 1."""
        return float((self.final < 1.0).mean())

    def p_ruin(self, limit: float) -> float:
        """Return the share of the paths that fell by ``limit`` or more from a peak."""
        # A fall of exactly the limit may miss it in the last bit.
        return float((self.drawdown >= limit - 1e-12).mean())

    def value_at_risk(self, *, level: float = 0.95) -> float:
        """Return the loss at the end that is not exceeded with a confidence level."""
        return value_at_risk(self.final - 1.0, level=level)

    def expected_shortfall(self, *, level: float = 0.975) -> float:
        """Return the mean loss at the end over the worst ``1 - level`` share of the paths."""
        return expected_shortfall(self.final - 1.0, level=level)

    def convergence(self, *, level: float = 0.95, rows: int = 8) -> pd.DataFrame:
        """Return the value at risk by the number of paths, with its standard error [1]_.

        Columns ``value_at_risk`` and ``error``, a row for each of about ``rows`` numbers of paths,
        from 100 to all; falls with the root of that number once there are enough.
        """
        from scipy.stats.mstats import mjci

        sizes = np.unique(np.geomspace(min(100, len(self.final)), len(self.final), rows).round())
        table = {
            int(n): (
                value_at_risk(self.final[: int(n)] - 1.0, level=level),
                float(mjci(self.final[: int(n)], [1.0 - level])[0]),
            )
            for n in sizes
        }
        columns = pd.Index(["value_at_risk", "error"])
        return pd.DataFrame.from_dict(table, orient="index", columns=columns).rename_axis("n_paths")


def follow(returns: NDArray[np.floating]) -> Outcomes:
    """Return the outcomes of paths of returns of shape (n_paths, n_bars)."""
    final, drawdown = np.empty(len(returns)), np.empty(len(returns))
    step = max(CHUNK // returns.shape[1], 1)
    for first in range(0, len(returns), step):
        part = np.maximum(returns[first : first + step], -1.0)
        final[first : first + step] = (1.0 + part).prod(axis=1)
        drawdown[first : first + step] = drawdown_path(part).max(axis=1)
    return Outcomes(final, drawdown)


def simulate_trades(
    returns: NDArray[np.floating],
    *,
    is_resampled: bool = False,
    skip: float = 0.0,
    slippage_bps: float = 0.0,
    n_paths: int = 10_000,
    seed: int = 0,
) -> Outcomes:
    """Follow the same trades in other orders, some of them missed, each filled a little worse.

    Parameters
    ----------
    returns : ndarray of shape (n_trades,)
        Return on equity of each trade.
    is_resampled : bool, default=False
        Draw trades with replacement, so that the end differs as well as the way; otherwise shuffle
        them.
    skip : float, default=0.0
        Chance that a trade is missed.
    slippage_bps : float, default=0.0
        Mean of an exponential cost, drawn for each trade, in basis points of equity.
    n_paths, seed : int
    """
    trades = check_rows(returns)[:, 0]
    if not 0 <= skip < 1 or slippage_bps < 0:
        raise DataError(
            f"A chance of {skip} to miss a trade or a slippage of {slippage_bps} bps is no such.",
            "Give a chance in [0, 1) and a cost of 0 or more.",
        )
    rng, shape = np.random.default_rng(seed), (n_paths, len(trades))
    drawn = rng.choice(trades, shape) if is_resampled else _shuffled(trades, n_paths, rng)
    if slippage_bps:
        drawn = drawn - rng.exponential(slippage_bps * BASIS_POINT, shape)
    return follow(np.where(rng.random(shape) < skip, 0.0, drawn) if skip else drawn)


def enumerate_trades(returns: NDArray[np.floating], *, is_resampled: bool = False) -> Outcomes:
    """Return the outcomes of every order of some trades, or of every resample: exact, for a few.

    Raises
    ------
    DataError
        If there are more than four million.
    """
    trades = check_rows(returns)[:, 0]
    n = len(trades)
    count = n**n if is_resampled else factorial(n)
    if count > MAX_ENUMERATED:
        raise DataError(
            f"{n} trades have {float(count):.1e} orders.",
            "Use simulate_trades, which draws some of them.",
        )
    every = product(trades, repeat=n) if is_resampled else permutations(trades)
    parts = [follow(np.array(part)) for part in _batches(every)]
    return Outcomes(*(np.concatenate([getattr(p, k) for p in parts]) for k in Outcomes.__slots__))


def ruin_probability(p_win: float, *, start: float, target: float, unit: float = 1.0) -> float:
    """Return the chance that bets of one unit, even money, lose all before they reach a target.

    ``start`` and ``target`` are in the same currency as ``unit``; [2]_, eq. 2.4 and 2.5. Against an
    infinite target it is that of losing all ever.

    Examples
    --------
    >>> round(ruin_probability(0.51, start=10, target=20), 4)
    0.4013
    """
    if not (0 < p_win < 1 and 0 <= start <= target and unit > 0):
        raise DataError(
            f"Bets of {unit} from {start} to {target} with a chance of {p_win} are no game.",
            "Give a chance inside (0, 1), and a start between 0 and the target.",
        )
    bets, goal = start / unit, target / unit
    odds = (1.0 - p_win) / p_win
    if np.isinf(goal):
        return float(min(odds**bets, 1.0))
    if odds == 1.0:
        return 1.0 - bets / goal
    # Powers of what is below 1 cannot overflow.
    if odds < 1.0:
        return float((odds**bets - odds**goal) / (1.0 - odds**goal))
    return float((1.0 - odds ** (bets - goal)) / (1.0 - odds**-goal))


def _shuffled(trades: Floats, n_paths: int, rng: np.random.Generator) -> Floats:
    return rng.permuted(np.tile(trades, (n_paths, 1)), axis=1)


def _batches(every: Iterator[tuple[Any, ...]]) -> Iterator[list[tuple[Any, ...]]]:
    while part := list(islice(every, 50_000)):
        yield part
