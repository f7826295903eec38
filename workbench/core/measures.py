"""Return, risk and trade measures, each defined once.

Input is a float64 array of simple returns per bar as fractions of equity (0.01 is one per cent
up); the equity starts at 1 and that start counts as a peak. ``periods`` is bars per year: crypto
trades 365 days of 24 hours, so 8,760 for hourly bars. Deviations divide by n - 1, downside
deviation by n. Where a ratio's denominator is zero the ratio is zero without any numerator and
infinite otherwise; the Sharpe ratio of equal returns is 0. Single measures trust their input:
``measure_returns`` and ``check_returns`` refuse what is empty or not finite.

``sharpe``, ``sortino``, ``total_return``, ``annual_volatility`` and ``max_drawdown`` are plain
loops that call nothing: the backtest kernel compiles these very functions.

References
----------
.. [1] Bacon (2008), "Practical portfolio performance measurement and attribution", 2nd ed., Wiley.
.. [2] Rockafellar and Uryasev (2002), "Conditional value-at-risk for general loss distributions",
   Journal of Banking & Finance 26(7), 1443-1471.
.. [3] Keating and Shadwick (2002), "A universal performance measure", The Finance Development
   Centre, London.
.. [4] Tharp (2006), "Trade your way to financial freedom", 2nd ed., McGraw-Hill.
.. [5] Kelly (1956), "A new interpretation of information rate", Bell System Technical Journal
   35(4), 917-926.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from math import sqrt
from typing import Final, TypeVar

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from workbench.core.errors import DataError

Floats = NDArray[np.float64]
Number = TypeVar("Number", float, NDArray[np.floating])

DAYS_A_YEAR: Final = 365
"""Crypto trades around the clock."""


def sharpe(returns: Floats, periods: float) -> float:
    """Return the annualised mean over the standard deviation of returns; the risk-free rate is 0.

    Examples
    --------
    >>> round(float(sharpe(np.array([0.01, -0.005, 0.02, 0.0]), periods=365.0)), 6)
    10.770133
    """
    n = len(returns)
    mean = 0.0
    for r in returns:
        mean += r
    mean /= n
    spread = 0.0
    for r in returns:
        spread += (r - mean) * (r - mean)
    # What rounding leaves of the spread of equal returns is no risk to divide by.
    if n < 2 or spread <= 1e-24 * mean * mean * n:
        return 0.0
    return mean / sqrt(spread / (n - 1)) * sqrt(periods)


def sortino(returns: Floats, periods: float) -> float:
    """Return the annualised mean over the downside deviation about zero [1]_.

    Examples
    --------
    >>> round(float(sortino(np.array([0.01, -0.005, 0.02, 0.0]), periods=365.0)), 6)
    47.762433
    """
    mean = 0.0
    below = 0.0
    for r in returns:
        mean += r
        if r < 0.0:
            below += r * r
    n = len(returns)
    mean /= n
    if below == 0.0:
        return 0.0 if mean == 0.0 else np.inf * mean
    return mean / sqrt(below / n) * sqrt(periods)


def total_return(returns: Floats) -> float:
    """Return the compound return over all bars.

    Examples
    --------
    >>> round(float(total_return(np.array([0.5, -0.5]))), 6)
    -0.25
    """
    growth = 1.0
    for r in returns:
        growth *= 1.0 + r
    return growth - 1.0


def annual_volatility(returns: Floats, periods: float) -> float:
    """Return the annualised standard deviation.

    Examples
    --------
    >>> round(float(annual_volatility(np.array([0.01, -0.01]), periods=365.0)), 6)
    0.270185
    """
    n = len(returns)
    if n < 2:
        return 0.0
    mean = 0.0
    for r in returns:
        mean += r
    mean /= n
    spread = 0.0
    for r in returns:
        spread += (r - mean) * (r - mean)
    return sqrt(spread / (n - 1) * periods)


def max_drawdown(returns: Floats) -> float:
    """Return the deepest fall from a peak, as a positive fraction of the peak.

    Examples
    --------
    >>> round(float(max_drawdown(np.array([-0.1, 0.5, -0.2]))), 6)
    0.2
    """
    level = 1.0
    peak = 1.0
    deepest = 0.0
    for r in returns:
        level *= 1.0 + r
        if level > peak:
            peak = level
        elif peak - level > deepest * peak:
            deepest = (peak - level) / peak
    return min(deepest, 1.0)


def cagr(returns: Floats, periods: float) -> float:
    """Return the compound annual growth rate; a total loss is -1.

    Examples
    --------
    >>> round(float(cagr(np.array([0.1, 0.1]), periods=2.0)), 6)
    0.21
    """
    growth = 1.0 + total_return(returns)
    if growth <= 0:
        return -1.0
    with np.errstate(over="ignore"):
        return float(np.exp(np.log(growth) * periods / len(returns)) - 1.0)


def geometric_sharpe(returns: Floats, periods: float) -> float:
    """Return the compound annual growth rate over the annual volatility [1]_."""
    return _ratio(cagr(returns, periods), annual_volatility(returns, periods))


def calmar(returns: Floats, periods: float) -> float:
    """Return the compound annual growth rate over the maximum drawdown, on the full sample [1]_."""
    return _ratio(cagr(returns, periods), max_drawdown(returns))


def downside_deviation(returns: Floats, *, target: float = 0.0) -> float:
    """Return the root mean square of the shortfalls below a target per bar, over all bars [1]_."""
    return float(np.sqrt(np.mean(np.minimum(returns - target, 0.0) ** 2)))


def omega(returns: Floats, *, target: float = 0.0) -> float:
    """Return gains over losses about a target per bar [3]_."""
    excess = returns - target
    return _ratio(excess[excess > 0].sum(), -excess[excess < 0].sum())


def kappa(returns: Floats, *, order: int = 3, target: float = 0.0) -> float:
    """Return the mean excess over the root of a lower partial moment, per bar [1]_."""
    moment = np.mean(np.maximum(target - returns, 0.0) ** order)
    return _ratio(returns.mean() - target, moment ** (1 / order))


def drawdown_path(returns: Floats) -> Floats:
    """Return the fall from the running peak at each bar (last axis), as positive fractions."""
    level = np.cumprod(1.0 + returns, axis=-1)
    peak = np.maximum(np.maximum.accumulate(level, axis=-1), 1.0)
    return np.asarray(drawdown_from(level, peak), dtype=np.float64)


def drawdown_from(level: Number, peak: Number) -> Number:
    """Return how far a level is below its peak, as a fraction of the peak."""
    return 1.0 - level / peak


def drawdowns(returns: Floats) -> pd.DataFrame:
    """Return the drawdown episodes in the order of time.

    Returns
    -------
    DataFrame
        ``start`` (the first bar below the peak), ``trough``, ``end`` (the bar that regains the
        peak; missing while open), ``depth``, ``length`` (bars from start to end, both counted) and
        ``to_trough``.
    """
    path = drawdown_path(returns)
    is_under = path > 1e-14
    edges = np.diff(np.concatenate([[0], is_under.astype(np.int8), [0]]))
    rows = []
    for start, stop in zip(np.flatnonzero(edges == 1), np.flatnonzero(edges == -1), strict=True):
        trough = start + int(np.argmax(path[start:stop]))
        is_open = stop == len(path)
        rows.append(
            {
                "start": int(start),
                "trough": trough,
                "end": pd.NA if is_open else int(stop),
                "depth": float(path[trough]),
                "length": int(stop - start) + (0 if is_open else 1),
                "to_trough": trough - int(start) + 1,
            }
        )
    columns = ["start", "trough", "end", "depth", "length", "to_trough"]
    return pd.DataFrame(rows, columns=columns).astype({"end": "Int64"})


def average_drawdown(returns: Floats) -> float:
    """Return the mean depth of all drawdown episodes."""
    depths = drawdowns(returns)["depth"]
    return float(depths.mean()) if len(depths) else 0.0


def longest_drawdown(returns: Floats) -> int:
    """Return the bars that the longest drawdown took from its start to its recovery, or so far."""
    lengths = drawdowns(returns)["length"]
    return int(lengths.max()) if len(lengths) else 0


def ulcer_index(returns: Floats) -> float:
    """Return the root mean square of the drawdown path, as a fraction [1]_."""
    return float(np.sqrt(np.mean(drawdown_path(returns) ** 2)))


def pain_index(returns: Floats) -> float:
    """Return the mean of the drawdown path, as a fraction [1]_."""
    return float(np.mean(drawdown_path(returns)))


def martin_ratio(returns: Floats, periods: float) -> float:
    """Return the compound annual growth rate over the ulcer index [1]_."""
    return _ratio(cagr(returns, periods), ulcer_index(returns))


def pain_ratio(returns: Floats, periods: float) -> float:
    """Return the compound annual growth rate over the pain index [1]_."""
    return _ratio(cagr(returns, periods), pain_index(returns))


def burke_ratio(returns: Floats, periods: float) -> float:
    """Return the compound annual growth rate over the root of the summed squared drawdowns [1]_."""
    return _ratio(cagr(returns, periods), float(np.sqrt((drawdowns(returns)["depth"] ** 2).sum())))


def tail_ratio(returns: Floats) -> float:
    """Return the 95 % quantile over the absolute 5 % quantile (type 7)."""
    return _ratio(float(np.quantile(returns, 0.95)), abs(float(np.quantile(returns, 0.05))))


def skewness(returns: Floats) -> float:
    """Return the third standardised moment (population)."""
    return _moment(returns, 3)


def excess_kurtosis(returns: Floats) -> float:
    """Return the fourth standardised moment (population) less 3."""
    return _moment(returns, 4) - 3.0 if np.ptp(returns) > 0 else 0.0


def value_at_risk(returns: Floats, *, level: float = 0.95) -> float:
    """Return the historical loss per bar that is not exceeded with a confidence level (type 7)."""
    _check_level(level)
    return float(-np.quantile(returns, 1.0 - level))


def expected_shortfall(returns: Floats, *, level: float = 0.975) -> float:
    """Return the mean loss over the worst ``1 - level`` share of the bars.

    Parameters
    ----------
    returns : ndarray of shape (n_bars,)
        Simple return per bar as a fraction of equity (0.01 is one per cent up).
    level : float, default=0.975
        Confidence level, strictly between 0 and 1.

    Returns
    -------
    float
        Loss as a positive fraction of equity per bar, not annualised.

    Raises
    ------
    DataError
        If a return is not finite, or less than one bar falls in the tail.

    Notes
    -----
    The bar on the quantile counts by the share of it that lies in the tail, so the result is the
    coherent estimate of [2]_.

    Examples
    --------
    >>> round(float(expected_shortfall(np.array([0.02, -0.01, 0.03, -0.05]), level=0.5)), 6)
    0.03
    """
    _check_level(level)
    check_returns(returns)
    share = len(returns) * (1.0 - level)
    if share < 1.0 - 1e-9:
        raise DataError(
            f"{len(returns)} bars leave {share:.2f} of a bar in the tail beyond {level}.",
            "Give more bars or a lower level.",
        )
    worst = np.sort(returns)
    whole = int(share + 1e-9)
    rest = max(share - whole, 0.0)
    tail = worst[:whole].sum() + (rest * worst[whole] if rest > 0 else 0.0)
    return float(-tail / share)


def win_rate(pnl: Floats) -> float:
    """Return the share of positive values among all."""
    return float(np.mean(pnl > 0))


def profit_factor(pnl: Floats) -> float:
    """Return the sum of gains over the sum of losses."""
    return omega(pnl)


def payoff(pnl: Floats) -> float:
    """Return the average gain over the average loss."""
    return _ratio(_mean(pnl[pnl > 0]), -_mean(pnl[pnl < 0]))


def expectancy(pnl: Floats) -> float:
    """Return the mean profit of a trade."""
    return float(pnl.mean())


def system_quality(pnl: Floats) -> float:
    """Return the system quality number: root n times mean over standard deviation [4]_."""
    return 0.0 if len(pnl) < 2 else _ratio(sqrt(len(pnl)) * pnl.mean(), pnl.std(ddof=1))


def kelly_stake(p_win: float, *, gain: float, loss: float = 1.0) -> float:
    """Return the share to stake on a bet that wins or loses these fractions of it; 0 without edge.

    It makes the mean logarithm of the equity grow fastest [5]_: p / loss - (1 - p) / gain.

    Examples
    --------
    >>> round(kelly_stake(0.6, gain=1.0), 6)
    0.2
    """
    if gain == 0:
        return 0.0
    return max(p_win / loss - (1.0 - p_win) / gain, 0.0)


def kelly_fraction(pnl: Floats) -> float:
    """Return the Kelly stake of a bet with these odds: W - (1 - W) / R; 0 without an edge."""
    return kelly_stake(win_rate(pnl), gain=payoff(pnl))


RETURN_MEASURES: Final[Mapping[str, Callable[[Floats, float], float]]] = {
    "total_return": lambda r, _: total_return(r),
    "cagr": cagr,
    "annual_volatility": annual_volatility,
    "sharpe": sharpe,
    "geometric_sharpe": geometric_sharpe,
    "sortino": sortino,
    "calmar": calmar,
    "omega": lambda r, _: omega(r),
    "kappa_3": lambda r, _: kappa(r),
    "max_drawdown": lambda r, _: max_drawdown(r),
    "average_drawdown": lambda r, _: average_drawdown(r),
    "longest_drawdown_bars": lambda r, _: longest_drawdown(r),
    "ulcer_index": lambda r, _: ulcer_index(r),
    "pain_index": lambda r, _: pain_index(r),
    "martin_ratio": martin_ratio,
    "pain_ratio": pain_ratio,
    "burke_ratio": burke_ratio,
    "tail_ratio": lambda r, _: tail_ratio(r),
    "skewness": lambda r, _: skewness(r),
    "excess_kurtosis": lambda r, _: excess_kurtosis(r),
    "value_at_risk_95": lambda r, _: value_at_risk(r),
    "expected_shortfall_97.5": lambda r, _: expected_shortfall(r),
    "best_bar": lambda r, _: float(r.max()),
    "worst_bar": lambda r, _: float(r.min()),
}
"""Measures of a return series by name, for tables; each takes returns and bars per year."""

TRADE_MEASURES: Final[Mapping[str, Callable[[Floats], float]]] = {
    "n_trades": len,
    "win_rate": win_rate,
    "profit_factor": profit_factor,
    "payoff": payoff,
    "expectancy_usdt": expectancy,
    "average_win_usdt": lambda pnl: _mean(pnl[pnl > 0]),
    "average_loss_usdt": lambda pnl: _mean(pnl[pnl < 0]),
    "largest_win_usdt": lambda pnl: float(max(pnl.max(), 0.0)),
    "largest_loss_usdt": lambda pnl: float(min(pnl.min(), 0.0)),
    "system_quality": system_quality,
    "kelly_fraction": kelly_fraction,
}
"""Measures of a list of trade profits by name, for tables."""


def check_returns(returns: Floats) -> Floats:
    """Return the returns if there are some and all are finite.

    Raises
    ------
    DataError
        Otherwise, naming the first bad bar.
    """
    if len(returns) == 0:
        raise DataError("There are no returns to measure.", "Give at least one bar.")
    is_bad = ~np.isfinite(returns)
    if is_bad.any():
        row = int(np.argmax(is_bad))
        raise DataError(
            f"The return of bar {row} is {returns[row]}.",
            "Returns must be finite: fill or drop missing bars before measuring.",
        )
    return returns


def measure_returns(returns: Floats, *, periods: float) -> dict[str, float]:
    """Return every one of ``RETURN_MEASURES``; a tail too short to measure is NaN."""
    check_returns(returns)
    answer = {}
    for name, measure in RETURN_MEASURES.items():
        is_short = name.startswith("expected_shortfall") and len(returns) * 0.025 < 1
        answer[name] = float("nan") if is_short else float(measure(returns, periods))
    return answer


def measure_trades(pnl: Floats) -> dict[str, float]:
    """Return every one of ``TRADE_MEASURES``; without a trade all but the count are NaN."""
    if len(pnl) == 0:
        return {name: float("nan") for name in TRADE_MEASURES} | {"n_trades": 0.0}
    return {name: float(measure(pnl)) for name, measure in TRADE_MEASURES.items()}


def _ratio(top: float, bottom: float) -> float:
    if bottom == 0:
        return 0.0 if top == 0 else float(np.copysign(np.inf, top))
    return float(top / bottom)


def _mean(values: Floats) -> float:
    return float(values.mean()) if len(values) else 0.0


def _moment(returns: Floats, order: int) -> float:
    centred = returns - returns.mean()
    spread = float(np.sqrt(np.mean(centred**2)))
    return 0.0 if np.ptp(returns) == 0 else float(np.mean((centred / spread) ** order))


def _check_level(level: float) -> None:
    if not 0 < level < 1:
        raise DataError(f"{level} is not a confidence level.", "Give one between 0 and 1.")
