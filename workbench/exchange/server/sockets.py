"""What is said on the four sockets: pings, logins, subscriptions, orders by socket."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

import orjson

from workbench.exchange.server.auth import ApiKey, check_stamp
from workbench.exchange.simulator.rules import Refused

if TYPE_CHECKING:
    from workbench.exchange.server.exchange import Exchange

PATHS: Final = {
    "/v5/public/linear": "public",
    "/v5/private": "private",
    "/v5/trade": "trade",
    "/v5/public/misc/status": "status",
}
PRIVATE_TOPICS: Final = ("order", "execution", "execution.fast", "position", "wallet", "greeks")
CATEGORIES: Final = ("linear", "spot", "inverse", "option")
IDLE_S: Final = 600
SHORTEST_IDLE_S: Final = 30
IDS_KEPT: Final = 10_000
LONGEST_ID: Final = 36

Json = dict[str, Any]


@dataclass(eq=False, slots=True)
class Socket:
    """A connection: who is behind it, what it listens to, and the frames that wait for it."""

    number: int
    kind: str
    address: str
    conn_id: str
    heard_ms: int
    idle_ms: int = IDLE_S * 1_000
    key: ApiKey | None = None
    topics: set[str] = field(default_factory=set)
    outbox: deque[str] = field(default_factory=deque)
    held: dict[str, str] = field(default_factory=dict)
    ids: dict[str, None] = field(default_factory=dict)
    close_code: int | None = None
    """0 cuts the connection, any other code closes it in order."""
    wake: Callable[[], None] = lambda: None

    @property
    def uid(self) -> str:
        """The account that logged in, or nobody."""
        return self.key.uid if self.key else ""

    def end(self, code: int = 0) -> None:
        """Cut the connection, or close it with a code."""
        if self.close_code is None:
            self.close_code = code
            self.wake()


def read_idle(query: dict[str, str]) -> int:
    """Return after how long without a frame a socket is cut, in milliseconds."""
    text = query.get("max_active_time", "")
    unit = {"s": 1, "m": 60}.get(text[-1:], 0)
    if not unit or not text.isascii() or not text[:-1].isdigit() or len(text) > 6:
        return IDLE_S * 1_000
    return min(max(int(text[:-1]) * unit, SHORTEST_IDLE_S), IDLE_S) * 1_000


def hear(exchange: Exchange, socket: Socket, text: str) -> None:
    """Answer a frame of a client."""
    try:
        message = orjson.loads(text)
    except orjson.JSONDecodeError:
        message = None
    if not isinstance(message, dict):
        _refuse(exchange, socket, {}, Refused(10001, "error:invalid JSON"))
        return
    op = message.get("op")
    try:
        if op == "ping":
            _pong(exchange, socket, message)
        elif op == "auth":
            _login(exchange, socket, message)
        elif socket.kind == "trade":
            _order(exchange, socket, message, str(op))
        elif op == "subscribe":
            _subscribe(exchange, socket, message)
        elif op == "unsubscribe":
            _unsubscribe(exchange, socket, message)
        else:
            raise Refused(10001, "error:invalid op")
    except Refused as refusal:
        _refuse(exchange, socket, message, refusal)


def _named(message: Json, socket: Socket) -> Json:
    name = message.get("req_id", message.get("reqId"))
    if socket.kind == "trade":
        return {} if name is None else {"reqId": name}
    if name is None:
        return {"req_id": ""} if socket.kind == "public" else {}
    return {"req_id": name}


def _refuse(exchange: Exchange, socket: Socket, message: Json, refusal: Refused) -> None:
    op = message.get("op") if isinstance(message.get("op"), str) else ""
    if socket.kind == "trade":
        row: Json = {"retCode": refusal.code, "retMsg": refusal.message, "op": op, "data": {},
               "retExtInfo": {}, "connId": socket.conn_id}  # fmt: skip
    else:
        row = {"success": False, "ret_msg": refusal.message, "conn_id": socket.conn_id, "op": op}
    _answer(exchange, socket, {**_named(message, socket), **row})


def _answer(
    exchange: Exchange, socket: Socket, row: Json, then: Callable[[], None] | None = None
) -> None:
    exchange.delivery.answer(socket, orjson.dumps(row).decode(), then)


def _pong(exchange: Exchange, socket: Socket, message: Json) -> None:
    now = str(exchange.now_ms)
    named = _named(message, socket)
    if socket.kind == "trade":
        row = {"retCode": 0, "retMsg": "OK", "op": "pong", "data": [now],
               "connId": socket.conn_id}  # fmt: skip
    elif socket.kind == "private":
        row = {"op": "pong", "args": [now], "conn_id": socket.conn_id}
    else:
        row = {"success": True, "ret_msg": "pong", "conn_id": socket.conn_id, "op": "ping"}
    _answer(exchange, socket, {**named, **row})


def _login(exchange: Exchange, socket: Socket, message: Json) -> None:
    if socket.kind not in ("private", "trade"):
        raise Refused(10404, "error:invalid op")
    try:
        arguments = _arguments(message)
        key = exchange.keyring.check_socket(arguments, socket.address, exchange.clocks)
        if socket.key not in (None, key):
            raise Refused(10001, "error:logged in with another key already")
        socket.key = key
    except Refused as refusal:
        _refuse(exchange, socket, message, refusal)
        exchange.later(exchange.settings.ack_ms, lambda: socket.end(1000))
        return
    if socket.kind == "trade":
        row: Json = {"retCode": 0, "retMsg": "OK", "op": "auth", "connId": socket.conn_id}
    else:
        row = {"success": True, "ret_msg": "", "op": "auth", "conn_id": socket.conn_id}
    _answer(exchange, socket, {**_named(message, socket), **row})


def _arguments(message: Json) -> list[Any]:
    arguments = message.get("args")
    if not isinstance(arguments, list):
        raise Refused(10001, "Params Error")
    return arguments


def _topics(exchange: Exchange, message: Json) -> list[str]:
    names = _arguments(message)
    rules = exchange.settings.limits
    if not names or not all(isinstance(name, str) for name in names):
        raise Refused(10001, "Params Error")
    if len(names) > rules.topics_per_request:
        raise Refused(10001, f"error:args size >{rules.topics_per_request}")
    if sum(map(len, names)) > rules.characters_per_request:
        raise Refused(10001, "error:args too long")
    return names


def _subscribe(exchange: Exchange, socket: Socket, message: Json) -> None:
    names = _topics(exchange, message)
    if socket.kind == "private":
        _check_private(socket, names)
    for name in names:
        if name in socket.topics:
            raise Refused(10001, f"error:already subscribed,topic:{name}")
        if socket.kind != "private":
            exchange.delivery.check_topic(socket.kind, name)
    ret_msg = "" if socket.kind == "private" else "subscribe"
    row = {"success": True, "ret_msg": ret_msg, "conn_id": socket.conn_id,
           **_named(message, socket), "op": "subscribe"}  # fmt: skip

    def follow() -> None:
        for name in names:
            exchange.delivery.listen(socket, name)

    _answer(exchange, socket, row, follow)


def _check_private(socket: Socket, names: list[str]) -> None:
    if socket.key is None:
        raise Refused(10003, "Request not authorized")
    plain = [name for name in names if name in PRIVATE_TOPICS or name == "dcp.future"]
    for name in names:
        base, _, category = name.rpartition(".")
        if name not in plain and not (base in PRIVATE_TOPICS and category in CATEGORIES):
            raise Refused(10001, f"error:handler not found,topic:{name}")
    mixed = {name.rpartition(".")[0] for name in names if name not in plain} & set(plain)
    if mixed:
        raise Refused(10001, "error:all-in-one and categorised topics cannot be mixed")


def _unsubscribe(exchange: Exchange, socket: Socket, message: Json) -> None:
    names = _topics(exchange, message)
    for name in names:
        exchange.delivery.unlisten(socket, name)
    row = {"success": True, "ret_msg": "", "conn_id": socket.conn_id,
           **_named(message, socket), "op": "unsubscribe"}  # fmt: skip
    _answer(exchange, socket, row)


def _order(exchange: Exchange, socket: Socket, message: Json, op: str) -> None:
    if socket.key is None:
        raise Refused(20001, "Connection has not been authenticated.")
    name = message.get("reqId")
    if name is not None:
        if not isinstance(name, str) or not 0 < len(name) <= LONGEST_ID:
            raise Refused(10001, "reqId must be text of up to 36 characters")
        if name in socket.ids:
            raise Refused(20006, "Duplicate reqId")
        socket.ids[name] = None
        if len(socket.ids) > IDS_KEPT:
            del socket.ids[next(iter(socket.ids))]
    header, arguments = message.get("header"), message.get("args")
    if not isinstance(header, dict):
        raise Refused(10001, "header is required")
    check_stamp(
        str(header.get("X-BAPI-TIMESTAMP", "")), str(header.get("X-BAPI-RECV-WINDOW", "")),
        exchange.clocks,
    )  # fmt: skip
    if not isinstance(arguments, list) or not arguments or not isinstance(arguments[0], dict):
        raise Refused(10001, "args must hold one request")
    exchange.order_by_socket(socket, op, arguments[0], _named(message, socket))
