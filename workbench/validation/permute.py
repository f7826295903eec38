"""Permutations: markets, signals and labels in which nothing can be known, by reordering real ones.

A p-value is (k + 1) / (n + 1), k of n permutations at least as extreme: never 0.

References
----------
.. [1] Masters (2020), "Permutation and randomization tests for trading system development".
.. [2] Phipson and Smyth (2010), "Permutation p-values should never be zero", Statistical
   Applications in Genetics and Molecular Biology 9(1).
"""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from typing import Any, Final, NamedTuple, TypeVar

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from workbench.core.errors import DataError
from workbench.core.records import Market, interval_delta

Floats = NDArray[np.float64]
Order = NDArray[np.int64]
Progress = Callable[[int, int], None]
"""Called with the permutations done and the number of all."""

_T = TypeVar("_T")

BARS: Final = ("open", "high", "low", "close")
CARRIED: Final = ("volume", "turnover")
FUNDING: Final = ("funding_settled", "funding_predicted")
MAX_EXACT: Final = 20
MAX_STUCK: Final = 0.1
CHUNK_FLIPS: Final = 4_000_000


@dataclass(frozen=True, slots=True)
class PermutationTest:
    """What the same work finds where there is nothing to find.

    Attributes
    ----------
    observed : float
        Statistic on the data as they were.
    null : ndarray of shape (n,)
        Statistic on each permutation.
    p_value : float
        (k + 1) / (n + 1), k of the permutations at least as large as ``observed``.
    """

    observed: float
    null: Floats
    p_value: float

    @property
    def z(self) -> float:
        """Standard deviations of the null between its mean and what was observed."""
        return float((self.observed - self.null.mean()) / self.null.std(ddof=1))


def permutation_pvalue(null: NDArray[np.floating], observed: float) -> float:
    """Return the share of permutations at least as large as what was seen, itself counted [2]_.

    Raises
    ------
    DataError
        If there are none, or one of them is missing.
    """
    values = np.asarray(null, dtype=np.float64)
    if not values.size or np.isnan(values).any() or np.isnan(observed):
        raise DataError(
            "The null distribution is empty, or a value of it or the observed one is missing.",
            "Count a permutation that gives nothing by the worst value, not by none.",
        )
    return float(((values >= observed).sum() + 1) / (values.size + 1))


def permutation_test(
    best_of: Callable[[Market], float],
    market: Market,
    *,
    n: int = 1_000,
    start: int = 0,
    seed: int = 0,
    workers: int | None = None,
    progress: Progress | None = None,
) -> PermutationTest:
    """Repeat the whole choice on permuted markets, where nothing can be known.

    Parameters
    ----------
    best_of : callable
        Gives, for a market, what the choice was made by: run the whole sweep and return its best
        Sharpe ratio, so that the permutations choose as freely as you did. Called from several
        threads; let a sweep inside use one worker.
    market : Market
    n : int, default=1000
    start : int, default=0
        The last bar that stays, see ``permute_bars``.
    seed : int, default=0
    workers : int, optional
        Threads; the kernel releases the interpreter lock. By default one for each core.
    progress : callable, optional

    Returns
    -------
    PermutationTest

    Notes
    -----
    Finer markets are dropped from the observed one as from the permutations, so that both are
    filled alike.
    """
    bars = _decompose(market, start)
    return _compare(
        best_of, replace(market, others=_coarser(market)), lambda k: _permute(bars, (seed, k)),
        n=n, workers=workers, progress=progress,
    )  # fmt: skip


def signal_test(
    measure: Callable[[pd.DataFrame], float],
    weights: pd.DataFrame,
    *,
    block: int = 1,
    n: int = 1_000,
    seed: int = 0,
    workers: int | None = None,
    progress: Progress | None = None,
) -> PermutationTest:
    """Compare what weights earn, by ``measure``, with the same weights at other times.

    See ``permute_signal``; the market stays, so its trends stay with it.
    """
    return _compare(
        measure, weights, lambda k: permute_signal(weights, seed=(seed, k), block=block),
        n=n, workers=workers, progress=progress,
    )  # fmt: skip


