"""Coverage: value at risk and shortfall forecast bar by bar, by every method, and judged.

Only research and the worker import this module.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from functools import partial
from math import inf, nan, sqrt
from multiprocessing import get_context
from typing import Any, Final, NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from workbench.core.errors import DataError
from workbench.core.measures import DAYS_A_YEAR, annual_volatility, excess_kurtosis, skewness
from workbench.risk import tails, vartests
from workbench.risk.extremes import fit_peaks
from workbench.risk.forecast import VolatilityFit
from workbench.risk.garch import LEAST_BARS, Model, apply_garch, fit_garch
from workbench.risk.tails import Tail
from workbench.risk.volatility import ewma

Floats = NDArray[np.float64]
AtLevel = Callable[..., Tail]


class _Scaled(NamedTuple):
    # What a bar's forecast is made of: residuals of its window, and what scales their tail.
    residuals: Floats
    shape: float
    mean: float
    sd: float


METHODS: Final[Mapping[str, Callable[[Floats], AtLevel]]] = {
    "historical": lambda x: partial(tails.historical, x),
    "weighted_historical": lambda x: partial(tails.weighted_historical, x),
    "normal": lambda x: partial(tails.normal_tail, x.mean(), x.std()),
    "student": lambda x: partial(tails.student_tail, x.mean(), x.std(), tails.student_shape(x)),
    "cornish_fisher": lambda x: partial(
        tails.cornish_fisher_tail, x.mean(), x.std(), skewness(x), excess_kurtosis(x)
    ),
    "peaks_over_threshold": lambda x: fit_peaks(x).tail,
    "monte_carlo": lambda x: partial(tails.historical, tails.simulate_moves(x, paths=5_000)),
}
"""Methods that take every bar of the window as one like the next: calm or wild, they say the same.
"""

FILTERED: Final[Mapping[str, Callable[[_Scaled], AtLevel]]] = {
    "ewma_historical": lambda s: partial(tails.historical, s.residuals),
    "garch_normal": lambda _: partial(tails.normal_tail, 0.0, 1.0),
    "garch_student": lambda s: partial(tails.student_tail, 0.0, 1.0, s.shape),
    "garch_historical": lambda s: partial(tails.historical, s.residuals),
    "garch_extremes": lambda s: fit_peaks(s.residuals).tail,
}
"""Methods for the tail of the window's residuals, which is scaled to the volatility of the bar to
come: by EWMA, or by GARCH with Student errors.
"""

ALL: Final = (*METHODS, *FILTERED)


@dataclass(frozen=True, slots=True)
class Forecasts:
    """Forecasts of the tail of each symbol's next return.

    Attributes
    ----------
    table : DataFrame of shape (n_bars, n_columns)
        Indexed by ``known_at``: row t is known at the close of bar t and is for the bar after it.
        Columns have the levels ``method``, ``level``, ``symbol``, ``measure`` (``var`` or ``es``).
    fits : DataFrame
        A row for each fit of a GARCH: ``symbol``, ``known_at``, the ``model`` that answers, its
        ``note`` and its parameters.
    """

    table: pd.DataFrame
    fits: pd.DataFrame


def forecast_tails(
    returns: pd.DataFrame,
    *,
    window: int = 365,
    levels: Sequence[float] = (0.95, 0.99),
    methods: Sequence[str] = ALL,
    model: Model = "garch",
    refit_bars: int = 30,
    workers: int = 1,
) -> Forecasts:
    """Forecast the tail of the next return at each bar from the last ``window`` of them.

    Parameters
    ----------
    returns : DataFrame of shape (n_bars, n_symbols)
        As fractions, indexed by ``known_at``. Bars that a symbol lacks are left out of its windows
        and have no forecast; one with fewer than the window has none at all.
    window : int, default=365
    levels : sequence of float, default=(0.95, 0.99)
    methods : sequence of str
        Of ``METHODS`` and ``FILTERED``.
    model : {"garch", "gjr", "egarch"}
        Fitted to the window every ``refit_bars`` with Student errors, and run on at every bar.
    refit_bars : int, default=30
    workers : int, default=1
        Processes that share the symbols.

    Raises
    ------
    DataError
        If a method is unknown, no symbol has more bars than the window, or one has bars that a
        method cannot use: the message names it.
    """
    unknown = sorted(set(methods) - set(ALL))
    if unknown or not methods:
        raise DataError(f"There is no method {unknown[:1]}.", f"Choose of {', '.join(ALL)}.")
    if window < LEAST_BARS or not (returns.notna().sum() > window).any():
        raise DataError(
            f"{len(returns)} bars leave nothing to forecast from windows of {window}.",
            f"Give more bars than the window has, and {LEAST_BARS} to the window.",
        )
    one = partial(
        _forecast_symbol, window=window, levels=tuple(levels), methods=tuple(methods), model=model,
        refit_bars=refit_bars,
    )  # fmt: skip
    series = [returns[symbol].dropna() for symbol in returns]
    if workers > 1:
        # Fresh processes: a fork would copy threads that hold locks.
        with ProcessPoolExecutor(workers, mp_context=get_context("spawn")) as pool:
            done = list(pool.map(one, series))
    else:
        done = [one(own) for own in series]
    table = pd.concat([part for part, _ in done], axis=1).reindex(returns.index)
    return Forecasts(table.sort_index(axis=1), pd.concat([fits for _, fits in done]))


def judge_forecasts(returns: pd.DataFrame, table: pd.DataFrame) -> pd.DataFrame:
    """Hold each forecast against the return that followed it.

    Parameters
    ----------
    returns : DataFrame of shape (n_bars, n_symbols)
    table : DataFrame
        Of ``Forecasts``, from the same returns.

    Returns
    -------
    DataFrame
        By ``method``, ``level`` and ``symbol``: ``bars``, ``hits``, ``rate``, p-values of the
        frequency (``kupiec``), of ``independence`` and of both (``christoffersen``), Basel's
        ``zone``, Acerbi and Szekely's ``z1`` and ``z2`` (NaN with a shortfall that is infinite or
        no loss), and the mean forecasts ``var`` and ``es``. What has no forecast has no row.
    """
    following = {symbol: returns[symbol].dropna().shift(-1) for symbol in returns}
    rows: dict[tuple[str, float, str], dict[str, object]] = {}
    columns: Any = table.columns
    for method, level, symbol in columns.droplevel("measure").unique():
        own = table[method, level, symbol]
        judged = own.assign(following=following[symbol]).dropna()
        x, var, es = (judged[name].to_numpy() for name in ("following", "var", "es"))
        if len(x):
            rows[method, level, symbol] = _judge(x, var, es, level)
    index = pd.MultiIndex.from_tuples(list(rows), names=["method", "level", "symbol"])
    return pd.DataFrame(list(rows.values()), index=index)


def judge_years(returns: pd.DataFrame, table: pd.DataFrame) -> pd.DataFrame:
    """Judge all forecasts, and those of calm and of wild years apart.

    Returns
    -------
    DataFrame
        That of ``judge_forecasts`` under one more level, ``group``: ``all``, and where there are
        two years or more ``calm`` and ``wild``, each with its years. A year is wild if its
        volatility, in the mean of the symbols, is above that of the median year.
    """
    rows = table.index[table.notna().any(axis=1)]
    seen = returns.loc[rows[0] : rows[-1]]
    by_year = {
        year: np.mean(
            [annual_volatility(own.dropna().to_numpy(), DAYS_A_YEAR) for _, own in part.items()]
        )
        for year, part in seen.groupby(pd.DatetimeIndex(seen.index).year)
    }
    middle = np.median(list(by_year.values()))
    groups = {"all": list(by_year)}
    if len(by_year) > 1:
        for name, is_wild in (("calm", False), ("wild", True)):
            years = [year for year, size in by_year.items() if (size > middle) == is_wild]
            groups[f"{name} ({', '.join(map(str, years))})"] = years
    of_year = pd.DatetimeIndex(table.index).year
    parts = {
        name: judge_forecasts(returns, table[of_year.isin(years)]) for name, years in groups.items()
    }
    return pd.concat(parts, names=["group"])


def _judge(x: Floats, var: Floats, es: Floats, level: float) -> dict[str, object]:
    is_hit = x < -var
    hits, bars = int(is_hit.sum()), len(x)
    is_loss = bool(np.isfinite(es).all() and (es > 0).all())
    z1, z2 = vartests.acerbi_szekely(x, var, es, level=level)[:2] if is_loss else (nan, nan)
    return {
        "bars": bars,
        "hits": hits,
        "rate": hits / bars,
        "kupiec": vartests.kupiec(hits, bars, level=level).p_value,
        "independence": vartests.independence(vartests.Transitions.of(is_hit)).p_value,
        "christoffersen": vartests.christoffersen(is_hit, level=level).p_value,
        "zone": vartests.traffic_light(hits, bars, level=level).zone,
        "z1": z1,
        "z2": z2,
        "var": var.mean(),
        "es": es.mean(),
    }


def _forecast_symbol(
    own: pd.Series,
    *,
    window: int,
    levels: Sequence[float],
    methods: Sequence[str],
    model: Model,
    refit_bars: int,
) -> tuple[pd.DataFrame, pd.DataFrame]:
    x, moments = own.to_numpy(), own.index[window - 1 :]
    wanted = {method.partition("_")[0] for method in methods if method in FILTERED}
    scaled: dict[str, list[_Scaled]] = {}
    fits: list[VolatilityFit] = []
    columns: dict[tuple[object, ...], Floats] = {}
    try:
        if "ewma" in wanted:
            variance = ewma(x**2, start=np.mean(x[:window] ** 2))
            scaled["ewma"] = list(_scale(x, variance, window))
        if "garch" in wanted:
            scaled["garch"], fits = _filter(x, window, model, refit_bars)
        for method in methods:
            values = _forecast(x, window, levels, method, scaled.get(method.partition("_")[0], ()))
            for level, pair in zip(levels, values, strict=True):
                columns[method, level, own.name, "var"] = pair[:, 0]
                columns[method, level, own.name, "es"] = pair[:, 1]
    except DataError as error:
        raise DataError(f"{own.name}: {error.what}", error.fix) from error
    table = pd.DataFrame(columns, index=moments)
    table.columns.names = ["method", "level", "symbol", "measure"]
    known = moments[::refit_bars][: len(fits)]
    rows = [
        {"symbol": own.name, "known_at": moment, "model": fit.model, "note": fit.note}
        | dict(fit.parameters)
        for moment, fit in zip(known, fits, strict=True)
    ]
    return table, pd.DataFrame(rows)


def _forecast(
    x: Floats, window: int, levels: Sequence[float], method: str, scaled: Sequence[_Scaled]
) -> Floats:
    # Of shape (n_levels, n_forecasts, 2).
    answer = np.empty((len(levels), max(len(x) - window + 1, 0), 2))
    for row in range(answer.shape[1]):
        past = tails.sample(x[row : row + window], least=window, moving=True)
        if method in METHODS:
            tail, mean, sd = METHODS[method](past), 0.0, 1.0
        else:
            tail, mean, sd = FILTERED[method](scaled[row]), scaled[row].mean, scaled[row].sd
        for i, level in enumerate(levels):
            answer[i, row] = tail(level=level).scaled(mean=mean, sd=sd)
    return answer


def _filter(
    x: Floats, window: int, model: Model, refit_bars: int
) -> tuple[list[_Scaled], list[VolatilityFit]]:
    scaled: list[_Scaled] = []
    fits: list[VolatilityFit] = []
    for first in range(0, len(x) - window + 1, refit_bars):
        start = fits[-1] if fits else None
        fit = fit_garch(x[first : first + window], model=model, start=start)
        fits.append(fit)
        bars = x[first : first + window + refit_bars - 1]
        path = apply_garch(bars, parameters=fit.parameters, model=fit.model)
        shape = fit.parameters.get("nu", inf)
        scaled += _scale(bars, path.variance, window, shape=shape, mean=fit.mean)
    return scaled, fits


def _scale(
    x: Floats, variance: Floats, window: int, *, shape: float = inf, mean: float = 0.0
) -> Iterator[_Scaled]:
    residuals = (x - mean) / np.sqrt(variance[:-1])
    for end in range(window, len(x) + 1):
        yield _Scaled(residuals[end - window : end], shape, mean, sqrt(variance[end]))
