"""The one client of Bybit's V5 REST interface, on pybit: public market data.

pybit builds paths and reads replies; it is never left to wait or to send again by itself. What a
refusal means is decided here, and every wait goes through the clock.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from decimal import Decimal, InvalidOperation
from random import Random
from typing import Any, Final, NamedTuple

from workbench.core.clock import Clock, SystemClock
from workbench.core.errors import DataError, ExchangeBusy, ExchangeError
from workbench.core.margin import tier_deduction
from workbench.core.records import Instrument, RiskTier, interval_delta
from workbench.exchange.pace import TokenBucket

BUSY: Final = frozenset({10006, 10429, 110079})
"""Refusals that ask to slow down."""
UNWELL: Final = frozenset({10000, 10016, 10019})
"""Refusals that say nothing about the request: reading again is harmless."""
TRIES: Final = 6
FIRST_WAIT_S: Final = 0.2
LAST_WAIT_S: Final = 30.0
BAN_S: Final = 600.0
"""After 403 the address is banned for ten minutes; asking on makes it longer."""

OI_INTERVALS: Final[Mapping[str, str]] = {
    "5": "5min",
    "15": "15min",
    "30": "30min",
    "60": "1h",
    "240": "4h",
    "D": "1d",
}
"""Open interest is served at these steps, under names of its own."""


class Kline(NamedTuple):
    """One bar: its start in milliseconds since 1970, prices in USDT, volume in base coin."""

    start_ms: int
    open: float
    high: float
    low: float
    close: float
    volume: float
    turnover: float


class Stamp(NamedTuple):
    """A value at a moment, in milliseconds since 1970: a settled rate, an open interest."""

    time_ms: int
    value: float


class BybitClient:
    """Public market data of one endpoint; safe to share between threads."""

    def __init__(
        self,
        rest_url: str = "https://api.bybit.com",
        *,
        clock: Clock | None = None,
        timeout_s: float = 10.0,
        requests_per_s: float = 10.0,
        tries: int = TRIES,
    ) -> None:
        from pybit.unified_trading import HTTP

        self.clock = clock or SystemClock()
        self.rest_url = rest_url
        self.tries = tries
        self._bucket = TokenBucket(rate=requests_per_s, clock=self.clock)
        self._jitter = Random(0)  # noqa: S311 - spreads retries, guards nothing
        self._lock = threading.Lock()
        # One attempt and no code of its own to retry: pybit would sleep, and fail on clock skew.
        self._http = HTTP(
            timeout=timeout_s, max_retries=1, retry_codes={-1}, return_response_headers=True
        )
        self._http.endpoint = rest_url

    def server_time(self) -> datetime:
        """Return the exchange's time, UTC-aware."""
        result = self._call(self._http.get_server_time)
        return datetime.fromtimestamp(int(result["timeNano"]) / 1e9, UTC)

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
            for row in self._pages(self._http.get_instruments_info, category="linear", limit=1000)
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
        return [_instrument(rows[symbol], self.risk_limits(symbol)) for symbol in wanted]

    def risk_limits(self, symbol: str) -> tuple[RiskTier, ...]:
        """Return the margin tiers of a symbol, smallest first."""
        rows = self._pages(self._http.get_risk_limit, category="linear", symbol=symbol)
        return _tiers(sorted(rows, key=lambda row: Decimal(row["riskLimitValue"])))

    def klines(
        self,
        symbol: str,
        interval: str,
        start: datetime,
        end: datetime,
        *,
        kind: str = "kline",
    ) -> Iterator[list[Kline]]:
        """Yield pages of the bars with ``start <= bar start < end``, the earliest page first.

        ``kind`` is ``kline``, ``mark``, ``index`` or ``premium``; the last three carry no volume
        (NaN). A page may hold the bar in progress: the caller knows the time.
        """
        calls = {
            "kline": self._http.get_kline,
            "mark": self._http.get_mark_price_kline,
            "index": self._http.get_index_price_kline,
            "premium": self._http.get_premium_index_price_kline,
        }
        span = interval_delta(interval) * 1000
        for low, high in _windows(start, end, span):
            result = self._call(
                calls[kind], category="linear", symbol=symbol, interval=interval,
                start=_millis(low), end=_millis(high) - 1, limit=1000,
            )  # fmt: skip
            yield sorted(_kline(row) for row in result["list"])

    def funding(self, symbol: str, start: datetime, end: datetime) -> Iterator[list[Stamp]]:
        """Yield pages of the rates settled in ``start <= time < end``, the latest page first."""
        last = _millis(end) - 1
        while last >= _millis(start):
            # A start alone is refused: both are always given.
            result = self._call(
                self._http.get_funding_rate_history, category="linear", symbol=symbol,
                startTime=_millis(start), endTime=last, limit=200,
            )  # fmt: skip
            page = sorted(
                Stamp(int(row["fundingRateTimestamp"]), float(row["fundingRate"]))
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
            self._http.get_open_interest, category="linear", symbol=symbol, limit=200,
            intervalTime=OI_INTERVALS[interval], startTime=_millis(start), endTime=_millis(end) - 1,
        )  # fmt: skip
        for rows in pages:
            yield sorted(Stamp(int(r["timestamp"]), float(r["openInterest"])) for r in rows)

    def tickers(self, symbol: str) -> dict[str, str]:
        """Return the ticker of a symbol as the exchange writes it: every value is text."""
        result = self._call(self._http.get_tickers, category="linear", symbol=symbol)
        return dict(result["list"][0])

    def _pages(self, call: Callable[..., Any], **query: Any) -> list[dict[str, Any]]:
        return [row for page in self._raw_pages(call, **query) for row in page]

    def _raw_pages(self, call: Callable[..., Any], **query: Any) -> Iterator[list[dict[str, Any]]]:
        cursor = ""
        while True:
            more = {"cursor": cursor} if cursor else {}
            result = self._call(call, **query, **more)
            yield result["list"]
            following = result.get("nextPageCursor") or ""
            if not following or following == cursor or not result["list"]:
                return
            cursor = following

    def _call(self, call: Callable[..., Any], **query: Any) -> dict[str, Any]:
        wait = FIRST_WAIT_S
        for attempt in range(1, self.tries + 1):
            with self._lock:
                self._bucket.take()
                try:
                    return self._send(call, query)
                except ExchangeBusy:
                    if attempt == self.tries:
                        raise
            self.clock.sleep(wait * self._jitter.uniform(0.75, 1.25))
            wait = min(2 * wait, LAST_WAIT_S)
        raise AssertionError("the last attempt returns or raises")

    def _send(self, call: Callable[..., Any], query: Mapping[str, Any]) -> dict[str, Any]:
        import requests
        from pybit.exceptions import FailedRequestError, InvalidRequestError

        try:
            reply, _, headers = call(**query)
        except InvalidRequestError as error:
            self._bucket.learn(error.resp_headers or {})
            raise _refused(error.status_code, error.message) from error
        except FailedRequestError as error:
            if error.status_code == 403:
                self._bucket.block(BAN_S)
                raise ExchangeError(
                    "The exchange has banned this address for asking too often (403).",
                    "Wait ten minutes, and lower exchange.requests_per_s.",
                ) from error
            raise ExchangeBusy(
                f"The exchange answered {error.status_code}: {error.message}.",
                "It is asked again by itself; if this goes on, look at its status page.",
            ) from error
        except (requests.exceptions.RequestException, ValueError) as error:
            raise ExchangeBusy(
                f"No answer from {self.rest_url}: {type(error).__name__}.",
                "Check the network and exchange.rest_url (`workbench doctor`).",
            ) from error
        self._bucket.learn(headers)
        return dict(reply["result"])


