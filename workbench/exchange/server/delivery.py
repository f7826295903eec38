"""Who gets which frame: sockets, their topics, and the faults on the way out."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from itertools import groupby
from typing import TYPE_CHECKING, Any, Final

import orjson

from workbench.exchange.server import shapes
from workbench.exchange.server.faults import ON_FRAMES
from workbench.exchange.server.feeds import Feeds, read_topic
from workbench.exchange.server.sockets import PATHS, Socket, hear, read_idle
from workbench.exchange.simulator.rules import Refused
from workbench.exchange.words import ExecType

if TYPE_CHECKING:
    from workbench.exchange.server.exchange import Exchange
    from workbench.exchange.simulator.registry import Event

FORMS: Final[Mapping[str, shapes.Form]] = {
    "order": shapes.ORDER_PUSH, "execution": shapes.EXECUTION_PUSH,
    "position": shapes.POSITION_PUSH, "wallet": shapes.WALLET,
}  # fmt: skip
HELD_MS: Final = 1_000
"""A frame that waits to be overtaken goes out after this long in any case."""


class Delivery:
    """The open sockets and what they listen to."""

    def __init__(self, exchange: Exchange) -> None:
        self.exchange = exchange
        self.feeds = Feeds(exchange.simulator, self._push_public)
        self.sockets: dict[int, Socket] = {}
        self._public: dict[str, list[Socket]] = defaultdict(list)
        self._private: dict[tuple[str, str], list[Socket]] = defaultdict(list)
        self._ask()

    def open(self, path: str, query: dict[str, str], address: str) -> Socket | int:
        """Open a socket, or return the HTTP status that refuses it (0: it is cut)."""
        exchange = self.exchange
        if exchange.is_down:
            return 0
        if path not in PATHS:
            return 404
        if not exchange.limiter.admit_socket(address, exchange.wall_ms):
            return 403
        socket = Socket(
            next(exchange.numbers), PATHS[path], address, exchange.draw_name(), exchange.wall_ms,
            idle_ms=read_idle(query),
        )  # fmt: skip
        self.sockets[socket.number] = socket
        return socket

    def hear(self, socket: Socket, text: str) -> None:
        """Answer a frame of a client that is not yet being cut."""
        socket.heard_ms = self.exchange.wall_ms
        if socket.close_code is None:
            hear(self.exchange, socket, text)

    def forget(self, socket: Socket) -> None:
        """Drop a socket that is closed, and its topics."""
        self.sockets.pop(socket.number, None)
        socket.close_code = socket.close_code or 0
        for name in list(socket.topics):
            self.unlisten(socket, name)

    def cut_idle(self) -> None:
        """Close sockets that said nothing for too long."""
        for socket in self.sockets.values():
            if self.exchange.wall_ms - socket.heard_ms > socket.idle_ms:
                socket.end(1000)

    def restart(self) -> None:
        """Cut everybody, and begin all books again."""
        for socket in list(self.sockets.values()):
            socket.end()
            self.forget(socket)
        self.feeds.restart()
        self._ask()

    def check_topic(self, kind: str, name: str) -> None:
        """Refuse a topic that a public socket does not have."""
        is_known = (
            name == "system.status" if kind == "status"
            else read_topic(name, self.exchange.simulator) is not None
        )  # fmt: skip
        if not is_known:
            raise Refused(10001, f"error:handler not found,topic:{name}")

    def listen(self, socket: Socket, name: str) -> None:
        """Send a topic to a socket from now on, beginning with where it stands."""
        if socket.close_code is not None or name in socket.topics:
            return
        socket.topics.add(name)
        self._listeners(socket, name).append(socket)
        if socket.kind == "public":
            frame = self.feeds.open(name)
            if frame is not None:
                self._deliver(socket, name, frame)
        self._ask()

    def unlisten(self, socket: Socket, name: str) -> None:
        """Send a topic to a socket no longer."""
        if name not in socket.topics:
            return
        socket.topics.discard(name)
        listeners = self._listeners(socket, name)
        if socket in listeners:
            listeners.remove(socket)
        if socket.kind == "public" and not listeners and name in self.feeds.topics:
            self.feeds.close(name)
        self._ask()

    def _ask(self) -> None:
        # The simulator makes only the events that somebody listens for.
        kinds = {name.partition(".")[0] for (_, name), heard in self._private.items() if heard}
        self.exchange.simulator.wanted = kinds | self.feeds.wanted()

    def _listeners(self, socket: Socket, name: str) -> list[Socket]:
        if socket.kind == "private":
            return self._private[socket.uid, name]
        return self._public[name]

    def drain(self) -> None:
        """Send on what happened in the simulator; fills that came together in one frame."""
        events = self.exchange.simulator.take_events()
        for (kind, whose, _), group in groupby(events, key=_frame_of):
            records = [event.record for event in group]
            if kind in FORMS:
                self._push_private(kind, whose, records)
            else:
                for record in records:
                    self.feeds.collect(kind, whose, record)

    def push_status(self, row: Mapping[str, Any]) -> None:
        """Tell a change of the exchange's status."""
        frame = {"topic": "system.status", "ts": self.exchange.now_ms, "data": [row]}
        self._push_public("system.status", orjson.dumps(frame).decode())

    def _push_public(self, name: str, frame: str) -> None:
        for socket in self._public.get(name, ()):
            self._deliver(socket, name, frame)

    def _push_private(self, kind: str, uid: str, records: Sequence[Any]) -> None:
        self._send_private(kind, uid, FORMS[kind], records)
        if kind == "execution":
            trades = [record for record in records if record.exec_type == ExecType.TRADE]
            if trades:
                self._send_private("execution.fast", uid, shapes.EXECUTION_FAST, trades)

    def _send_private(self, kind: str, uid: str, form: shapes.Form, records: Sequence[Any]) -> None:
        is_fast = kind == "execution.fast"
        for name in (kind, f"{kind}.linear"):
            listeners = self._private.get((uid, name))
            if not listeners:
                continue
            rows = [form(record) for record in records]
            for row in rows:
                if is_fast and row["isMaker"]:
                    row["orderLinkId"] = ""
            number = {} if is_fast else {"id": f"{uid}{next(self.exchange.numbers):016x}"}
            head = {**number, "topic": name, "creationTime": self.exchange.now_ms}
            text = orjson.dumps({**head, "data": rows}).decode()
            for socket in list(listeners):
                act = partial(self._deliver, socket, name, text)
                self.exchange.later(self.exchange.settings.ack_ms, act)

    def answer(
        self, socket: Socket, text: str, then: Callable[[], None] | None = None, *,
        wait_ms: int = 0,
    ) -> None:  # fmt: skip
        """Send a reply after the time that an acknowledgement takes, then do what follows it."""

        def act() -> None:
            self._write(socket, text)
            if then is not None:
                then()

        self.exchange.later(self.exchange.settings.ack_ms + wait_ms, act)

    def _deliver(self, socket: Socket, name: str, text: str) -> None:
        fault = self.exchange.faults.hit(ON_FRAMES, name, socket.uid)
        kind = fault.kind if fault else ""
        if kind == "late" and fault:
            self.exchange.later(round(fault.seconds * 1_000), lambda: self._write(socket, text))
            return
        if kind == "reorder" and name not in socket.held:
            socket.held[name] = text
            self.exchange.later(HELD_MS, lambda: self._release(socket, name))
            return
        if kind not in ("drop", "stale"):
            self._write(socket, text)
            if kind == "duplicate":
                self._write(socket, text)
            self._release(socket, name)

    def _release(self, socket: Socket, name: str) -> None:
        held = socket.held.pop(name, None)
        if held is not None:
            self._write(socket, held)

    def _write(self, socket: Socket, text: str) -> None:
        if socket.close_code is not None:
            return
        self.exchange.note("out", n=socket.number, f=text)
        socket.outbox.append(text)
        if len(socket.outbox) > self.exchange.settings.limits.frames_waiting:
            # A reader that cannot follow must not fill the memory: it is cut and reads anew.
            socket.end()
        socket.wake()


def _frame_of(event: Event) -> tuple[str, str, int]:
    # One frame each, but for fills: the record's identity keeps the others apart.
    return event.kind, event.whose, 0 if event.kind == "execution" else id(event.record)
