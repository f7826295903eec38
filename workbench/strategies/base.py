"""The contract of a strategy: target weights out of a market, nothing else.

Strategies cannot see money, size or limits. The first form answers with ``weights``; the second
form (``SteppedStrategy``) is for strategies that depend on their own position.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Final, Literal, NamedTuple, Self

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field

from workbench.core.errors import ModelError
from workbench.core.records import Market

WEIGHT_QUANTUM: Final = 1e-4
KEEP: Final = -32768
"""The quantised form of NaN: keep the position."""


@dataclass(frozen=True, slots=True)
class Brackets:
    """Protective distances, locked when a position is entered.

    Each is a fraction of the entry price (0.05 is five per cent), or a frame of such fractions of
    shape (n_bars, n_symbols) read at the row of the decision; None where there is none. Inside a
    bar the worse of two that are touched counts.
    """

    stop_loss: float | pd.DataFrame | None = None
    take_profit: float | pd.DataFrame | None = None
    trailing: float | pd.DataFrame | None = None


class Strategy(BaseModel, ABC):
    """A rule or a fitted model that turns a market into target weights.

    The parameters are the (frozen) pydantic fields. ``weights`` is causal: row t reads rows up to
    t only. Weights are quantised to 1e-4 before they are traded or hashed; NaN keeps the position
    and 0 closes it. An order arises only when the quantised weight changes, or when the position
    drifts from it by more than ``rebalance_band``.

    Attributes
    ----------
    rebalance_band : float
        Distance between the weight held and the weight wanted, as a fraction of equity times
        leverage, at which the position is brought back. Infinity trades on changes only.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", arbitrary_types_allowed=True)

    needs: ClassVar[tuple[str, ...]] = ("close",)
    """The fields of the market that the strategy reads."""

    source: ClassVar[str] = ""
    """Where the idea comes from: paper and page, or a name."""

    rebalance_band: float = Field(default=0.05, gt=0)

    @property
    @abstractmethod
    def lookback(self) -> int:
        """How many trailing bars make the last weight equal to that of the full history."""

    def fit(self, market: Market) -> Self:
        """Return the strategy fitted on a market; a rule returns itself."""
        return self

    @property
    def learns(self) -> bool:
        """Whether it has a ``fit`` of its own; a rule has nothing to learn."""
        return type(self).fit is not Strategy.fit

    @abstractmethod
    def weights(self, market: Market) -> pd.DataFrame:
        """Return target weights in [-1, 1], of shape (n_bars, n_symbols), indexed by known_at."""

    def brackets(self, market: Market) -> Brackets | None:
        """Return the protective distances for entries decided at each row, if there are any."""
        return None

    @property
    def params(self) -> dict[str, Any]:
        """The parameters as plain values, as they stand in the ledger and in the hash."""
        return self.model_dump(mode="json")


class Held(NamedTuple):
    """What a stepped strategy may know of its own position: never money."""

    weight: float
    entry_price: float
    bars_held: int
    open_return: float


FLAT: Final = Held(0.0, float("nan"), 0, 0.0)


@dataclass(frozen=True, slots=True)
class Intent:
    """What a stepped strategy wants of one symbol.

    Attributes
    ----------
    symbol : str
    weight : float
        Target weight in [-1, 1].
    style : {"market", "limit", "post_only"}
        A limit needs ``limit_price``; it rests for ``ttl_bars`` and is then dropped.
    group : str
        Intents of one group are sent together or not at all.
    stop_loss, take_profit, trailing : float
        Protective distances as fractions of the entry price; NaN for none.
    """

    symbol: str
    weight: float
    style: Literal["market", "limit", "post_only"] = "market"
    limit_price: float = float("nan")
    ttl_bars: int = 1
    group: str = ""
    stop_loss: float = float("nan")
    take_profit: float = float("nan")
    trailing: float = float("nan")


class SteppedStrategy(Strategy):
    """A strategy that depends on its own position: time stops, pyramids, pairs, resting limits.

    ``features`` is causal and computed once; ``step`` is scanned over its rows, in the backtest as
    in live trading, and its state (plain JSON values) is journalled.
    """

    @abstractmethod
    def features(self, market: Market) -> dict[str, pd.DataFrame]:
        """Return the frames that ``step`` reads a row of, each indexed by known_at."""

    @abstractmethod
    def init(self) -> dict[str, Any]:
        """Return the state before the first bar."""

    @abstractmethod
    def step(
        self,
        state: dict[str, Any],
        row: Mapping[str, NDArray[np.float64]],
        held: Mapping[str, Held],
    ) -> tuple[dict[str, Any], Sequence[Intent]]:
        """Return the next state and what is wanted now.

        ``row`` maps each feature to its values at this bar, in the frame's column order; ``held``
        maps each symbol to the position held at its close.
        """

    def weights(self, market: Market) -> pd.DataFrame:
        """Raise: the weights of a stepped strategy depend on its fills; backtest it instead."""
        raise ModelError(
            f"{type(self).__name__} depends on its own position and has no weights of its own.",
            "Run it with research.backtest; the result holds the weights that it took.",
        )


def quantise(weights: pd.DataFrame) -> NDArray[np.int16]:
    """Return weights as whole numbers of 1e-4, with NaN as ``KEEP``.

    Parameters
    ----------
    weights : DataFrame of shape (n_bars, n_symbols)

    Returns
    -------
    ndarray of int16 of shape (n_bars, n_symbols)

    Raises
    ------
    ModelError
        If a weight is infinite or outside [-1, 1] by more than half a quantum.
    """
    values = weights.to_numpy(dtype=np.float64)
    is_kept = np.isnan(values)
    whole = np.rint(np.where(is_kept, 0.0, values) / WEIGHT_QUANTUM)
    if whole.size and np.abs(whole).max() > 1 / WEIGHT_QUANTUM:
        row, column = np.argwhere(np.abs(whole) > 1 / WEIGHT_QUANTUM)[0]
        raise ModelError(
            f"The weight of {weights.columns[column]} at {weights.index[row]} is "
            f"{values[row, column]}, outside -1 to 1.",
            "Scale weights to [-1, 1]; leverage belongs to the account.",
        )
    return np.where(is_kept, KEEP, whole).astype(np.int16)