def permute_ohlc(
    ohlc: NDArray[np.floating],
    *,
    perm_gap: Sequence[int] | Order,
    perm_intrabar: Sequence[int] | Order,
    start_index: int = 0,
) -> Floats:
    """Rebuild bars from their gaps and their shapes in other orders [1]_.

    Parameters
    ----------
    ohlc : ndarray of shape (n_bars, 4) or (n_bars, 4, n_symbols)
        Open, high, low, close; positive, NaN where a bar is missing.
    perm_gap, perm_intrabar : sequence of int of length n_bars - start_index - 1
        Which bar after ``start_index`` gives the gap from the close before, and which the high, low
        and close over the open.
    start_index : int, default=0
        The last bar that stays.

    Returns
    -------
    ndarray of the shape of ``ohlc``
        The last close is that of the original: only the order is another.
    """
    table = np.asarray(ohlc, dtype=np.float64)
    moves = _moves(np.moveaxis(table.reshape(len(table), 4, -1), 1, 0), start_index)
    built = _rebuild(moves, np.asarray(perm_gap), np.asarray(perm_intrabar))
    answer = table.copy()
    answer[start_index + 1 :] = np.moveaxis(built, 0, 1).reshape(-1, *table.shape[1:])
    return answer


def permute_bars(market: Market, *, seed: int, start: int = 0) -> Market:
    """Return a market with its bars in another order: the same moves, nothing to be known.

    Parameters
    ----------
    market : Market
    seed : int
    start : int, default=0
        The last bar that stays, for strategies that need a beginning.

    Returns
    -------
    Market
        On the same index, marked as synthetic. Gaps and shapes of bars are permuted apart from each
        other and the same way for all symbols, so that their correlation within a bar stays; marks
        keep their distance to the last price, volume and the change of open interest go with their
        bar. Settled and predicted funding are permuted by whole funding periods of equal length.
        Membership stays, and bars that lack a symbol change places among themselves only, so what
        was missing is missing still. Coarser markets are made anew, finer ones are dropped.

    Raises
    ------
    DataError
        If a price is not positive, or too few bars could change places.

    Notes
    -----
    Drift, volatility as a whole and fat tails survive; trends, reversals, clusters of volatility
    and hours of the day do not, nor does what ties one bar to the next. So a strategy that only
    holds the drift is not flattered by the comparison.
    """
    return _permute(_decompose(market, start), (seed,))


def permute_signal(
    weights: pd.DataFrame, *, seed: int | Sequence[int], block: int = 1
) -> pd.DataFrame:
    """Return weights in another order of blocks of rows, cut at a random row.

    The same positions at other times: their sizes, turnover inside blocks and correlation between
    symbols stay, what they knew of the moment goes.
    """
    n = len(weights)
    if not 1 <= block < n:
        raise DataError(f"{n} rows cannot be permuted in blocks of {block}.", "Use shorter blocks.")
    rng = np.random.default_rng(seed)
    turned = np.roll(np.arange(n), int(rng.integers(n)))
    parts = [turned[k : k + block] for k in range(0, n, block)]
    order = np.concatenate([parts[k] for k in rng.permutation(len(parts))])
    return pd.DataFrame(weights.to_numpy()[order], weights.index, weights.columns)


def permute_labels(
    estimator: Any,
    features: pd.DataFrame,
    labels: pd.Series,
    *,
    cv: Any,
    n: int = 200,
    scoring: str | None = None,
    seed: int = 0,
) -> PermutationTest:
    """Compare a cross-validated score with that on shuffled labels, by scikit-learn.

    ``cv`` should be a ``splits.PurgedKFold``: labels that overlap the test would make any null
    look beaten.
    """
    from sklearn.model_selection import permutation_test_score

    score, null, pvalue = permutation_test_score(
        estimator, features, labels, cv=cv, n_permutations=n, scoring=scoring, random_state=seed
    )
    return PermutationTest(float(score), np.asarray(null, dtype=np.float64), float(pvalue))


@dataclass(frozen=True, slots=True)
class SignFlip:
    """How often flipping signs at random gives a mean as large; ``n`` is the flips tried."""

    count: int
    n: int
    one_sided: float
    two_sided: float
    is_exact: bool


