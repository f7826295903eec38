"""Outlook: forecasts that keep up with the market, one bar at a time.

The covariance is updated with every bar (RiskMetrics, a few microseconds); the backdrop (regime,
what is usual, how heavy the tail is) changes slowly and is handed in: a backtest computes it for
all bars at once, live trading takes it from the worker.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import timedelta
from math import isnan
from typing import Any, Final, NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from workbench.risk.regime import Regime, RegimeRules, detect_regimes
from workbench.risk.state import Outlook
from workbench.risk.tails import historical, normal_tail, student_tail
from workbench.risk.volatility import RunningMean, decay_of, ewma_variance

Floats = NDArray[np.float64]

DAY: Final = timedelta(days=1)
HALF_LIFE_DAYS: Final = 11.2
"""Of the covariance: RiskMetrics' decay of 0.94 a day."""
LEAST_TAIL_DAYS: Final = 30
TAIL_DAYS: Final = 365
HEAVY: Final = 4.0
"""Degrees of freedom that stand in for the tail where there is no history of it."""


class Backdrop(NamedTuple):
    """What changes slowly: see ``Outlook``."""

    regime: Regime = Regime.UNKNOWN
    volatility_ratio: float = float("nan")
    correlation: float = float("nan")
    tail: float = float("nan")


class Forecaster:
    """The running covariance of some symbols, and the last prices seen."""

    def __init__(
        self,
        n_symbols: int,
        *,
        bar_length: timedelta,
        level: float,
        half_life_days: float = HALF_LIFE_DAYS,
    ) -> None:
        bars_a_day = DAY / bar_length
        self.bars_a_day = bars_a_day
        # Where there is no history to say: the worse of the normal's and a heavy Student t's.
        self._tail = max(
            normal_tail(0.0, 1.0, level=level).value_at_risk,
            student_tail(0.0, 1.0, HEAVY, level=level).value_at_risk,
        )
        self.price = np.full(n_symbols, np.nan)
        self.mark = np.full(n_symbols, np.nan)
        self.age = np.zeros(n_symbols)
        self._running = RunningMean(
            (n_symbols, n_symbols), decay=decay_of(half_life_days * bars_a_day)
        )

    def update(self, price: Floats, mark: Floats) -> None:
        """Take one bar; a missing price leaves the last one, a bar older."""
        is_there = np.isfinite(price)
        moved = price / self.price - 1.0
        self._running.update(moved[:, None] * moved[None, :])
        if is_there.all():
            self.price = price
            self.age = np.zeros(len(price))
        else:
            self.price = np.where(is_there, price, self.price)
            self.age = np.where(is_there, 0.0, self.age + 1.0)
        self.mark = np.where(np.isfinite(mark), mark, self.price)

    @property
    def covariance(self) -> Floats:
        """The forecast of daily returns; NaN where nothing was seen yet."""
        return self._running.mean * self.bars_a_day

    def document(self) -> dict[str, Any]:
        """Return what it has seen as plain values, to go on from after a restart."""
        running = self._running
        return {
            "price": self.price.tolist(),
            "mark": self.mark.tolist(),
            "age": self.age.tolist(),
            "total": running.total.tolist(),
            "weight": running.weight.tolist(),
        }

    def restore(self, document: Mapping[str, Any]) -> None:
        """Take what an earlier process left of the same symbols."""
        read = {
            name: np.array(document[name], dtype=np.float64)
            for name in ("price", "mark", "age", "total", "weight")
        }
        self.price, self.mark, self.age = read["price"], read["mark"], read["age"]
        running = self._running
        running.total, running.weight = read["total"], read["weight"]
        with np.errstate(invalid="ignore"):
            running.mean = running.total / running.weight

    def outlook(self, backdrop: Backdrop, *, turnover_usdt: Floats, scales: Floats) -> Outlook:
        """Return the outlook now; a tail that is unknown is taken as a heavy one."""
        tail = backdrop.tail
        return Outlook(
            price=self.price,
            mark=self.mark,
            age_bars=self.age,
            covariance=self.covariance,
            turnover_usdt=turnover_usdt,
            tail=self._tail if isnan(tail) else tail,
            regime=backdrop.regime,
            volatility_ratio=backdrop.volatility_ratio,
            correlation=backdrop.correlation,
            scales=scales,
        )


def read_backdrops(
    returns: pd.DataFrame,
    *,
    bar_length: timedelta,
    level: float,
    rules: RegimeRules | None = None,
) -> list[Backdrop]:
    """Return the backdrop as it was known at each bar.

    Parameters
    ----------
    returns : DataFrame of shape (n_bars, n_symbols)
        As fractions, indexed by ``known_at``.
    bar_length : timedelta
    level : float
        Of the tail: what an equally weighted basket, long or short, did not lose, in the standard
        deviations forecast for each bar, over the year before the day.

    Notes
    -----
    Row t reads rows up to t. With less history than ``detect_regimes`` needs the regime is unknown
    throughout.
    """
    rules = rules or RegimeRules()
    n = len(returns)
    tails = _tails(returns, bar_length, level)
    if returns.notna().sum().max() < max(round(rules.usual_days * (DAY / bar_length)) // 4, 2):
        return [Backdrop(tail=tail) for tail in tails]
    table = detect_regimes(returns, bar_length=bar_length, rules=rules)
    rows = zip(
        table["regime"].tolist(),
        table["volatility"].tolist(),
        table["correlation"].tolist(),
        tails,
        strict=True,
    )
    seen = {int(regime): regime for regime in Regime}
    answer = [Backdrop(seen[regime], *rest) for regime, *rest in rows]
    return answer if len(answer) == n else answer[-n:]


def _tails(returns: pd.DataFrame, bar_length: timedelta, level: float) -> list[float]:
    basket = returns.mean(axis=1).to_numpy()
    bars_a_day = DAY / bar_length
    sd = np.sqrt(ewma_variance(basket, decay=decay_of(HALF_LIFE_DAYS * bars_a_day))[:-1])
    with np.errstate(divide="ignore", invalid="ignore"):
        z = np.where(sd > 0.0, basket / sd, np.nan)
    days = pd.DatetimeIndex(returns.index).floor("D").asi8
    window, least = round(TAIL_DAYS * bars_a_day), round(LEAST_TAIL_DAYS * bars_a_day)
    answer, known = [], float("nan")
    for t in range(len(z)):
        if t and days[t] != days[t - 1]:
            past = z[max(t - window, 0) : t]
            past = past[np.isfinite(past)]
            if len(past) >= max(least, 2):
                sides = (historical(past, level=level), historical(-past, level=level))
                known = max(side.value_at_risk for side in sides)
        answer.append(known)
    return answer
