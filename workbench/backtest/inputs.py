"""What the kernel reads, made once from a market, costs and an account."""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import timedelta
from typing import Final

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from workbench.backtest import kernel
from workbench.core.costs import BASIS_POINT, Costs
from workbench.core.errors import DataError, ModelError
from workbench.core.records import Account, Market, to_float
from workbench.risk.margin import stack_tiers
from workbench.strategies.base import Brackets, Strategy

Floats = NDArray[np.float64]
DAY: Final = timedelta(days=1)


@dataclass(frozen=True, slots=True)
class Realism:
    """Which layers of reality a backtest contains; all of them unless a waterfall peels them."""

    next_open: bool = True
    fees: bool = True
    spread: bool = True
    latency: bool = True
    funding: bool = True
    rounding: bool = True
    liquidation: bool = True


_NAIVE: Final = Realism(
    next_open=False,
    fees=False,
    spread=False,
    latency=False,
    funding=False,
    rounding=False,
    liquidation=False,
)
_NAMES: Final = {
    "next_open": "next-open fills",
    "fees": "fees",
    "spread": "spread and slippage",
    "latency": "latency",
    "funding": "funding",
    "rounding": "rounding",
    "liquidation": "liquidation",
}
LAYERS: Final = {"close fills": _NAIVE} | {
    title: replace(_NAIVE, **dict.fromkeys(list(_NAMES)[: k + 1], True))
    for k, title in enumerate(_NAMES.values())
}
"""The realism waterfall: each row adds one layer to the one above it."""


@dataclass(frozen=True, slots=True)
class Inputs:
    """The arrays that ``kernel.simulate`` reads, and what could not be simulated."""

    bars: Floats
    finer: Floats
    finer_first: NDArray[np.int64]
    spec: Floats
    tiers: Floats
    rules: Floats
    capital_usdt: float
    notes: tuple[str, ...]


def build_inputs(
    market: Market, *, costs: Costs, account: Account, realism: Realism | None = None
) -> Inputs:
    """Return the kernel's arrays for a market.

    Raises
    ------
    DataError
        If the market is empty, the latency is as long as a bar, or impact is asked for without
        traded values.
    """
    if market.n_bars < 2:
        raise DataError(
            f"The market holds {market.n_bars} bars.", "Load more: a fill needs the next bar."
        )
    finer, finer_first = _finer_bars(market)
    bars = _bars(market, costs=costs)
    bars[:, :, kernel.FILL] = _fill_prices(market, bars, finer, finer_first, costs=costs)
    spec, tiers, lacking = _instruments(market, account=account)
    notes = []
    if lacking:
        notes.append(
            f"no instrument data for {', '.join(lacking)}: no rounding, no minimum notional, and "
            "liquidation only when nothing is left"
        )
    if market.mark_is_last:
        notes.append("mark prices are missing in part: the last price stands in")
    if costs.has_funding and bool(market.funding_settled.isna().all().any()):
        bare = market.funding_settled.columns[market.funding_settled.isna().all()]
        notes.append(f"no funding rates for {', '.join(bare)}: none is charged")
    if lacking:
        spec = np.zeros_like(spec)
    rules = np.zeros(kernel.N_RULES)
    rules[kernel.TAKER] = costs.taker_fee_bps * BASIS_POINT
    rules[kernel.MAKER] = costs.maker_fee_bps * BASIS_POINT
    rules[kernel.LEVERAGE] = account.leverage
    rules[kernel.MARGIN_LEVERAGE] = account.margin_leverage
    rules[kernel.BAND] = np.inf
    rules[kernel.HAS_MARGIN] = 1.0
    rules[kernel.IS_ISOLATED] = float(account.is_isolated)
    whole = Inputs(bars, finer, finer_first, spec, tiers, rules, account.capital_usdt, tuple(notes))
    return whole if realism is None else peel(whole, realism)


