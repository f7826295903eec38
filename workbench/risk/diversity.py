"""Diversity: how few positions, sectors or bets a portfolio comes down to.

Weights are signed fractions of equity; concentration looks at their sizes.

References
----------
.. [1] Choueifaty and Coignard (2008), "Toward maximum diversification", Journal of Portfolio
   Management 35(1), 40-51.
.. [2] Meucci (2009), "Managing diversification", Risk 22(5), 74-79.
.. [3] Meucci, Santangelo and Deguest (2015), "Risk budgeting and diversification based on
   optimized uncorrelated factors", Risk 28(11), 70-75: the minimum torsion.
"""

from __future__ import annotations

import re
import tomllib
from collections.abc import Mapping, Sequence
from importlib.resources import files
from math import sqrt
from pathlib import Path
from typing import Final, Literal

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from workbench.core.errors import ConfigError, DataError
from workbench.risk.dependence import check_covariance

Floats = NDArray[np.float64]
PLACE: Final = files("workbench.risk") / "cases"


def herfindahl(weights: pd.Series) -> float:
    """Return the sum of squared shares of the gross exposure: 1 / n when equal, 1 when single."""
    return float((shares(weights) ** 2).sum())


def effective_number(weights: pd.Series) -> float:
    """Return how many equal positions are as concentrated: 1 / Herfindahl.

    Examples
    --------
    >>> effective_number(pd.Series([0.5, -0.5]))
    2.0
    """
    return 1.0 / herfindahl(weights)


def entropy(weights: pd.Series) -> float:
    """Return Shannon's entropy of the shares of the gross exposure; its exponential counts too."""
    p = shares(weights)
    return float(-(p[p > 0] * np.log(p[p > 0])).sum())


def gini(weights: pd.Series) -> float:
    """Return Gini's coefficient of the sizes: 0 when equal, (n - 1) / n when single."""
    p = np.sort(shares(weights))
    n = len(p)
    return float((2.0 * np.arange(1, n + 1) - n - 1.0) @ p / n)


def find_sectors(symbols: Sequence[str], *, path: str | Path | None = None) -> dict[str, str]:
    """Return the sector of each symbol, by the list of the package or a TOML file of one's own.

    A coin that the list does not name is a sector of its own. A coin that it names twice is an
    error.

    Examples
    --------
    >>> find_sectors(["BTCUSDT", "1000PEPEUSDT", "NEWUSDT"])
    {'BTCUSDT': 'money', '1000PEPEUSDT': 'memes', 'NEWUSDT': 'NEW'}
    """
    place = PLACE / "sectors.toml" if path is None else Path(path)
    try:
        table: dict[str, list[str]] = tomllib.loads(place.read_text(encoding="utf-8"))
        rows = [(str(coin), sector) for sector, coins in table.items() for coin in coins]
    except (OSError, tomllib.TOMLDecodeError, TypeError) as error:
        raise ConfigError(
            f"{place} does not hold sectors: {error}.", 'Write lines such as memes = ["DOGE"].'
        ) from error
    by_coin = dict(rows)
    if len(by_coin) < len(rows):
        twice = sorted({coin for coin, _ in rows if [c for c, _ in rows].count(coin) > 1})
        raise ConfigError(
            f"{place} names {', '.join(twice)} more than once.", "A coin has one sector."
        )
    answer = {}
    for symbol in symbols:
        coin = re.sub("(USDT|USDC|PERP)$", "", symbol)
        plain = coin if coin in by_coin else re.sub("^10+", "", coin)
        answer[symbol] = by_coin.get(plain, coin)
    return answer


def sector_exposure(weights: pd.Series, sectors: Mapping[str, str]) -> pd.DataFrame:
    """Return gross and net exposure of each sector, and its share of the gross of all.

    Parameters
    ----------
    weights : Series of shape (n_symbols,)
    sectors : mapping of symbol to sector

    Returns
    -------
    DataFrame
        ``gross``, ``net`` and ``share`` by sector, the largest first.

    Raises
    ------
    DataError
        If a position has no sector.
    """
    missing = [str(name) for name in weights.index[weights != 0] if name not in sectors]
    if missing:
        raise DataError(
            f"{', '.join(missing)} has no sector.", "Name one for every symbol that is held."
        )
    held = weights[weights != 0]
    grouped = held.groupby([sectors[name] for name in held.index])
    table = pd.DataFrame({"gross": grouped.apply(lambda w: w.abs().sum()), "net": grouped.sum()})
    table["share"] = table["gross"] / table["gross"].sum()
    return table.sort_values("gross", ascending=False)


