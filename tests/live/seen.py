"""What an exchange shows, made by hand: positions, orders, money; and hands that obey at once."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal

from workbench.core.config import SupervisorSettings
from workbench.core.errors import ExchangeBusy
from workbench.data import synthesise
from workbench.exchange.records import Order, Position, Transaction
from workbench.exchange.requests import CancelRequest, OrderRequest, StopRequest
from workbench.exchange.words import (
    OrderStatus,
    OrderType,
    Side,
    StopOrderType,
    TransactionType,
    TriggerDirection,
)
from workbench.live.flatten import Held
from workbench.live.latch import Level, Press
from workbench.live.supervisor import Money

START = datetime(2026, 7, 1, 12, tzinfo=UTC)
RULES = SupervisorSettings(silent_s=10, grace_s=60, bare_s=30)
INSTRUMENTS = synthesise(["BTCUSDT", "ETHUSDT"], n_bars=2).instruments
STOP_WORD = Press(Level.FLATTEN, "me", "it smokes")
FREE = Press(Level.CLEAR, "me", "all is well")
D = Decimal


def at(seconds):
    return START + timedelta(seconds=seconds)


def position(size=1, *, symbol="BTCUSDT", mark=100, stop=None, **fields):
    """A position of a signed size."""
    side = Side.BUY if size > 0 else Side.SELL
    return Position(symbol, abs(D(size)), side=side, mark_price=D(mark),
                    stop_loss=None if stop is None else D(stop), **fields)  # fmt: skip


def order(order_id="o", *, side=Side.BUY, status=OrderStatus.NEW, symbol="BTCUSDT", **fields):
    """An order that rests, unless told otherwise."""
    named = {"qty": D(1), "order_type": OrderType.LIMIT} | fields
    return Order(symbol, order_id, side, order_status=status, **named)


def stop_order(order_id="s", *, side=Side.SELL, trigger=90, qty=1, **fields):
    """A stop that waits to close a long."""
    named = {
        "reduce_only": True, "stop_order_type": StopOrderType.STOP,
        "trigger_direction": TriggerDirection.FALL,
    } | fields  # fmt: skip
    return order(order_id, side=side, status=OrderStatus.UNTRIGGERED, qty=D(qty),
                 trigger_price=D(trigger), **named)  # fmt: skip


def row(change, *, kind=TransactionType.TRADE, seconds=0, number=0, currency="USDT"):
    """A row of the account's log."""
    stamp = int(at(seconds).timestamp() * 1000)
    return Transaction(kind, currency, stamp, D(change), D(0), id=f"{kind}-{seconds}-{number}")


def money(seconds, equity, wallet=1000, rows=()):
    """The money at a moment; what the wallet does not show is not realised."""
    return Money(at(seconds), D(equity), D(wallet), rows)


class Obedient:
    """Hands at an account that does at once what it is told; it can be out of reach."""

    def __init__(self, positions=(), orders=(), equity=1000):
        self.positions, self.orders = list(positions), list(orders)
        self.equity, self.sent, self.is_away, self.takes_closing = equity, [], False, True
        self.looks = 0

    def look(self):
        self.looks += 1
        if self.is_away:
            raise ExchangeBusy("No answer.", "Wait.")
        return Held(list(self.positions), list(self.orders))

    def learn(self, symbols):
        return INSTRUMENTS

    def count(self, since):
        now = max(START, since(START))
        return Money(now, D(self.equity), D(self.equity), ())

    def send(self, requests):
        self.sent += requests
        for request in requests:
            if isinstance(request, CancelRequest):
                self.orders = [own for own in self.orders if own.order_id != request.order_id]
            elif isinstance(request, StopRequest):
                self.positions = [
                    replace(own, stop_loss=request.stop_loss) if own.symbol == request.symbol
                    else own for own in self.positions
                ]  # fmt: skip
            elif isinstance(request, OrderRequest) and self.takes_closing:
                assert request.is_closing
                self.positions = [own for own in self.positions if own.symbol != request.symbol]
        return []
