"""What changes something at the exchange: orders, stops, leverage, modes, margin.

An acknowledgement says that a request was accepted, and no more: what became of it comes by the
order stream. What the exchange would refuse never leaves, and nothing is sent twice.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import timedelta
from decimal import Decimal
from typing import Any, Final

from workbench.core.errors import OrderRejected
from workbench.core.records import Instrument
from workbench.exchange import records, rules
from workbench.exchange.client.account import SETTLE_COIN, AccountReads
from workbench.exchange.client.caller import Reply, uncertain
from workbench.exchange.client.routes import ROUTES
from workbench.exchange.records import OrderAck, PriceLimit
from workbench.exchange.requests import (
    CATEGORY,
    AmendRequest,
    CancelRequest,
    OrderRequest,
    StopRequest,
    body,
)
from workbench.exchange.wire import plain_text, read
from workbench.exchange.words import MarginMode, OrderType, PositionIdx, PositionMode

BATCH: Final = 10
"""As many orders as one second allows: what a batch has beyond fails order by order."""
RULES_FRESH: Final = timedelta(hours=1)
"""Ticks and limits change now and then; sizes on the 3rd and 17th of a month."""
QUOTE_FRESH: Final = timedelta(seconds=5)
_NAMES: Final = {route.action: name for name, route in ROUTES.items()}


class BybitClient(AccountReads):
    """The one client of Bybit's V5 REST interface, safe to share between threads.

    Without a key it reads public data only. Each thread has a connection of its own, so that a
    cancel passes a create that hangs.
    """

    # What orders are held against

    def instrument(self, symbol: str, *, may_be_old: bool = False) -> Instrument:
        """Return the rules of a symbol, an hour old at most unless haste matters more."""
        fresh = timedelta.max if may_be_old else RULES_FRESH
        known: Instrument | None = self._recall("rules", symbol, fresh)
        if known is None:
            (known,) = self.instruments([symbol])
        return known

    def instruments(self, symbols: Sequence[str] | None = None) -> list[Instrument]:
        """Return linear USDT perpetuals with their margin tiers, and hold orders against them.

        Raises
        ------
        DataError
            If a symbol does not exist; the message names the nearest ones.
        """
        found = super().instruments(symbols)
        for own in found:
            self._note("rules", own.symbol, own)
        return found

    def note_price(self, symbol: str, price: Decimal) -> None:
        """Tell the last price that a stream has seen; it serves for five seconds."""
        self._note("price", symbol, price)

    def note_limit(self, limit: PriceLimit) -> None:
        """Tell the price limits that a stream has seen; they serve for five seconds."""
        self._note("limit", limit.symbol, limit)

    def tickers(self, symbol: str | None = None) -> list[records.Ticker]:
        """Return the last state of a symbol, or of all."""
        found = super().tickers(symbol)
        for own in found:
            if own.last_price is not None:
                self.note_price(own.symbol, own.last_price)
        return found

    def price_limit(self, symbol: str) -> PriceLimit:
        """Return the highest purchase and the lowest sale that are taken now."""
        limit = super().price_limit(symbol)
        self.note_limit(limit)
        return limit

    # Orders

    def create_order(self, request: OrderRequest, *, is_resend: bool = False) -> OrderAck:
        """Send an order, once.

        ``is_resend`` says that the same request was sent before with an unknown outcome: that its
        id is known then means that it had arrived (the ack carries code 110072).

        Raises
        ------
        OrderRejected
            If a rule here or the exchange refuses it: it has ended.
        ExchangeBusy
            If it had no effect for now: it may be sent again.
        OrderUnknown
            If it may be on the exchange: ``find_order`` by its order_link_id.
        """
        self._check(request)
        reply = self._send(
            "place_order", _query(request), is_urgent=request.is_closing,
            action="resend" if is_resend else "",
        )  # fmt: skip
        return _ack(reply, request.order_link_id)

    def create_orders(self, requests: Sequence[OrderRequest]) -> list[OrderAck]:
        """Send up to ten orders at once; each ack has a code of its own. Raises as one order."""
        for request in requests:
            self._check(request)
        is_urgent = all(request.is_closing for request in requests)
        return self._batch("place_batch_order", requests, is_urgent=is_urgent)

    def amend_order(self, request: AmendRequest) -> OrderAck:
        """Change an open order. Raises as ``create_order``; a fill may come first."""
        rules.check_amend(request, self.instrument(request.symbol))
        return _ack(self._send("amend_order", _query(request)), request.order_link_id)

    def amend_orders(self, requests: Sequence[AmendRequest]) -> list[OrderAck]:
        """Change up to ten orders at once; each ack has a code of its own."""
        for request in requests:
            rules.check_amend(request, self.instrument(request.symbol))
        return self._batch("amend_batch_order", requests)

    def cancel_order(self, request: CancelRequest) -> OrderAck:
        """Cancel an order; the code of the ack is not 0 where there was nothing left to cancel.

        Raises
        ------
        OrderUnknown
            If it may have been cancelled: the order stream tells, and a fill may have come first.
        """
        rules.check_named(request)
        return _ack(self._send("cancel_order", _query(request)), request.order_link_id)

    def cancel_orders(self, requests: Sequence[CancelRequest]) -> list[OrderAck]:
        """Cancel up to ten orders at once; each ack has a code of its own."""
        for request in requests:
            rules.check_named(request)
        return self._batch("cancel_batch_order", requests)

    def cancel_all(
        self, symbol: str | None = None, *, keeps_conditional: bool = False
    ) -> list[OrderAck]:
        """Cancel every order of a symbol, or every one there is (500 a call).

        ``keeps_conditional`` leaves what waits for a trigger: stops, take-profits, exits.
        """
        scope = {"settleCoin": SETTLE_COIN} if symbol is None else {"symbol": symbol}
        kind = {"orderFilter": "Order"} if keeps_conditional else {}
        reply = self._send("cancel_all_orders", {"category": CATEGORY, **scope, **kind})
        return [records.parse_ack(row) for row in reply.result.get("list", [])]

    def pre_check(self, request: OrderRequest) -> records.PreCheck:
        """Return the margin rates before and after an order, which is not sent."""
        self._check(request)
        return read(records.PreCheck, self._read("pre_check_order", **_query(request)))

    # Orders that go by another way

    def admit(
        self, action: str, requests: Sequence[OrderRequest | AmendRequest | CancelRequest]
    ) -> None:
        """Raise if requests for an action (``create``, ``cancel-batch``) must not leave now.

        For the trade socket: the same rights, rules and pace as here, and one count of both.

        Raises
        ------
        ExchangeBusy
            If the pace does not allow it; nothing waits here.
        """
        name = _NAMES[action]
        self._require_rights(name, ROUTES[name])
        for request in requests:
            if isinstance(request, OrderRequest):
                self._check(request)
            elif isinstance(request, AmendRequest):
                rules.check_amend(request, self.instrument(request.symbol))
            else:
                rules.check_named(request)
        urgent = ROUTES[name].is_urgent or all(
            isinstance(request, OrderRequest) and request.is_closing for request in requests
        )
        self._bucket(ROUTES[name]).take(len(requests), is_urgent=urgent, patience_s=0.0)

    def learn(self, action: str, headers: Mapping[str, str]) -> None:
        """Read the rate-limit headers of a reply that came by another way."""
        self._bucket(ROUTES[_NAMES[action]]).learn(headers, now=self.time.now())

    # Positions and account

    def set_leverage(self, symbol: str, leverage: Decimal) -> None:
        """Set the leverage of a symbol, for both sides."""
        rules.check_leverage(leverage, self.instrument(symbol))
        text = plain_text(leverage)
        self._set("set_leverage", symbol=symbol, buyLeverage=text, sellLeverage=text)

    def set_position_mode(self, mode: PositionMode, symbol: str | None = None) -> None:
        """Hold one position of a symbol, or a long and a short; without a symbol, of all."""
        scope = {"coin": SETTLE_COIN} if symbol is None else {"symbol": symbol}
        self._set("switch_position_mode", mode=int(mode), **scope)

    def set_stops(self, request: StopRequest) -> None:
        """Set, change or remove take-profit, stop-loss and trailing stop of a position."""
        rules.check_stop(request, self.instrument(request.symbol, may_be_old=True))
        self._set("set_trading_stop", **body(request))

    def add_margin(
        self, symbol: str, amount: Decimal, *, position_idx: PositionIdx = PositionIdx.ONE_WAY
    ) -> records.Position:
        """Add margin to an isolated position, or take some back with a negative amount.

        Raises
        ------
        OrderUnknown
            If it may have been added: read the position before adding again.
        """
        reply = self._send(
            "add_or_reduce_margin",
            {"category": CATEGORY, "symbol": symbol, "margin": plain_text(amount),
             "positionIdx": int(position_idx)},
        )  # fmt: skip
        return records.parse_position(reply.result)

    def set_auto_margin(
        self, symbol: str, *, is_on: bool, position_idx: PositionIdx = PositionIdx.ONE_WAY
    ) -> None:
        """Let the exchange add margin to an isolated position by itself, or not."""
        self._set("set_auto_add_margin", symbol=symbol, autoAddMargin=int(is_on),
                  positionIdx=int(position_idx))  # fmt: skip

    def set_margin_mode(self, mode: MarginMode) -> None:
        """Set what stands in for the positions of the account."""
        self._send("set_margin_mode", {"setMarginMode": str(mode)})

    def apply_demo_money(self, amounts: Mapping[str, Decimal]) -> None:
        """Ask for play money of each coin; once a minute, on demo and the simulator only."""
        rows = [{"coin": c, "amountStr": plain_text(amount)} for c, amount in amounts.items()]
        self._send("apply_demo_money", {"adjustType": 0, "utaDemoApplyMoney": rows})

    def _set(self, name: str, **query: Any) -> None:
        self._send(name, {"category": CATEGORY, **query})

    def _batch(
        self,
        name: str,
        requests: Sequence[OrderRequest] | Sequence[AmendRequest] | Sequence[CancelRequest],
        *,
        is_urgent: bool = False,
    ) -> list[OrderAck]:
        if not 1 <= len(requests) <= BATCH:
            raise OrderRejected(
                f"A batch of {len(requests)} orders cannot be sent.",
                f"Give 1 to {BATCH}: what is beyond the limit of a second fails order by order.",
            )
        query = {"category": CATEGORY, "request": [body(request) for request in requests]}
        reply = self._send(name, query, units=len(requests), is_urgent=is_urgent)
        rows = reply.result.get("list", [])
        if not len(rows) == len(reply.items) == len(requests):
            raise uncertain(f"{len(requests)} orders got {len(rows)} answers.", ROUTES[name])
        return [
            records.parse_ack({**row, **item}) for row, item in zip(rows, reply.items, strict=True)
        ]

    def _check(self, request: OrderRequest) -> None:
        price: Decimal | None = self._recall("price", request.symbol, QUOTE_FRESH)
        needs_price = request.order_type == OrderType.MARKET and request.trigger_price is None
        if price is None and needs_price and not request.is_closing:
            price = self.tickers(request.symbol)[0].last_price
        limit: PriceLimit | None = self._recall("limit", request.symbol, QUOTE_FRESH)
        own = self.instrument(request.symbol, may_be_old=request.is_closing)
        rules.check_order(request, own, reference=price, limit=limit)

    def _note(self, kind: str, symbol: str, value: Any) -> None:
        self._seen[kind, symbol] = self.clock.now(), value

    def _recall(self, kind: str, symbol: str, fresh: timedelta) -> Any:
        at, value = self._seen.get((kind, symbol), (None, None))
        return value if at is not None and self.clock.now() - at <= fresh else None


def _query(request: OrderRequest | AmendRequest | CancelRequest) -> dict[str, Any]:
    return {"category": CATEGORY, **body(request)}


def _ack(reply: Reply, order_link_id: str) -> OrderAck:
    return records.parse_ack({"orderLinkId": order_link_id, **reply.result, "code": reply.code})
