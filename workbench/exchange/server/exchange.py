"""The exchange without its sockets: requests, frames and time in; replies and frames out.

Nothing here waits or reads a clock: every input carries the machine's time. So a journal of the
inputs gives the same outputs again, and a test can run hours in a moment.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from heapq import heappop, heappush
from random import Random
from typing import Any, Final, NamedTuple
from urllib.parse import parse_qsl

import orjson

from workbench.exchange.server.account import ACCOUNT
from workbench.exchange.server.acts import control
from workbench.exchange.server.auth import (
    ApiKey,
    Clocks,
    Keyring,
    NoCredentials,
    check_permission,
)
from workbench.exchange.server.calls import OK, Answer, Call, Endpoint, Reply, Request, plain
from workbench.exchange.server.delivery import Delivery
from workbench.exchange.server.faults import ON_REQUESTS, Faults
from workbench.exchange.server.journal import Sink
from workbench.exchange.server.limits import Limiter, LimitRules, Quota
from workbench.exchange.server.live import push
from workbench.exchange.server.market import MARKET, OTHER_CATEGORIES
from workbench.exchange.server.sockets import Socket
from workbench.exchange.server.trade import TRADE
from workbench.exchange.simulator.rules import Refused
from workbench.exchange.simulator.simulator import Simulator

ENDPOINTS: Final[Mapping[tuple[str, str], Endpoint]] = {**MARKET, **TRADE, **ACCOUNT}
BY_SOCKET: Final = frozenset(
    f"order.{name}"
    for name in ("create", "amend", "cancel", "create-batch", "amend-batch", "cancel-batch")
)
BEFORE: Final = {name: ON_REQUESTS[name] for name in ("lose", "refuse", "status")}
AFTER: Final = {name: ON_REQUESTS[name] for name in ("delay", "cut", "obscure")}
TOO_MANY: Final = "Too many visits. Exceeded the API Rate Limit."
SLICE_MS: Final = 100
MOST_SLICES: Final = 2_000
SLICES_PER_TICK: Final = 5
SESSION_RATE: Final = 3_000


@dataclass(frozen=True, slots=True)
class ServerSettings:
    """How the exchange behaves towards its clients.

    ``ack_ms`` is how long an acknowledgement takes; 0 is for tests. ``speed`` is how much faster
    than time the market runs; 0 lets it stand until it is stepped.
    """

    ack_ms: int = 5
    speed: float = 1.0
    seed: int = 0
    limits: LimitRules = field(default_factory=LimitRules)


class Done(NamedTuple):
    """What became of a call: its code and text, the answer, and what the limits say."""

    code: int
    message: str
    answer: Answer
    quota: Quota | None


class Exchange:
    """A V5 exchange on a simulator."""

    def __init__(
        self, simulator: Simulator, keys: Iterable[ApiKey], *, wall_ms: int,
        settings: ServerSettings | None = None, journal: Sink | None = None,
    ) -> None:  # fmt: skip
        self.simulator, self.journal = simulator, journal
        self.settings = settings or ServerSettings()
        self.keyring = Keyring({key.key: key for key in keys})
        self.limiter = Limiter(self.settings.limits)
        self.faults = Faults(self.settings.seed)
        self.status: list[Mapping[str, Any]] = []
        self.wall_ms, self.skew_ms = wall_ms, 0
        self.restarted_ms, self.down_until_ms = 0, 0
        self.numbers = itertools.count(1)
        self._anchor = (wall_ms, simulator.now_ms)
        self._random = Random(self.settings.seed)  # noqa: S311 - names, and the same ones again
        self._later: list[tuple[int, int, Callable[[], None]]] = []
        self.delivery = Delivery(self)

    @property
    def now_ms(self) -> int:
        """The exchange's time, as its clients see it."""
        return self.simulator.now_ms + self.skew_ms

    @property
    def clocks(self) -> Clocks:
        """The clocks that a client's stamp may follow."""
        pace = max(1.0, self.settings.speed)
        return Clocks(self.now_ms, self.wall_ms + self.skew_ms, pace)

    @property
    def is_down(self) -> bool:
        """Whether the exchange is away for a restart."""
        return self.wall_ms < self.down_until_ms

    @property
    def due_ms(self) -> int | None:
        """When something waits to be done next, by the machine's clock."""
        return self._later[0][0] if self._later else None

    def note(self, kind: str, **fields: Any) -> None:
        """Write an entry of the journal, if one is kept."""
        if self.journal:
            self.journal.add(kind, self.wall_ms, **fields)

    def draw_name(self) -> str:
        """Return a name that no other thing has: of a socket, a trace."""
        return f"{self._random.getrandbits(128):032x}"

    def later(self, wait_ms: int, act: Callable[[], None]) -> None:
        """Do something after a while; at once if there is nothing to wait for."""
        if wait_ms <= 0:
            act()
        else:
            heappush(self._later, (self.wall_ms + wait_ms, next(self.numbers), act))

    def tick(self, wall_ms: int) -> None:
        """Let time pass: the market moves, and what is due is sent."""
        self.begin(wall_ms, "tick")
        self.delivery.cut_idle()
        self.delivery.drain()
        self.delivery.feeds.publish(self.simulator.now_ms)

    def step(self, to_ms: int, *, slices: int = MOST_SLICES) -> None:
        """Move the market to a moment, slice by slice, sending what is due on the way."""
        now_ms = self.simulator.now_ms
        slice_ms = max(SLICE_MS, (to_ms - now_ms) // slices)
        while now_ms < to_ms:
            now_ms = min(now_ms + slice_ms, to_ms)
            self._advance(now_ms)
            self.delivery.drain()
            self.delivery.feeds.publish(now_ms)

    def _advance(self, to_ms: int) -> None:
        due = self.simulator.next_ms
        if self.simulator.latency_ms or (due is not None and due <= to_ms):
            self.delivery.feeds.revision += 1
        self.simulator.advance(to_ms)

    def begin(self, wall_ms: int, kind: str, **fields: Any) -> None:
        """Note an input, and bring the exchange to the machine's time before it is taken."""
        self.wall_ms = max(self.wall_ms, wall_ms)
        self.note(kind, **fields)
        while self._later and self._later[0][0] <= self.wall_ms:
            heappop(self._later)[2]()
        if self.settings.speed:
            wall, market = self._anchor
            target = market + int((self.wall_ms - wall) * self.settings.speed)
            if target - self.simulator.now_ms > SLICE_MS:
                self.step(target, slices=SLICES_PER_TICK)
            elif target > self.simulator.now_ms:
                self._advance(target)

    def handle(self, request: Request, wall_ms: int) -> Reply:
        """Answer a request."""
        number = next(self.numbers)
        self.begin(
            wall_ms, "request", n=number, m=request.method, p=request.path, a=request.address,
            q=request.query.decode("latin-1"), b=request.body.decode("latin-1"),
            h=dict(request.headers),
        )  # fmt: skip
        reply = self._answer(request)
        self.note(
            "reply", n=number, s=reply.status, b=reply.body.decode("latin-1"), d=reply.delay_ms,
            c=reply.is_cut,
        )  # fmt: skip
        self.delivery.drain()
        return reply

    def _answer(self, request: Request) -> Reply:
        if self.is_down:
            return Reply(0, b"", is_cut=True)
        if not self.limiter.admit_request(request.address, self.wall_ms):
            return self._reply(403, 10018, "Access too frequent, please try again later.")
        name = request.path.removeprefix("/v5/").replace("/", ".")
        uid = self.keyring.find_uid(request.headers.get("x-bapi-api-key", ""))
        fault = self.faults.hit(BEFORE, name, uid)
        if fault and fault.kind == "lose":
            return Reply(0, b"", is_cut=True)
        if fault and fault.kind == "status":
            return Reply(fault.code or 503, b"upstream connect error")
        endpoint = ENDPOINTS.get((request.method, request.path))
        if endpoint is None:
            return self._reply(404, 10017, "Route not found.")
        if fault:
            return self._reply(200, fault.code or 10006, fault.text or TOO_MANY)
        reply = self._let_in(endpoint, name, request)
        fault = self.faults.hit(AFTER, name, uid)
        if endpoint.is_write:
            reply.delay_ms = self.settings.ack_ms
        if fault:
            reply.delay_ms += round(fault.seconds * 1_000)
            reply.is_cut = fault.kind == "cut"
            if fault.kind == "obscure":
                reply.body = self._reply(200, fault.code or 10016, "Server error.").body
        return reply

    def _let_in(self, endpoint: Endpoint, name: str, request: Request) -> Reply:
        is_get = request.method == "GET"
        try:
            key = None
            if endpoint.is_private:
                payload = request.query if is_get else request.body
                key = self.keyring.check_request(
                    request.headers, payload, request.address, self.clocks
                )
            params = _read_query(request.query) if is_get else _read_body(request.body)
        except NoCredentials:
            return self._reply(401, 10003, "Invalid request: authentication is missing.")
        except Refused as refusal:
            return self._reply(200, refusal.code, refusal.message)
        return self._reply(200, *self.call(endpoint, name, params, key))

    def call(
        self, endpoint: Endpoint, name: str, params: Mapping[str, Any], key: ApiKey | None
    ) -> Done:
        """Let an endpoint answer, within the key's permissions and the account's limits."""
        quota = None
        self.delivery.feeds.revision += endpoint.is_write
        try:
            if key and endpoint.is_write:
                check_permission(key, endpoint.permission)
            if key and endpoint.units:
                batch = params.get("request") if endpoint.is_batch else None
                quota = self.limiter.take(
                    key.uid, name, endpoint.units, self.wall_ms, window_ms=endpoint.window_ms,
                    units=len(batch) if isinstance(batch, list) else 1,
                )  # fmt: skip
                if not quota.granted and not endpoint.is_batch:
                    raise Refused(10006, TOO_MANY)
            category = params.get("category")
            if endpoint.is_private and not endpoint.is_write and category in OTHER_CATEGORIES:
                # Clients look into every category at their start: the account has nothing there.
                nothing = {"list": [], "nextPageCursor": "", "category": category}
                return Done(0, "OK", Answer(nothing), quota)
            call = Call(
                self.simulator, plain(params), self.now_ms, key, quota.granted if quota else 0,
                self.restarted_ms, tuple(self.status), self.delivery.feeds.update_id,
            )  # fmt: skip
            return Done(0, "OK", endpoint.handler(call), quota)
        except Refused as refusal:
            return Done(refusal.code, refusal.message, OK, quota)

    def _reply(
        self, status: int, code: int, message: str, answer: Answer = OK, quota: Quota | None = None
    ) -> Reply:
        body = {"retCode": code, "retMsg": message, "result": answer.result,
                "retExtInfo": answer.extra, "time": self.now_ms}  # fmt: skip
        headers = {"Traceid": self.draw_name(), "Timenow": str(self.now_ms)}
        return Reply(status, orjson.dumps(body), {**headers, **(quota.headers() if quota else {})})

    def open_socket(self, path: str, query: str, address: str, wall_ms: int) -> Socket | int:
        """Open a socket, or return the HTTP status that refuses it (0: the connection is cut)."""
        self.begin(wall_ms, "open", p=path, q=query, a=address)
        return self.delivery.open(path, dict(parse_qsl(query)), address)

    def hear(self, socket: Socket, text: str, wall_ms: int) -> None:
        """Take a frame of a client."""
        self.begin(wall_ms, "in", n=socket.number, f=text)
        self.delivery.hear(socket, text)
        self.delivery.drain()

    def close_socket(self, socket: Socket, wall_ms: int) -> None:
        """Forget a socket that is closed."""
        self.begin(wall_ms, "close", n=socket.number)
        self.delivery.forget(socket)

    def feed(self, kind: str, symbol: str, body: dict[str, Any], wall_ms: int) -> None:
        """Take what happened on the real market."""
        self.begin(wall_ms, "feed", c=kind, s=symbol, b=body)
        self.delivery.feeds.revision += 1
        push(self.simulator, kind, symbol, body)
        self.delivery.drain()

    def control(self, name: str, body: dict[str, Any], wall_ms: int) -> dict[str, Any]:
        """Carry out a command of the control interface."""
        self.begin(wall_ms, "control", c=name, b=body)
        self.delivery.feeds.revision += 1
        result = control(self, name, body)
        self.delivery.drain()
        return result

    def order_by_socket(
        self, socket: Socket, op: str, params: Mapping[str, Any], named: Mapping[str, str]
    ) -> None:
        """Carry out an operation of the trade socket and answer it."""
        if op not in BY_SOCKET:
            raise Refused(10404, "op type is not found")
        if not self.limiter.take(
            socket.address, "trade", SESSION_RATE, self.wall_ms
        ).granted:  # fmt: skip
            raise Refused(10403, "Exceed IP rate limit. 3000 requests per second per IP")
        fault = self.faults.hit(BEFORE, op, socket.uid)
        if fault and fault.kind == "refuse":
            raise Refused(fault.code or 10006, fault.text or TOO_MANY)
        if fault and fault.kind == "status":
            raise Refused(10016, "Server error.")
        if fault:
            socket.end()
            return
        endpoint = ENDPOINTS["POST", f"/v5/{op.replace('.', '/')}"]
        code, message, answer, quota = self.call(endpoint, op, params, socket.key)
        fault = self.faults.hit(AFTER, op, socket.uid)
        if fault and fault.kind == "cut":
            socket.end()
            return
        if fault and fault.kind == "obscure":
            code, message, answer = fault.code or 10016, "Server error.", OK
        header = {**(quota.headers() if quota else {}), "Traceid": self.draw_name(),
                  "Timenow": str(self.now_ms)}  # fmt: skip
        row = {**named, "retCode": code, "retMsg": message, "op": op, "data": answer.result,
               "retExtInfo": answer.extra, "header": header, "connId": socket.conn_id}  # fmt: skip
        wait_ms = round(fault.seconds * 1_000) if fault else 0
        self.delivery.answer(socket, orjson.dumps(row).decode(), wait_ms=wait_ms)


def _read_query(query: bytes) -> dict[str, str]:
    return dict(parse_qsl(query.decode("latin-1"), keep_blank_values=True, encoding="utf-8"))


def _read_body(body: bytes) -> dict[str, Any]:
    try:
        params = orjson.loads(body or b"{}")
    except orjson.JSONDecodeError:
        params = None
    if not isinstance(params, dict):
        raise Refused(10001, "params error: the body is no JSON object")
    return params