def _refused(code: Any, message: str) -> ExchangeError:
    what = f"The exchange refuses with {code}: {message}."
    if code in BUSY or code in UNWELL:
        return ExchangeBusy(what, "It is asked again by itself; if this goes on, ask less often.")
    return ExchangeError(what, "Look at symbol, interval and times; the code is Bybit's own.")


def _windows(
    start: datetime, end: datetime, span: timedelta
) -> Iterator[tuple[datetime, datetime]]:
    low = start
    while low < end:
        high = min(low + span, end)
        yield low, high
        low = high


def _millis(moment: datetime) -> int:
    return int(moment.timestamp() * 1000)


def _kline(row: Sequence[str]) -> Kline:
    nan = float("nan")
    volume, turnover = (float(row[5]), float(row[6])) if len(row) > 5 else (nan, nan)
    o, h, low, c = (float(text) for text in row[1:5])
    return Kline(int(row[0]), o, h, low, c, volume, turnover)


def _instrument(row: Mapping[str, Any], tiers: tuple[RiskTier, ...]) -> Instrument:
    lots, prices = row["lotSizeFilter"], row["priceFilter"]
    return Instrument(
        symbol=row["symbol"],
        tick_size=Decimal(prices["tickSize"]),
        qty_step=Decimal(lots["qtyStep"]),
        min_qty=Decimal(lots["minOrderQty"]),
        max_qty=Decimal(lots["maxOrderQty"]),
        max_market_qty=Decimal(lots.get("maxMktOrderQty") or lots["maxOrderQty"]),
        min_notional_usdt=Decimal(lots.get("minNotionalValue") or 0),
        max_leverage=Decimal(row["leverageFilter"]["maxLeverage"]),
        funding_interval_min=int(row["fundingInterval"]),
        tiers=tiers,
        status=row["status"],
        launched=datetime.fromtimestamp(int(row["launchTime"]) / 1000, UTC),
        upper_funding_rate=Decimal(row.get("upperFundingRate") or "0.005"),
        lower_funding_rate=Decimal(row.get("lowerFundingRate") or "-0.005"),
    )


def _tiers(rows: Sequence[Mapping[str, Any]]) -> tuple[RiskTier, ...]:
    # The documentation's samples are in percent, the exchange answers with fractions.
    rates = [Decimal(row["maintenanceMargin"]) for row in rows]
    scale = Decimal(100) if any(rate >= Decimal("0.5") for rate in rates[:1]) else Decimal(1)
    tiers: list[RiskTier] = []
    for row, raw in zip(rows, rates, strict=True):
        rate = raw / scale
        if not 0 < rate < 1:
            raise DataError(
                f"The maintenance margin of a tier is {raw}.", "Rates lie between 0 and 1."
            )
        before = tiers[-1] if tiers else None
        deduction = _decimal(row.get("mmDeduction"))
        if deduction is None:
            deduction = Decimal(0)
            if before is not None:
                deduction = tier_deduction(
                    before.deduction_usdt, before.limit_usdt, before.maintenance_rate, rate
                )
        leverage = Decimal(row["maxLeverage"])
        tiers.append(
            RiskTier(Decimal(row["riskLimitValue"]), rate, 1 / leverage, leverage, deduction)
        )
    return tuple(tiers)


def _decimal(text: Any) -> Decimal | None:
    try:
        return Decimal(str(text))
    except InvalidOperation:
        return None