def diversification_ratio(weights: pd.Series, covariance: pd.DataFrame) -> float:
    """Return the positions' volatilities, added up, over the portfolio's [1]_.

    1 where nothing diversifies; infinite where the positions cancel.
    """
    w, sigma = _aligned(weights, covariance)
    alone = float(np.abs(w) @ np.sqrt(np.diag(sigma)))
    together = sqrt(max(float(w @ sigma @ w), 0.0))
    return alone / together if together > 0 else float("inf")


def effective_bets(
    weights: pd.Series,
    covariance: pd.DataFrame,
    *,
    bets: Literal["components", "torsion"] = "components",
) -> float:
    """Return how many equal uncorrelated bets spread the risk as well: exp of their entropy [2]_.

    Parameters
    ----------
    weights : Series of shape (n_symbols,)
    covariance : DataFrame of shape (n_symbols, n_symbols)
        Without symbols that stand still, and not singular for ``torsion``.
    bets : {"components", "torsion"}
        Principal components, by which coins that move as one are one bet; or the uncorrelated
        factors nearest to the symbols [3]_, by which symbols that are alike in all ways stay as
        many bets as they are, however correlated.

    Raises
    ------
    DataError
        If nothing is held, or the covariance lacks a symbol or has no inverse.
    """
    w, sigma = _aligned(weights, covariance)
    if bets == "components":
        values, vectors = np.linalg.eigh(sigma)
        risks = (vectors.T @ w) ** 2 * np.maximum(values, 0.0)
    else:
        torsion = _minimum_torsion(sigma)
        exposure = np.linalg.solve(torsion.T, w)
        risks = exposure * (torsion @ sigma @ w)
    total = float(risks.sum())
    if total <= 0:
        raise DataError("The portfolio has no risk to spread.", "Give weights that are not zero.")
    # Rounding leaves a bet without risk a little to either side of zero.
    p = np.maximum(risks / total, 0.0)
    return float(np.exp(-(p[p > 0] * np.log(p[p > 0])).sum()))


def shares(weights: pd.Series) -> Floats:
    """Return each position's share of the gross exposure.

    Raises
    ------
    DataError
        If a weight is missing, or none is held.
    """
    sizes = np.abs(weights.to_numpy(dtype=np.float64))
    if not np.isfinite(sizes).all() or not sizes.sum() > 0:
        raise DataError(
            "There is no exposure to divide, or some of it is missing.",
            "Give finite weights, one of them not zero.",
        )
    return np.asarray(sizes / sizes.sum())


def _aligned(weights: pd.Series, covariance: pd.DataFrame) -> tuple[Floats, Floats]:
    held = weights.index[weights != 0]
    missing = [str(name) for name in held if name not in covariance.index]
    sigma = covariance.to_numpy(dtype=np.float64)
    if missing or not len(held) or not np.isfinite(sigma).all():
        raise DataError(
            f"The covariance lacks {', '.join(missing) or 'values'}, or nothing is held.",
            "Give finite covariances of every symbol that is held.",
        )
    return weights.reindex(covariance.index, fill_value=0.0).to_numpy(dtype=np.float64), sigma


def _minimum_torsion(sigma: Floats) -> Floats:
    sd = np.sqrt(np.diag(check_covariance(sigma)))
    values, vectors = np.linalg.eigh(sigma / np.outer(sd, sd))
    root = (vectors * np.sqrt(values)) @ vectors.T
    scale = np.ones(len(sd))
    for _ in range(1_000):
        # The rotation nearest to the symbols at these scales, and the scales nearest at it.
        left, _, right = np.linalg.svd(scale[:, None] * root)
        rotation = left @ right
        following = np.diag(rotation @ root)
        if np.abs(following - scale).max() < 1e-12:
            break
        scale = following
    return np.asarray(
        (sd[:, None] * scale[:, None] * (rotation @ np.linalg.inv(root))) / sd[None, :]
    )
