"""Public market data: instruments, candles, rates, quotes, books, trades, limits, notices."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime
from decimal import Decimal
from typing import Final

from workbench.core.errors import DataError
from workbench.core.records import Instrument, RiskTier, interval_delta
from workbench.exchange import records
from workbench.exchange.client.caller import Caller, windows
from workbench.exchange.instruments import parse_instrument, parse_tiers
from workbench.exchange.records import Candle, Stamp
from workbench.exchange.requests import CATEGORY
from workbench.exchange.wire import to_millis

OI_INTERVALS: Final[Mapping[str, str]] = {
    "5": "5min",
    "15": "15min",
    "30": "30min",
    "60": "1h",
    "240": "4h",
    "D": "1d",
}
"""Open interest is served at these steps, under names of its own."""
_CANDLES: Final = {
    "kline": "get_kline",
    "mark": "get_mark_price_kline",
    "index": "get_index_price_kline",
    "premium": "get_premium_index_price_kline",
}


class MarketReads(Caller):
    """What anybody may ask."""

    def instruments(self, symbols: Sequence[str] | None = None) -> list[Instrument]:
        """Return linear USDT perpetuals with their margin tiers.

        Raises
        ------
        DataError
            If a symbol does not exist; the message names the nearest ones.
        """
        from difflib import get_close_matches

        rows = {
            row["symbol"]: row
            for row in self._pages("get_instruments_info", category=CATEGORY, limit=1000)
            if row["contractType"] == "LinearPerpetual" and row.get("settleCoin") == "USDT"
        }
        wanted = list(rows) if symbols is None else list(symbols)
        for symbol in wanted:
            if symbol not in rows:
                near = get_close_matches(symbol, rows, n=3)
                raise DataError(
                    f"The exchange has no perpetual {symbol}.",
                    f"Did you mean {' or '.join(near)}?" if near else "Names end in USDT.",
                )
        return [parse_instrument(rows[symbol], self.risk_limits(symbol)) for symbol in wanted]

    def risk_limits(self, symbol: str) -> tuple[RiskTier, ...]:
        """Return the margin tiers of a symbol, smallest first."""
        return parse_tiers(self._pages("get_risk_limit", category=CATEGORY, symbol=symbol))

    def klines(
        self,
        symbol: str,
        interval: str,
        start: datetime,
        end: datetime,
        *,
        kind: str = "kline",
    ) -> Iterator[list[Candle]]:
        """Yield pages of the bars with ``start <= bar start < end``, the earliest page first.

        ``kind`` is ``kline``, ``mark``, ``index`` or ``premium``; the last three carry no volume.
        A page may hold the bar in progress: the caller knows the time.
        """
        for low, high in windows(start, end, interval_delta(interval) * 1000):
            result = self._read(
                _CANDLES[kind], category=CATEGORY, symbol=symbol, interval=interval,
                start=to_millis(low), end=to_millis(high) - 1, limit=1000,
            )  # fmt: skip
            yield [records.parse_candle(row) for row in reversed(result["list"])]

    def funding(self, symbol: str, start: datetime, end: datetime) -> Iterator[list[Stamp]]:
        """Yield pages of the rates settled in ``start <= time < end``, the latest page first."""
        last = to_millis(end) - 1
        while last >= to_millis(start):
            # A start alone is refused: both are always given.
            result = self._read(
                "get_funding_rate_history", category=CATEGORY, symbol=symbol,
                startTime=to_millis(start), endTime=last, limit=200,
            )  # fmt: skip
            page = sorted(
                Stamp(int(row["fundingRateTimestamp"]), Decimal(row["fundingRate"]))
                for row in result["list"]
            )
            if not page:
                return
            yield page
            last = page[0].time_ms - 1

    def open_interest(
        self, symbol: str, interval: str, start: datetime, end: datetime
    ) -> Iterator[list[Stamp]]:
        """Yield pages of open interest in base coin for ``start <= time < end``, latest first.

        Raises
        ------
        DataError
            If the exchange does not serve the step.
        """
        if interval not in OI_INTERVALS:
            raise DataError(
                f"Open interest is not served every {interval}.",
                f"Use one of {', '.join(OI_INTERVALS)}.",
            )
        pages = self._raw_pages(
            "get_open_interest", category=CATEGORY, symbol=symbol, limit=200,
            intervalTime=OI_INTERVALS[interval],
            startTime=to_millis(start), endTime=to_millis(end) - 1,
        )  # fmt: skip
        for rows in pages:
            yield sorted(Stamp(int(r["timestamp"]), Decimal(r["openInterest"])) for r in rows)

    def tickers(self, symbol: str | None = None) -> list[records.Ticker]:
        """Return the last state of a symbol, or of all."""
        result = self._read("get_tickers", category=CATEGORY, symbol=symbol)
        return [records.parse_ticker(row) for row in result["list"]]

    def book(self, symbol: str, *, depth: int = 50) -> records.Book:
        """Return the book of a symbol down to so many levels (1000 at most)."""
        result = self._read("get_orderbook", category=CATEGORY, symbol=symbol, limit=depth)
        return records.parse_book(result)

    def trades(self, symbol: str, *, limit: int = 1000) -> list[records.PublicTrade]:
        """Return the last trades of a symbol, oldest first."""
        result = self._read(
            "get_public_trade_history", category=CATEGORY, symbol=symbol, limit=limit
        )
        return [records.parse_trade(row) for row in reversed(result["list"])]

    def price_limit(self, symbol: str) -> records.PriceLimit:
        """Return the highest purchase and the lowest sale that are taken now."""
        return records.parse_price_limit(
            self._read("get_price_limit", category=CATEGORY, symbol=symbol)
        )

    def adl_alerts(self, symbol: str | None = None) -> list[records.AdlAlert]:
        """Return how near the exchange is to reducing positions, by symbol."""
        result = self._read("get_adl_alert", symbol=symbol)
        return [records.parse_adl_alert(row) for row in result["list"]]

    def insurance(self, coin: str = "USDT") -> list[records.InsurancePool]:
        """Return what insures each group of symbols."""
        result = self._read("get_insurance", coin=coin)
        return [records.parse_insurance(row) for row in result["list"]]

    def maintenance(self) -> list[records.Maintenance]:
        """Return the interruptions that the exchange has announced, the ended ones too."""
        return [records.parse_maintenance(row) for row in self._read("get_system_status")["list"]]
