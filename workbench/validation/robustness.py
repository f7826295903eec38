"""How flat the peak is: what is left of a chosen configuration one step away from it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from numbers import Real
from typing import Any, Final

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from workbench.core.errors import DataError

Floats = NDArray[np.float64]

KEEPS: Final = 0.5
"""The share of the peak's score that a neighbour must have to count as kept."""


@dataclass(frozen=True, slots=True)
class Neighbourhood:
    """What lies around a configuration of a sweep.

    Neighbours are the configurations at most one step away in every parameter that is a number;
    other parameters stay as they are.

    Attributes
    ----------
    table : DataFrame
        The sweep's parameters and ``score``, then for every configuration ``neighbours`` (how many
        there are) and ``neighbour_mean``, their mean score.
    steps : DataFrame
        The score one step down and up in each parameter alone; NaN where there is none.
    peak : dict
        Parameters of the configuration that is looked at.
    score : float
        Its score.
    n_neighbours, n_missing : int
        Neighbours there are, and those that the grid has but the sweep refused; outside the grid
        there are none, and ``edges`` names the parameters that end at the peak.
    kept : float
        Share of the neighbours with at least half of the score.
    mean_ratio : float
        Mean score of the neighbours over the score.
    plateau : float
        Mean over the neighbours of their score over the peak's, held within 0 and 1.
    rank_correlation : float
        Spearman's, over all configurations, of score and mean score of the neighbours: near 1 the
        surface is smooth, near 0 a configuration says nothing about the next; NaN on a flat one.
    edges : tuple of str
    broadest : dict
        Parameters of the configuration with the highest mean of itself and its neighbours.

    Notes
    -----
    The plateau score is the share of the score that one may expect to keep if every parameter is
    off by at most a step, all such errors being equally likely: 1 on a flat top, near 0 on a lone
    spike. What a neighbour has beyond the peak does not make up for one that loses. The three
    shares are NaN where the score is not above 0: there is no peak to lose.
    """

    table: pd.DataFrame = field(repr=False)
    steps: pd.DataFrame = field(repr=False)
    peak: dict[str, Any]
    score: float
    n_neighbours: int
    n_missing: int
    kept: float
    mean_ratio: float
    plateau: float
    rank_correlation: float
    edges: tuple[str, ...]
    broadest: dict[str, Any]


def neighbourhood(
    table: pd.DataFrame,
    grid: Mapping[str, Sequence[Any]],
    *,
    by: str = "sharpe",
    chosen: Mapping[str, Any] | None = None,
) -> Neighbourhood:
    """Look at the neighbours of a configuration on the table of a sweep.

    Parameters
    ----------
    table : DataFrame
        As ``Sweep.table``: a row for each configuration, its parameters and measures.
    grid : mapping of parameter to values
        As ``Sweep.grid``. Combinations that are not in the table were refused.
    by : str, default="sharpe"
        The measure that is the score; higher is better.
    chosen : mapping of parameter to value, optional
        The configuration to look at, such as ``strategy.params``: what the grid does not name is
        passed over. The best by default.

    Returns
    -------
    Neighbourhood

    Raises
    ------
    DataError
        If table and grid do not belong together, a score is missing, or there is no neighbour.

    References
    ----------
    .. [1] Pardo (2008), "The evaluation and optimization of trading strategies", 2nd ed., Wiley:
       a peak is judged with its neighbours, since markets move parameters.
    .. [2] Bertsimas, Nohadani and Teo (2010), "Robust optimization for unconstrained
       simulation-based problems", Operations Research 58(1): neighbours as implementation errors.

    Examples
    --------
    >>> table = pd.DataFrame({"fast": [5, 10, 15], "sharpe": [0.5, 1.0, 1.2]})
    >>> found = neighbourhood(table, {"fast": [5, 10, 15]}, chosen={"fast": 10})
    >>> found.kept, found.mean_ratio, found.plateau
    (1.0, 0.85, 0.75)
    """
    axes, numbers = _axes(grid)
    places = _places(table, axes)
    score = _scores(table, by)
    surface = np.full([len(values) for values in axes.values()], np.nan)
    own = tuple(places.T)
    surface[own] = score
    totals = _box(np.nan_to_num(surface), numbers)[own]
    counts = np.rint(_box(np.isfinite(surface).astype(np.float64), numbers)[own])
    mean = np.full_like(score, np.nan)
    np.divide(totals - score, counts - 1, out=mean, where=counts > 1)
    row = _row(table, axes, score, chosen)
    around = _around(surface, places[row], numbers)
    there = around[np.isfinite(around)]
    if not there.size:
        raise DataError(
            "The configuration has no neighbour to compare it with.",
            "Sweep at least two values of a parameter that is a number.",
        )
    peak = float(score[row])
    ratios = there / peak if peak > 0 else np.full_like(there, np.nan)
    names = list(axes)
    said = table[names].assign(score=score, neighbours=(counts - 1).astype(np.int64))
    return Neighbourhood(
        table=said.assign(neighbour_mean=mean),
        steps=_steps(surface, places[row], names, numbers),
        peak=_params(table, names, row),
        score=peak,
        n_neighbours=len(there),
        n_missing=len(around) - len(there),
        kept=float((ratios >= KEEPS).mean()) if peak > 0 else float("nan"),
        mean_ratio=float(ratios.mean()),
        plateau=float(np.clip(ratios, 0.0, 1.0).mean()),
        rank_correlation=_rank_correlation(score, mean),
        edges=tuple(names[k] for k in numbers if places[row][k] in (0, surface.shape[k] - 1)),
        broadest=_params(table, names, int(np.argmax(totals / counts))),
    )