def peel(inputs: Inputs, realism: Realism) -> Inputs:
    """Return a copy of inputs without the layers of reality that are left out."""
    bars, spec, rules = inputs.bars.copy(), inputs.spec.copy(), inputs.rules.copy()
    opened = bars[:, :, kernel.OPEN]
    if not realism.next_open:
        naive = np.vstack([opened[:1], bars[:-1, :, kernel.CLOSE]])
        bars[:, :, kernel.FILL] = np.where(np.isnan(opened), np.nan, naive)
    elif not realism.latency:
        bars[:, :, kernel.FILL] = opened
    if not realism.fees:
        rules[[kernel.TAKER, kernel.MAKER]] = 0.0
    if not realism.spread:
        bars[:, :, [kernel.SLIP, kernel.IMPACT]] = 0.0
    if not realism.funding:
        bars[:, :, kernel.FUNDING] = 0.0
    if not realism.rounding:
        spec[:] = 0.0
    if not realism.liquidation:
        rules[kernel.HAS_MARGIN] = 0.0
    return replace(inputs, bars=bars, spec=spec, rules=rules)


def build_brackets(strategy: Strategy, market: Market) -> Floats:
    """Return a strategy's protective distances, of shape (n_bars or 1, n_symbols, 3)."""
    brackets = strategy.brackets(market)
    if brackets is None:
        brackets = Brackets()
    distances = (brackets.stop_loss, brackets.take_profit, brackets.trailing)
    has_frame = any(isinstance(distance, pd.DataFrame) for distance in distances)
    rows = market.n_bars if has_frame else 1
    table = np.full((rows, len(market.symbols), kernel.N_BRACKETS), np.nan)
    for k, distance in enumerate(distances):
        if isinstance(distance, pd.DataFrame):
            table[:, :, k] = check_frame(distance, market, f"bracket {k}").to_numpy()
        elif distance is not None:
            table[:, :, k] = distance
    if (table <= 0).any():
        raise ModelError(
            f"{type(strategy).__name__} asks for a bracket at no distance from the entry.",
            "Distances are positive fractions of the entry price; use None or NaN for no bracket.",
        )
    return table


def check_frame(frame: pd.DataFrame, market: Market, name: str) -> pd.DataFrame:
    """Return a strategy's frame if it has the market's rows and symbols, else say what differs."""
    if frame.shape != market.close.shape or not (
        frame.index.equals(market.index) and list(frame.columns) == market.symbols
    ):
        raise ModelError(
            f"The {name} of a strategy has shape {frame.shape}, the market {market.close.shape}.",
            "Return one row for each known_at and one column for each symbol, in their order.",
        )
    return frame


def day_ends(index: pd.DatetimeIndex) -> tuple[pd.DatetimeIndex, NDArray[np.int64]]:
    """Return every UTC day from the first bar to the last, and the row of the last bar by its end.

    A bar that closes at midnight belongs to the day that ends there; a day without bars repeats
    the row before, so that nothing happens on it.
    """
    tick = pd.Timedelta(1, unit="us")
    days = pd.date_range((index[0] - tick).floor("D"), (index[-1] - tick).floor("D"), freq="D")
    rows = index.searchsorted(days + DAY, side="right") - 1
    return days.rename("day"), rows.astype(np.int64)


def traded_a_day(market: Market) -> pd.DataFrame:
    """Return the value traded over the trailing day at each bar; NaN where none is known."""
    bars_a_day = max(2, round(DAY / market.bar_length))
    value = market.turnover.where(market.turnover.notna(), market.volume * market.close)
    return value.rolling(bars_a_day, min_periods=1).sum()


def _bars(market: Market, *, costs: Costs) -> Floats:
    bars = np.zeros((market.n_bars, len(market.symbols), kernel.N_BARS))
    for column, frame in (
        (kernel.OPEN, market.open),
        (kernel.HIGH, market.high),
        (kernel.LOW, market.low),
        (kernel.CLOSE, market.close.ffill()),
    ):
        bars[:, :, column] = frame.to_numpy()
    mark = market.mark_close.ffill()
    bars[:, :, kernel.MARK_CLOSE] = mark.to_numpy()
    bars[:, :, kernel.MARK_HIGH] = market.mark_high.where(market.mark_high.notna(), mark).to_numpy()
    bars[:, :, kernel.MARK_LOW] = market.mark_low.where(market.mark_low.notna(), mark).to_numpy()
    if costs.has_funding:
        bars[:, :, kernel.FUNDING] = np.nan_to_num(market.funding_settled.to_numpy())
    bars[:, :, kernel.SLIP] = (costs.spread_bps / 2 + costs.slippage_bps) * BASIS_POINT
    if costs.impact > 0:
        bars[:, :, kernel.IMPACT] = _impact(market, costs.impact)
    return bars


