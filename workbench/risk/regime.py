"""Regime: whether the market is low, normal, high or in crisis, by volatility and correlation.

The score is how many times as volatile as usual an equally weighted basket is: the volatility of a
day over its own median of a year, averaged over the symbols in logarithms, times what correlations
away from their median add or take. A rise counts at once; a fall waits until the score has stayed
below a lower bound for a dwell time. Everything at row t is known at t: medians and weights trail.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from enum import IntEnum
from itertools import pairwise
from typing import Final, NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from workbench.core.errors import ConfigError, DataError
from workbench.risk.dependence import ewma_covariance, mean_correlation, to_correlation
from workbench.risk.volatility import decay_of, ewma

Floats = NDArray[np.float64]
HOUR: Final = timedelta(hours=1)


class Regime(IntEnum):
    """From calm to crisis; ``UNKNOWN`` where there is too little history to say what is usual."""

    UNKNOWN = -1
    LOW = 0
    NORMAL = 1
    HIGH = 2
    CRISIS = 3


@dataclass(frozen=True, slots=True)
class RegimeRules:
    """Bounds of the score, and how long it remembers.

    Attributes
    ----------
    low, high, crisis : float
        Scores from which on the market is normal, high and in a crisis.
    slack : float
        A regime is left downwards at this share of the bound it was entered at.
    dwell_hours : float
        How long the score must have stayed there.
    volatility_hours, correlation_hours : float
        Half-lives of the exponential means.
    usual_days : float
        What the medians are taken over; a quarter of it must be there.
    """

    low: float = 0.75
    high: float = 1.5
    crisis: float = 2.5
    slack: float = 0.8
    dwell_hours: float = 24.0
    volatility_hours: float = 24.0
    correlation_hours: float = 240.0
    usual_days: float = 365.0

    def __post_init__(self) -> None:
        bounds = (0.0, self.low, self.high, self.crisis)
        spans = (self.volatility_hours, self.correlation_hours, self.usual_days)
        is_sound = all(a < b for a, b in pairwise(bounds))
        if not is_sound or not 0 < self.slack <= 1 or self.dwell_hours < 0 or min(spans) <= 0:
            raise ConfigError(
                f"{self} are no rules for a regime.",
                "Let 0 < low < high < crisis, 0 < slack <= 1, and all times be positive.",
            )


class State(NamedTuple):
    """A regime, and for how many bars the score has asked for a lower one."""

    regime: Regime = Regime.UNKNOWN
    waiting: int = 0


def step_regime(state: State, score: float, *, rules: RegimeRules, dwell_bars: int) -> State:
    """Return the state after one more bar; a missing score leaves it as it is."""
    if np.isnan(score):
        return state
    bounds = (rules.low, rules.high, rules.crisis)
    asked = Regime(sum(score >= bound for bound in bounds))
    if state.regime == Regime.UNKNOWN or asked >= state.regime:
        return State(asked)
    left = Regime(sum(score >= rules.slack * bound for bound in bounds))
    if left >= state.regime:
        return State(state.regime)
    waiting = state.waiting + 1
    return State(state.regime, waiting) if waiting <= dwell_bars else State(left)


def detect_regimes(
    returns: pd.DataFrame, *, bar_length: timedelta, rules: RegimeRules | None = None
) -> pd.DataFrame:
    """Return the regime of the market at each bar.

    Parameters
    ----------
    returns : DataFrame of shape (n_bars, n_symbols)
        As fractions, indexed by ``known_at``. A symbol counts from when it has a quarter of a year;
        where its return is missing it is left out of that bar.
    bar_length : timedelta
        An hour is what the default bounds were looked at on.
    rules : RegimeRules, optional

    Returns
    -------
    DataFrame of shape (n_bars, 5)
        ``regime`` (values of ``Regime``), ``score``, and ``volatility`` and ``diversification``,
        whose product it is; ``correlation``, the mean of all pairs. A single symbol has none.
        Diversification is 1 until a quarter of a year of correlations says what is usual.

    Raises
    ------
    DataError
        If there are too few bars to say what is usual, or no return moves.
    """
    rules = rules or RegimeRules()
    usual = round(timedelta(days=rules.usual_days) / bar_length)
    if returns.notna().sum().max() < max(usual // 4, 2):
        raise DataError(
            f"{len(returns)} bars are too few to say what is usual.",
            f"Give {max(usual // 4, 2)} bars or more, or rules with fewer usual_days.",
        )
    if not (returns.abs().max() > 0).any():
        raise DataError("No price moves.", "Give returns of symbols that trade.")
    is_there = returns.notna().to_numpy()
    decay = decay_of(rules.volatility_hours * HOUR / bar_length)
    variance = ewma(returns.to_numpy() ** 2, decay=decay)[1:]
    volatility = np.sqrt(np.where(is_there & (variance > 0), variance, np.nan))
    multiple = _row_mean(np.log(volatility / _usual(volatility, usual)))
    table = pd.DataFrame({"volatility": np.exp(multiple)}, index=returns.index)
    decay = decay_of(rules.correlation_hours * HOUR / bar_length)
    covariance = ewma_covariance(returns, decay=decay)[1:]
    # A pair of which one is missing keeps an old covariance, which its new variances do not fit.
    covariance[~(is_there[:, :, None] & is_there[:, None, :])] = np.nan
    correlation = mean_correlation(to_correlation(covariance))
    others = np.maximum(is_there.sum(axis=1) - 1, 0)
    common = 1.0 + others * correlation
    norm = 1.0 + others * _usual(correlation[:, None], usual)[:, 0]
    lost = np.sqrt(np.maximum(common / norm, 0.0))
    table["diversification"] = np.where(np.isfinite(lost), lost, 1.0)
    table["correlation"] = correlation
    table.insert(0, "score", table["volatility"] * table["diversification"])
    dwell_bars = round(rules.dwell_hours * HOUR / bar_length)
    table.insert(0, "regime", _walk(table["score"].to_numpy(), rules, dwell_bars))
    return table


def _walk(scores: Floats, rules: RegimeRules, dwell_bars: int) -> list[int]:
    state, seen = State(), []
    for score in scores.tolist():
        state = step_regime(state, score, rules=rules, dwell_bars=dwell_bars)
        seen.append(int(state.regime))
    return seen


def _usual(values: Floats, window: int) -> Floats:
    rolling = pd.DataFrame(values).rolling(window, min_periods=max(window // 4, 2))
    return np.asarray(rolling.median())


def _row_mean(values: Floats) -> Floats:
    is_there = np.isfinite(values)
    total = np.where(is_there, values, 0.0).sum(axis=1)
    count = is_there.sum(axis=1)
    return np.where(count > 0, total / np.maximum(count, 1), np.nan)
