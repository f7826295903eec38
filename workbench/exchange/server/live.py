"""Paper trading on the real market: public sockets of the exchange, pushed into the simulator."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from decimal import Decimal
from typing import TYPE_CHECKING, Any, Final

from workbench.exchange.records import PublicTrade, Ticker
from workbench.exchange.server.shapes import write_levels
from workbench.exchange.streams import Event, Lapse, OrderBook, PublicStream
from workbench.exchange.wire import plain_text

if TYPE_CHECKING:
    from workbench.exchange.simulator.simulator import Simulator

DEPTH: Final = 50
VALUES: Final = ("mark", "index", "funding_rate", "open_interest")

Json = dict[str, Any]
Feed = Callable[[str, str, Json], None]


async def follow(url: str, symbols: Sequence[str], feed: Feed) -> None:
    """Hand the market of some symbols to ``feed`` until it is cancelled."""
    topics = [
        f"{kind}.{symbol}"
        for symbol in symbols
        for kind in (f"orderbook.{DEPTH}", "publicTrade", "tickers")
    ]
    async with PublicStream(url) as stream:
        stream.subscribe(*topics)
        async for event in stream.events:
            written = write_event(event)
            if written is not None:
                feed(*written)


def write_event(event: Event) -> tuple[str, str, Json] | None:
    """Return an event of the market as kind, symbol and plain values, or None if it adds nothing.

    A book that is no longer whole is taken away: nothing is matched against what may be stale.
    """
    record, symbol = event.record, event.topic.rpartition(".")[2]
    if isinstance(record, Lapse):
        is_book = event.topic.startswith("orderbook")
        return ("book", symbol, {"b": [], "a": [], "t": event.exchange_ms}) if is_book else None
    if isinstance(record, OrderBook):
        book = record.snapshot(DEPTH)
        bids, asks = write_levels(book.bids), write_levels(book.asks)
        return "book", symbol, {"b": bids, "a": asks, "t": event.exchange_ms}
    if isinstance(record, PublicTrade):
        return "trade", symbol, {
            "p": plain_text(record.price), "v": plain_text(record.size), "S": str(record.side),
            "t": record.time_ms, "i": record.exec_id,
        }  # fmt: skip
    if isinstance(record, Ticker):
        body: Json = {"t": event.exchange_ms, "next_funding_ms": record.next_funding_time_ms}
        for name, value in zip(
            VALUES, (record.mark_price, record.index_price, record.funding_rate,
                     record.open_interest), strict=True,
        ):  # fmt: skip
            if value is not None:
                body[name] = plain_text(value)
        return "ticker", symbol, body
    return None


def push(simulator: Simulator, kind: str, symbol: str, body: Mapping[str, Any]) -> None:
    """Push what ``write_event`` wrote into a simulator."""
    if kind == "trade":
        price, size = Decimal(body["p"]), Decimal(body["v"])
        simulator.push_trade(symbol, price, size, body["S"], body["t"], body["i"])
    elif kind == "book":
        simulator.push_book(symbol, body["b"], body["a"], body["t"], is_snapshot=True)
    else:
        simulator.push_ticker(
            symbol, body["t"], next_funding_ms=body["next_funding_ms"],
            **{name: Decimal(body[name]) for name in VALUES if name in body},
        )  # fmt: skip
