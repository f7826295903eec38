"""A small V5 market-data server on loopback, for real pybit to talk to.

It answers in the recorded shapes with candles and funding of the shared data, pages as the
exchange does (newest first, limits, cursors), and can be told to fail.
"""

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qs, urlsplit

MINUTE = 60_000


@dataclass
class Market:
    """What the server knows, and how it is to fail: ``faults`` are used up one a request."""

    now_ms: int
    instruments: list[dict]
    risk_limits: dict[str, list[dict]]
    klines: dict[tuple[str, str, str], list[list[str]]] = field(default_factory=dict)
    funding: dict[str, list[tuple[int, str]]] = field(default_factory=dict)
    open_interest: dict[str, list[tuple[int, str]]] = field(default_factory=dict)
    faults: list[str | None] = field(default_factory=list)
    requests: list[str] = field(default_factory=list)


class Handler(BaseHTTPRequestHandler):
    """Answers GET requests of the V5 market paths."""

    protocol_version = "HTTP/1.1"
    server: "Server"

    def log_message(self, *_) -> None:
        """Stay silent."""

    def do_GET(self) -> None:
        """Answer, or fail as told."""
        parts = urlsplit(self.path)
        query = {key: values[0] for key, values in parse_qs(parts.query).items()}
        market = self.server.market
        market.requests.append(parts.path)
        fault = market.faults.pop(0) if market.faults else None
        if fault == "cut":
            self.close_connection = True
            self.connection.close()
            return
        if fault == "garbage":
            self._send(200, b"<html>not json</html>")
            return
        if fault in ("403", "503"):
            self._send(int(fault), b"{}")
            return
        if fault is not None:
            headers = {}
            if fault == "10006+reset":
                headers = {"X-Bapi-Limit-Status": "0",
                           "X-Bapi-Limit-Reset-Timestamp": str(market.now_ms + 500)}  # fmt: skip
            self._reply(int(fault.split("+")[0]), "told to fail", {}, headers)
            return
        paths = {
            "/v5/market/time": self._time,
            "/v5/market/instruments-info": self._instruments,
            "/v5/market/risk-limit": self._risk_limit,
            "/v5/market/kline": lambda q: self._kline(q, "kline"),
            "/v5/market/mark-price-kline": lambda q: self._kline(q, "mark"),
            "/v5/market/premium-index-price-kline": lambda q: self._kline(q, "premium"),
            "/v5/market/funding/history": self._funding,
            "/v5/market/open-interest": self._open_interest,
        }
        if parts.path not in paths:
            self._send(404, json.dumps({"retCode": 10017, "retMsg": "Route not found."}).encode())
            return
        paths[parts.path](query)

    def _time(self, _: dict) -> None:
        now = self.server.market.now_ms
        self._ok({"timeSecond": str(now // 1000), "timeNano": str(now * 1_000_000)})

    def _instruments(self, query: dict) -> None:
        rows = self.server.market.instruments
        at = int(query.get("cursor", 0))
        # Pages of one, whatever the limit: every client must follow the cursor.
        following = str(at + 1) if at + 1 < len(rows) else ""
        self._ok({"category": "linear", "list": rows[at : at + 1], "nextPageCursor": following})

    def _risk_limit(self, query: dict) -> None:
        rows = self.server.market.risk_limits[query["symbol"]]
        self._ok({"category": "linear", "list": rows, "nextPageCursor": ""})

    def _kline(self, query: dict, kind: str) -> None:
        rows = self.server.market.klines.get((kind, query["symbol"], query["interval"]), [])
        low, high = int(query["start"]), int(query["end"])
        inside = [row for row in rows if low <= int(row[0]) <= high]
        newest = inside[::-1][: int(query.get("limit", 200))]
        self._ok({"symbol": query["symbol"], "category": "linear", "list": newest})

    def _funding(self, query: dict) -> None:
        if "startTime" in query and "endTime" not in query:
            self._reply(10001, "endTime is required with startTime", {}, {})
            return
        rows = self.server.market.funding.get(query["symbol"], [])
        low, high = int(query["startTime"]), int(query["endTime"])
        inside = [row for row in rows if low <= row[0] <= high][::-1][: int(query["limit"])]
        self._ok({"category": "linear", "list": [
            {"symbol": query["symbol"], "fundingRate": rate, "fundingRateTimestamp": str(at)}
            for at, rate in inside
        ]})  # fmt: skip

    def _open_interest(self, query: dict) -> None:
        rows = self.server.market.open_interest.get(query["symbol"], [])
        low, high = int(query["startTime"]), int(query["endTime"])
        inside = [row for row in rows if low <= row[0] <= high][::-1]
        at, size = int(query.get("cursor", 0)), int(query["limit"])
        following = str(at + size) if at + size < len(inside) else ""
        shown = [{"openInterest": v, "timestamp": str(t)} for t, v in inside[at : at + size]]
        self._ok({"symbol": query["symbol"], "list": shown, "nextPageCursor": following})

    def _ok(self, result: dict) -> None:
        self._reply(0, "OK", result, {"X-Bapi-Limit": "50", "X-Bapi-Limit-Status": "49"})

    def _reply(self, code: int, message: str, result: dict, headers: dict) -> None:
        body = {"retCode": code, "retMsg": message, "result": result, "retExtInfo": {},
                "time": self.server.market.now_ms}  # fmt: skip
        self._send(200, json.dumps(body).encode(), headers)

    def _send(self, status: int, body: bytes, headers: dict | None = None) -> None:
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        for name, value in (headers or {}).items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(body)


class Server(ThreadingHTTPServer):
    """The server and what it knows."""

    market: Market


@contextmanager
def serving(market: Market) -> Iterator[str]:
    """Serve a market on a free port of loopback; gives the address."""
    server = Server(("127.0.0.1", 0), Handler)
    server.market = market
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
