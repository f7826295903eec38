"""A synthetic market in the shape of Bybit's: for work without a network, and for known answers.

Everything made here is labelled SYNTHETIC. The same seed gives the same bytes, and a symbol's own
draws do not depend on which others are asked for.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from hashlib import sha256
from pathlib import Path
from typing import Final

import numpy as np
import pandas as pd
import polars as pl
from numpy.typing import NDArray

from workbench.core.errors import DataError
from workbench.core.margin import tier_deduction
from workbench.core.records import YEAR, Instrument, Market, RiskTier, interval_delta, to_bar_start
from workbench.data.lake import BARS, Lake, Series

VERSION: Final = 1
VENUE: Final = "synthetic"

Floats = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Model:
    """The parameters of the synthetic market.

    Attributes
    ----------
    volatility : float
        Annual volatility of a typical symbol; each has its own between 0.8 and 1.6 times it.
    drift : float
        Expected log return per year: by luck alone a symbol ends far above or below it.
    common : float
        Correlation of two symbols' shocks through the common factor.
    tail : float
        Degrees of freedom of the Student-t shocks.
    arch, garch : float
        Weights of the last squared shock and of the last variance, per hour.
    calm_to_wild, wild_to_calm : float
        Chances per hour to change regime; ``wild`` is the volatility multiple while wild.
    jumps_a_year, jump_size : float
        Common jumps per year and the standard deviation of a jump's log return.
    trend, trend_hours : float
        A planted effect, none by default: each symbol has a hidden drift that reverts to zero
        within so many hours; ``trend`` is its standard deviation per hour over the volatility of
        an hour. Who knew its sign would have an annual Sharpe ratio of about 75 times it.
    """

    volatility: float = 0.55
    drift: float = 0.1
    common: float = 0.65
    tail: float = 4.0
    arch: float = 0.06
    garch: float = 0.92
    calm_to_wild: float = 1 / 600
    wild_to_calm: float = 1 / 120
    wild: float = 2.0
    jumps_a_year: float = 12.0
    jump_size: float = 0.04
    premium_hours: float = 12.0
    premium_scale: float = 3e-4
    funding_interval_min: int = 480
    trend: float = 0.0
    trend_hours: float = 240.0


PRICES: Final = {
    "BTCUSDT": 40_000.0, "ETHUSDT": 2_500.0, "SOLUSDT": 100.0, "XRPUSDT": 0.6, "BNBUSDT": 300.0,
    "ADAUSDT": 0.5, "DOGEUSDT": 0.09, "LTCUSDT": 80.0, "AVAXUSDT": 35.0, "LINKUSDT": 15.0,
}  # fmt: skip


def synthesise(
    symbols: Sequence[str],
    *,
    interval: str = "60",
    start: datetime | None = None,
    end: datetime | None = None,
    n_bars: int | None = None,
    seed: int = 0,
    model: Model | None = None,
) -> Market:
    """Return a synthetic market of any symbols, interval and length.

    Log returns have a common factor and a part of their own, each a GARCH(1,1) [1]_ with Student-t
    shocks [2]_, a volatility that switches between calm and wild [3]_, and common jumps. Bars are
    made of eight steps of a Brownian bridge at the bar's volatility. The premium reverts to its
    mean and rises with recent returns; funding follows it by Bybit's formula.

    Parameters
    ----------
    symbols : sequence of str
    interval : str, default="60"
        Bybit name of the bar length.
    start, end : datetime, optional
        First bar's start and last ``known_at``, UTC-aware; ``start`` defaults to 2023-01-01.
    n_bars : int, optional
        Length, in place of ``end``; a year where neither is given.
    seed : int, default=0
    model : Model, optional

    Returns
    -------
    Market
        ``is_synthetic``, with instruments; its ``snapshot_id`` is the hash of everything above.

    References
    ----------
    .. [1] Bollerslev (1986), "Generalized autoregressive conditional heteroskedasticity", Journal
       of Econometrics 31(3), 307-327.
    .. [2] Bollerslev (1987), "A conditionally heteroskedastic time series model for speculative
       prices and rates of return", Review of Economics and Statistics 69(3), 542-547.
    .. [3] Hamilton (1989), "A new approach to the economic analysis of nonstationary time series",
       Econometrica 57(2), 357-384.
    """
    model = model or Model()
    length = interval_delta(interval)
    first = (start or datetime(2023, 1, 1, tzinfo=UTC)).astimezone(UTC)
    if n_bars is None:
        n_bars = int(((end or first + YEAR) - first) / length)
    if n_bars < 2 or not symbols or len(set(symbols)) < len(symbols):
        raise DataError(
            f"A synthetic market of {n_bars} bars and the symbols {list(symbols)} cannot be made.",
            "Give at least two bars and each symbol once.",
        )
    index = pd.date_range(first + length, periods=n_bars, freq=length, name="known_at")
    hours = length / timedelta(hours=1)
    state = _Path(model, hours, n_bars, np.random.default_rng([seed, VERSION]))
    columns = {symbol: _symbol(symbol, state, index, seed=seed) for symbol in symbols}
    frames = {
        name: pd.DataFrame({symbol: columns[symbol][name] for symbol in symbols}, index=index)
        for name in columns[symbols[0]]
    }
    recipe = {
        "version": VERSION, "symbols": list(symbols), "interval": interval, "n_bars": n_bars,
        "start": first.isoformat(), "seed": seed, "model": asdict(model),
    }  # fmt: skip
    return Market.from_frames(
        frames,
        interval=interval,
        instruments={symbol: _instrument(symbol, model) for symbol in symbols},
        snapshot_id=sha256(json.dumps(recipe, sort_keys=True).encode()).hexdigest(),
        is_synthetic=True,
        is_planted=model.trend != 0,
    )


def write_market(market: Market, lake: Path | Lake) -> None:
    """Write a synthetic market into the lake, under a venue of its own."""
    lake = lake if isinstance(lake, Lake) else Lake(lake)
    if not market.is_synthetic:
        raise DataError("The market is not synthetic.", "Real data come by pull or import.")
    interval = market.interval
    for symbol in market.symbols:
        bars = _rows(market, symbol, [*BARS, "volume", "turnover"], to_start=True)
        lake.write(Series("kline", symbol, interval, VENUE), bars)
        mark = _rows(market, symbol, [f"mark_{name}" for name in BARS], to_start=True)
        mark = mark.rename({f"mark_{name}": name for name in BARS})
        lake.write(Series("mark", symbol, interval, VENUE), mark)
        funding = _rows(market, symbol, ["funding_settled"]).rename({"funding_settled": "rate"})
        lake.write(Series("funding", symbol, venue=VENUE), funding)
        lake.write(
            Series("open_interest", symbol, interval, VENUE),
            _rows(market, symbol, ["open_interest"]),
        )
    lake.write_instruments(list(market.instruments.values()), venue=VENUE)


class _Path:
    """What all symbols share: the regime, the common factor and the jumps."""

    def __init__(self, model: Model, hours: float, n_bars: int, rng: np.random.Generator) -> None:
        self.model, self.hours, self.n_bars = model, hours, n_bars
        self.regime = self._regimes(rng)
        self.factor = self.shocks(rng)
        chance = model.jumps_a_year * hours / 8760
        size = rng.normal(0.0, model.jump_size, n_bars)
        self.jumps = np.where(rng.random(n_bars) < chance, size, 0.0)

    def _regimes(self, rng: np.random.Generator) -> Floats:
        to_wild = min(self.model.calm_to_wild * self.hours, 0.5)
        to_calm = min(self.model.wild_to_calm * self.hours, 0.5)
        is_wild = np.zeros(self.n_bars, dtype=bool)
        at, wild = 0, False
        while at < self.n_bars:
            stay = int(rng.geometric(to_calm if wild else to_wild))
            is_wild[at : at + stay] = wild
            at, wild = at + stay, not wild
        # The average variance over both regimes is that of the model.
        share = to_wild / (to_wild + to_calm)
        calm = float(1.0 / np.sqrt(1.0 - share + share * self.model.wild**2))
        return np.where(is_wild, self.model.wild * calm, calm)

    def shocks(self, rng: np.random.Generator) -> Floats:
        """Return shocks of unit variance with GARCH volatility: scaled to the bar's length."""
        tail = self.model.tail
        draws = rng.standard_t(tail, self.n_bars) / np.sqrt(tail / (tail - 2))
        # Persistence is given per hour; the share of news in it stays the same.
        persistence = (self.model.arch + self.model.garch) ** self.hours
        arch = persistence * self.model.arch / (self.model.arch + self.model.garch)
        garch = persistence - arch
        base = 1.0 - persistence
        shocks = draws.tolist()
        variance = 1.0
        for i, draw in enumerate(shocks):
            shocks[i] = draw * variance**0.5
            variance = min(base + (arch * draw * draw + garch) * variance, 50.0)
        return np.asarray(shocks)


