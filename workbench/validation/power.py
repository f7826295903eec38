"""What a gate does to families whose truth is known: how often it passes noise, finds an edge."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from workbench.core.measures import DAYS_A_YEAR
from workbench.validation.deflation import deflated_sharpe, effective_trials, sharpe_stats
from workbench.validation.maxstat import max_statistic, studentise

Floats = NDArray[np.floating]

MEMORY: Final = 0.9
"""Autocorrelation of the daily positions of a noise strategy."""


@dataclass(frozen=True, slots=True)
class Rule:
    """A way to judge the best of a family: a p-value from all trials, the chosen one and a seed."""

    name: str
    p_value: Callable[[Floats, int, int], float]


def noise_family(n_days: int, n_trials: int, *, seed: int) -> tuple[NDArray[np.float32], int]:
    """Make daily returns of strategies that know nothing.

    Parameters
    ----------
    n_days, n_trials : int
    seed : int

    Returns
    -------
    returns : ndarray of float32 of shape (n_days, n_trials)
    planted : int
        Which trial is to have an edge, if one is: drawn at random.

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
    return returns, int(rng.integers(0, n_trials))


def plant_edge(returns: Floats, edge: float) -> Floats:
    """Return daily returns with so much added that their annual Sharpe ratio rises by ``edge``."""
    step = edge / np.sqrt(DAYS_A_YEAR) * returns.std(ddof=1)
    return returns + returns.dtype.type(step)


def whole_ledger(*, n_resamples: int = 500) -> Rule:
    """Judge by the studentised maximum over every trial that was ever made, as the gate does."""

    def p_value(returns: Floats, chosen: int, seed: int) -> float:
        test = max_statistic(returns, returns[:, chosen], n_resamples=n_resamples, seed=seed)
        return test.p_value

    return Rule("every trial counts", p_value)


def per_call(size: int = 10, *, n_resamples: int = 500) -> Rule:
    """Judge by the same over the call of ``size`` trials that the chosen one came from."""

    def p_value(returns: Floats, chosen: int, seed: int) -> float:
        first = chosen // size * size
        call = returns[:, first : first + size]
        test = max_statistic(call, returns[:, chosen], n_resamples=n_resamples, seed=seed)
        return test.p_value

    return Rule(f"only the call's {size} trials count", p_value)


def deflated(*, is_clustered: bool) -> Rule:
    """Judge by the deflated Sharpe ratio, with all trials or as many as clusters of them."""
    known: dict[int, float] = {}

    def p_value(returns: Floats, chosen: int, seed: int) -> float:
        n_trials = float(returns.shape[1])
        if is_clustered:
            # An edge moves no correlation: each family, known by its seed, is clustered once.
            if seed not in known:
                known.clear()
                known[seed] = effective_trials(returns, seed=seed)
            n_trials = known[seed]
        variance = float((studentise(returns) / np.sqrt(len(returns))).var(ddof=1))
        stats = sharpe_stats(returns[:, chosen])
        return 1.0 - deflated_sharpe(stats, n_trials=n_trials, variance=variance)[0]

    return Rule(f"deflated Sharpe, {'clustered' if is_clustered else 'raw'} count", p_value)


def judge_family(
    n_trials: int,
    *,
    edges: Sequence[float],
    rules: Sequence[Rule],
    n_days: int = 3 * DAYS_A_YEAR,
    seed: int,
) -> pd.DataFrame:
    """Choose the best of one family for each edge, and judge it by each rule.

    Parameters
    ----------
    n_trials : int
    edges : sequence of float
        Annual Sharpe ratios of the one trial that has an edge; 0 for none.
    rules : sequence of Rule
    n_days, seed : int

    Returns
    -------
    DataFrame
        ``n_trials``, ``edge``, ``rule``, ``p_value``, and ``is_planted``: whether the best is the
        one with the edge. A row for each edge and rule.

    Notes
    -----
    The researcher takes the trial with the largest studentised mean, as users do. The family is
    the same for every edge but for the planted trial's mean.
    """
    returns, planted = noise_family(n_days, n_trials, seed=seed)
    noise, rows = returns[:, planted].copy(), []
    for edge in edges:
        returns[:, planted] = plant_edge(noise, edge)
        chosen = int(np.nanargmax(studentise(returns)))
        for rule in rules:
            found = edge > 0 and chosen == planted
            rows.append((n_trials, edge, rule.name, rule.p_value(returns, chosen, seed), found))
    columns = ["n_trials", "edge", "rule", "p_value", "is_planted"]
    return pd.DataFrame(rows, columns=columns)


def pass_rates(outcomes: pd.DataFrame, *, alpha: float = 0.05) -> pd.DataFrame:
    """Return how often the best of N passed, from the rows of many families.

    Parameters
    ----------
    outcomes : DataFrame
        Rows of ``judge_family``, of as many families as were made.
    alpha : float, default=0.05
        The level up to which a p-value passes.

    Returns
    -------
    DataFrame
        Indexed by ``n_trials``, ``edge`` and ``rule``: ``passed`` is the share of families whose
        best trial passed, ``found`` the share in which that was the one with the edge, ``families``
        how many there were. For an edge of 0, ``passed`` is the false-pass rate; otherwise
        ``found`` is the power.
    """
    passed = outcomes["p_value"] <= alpha
    judged = outcomes.assign(passed=passed, found=passed & outcomes["is_planted"])
    grouped = judged.groupby(["n_trials", "edge", "rule"])
    return grouped.agg(
        passed=("passed", "mean"), found=("found", "mean"), families=("passed", "size")
    )


def family_seed(seed: int, n_trials: int, repetition: int) -> int:
    """Return the seed of one of many families."""
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
