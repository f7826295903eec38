"""The moving-average crossover."""

from __future__ import annotations

from typing import ClassVar, Final, Self

import numpy as np
import pandas as pd
from pydantic import Field, model_validator

from workbench.core.records import Market
from workbench.strategies.base import Strategy
from workbench.strategies.windows import present, settle

_TIE: Final = 1e-9
"""Rolling sums end in 1e-13 of noise: averages nearer than this are equal."""


class MovingAverageCross(Strategy):
    """Be long while the fast average is above the slow one, short while it is below.

    Inside the band between the two there is no position. Each symbol takes one n-th of the
    account. Before ``slow`` bars the weight is 0; a missing bar keeps the position.

    References
    ----------
    .. [1] Brock, Lakonishok and LeBaron (1992), "Simple Technical Trading Rules and the Stochastic
       Properties of Stock Returns", Journal of Finance 47(5), 1731-1764: the variable-length
       moving average, with a band of 0 or 1 per cent.
    """

    needs: ClassVar[tuple[str, ...]] = ("close",)
    source: ClassVar[str] = (
        "Brock, Lakonishok and LeBaron (1992), Journal of Finance 47(5), 1731-1764: "
        "variable-length moving average"
    )

    fast: int = Field(default=24, ge=1, le=2_000, description="fast average, in bars")
    slow: int = Field(default=168, ge=2, le=10_000, description="slow average, in bars")
    band: float = Field(
        default=0.0,
        ge=0,
        le=0.2,
        description="distance of the averages, as a fraction, within which nothing is held",
        json_schema_extra={"step": 0.001},
    )
    long_only: bool = Field(default=False, description="hold nothing where it would be short")

    @model_validator(mode="after")
    def _order(self) -> Self:
        if self.fast >= self.slow:
            raise ValueError(f"fast ({self.fast}) must be shorter than slow ({self.slow})")
        return self

    @property
    def lookback(self) -> int:
        """The slow average's bars."""
        return self.slow

    def weights(self, market: Market) -> pd.DataFrame:
        """Return the sign of the crossing over n, of shape (n_bars, n_symbols)."""
        close = market.close
        fast = close.rolling(self.fast, min_periods=present(self.fast)).mean().to_numpy()
        slow = close.rolling(self.slow, min_periods=present(self.slow)).mean().to_numpy()
        gap = fast / slow - 1.0
        edge = max(self.band, _TIE)
        side = (gap > edge).astype(np.float64)
        if not self.long_only:
            side -= gap < -edge
        side[np.isnan(gap)] = np.nan
        return settle(market, side / close.shape[1], lookback=self.lookback)