def _symbol(symbol: str, path: _Path, index: pd.DatetimeIndex, *, seed: int) -> dict[str, Floats]:
    name = int.from_bytes(sha256(symbol.encode()).digest()[:8], "big")
    rng = np.random.default_rng([seed, VERSION, name])
    model, hours, n = path.model, path.hours, path.n_bars
    scale = model.volatility * rng.uniform(0.8, 1.6) * np.sqrt(hours / 8760)
    own = path.shocks(rng)
    mixed = np.sqrt(model.common) * path.factor + np.sqrt(1 - model.common) * own
    volatility = scale * path.regime
    returns = volatility * mixed + path.jumps + model.drift * hours / 8760
    if model.trend:
        # A stream of its own: the draws of the market without the effect stay as they are.
        hidden = _trend(np.random.default_rng([seed, VERSION, name, 1]), n, hours, model)
        returns = returns + model.trend * scale * np.sqrt(hours) * hidden
    first = PRICES.get(symbol, float(np.exp(rng.uniform(np.log(0.05), np.log(50.0)))))
    close = first * np.exp(np.cumsum(returns))
    opened = np.concatenate([[first], close[:-1]])
    high, low = _extremes(rng, opened, close, np.maximum(np.abs(mixed), 0.5) * volatility)
    tick = float(_tick(first))
    activity = np.exp(0.7 * np.log(np.maximum(np.abs(mixed), 0.05)) + rng.normal(0, 0.4, n))
    of_day = index.hour.to_numpy() + index.minute.to_numpy() / 60
    season = 1.0 + 0.35 * np.sin((of_day - 9.0) * np.pi / 12)
    turnover = 5e6 * hours * activity * season
    premium = _premium(rng, returns / scale, hours, model)
    basis = 1.0 + premium * 0.5
    bars = {
        "open": opened, "high": high, "low": low, "close": close,
        "mark_open": opened * np.concatenate([[1.0], basis[:-1]]), "mark_close": close * basis,
    }  # fmt: skip
    bars = {key: np.round(value / tick) * tick for key, value in bars.items()}
    over = np.maximum(bars["high"] - np.maximum(bars["open"], bars["close"]), 0.0)
    under = np.maximum(np.minimum(bars["open"], bars["close"]) - bars["low"], 0.0)
    # The mark is smoother than the last price: its extremes reach less far.
    for prefix, reach in (("", 1.0), ("mark_", 0.9)):
        both = bars[f"{prefix}open"], bars[f"{prefix}close"]
        bars[f"{prefix}high"] = np.maximum(*both) + reach * over
        bars[f"{prefix}low"] = np.maximum(np.minimum(*both) - reach * under, tick)
    settled, predicted = _funding(premium, index, model)
    interest = np.exp(np.cumsum(rng.normal(0, 0.01 * np.sqrt(hours), n)) * 0.3)
    return bars | {
        "volume": turnover / close,
        "turnover": turnover,
        "funding_settled": settled,
        "funding_predicted": predicted,
        "open_interest": 2e8 / first * interest,
    }


