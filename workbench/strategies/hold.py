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
    """Hold equal shares of every member of the universe, bought once.

    A symbol outside the universe is held at 0; a missing bar keeps what is held.
    """

    needs: ClassVar[tuple[str, ...]] = ("close", "member")
    source: ClassVar[str] = "The benchmark: Sharpe (1991), The Arithmetic of Active Management"

    rebalance_band: float = Field(default=float("inf"), gt=0)

    @property
    def lookback(self) -> int:
        """One bar."""
        return 1

    def weights(self, market: Market) -> pd.DataFrame:
        """Return one n-th for each member, of shape (n_bars, n_symbols)."""
        share = 1.0 / len(market.symbols)
        return settle(market, np.where(market.member.to_numpy(), share, 0.0), lookback=1)
