"""A small exchange on sockets that speaks V5 and can misbehave; it runs in the loop of its test."""

import asyncio
import hashlib
import hmac
import json
import socket
import struct
from collections import Counter
from http import HTTPStatus

from websockets.asyncio.server import serve
from websockets.exceptions import ConnectionClosed

from tests.loopback.virtual import LoopClock
from workbench.core.vault.secret import Secret
from workbench.exchange.wire import to_millis

LOGIN = Secret({"api_key": "key-of-a-test", "api_secret": "secret-of-a-test"})
PUBLIC, PRIVATE, TRADE = "/v5/public/linear", "/v5/private", "/v5/trade"


class SocketExchange:
    """One server for all paths; ``async with`` opens it, its fields make it misbehave.

    ``first`` gives the frames that follow a subscription to a topic. ``refuses`` maps a topic to
    the reason of its refusal. ``answer`` makes the reply to an order, or None for silence.
    """

    def __init__(self):
        self.first, self.refuses = {}, {}
        self.answer = accept
        self.bad_gateways = 0  # so many upgrades are answered with 502
        self.is_mute = False  # hears everything and says nothing
        self.refuses_login = False
        self.delay_s = 0.0  # before every reply
        self.stray_acks = False  # says at once what nobody asked
        self.closes_after_login = False
        self.heard = []  # (path, message) of everything received
        self.connections = Counter()
        self.subscribed = {}  # socket: topics
        self.clock = LoopClock()
        self.port = 0

    async def __aenter__(self):
        await self.open()
        return self

    async def __aexit__(self, *_):
        await self.shut()

    @property
    def url(self):
        return f"ws://127.0.0.1:{self.port}"

    async def open(self):
        """Listen; again on the same port after ``shut``."""
        self.server = await serve(
            self._serve, "127.0.0.1", self.port, process_request=self._upgrade,
            ping_interval=None, close_timeout=0.1, reuse_address=True,
        )  # fmt: skip
        self.port = self.server.sockets[0].getsockname()[1]

    async def shut(self, code=1001):
        """Close every connection and listen no longer."""
        self.server.close(code=code)
        await self.server.wait_closed()

    async def close(self, code):
        """Close every connection cleanly."""
        for one in list(self.subscribed):
            await one.close(code)

    def reset(self):
        """Cut every connection with a TCP reset."""
        for one in list(self.subscribed):
            raw = one.transport.get_extra_info("socket")
            raw.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            one.transport.abort()

    async def push(self, *frames):
        """Send frames, bytes or JSON, to whoever has subscribed to their topic."""
        for frame in frames:
            raw = frame if isinstance(frame, bytes) else json.dumps(frame).encode()
            topic = None if isinstance(frame, bytes) else frame["topic"]
            for one, topics in list(self.subscribed.items()):
                if topic is None or topic in topics:
                    await one.send(raw, text=True)
        await asyncio.sleep(0.01)

    def asked(self, op):
        """The messages of one operation, in order."""
        return [message for _, message in self.heard if message.get("op") == op]

    def _upgrade(self, connection, request):
        if self.bad_gateways:
            self.bad_gateways -= 1
            return connection.respond(HTTPStatus.BAD_GATEWAY, "no\n")
        return None

    async def _serve(self, one):
        path = one.request.path
        self.connections[path] += 1
        self.subscribed[one] = set()
        if self.stray_acks:
            for number in range(1, 4):
                await _say(one, {"success": True, "op": "subscribe", "req_id": str(number)})
        try:
            async for raw in one:
                message = json.loads(raw)
                self.heard.append((path, message))
                if not self.is_mute:
                    await asyncio.sleep(self.delay_s)
                    await self._reply(one, path, message)
        except ConnectionClosed:
            pass
        finally:
            del self.subscribed[one]

    async def _reply(self, one, path, message):
        op = message["op"]
        if op == "ping":
            await _say(one, self._pong(path))
        elif op == "auth":
            await _say(one, self._login(path, message["args"]))
            if self.closes_after_login:
                await one.close(1000)
        elif op == "subscribe":
            await self._subscribe(one, path, message)
        elif op == "unsubscribe":
            self.subscribed[one] -= set(message["args"])
            await _say(one, _ack(path, message))
        elif (answer := self.answer(message)) is not None:
            await _say(one, answer)

    async def _subscribe(self, one, path, message):
        bad = [self.refuses[topic] for topic in message["args"] if topic in self.refuses]
        if bad:
            await _say(one, {**_ack(path, message), "success": False, "ret_msg": bad[0]})
            return
        self.subscribed[one] |= set(message["args"])
        await _say(one, _ack(path, message))
        for topic in message["args"]:
            for frame in self.first.get(topic, ()):
                await _say(one, frame)

    def _login(self, path, args):
        key, expires, sign = args
        words = f"GET/realtime{expires}".encode()
        own = hmac.new(LOGIN.reveal()["api_secret"].encode(), words, hashlib.sha256).hexdigest()
        is_late = int(expires) <= to_millis(self.clock.now())
        fails = key != LOGIN.reveal()["api_key"] or sign != own or is_late or self.refuses_login
        if path == TRADE:
            code, word = (10004, "error sign") if fails else (0, "OK")
            return {"retCode": code, "retMsg": word, "op": "auth", "connId": "t-1"}
        return {"success": not fails, "ret_msg": "bad key" if fails else "", "op": "auth",
                "conn_id": "p-1"}  # fmt: skip

    def _pong(self, path):
        stamp = str(to_millis(self.clock.now()))
        if path == PUBLIC:
            return {"success": True, "ret_msg": "pong", "conn_id": "c-1", "op": "ping"}
        if path == PRIVATE:
            return {"op": "pong", "args": [stamp], "conn_id": "p-1"}
        return {"retCode": 0, "retMsg": "OK", "op": "pong", "data": [stamp], "connId": "t-1"}


def accept(message):
    """The acknowledgement of an order, with the headers of its rate limit."""
    links = [row.get("orderLinkId", "") for row in message["args"][0].get("request", ())]
    link = message["args"][0].get("orderLinkId", "")
    data = {"orderId": f"id-of-{link}", "orderLinkId": link}
    extra = {}
    if links:
        data = {"list": [{"orderId": f"id-of-{one}", "orderLinkId": one} for one in links]}
        extra = {"list": [{"code": 0, "msg": "OK"} for _ in links]}
    return {
        "reqId": message["reqId"], "retCode": 0, "retMsg": "OK", "op": message["op"], "data": data,
        "retExtInfo": extra, "connId": "t-1",
        "header": {"X-Bapi-Limit": "10", "X-Bapi-Limit-Status": "9",
                   "X-Bapi-Limit-Reset-Timestamp": "1711001595208"},
    }  # fmt: skip


def _ack(path, message):
    """As documented: public acknowledgements carry the id, private ones none."""
    ack = {"success": True, "ret_msg": "", "op": message["op"], "conn_id": "c-1"}
    return {**ack, "req_id": message.get("req_id", "")} if path == PUBLIC else ack


async def _say(one, frame):
    await one.send(json.dumps(frame) if isinstance(frame, dict) else frame, text=True)