def _trend(rng: np.random.Generator, n: int, hours: float, model: Model) -> Floats:
    # An autoregression of unit variance.
    keep = float(np.exp(-hours / model.trend_hours))
    news = rng.standard_normal(n) * np.sqrt(1.0 - keep * keep)
    level, walk = float(rng.standard_normal()), news.tolist()
    for i, step in enumerate(walk):
        level = walk[i] = keep * level + step
    return np.asarray(walk)


def _extremes(
    rng: np.random.Generator, opened: Floats, close: Floats, volatility: Floats, steps: int = 8
) -> tuple[Floats, Floats]:
    # A Brownian bridge of log prices from open to close.
    n = len(close)
    draws = rng.standard_normal((n, steps)) * (volatility / np.sqrt(steps))[:, None]
    walk = np.cumsum(draws, axis=1)
    share = np.arange(1, steps + 1) / steps
    drift = np.log(close / opened)[:, None] * share
    bridge = walk - walk[:, -1:] * share + drift
    over = np.maximum(bridge.max(axis=1), 0.0)
    under = np.minimum(bridge.min(axis=1), 0.0)
    return opened * np.exp(over), opened * np.exp(under)


def _premium(rng: np.random.Generator, shocks: Floats, hours: float, model: Model) -> Floats:
    # Buyers who chase a rise pay a premium: it reverts, and moves with the returns just seen.
    keep = float(np.exp(-hours / model.premium_hours))
    noise = rng.standard_normal(len(shocks))
    news = model.premium_scale * np.sqrt(1 - keep**2) * (0.6 * np.clip(shocks, -5, 5) + 0.8 * noise)
    premium = news.tolist()
    level = 0.0
    for i, step in enumerate(premium):
        level = keep * level + step
        premium[i] = level
    return np.asarray(premium) + 1e-4


