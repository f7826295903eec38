"""Frames of Bybit's V5 sockets for tests: documented ones read in place, small ones made."""

import json

import pytest

BOOK, TICKER, TRADES = "orderbook.50.BTCUSDT", "tickers.BTCUSDT", "publicTrade.BTCUSDT"


def documented(shared_data, name):
    """A documented or recorded payload, by its folder and name."""
    path = shared_data.parent / "bybit" / f"{name}.json"
    if not path.is_file():
        pytest.skip(f"needs {path.name} of the recorded payloads")
    return json.loads(path.read_text())


def book(number, bids=(("100", "1"),), asks=(("101", "1"),), *, kind="snapshot", topic=BOOK):
    data = {"s": "BTCUSDT", "b": bids, "a": asks, "u": number, "seq": 10 * number}
    return {"topic": topic, "type": kind, "ts": 1_782_907_200_000, "cts": 1_782_907_199_998,
            "data": data}  # fmt: skip


def trade(number):
    row = {"T": 1_782_907_200_000 + number, "s": "BTCUSDT", "S": "Buy", "v": "0.1", "p": "100",
           "L": "PlusTick", "i": f"trade-{number}", "BT": False, "seq": number}  # fmt: skip
    return {"topic": TRADES, "type": "snapshot", "ts": row["T"], "data": [row]}


def order(name, status, *, updated, filled="0", qty="3"):
    return {
        "symbol": "BTCUSDT", "orderId": name, "orderLinkId": f"link-{name}", "side": "Buy",
        "orderType": "Limit", "price": "100", "qty": qty, "orderStatus": status,
        "cumExecQty": filled, "timeInForce": "GTC", "createdTime": "1", "updatedTime": str(updated),
    }  # fmt: skip


def fill(name, *, at=1, of="a", qty="1"):
    return {
        "symbol": "BTCUSDT", "execId": name, "orderId": of, "orderLinkId": f"link-{of}",
        "side": "Buy", "execPrice": "100", "execQty": qty, "execFee": "0.02", "execValue": "100",
        "execType": "Trade", "execTime": str(at), "isMaker": True, "seq": at,
    }  # fmt: skip


def position(size, *, updated, seq):
    return {"symbol": "BTCUSDT", "side": "Buy", "size": size, "positionIdx": 0, "entryPrice": "100",
            "updatedTime": str(updated), "createdTime": "1", "seq": seq}  # fmt: skip


def wallet(equity):
    coin = {"coin": "USDT", "equity": equity, "walletBalance": equity}
    return {"accountType": "UNIFIED", "totalEquity": equity, "coin": [coin]}


def private(topic, *rows, at=1_782_907_200_000):
    return {"id": "1", "topic": topic, "creationTime": at, "data": list(rows)}
