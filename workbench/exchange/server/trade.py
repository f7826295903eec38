"""Orders: create, amend, cancel, alone and in batches; what is open, closed and filled."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Final

from workbench.exchange.records import Execution, Order
from workbench.exchange.server import shapes
from workbench.exchange.server.calls import Answer, Call, Endpoint, plain, require_linear
from workbench.exchange.server.paging import DAY_MS, WEEK_MS, page, read_window
from workbench.exchange.simulator.rules import Refused
from workbench.exchange.words import OrderStatus

MOST_IN_BATCH: Final = 20
MOST_CLOSED: Final = 500
UNFILLED: Final = frozenset(
    {OrderStatus.CANCELLED, OrderStatus.REJECTED, OrderStatus.DEACTIVATED}
)  # fmt: skip


def _write(name: str) -> Callable[[Call], Answer]:
    def handler(call: Call) -> Answer:
        require_linear(call)
        placed = getattr(call.simulator, name)(call.uid, call.params)
        return Answer({"orderId": placed.order_id, "orderLinkId": placed.order_link_id})

    return handler


def _write_batch(name: str, *, is_new: bool = False) -> Callable[[Call], Answer]:
    def handler(call: Call) -> Answer:
        require_linear(call)
        items = read_batch(call.params)
        rows, notes = [], []
        for number, item in enumerate(items):
            row = {
                "category": "linear", "symbol": str(item.get("symbol", "")), "orderId": "",
                "orderLinkId": str(item.get("orderLinkId", "")),
            }  # fmt: skip
            code, message = 0, "OK"
            try:
                if number >= call.granted:
                    raise Refused(10006, "Too many visits. Exceeded the API Rate Limit.")
                placed = getattr(call.simulator, name)(call.uid, item)
                row |= {"orderId": placed.order_id, "orderLinkId": placed.order_link_id}
            except Refused as refusal:
                code, message = refusal.code, refusal.message
            if is_new:
                row["createAt"] = "" if code else str(call.simulator.now_ms)
            rows.append(row)
            notes.append({"code": code, "msg": message})
        return Answer({"list": rows}, {"list": notes})

    return handler


def read_batch(params: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Return the orders of a batch, one to twenty of them."""
    items = params.get("request")
    if not isinstance(items, list) or not 1 <= len(items) <= MOST_IN_BATCH:
        raise Refused(10001, f"params error: request must hold 1 to {MOST_IN_BATCH} orders")
    if not all(isinstance(item, dict) for item in items):
        raise Refused(10001, "params error: request must hold objects")
    return [{**plain(item), "category": "linear"} for item in items]


def cancel_all(call: Call) -> Answer:
    """Cancel every open order of a symbol or coin."""
    require_linear(call)
    _require_scope(call)
    cancelled = call.simulator.cancel_all(call.uid, call.params)
    rows = [{"orderId": one.order_id, "orderLinkId": one.order_link_id} for one in cancelled]
    return Answer({"list": rows, "success": "1"})


def realtime(call: Call) -> Answer:
    """Give open orders, or the last closed ones; one that is named is found among both."""
    require_linear(call)
    is_named = bool(call.text("orderId") or call.text("orderLinkId"))
    if not is_named:
        _require_scope(call)
    orders = call.simulator.open_orders(call.uid)
    closed = [
        order
        for order in call.simulator.order_history(call.uid)
        if order.order_status.is_final and order.updated_time_ms >= call.restarted_ms
    ][:MOST_CLOSED]
    if is_named:
        orders = [*orders, *closed]
    elif call.text("openOnly", "0") not in ("", "0"):
        orders = closed
    return _orders(call, orders, default=20)


def history(call: Call) -> Answer:
    """Give past orders: those without fills for a day, the others by weeks."""
    require_linear(call)
    start, end = read_window(call.params, call.now_ms, span_ms=WEEK_MS)
    is_named = bool(call.text("orderId") or call.text("orderLinkId"))
    status = call.text("orderStatus")
    orders = [
        order
        for order in call.simulator.order_history(call.uid)
        if _is_kept(order, call.now_ms)
        and (is_named or start <= order.created_time_ms <= end)
        and status in ("", order.order_status)
    ]
    return _orders(call, orders, default=20)


