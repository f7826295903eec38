"""Buy and hold: what stands beside every result."""

from __future__ import annotations

from typing import ClassVar

import numpy as np
import pandas as pd
from pydantic import Field

from workbench.core.records import Market
from workbench.strategies.base import Strategy
from workbench.strategies.windows import settle


class BuyAndHold(Strategy):
    """Hold equal shares of the members of the universe, bought once.

    When the universe changes, all shares are made equal again, so that what is held never exceeds
    the account. A missing bar keeps what is held.
    """

    needs: ClassVar[tuple[str, ...]] = ("close", "member")
    source: ClassVar[str] = "The benchmark: Sharpe (1991), The Arithmetic of Active Management"

    rebalance_band: float = Field(default=float("inf"), gt=0)

    @property
    def lookback(self) -> int:
        """One bar."""
        return 1

    def weights(self, market: Market) -> pd.DataFrame:
        """Return one over the number of members for each, of shape (n_bars, n_symbols)."""
        is_member = market.member.to_numpy()
        count = np.maximum(is_member.sum(axis=1, keepdims=True), 1)
        return settle(market, is_member / count, lookback=1)