def _axes(grid: Mapping[str, Sequence[Any]]) -> tuple[dict[str, list[Any]], list[int]]:
    # The values of each parameter in order, and which parameters have steps.
    axes, numbers = {}, []
    for k, (name, values) in enumerate(grid.items()):
        distinct = list(dict.fromkeys(values))
        is_number = all(isinstance(v, Real) and not isinstance(v, bool) for v in distinct)
        if is_number and len(distinct) > 1:
            numbers.append(k)
        axes[name] = sorted(distinct) if is_number else distinct
    return axes, numbers


def _places(table: pd.DataFrame, axes: Mapping[str, list[Any]]) -> NDArray[np.intp]:
    absent = [name for name in axes if name not in table.columns]
    if absent or not len(table):
        raise DataError(
            f"The table has {len(table)} rows and no column {', '.join(absent) or 'is missing'}.",
            "Give the table and the grid of one sweep.",
        )
    places = np.column_stack(
        [pd.Index(values).get_indexer(pd.Index(table[name])) for name, values in axes.items()]
    )
    if (places < 0).any() or len(np.unique(places, axis=0)) < len(places):
        raise DataError(
            "The table has a configuration twice, or one that is not on the grid.",
            "Give the table and the grid of one sweep.",
        )
    return places


def _scores(table: pd.DataFrame, by: str) -> Floats:
    if by not in table.columns:
        raise DataError(
            f"The table has no {by!r}.", f"It has {', '.join(map(str, table.columns))}."
        )
    score = table[by].to_numpy(dtype=np.float64)
    if not np.isfinite(score).all():
        raise DataError(f"A {by} is not finite.", "Leave out configurations without a score.")
    return score


def _row(
    table: pd.DataFrame,
    axes: Mapping[str, list[Any]],
    score: Floats,
    chosen: Mapping[str, Any] | None,
) -> int:
    if chosen is None:
        return int(score.argmax())
    asked = {name: value for name, value in chosen.items() if name in axes}
    fits = np.ones(len(table), dtype=bool)
    for name, value in asked.items():
        fits &= (table[name] == value).to_numpy()
    if fits.sum() != 1:
        raise DataError(
            f"{asked} names {fits.sum()} configurations of the table.",
            f"Give a value for each of {', '.join(axes)} that the sweep has.",
        )
    return int(fits.argmax())


def _params(table: pd.DataFrame, names: Sequence[str], row: int) -> dict[str, Any]:
    # As objects: plain Python values, as they were given.
    return {name: table[name].astype(object).iloc[row] for name in names}


def _box(values: Floats, numbers: Sequence[int]) -> Floats:
    # The sum of every cell and all those within one step of it.
    for k in numbers:
        padded = np.pad(values, [(int(k == axis),) * 2 for axis in range(values.ndim)])
        cuts = (padded.take(range(d, d + values.shape[k]), axis=k) for d in range(3))
        values = sum(cuts, start=np.zeros_like(values))
    return values


def _around(surface: Floats, centre: NDArray[np.intp], numbers: Sequence[int]) -> Floats:
    box = tuple(
        slice(max(0, c - 1), c + 2) if k in numbers else slice(c, c + 1)
        for k, c in enumerate(centre.tolist())
    )
    cells = np.ones(surface.shape, dtype=bool)[box]
    own = tuple(c - part.start for c, part in zip(centre.tolist(), box, strict=True))
    cells[own] = False
    return np.asarray(surface[box][cells], dtype=np.float64)


def _steps(
    surface: Floats, centre: NDArray[np.intp], names: Sequence[str], numbers: Sequence[int]
) -> pd.DataFrame:
    rows = {}
    for k in numbers:
        line = surface[tuple(slice(None) if a == k else c for a, c in enumerate(centre.tolist()))]
        padded = np.concatenate([[np.nan], line, [np.nan]])
        down, _, up = padded[centre[k] : centre[k] + 3]
        rows[names[k]] = {"down": float(down), "up": float(up)}
    return pd.DataFrame.from_dict(rows, orient="index").rename_axis("parameter")


def _rank_correlation(score: Floats, mean: Floats) -> float:
    from scipy.stats import spearmanr

    has = np.isfinite(mean)
    if np.ptp(score[has]) == 0 or np.ptp(mean[has]) == 0:
        return float("nan")
    return float(spearmanr(score[has], mean[has]).statistic)
