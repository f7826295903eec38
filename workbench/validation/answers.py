"""Answers of whatever is probed, in one form: values by row and column, and when each is known."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Final, NamedTuple, cast

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from workbench.backtest import kernel
from workbench.backtest.inputs import build_inputs
from workbench.backtest.scan import scan
from workbench.core.costs import Costs
from workbench.core.errors import ModelError
from workbench.core.records import FIELDS, Account, Market
from workbench.strategies.base import Held, Intent, SteppedStrategy, Strategy
from workbench.strategies.probe import TOLERANCE

WEIGHTS: Final = ("weights", "intents.weight")
"""Answers that are weights, whose tolerance is absolute."""


@dataclass(frozen=True, slots=True)
class Answer:
    """One named table of answers: ``values`` by ``rows`` and ``columns``, known at ``known``.

    Rows are named and known by microseconds of UTC.
    """

    values: NDArray[np.float64]
    rows: NDArray[np.int64]
    known: NDArray[np.int64]
    columns: list[str]


Answers = dict[str, Answer]

_NEVER: Final = np.iinfo(np.int64).max
_NO_ROWS: Final = np.empty(0, dtype=np.int64)
_NOTHING: Final = Answer(np.empty((0, 0)), _NO_ROWS, _NO_ROWS, [])


class Change(NamedTuple):
    """The first value of an answer that is not what it was: where, what it was and what it is."""

    known_at: pd.Timestamp
    column: str
    before: float
    after: float
    size: float


def ask(function: Callable[[Market], Any], market: Market) -> Any:
    """Return what a function says of a market; its warnings are kept to itself."""
    with warnings.catch_warnings():
        # Futures that were made to lie divide by zero, overflow and do not converge.
        warnings.simplefilter("ignore")
        return function(market)


def guarded(market: Market) -> Market:
    """Return a market of the same frames, to which nothing can be written or added from outside."""
    frames = {name: getattr(market, name).copy(deep=False) for name in (*FIELDS, "member")}
    others = {name: guarded(other) for name, other in market.others.items()}
    return replace(market, **frames, others=others)


def strategy_answers(strategy: Strategy, market: Market) -> Answers:
    """Return the weights and protective distances of a strategy, or the features of a stepped one.

    A distance that is one number stands in every row: it is read at each of them.
    """
    if isinstance(strategy, SteppedStrategy):
        return {name: table_of(frame, name) for name, frame in strategy.features(market).items()}
    frames = {"weights": strategy.weights(market)}
    brackets = strategy.brackets(market)
    for name in ("stop_loss", "take_profit", "trailing"):
        distance = None if brackets is None else getattr(brackets, name)
        if distance is not None:
            frames[f"brackets.{name}"] = (
                distance
                if isinstance(distance, pd.DataFrame)
                else pd.DataFrame(distance, index=market.index, columns=market.symbols)
            )
    return {name: table_of(frame, name) for name, frame in frames.items()}


def intent_answers(strategy: SteppedStrategy, market: Market) -> Answers:
    """Return what a stepped strategy wants in every row, scanned over the market without costs."""
    recorder = _Recorder(strategy, market)
    costs = Costs(taker_fee_bps=0.0, maker_fee_bps=0.0, spread_bps=0.0, slippage_bps=0.0)
    inputs = build_inputs(market, costs=costs, account=Account())
    inputs.rules[kernel.BAND] = strategy.rebalance_band
    scan(cast(SteppedStrategy, recorder), market, inputs, keeps=False)
    return {
        f"intents.{name}": table_of(
            pd.DataFrame(values, index=market.index, columns=market.symbols), name
        )
        for name, values in recorder.wanted.items()
    }


@dataclass
class _Recorder:
    strategy: SteppedStrategy
    market: Market
    row: int = -1
    wanted: dict[str, NDArray[np.float64]] = field(init=False)

    def __post_init__(self) -> None:
        names = ("weight", "limit_price", "stop_loss", "take_profit", "trailing")
        self.wanted = {name: np.full(self.market.close.shape, np.nan) for name in names}

    def features(self, market: Market) -> dict[str, pd.DataFrame]:
        return self.strategy.features(market)

    def init(self) -> dict[str, Any]:
        return self.strategy.init()

    def step(
        self,
        state: dict[str, Any],
        row: Mapping[str, NDArray[np.float64]],
        held: Mapping[str, Held],
    ) -> tuple[dict[str, Any], Sequence[Intent]]:
        self.row += 1
        state, intents = self.strategy.step(state, row, held)
        for intent in intents:
            column = self.market.symbols.index(intent.symbol)
            for name, values in self.wanted.items():
                values[self.row, column] = getattr(intent, name)
        return state, intents


def changes(
    before: Answers, after: Answers, moment: pd.Timestamp | None = None
) -> dict[str, Change]:
    """Return the first change of each answer that was known by a moment, or of any row.

    Weights differ by a tenth of their quantum, anything else by that share of the middle of its
    column's absolute values. What is missing on one side has changed.
    """
    limit = _NEVER if moment is None else moment.value // 1000
    pairs = {name: (before.get(name, _NOTHING), after.get(name, _NOTHING)) for name in before}
    pairs |= {name: (_NOTHING, after[name]) for name in after if name not in before}
    found = {}
    for name, pair in pairs.items():
        one, other = (_until(each, limit) for each in pair)
        change = _first_change(one, other, is_weight=name in WEIGHTS)
        if change is not None:
            found[name] = change
    return found


def _first_change(one: Answer, other: Answer, *, is_weight: bool) -> Change | None:
    values, again = one.values, other.values
    rows, known, columns = one.rows, one.known, one.columns
    if not (np.array_equal(rows, other.rows) and columns == other.columns):
        columns = list(dict.fromkeys([*columns, *other.columns]))
        rows, at = np.unique(np.concatenate([rows, other.rows]), return_index=True)
        known = np.concatenate([known, other.known])[at]
        values, again = (_spread(each, rows, columns) for each in (one, other))
    with np.errstate(invalid="ignore"):
        gap = np.abs(again - values)
    gap[(values == again) | (np.isnan(values) & np.isnan(again))] = 0.0
    gap[np.isnan(gap)] = np.inf
    if not gap.any():
        return None
    scale = np.ones(len(columns)) if is_weight else _size_of(values)
    is_moved = gap > TOLERANCE * scale
    moved = np.flatnonzero(is_moved.any(axis=1))
    if not len(moved):
        return None
    row = moved[np.argmin(known[moved])]
    column = int(np.where(is_moved[row], gap[row] / scale, -1.0).argmax())
    return Change(
        pd.Timestamp(known[row], unit="us", tz="UTC"),
        columns[column],
        float(values[row, column]),
        float(again[row, column]),
        float(gap[row, column]),
    )


def _size_of(values: NDArray[np.float64]) -> NDArray[np.float64]:
    sizes = np.abs(np.where(np.isfinite(values) & (values != 0), values, np.nan))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)
        middle = np.nanmedian(sizes, axis=0)
    return np.where(np.isnan(middle), 1.0, middle)


def _until(answer: Answer, limit: int) -> Answer:
    known: NDArray[np.bool_] = np.asarray(answer.known <= limit)
    count = int(np.count_nonzero(known))
    keep: NDArray[np.bool_] | slice = known
    if np.all(answer.known[:count] <= limit):
        keep = slice(count)
    return Answer(answer.values[keep], answer.rows[keep], answer.known[keep], answer.columns)


def _spread(answer: Answer, rows: NDArray[np.int64], columns: list[str]) -> NDArray[np.float64]:
    frame = pd.DataFrame(answer.values, index=answer.rows, columns=answer.columns)
    return frame.reindex(index=rows, columns=columns).to_numpy()


def table_of(given: Any, name: str, known: pd.DatetimeIndex | None = None) -> Answer:
    """Return a frame or series as an answer whose rows are known at their own or other moments.

    Raises
    ------
    ModelError
        If it is neither, or its rows are not one moment each.
    """
    frame = given.to_frame() if isinstance(given, pd.Series) else given
    if not isinstance(frame, pd.DataFrame):
        raise ModelError(
            f"{name} is {type(given).__name__}, nothing that can be probed.",
            "Return a frame or series indexed by known_at, a mapping of these, or a Pipeline.",
        )
    index = frame.index
    if not isinstance(index, pd.DatetimeIndex) or index.tz is None or not index.is_unique:
        raise ModelError(
            f"The rows of {name} are not indexed by one moment each, with a zone.",
            "Index it by the market's known_at.",
        )
    columns = [str(column) for column in frame.columns]
    if len(set(columns)) < len(columns):
        raise ModelError(f"{name} has two columns of one name.", "Name each column once.")
    rows = index.tz_convert("UTC").as_unit("us").asi8
    if known is None:
        return Answer(_numbers(frame), rows, rows, columns)
    at = known.tz_convert("UTC").as_unit("us").asi8
    # What has no end is never known.
    return Answer(_numbers(frame), rows, np.where(known.isna(), _NEVER, at), columns)


def _numbers(frame: pd.DataFrame) -> NDArray[np.float64]:
    if all(pd.api.types.is_numeric_dtype(kind) for kind in frame.dtypes):
        return frame.to_numpy(dtype=np.float64, na_value=np.nan)
    # Words and categories have no distance: they are the same or not.
    return np.column_stack(
        [
            column.to_numpy(dtype=np.float64, na_value=np.nan)
            if pd.api.types.is_numeric_dtype(column.dtype)
            else np.where(column.isna(), np.nan, pd.util.hash_pandas_object(column, index=False))
            for _, column in frame.items()
        ]
    )
