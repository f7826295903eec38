"""The climate of a risk report: regime, volatilities and dependence of the market around a book.

Only research and the worker import this module.
"""

from __future__ import annotations

from math import sqrt
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from workbench.core.measures import DAYS_A_YEAR
from workbench.risk import dependence
from workbench.risk.dcc import fit_dcc
from workbench.risk.garch import LEAST_BARS, fit_garch
from workbench.risk.har import fit_har
from workbench.risk.regime import Regime, detect_regimes
from workbench.risk.sections import DAY, PATH_DAYS, Sight, Tables, is_daily
from workbench.risk.volatility import estimate_volatility, ewma_variance, realised_horizons


def regimes(book: Sight, tables: Tables) -> dict[str, Any]:
    """Measure how calm or wild the market is, and how long each regime has lasted."""
    market = book.market
    returns = market.close.pct_change(fill_method=None)
    found = book.attempt("regime", lambda: detect_regimes(returns, bar_length=market.bar_length))
    if found is None:
        return {"regime": Regime.UNKNOWN.name.lower()}
    tables["history"] = found[is_daily(found.index)].tail(PATH_DAYS)
    regime = found["regime"]
    known = regime[regime != Regime.UNKNOWN]
    rows = {
        kind.name.lower(): {"time": float((known == kind).mean())}
        for kind in Regime
        if kind != Regime.UNKNOWN
    }
    tables["regimes"] = pd.DataFrame.from_dict(rows, orient="index")
    changed = regime.index[regime.diff().fillna(1.0) != 0][-1]
    last = found.iloc[-1]
    return {
        "regime": Regime(int(last["regime"])).name.lower(),
        "regime_since": changed.isoformat(),
        "regime_score": float(last["score"]),
        "volatility_ratio": float(last["volatility"]),
        "correlation": float(last["correlation"]),
    }


def volatilities(book: Sight, tables: Tables) -> None:
    """Measure and forecast the volatility of each symbol and of the book."""
    market, bars = book.market, DAY // book.market.bar_length
    table = pd.DataFrame(index=pd.Index(market.symbols))
    for name, frame in realised_horizons(market).items():
        if name in ("24h", "7d"):
            table[f"realised_{name}"] = frame.iloc[-1]
    table["yang_zhang"] = estimate_volatility(market, window=30 * bars).iloc[-1]
    series = {name: book.returns[name].dropna().to_numpy() for name in market.symbols}
    if len(book.held):
        series["book"] = (book.returns[book.held.index].dropna() @ book.held).to_numpy()
    daily: pd.DataFrame = estimate_volatility(market, estimator="close", window=bars)
    daily = daily.loc[is_daily(daily.index)]
    for name, own in series.items():
        seen = daily[name].dropna() if name in daily and bars > 1 else None
        for column, value in _forecasts(book, name, own, seen).items():
            table.loc[name, column] = value
    tables["volatility"] = table


def _forecasts(
    book: Sight, name: str, returns: NDArray[np.float64], realised: pd.Series | None
) -> dict[str, float | str]:
    if len(returns) < LEAST_BARS:
        book.notes.append(f"No volatility forecast of {name}: it has {len(returns)} days.")
        return {}
    fit = book.attempt(f"volatility forecast of {name}", lambda: fit_garch(returns))
    if fit is None:
        return {}
    found: dict[str, float | str] = {
        "ewma": sqrt(ewma_variance(returns)[-1] * DAYS_A_YEAR),
        "garch": sqrt(fit.variance[-1] * DAYS_A_YEAR),
        "garch_7d": fit.volatility_over(7) * sqrt(DAYS_A_YEAR / 7),
        "note": fit.note,
    }
    if realised is not None:
        seen = realised.tail(book.window).to_numpy(dtype=np.float64)
        har = book.attempt(f"HAR of {name}", lambda: fit_har(seen))
        if har is not None:
            found["har"] = float(har.forecast(1)[0])
            found["note"] = "; ".join(filter(None, (fit.note, har.note)))
    return found


def dependences(book: Sight, tables: Tables) -> None:
    """Measure how the symbols of the market move together: usually, in the tail, and now."""
    counts = book.returns.notna().sum()
    own = book.returns[counts.index[counts >= LEAST_BARS]]
    short = [str(name) for name in counts.index[counts < LEAST_BARS]]
    if short:
        book.notes.append(f"Correlations leave out {', '.join(short)}: too few days.")
    if own.shape[1] < 2:
        book.notes.append("No correlations: they need two symbols.")
        return
    measured = {
        "pearson": book.attempt("correlations", lambda: dependence.correlation(own)),
        "tail": book.attempt("tail dependence", lambda: dependence.tail_dependence(own)),
    }
    found = {name: table for name, table in measured.items() if table is not None}
    dcc = book.attempt("dynamic correlations", lambda: fit_dcc(own))
    if dcc is not None:
        if dcc.note:
            book.notes.append(f"Dynamic correlations: {dcc.note}.")
        path = dcc.path.correlation
        found["dcc"] = pd.DataFrame(path[-1], own.columns, own.columns)
        found["usual"] = pd.DataFrame(np.median(path, axis=0), own.columns, own.columns)
    tables |= found
    usual = {"dcc": _mean(found["usual"])} if dcc is not None else {}
    rows = {
        name: {"now": _mean(table), "usual": usual.get(name, np.nan), "closest": _pair(table)}
        for name, table in found.items()
        if name != "usual"
    }
    tables["dependence"] = pd.DataFrame.from_dict(rows, orient="index")


def _mean(table: pd.DataFrame) -> float:
    return float(dependence.mean_correlation(table.to_numpy()))


def _pair(table: pd.DataFrame) -> str:
    values = table.to_numpy().copy()
    np.fill_diagonal(values, -np.inf)
    i, j = divmod(int(values.argmax()), len(values))
    return f"{table.index[i]} and {table.columns[j]}, {values[i, j]:.2f}"
