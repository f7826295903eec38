"""The lookback probe: does the trailing window decide as the full history does."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from workbench.core.errors import DataError
from workbench.core.records import Market
from workbench.strategies.base import WEIGHT_QUANTUM, SteppedStrategy, Strategy

TOLERANCE: Final = WEIGHT_QUANTUM / 10


@dataclass(frozen=True, slots=True)
class LookbackReport:
    """What a probe measured.

    Attributes
    ----------
    is_enough : bool
        Whether every probed row agrees within a tenth of the weights' quantum.
    needed : int or None
        The declared lookback where it is enough, else the fewest trailing bars that would do on
        the probed rows; None if even all the bars up to
        a row do not give what the full history gives there: the strategy looks ahead.
    worst_difference : float
        Largest absolute difference with the declared lookback; infinite where one of the two is
        missing.
    at : Timestamp
        ``known_at`` of the row that differs most.
    """

    is_enough: bool
    needed: int | None
    worst_difference: float
    at: pd.Timestamp


def probe_lookback(
    strategy: Strategy, market: Market, *, rows: int = 20, seed: int = 0
) -> LookbackReport:
    """Compare weights and brackets of trailing windows with those of the full history.

    Parameters
    ----------
    strategy : Strategy
        Of a stepped strategy the features are compared.
    market : Market
        Longer than the declared lookback.
    rows : int, default=20
        How many rows are drawn, without replacement, from those with a full lookback in which
        something is decided; the last of them and the last row are always among them.
    seed : int, default=0
        Of the draw.

    Returns
    -------
    LookbackReport

    Raises
    ------
    DataError
        If the market is not longer than the lookback.
    """
    first = max(strategy.lookback, 1) - 1
    if market.n_bars <= first + 1 or rows < 1:
        raise DataError(
            f"A market of {market.n_bars} bars cannot probe a lookback of {strategy.lookback}.",
            "Probe at least one row on a market longer than the lookback.",
        )
    rng = np.random.default_rng(seed)
    full = _answers(strategy, market)
    # Late rows: they have the history in which a longer lookback can be found. And rows in which
    # something is decided: where both sides keep what they hold, they agree whatever the lookback.
    late = np.arange(max(first, market.n_bars // 2), market.n_bars)
    decides = late[np.isfinite(np.column_stack([whole[late] for whole in full])).any(axis=1)]
    pool = decides if len(decides) else late
    drawn = rng.choice(pool, min(rows, len(pool)), replace=False)
    chosen = np.union1d(drawn, [pool[-1], market.n_bars - 1])
    gaps = np.array([_gap(strategy, market, full, row, first + 1) for row in chosen])
    worst = int(gaps.argmax())
    is_enough = bool(gaps[worst] <= TOLERANCE)
    return LookbackReport(
        is_enough=is_enough,
        needed=_search(strategy, market, full, chosen, upper=first + 1 if is_enough else None),
        worst_difference=float(gaps[worst]),
        at=market.index[chosen[worst]],
    )


def _answers(strategy: Strategy, market: Market) -> list[NDArray[np.float64]]:
    if isinstance(strategy, SteppedStrategy):
        features = strategy.features(market)
        return [features[name].to_numpy(dtype=np.float64) for name in sorted(features)]
    answers = [strategy.weights(market).to_numpy(dtype=np.float64)]
    brackets = strategy.brackets(market)
    if brackets is not None:
        distances = (brackets.stop_loss, brackets.take_profit, brackets.trailing)
        answers += [d.to_numpy() for d in distances if isinstance(d, pd.DataFrame)]
    return answers


def _gap(
    strategy: Strategy,
    market: Market,
    full: list[NDArray[np.float64]],
    row: int,
    bars: int,
) -> float:
    window = _answers(strategy, market.until(market.index[row], bars=bars))
    worst = 0.0
    for whole, part in zip(full, window, strict=True):
        one, other = whole[row], part[-1]
        if (np.isnan(one) != np.isnan(other)).any():
            return float("inf")
        # Features have any size: they are compared relative to it, weights as they are.
        scale = np.maximum(np.abs(one), 1.0)
        worst = max(worst, float(np.nanmax(np.abs(one - other) / scale, initial=0.0)))
    return worst


def _search(
    strategy: Strategy,
    market: Market,
    full: list[NDArray[np.float64]],
    rows: NDArray[np.int64],
    *,
    upper: int | None,
) -> int | None:
    def does(bars: int) -> bool:
        return all(_gap(strategy, market, full, row, bars) <= TOLERANCE for row in rows)

    if upper is not None:
        return upper
    low, high = strategy.lookback, min(2 * strategy.lookback, market.n_bars)
    while not does(high):
        if high >= market.n_bars:
            return None
        low, high = high, min(2 * high, market.n_bars)
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (low, middle) if does(middle) else (middle, high)
    return high
