"""The Donchian breakout with brackets in multiples of the average true range."""

from __future__ import annotations

from typing import ClassVar, Self

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from pydantic import Field, model_validator

from workbench.core.records import Market
from workbench.strategies.base import Brackets, Strategy
from workbench.strategies.windows import MEMORY, present, settle, wilder_range


class DonchianBreakout(Strategy):
    """Enter on a close beyond the channel of ``entry`` bars, leave beyond that of ``exit_``.

    The channels end with the bar before. A position is also left ``hold`` bars after the last
    breakout in its favour, which bounds what the strategy must remember. Each symbol takes one
    n-th of the account. Stop-loss and trailing distances are multiples of Wilder's average true
    range, locked at entry. Before the lookback is full the weight is 0; a missing bar keeps.

    References
    ----------
    .. [1] Faith (2003), "The Original Turtle Trading Rules": entries at 20, exits at 10 days,
       stops at two average true ranges.
    .. [2] Wilder (1978), "New Concepts in Technical Trading Systems": the average true range.
    """

    needs: ClassVar[tuple[str, ...]] = ("high", "low", "close")
    source: ClassVar[str] = (
        "Donchian's channel by Faith (2003), The Original Turtle Trading Rules; "
        "average true range by Wilder (1978)"
    )

    entry: int = Field(default=480, ge=2, le=5_000, description="entry channel, in bars")
    exit_: int = Field(default=240, ge=1, le=5_000, description="exit channel, in bars")
    hold: int = Field(default=960, ge=1, le=10_000, description="bars held after the last breakout")
    atr_bars: int = Field(default=24, ge=2, le=500, description="average true range, in bars")
    stop_atr: float = Field(
        default=2.0,
        gt=0,
        le=50,
        description="stop-loss, in average true ranges",
        json_schema_extra={"step": 0.25},
    )
    trailing_atr: float = Field(
        default=8.0,
        gt=0,
        le=50,
        description="trailing stop, in average true ranges",
        json_schema_extra={"step": 0.25},
    )
    long_only: bool = Field(default=False, description="do not go short")

    @model_validator(mode="after")
    def _order(self) -> Self:
        if self.exit_ > self.entry:
            raise ValueError(f"exit_ ({self.exit_}) must not be longer than entry ({self.entry})")
        return self

    @property
    def lookback(self) -> int:
        """Everything that can still decide the position, and the memory of the true range."""
        return max(self.entry + self.hold, MEMORY * self.atr_bars) + 1

    def weights(self, market: Market) -> pd.DataFrame:
        """Return the side over n, of shape (n_bars, n_symbols)."""
        close = market.close.to_numpy()
        side = self._side(
            close > self._highest(market, self.entry), close < self._lowest(market, self.exit_)
        )
        if not self.long_only:
            side -= self._side(
                close < self._lowest(market, self.entry), close > self._highest(market, self.exit_)
            )
        return settle(market, side / close.shape[1], lookback=self.lookback)

    def brackets(self, market: Market) -> Brackets:
        """Return stop-loss and trailing distances as fractions, read at the entry's row."""
        atr = wilder_range(market, self.atr_bars)
        return Brackets(stop_loss=self.stop_atr * atr, trailing=self.trailing_atr * atr)

    def _highest(self, market: Market, window: int) -> NDArray[np.float64]:
        rolling = market.high.rolling(window, min_periods=present(window))
        return rolling.max().shift(1).to_numpy()

    def _lowest(self, market: Market, window: int) -> NDArray[np.float64]:
        rolling = market.low.rolling(window, min_periods=present(window))
        return rolling.min().shift(1).to_numpy()

    def _side(self, entered: NDArray[np.bool_], left: NDArray[np.bool_]) -> NDArray[np.float64]:
        rows = np.arange(len(entered))[:, None]
        last_in = np.maximum.accumulate(np.where(entered, rows, -1), axis=0)
        last_out = np.maximum.accumulate(np.where(left, rows, -1), axis=0)
        is_in = (last_in > last_out) & (rows - last_in < self.hold)
        return is_in.astype(np.float64)
