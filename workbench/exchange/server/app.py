"""The exchange on one port: HTTP and WebSocket in, the machine's clock, and cut connections."""

from __future__ import annotations

import asyncio
import contextlib
import socket as sockets
import threading
import time
from collections.abc import Callable, Coroutine, Iterator
from typing import Any, Final, cast

import uvicorn
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol
from uvicorn.protocols.websockets.websockets_sansio_impl import WebSocketsSansIOProtocol

from workbench.core.errors import ConfigError
from workbench.exchange.server.calls import Request
from workbench.exchange.server.exchange import Exchange
from workbench.exchange.server.sockets import Socket
from workbench.exchange.server.steering import build_control

TICK_S: Final = 0.01
MOST_BYTES: Final = 1 << 20
TRANSPORT: Final = "workbench.transport"
START_S: Final = 20.0

Feed = Callable[[str, str, dict[str, Any]], None]
Follow = Callable[[Feed], Coroutine[Any, Any, None]]


def machine_ms() -> int:
    """Return the machine's time in milliseconds since 1970."""
    return time.time_ns() // 1_000_000


class _Http(HttpToolsProtocol):
    # The application may cut a connection without a word: it is handed the transport.
    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        if cast(App, self.app).exchange.is_down:
            transport.abort()

    def on_message_begin(self) -> None:
        super().on_message_begin()
        self.scope["state"][TRANSPORT] = self.transport


class _WebSocket(WebSocketsSansIOProtocol):
    def handle_connect(self, event: Any) -> None:
        super().handle_connect(event)
        if hasattr(self, "scope"):
            self.scope["state"][TRANSPORT] = self.transport


class App:
    """The ASGI application of an exchange."""

    def __init__(self, exchange: Exchange, token: str, follow: Follow | None = None) -> None:
        self.exchange, self.follow = exchange, follow
        self.control = build_control(exchange, token, machine_ms)
        self._timer: asyncio.Handle | None = None
        self._ticked_s = self._timer_s = 0.0

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        """Answer one request or serve one socket, or live as long as the server does."""
        if scope["type"] == "lifespan":
            await self._live(receive, send)
            return
        if scope["type"] == "websocket":
            await self._socket(scope, receive, send)
        elif scope["path"].startswith("/control/"):
            await self.control(scope, receive, send)
        else:
            await self._request(scope, receive, send)
        self._arm()

    async def _live(self, receive: Any, send: Any) -> None:
        await receive()
        self._tick()
        following = self.follow and asyncio.create_task(self.follow(self._feed))
        if following:
            following.add_done_callback(_tell_failure)
        await send({"type": "lifespan.startup.complete"})
        await receive()
        if self._timer:
            self._timer.cancel()
        if following:
            following.cancel()
            await asyncio.wait({following})
        await send({"type": "lifespan.shutdown.complete"})

    def _feed(self, kind: str, symbol: str, body: dict[str, Any]) -> None:
        self.exchange.feed(kind, symbol, body, machine_ms())

    def _tick(self) -> None:
        self._ticked_s = asyncio.get_running_loop().time()
        self._timer = None
        try:
            self.exchange.tick(machine_ms())
        finally:
            self._arm()

    def _arm(self) -> None:
        # The next tick, or sooner if something is due.
        loop = asyncio.get_running_loop()
        when = self._ticked_s + TICK_S
        if self.exchange.due_ms is not None:
            when = min(when, loop.time() + max(self.exchange.due_ms - machine_ms(), 0) / 1_000)
        if self._timer is not None:
            if self._timer_s <= when:
                return
            self._timer.cancel()
        self._timer, self._timer_s = loop.call_at(when, self._tick), when

    async def _request(self, scope: Any, receive: Any, send: Any) -> None:
        body = b""
        while True:
            message = await receive()
            if message["type"] == "http.disconnect":
                return
            body += message.get("body", b"")
            if not message.get("more_body") or len(body) > MOST_BYTES:
                break
        headers = {k.decode("latin-1").lower(): v.decode("latin-1") for k, v in scope["headers"]}
        reply = self.exchange.handle(
            Request(
                scope["method"], scope["path"], scope["query_string"], headers,
                body[:MOST_BYTES], scope["client"][0],
            ),
            machine_ms(),
        )  # fmt: skip
        if reply.delay_ms:
            await asyncio.sleep(reply.delay_ms / 1_000)
        if reply.is_cut:
            scope["state"][TRANSPORT].abort()
            await receive()
            return
        shown = {"Content-Type": "application/json", "Content-Length": str(len(reply.body)),
                 **reply.headers}  # fmt: skip
        pairs = [(name.encode(), value.encode()) for name, value in shown.items()]
        await send({"type": "http.response.start", "status": reply.status, "headers": pairs})
        await send({"type": "http.response.body", "body": reply.body})

    async def _socket(self, scope: Any, receive: Any, send: Any) -> None:
        transport = scope["state"][TRANSPORT]
        await receive()
        query = scope["query_string"].decode("latin-1")
        opened = self.exchange.open_socket(scope["path"], query, scope["client"][0], machine_ms())
        if opened == 0:
            transport.abort()
            return
        if isinstance(opened, int):
            start = {"type": "websocket.http.response.start", "status": opened, "headers": []}
            await send(start)
            await send({"type": "websocket.http.response.body", "body": b""})
            return
        await send({"type": "websocket.accept"})
        writer = asyncio.create_task(_write(opened, transport, send))
        try:
            while (message := await receive())["type"] != "websocket.disconnect":
                text = message.get("text")
                if text is None:
                    text = message["bytes"].decode("utf-8", "replace")
                self.exchange.hear(opened, text, machine_ms())
                self._arm()
        finally:
            writer.cancel()
            self.exchange.close_socket(opened, machine_ms())


