"""A small V5 server on loopback, for real pybit to talk to.

It answers in the recorded shapes with candles and funding of the shared data, pages as the
exchange does (newest first, limits, cursors), and can be told to fail. Private calls are checked
as the exchange checks them (stamp, signature over the raw bytes) and answered with what a test
has put there, or from the orders that came.
"""

import hashlib
import hmac
import json
import threading
from collections.abc import Callable, Iterator
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
    gate: threading.Event = field(default_factory=threading.Event)
    elapsed_ms: Callable[[], int] = lambda: 0
    desk: "Desk" = field(default_factory=lambda: Desk())

    @property
    def time_ms(self) -> int:
        """The exchange's time: where it was set, and on with the clock that it follows."""
        return self.now_ms + self.elapsed_ms()


@dataclass
class Desk:
    """A key and what is private to it; ``answers`` by path win over what the orders say."""

    key: str = "loop-key"
    secret: str = "loop-secret"
    answers: dict[str, object] = field(default_factory=dict)
    codes: dict[str, int] = field(default_factory=dict)
    headers: dict[str, str] = field(default_factory=dict)
    orders: dict[str, dict] = field(default_factory=dict)
    calls: list[tuple[str, dict, dict]] = field(default_factory=list)

    def sent(self, path: str) -> list[dict]:
        """The queries or bodies of every call to a path that was signed well."""
        return [query for at, query, _ in self.calls if at == path]


