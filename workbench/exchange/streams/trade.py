"""Orders over a socket: each request has one answer, one refusal or one unknown fate."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence
from typing import Any, ClassVar, Final, Protocol, TypeVar
from uuid import uuid4

from websockets.exceptions import WebSocketException

from workbench.core.errors import ExchangeBusy, OrderRejected, OrderUnknown, WorkbenchError
from workbench.exchange.codes import Outcome, describe, find_outcome
from workbench.exchange.records import OrderAck, parse_ack
from workbench.exchange.requests import CATEGORY, AmendRequest, CancelRequest, OrderRequest, body
from workbench.exchange.streams.connection import MALFORMED, Socket
from workbench.exchange.streams.protocol import Login

Request = OrderRequest | AmendRequest | CancelRequest
Json = Mapping[str, Any]
Ack = TypeVar("Ack")

WORN_OUT: Final = frozenset({10019, 20001})
"""The exchange restarts this socket, or has lost its login: only a new connection will do."""


class Gate(Protocol):
    """What every order passes on its way out, by whatever way it goes: rights, rules and pace."""

    def admit(self, action: str, requests: Sequence[Request]) -> None:
        """Raise if requests for an action (``create``, ``cancel-batch``) must not leave now.

        It is called in a thread; for the pace it raises ``ExchangeBusy`` and does not wait.
        """

    def learn(self, action: str, headers: Mapping[str, str]) -> None:
        """Read the rate-limit headers of a reply."""


class TradeSocket(Socket):
    """Creates, amends and cancels orders; nothing is ever sent twice.

    Every method raises ``OrderRejected`` where a request was refused, here or there,
    ``ExchangeBusy`` where it had no effect and may be sent again, and ``OrderUnknown`` where no
    answer came: it may stand, and must be asked for by its link.
    """

    path: ClassVar[str] = "/v5/trade"

    def __init__(
        self,
        base_url: str,
        *,
        login: Login,
        gate: Gate,
        recv_window_ms: int = 5000,
        **options: Any,
    ) -> None:
        super().__init__(base_url, login=login, **options)
        self.gate, self.recv_window_ms = gate, recv_window_ms

    async def create(self, order: OrderRequest) -> OrderAck:
        """Send an order, once."""
        return await self._send("create", [order], body(order), _read_ack)

    async def amend(self, change: AmendRequest) -> OrderAck:
        """Change an open order; a fill may come first."""
        return await self._send("amend", [change], body(change), _read_ack)

    async def cancel(self, order: CancelRequest) -> OrderAck:
        """Cancel an order; where there was nothing left to cancel the code of the ack says so."""
        return await self._send("cancel", [order], body(order), _read_ack)

    async def create_batch(self, orders: Sequence[OrderRequest]) -> list[OrderAck]:
        """Send orders together; each ack has a code of its own."""
        return await self._send("create-batch", orders, _batch(orders), _read_acks)

    async def amend_batch(self, changes: Sequence[AmendRequest]) -> list[OrderAck]:
        """Change orders together; each ack has a code of its own."""
        return await self._send("amend-batch", changes, _batch(changes), _read_acks)

    async def cancel_batch(self, orders: Sequence[CancelRequest]) -> list[OrderAck]:
        """Cancel orders together; each ack has a code of its own."""
        return await self._send("cancel-batch", orders, _batch(orders), _read_acks)

    async def _send(
        self,
        action: str,
        requests: Sequence[Request],
        args: Json,
        read: Callable[[Sequence[Request], Json], Ack],
    ) -> Ack:
        await asyncio.to_thread(self.gate.admit, action, requests)
        if self.trouble:
            raise ExchangeBusy(
                f"The trade socket is not ready: {self.trouble}",
                "Nothing was sent: send it by REST, or again when it is.",
            )
        key = uuid4().hex
        header = {
            "X-BAPI-TIMESTAMP": str(self._now_ms()),
            "X-BAPI-RECV-WINDOW": str(self.recv_window_ms),
        }
        args = {"category": CATEGORY, **args}
        try:
            reply = await self._ask(f"order.{action}", [args], key=key, reqId=key, header=header)
            if headers := reply.get("header"):
                # Of its own in the loop: what it raises is logged there and harms no order.
                asyncio.get_running_loop().call_soon(self.gate.learn, action, headers)
            if reply["retCode"] in WORN_OUT and self._socket is not None:
                self._socket.transport.abort()
            if (refused := _refusal(action, reply)) is not None:
                raise refused
            return read(requests, reply)
        except (OSError, WebSocketException, *MALFORMED) as error:
            what = f"{type(error).__name__} {error}".strip()
            raise _unknown(f"No answer to {action} that can be read: {what}.") from error


def _batch(requests: Sequence[Request]) -> Json:
    return {"request": [body(request) for request in requests]}


def _read_ack(requests: Sequence[Request], reply: Json) -> OrderAck:
    row = {"orderLinkId": requests[0].order_link_id, **(reply.get("data") or {})}
    return parse_ack({**row, "code": reply["retCode"], "msg": reply["retMsg"]})


def _read_acks(requests: Sequence[Request], reply: Json) -> list[OrderAck]:
    rows, codes = reply["data"]["list"], reply["retExtInfo"]["list"]
    return [parse_ack({**row, **code}) for _, row, code in zip(requests, rows, codes, strict=True)]


def _refusal(action: str, reply: Json) -> WorkbenchError | None:
    code = int(reply["retCode"])
    outcome = find_outcome(code, action) if code else Outcome.DONE
    what = f"The exchange refuses to {action} with {describe(code, reply.get('retMsg', ''))}"
    if outcome is Outcome.UNKNOWN:
        return _unknown(what)
    if outcome is Outcome.RETRY_LATER:
        return ExchangeBusy(what, "Nothing was done; ask less often, and send it again.")
    if outcome is Outcome.CLOCK:
        return ExchangeBusy(what, "Nothing was done: measure the clock's offset, and send again.")
    return OrderRejected(what, "The code is Bybit's own.") if outcome is Outcome.REJECTED else None


def _unknown(what: str) -> OrderUnknown:
    return OrderUnknown(
        f"{what} Whether it had its effect is not known.",
        "Ask for the order by its order_link_id; never send it again under another.",
    )
