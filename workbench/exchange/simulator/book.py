"""A price-time book of one symbol: the market's levels, and the accounts' orders among them.

Prices are whole ticks and sizes whole lots. The market's levels are recorded, pushed or made; they
carry no names, so an order of an account remembers how many of them stand before it: what was
displayed when it joined, less what traded there since and a fair share of what was withdrawn.
"""

from __future__ import annotations

from bisect import bisect_left, insort
from collections.abc import Iterator, Sequence
from typing import NamedTuple, Protocol

from workbench.exchange.simulator.orders import LiveOrder

Levels = list[list[int]]
"""Rows of [ticks, lots], the best first."""


class Maker(Protocol):
    """Makes the levels of a market that has only prices."""

    def levels(self, side: int) -> Levels:
        """Return a side, the best first."""

    def size(self, side: int, ticks: int) -> int:
        """Return what is displayed at a price."""


class Hit(NamedTuple):
    """The best that stands against an order: an account's order, or the market (none)."""

    ticks: int
    lots: int
    maker: LiveOrder | None


class OrderBook:
    """Both sides of a book; a side is named by its sign, +1 for bids and -1 for asks."""

    def __init__(self) -> None:
        self._own: dict[int, list[tuple[int, int, LiveOrder]]] = {1: [], -1: []}
        self._levels: dict[int, Levels] = {1: [], -1: []}
        self._maker: Maker | None = None
        self._made: set[int] = set()
        self._traded: dict[int, int] = {}
        self.touch: dict[int, int | None] = {1: None, -1: None}
        self.update_id = 1

    def quote(self, bid: int, ask: int, maker: Maker) -> None:
        """Let the market stand at these prices; its levels are made when they are asked for."""
        self._maker = maker
        self._made.clear()
        self._traded.clear()
        self.touch[1], self.touch[-1] = bid, ask
        self.update_id += 1
        if self._own[1] or self._own[-1]:
            for side in (1, -1):
                self._shrink(side)

    def replace(self, bids: Levels, asks: Levels) -> None:
        """Set all levels of the market, each side the best first."""
        self._maker = None
        self.update_id += 1
        for side, levels in ((1, bids), (-1, asks)):
            self._levels[side] = levels
            self._see_touch(side)
            self._shrink(side)
        self._traded.clear()

    def change(self, side: int, ticks: int, lots: int) -> None:
        """Set one level of the market; 0 lots removes it."""
        levels = self._levels[side]
        row = bisect_left(levels, -side * ticks, key=lambda level: -side * level[0])
        is_there = row < len(levels) and levels[row][0] == ticks
        if is_there and lots:
            levels[row][1] = lots
        elif is_there:
            del levels[row]
        elif lots:
            levels.insert(row, [ticks, lots])
        self._see_touch(side)

    def settle(self) -> None:
        """End a batch of changes: what is gone without a trade was withdrawn."""
        self.update_id += 1
        for side in (1, -1):
            self._shrink(side)
        self._traded.clear()

    def levels(self, side: int) -> Levels:
        """Return the market's levels of a side, the best first; they may be consumed in place."""
        if self._maker is not None and side not in self._made:
            self._levels[side] = self._maker.levels(side)
            self._made.add(side)
        return self._levels[side]

    def merged(self, side: int, depth: int) -> list[tuple[int, int]]:
        """Return what is displayed on a side: the market's levels and the accounts' orders."""
        total: dict[int, int] = {}
        for ticks, lots in self.levels(side):
            total[ticks] = total.get(ticks, 0) + lots
        for _, _, order in self._own[side]:
            total[order.ticks] = total.get(order.ticks, 0) + order.leaves
        return sorted(total.items(), reverse=side > 0)[:depth]

    def join(self, order: LiveOrder) -> None:
        """Put an order behind all that stands at its price."""
        order.shown = order.ahead = self._displayed(order.sign, order.ticks)
        insort(self._own[order.sign], (-order.sign * order.ticks, order.rank, order))

    def leave(self, order: LiveOrder) -> None:
        """Take an order out."""
        own = self._own[order.sign]
        row = bisect_left(own, (-order.sign * order.ticks, order.rank))
        if row < len(own) and own[row][2] is order:
            del own[row]

    def resting(self, side: int) -> Iterator[LiveOrder]:
        """Yield the accounts' orders of a side in the order of their priority."""
        for _, _, order in list(self._own[side]):
            yield order

    def is_empty(self) -> bool:
        """Whether no account has an order here."""
        return not (self._own[1] or self._own[-1])

    def against(self, sign: int, limit: int) -> Hit | None:
        """Return the best that a taker of a sign meets at no worse than a price."""
        own, levels = self._own[-sign], self.levels(-sign)
        while levels and not levels[0][1]:
            del levels[0]
        maker = own[0][2] if own and sign * (own[0][2].ticks - limit) <= 0 else None
        level = levels[0] if levels and sign * (levels[0][0] - limit) <= 0 else None
        if maker is None:
            return None if level is None else Hit(level[0], level[1], None)
        gap = -1 if level is None else sign * (maker.ticks - level[0])
        if level is None or gap < 0 or (gap == 0 and maker.ahead <= 0):
            return Hit(maker.ticks, maker.leaves, maker)
        return Hit(level[0], level[1] if gap else min(level[1], maker.ahead), None)

    def consume(self, sign: int, ticks: int, lots: int) -> None:
        """Take lots of the market's best level away, as a taker of a sign did."""
        level = self.levels(-sign)[0]
        level[1] -= lots
        for _, _, order in self._own[-sign]:
            if order.ticks != ticks:
                break
            order.ahead = max(0, order.ahead - lots)
            order.shown = max(0, order.shown - lots)

    def available(self, sign: int, limit: int, lots: int, barred: Sequence[LiveOrder] = ()) -> bool:
        """Return whether so many lots stand at no worse than a price, without the barred orders."""
        for ticks, size in self.levels(-sign):
            if sign * (ticks - limit) > 0 or lots <= 0:
                break
            lots -= size
        for _, _, order in self._own[-sign]:
            if sign * (order.ticks - limit) > 0 or lots <= 0:
                break
            if order not in barred:
                lots -= order.leaves
        return lots <= 0

    def trade(self, sign: int, ticks: int, lots: int) -> list[tuple[LiveOrder, int]]:
        """Return what a trade of the market gives to the orders of accounts.

        Orders better than its price come first; at its price those who stand before them do.
        """
        self._traded[ticks] = self._traded.get(ticks, 0) + lots
        if not self._own[-sign]:
            return []
        given: list[tuple[LiveOrder, int]] = []
        gone = 0
        for _, _, order in self._own[-sign]:
            behind = sign * (order.ticks - ticks)
            if behind > 0:
                break
            if behind == 0:
                eaten = min(max(order.ahead - gone, 0), lots)
                gone += eaten
                lots -= eaten
            share = min(order.leaves, lots)
            if share and (behind < 0 or order.ahead <= gone):
                given.append((order, share))
                lots -= share
        for _, _, order in self._own[-sign]:
            if order.ticks == ticks:
                order.ahead = max(0, order.ahead - gone)
        return given

    def crossed(self) -> list[tuple[LiveOrder, int]]:
        """Return the orders that the market's opposite side has reached, and for how much."""
        given: list[tuple[LiveOrder, int]] = []
        for side in (1, -1):
            best = self.touch[-side]
            own = self._own[side]
            if best is None or not own or side * (own[0][2].ticks - best) < 0:
                continue
            levels = self.levels(-side)
            for _, _, order in own:
                wanted = order.leaves
                for level in levels:
                    if side * (order.ticks - level[0]) < 0 or not wanted:
                        break
                    got = min(wanted, level[1])
                    level[1] -= got
                    wanted -= got
                if order.leaves > wanted:
                    given.append((order, order.leaves - wanted))
        return given

    def _displayed(self, side: int, ticks: int) -> int:
        if self._maker is not None and side not in self._made:
            return self._maker.size(side, ticks)
        levels = self._levels[side]
        row = bisect_left(levels, -side * ticks, key=lambda level: -side * level[0])
        return levels[row][1] if row < len(levels) and levels[row][0] == ticks else 0

    def _shrink(self, side: int) -> None:
        # Whoever withdrew stood before or behind in proportion; trades were taken off already.
        for _, _, order in self._own[side]:
            now = self._displayed(side, order.ticks)
            before = order.shown - self._traded.get(order.ticks, 0)
            if now < before:
                order.ahead = order.ahead * now // before
            order.shown = now

    def _see_touch(self, side: int) -> None:
        levels = self._levels[side]
        self.touch[side] = levels[0][0] if levels else None
