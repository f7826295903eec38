"""A cointegrated pair with a time stop."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar, Final, Self

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from pydantic import Field, model_validator

from workbench.core.errors import DataError, ModelError
from workbench.core.records import Market
from workbench.strategies.base import FLAT, Held, Intent, SteppedStrategy

_MIN_BARS: Final = 100


class CointegratedPair(SteppedStrategy):
    """Trade the return of two cointegrated log prices to their equilibrium.

    ``fit`` regresses log(first) on log(second) and tests the residual for a unit root; the slope
    is the hedge ratio. A position is opened when the residual lies ``entry_z`` standard deviations
    from 0, closed within ``exit_z``, beyond ``stop_z`` or after ``max_bars``; after a stop nothing
    is opened until the residual has been within ``exit_z``. Both legs are one group. A pair whose
    test does not reach ``max_p_value`` stays flat. A missing bar keeps the position.

    References
    ----------
    .. [1] Engle and Granger (1987), "Co-integration and Error Correction", Econometrica 55(2),
       251-276: the two-step estimate and its residual test.
    .. [2] Gatev, Goetzmann and Rouwenhorst (2006), "Pairs Trading", Review of Financial Studies
       19(3), 797-827: entry at two standard deviations.
    """

    needs: ClassVar[tuple[str, ...]] = ("close",)
    source: ClassVar[str] = (
        "Engle and Granger (1987), Econometrica 55(2), 251-276; "
        "Gatev, Goetzmann and Rouwenhorst (2006), Review of Financial Studies 19(3), 797-827"
    )

    first: str = Field(default="BTCUSDT", min_length=1, description="symbol that is explained")
    second: str = Field(default="ETHUSDT", min_length=1, description="symbol that explains it")
    entry_z: float = Field(
        default=2.0,
        gt=0,
        le=10,
        description="residual at which to enter, in standard deviations",
        json_schema_extra={"step": 0.1},
    )
    exit_z: float = Field(
        default=0.5,
        ge=0,
        le=10,
        description="residual within which to leave, in standard deviations",
        json_schema_extra={"step": 0.1},
    )
    stop_z: float = Field(
        default=4.0,
        gt=0,
        le=20,
        description="residual at which to give up, in standard deviations",
        json_schema_extra={"step": 0.1},
    )
    max_bars: int = Field(default=240, ge=1, le=10_000, description="time stop, in bars")
    size: float = Field(default=1.0, gt=0, le=1, description="sum of both legs' weights")
    max_p_value: float = Field(
        default=0.05, gt=0, le=1, description="largest p-value of the test that may trade"
    )
    hedge_ratio: float | None = Field(default=None, description="fitted slope of log prices")
    intercept: float | None = Field(default=None, description="fitted intercept of log prices")
    residual_std: float | None = Field(default=None, gt=0, description="of the fitted residual")
    p_value: float | None = Field(default=None, ge=0, le=1, description="of the residual test")

    @model_validator(mode="after")
    def _order(self) -> Self:
        if not self.exit_z < self.entry_z < self.stop_z:
            raise ValueError(
                f"exit_z ({self.exit_z}), entry_z ({self.entry_z}) and stop_z ({self.stop_z}) "
                "must rise in this order"
            )
        if self.first == self.second:
            raise ValueError(f"first and second are both {self.first}")
        return self

    @property
    def lookback(self) -> int:
        """One bar: the equilibrium is fitted."""
        return 1

    def fit(self, market: Market) -> Self:
        """Return the pair with hedge ratio, residual and p-value estimated on a market.

        Raises
        ------
        DataError
            If a symbol is missing, or fewer than 100 bars hold both prices.
        """
        from statsmodels.tsa.stattools import coint

        prices = np.log(market.select([self.first, self.second]).close.dropna().to_numpy())
        if len(prices) < _MIN_BARS:
            raise DataError(
                f"{self.first} and {self.second} share {len(prices)} bars.",
                f"Fit on a market in which at least {_MIN_BARS} bars hold both.",
            )
        y, x = prices[:, 0], prices[:, 1]
        slope, intercept = np.polyfit(x, y, 1)
        residual = y - intercept - slope * x
        # The residual of a fit needs MacKinnon's critical values, which coint uses.
        p_value = coint(y, x, trend="c", autolag="AIC", maxlag=24)[1]
        fitted = {
            "hedge_ratio": float(slope),
            "intercept": float(intercept),
            "residual_std": float(residual.std(ddof=2)),
            "p_value": float(p_value),
        }
        return type(self)(**{**self.model_dump(), **fitted})

    def features(self, market: Market) -> dict[str, pd.DataFrame]:
        """Return ``z``, the residual in standard deviations, of shape (n_bars, 1).

        Raises
        ------
        ModelError
            If the pair has not been fitted.
        """
        if self.hedge_ratio is None or self.intercept is None or self.residual_std is None:
            raise ModelError(
                f"The pair {self.first} and {self.second} is not fitted.",
                "Call pair = pair.fit(market) on bars before those that it trades.",
            )
        legs = np.log(market.select([self.first, self.second]).close.to_numpy())
        z = (legs[:, 0] - self.intercept - self.hedge_ratio * legs[:, 1]) / self.residual_std
        return {"z": pd.DataFrame({"z": z}, index=market.index)}

    def init(self) -> dict[str, Any]:
        """Return the state before the first bar: no stop has been hit."""
        return {"is_blocked": False}

    def step(
        self,
        state: dict[str, Any],
        row: Mapping[str, NDArray[np.float64]],
        held: Mapping[str, Held],
    ) -> tuple[dict[str, Any], Sequence[Intent]]:
        """Return what is wanted of both legs, in one group, or nothing."""
        z = float(row["z"][0])
        if np.isnan(z):
            return state, []
        first, second = held.get(self.first, FLAT), held.get(self.second, FLAT)
        if first.weight == 0 and second.weight == 0:
            is_blocked = bool(state["is_blocked"]) and abs(z) > self.exit_z
            opens = not is_blocked and self.entry_z <= abs(z) < self.stop_z and self._is_trusted()
            return {"is_blocked": is_blocked}, self._legs(-np.sign(z)) if opens else []
        if (first.weight == 0) != (second.weight == 0):
            return {"is_blocked": True}, self._legs(0.0)
        side = np.sign(first.weight)
        is_late = max(first.bars_held, second.bars_held) >= self.max_bars
        is_lost = -side * z >= self.stop_z
        if is_late or is_lost:
            return {"is_blocked": abs(z) > self.exit_z}, self._legs(0.0)
        return state, self._legs(0.0) if -side * z <= self.exit_z else []

    def _is_trusted(self) -> bool:
        return self.p_value is not None and self.p_value <= self.max_p_value

    def _legs(self, side: float) -> list[Intent]:
        slope = self.hedge_ratio or 0.0
        unit = self.size / (1.0 + abs(slope))
        group = f"{self.first}/{self.second}"
        return [
            Intent(self.first, float(side * unit), group=group),
            Intent(self.second, float(-side * slope * unit), group=group),
        ]
