"""Books made by hand, and a market that fills, refuses and delays the children of a parent."""

from datetime import UTC, datetime, timedelta
from decimal import Decimal

import numpy as np

from tests.markets import make_instrument
from workbench.exchange.records import Book
from workbench.exchange.wire import Level
from workbench.exchange.words import Side, TimeInForce
from workbench.execution.algorithms import next_step
from workbench.execution.condition import sweep
from workbench.execution.parents import Algorithm, Parent, Progress, View, Working

START = datetime(2024, 1, 1, 9, tzinfo=UTC)
CURVE = tuple((np.arange(1, 25) / 300).tolist())


def make_book(bids, asks, symbol="AAAUSDT"):
    """A book from pairs of price and size, the best first."""
    sides = [tuple(Level(Decimal(str(p)), Decimal(str(q))) for p, q in own) for own in (bids, asks)]
    return Book(symbol, sides[0], sides[1], update_id=1)


def plain_book(bid=100.0, spread=0.2, size=5.0, levels=5):
    """Levels a tick of 0.1 apart, all of one size."""
    steps = [round(0.1 * k, 1) for k in range(levels)]
    return make_book(
        [(round(bid - s, 1), size) for s in steps],
        [(round(bid + spread + s, 1), size) for s in steps],
    )


def make_parent(algorithm="twap", **changes):
    """1,000 lots of 0.001 at 100 USDT in ten minutes; a least order is 50 lots."""
    fields = {
        "algorithm": Algorithm(algorithm), "instrument": make_instrument(), "side": Side.BUY,
        "lots": 1000, "start": START, "deadline": START + timedelta(minutes=10), "curve": CURVE,
        "decay_s": 200.0, "display_lots": 120 if algorithm == "iceberg" else 0,
        "price_limit": Decimal("100.5") if algorithm == "limit" else None,
        "participation_cap": Decimal("0.25" if algorithm in ("pov", "adaptive") else 1),
    }  # fmt: skip
    return Parent(**(fields | changes))


class Market:
    """One parent in a random market; ``luck`` is how often an order meets somebody."""

    def __init__(self, parent, seed, *, luck=0.5, step_s=5.0):
        self.parent, self.rng, self.luck = parent, np.random.default_rng(seed), luck
        self.now, self.step_s = parent.start, step_s
        self.bid, self.traded, self.filled = 1000, 0, 0
        self.working, self.sent, self.steps, self.fills = {}, [], [], []

    @property
    def progress(self):
        return Progress(self.filled, tuple(self.working.values()))

    @property
    def book(self):
        spread = 0.1 * int(self.rng.integers(1, 4))
        return plain_book(self.bid / 10, round(spread, 1), float(self.rng.uniform(0.05, 2)))

    def play(self):
        """Ask for steps until a while after the deadline, and check each of them."""
        while self.now < self.parent.deadline + timedelta(seconds=10 * self.step_s):
            view = View(self.now, self.book, self.traded, 0.03)
            step = next_step(self.parent, self.progress, view)
            assert step == next_step(self.parent, self.progress, view)
            self.steps.append((self.now, self.filled, view, step))
            self._check(step, view)
            for child in step.children:
                self._send(child, view)
            self._move()
        return self

    def _check(self, step, view):
        parent, own = self.parent, self.parent.instrument
        new = [child for child in step.children if not child.order]
        out = sum(one.lots for one in self.working.values())
        assert self.filled + out + sum(child.lots for child in new) <= parent.lots
        assert not (new and view.now >= parent.deadline)
        for child in step.children:
            if child.order:
                known = self.working[child.order]
                assert child.lots in (0, known.lots)
                assert not known.is_ending
            if child.price is not None:
                assert child.price % own.tick_size == 0
                limit = parent.price_limit
                assert limit is None or (child.price - limit) * parent.side.sign <= 0
        for child in new:
            price = child.price or min(view.book.bids[0].price, view.book.asks[0].price)
            value = child.lots * own.qty_step * price
            assert child.lots >= 1
            assert parent.reduce_only or value >= own.min_notional_usdt
            assert child.lots * own.qty_step <= own.max_market_qty
            rest = parent.lots - self.filled - out - child.lots
            worth = rest * own.qty_step * price
            assert rest == 0 or parent.reduce_only or worth >= own.min_notional_usdt
            if parent.max_slippage is not None and child.time_in_force is TimeInForce.IOC:
                middle = (view.book.bids[0].price + view.book.asks[0].price) / 2
                assert abs(child.price / middle - 1) <= parent.max_slippage
            if child.time_in_force is TimeInForce.POST_ONLY:
                side = view.book.asks if parent.side is Side.BUY else view.book.bids
                assert (child.price - side[0].price) * parent.side.sign < 0

    def _send(self, child, view):
        if child.order and not child.lots:
            known = self.working[child.order]
            self.working[child.order] = known._replace(is_ending=True)
        elif child.order:
            known = self.working[child.order]
            self.working[child.order] = known._replace(price=child.price, since=self.now)
        else:
            self.sent.append((self.now, child))
            if self.rng.random() < 0.1:
                return  # refused: nothing was done, and nothing may count as done
            name, is_taker = f"o{len(self.sent)}", child.time_in_force is TimeInForce.IOC
            self.working[name] = Working(name, child.lots, child.price, self.now, not is_taker)
            if is_taker:
                qty = child.lots * self.parent.instrument.qty_step
                got = sweep(view.book, self.parent.side, qty, limit=child.price).qty
                self._fill(name, int(got / self.parent.instrument.qty_step))

    def _fill(self, name, lots):
        known = self.working[name]
        if lots:
            self.filled += lots
            self.traded += lots
            self.fills.append((self.now, lots))
            cap = self.parent.participation_cap
            assert cap == 1 or self.filled <= cap * self.traded
        self.working[name] = known._replace(lots=known.lots - lots)
        if known.lots == lots:
            del self.working[name]

    def _move(self):
        self.now += timedelta(seconds=float(self.rng.uniform(0.2, 1.8)) * self.step_s)
        self.traded += int(self.rng.integers(0, 200))
        self.bid += int(self.rng.integers(-2, 3))
        for name, known in list(self.working.items()):
            if known.is_resting and self.rng.random() < self.luck:
                self._fill(name, int(self.rng.integers(1, known.lots + 1)))
            if name in self.working and (known.is_ending or not known.is_resting):
                del self.working[name]
