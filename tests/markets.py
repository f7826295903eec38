"""Small markets and strategies with known answers, for the tests."""

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any, ClassVar

import numpy as np
import pandas as pd

from workbench.core.records import Instrument, Market, RiskTier, interval_delta
from workbench.strategies.base import Brackets, Strategy


def make_instrument(symbol: str = "AAAUSDT", **changes: Any) -> Instrument:
    """An instrument with a lot of 0.001, a tick of 0.1, a minimum of 5 USDT and two tiers."""
    fields = {
        "symbol": symbol,
        "tick_size": Decimal("0.1"),
        "qty_step": Decimal("0.001"),
        "min_qty": Decimal("0.001"),
        "max_qty": Decimal(10_000),
        "max_market_qty": Decimal(5_000),
        "min_notional_usdt": Decimal(5),
        "max_leverage": Decimal(100),
        "funding_interval_min": 480,
        "tiers": (
            RiskTier(Decimal(100_000), Decimal("0.01"), Decimal("0.02"), Decimal(50), Decimal(0)),
            RiskTier(
                Decimal(1_000_000), Decimal("0.02"), Decimal("0.04"), Decimal(25), Decimal(1_000)
            ),
        ),
    }
    return Instrument(**(fields | changes))


def make_index(n_bars: int, interval: str = "60") -> pd.DatetimeIndex:
    """Known-at stamps from 2024-01-01 on."""
    length = interval_delta(interval)
    return pd.date_range(datetime(2024, 1, 1, tzinfo=UTC) + length, periods=n_bars, freq=length)


def make_market(
    *,
    interval: str = "60",
    symbols: Sequence[str] = ("AAAUSDT",),
    instruments: Mapping[str, Instrument] | None = None,
    others: Mapping[str, Market] | None = None,
    **columns: Sequence[float] | np.ndarray,
) -> Market:
    """A market of one symbol from lists, or of several from arrays of shape (n_bars, n_symbols)."""
    n_bars = len(columns["close"])
    index = make_index(n_bars, interval)
    frames = {
        name: pd.DataFrame(
            np.asarray(values, dtype=float).reshape(n_bars, len(symbols)),
            index=index,
            columns=list(symbols),
        )
        for name, values in columns.items()
    }
    return Market.from_frames(
        frames, interval=interval, instruments=instruments, others=others, snapshot_id="test"
    )


def random_market(
    seed: int,
    *,
    n_bars: int = 300,
    n_symbols: int = 2,
    interval: str = "60",
    volatility: float = 0.01,
    with_instruments: bool = True,
) -> Market:
    """A market of random walks with funding every eight hours and marks of their own."""
    rng = np.random.default_rng(seed)
    symbols = [f"{chr(65 + s) * 3}USDT" for s in range(n_symbols)]
    path = rng.normal(0, volatility, (n_bars, n_symbols)).cumsum(axis=0)
    close = 100 * np.exp(path)
    open_ = np.vstack([np.full((1, n_symbols), 100.0), close[:-1]])
    spread = np.abs(rng.normal(0, volatility / 2, (2, n_bars, n_symbols)))
    high = np.maximum(open_, close) * (1 + spread[0])
    low = np.minimum(open_, close) * (1 - spread[1])
    basis = 1 + rng.normal(0, volatility / 20, (n_bars, n_symbols))
    funding = np.full((n_bars, n_symbols), np.nan)
    funding[7::8] = rng.normal(1e-4, 2e-4, funding[7::8].shape)
    return make_market(
        interval=interval,
        symbols=symbols,
        instruments={s: make_instrument(s) for s in symbols} if with_instruments else None,
        open=open_,
        high=high,
        low=low,
        close=close,
        turnover=rng.uniform(1e5, 1e6, close.shape),
        mark_open=open_ * basis,
        mark_high=high * basis,
        mark_low=low * basis,
        mark_close=close * basis,
        funding_settled=funding,
    )


class Scripted(Strategy):
    """A strategy whose weights and brackets are given, by row."""

    needs: ClassVar[tuple[str, ...]] = ("close",)
    script: list[list[float]]
    stop_loss: float | None = None
    take_profit: float | None = None
    trailing: float | None = None
    rebalance_band: float = float("inf")

    @property
    def lookback(self) -> int:
        """One row."""
        return 1

    def weights(self, market: Market) -> pd.DataFrame:
        """The script, cut or continued with NaN to the market's length."""
        table = np.full(market.close.shape, np.nan)
        rows = np.asarray(self.script, dtype=float).reshape(len(self.script), -1)[: len(table)]
        table[: len(rows)] = rows
        return pd.DataFrame(table, index=market.index, columns=market.symbols)

    def brackets(self, market: Market) -> Brackets:
        """The distances given."""
        return Brackets(self.stop_loss, self.take_profit, self.trailing)


def scripted(weights: Sequence[Any], **fields: Any) -> Scripted:
    """A scripted strategy from a list of weights (None keeps)."""
    rows = [w if isinstance(w, (list, tuple)) else [w] for w in weights]
    script = [[float("nan") if x is None else float(x) for x in row] for row in rows]
    return Scripted(script=script, **fields)
