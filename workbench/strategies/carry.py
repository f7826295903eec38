"""Funding carry: hold the side that receives funding."""

from __future__ import annotations

from typing import ClassVar

import numpy as np
import pandas as pd
from pydantic import Field

from workbench.core.records import Market
from workbench.strategies.base import Strategy
from workbench.strategies.windows import is_due, settle


class FundingCarry(Strategy):
    """Be short where longs pay funding and long where shorts pay it, when it pays enough.

    The carry is the funding settled in the window, scaled to a year. Each symbol takes one n-th
    of the account. Where no funding settled in the window the weight is 0; between rebalances and
    where a bar is missing it is NaN (keep); before the lookback is full it is 0.

    References
    ----------
    .. [1] Koijen, Moskowitz, Pedersen and Vrugt (2018), "Carry", Journal of Financial Economics
       127(2), 197-225: carry is the return if prices stay as they are.
    .. [2] Schmeling, Schrimpf and Todorov (2023), "Crypto carry", BIS Working Paper 1087.
    """

    needs: ClassVar[tuple[str, ...]] = ("close", "funding_settled")
    source: ClassVar[str] = (
        "Koijen, Moskowitz, Pedersen and Vrugt (2018), Journal of Financial Economics 127(2), "
        "197-225; Schmeling, Schrimpf and Todorov (2023), BIS Working Paper 1087"
    )

    window: int = Field(default=168, ge=1, le=10_000, description="funding counted, in bars")
    min_carry: float = Field(
        default=0.1,
        ge=0.001,
        le=5,
        description="carry a year, as a fraction, below which nothing is held",
        json_schema_extra={"step": 0.01},
    )
    rebalance_every: int = Field(
        default=24, ge=1, le=1_000, description="bars from one rebalance to the next"
    )

    @property
    def lookback(self) -> int:
        """The window."""
        return self.window

    def weights(self, market: Market) -> pd.DataFrame:
        """Return the receiving side over n, of shape (n_bars, n_symbols)."""
        settled = market.funding_settled.rolling(self.window, min_periods=1).sum().to_numpy()
        carry = -settled * market.bars_per_year / self.window
        # The tiny term keeps a carry equal to the threshold on one side of it.
        values = np.where(np.abs(carry) >= self.min_carry - 1e-9, np.sign(carry), 0.0)
        values = values / settled.shape[1]
        values[~is_due(market, self.rebalance_every)] = np.nan
        return settle(market, values, lookback=self.lookback)
