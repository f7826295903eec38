"""Public data: instruments, candles, books, trades, funding."""

from __future__ import annotations

from decimal import Decimal
from typing import Any, Final

from workbench.core.records import Instrument, RiskTier
from workbench.exchange.server import shapes
from workbench.exchange.server.calls import Answer, Call, Endpoint, require_linear
from workbench.exchange.server.paging import page, read_limit, read_number
from workbench.exchange.simulator.rules import Refused
from workbench.exchange.wire import plain_text

OTHER_CATEGORIES: Final = ("spot", "inverse", "option")
INTERVALS: Final = (
    "1", "3", "5", "15", "30", "60", "120", "240", "360", "720", "D", "W", "M",
)  # fmt: skip
OI_STEPS_MS: Final = {
    "5min": 300_000, "15min": 900_000, "30min": 1_800_000, "1h": 3_600_000, "4h": 14_400_000,
    "1d": 86_400_000,
}  # fmt: skip
CANDLES: Final = {"kline": "kline", "mark-price-kline": "mark", "index-price-kline": "index",
                  "premium-index-price-kline": "premium"}  # fmt: skip
MOST_TICKS: Final = 19_999_998
"""The highest price of an instrument in ticks."""


def server_time(call: Call) -> Answer:
    """Tell the exchange's time."""
    return Answer(
        {"timeSecond": str(call.now_ms // 1000), "timeNano": str(call.now_ms * 1_000_000)}
    )


def candles(call: Call, kind: str) -> Answer:
    """Give candles, the newest first."""
    require_linear(call, default="linear")
    symbol, interval = call.symbol(), call.text("interval")
    if interval not in INTERVALS:
        raise Refused(10001, "params error: interval invalid")
    start, end = (read_number(call.params, name, default=-1) for name in ("start", "end"))
    rows = call.simulator.candles(
        symbol, interval, kind=kind, start_ms=None if start < 0 else start,
        end_ms=None if end < 0 else end, limit=read_limit(call.params, default=200, most=1000),
    )  # fmt: skip
    return Answer({
        "symbol": symbol, "category": "linear", "list": [shapes.write_candle(row) for row in rows],
    })  # fmt: skip


def instruments(call: Call) -> Answer:
    """Give the rules of the instruments by page."""
    if call.text("category") in OTHER_CATEGORIES:
        return Answer({"category": call.text("category"), "list": [], "nextPageCursor": ""})
    require_linear(call)
    settings = call.simulator.settings
    limits = (settings.limit_x, settings.limit_y)
    rows = [
        write_instrument(instrument, number, limits)
        for number, instrument in enumerate(call.simulator.instruments.values(), start=1)
        if call.text("symbol", instrument.symbol) == instrument.symbol
        and call.text("status", instrument.status) == instrument.status
        and call.text("baseCoin", base_coin(instrument)) == base_coin(instrument)
    ]
    shown, cursor = page(
        rows, call.params, key=lambda row: (10**9 - row["symbolId"], row["symbol"]),
        default=500, most=1000,
    )  # fmt: skip
    return Answer({"category": "linear", "list": shown, "nextPageCursor": cursor})


def base_coin(instrument: Instrument) -> str:
    """Return the coin that an instrument is about."""
    return instrument.symbol.removesuffix("USDT")


def write_instrument(
    instrument: Instrument, number: int, limits: tuple[Decimal, Decimal]
) -> dict[str, Any]:
    """Return an instrument as the exchange lists it; ``limits`` are those of its prices."""
    tick = instrument.tick_size
    launched = instrument.launched
    return {
        "symbol": instrument.symbol, "symbolId": number, "contractType": "LinearPerpetual",
        "status": instrument.status, "baseCoin": base_coin(instrument), "quoteCoin": "USDT",
        "launchTime": str(int(launched.timestamp() * 1000)) if launched else "0",
        "deliveryTime": "0", "deliveryFeeRate": "",
        "priceScale": str(max(0, -int(tick.as_tuple().exponent))),
        "leverageFilter": {
            "minLeverage": "1", "maxLeverage": plain_text(instrument.max_leverage),
            "leverageStep": "0.01",
        },
        "priceFilter": {
            "minPrice": plain_text(tick), "maxPrice": plain_text(tick * MOST_TICKS),
            "tickSize": plain_text(tick),
        },
        "lotSizeFilter": {
            "maxOrderQty": plain_text(instrument.max_qty),
            "minOrderQty": plain_text(instrument.min_qty),
            "qtyStep": plain_text(instrument.qty_step),
            "postOnlyMaxOrderQty": plain_text(instrument.max_qty),
            "maxMktOrderQty": plain_text(instrument.max_market_qty),
            "minNotionalValue": plain_text(instrument.min_notional_usdt),
        },
        "unifiedMarginTrade": True, "fundingInterval": instrument.funding_interval_min,
        "settleCoin": "USDT", "copyTrading": "none",
        "upperFundingRate": plain_text(instrument.upper_funding_rate),
        "lowerFundingRate": plain_text(instrument.lower_funding_rate),
        "isPreListing": False, "preListingInfo": None,
        "riskParameters": {
            "priceLimitRatioX": plain_text(limits[0]), "priceLimitRatioY": plain_text(limits[1]),
        },
        "symbolType": "",
    }  # fmt: skip


def tickers(call: Call) -> Answer:
    """Give the last state of one symbol or of all."""
    if call.text("category") in OTHER_CATEGORIES:
        return Answer({"category": call.text("category"), "list": []})
    require_linear(call)
    if call.text("symbol"):
        rows = [call.simulator.ticker(call.symbol())]
    else:
        rows = call.simulator.tickers()
    return Answer({"category": "linear", "list": [shapes.TICKER(row) for row in rows]})


def orderbook(call: Call) -> Answer:
    """Give the book."""
    require_linear(call)
    symbol = call.symbol()
    book = call.simulator.book(symbol, read_limit(call.params, default=25, most=1000))
    return Answer({**shapes.write_book(book), "u": call.update_id(symbol)})


def recent_trades(call: Call) -> Answer:
    """Give the last public trades, the newest first."""
    require_linear(call)
    limit = read_limit(call.params, default=500, most=1000)
    rows = call.simulator.trades(call.symbol(), limit)
    return Answer({"category": "linear", "list": [shapes.write_trade(row) for row in rows]})


def funding_history(call: Call) -> Answer:
    """Give settled rates; a start alone is an error of the exchange's own."""
    require_linear(call)
    symbol = call.symbol()
    start, end = (read_number(call.params, name, default=-1) for name in ("startTime", "endTime"))
    if start >= 0 and end < 0:
        raise Refused(10001, "params error: endTime is required with startTime")
    rows = [
        row
        for row in call.simulator.funding_history(symbol)
        if start <= row.time_ms and (end < 0 or row.time_ms <= end)
    ]
    rows.sort(key=lambda row: row.time_ms, reverse=True)
    shown = rows[: read_limit(call.params, default=200, most=200)]
    return Answer({"category": "linear", "list": [
        {"symbol": symbol, "fundingRate": plain_text(row.value),
         "fundingRateTimestamp": str(row.time_ms)} for row in shown
    ]})  # fmt: skip


def open_interest(call: Call) -> Answer:
    """Give open interest at the end of each step, by page."""
    require_linear(call)
    symbol = call.symbol()
    step = OI_STEPS_MS.get(call.text("intervalTime"))
    if step is None:
        raise Refused(10001, "params error: intervalTime invalid")
    start = read_number(call.params, "startTime", default=0)
    end = read_number(call.params, "endTime", default=call.now_ms)
    rows = [
        row
        for row in call.simulator.open_interest(symbol)
        if start <= row.time_ms <= end and row.time_ms % step == 0
    ]
    shown, cursor = page(rows, call.params, key=lambda row: (row.time_ms, ""), default=50, most=200)
    return Answer({"symbol": symbol, "category": "linear", "nextPageCursor": cursor, "list": [
        {"openInterest": plain_text(row.value), "singleOpenInterest": plain_text(row.value / 2),
         "timestamp": str(row.time_ms)} for row in shown
    ]})  # fmt: skip


def account_ratio(call: Call) -> Answer:
    """Give the share of accounts that are long: nobody counts them here, so there is none."""
    require_linear(call)
    call.symbol()
    return Answer({"list": [], "nextPageCursor": ""})


def risk_limits(call: Call) -> Answer:
    """Give the margin tiers, fifteen symbols a page."""
    require_linear(call)
    symbols = [call.symbol()] if call.text("symbol") else list(call.simulator.instruments)
    first = read_number(call.params, "cursor", default=0)
    shown = symbols[first : first + 15]
    rows = [row for symbol in shown for row in write_tiers(symbol, call.simulator.tiers(symbol))]
    cursor = str(first + 15) if first + 15 < len(symbols) else ""
    return Answer({"category": "linear", "list": rows, "nextPageCursor": cursor})


def write_tiers(symbol: str, tiers: tuple[RiskTier, ...]) -> list[dict[str, Any]]:
    """Return the margin tiers of a symbol as the exchange lists them."""
    return [
        {
            "id": number, "symbol": symbol, "riskLimitValue": plain_text(tier.limit_usdt),
            "maintenanceMargin": plain_text(tier.maintenance_rate),
            "initialMargin": plain_text(tier.initial_rate), "isLowestRisk": int(number == 1),
            "maxLeverage": plain_text(tier.max_leverage),
            "mmDeduction": plain_text(tier.deduction_usdt) if tier.deduction_usdt else "",
        }
        for number, tier in enumerate(tiers, start=1)
    ]  # fmt: skip


def insurance(call: Call) -> Answer:
    """Give the insurance fund, one pool for all symbols."""
    balance = plain_text(call.simulator.insurance())
    symbols = ",".join(call.simulator.instruments)
    return Answer({"updatedTime": str(call.now_ms), "list": [
        {"coin": "USDT", "symbols": symbols, "balance": balance, "value": balance}
    ]})  # fmt: skip


def adl_alert(call: Call) -> Answer:
    """Give how near the pool is to auto-deleveraging."""
    symbols = [call.symbol()] if call.text("symbol") else list(call.simulator.instruments)
    balance, most = call.simulator.insurance(), call.simulator.settings.insurance_usdt
    ratio = (balance - most) / most if most else Decimal(0)
    return Answer({"updatedTime": str(call.now_ms), "list": [
        {"coin": "USDT", "symbol": symbol, "balance": plain_text(balance),
         "maxBalance": plain_text(most), "insurancePnlRatio": "-0.3",
         "pnlRatio": plain_text(round(ratio, 6)), "adlTriggerThreshold": "10000",
         "adlStopRatio": "-0.25"} for symbol in symbols
    ]})  # fmt: skip


def price_limit(call: Call) -> Answer:
    """Give the prices beyond which orders are refused."""
    require_linear(call, default="linear")
    limit = call.simulator.price_limit(call.symbol())
    return Answer({
        "symbol": limit.symbol, "buyLmt": plain_text(limit.buy_lmt),
        "sellLmt": plain_text(limit.sell_lmt), "ts": str(limit.time_ms or call.now_ms),
    })  # fmt: skip


def system_status(call: Call) -> Answer:
    """Give the announced maintenance."""
    return Answer({"list": list(call.status)})


def _candles_of(kind: str) -> Endpoint:
    return Endpoint(lambda call: candles(call, kind))


MARKET: Final = {
    ("GET", "/v5/market/time"): Endpoint(server_time),
    **{("GET", f"/v5/market/{name}"): _candles_of(kind) for name, kind in CANDLES.items()},
    ("GET", "/v5/market/instruments-info"): Endpoint(instruments),
    ("GET", "/v5/market/tickers"): Endpoint(tickers),
    ("GET", "/v5/market/orderbook"): Endpoint(orderbook),
    ("GET", "/v5/market/recent-trade"): Endpoint(recent_trades),
    ("GET", "/v5/market/funding/history"): Endpoint(funding_history),
    ("GET", "/v5/market/open-interest"): Endpoint(open_interest),
    ("GET", "/v5/market/account-ratio"): Endpoint(account_ratio),
    ("GET", "/v5/market/risk-limit"): Endpoint(risk_limits),
    ("GET", "/v5/market/insurance"): Endpoint(insurance),
    ("GET", "/v5/market/adlAlert"): Endpoint(adl_alert),
    ("GET", "/v5/market/price-limit"): Endpoint(price_limit),
    ("GET", "/v5/system/status"): Endpoint(system_status),
}
