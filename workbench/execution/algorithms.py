"""Execution algorithms: how a large order becomes small ones, as schedules in one scheduler.

An algorithm is a row of ``RULES``: a schedule, which says how many lots should have been filled by
now, and a style, which says how they are priced. Everything else is the same for all and stands
once: whole lots, the participation cap, the price limit, no child that the exchange would refuse as
too small and no rest that would be. Progress is what was filled; an order that was sent is none,
only its lots are not sent twice, so that what is filled never exceeds the parent.

Pure: ``next_step`` is asked whenever something has happened, and answers from its arguments alone.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import timedelta
from decimal import ROUND_CEILING, ROUND_FLOOR, Decimal
from math import ceil
from typing import Final, NamedTuple

import numpy as np

from workbench.core.errors import ReconcileError
from workbench.exchange.words import Side, TimeInForce
from workbench.execution.condition import mid, sweep
from workbench.execution.parents import (
    WHOLE,
    Algorithm,
    Child,
    Parent,
    Progress,
    Step,
    Urgency,
    View,
    Working,
)
from workbench.execution.schedules import (
    Due,
    Schedule,
    at_once,
    by_curve,
    by_market,
    by_risk,
    by_volume,
    evenly,
    lots_due,
)

REQUOTE: Final = timedelta(seconds=1)
"""How long an order rests before it follows the touch: requests are rationed."""


def next_step(parent: Parent, progress: Progress, view: View) -> Step:
    """Return what to send, amend or cancel now.

    Parameters
    ----------
    parent : Parent
    progress : Progress
        From executions and the state of orders, never from what was sent.
    view : View

    Returns
    -------
    Step
        The lots of its new children, of those that are out and of those that are filled never
        exceed the parent's. After the deadline it holds cancellations only, and says what kept the
        rest from being filled.

    Raises
    ------
    ReconcileError
        If more was filled than was asked for.
    """
    desk = _Desk(parent, progress, view)
    if desk.left < 0:
        raise ReconcileError(
            f"{progress.filled} of {parent.lots} lots of {parent.instrument.symbol} are filled.",
            "More was filled than was asked for: compare the books with the exchange.",
        )
    if desk.left == 0:
        return Step(desk.cancels, "everything is filled")
    if view.now >= parent.deadline:
        return Step(desk.cancels, f"the deadline has passed: {desk.hindrance}")
    if view.now < parent.start:
        return Step((), "the start is still to come")
    if not (view.book.bids and view.book.asks):
        return Step((), "a side of the book is empty")
    rule = RULES[parent.algorithm]
    return rule.style(desk, lots_due(parent, view, rule.schedule))


@dataclass(frozen=True, slots=True)
class _Desk:
    # What the styles share: how many lots may go, and at which prices.
    parent: Parent
    progress: Progress
    view: View

    @property
    def left(self) -> int:
        return self.parent.lots - self.progress.filled

    @property
    def resting(self) -> list[Working]:
        return [one for one in self.progress.working if one.is_resting and not one.is_ending]

    @property
    def in_flight(self) -> int:
        out = (one for one in self.progress.working if one.is_ending or not one.is_resting)
        return sum(one.lots for one in out)

    @property
    def cancels(self) -> tuple[Child, ...]:
        open_ = (one for one in self.progress.working if not one.is_ending)
        return tuple(Child(0, order=one.order) for one in open_)

    @property
    def hindrance(self) -> str:
        rest = f"{self.left} of {self.parent.lots} lots are not filled"
        book = self.view.book
        if not (book.bids and book.asks):
            return f"{rest}, a side of the book is empty"
        if not self.is_marketable:
            return f"{rest}, the price is beyond the limit"
        if self.left < self.least(self.bound or self.touch):
            return f"{rest}, which is less than an order may be"
        if self.room(self.in_flight) < self.left - self.in_flight:
            return f"{rest}, the cap on participation left no room"
        return f"{rest}, nobody was there to trade with"

    @property
    def touch(self) -> Decimal:
        # The best price of its own side, where it would queue.
        book = self.view.book
        return (book.bids if self.parent.side is Side.BUY else book.asks)[0].price

    @property
    def bound(self) -> Decimal | None:
        # The worst price at which it may take: the limit, or the slippage from the mid.
        own, sign = self.parent, self.parent.side.sign
        if own.max_slippage is None:
            return own.price_limit
        tick = own.instrument.tick_size
        most = mid(self.view.book) * (1 + sign * own.max_slippage)
        rounding = ROUND_FLOOR if sign > 0 else ROUND_CEILING
        most = (most / tick).to_integral_value(rounding) * tick
        return most if own.price_limit is None else sign * min(sign * most, sign * own.price_limit)

    @property
    def quote(self) -> Decimal:
        # Where it rests: at the touch, or at its limit where that is further from the market.
        own, sign = self.parent, self.parent.side.sign
        limit = self.touch if own.price_limit is None else own.price_limit
        return sign * min(sign * self.touch, sign * limit)

    @property
    def is_marketable(self) -> bool:
        qty = self.parent.instrument.qty_step
        return sweep(self.view.book, self.parent.side, qty, limit=self.bound).qty > 0

    def least(self, price: Decimal) -> int:
        own = self.parent.instrument
        value = Decimal(0) if self.parent.reduce_only else own.min_notional_usdt / price
        return ceil(max(own.min_qty, value) / own.qty_step)

    def room(self, queued: int) -> int:
        # Were all that is out filled at once, it would be traded volume as well.
        free, cap = self.left - queued, self.parent.participation_cap
        if cap == WHOLE:
            return free
        most = (cap * self.view.traded_lots - self.progress.filled) / (WHOLE - cap)
        return min(free, int(most.to_integral_value(ROUND_FLOOR)) - queued)

    def pick(self, wanted: int, price: Decimal, *, queued: int, most: Decimal) -> int:
        # As many lots as are wanted and allowed, such that neither they nor the rest are dust.
        least, free = self.least(price), self.left - queued
        room = min(self.room(queued), int(most / self.parent.instrument.qty_step))
        lots = min(wanted, room)
        if 0 < free - lots < least:
            lots = free if free <= room else min(lots, free - least)
        return lots if lots >= least else 0

    def take(self, wanted: int, queued: int) -> Child | None:
        price, own = self.bound, self.parent.instrument
        if wanted <= 0 or not self.is_marketable:
            return None
        most = own.max_market_qty if price is None else own.max_qty
        # An order to sell fills at its limit or above, one to buy perhaps far below it.
        floor_ = min(price or self.touch, self.touch)
        lots = self.pick(wanted, floor_, queued=queued, most=most)
        return Child(lots, price) if lots else None

    def make(self, wanted: int, price: Decimal, how: TimeInForce) -> Child | None:
        most = self.parent.instrument.max_qty
        lots = self.pick(wanted, price, queued=self.in_flight, most=most) if wanted > 0 else 0
        return Child(lots, price, how) if lots else None


def _take(desk: _Desk, due: Due) -> Step:
    queued = desk.in_flight + sum(one.lots for one in desk.resting)
    child = desk.take(due.now - desk.progress.filled - queued, queued)
    return _send(desk, child, due.now, "takes")


def _work(desk: _Desk, due: Due) -> Step:
    # What is overdue is taken, once what rests has made way; the rest of what is due queues.
    child = desk.take(due.late - desk.progress.filled - desk.in_flight, desk.in_flight)
    if child and desk.resting:
        return Step(desk.cancels, f"{due.late} lots are overdue: what rests makes way")
    if child:
        return _send(desk, child, due.late, "takes")
    if desk.resting:
        return _follow(desk)
    wanted = due.now - desk.progress.filled - desk.in_flight
    if desk.parent.display_lots:
        shown = _displayed(desk.parent, desk.progress.filled)
        wanted = min(wanted, max(shown, desk.least(desk.quote)))
    child = desk.make(wanted, desk.quote, TimeInForce.POST_ONLY)
    return _send(desk, child, due.now, "queues")


def _rest(desk: _Desk, due: Due) -> Step:
    limit = desk.parent.price_limit
    if desk.resting or limit is None:
        return Step((), "waits at its limit")
    child = desk.make(due.now - desk.progress.filled - desk.in_flight, limit, TimeInForce.GTC)
    return _send(desk, child, due.now, "rests")


def _by_urgency(desk: _Desk, due: Due) -> Step:
    return (_take if desk.parent.urgency is Urgency.HIGH else _work)(desk, due)


def _follow(desk: _Desk) -> Step:
    price, now = desk.quote, desk.view.now
    moved = tuple(
        Child(one.lots, price, TimeInForce.POST_ONLY, one.order)
        for one in desk.resting
        if one.price != price and now - one.since >= REQUOTE
    )
    return Step(moved, f"follows the touch to {price}" if moved else "waits in the queue")


def _send(desk: _Desk, child: Child | None, due: int, verb: str) -> Step:
    state = f"{due} of {desk.parent.lots} lots are due, {desk.progress.filled} filled"
    if child:
        return Step((child,), f"{state}: {verb} {child.lots}")
    open_ = due - desk.progress.filled - desk.in_flight
    return Step((), f"{state}; {desk.hindrance}" if open_ > 0 else f"{state}: waits")


def _displayed(parent: Parent, filled: int) -> int:
    if parent.seed is None:
        return parent.display_lots
    draw = np.random.default_rng([parent.seed, filled]).uniform(0.7, 1.3)
    return max(1, round(parent.display_lots * draw))


Style = Callable[[_Desk, Due], Step]


class Rule(NamedTuple):
    """What an algorithm does: when, how, and in words."""

    schedule: Schedule
    style: Style
    words: str


RULES: Final[Mapping[Algorithm, Rule]] = {
    Algorithm.MARKET: Rule(at_once, _take, "takes everything at once"),
    Algorithm.LIMIT: Rule(at_once, _rest, "rests at its price limit"),
    Algorithm.MAKER: Rule(at_once, _work, "queues at the touch, and takes before the deadline"),
    Algorithm.ICEBERG: Rule(at_once, _work, "queues at the touch, a part at a time"),
    Algorithm.TWAP: Rule(evenly, _by_urgency, "trades the same in each slice of time"),
    Algorithm.VWAP: Rule(by_curve, _by_urgency, "trades as the day's volume is usually spread"),
    Algorithm.POV: Rule(by_volume, _by_urgency, "trades a share of what is traded"),
    Algorithm.ADAPTIVE: Rule(by_market, _work, "trades a share that follows the book"),
    Algorithm.ARRIVAL: Rule(by_risk, _by_urgency, "trades early, as waiting has its risk"),
}