def flip_signs(values: NDArray[np.floating], *, flips: int = 9_999, seed: int = 0) -> SignFlip:
    """Test a mean against zero, assuming no more than symmetry about it.

    All 2^n flips are tried for up to 20 values, and p-values are exact shares; else ``flips`` are
    drawn and they are (k + 1) / (flips + 1).
    """
    x = np.asarray(values, dtype=np.float64)
    if not len(x) or not np.isfinite(x).all():
        raise DataError("There are no values, or some are missing.", "Drop what is missing.")
    is_exact = len(x) <= MAX_EXACT
    if is_exact:
        sums = np.zeros(1)
        for value in x:
            sums = np.concatenate([sums + value, sums - value])
    else:
        rng, step = np.random.default_rng(seed), max(CHUNK_FLIPS // len(x), 1)
        sizes = [min(step, flips - first) for first in range(0, flips, step)]
        # The sum less twice what is flipped.
        sums = np.concatenate([x.sum() - 2 * (rng.random((k, len(x))) < 0.5) @ x for k in sizes])
    # Sums of the same numbers in another order differ in their last bits.
    seen, room = float(x.sum()), 1e-12 * float(np.abs(x).sum())
    count = int((sums >= seen - room).sum())
    both = int((np.abs(sums) >= abs(seen) - room).sum())
    more, n = (0, len(sums)) if is_exact else (1, len(sums))
    return SignFlip(count, n, (count + more) / (n + more), (both + more) / (n + more), is_exact)


class _Moves(NamedTuple):
    # Logarithms, of the bars after the start: the level before, gaps (n, symbols), shapes (4, n,
    # symbols) over the open, NaN where a bar is missing.
    level: Floats
    gaps: Floats
    shapes: Floats


class _Bars(NamedTuple):
    market: Market
    start: int
    moves: _Moves
    groups: list[Order]
    distances: dict[str, Floats]
    carried: dict[str, Floats]
    interest: Floats | None
    periods: list[Order]


def _compare(
    statistic: Callable[[_T], float],
    data: _T,
    draw: Callable[[int], _T],
    *,
    n: int,
    workers: int | None,
    progress: Progress | None,
) -> PermutationTest:
    observed, null = float(statistic(data)), np.empty(n)
    with ThreadPoolExecutor(max_workers=workers or os.cpu_count() or 1) as pool:
        for k, value in enumerate(pool.map(lambda k: float(statistic(draw(k))), range(n))):
            null[k] = value
            if progress is not None:
                progress(k + 1, n)
    return PermutationTest(observed, null, permutation_pvalue(null, observed))


def _moves(ohlc: Floats, start: int) -> _Moves:
    # From prices of shape (4, n_bars, n_symbols).
    if (ohlc <= 0).any():
        raise DataError("Some prices are not above zero.", "Run `workbench data check`.")
    logs = np.where(np.isfinite(ohlc).all(axis=0), np.log(ohlc), np.nan)
    closes = pd.DataFrame(logs[3]).ffill().to_numpy()
    gaps = logs[0, start + 1 :] - closes[start:-1]
    # A symbol that comes later begins at its own first open.
    opens = pd.DataFrame(logs[0, start:]).bfill().to_numpy()[0]
    level = np.where(np.isnan(closes[start]), opens, closes[start])
    return _Moves(level, gaps, (logs - logs[0])[:, start + 1 :])


def _rebuild(moves: _Moves, gap_order: Order, bar_order: Order) -> Floats:
    shapes = moves.shapes[:, bar_order]
    body = np.nan_to_num(shapes[3])
    # Every close is the one before plus a gap plus the way from open to close.
    steps = np.nan_to_num(moves.gaps[gap_order]) + body
    shapes += moves.level + steps.cumsum(axis=0) - body
    return np.exp(shapes, out=shapes)


def _decompose(market: Market, start: int) -> _Bars:
    # All that permutations of one market share.
    if not 0 <= start < market.n_bars - 2:
        raise DataError(
            f"A market of {market.n_bars} bars has nothing to permute after bar {start}.",
            "Give a longer market, or begin earlier.",
        )
    ohlc = np.stack([getattr(market, name).to_numpy() for name in BARS])
    moves = _moves(ohlc, start)
    groups = _groups(np.isfinite(ohlc).all(axis=0)[start:], moves.gaps)
    stuck = sum(len(rows) for rows in groups if len(rows) == 1) - len(moves.level)
    if stuck > MAX_STUCK * len(moves.gaps):
        raise DataError(
            f"{stuck} of {len(moves.gaps)} bars lack symbols as no other bar does, and could not "
            "change places.",
            "Leave out the symbols with holes, or fill them.",
        )
    distances = {
        name: getattr(market, f"mark_{name}").to_numpy() / getattr(market, name).to_numpy()
        for name in BARS
        if getattr(market, f"mark_{name}") is not getattr(market, name)
    }
    carried = {name: getattr(market, name).to_numpy() for name in CARRIED}
    interest = market.open_interest.where(market.open_interest > 0).ffill().bfill().to_numpy()
    return _Bars(
        market, start, moves, groups, distances,
        {name: table for name, table in carried.items() if not np.isnan(table).all()},
        None if np.isnan(interest).all() else np.log(interest),
        _periods(market, start),
    )  # fmt: skip


def _permute(bars: _Bars, key: Sequence[int]) -> Market:
    market, rng = bars.market, np.random.default_rng(key)
    kept = np.arange(bars.start + 1)
    gap_order, bar_order = _within(bars.groups, rng), _within(bars.groups, rng)
    source = np.concatenate([kept, bars.start + 1 + bar_order])
    built = _rebuild(bars.moves, gap_order, bar_order)
    tables: dict[str, Floats] = {}
    for k, name in enumerate(BARS):
        head = getattr(market, name).to_numpy()[kept]
        tables[name] = np.concatenate([head, built[k]])
        if name in bars.distances:
            tables[f"mark_{name}"] = tables[name] * bars.distances[name][source]
    tables |= {name: table[source] for name, table in bars.carried.items()}
    if bars.interest is not None:
        moved = np.diff(bars.interest, axis=0, prepend=bars.interest[:1])[source]
        moved[kept] = 0.0
        levels = np.exp(bars.interest[bars.start] + moved.cumsum(axis=0))
        levels[kept] = market.open_interest.to_numpy()[kept]
        levels[np.isnan(market.open_interest.to_numpy()[source])] = np.nan
        tables["open_interest"] = levels
    rows = np.arange(market.n_bars)
    for places in bars.periods:
        rows[places] = rng.permutation(places)
    if bars.periods:
        tables |= {name: getattr(market, name).to_numpy()[rows] for name in FUNDING}
    frames: dict[str, Any] = {
        name: pd.DataFrame(table, market.close.index, market.close.columns, copy=False)
        for name, table in tables.items()
    }
    for name in BARS:
        frames.setdefault(f"mark_{name}", frames[name])
    name = f"permuted-{market.snapshot_id}-{'-'.join(map(str, key))}"
    answer = replace(market, **frames, others={}, snapshot_id=name, is_synthetic=True)
    coarser = {interval: answer.resample(interval) for interval in _coarser(market)}
    return replace(answer, others=coarser) if coarser else answer


def _groups(present: NDArray[np.bool_], gaps: Floats) -> list[Order]:
    # Bars that may change places: those that hold the same symbols, and the same before them.
    pattern = np.concatenate([present[1:], present[:-1], np.isfinite(gaps)], axis=1)
    if (pattern == pattern[0]).all():
        return [np.arange(len(pattern))]
    _, group = np.unique(pattern, axis=0, return_inverse=True)
    return [np.flatnonzero(group == k) for k in range(int(group.max()) + 1)]


def _within(groups: list[Order], rng: np.random.Generator) -> Order:
    order = np.empty(sum(len(rows) for rows in groups), dtype=np.int64)
    for rows in groups:
        order[rows] = rng.permutation(rows)
    return order


def _periods(market: Market, start: int) -> list[Order]:
    # Rows of funding periods that may change places, of shape (n_periods, length) each.
    settled = np.isfinite(market.funding_settled.to_numpy())
    stamps = np.flatnonzero(settled.any(axis=1))
    stamps = stamps[stamps > start]
    ends, lengths = stamps[1:], np.diff(stamps)
    if not len(ends):
        return []
    # The period of a stamp is the rows after the stamp before, up to it.
    _, group = np.unique(np.column_stack([lengths, settled[ends]]), axis=0, return_inverse=True)
    return [
        ends[group == k][:, None] + 1 - lengths[group == k][0] + np.arange(lengths[group == k][0])
        for k in range(int(group.max()) + 1)
    ]


def _coarser(market: Market) -> dict[str, Market]:
    return {k: m for k, m in market.others.items() if interval_delta(k) > market.bar_length}