def executions(call: Call) -> Answer:
    """Give fills, funding and liquidations by weeks."""
    require_linear(call)
    start, end = read_window(call.params, call.now_ms, span_ms=WEEK_MS)
    wanted = call.text("execType")
    rows = [
        row
        for row in call.simulator.executions(call.uid)
        if start <= row.exec_time_ms <= end
        and is_in_scope(call, row.symbol)
        and _is_named(call, row)
        and wanted in ("", row.exec_type)
    ]
    shown, cursor = page(
        rows, call.params, key=lambda row: (row.exec_time_ms, row.exec_id), default=50, most=100
    )
    return Answer({
        "nextPageCursor": cursor, "category": "linear",
        "list": [shapes.EXECUTION(row) for row in shown],
    })  # fmt: skip


def pre_check(call: Call) -> Answer:
    """Tell the margin rates before and after an order that is not sent."""
    require_linear(call)
    rates = call.simulator.pre_check(call.uid, call.params)
    return Answer({
        "orderId": "", "orderLinkId": call.text("orderLinkId"), "preImrE4": rates.pre_imr_e4,
        "preMmrE4": rates.pre_mmr_e4, "postImrE4": rates.post_imr_e4,
        "postMmrE4": rates.post_mmr_e4,
    })  # fmt: skip


def disconnect_cancel_all(call: Call) -> Answer:
    """Refuse: cancelling on a lost connection is for institutions."""
    raise Refused(10005, "Permission denied, DCP is open to institutional clients only.")


def is_in_scope(call: Call, symbol: str) -> bool:
    """Return whether a row's symbol is among those asked for."""
    return (
        call.text("symbol", symbol) in ("", symbol)
        and call.text("baseCoin") in ("", symbol.removesuffix("USDT"))
        and call.text("settleCoin") in ("", "USDT")
    )


def _require_scope(call: Call) -> None:
    if not any(call.text(name) for name in ("symbol", "baseCoin", "settleCoin")):
        raise Refused(10001, "params error: symbol, baseCoin or settleCoin is required")


def _is_kept(order: Order, now_ms: int) -> bool:
    age = now_ms - order.updated_time_ms
    if order.cum_exec_qty:
        return True
    return age <= (DAY_MS if order.order_status in UNFILLED else WEEK_MS)


def _is_named(call: Call, row: Order | Execution) -> bool:
    return call.text("orderId") in ("", row.order_id) and (
        call.text("orderLinkId") in ("", row.order_link_id)
    )


def _is_filtered(call: Call, order: Order) -> bool:
    wanted = call.text("orderFilter")
    return wanted == "" or (wanted != "Order") == bool(order.stop_order_type)


def _orders(call: Call, orders: list[Order], *, default: int) -> Answer:
    rows = [
        order
        for order in orders
        if is_in_scope(call, order.symbol) and _is_named(call, order) and _is_filtered(call, order)
    ]
    shown, cursor = page(
        rows, call.params, key=lambda row: (row.created_time_ms, row.order_id),
        default=default, most=50,
    )  # fmt: skip
    return Answer({
        "list": [shapes.ORDER(row) for row in shown], "nextPageCursor": cursor,
        "category": "linear",
    })  # fmt: skip


def _order(handler: Callable[[Call], Answer], *, is_batch: bool = False) -> Endpoint:
    return Endpoint(handler, True, True, "Order", 10, is_batch=is_batch)


TRADE: Final = {
    ("POST", "/v5/order/create"): _order(_write("create_order")),
    ("POST", "/v5/order/amend"): _order(_write("amend_order")),
    ("POST", "/v5/order/cancel"): _order(_write("cancel_order")),
    ("POST", "/v5/order/cancel-all"): _order(cancel_all),
    ("POST", "/v5/order/create-batch"): _order(
        _write_batch("create_order", is_new=True), is_batch=True
    ),
    ("POST", "/v5/order/amend-batch"): _order(_write_batch("amend_order"), is_batch=True),
    ("POST", "/v5/order/cancel-batch"): _order(_write_batch("cancel_order"), is_batch=True),
    ("POST", "/v5/order/pre-check"): _order(pre_check),
    ("POST", "/v5/order/disconnected-cancel-all"): _order(disconnect_cancel_all),
    ("GET", "/v5/order/realtime"): Endpoint(realtime, True, units=50),
    ("GET", "/v5/order/history"): Endpoint(history, True, units=50),
    ("GET", "/v5/execution/list"): Endpoint(executions, True, units=50),
}
