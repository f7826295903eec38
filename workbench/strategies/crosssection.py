"""Cross-sectional momentum: winners against losers."""

from __future__ import annotations

from typing import ClassVar

import numpy as np
import pandas as pd
from pydantic import Field

from workbench.core.records import Market
from workbench.strategies.base import Strategy
from workbench.strategies.windows import is_due, settle


class CrossSectionalMomentum(Strategy):
    """Buy the members with the highest past returns, sell those with the lowest, equal amounts.

    Ranks are among the members of the universe whose past return is known. Long and short legs
    hold half of the account each; with fewer than two ranked members everything is flat. A symbol
    that leaves the universe is closed at the next rebalance. Between rebalances and where a bar is
    missing the weight is NaN (keep); before the lookback is full it is 0.

    References
    ----------
    .. [1] Liu, Tsyvinski and Wu (2022), "Common Risk Factors in Cryptocurrency", Journal of
       Finance 77(2), 1133-1177: three-week momentum, weekly rebalanced quintiles.
    .. [2] Jegadeesh and Titman (1993), "Returns to Buying Winners and Selling Losers", Journal of
       Finance 48(1), 65-91: formation and skipped periods.
    """

    needs: ClassVar[tuple[str, ...]] = ("close", "member")
    source: ClassVar[str] = (
        "Liu, Tsyvinski and Wu (2022), Journal of Finance 77(2), 1133-1177; "
        "Jegadeesh and Titman (1993), Journal of Finance 48(1), 65-91"
    )

    formation: int = Field(default=504, ge=1, le=10_000, description="past return, in bars")
    skip: int = Field(default=0, ge=0, le=1_000, description="latest bars left out, in bars")
    quantile: float = Field(
        default=0.2,
        gt=0,
        le=0.5,
        description="share of the members in each leg (at least one member)",
        json_schema_extra={"step": 0.05},
    )
    rebalance_every: int = Field(
        default=168, ge=1, le=2_000, description="bars from one rebalance to the next"
    )

    @property
    def lookback(self) -> int:
        """The formation period and what is skipped after it."""
        return self.formation + self.skip + 1

    def weights(self, market: Market) -> pd.DataFrame:
        """Return dollar-neutral weights of shape (n_bars, n_symbols)."""
        close = market.close
        past = close.shift(self.skip) / close.shift(self.formation + self.skip) - 1.0
        past = past.where(market.member & close.notna())
        rank = past.rank(axis=1, method="first").to_numpy()
        count = past.notna().sum(axis=1).to_numpy()[:, None]
        # The tiny term keeps 0.2 * 5 from falling just under one.
        leg = np.maximum(np.floor(self.quantile * count + 1e-9), 1.0)
        half = np.where(count >= 2, 0.5 / leg, 0.0)
        values = half * (rank > count - leg) - half * (rank <= leg)
        values[~is_due(market, self.rebalance_every)] = np.nan
        return settle(market, values, lookback=self.lookback)
