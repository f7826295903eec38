"""What protects a position: take-profit, stop-loss, trailing stop, and orders that only reduce."""

from __future__ import annotations

from decimal import Decimal
from typing import Final

from workbench.exchange.simulator.orders import ZERO, LiveOrder
from workbench.exchange.simulator.positions import Position
from workbench.exchange.simulator.registry import Registry
from workbench.exchange.words import (
    CancelType,
    CreateType,
    OrderStatus,
    StopOrderType,
    TimeInForce,
    TpslMode,
    TriggerBy,
)

STOPS: Final = {
    (1, TpslMode.FULL): (StopOrderType.TAKE_PROFIT, CreateType.TAKE_PROFIT),
    (-1, TpslMode.FULL): (StopOrderType.STOP_LOSS, CreateType.STOP_LOSS),
    (1, TpslMode.PARTIAL): (StopOrderType.PARTIAL_TAKE_PROFIT, CreateType.PARTIAL_TAKE_PROFIT),
    (-1, TpslMode.PARTIAL): (StopOrderType.PARTIAL_STOP_LOSS, CreateType.PARTIAL_STOP_LOSS),
}


class Stops(Registry):
    """Stops that stand on positions: they come with them, follow their size and go with them."""

    def follow(self, position: Position, was: int, order: LiveOrder, lots: int) -> None:
        """Let what protects a position follow a fill; ``was`` is the side that it had before."""
        if position.side != was:
            for stop in list(position.stops):
                self.cancel(stop, CancelType.TPSL_CLEAR)
            position.extra = position.extra if position.lots else ZERO
        has_stops = order.take_profit is not None or order.stop_loss is not None
        if has_stops and position.side == order.sign:
            self._attach(order, lots)
        held = abs(position.lots)
        for stop in position.stops:
            if stop.tpsl_mode is TpslMode.FULL or stop.leaves > held:
                stop.lots = stop.leaves = held
        for other in list(position.live.values()):
            if other.reduce_only and other is not order:
                self._truncate(other, held if other.sign == -position.side else 0)

    def _truncate(self, order: LiveOrder, held: int) -> None:
        # A reduce-only order never closes more than there is.
        if order.leaves <= held:
            return
        if not held:
            self.cancel(order, CancelType.REDUCE_ONLY)
            return
        order.lots -= order.leaves - held
        order.leaves = held
        self.tell(order)

    def _attach(self, order: LiveOrder, lots: int) -> None:
        # Take-profit and stop-loss that came with an order begin with its fills.
        position, mode = order.position, order.tpsl_mode
        if order.children:
            for child in order.children:
                if child.is_waiting and mode is TpslMode.PARTIAL:
                    child.lots, child.leaves = child.lots + lots, child.leaves + lots
            return
        for leg, trigger, by, limit in (
            (1, order.take_profit, order.tp_by, order.tp_limit),
            (-1, order.stop_loss, order.sl_by, order.sl_limit),
        ):
            if trigger is not None:
                child = self.protect(
                    position, leg, mode, trigger, by, limit, lots, order.link or order.order_id
                )
                order.children.append(child)
        if len(order.children) == 2 and mode is TpslMode.PARTIAL:
            order.children[0].partner, order.children[1].partner = order.children[::-1]

    def protect(
        self,
        position: Position,
        leg: int,
        mode: TpslMode,
        trigger: Decimal,
        by: TriggerBy,
        limit: Decimal | None,
        lots: int,
        parent: str = "",
    ) -> LiveOrder:
        """Set a take-profit (leg +1) or stop-loss (-1); of a whole position there is one each."""
        kind, create_type = STOPS[leg, mode]
        if mode is TpslMode.FULL:
            self.unprotect(position, kind)
            lots = abs(position.lots)
        side = position.side
        stop = LiveOrder(
            order_id="",
            position=position,
            sign=-side,
            lots=lots,
            is_market=limit is None,
            ticks=position.contract.ticks(limit) if limit is not None else 0,
            trigger=trigger,
            tif=TimeInForce.IOC if limit is None else TimeInForce.GTC,
            trigger_by=by,
            direction=1 if leg * side > 0 else 2,
            reduce_only=True,
            close_on_trigger=True,
            create_type=create_type,
            stop_type=kind,
            tpsl_mode=mode,
            parent_link=parent,
            status=OrderStatus.UNTRIGGERED,
        )
        self._arm(stop)
        return stop

    def trail(self, position: Position, distance: Decimal, active: Decimal) -> None:
        """Set the trailing stop of a position that has none."""
        best = ZERO
        if not active:
            best = position.entry if self.settings.is_exact else position.market.last
        stop = LiveOrder(
            order_id="",
            position=position,
            sign=-position.side,
            lots=abs(position.lots),
            is_market=True,
            tif=TimeInForce.IOC,
            direction=2 if position.side > 0 else 1,
            trigger=best - position.side * distance if best else ZERO,
            trigger_by=TriggerBy.LAST,
            reduce_only=True,
            close_on_trigger=True,
            create_type=CreateType.TRAILING_STOP,
            stop_type=StopOrderType.TRAILING_STOP,
            tpsl_mode=TpslMode.FULL,
            distance=distance,
            active=active,
            best=best,
            status=OrderStatus.UNTRIGGERED,
        )
        self._arm(stop)

    def _arm(self, stop: LiveOrder) -> None:
        self.register(stop)
        stop.position.stops.append(stop)
        self.tell(stop)

    def unprotect(self, position: Position, kind: StopOrderType) -> None:
        """Remove the stop of a kind that stands on a whole position."""
        for stop in list(position.stops):
            if stop.stop_type is kind:
                self.cancel(stop, CancelType.USER)


def drag(order: LiveOrder, last: Decimal) -> None:
    """Let a trailing stop follow the best price since it became active."""
    way = -order.sign
    if not order.best:
        if way * (last - order.active) < 0:
            return
        order.best = last
    if way * (last - order.best) > 0:
        order.best = last
    order.trigger = order.best - way * order.distance
