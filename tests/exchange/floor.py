"""A trading floor in memory: one symbol whose market the test moves, and some accounts."""

from decimal import Decimal

import pytest

from tests.markets import make_instrument
from workbench.exchange.simulator import Refused, Settings, Simulator

SYMBOL = "AAAUSDT"
ONE = {"symbol": SYMBOL, "qty": "1"}


class Desk:
    """A market of 10 coins a level at 99.9 | 100.1, and two accounts."""

    def __init__(self, *, instrument=None, wallets=(("a", 100_000), ("b", 100_000)), **settings):
        instrument = instrument or make_instrument(SYMBOL)
        self.sim = Simulator([instrument], settings=Settings(**settings))
        self.symbol, self.tick = instrument.symbol, instrument.tick_size
        for uid, wallet in wallets:
            self.sim.add_account(uid, wallet_usdt=Decimal(wallet))
        self.quote("99.9", "100.1")

    def quote(self, bid, ask, size=10, levels=3):
        bids, asks = (
            [(Decimal(first) + way * k * self.tick, size) for k in range(levels)]
            for first, way in ((bid, -1), (ask, 1))
        )
        self.sim.push_book(self.symbol, bids, asks, self.sim.now_ms, is_snapshot=True)

    def trade(self, price, size, side):
        self.sim.push_trade(self.symbol, Decimal(price), Decimal(size), side, self.sim.now_ms)

    def mark(self, mark):
        self.sim.push_ticker(self.symbol, self.sim.now_ms, mark=Decimal(mark))

    def place(self, side, price=None, *, uid="a", **more):
        body = ONE | {
            "symbol": self.symbol,
            "side": side,
            "orderType": "Limit" if price else "Market",
        }
        placed = self.sim.create_order(uid, body | ({"price": price} if price else {}) | more)
        return placed.order_id

    def order(self, order_id, uid="a"):
        rows = self.sim.open_orders(uid) + self.sim.order_history(uid)
        return next(row for row in rows if row.order_id == order_id)

    def position(self, uid="a"):
        return self.sim.positions(uid, self.symbol)[0]

    def statuses(self, order_id):
        events = [e.record for e in self.sim.take_events() if e.kind == "order"]
        return [str(r.order_status) for r in events if r.order_id == order_id]


def refusal(call, *args, **kwargs):
    with pytest.raises(Refused) as refused:
        call(*args, **kwargs)
    return refused.value.code