def _impact(market: Market, coefficient: float) -> Floats:
    # Volatility and traded value of the trailing day, as known when the order was decided.
    bars_a_day = max(2, round(DAY / market.bar_length))
    traded = traded_a_day(market)
    returns = market.close.pct_change(fill_method=None)
    volatility = returns.rolling(bars_a_day, min_periods=2).std() * np.sqrt(bars_a_day)
    scaled = (coefficient * volatility / np.sqrt(traded)).shift(1)
    is_gap = scaled.isna() & market.close.shift(3).notna()
    if bool(is_gap.to_numpy().any()) or np.isinf(scaled.to_numpy()).any():
        raise DataError(
            "Impact needs the value traded over the trailing day, and it is missing or zero.",
            "Load bars with turnover or volume, or set impact to 0.",
        )
    return np.asarray(np.nan_to_num(scaled.to_numpy()), dtype=np.float64)


def _finer_bars(market: Market) -> tuple[Floats, NDArray[np.int64]]:
    finer = [m for m in market.others.values() if m.bar_length < market.bar_length]
    n_bars, n_symbols = market.n_bars, len(market.symbols)
    if not finer:
        return np.zeros((0, n_symbols, kernel.N_FINER)), np.zeros(n_bars + 1, dtype=np.int64)
    fine = min(finer, key=lambda m: m.bar_length).select(market.symbols)
    owner = market.index.searchsorted(fine.index, side="left")
    is_inside = owner < n_bars
    is_inside[is_inside] &= fine.index[is_inside] > (
        market.index[owner[is_inside]] - market.bar_length
    )
    frames = (fine.open, fine.high, fine.low, fine.close)
    table = np.stack([frame.to_numpy()[is_inside] for frame in frames], axis=-1)
    first = np.searchsorted(owner[is_inside], np.arange(n_bars + 1)).astype(np.int64)
    return np.ascontiguousarray(table), first


def _fill_prices(
    market: Market,
    bars: Floats,
    finer: Floats,
    finer_first: NDArray[np.int64],
    *,
    costs: Costs,
) -> Floats:
    opened = bars[:, :, kernel.OPEN]
    if costs.latency_s == 0:
        return opened
    share = costs.latency_s / market.bar_length.total_seconds()
    if share >= 1:
        raise DataError(
            f"A latency of {costs.latency_s} s does not end within a bar of {market.interval}.",
            "Use longer bars or a smaller latency_s.",
        )
    # The expected price at that moment of a path from open to close (a Brownian bridge).
    price = opened + (bars[:, :, kernel.CLOSE] - opened) * share
    counts = np.diff(finer_first)
    row = (share * counts).astype(np.int64)
    rest = share * counts - row
    has_finer = counts > 0
    j = (finer_first[:-1] + row)[has_finer]
    first = finer[j, :, kernel.FINER_OPEN]
    inside = first + (finer[j, :, kernel.FINER_CLOSE] - first) * rest[has_finer][:, None]
    price[has_finer] = np.where(np.isnan(inside), price[has_finer], inside)
    return price


def _instruments(market: Market, *, account: Account) -> tuple[Floats, Floats, list[str]]:
    lacking = [
        symbol
        for symbol in market.symbols
        if symbol not in market.instruments or not market.instruments[symbol].tiers
    ]
    known = [s for s, symbol in enumerate(market.symbols) if symbol not in lacking]
    stacked = stack_tiers(market.instruments, [market.symbols[s] for s in known])
    spec = np.zeros((len(market.symbols), kernel.N_SPEC))
    tiers = np.zeros((len(market.symbols), stacked.limit.shape[1], kernel.N_TIERS))
    tiers[:, :, kernel.TIER_LIMIT] = np.inf
    tiers[:, :, kernel.TIER_LEVERAGE] = account.margin_leverage
    tiers[known] = np.stack(stacked, axis=-1)
    for s in known:
        instrument = market.instruments[market.symbols[s]]
        spec[s] = [
            to_float(instrument.tick_size),
            to_float(instrument.qty_step),
            to_float(instrument.min_qty),
            to_float(instrument.max_market_qty),
            to_float(instrument.min_notional_usdt),
        ]
    return spec, tiers, lacking