class Handler(BaseHTTPRequestHandler):
    """Answers GET requests of the V5 market paths."""

    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    server: "Server"

    def log_message(self, *_) -> None:
        """Stay silent."""

    def do_GET(self) -> None:
        """Answer, or fail as told."""
        parts = urlsplit(self.path)
        query = {key: values[0] for key, values in parse_qs(parts.query).items()}
        self._answer(parts.path, query, parts.query)

    def do_POST(self) -> None:
        """Answer, or fail as told."""
        raw = self.rfile.read(int(self.headers["Content-Length"])).decode()
        self._answer(urlsplit(self.path).path, json.loads(raw), raw)

    def _answer(self, path: str, query: dict, raw: str) -> None:
        market = self.server.market
        market.requests.append(path)
        fault = market.faults.pop(0) if market.faults else None
        if fault == "hang":
            market.gate.wait(timeout=20)
        elif fault == "lost":  # taken, and the answer never comes
            self._private(path, query, raw, is_told=False)
            self._cut()
            return
        elif fault is not None:
            self._fail(fault)
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
        if path in market.desk.answers and path.startswith("/v5/market"):
            self._ok(market.desk.answers[path])
        elif path in paths:
            paths[path](query)
        elif path == "/v5/system/status":
            self._ok(market.desk.answers.get(path, {"list": []}))
        elif path.startswith("/v5/market"):
            self._send(404, json.dumps({"retCode": 10017, "retMsg": "Route not found."}).encode())
        else:
            self._private(path, query, raw)

    def _fail(self, fault: str) -> None:
        if fault == "cut":
            self._cut()
        elif fault == "garbage":
            self._send(200, b"<html>not json</html>")
        elif len(fault) == 3:
            self._send(int(fault), b"{}", {"Location": self.path} if fault == "302" else {})
        else:
            code, _, after = fault.partition("+")
            reset = {"reset": 500, "past": -60_000}.get(after)
            headers = {"X-Bapi-Limit-Status": "0"}
            if reset is not None:
                headers["X-Bapi-Limit-Reset-Timestamp"] = str(self.server.market.time_ms + reset)
            self._reply(int(code), "told to fail", {}, headers if reset else {})

    def _cut(self) -> None:
        self.close_connection = True
        self.connection.close()

    def _private(self, path: str, query: dict, raw: str, *, is_told: bool = True) -> None:
        desk, now = self.server.market.desk, self.server.market.time_ms
        code, text = self._check(desk, now, raw)
        result: object = {}
        extra: dict = {}
        if not code:
            desk.calls.append((path, query, dict(self.headers)))
            code = desk.codes.get(path, 0)
        if path in desk.answers:
            result = desk.answers[path]
            result = result(query) if callable(result) else result
        if not code:
            answer = getattr(self, f"_{path.rpartition('/')[2].replace('-', '_')}", None)
            if path not in desk.answers and answer is not None and path.startswith("/v5/order"):
                code, result, extra = answer(query)
            text = "OK"
        if is_told:
            self._reply(code, text or "told to fail", result, desk.headers, extra)

    def _check(self, desk: Desk, now: int, raw: str) -> tuple[int, str]:
        stamp, window = (self.headers.get(f"X-BAPI-{n}") for n in ("TIMESTAMP", "RECV-WINDOW"))
        key, sign = (self.headers.get(f"X-BAPI-{n}") for n in ("API-KEY", "SIGN"))
        if key != desk.key:
            return 10003, "API key is invalid."
        told = hmac.new(desk.secret.encode(), f"{stamp}{key}{window}{raw}".encode(), hashlib.sha256)
        if told.hexdigest() != sign:
            return 10004, "error sign!"
        if not now - int(window) <= int(stamp) < now + 1000:
            return 10002, "invalid request, please check your server timestamp"
        return 0, ""

    def _create(self, query: dict) -> tuple[int, dict, dict]:
        orders = self.server.market.desk.orders
        if query["orderLinkId"] in orders:
            return 110072, {}, {}
        order_id = f"id-{len(orders) + 1}"
        orders[query["orderLinkId"]] = {**query, "orderId": order_id, "orderStatus": "New"}
        return 0, {"orderId": order_id, "orderLinkId": query["orderLinkId"]}, {}

    def _cancel(self, query: dict) -> tuple[int, dict, dict]:
        found = self.server.market.desk.orders.get(query.get("orderLinkId", ""))
        if found is None or found["orderStatus"] == "Cancelled":
            return 110001, {}, {}
        found["orderStatus"] = "Cancelled"
        return 0, {"orderId": found["orderId"], "orderLinkId": found["orderLinkId"]}, {}

    def _create_batch(self, query: dict) -> tuple[int, dict, dict]:
        return self._each(query, self._create)

    def _cancel_batch(self, query: dict) -> tuple[int, dict, dict]:
        return self._each(query, self._cancel)

    def _each(self, query: dict, one) -> tuple[int, dict, dict]:
        done = [(one(row), row) for row in query["request"]]
        rows = [{"orderLinkId": row.get("orderLinkId", ""), **found[1]} for found, row in done]
        return 0, {"list": rows}, {"list": [{"code": f[0], "msg": "OK"} for f, _ in done]}

    def _cancel_all(self, query: dict) -> tuple[int, dict, dict]:
        rows = [{"orderId": o["orderId"], "orderLinkId": link}
                for link, o in self.server.market.desk.orders.items()]  # fmt: skip
        return 0, {"list": rows, "success": "1"}, {}

    def _realtime(self, query: dict) -> tuple[int, dict, dict]:
        return self._orders(query, is_open=True)

    def _history(self, query: dict) -> tuple[int, dict, dict]:
        return self._orders(query, is_open=False)

    def _orders(self, query: dict, *, is_open: bool) -> tuple[int, dict, dict]:
        rows = [
            o
            for link, o in self.server.market.desk.orders.items()
            if (o["orderStatus"] == "New") is is_open and query.get("orderLinkId") in (None, link)
        ]
        return 0, {"list": rows, "nextPageCursor": "", "category": "linear"}, {}

    def _time(self, _: dict) -> None:
        now = self.server.market.time_ms
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

    def _ok(self, result: object) -> None:
        self._reply(0, "OK", result, {"X-Bapi-Limit": "50", "X-Bapi-Limit-Status": "49"})

    def _reply(
        self, code: int, message: str, result: object, headers: dict, extra: dict | None = None
    ) -> None:
        body = {"retCode": code, "retMsg": message, "result": result, "retExtInfo": extra or {},
                "time": self.server.market.time_ms}  # fmt: skip
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
    thread = threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
