"""What stands between a plan and the exchange: permits, prices that are fresh, limits, rules."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import datetime
from decimal import Decimal

from workbench.core.errors import RiskRefused, WorkbenchError
from workbench.core.records import Instrument
from workbench.exchange.records import ZERO
from workbench.exchange.requests import OrderRequest
from workbench.exchange.rules import check_order
from workbench.execution.books import EXTERNAL, Shares
from workbench.execution.memory import Memory, Working
from workbench.execution.venue import OrderLimits, Quote


class Checks:
    """Refuses entries; what closes is held against the exchange's own rules only."""

    def __init__(
        self,
        limits: OrderLimits,
        permits: Callable[[str], WorkbenchError | None],
        instruments: Mapping[str, Instrument],
        quote: Callable[[str], Quote | None],
        now: Callable[[], datetime],
        memory: Memory,
    ) -> None:
        self.limits, self._permits = limits, permits
        self._instruments, self._quote = instruments, quote
        self._now, self._memory = now, memory

    def fresh_quote(self, symbol: str) -> Quote | None:
        """Return the quote of a symbol unless it is too old."""
        quote = self._quote(symbol)
        if quote is None or (self._now() - quote.at).total_seconds() > self.limits.quote_age_s:
            return None
        return quote

    def permitted(self, wants: Shares, held: Shares) -> tuple[Shares, list[str]]:
        """Return what of all wants is permitted, and why not the rest; closing always is."""
        granted, refusals = dict(wants), []
        for name, want in wants.items():
            own = held.get(name, ZERO)
            closing = min(abs(own), abs(want)).copy_sign(want) if own * want < 0 else ZERO
            if closing == want or name == EXTERNAL:
                continue
            error = self._permits(name)
            if error is not None:
                granted[name] = closing
                refusals.append(f"{name} may not enter: {error}")
        return {name: want for name, want in granted.items() if want}, refusals

    def check(self, request: OrderRequest) -> None:
        """Refuse an order that the exchange, or a limit of this account, does not allow.

        Raises
        ------
        WorkbenchError
            Why: ``OrderRejected`` by the exchange's rules, ``RiskRefused`` by the limits here.
        """
        own, quote = self._instruments[request.symbol], self.fresh_quote(request.symbol)
        if request.is_closing:
            check_order(request, own)
            return
        if quote is None:
            raise RiskRefused(
                f"The price of {request.symbol} is not known, or old.",
                "Entries wait until the stream brings one.",
            )
        price = request.price or quote.last
        if abs(price / quote.mark - 1) > self.limits.collar:
            raise RiskRefused(
                f"{request.symbol}: {price:f} is {abs(price / quote.mark - 1):.1%} from the mark "
                f"{quote.mark:f}, beyond {self.limits.collar:.1%}.",
                "The order is dropped; decide again when prices agree.",
            )
        check_order(request, own, reference=quote.last, limit=quote.limit)
        self._check_limits(request, request.qty * price)

    def _check_limits(self, request: OrderRequest, value: Decimal) -> None:
        open_ = [own for own in self._memory.live.values() if not own.plan.leg]
        alike = [own for own in open_ if own.symbol == request.symbol]
        total, same = (sum(map(self._value, orders), value) for orders in (open_, alike))
        limits = self.limits
        for what, load, limit in (
            ("open orders", Decimal(len(open_) + 1), Decimal(limits.max_orders)),
            (
                "open orders of it",
                Decimal(len(alike) + 1),
                Decimal(limits.max_symbol_orders),
            ),
            ("USDT in one order", value, limits.max_order_usdt),
            ("USDT in open orders of the symbol", same, limits.max_symbol_usdt),
            ("USDT in open orders", total, limits.max_total_usdt),
        ):
            if load > limit:
                raise RiskRefused(
                    f"{request.symbol}: {load:,.0f} {what}, at most {limit:,.0f}.",
                    "The order is dropped.",
                )

    def _value(self, own: Working) -> Decimal:
        quote = self._quote(own.symbol)
        return own.life.left * (own.plan.request.price or (quote.last if quote else ZERO))
