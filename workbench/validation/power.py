"""What a gate does to families whose truth is known: how often it passes noise, finds an edge."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from workbench.validation.maxstat import max_statistic, studentise

Floats = NDArray[np.floating]

DAYS_A_YEAR: Final = 365
MEMORY: Final = 0.9
"""Autocorrelation of the daily positions of a noise strategy."""


@dataclass(frozen=True, slots=True)
class Counting:
    """A way to count: which of all trials the test is shown, given all and the chosen one."""

    name: str
    shown: Callable[[Floats, int], Floats]


def noise_family(
    n_days: int, n_trials: int, *, seed: int, edge: float = 0.0
) -> tuple[NDArray[np.float32], int]:
    """Make daily returns of strategies that know nothing, but one if ``edge`` is set.

    Parameters
    ----------
    n_days, n_trials : int
    seed : int
    edge : float, default=0.0
        Annual Sharpe ratio that is added to one trial, drawn at random.

    Returns
    -------
    returns : ndarray of float32 of shape (n_days, n_trials)
    planted : int
        Which trial has the edge.

    Notes
    -----
    One market with volatility clusters and heavy tails (GARCH(1,1) with Student-t shocks of 4
    degrees of freedom); every strategy holds a slowly changing position that is independent of
    it, half shared with a group of parameter neighbours, so that the expected return is exactly
    zero and the trials are correlated as those of a sweep are.
    """
    rng = np.random.default_rng(seed)
    market = _market(rng, n_days)
    n_groups = max(int(np.sqrt(n_trials)), 1)
    shared = _positions(rng, n_days, n_groups)
    own = _positions(rng, n_days, n_trials)
    group = rng.integers(0, n_groups, n_trials)
    returns = (np.sqrt(0.5) * (shared[:, group] + own) * market[:, None]).astype(np.float32)
    planted = int(rng.integers(0, n_trials))
    spread = float(returns[:, planted].std(ddof=1))
    returns[:, planted] += np.float32(edge / np.sqrt(DAYS_A_YEAR) * spread)
    return returns, planted


def whole_ledger() -> Counting:
    """Show the test every trial that was ever made."""
    return Counting("every trial counts", lambda returns, _: returns)


def per_call(size: int = 10) -> Counting:
    """Show the test only the call of ``size`` trials that the chosen one came from."""

    def shown(returns: Floats, chosen: int) -> Floats:
        first = chosen // size * size
        return returns[:, first : first + size]

    return Counting(f"only the call's {size} trials count", shown)


def correlated(least: float = 0.5) -> Counting:
    """Show the test only the trials whose correlation with the chosen one is high enough."""

    def shown(returns: Floats, chosen: int) -> Floats:
        z = (returns - returns.mean(axis=0)) / returns.std(axis=0)
        return returns[:, np.abs(z.T @ z[:, chosen]) / len(z) >= least]

    return Counting(f"only trials of correlation {least:g} or more count", shown)


def pass_rates(
    n_trials: Sequence[int],
    *,
    edges: Sequence[float] = (0.0, 0.5, 1.0, 2.0),
    countings: Sequence[Counting] = (),
    n_days: int = 3 * DAYS_A_YEAR,
    repetitions: int = 200,
    alpha: float = 0.05,
    n_resamples: int = 500,
    seed: int = 0,
    progress: Callable[[int, int], None] | None = None,
) -> pd.DataFrame:
    """Measure how often the best of N passes, for noise and for one true edge among N.

    Parameters
    ----------
    n_trials : sequence of int
    edges : sequence of float
        Annual Sharpe ratios of the one trial that has an edge; 0 for none.
    countings : sequence of Counting
        By default every trial counts.
    n_days, repetitions : int
    alpha : float, default=0.05
        Level of the studentised maximum.
    n_resamples, seed : int
    progress : callable, optional
        Called with the families done and the number of all.

    Returns
    -------
    DataFrame
        A row for each of ``n_trials``, ``edges`` and ``countings``: ``passed`` is the share of
        families whose best trial passed, ``found`` the share in which that was the one with the
        edge, ``error`` the standard error of ``passed``.

    Notes
    -----
    The researcher takes the trial with the largest studentised mean, as users do. For an edge of
    0, ``passed`` is the false-pass rate; otherwise ``found`` is the power.
    """
    countings = countings or (whole_ledger(),)
    rows, total = [], len(n_trials) * len(edges) * repetitions
    done = 0
    for n in n_trials:
        for edge in edges:
            outcomes = np.zeros((len(countings), repetitions, 2), dtype=bool)
            for k in range(repetitions):
                returns, planted = noise_family(n_days, n, seed=_seed(seed, n, k), edge=edge)
                chosen = int(np.nanargmax(studentise(returns)))
                for c, counting in enumerate(countings):
                    test = max_statistic(
                        counting.shown(returns, chosen), returns[:, chosen],
                        n_resamples=n_resamples, seed=k,
                    )  # fmt: skip
                    is_passed = test.p_value <= alpha
                    outcomes[c, k] = is_passed, is_passed and chosen == planted and edge > 0
                done += 1
                if progress is not None:
                    progress(done, total)
            for counting, outcome in zip(countings, outcomes, strict=True):
                passed, found = outcome.mean(axis=0)
                error = float(np.sqrt(passed * (1 - passed) / repetitions))
                rows.append((n, edge, counting.name, passed, found, error))
    return pd.DataFrame(rows, columns=["n_trials", "edge", "counting", "passed", "found", "error"])


def _seed(seed: int, n_trials: int, repetition: int) -> int:
    return int(np.random.SeedSequence([seed, n_trials, repetition]).generate_state(1)[0])


def _market(rng: np.random.Generator, n_days: int) -> NDArray[np.float64]:
    shocks = rng.standard_t(4, n_days) / np.sqrt(2.0)
    returns = np.empty(n_days)
    variance = 1.0
    for t in range(n_days):
        returns[t] = np.sqrt(variance) * shocks[t]
        variance = 0.05 + 0.1 * returns[t] ** 2 + 0.85 * variance
    return 0.03 * returns


def _positions(rng: np.random.Generator, n_days: int, count: int) -> NDArray[np.float32]:
    from scipy.signal import lfilter

    shocks = rng.standard_normal((n_days, count), dtype=np.float32)
    shocks[0] /= np.sqrt(1 - MEMORY**2)
    scale = np.sqrt(1 - MEMORY**2)
    return np.asarray(lfilter([scale], [1.0, -MEMORY], shocks, axis=0), dtype=np.float32)
