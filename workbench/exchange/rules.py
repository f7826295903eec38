"""What the exchange would refuse, refused here first: ticks, steps, sizes, values, price limits.

Pure: an instrument and a request in, nothing out or ``OrderRejected``, which ends the order before
it was sent.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from decimal import Decimal
from typing import Final

from workbench.core.errors import OrderRejected
from workbench.core.records import Instrument
from workbench.exchange.records import PriceLimit
from workbench.exchange.requests import AmendRequest, CancelRequest, OrderRequest, StopRequest
from workbench.exchange.wire import plain_text
from workbench.exchange.words import (
    OrderType,
    Side,
    TimeInForce,
    TpslMode,
    TriggerBy,
    TriggerDirection,
)

LINK_ID: Final = re.compile(r"[A-Za-z0-9_-]{1,36}")
_PRICES: Final = (
    "price", "trigger_price", "take_profit", "stop_loss", "tp_limit_price", "sl_limit_price",
    "trailing_stop", "active_price",
)  # fmt: skip
_HIGHEST: Final = Decimal(10) ** 12
"""Where no highest price is known: more than any price there is."""
_REMOVABLE: Final = frozenset({"take_profit", "stop_loss", "trailing_stop"})


def check_link_id(link_id: str) -> None:
    """Refuse an id that the exchange would not take, or none at all."""
    if not LINK_ID.fullmatch(link_id):
        raise OrderRejected(
            f"The order_link_id {link_id!r} cannot name an order.",
            "Use 1 to 36 of A-Z a-z 0-9 _ - and never the same twice: it is all by which an order "
            "is found again after a lost answer.",
        )


def check_order(
    request: OrderRequest,
    instrument: Instrument,
    *,
    reference: Decimal | None = None,
    limit: PriceLimit | None = None,
) -> None:
    """Refuse a new order that the exchange would refuse.

    Parameters
    ----------
    request : OrderRequest
    instrument : Instrument
    reference : Decimal, optional
        The last price, for the value of a market order and the sides of triggers and stops.
    limit : PriceLimit, optional
        The highest purchase and the lowest sale that are taken now.

    Raises
    ------
    OrderRejected
        With what is wrong and what would do.
    """
    check_link_id(request.order_link_id)
    if instrument.status != "Trading":
        raise OrderRejected(
            f"{request.symbol} is not traded now: its status is {instrument.status}.",
            "Wait until it is, or leave it out.",
        )
    _check_form(request)
    _check_prices(request, instrument)
    is_market = request.order_type == OrderType.MARKET
    most = instrument.max_market_qty if is_market else instrument.max_qty
    # A quantity of 0 that may only close is the exchange's own way to say: all of it.
    if not (request.qty == 0 and request.reduce_only and request.close_on_trigger):
        _check_qty(request.symbol, request.qty, instrument, most)
    _check_limit(request, limit)
    base = request.price or request.trigger_price or reference
    if base is not None:
        _check_value(request, base, instrument)
        _check_sides(request, base)
    if reference is not None and request.trigger_by in (TriggerBy.NONE, TriggerBy.LAST):
        _check_trigger(request, reference)


def check_amend(request: AmendRequest, instrument: Instrument) -> None:
    """Refuse an amendment that the exchange would refuse for its numbers."""
    check_named(request)
    if not any(getattr(request, name) is not None for name in (*_PRICES[:6], "qty")):
        raise OrderRejected(
            f"The amendment of {request.order_id or request.order_link_id} changes nothing.",
            "Give a quantity, a price, a trigger, a take-profit or a stop-loss.",
        )
    _check_prices(request, instrument)
    if request.qty is not None:
        _check_qty(request.symbol, request.qty, instrument, instrument.max_qty)


def check_named(request: AmendRequest | CancelRequest) -> None:
    """Refuse what names no order."""
    if not (request.order_id or request.order_link_id):
        raise OrderRejected(
            f"The request on {request.symbol} names no order.", "Give order_id or order_link_id."
        )


def check_stop(request: StopRequest, instrument: Instrument) -> None:
    """Refuse stops of a position that the exchange would refuse for their numbers."""
    _check_prices(request, instrument)
    for name in ("tp_size", "sl_size"):
        size = getattr(request, name)
        if size is not None:
            _check_qty(request.symbol, size, instrument, instrument.max_qty)


def check_leverage(leverage: Decimal, instrument: Instrument) -> None:
    """Refuse a leverage that the instrument does not know."""
    is_known = leverage.is_finite() and 1 <= leverage <= instrument.max_leverage
    if not is_known or leverage % instrument.leverage_step:
        raise OrderRejected(
            f"{instrument.symbol} cannot have a leverage of {leverage}.",
            f"It takes 1 to {instrument.max_leverage} in steps of {instrument.leverage_step}.",
        )


def _check_form(request: OrderRequest) -> None:
    is_market = request.order_type == OrderType.MARKET
    has_stops = request.take_profit is not None or request.stop_loss is not None
    has_limits = request.tp_limit_price is not None or request.sl_limit_price is not None
    faults: Mapping[str, bool] = {
        "A limit order needs a price.": not is_market and request.price is None,
        "A market order has no price.": is_market and request.price is not None,
        "A market order cannot be post-only.": is_market
        and request.time_in_force == TimeInForce.POST_ONLY,
        "A trigger price and a trigger direction go together.": (request.trigger_price is None)
        != (request.trigger_direction == TriggerDirection.NONE),
        "A reduce-only order cannot carry take-profit or stop-loss.": request.reduce_only
        and has_stops,
        "A limit price of take-profit or stop-loss needs tpsl_mode Partial.": has_limits
        and request.tpsl_mode != TpslMode.PARTIAL,
    }
    for words, is_so in faults.items():
        if is_so:
            raise OrderRejected(f"{request.symbol}: {words}", f"Change {request.order_link_id}.")


def _check_prices(
    request: OrderRequest | AmendRequest | StopRequest, instrument: Instrument
) -> None:
    for name in _PRICES:
        price = getattr(request, name, None)
        may_be_zero = name in _REMOVABLE and not isinstance(request, OrderRequest)
        if price is None or (price == 0 and may_be_zero):
            continue
        is_distance = name == "trailing_stop"
        least = instrument.tick_size if is_distance else instrument.min_price
        most = min(instrument.max_price, _HIGHEST)
        if not (price.is_finite() and price > 0 and least <= price <= most):
            raise OrderRejected(
                f"{request.symbol}: {name} = {price} is out of its range.",
                f"It takes {plain_text(least)} to {plain_text(most)}.",
            )
        if price % instrument.tick_size:
            low = price // instrument.tick_size * instrument.tick_size
            raise OrderRejected(
                f"{request.symbol}: {name} = {price} is not a multiple of the tick "
                f"{plain_text(instrument.tick_size)}.",
                f"Use {plain_text(low)} or {plain_text(low + instrument.tick_size)}.",
            )


def _check_qty(symbol: str, qty: Decimal, instrument: Instrument, most: Decimal) -> None:
    if not qty.is_finite() or not instrument.min_qty <= qty <= most:
        raise OrderRejected(
            f"{symbol}: a quantity of {qty} is out of its range.",
            f"This order takes {plain_text(instrument.min_qty)} to {plain_text(most)}.",
        )
    if qty % instrument.qty_step:
        low = qty // instrument.qty_step * instrument.qty_step
        raise OrderRejected(
            f"{symbol}: a quantity of {qty} is not a multiple of the step "
            f"{plain_text(instrument.qty_step)}.",
            f"Use {plain_text(low)} or {plain_text(low + instrument.qty_step)}.",
        )


def _check_limit(request: OrderRequest, limit: PriceLimit | None) -> None:
    # What waits for a trigger is held against the limits of its own moment.
    if limit is None or request.price is None or request.trigger_price is not None:
        return
    is_buy = request.side is Side.BUY
    bound = limit.buy_lmt if is_buy else limit.sell_lmt
    if (request.price - bound) * request.side.sign > 0:
        raise OrderRejected(
            f"{request.symbol}: the {'purchase' if is_buy else 'sale'} at "
            f"{plain_text(request.price)} passes the price limit.",
            f"{'At most' if is_buy else 'At least'} {plain_text(bound)} is taken now.",
        )


def _check_value(request: OrderRequest, base: Decimal, instrument: Instrument) -> None:
    value = request.qty * base
    if not request.is_closing and value < instrument.min_notional_usdt:
        raise OrderRejected(
            f"{request.symbol}: {plain_text(request.qty)} at {plain_text(base)} is worth "
            f"{plain_text(value)} USDT.",
            f"An order that opens takes at least {plain_text(instrument.min_notional_usdt)} USDT.",
        )


def _check_sides(request: OrderRequest, base: Decimal) -> None:
    for name, stop, sign in (
        ("take_profit", request.take_profit, request.side.sign),
        ("stop_loss", request.stop_loss, -request.side.sign),
    ):
        if stop is not None and (stop - base) * sign <= 0:
            raise OrderRejected(
                f"{request.symbol}: {name} = {plain_text(stop)} lies on the wrong side of "
                f"{plain_text(base)} for a {request.side} order.",
                "A long takes profit above and stops below, a short the other way round.",
            )


def _check_trigger(request: OrderRequest, reference: Decimal) -> None:
    if request.trigger_price is None:
        return
    is_rise = request.trigger_direction == TriggerDirection.RISE
    if (request.trigger_price - reference) * (1 if is_rise else -1) <= 0:
        raise OrderRejected(
            f"{request.symbol}: the trigger {plain_text(request.trigger_price)} waits for a "
            f"{'rise' if is_rise else 'fall'}, and the price is {plain_text(reference)}.",
            "The trigger must lie on the side to which the price is to move.",
        )