def _funding(premium: Floats, index: pd.DatetimeIndex, model: Model) -> tuple[Floats, Floats]:
    from workbench.data.frames import predict_funding

    known = index.as_unit("us").asi8
    step = int((index[1] - index[0]) / pd.Timedelta(1, unit="us"))
    window = model.funding_interval_min * 60_000_000
    minutes = model.funding_interval_min
    if window <= step:
        rates = 3e-4 * minutes / 1440 + 0 * premium
        count = step // window
        return rates * count, rates
    predicted = predict_funding(premium, known, step, minutes=minutes, cap=0.005)
    return np.where(known % window == 0, predicted, np.nan), predicted


def _rows(
    market: Market, symbol: str, names: Sequence[str], *, to_start: bool = False
) -> pl.DataFrame:
    table = pd.DataFrame({name: getattr(market, name)[symbol] for name in names})
    if to_start:
        table = to_bar_start(table, market.interval)
    table = table.dropna()
    stamps = pl.Series(pd.DatetimeIndex(table.index).as_unit("us").asi8)
    time = stamps.cast(pl.Datetime("us")).dt.replace_time_zone("UTC")
    return pl.DataFrame({"time": time, **{n: table[n].to_numpy() for n in names}})


def _tick(price: float) -> Decimal:
    return Decimal(1).scaleb(int(np.floor(np.log10(price))) - 4)


def _instrument(symbol: str, model: Model) -> Instrument:
    price = PRICES.get(symbol, 1.0)
    step = Decimal(1).scaleb(-int(np.floor(np.log10(max(price, 1e-6)))) - (0 if price >= 1 else 1))
    rates = (
        ("0.005", 2_000_000),
        ("0.01", 10_000_000),
        ("0.02", 30_000_000),
        ("0.05", 100_000_000),
    )
    tiers: list[RiskTier] = []
    for rate, limit in rates:
        own = Decimal(rate)
        deduction = (
            tier_deduction(
                tiers[-1].deduction_usdt, tiers[-1].limit_usdt, tiers[-1].maintenance_rate, own
            )
            if tiers
            else Decimal(0)
        )
        tiers.append(RiskTier(Decimal(limit), own, 2 * own, 1 / (2 * own), deduction))
    return Instrument(
        symbol=symbol,
        tick_size=_tick(price),
        qty_step=min(step, Decimal(1)),
        min_qty=min(step, Decimal(1)),
        max_qty=Decimal(10_000_000),
        max_market_qty=Decimal(5_000_000),
        min_notional_usdt=Decimal(5),
        max_leverage=Decimal(100),
        funding_interval_min=model.funding_interval_min,
        tiers=tuple(tiers),
    )
