"""Faults that act by themselves, scenarios, and what the control interface may ask for."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from decimal import Decimal, InvalidOperation
from functools import partial
from typing import TYPE_CHECKING, Any, Final

from workbench.core.errors import ConfigError
from workbench.exchange.records import Order, Position
from workbench.exchange.server.faults import ACTS, Fault, list_scenarios, load_scenario, read_fault
from workbench.exchange.simulator.rules import Refused
from workbench.exchange.words import OrderStatus

if TYPE_CHECKING:
    from workbench.exchange.server.exchange import Exchange

LASTING: Final = frozenset({"stale", "refuse", "status", "lose"})
"""Kinds for which ``seconds`` tells how long they last; for the others it is a delay."""
AGAIN_MS: Final = 100
PATIENCE_MS: Final = 600_000
AWAY: Final = ("order", "position", "account", "execution", "user")
SERVER_ERROR: Final = 10016

Json = dict[str, Any]


def strike(exchange: Exchange, fault: Fault) -> None:
    """Put a fault in force, or carry it out."""
    if fault.kind in ACTS:
        _ACTS[fault.kind](exchange, fault)
        return
    exchange.faults.add(fault)
    if fault.kind in LASTING and fault.seconds:
        fault.times = 0
        exchange.later(round(fault.seconds * 1_000), lambda: exchange.faults.remove(fault))


def play(exchange: Exchange, name: str) -> None:
    """Let the faults of a scenario happen, each in its time from now on."""
    for fault in load_scenario(name).faults:
        exchange.later(round(fault.at_s * 1_000), partial(strike, exchange, replace(fault)))


def _disconnect(exchange: Exchange, fault: Fault) -> None:
    for socket in list(exchange.delivery.sockets.values()):
        if fault.where in ("", socket.kind) and fault.uid in ("", socket.uid):
            socket.end(fault.code)


def _restart(exchange: Exchange, fault: Fault) -> None:
    exchange.down_until_ms = exchange.wall_ms + round(fault.seconds * 1_000)
    exchange.restarted_ms = exchange.simulator.now_ms
    exchange.delivery.restart()


def _skew(exchange: Exchange, fault: Fault) -> None:
    exchange.skew_ms += int(_amount(fault, Decimal(0)))


def _ban(exchange: Exchange, fault: Fault) -> None:
    exchange.limiter.ban(
        fault.where or "127.0.0.1", exchange.wall_ms + round(fault.seconds * 1_000)
    )


def _maintain(exchange: Exchange, fault: Fault) -> None:
    length_ms = round(fault.seconds * 1_000)
    row = {
        "id": exchange.draw_name(), "title": fault.text or "maintenance", "state": "ongoing",
        "begin": str(exchange.now_ms), "end": str(exchange.now_ms + length_ms), "href": "",
        "serviceTypes": [2, 3, 4, 5], "product": [1, 2], "uidSuffix": [], "maintainType": 1,
        "env": 1,
    }  # fmt: skip
    exchange.status.insert(0, row)
    exchange.delivery.push_status(row)
    for where in AWAY:
        strike(exchange, Fault("refuse", where, seconds=fault.seconds, code=SERVER_ERROR,
                            text="Server error, under maintenance."))  # fmt: skip

    def finish() -> None:
        done = {**row, "state": "completed"}
        exchange.status[exchange.status.index(row)] = done
        exchange.delivery.push_status(done)

    exchange.later(length_ms, finish)


def _insist(exchange: Exchange, act: Callable[[], bool], until_ms: int) -> None:
    # What a fault is about may not be there yet: an order, a position. It is looked for again.
    if not act() and exchange.wall_ms < until_ms:
        exchange.later(AGAIN_MS, lambda: _insist(exchange, act, until_ms))


def _cancel_partly(exchange: Exchange, fault: Fault) -> None:
    def act() -> bool:
        for uid in _uids(exchange, fault):
            for order in reversed(exchange.simulator.open_orders(uid)):
                if _is_resting(order) and fault.symbol in ("", order.symbol):
                    filled = _amount(fault, order.leaves_qty / 2)
                    step = exchange.simulator.instruments[order.symbol].qty_step
                    exchange.simulator.cancel_by_exchange(
                        uid, order.order_id, filled=filled // step * step
                    )
                    return True
        return False

    _insist(exchange, act, exchange.wall_ms + PATIENCE_MS)


def _is_resting(order: Order) -> bool:
    return order.order_status in (OrderStatus.NEW, OrderStatus.PARTIALLY_FILLED)


def _deleverage(exchange: Exchange, fault: Fault) -> None:
    def act() -> bool:
        for uid in _uids(exchange, fault):
            for position in exchange.simulator.positions(uid):
                if position.size and fault.symbol in ("", position.symbol):
                    exchange.simulator.deleverage(
                        uid, position.symbol, _share(exchange, position, fault),
                        position_idx=int(position.position_idx),
                    )  # fmt: skip
                    return True
        return False

    _insist(exchange, act, exchange.wall_ms + PATIENCE_MS)


def _share(exchange: Exchange, position: Position, fault: Fault) -> Decimal:
    step = exchange.simulator.instruments[position.symbol].qty_step
    return max(_amount(fault, position.size / 2) // step * step, step)


def _trade(exchange: Exchange, fault: Fault) -> None:
    for uid in _uids(exchange, fault)[:1]:
        exchange.simulator.create_order(uid, {"category": "linear", **fault.params})


def _change_rules(exchange: Exchange, fault: Fault) -> None:
    names = [fault.symbol] if fault.symbol else list(exchange.simulator.instruments)
    for name in names:
        changes: Any = {field: Decimal(value) for field, value in fault.params.items()}
        instrument = replace(exchange.simulator.instruments[name], **changes)
        exchange.simulator.change_instrument(instrument)


_ACTS: Final[Mapping[str, Callable[[Exchange, Fault], None]]] = {
    "disconnect": _disconnect,
    "restart": _restart,
    "skew": _skew,
    "ban": _ban,
    "maintenance": _maintain,
    "partial": _cancel_partly,
    "adl": _deleverage,
    "order": _trade,
    "instrument": _change_rules,
}


def _uids(exchange: Exchange, fault: Fault) -> list[str]:
    if fault.uid:
        return [fault.uid]
    return list(dict.fromkeys(key.uid for key in exchange.keyring.keys.values()))


def _amount(fault: Fault, default: Decimal) -> Decimal:
    try:
        return Decimal(fault.amount) if fault.amount else default
    except InvalidOperation as error:
        raise ConfigError(
            f"The amount {fault.amount!r} of a fault is no number.", "Write it as digits."
        ) from error


def _state(exchange: Exchange, _: Json) -> Json:
    return {
        "now_ms": exchange.now_ms, "wall_ms": exchange.wall_ms, "speed": exchange.settings.speed,
        "next_ms": exchange.simulator.next_ms, "symbols": list(exchange.simulator.instruments),
        "uids": _uids(exchange, Fault("order")), "sockets": len(exchange.delivery.sockets),
        "faults": exchange.faults.rows(), "scenarios": list_scenarios(),
    }  # fmt: skip


def _step(exchange: Exchange, body: Json) -> Json:
    if exchange.settings.speed:
        raise ConfigError("The market moves by itself.", "Start it with --speed 0 to step it.")
    to_ms = body.get("to_ms") or exchange.simulator.now_ms + int(body.get("ms") or 0)
    if to_ms < exchange.simulator.now_ms:
        raise ConfigError("The market cannot go back.", f"It is at {exchange.simulator.now_ms}.")
    exchange.step(to_ms)
    return {"now_ms": exchange.now_ms}


def _fault(exchange: Exchange, body: Json) -> Json:
    fault = read_fault(body)
    exchange.later(round(fault.at_s * 1_000), lambda: strike(exchange, fault))
    return {"faults": exchange.faults.rows()}


def _clear(exchange: Exchange, _: Json) -> Json:
    exchange.faults.active.clear()
    return {"faults": []}


def _scenario(exchange: Exchange, body: Json) -> Json:
    name = str(body.get("name", ""))
    if name not in list_scenarios():
        raise ConfigError(
            f"There is no scenario {name!r}.", f"Use one of {', '.join(list_scenarios())}."
        )
    play(exchange, name)
    return {"name": name}


def _deposit(exchange: Exchange, body: Json) -> Json:
    uid = str(body.get("uid", ""))
    if uid not in _uids(exchange, Fault("order")):
        raise ConfigError(f"There is no account {uid!r}.", "Name one that has a key.")
    exchange.simulator.deposit(uid, Decimal(str(body.get("amount"))))
    return {"uid": uid}


CONTROLS: Final[Mapping[str, Callable[[Exchange, Json], Json]]] = {
    "state": _state,
    "step": _step,
    "fault": _fault,
    "clear": _clear,
    "scenario": _scenario,
    "deposit": _deposit,
}


def control(exchange: Exchange, name: str, body: Json) -> Json:
    """Carry out a command of the control interface; a refusal of the simulator is an error."""
    try:
        return CONTROLS[name](exchange, body)
    except Refused as refusal:
        raise ConfigError(
            f"The simulator refuses with {refusal.code}: {refusal.message}.", "Correct the command."
        ) from refusal