def _tell_failure(task: asyncio.Task[None]) -> None:
    # What ends the feed is a defect or a wrong set-up: the loop reports it.
    if not task.cancelled():
        task.result()


async def _write(socket: Socket, transport: asyncio.Transport, send: Any) -> None:
    # One writer a socket. It may wait for a slow reader; a cut does not wait for the writer.
    ready = asyncio.Event()

    def wake() -> None:
        ready.set()
        if socket.close_code == 0:
            transport.abort()

    socket.wake = wake
    wake()
    while True:
        await ready.wait()
        ready.clear()
        while socket.outbox:
            await send({"type": "websocket.send", "text": socket.outbox.popleft()})
        if socket.close_code:
            await send({"type": "websocket.close", "code": socket.close_code})
            return


def build_server(exchange: Exchange, token: str, follow: Follow | None = None) -> uvicorn.Server:
    """Return the server of an exchange, which takes a listening socket to run.

    ``follow`` hands the real market to a function until it is cancelled.
    """
    return uvicorn.Server(
        uvicorn.Config(
            App(exchange, token, follow), http=_Http, ws=_WebSocket, lifespan="on",
            proxy_headers=False, log_level="warning", access_log=False, server_header=False,
            date_header=False, ws_ping_interval=None, ws_per_message_deflate=False,
            ws_max_size=MOST_BYTES, timeout_keep_alive=75, timeout_graceful_shutdown=1,
            interface="asgi3",
        )
    )  # fmt: skip


def listen(host: str, port: int) -> sockets.socket:
    """Return a listening socket; port 0 takes any that is free."""
    try:
        return sockets.create_server((host, port), backlog=1024)
    except OSError as error:
        raise ConfigError(
            f"Port {port} of {host} cannot be used: {error.strerror}.",
            "Choose another with --port, or stop what uses it.",
        ) from error


@contextlib.contextmanager
def serving(
    exchange: Exchange, *, token: str = "", host: str = "127.0.0.1", follow: Follow | None = None
) -> Iterator[str]:
    """Serve an exchange on a free port, from a thread of this process; gives host and port."""
    socket = listen(host, 0)
    server = build_server(exchange, token, follow)
    thread = threading.Thread(target=server.run, args=([socket],), daemon=True)
    thread.start()
    deadline = time.monotonic() + START_S
    while not server.started and thread.is_alive() and time.monotonic() < deadline:
        time.sleep(0.005)
    try:
        yield f"{host}:{socket.getsockname()[1]}"
    finally:
        server.should_exit = True
        thread.join(START_S)
        socket.close()
