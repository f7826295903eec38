"""Time-series momentum with volatility scaling."""

from __future__ import annotations

from typing import ClassVar

import numpy as np
import pandas as pd
from pydantic import Field

from workbench.core.records import Market
from workbench.strategies.base import Strategy
from workbench.strategies.windows import MEMORY, is_due, settle


class TimeSeriesMomentum(Strategy):
    """Hold the sign of a symbol's own past return, scaled to a constant volatility.

    The weight is sign(past return) times target over ex-ante volatility, at most 1, one n-th of
    the account each. The volatility is the exponentially weighted standard deviation around the
    exponentially weighted mean. Between rebalances and where a bar is missing the weight is NaN
    (keep); before the lookback is full it is 0.

    References
    ----------
    .. [1] Moskowitz, Ooi and Pedersen (2012), "Time series momentum", Journal of Financial
       Economics 104(2), 228-250, equations 1 (volatility) and 5 (position).
    """

    needs: ClassVar[tuple[str, ...]] = ("close",)
    source: ClassVar[str] = (
        "Moskowitz, Ooi and Pedersen (2012), Journal of Financial Economics 104(2), 228-250, "
        "equations 1 and 5"
    )

    horizon: int = Field(default=672, ge=1, le=10_000, description="past return, in bars")
    volatility_bars: int = Field(
        default=168, ge=2, le=2_000, description="centre of mass of the volatility, in bars"
    )
    target_volatility: float = Field(
        default=0.4,
        gt=0,
        le=3,
        description="volatility a year, as a fraction",
        json_schema_extra={"step": 0.05},
    )
    rebalance_every: int = Field(
        default=24, ge=1, le=1_000, description="bars from one rebalance to the next"
    )

    @property
    def lookback(self) -> int:
        """The longer of the past return and the memory of the volatility."""
        return max(self.horizon, MEMORY * self.volatility_bars) + 1

    def weights(self, market: Market) -> pd.DataFrame:
        """Return the scaled sign over n, of shape (n_bars, n_symbols)."""
        close = market.close
        past = (close / close.shift(self.horizon) - 1.0).to_numpy()
        returns = close.pct_change(fill_method=None)
        ewm = returns.ewm(com=self.volatility_bars, min_periods=self.volatility_bars)
        volatility = np.sqrt(ewm.var(bias=True).to_numpy() * market.bars_per_year)
        # A price that stands still has no volatility, and takes the cap.
        scale = np.minimum(self.target_volatility / np.maximum(volatility, 1e-9), 1.0)
        values = np.sign(past) * scale / close.shape[1]
        values[~is_due(market, self.rebalance_every)] = np.nan
        return settle(market, values, lookback=self.lookback)
