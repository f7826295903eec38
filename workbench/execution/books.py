"""Virtual books: whose each fill is, while the exchange holds one net position.

Two sets of books are kept from the same executions: ``account`` as the exchange tells it, and
``shares`` divided among strategies and ``EXTERNAL`` (what people and the exchange did to the
account). What crosses between two strategies is in ``shares`` alone. Positions, and equity on any
mark, are the same in both, to the last digit; a difference is an error.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace
from datetime import datetime
from decimal import Context, Decimal
from typing import Final, Literal, NamedTuple

from workbench.core.errors import DataError, ReconcileError
from workbench.exchange.records import ZERO, Execution
from workbench.exchange.wire import from_millis
from workbench.exchange.words import CreateType, ExecType, StopOrderType
from workbench.portfolio.accounting import Books, Fill, Payment, Posting

EXTERNAL: Final = "external"
"""Who holds what no strategy asked for."""

Shares = dict[str, Decimal]
Kind = Literal["trade", "liquidation", "adl"]

_EXACT: Final = Context(prec=60)
_GRAIN: Final = Decimal("1e-18")
_FORCED: Final[Mapping[str, Kind]] = {
    ExecType.ADL_TRADE: "adl",
    ExecType.BUST_TRADE: "liquidation",
    CreateType.ADL: "adl",
    CreateType.LIQUIDATION: "liquidation",
    CreateType.TAKE_OVER: "liquidation",
}
_ENDS: Final = frozenset({ExecType.SETTLE, ExecType.DELIVERY})
_EXITS: Final = frozenset(StopOrderType) - {
    StopOrderType.NONE, StopOrderType.STOP, StopOrderType.TPSL_ORDER
}  # fmt: skip
"""Stops that stand on the position itself, whoever set them."""


class Crossing(NamedTuple):
    """What strategies trade among themselves (signed, adding up to 0), at which price."""

    id: str
    symbol: str
    shares: Shares
    price: Decimal
    moment: datetime


def divide(qty: Decimal, wants: Mapping[str, Decimal], step: Decimal) -> Shares:
    """Divide a quantity in whole steps in the proportion of what each wants.

    What is left over goes, a step each, to the largest remainders, and among equals by name. Nobody
    gets more than wanted if all is not more than all want.

    Examples
    --------
    >>> wants = {"a": Decimal(2), "b": Decimal(1)}
    >>> divide(Decimal(2), wants, Decimal(1))
    {'a': Decimal('1'), 'b': Decimal('1')}
    """
    amounts = (qty, *wants.values())
    is_whole = not any(value % step for value in amounts)
    # Old positions may lie between the steps of now.
    unit = step if is_whole else min(step, *map(_grain, amounts))
    lots, whole = _lots(qty, unit), {name: _lots(want, unit) for name, want in wants.items()}
    total = sum(whole.values())
    if not total:
        return {}
    parts = {name: divmod(abs(lots) * abs(own), abs(total)) for name, own in whole.items()}
    left = abs(lots) - sum(base for base, _ in parts.values())
    first = sorted(parts, key=lambda name: (-parts[name][1], name))[:left]
    sign = 1 if lots > 0 else -1
    given = {name: parts[name][0] + (name in first) for name in sorted(parts)}
    return {name: sign * own * unit for name, own in given.items() if own}


def cross(wants: Mapping[str, Decimal], step: Decimal) -> tuple[Shares, Shares]:
    """Return what strategies can trade with one another, and what is left to send; both signed."""
    buys = {name: want for name, want in wants.items() if want > 0}
    sells = {name: want for name, want in wants.items() if want < 0}
    both = min(sum(buys.values(), ZERO), -sum(sells.values(), ZERO))
    if not both:
        return {}, {name: want for name, want in wants.items() if want}
    crossed = divide(both, buys, step) | divide(-both, sells, step)
    rest = {name: want - crossed.get(name, ZERO) for name, want in wants.items()}
    return crossed, {name: want for name, want in rest.items() if want}


class VirtualBooks:
    """Who holds what; every change is a posting, and every posting counts once.

    ``steps`` maps symbols to their lot; one that is missing is divided to the last decimal.
    """

    def __init__(self, steps: Mapping[str, Decimal] | None = None) -> None:
        self.account, self.shares = Books(), Books()
        self.steps = dict(steps or {})
        self._claims: dict[str, Shares] = {}
        self._done: set[str] = set()

    def held(self, symbol: str) -> Shares:
        """Return what each strategy holds of a symbol, signed, without those that are flat."""
        return {
            strategy: line.position.qty
            for (strategy, own), line in self.shares.lines.items()
            if own == symbol and line.position.qty
        }

    def net(self, symbol: str) -> Decimal:
        """Return what the account holds of a symbol, signed."""
        position = self.account.positions.get(symbol)
        return position.qty if position else ZERO

    def claim(self, link: str, shares: Shares) -> None:
        """Note for whom an order is sent: what each strategy wants of it, signed."""
        self._claims[link] = dict(shares)

    def claims(self, link: str) -> Shares:
        """Return what is still wanted of an order, by whom."""
        return self._claims.get(link, {})

    def knows(self, name: str) -> bool:
        """Return whether an execution was booked."""
        return name in self._done

    def cross(self, crossing: Crossing) -> None:
        """Book what strategies trade with one another, without the exchange."""
        if sum(crossing.shares.values(), ZERO):
            raise ReconcileError(
                f"{crossing} does not add up to nothing.", "What one buys another must sell."
            )
        for strategy, qty in crossing.shares.items():
            self.shares.post(
                Fill(f"{crossing.id}/{strategy}", crossing.moment, crossing.symbol, qty,
                     crossing.price, ZERO, strategy)
            )  # fmt: skip
        self.check(crossing.symbol)

    def adopt(self, fill: Fill) -> None:
        """Book what the account held, or did, without an execution that is known here."""
        self.account.post(replace(fill, strategy=""))
        self.shares.post(replace(fill, id=f"{fill.id}/{EXTERNAL}", strategy=EXTERNAL))
        self.check(fill.symbol)

    def flow(self, payment: Payment) -> None:
        """Book money that came or went without trading."""
        self.account.post(payment)
        self.shares.post(payment)

    def book(self, execution: Execution, link: str = "") -> Shares:
        """Book an execution by what it is, and return who got how much; nobody of one seen before.

        ``link`` names the order of ours that it belongs to, where there is one.

        Raises
        ------
        DataError
            If the fee is unknown, as in the fast stream.
        ReconcileError
            If strategies and account differ afterwards.
        """
        if execution.exec_id in self._done:
            return {}
        moment, fee = from_millis(execution.exec_time_ms), fee_of(execution)
        if execution.exec_type == ExecType.FUNDING:
            shares = self._at(execution.symbol, moment)
            postings = self._fund(execution, -fee, shares, moment)
        else:
            kind = _FORCED.get(execution.exec_type) or _FORCED.get(execution.create_type, "trade")
            qty = execution.side.sign * execution.exec_qty
            shares = self._owners(execution, link, kind, qty)
            postings = self._trade(execution, kind, fee, shares, moment)
        for whole, parts in postings:
            self.account.post(whole)
            for part in parts:
                self.shares.post(part)
        self._done.add(execution.exec_id)
        self.check(execution.symbol)
        return shares

    def check(self, symbol: str) -> None:
        """Raise ``ReconcileError`` unless strategies add up to the account."""
        total = sum(self.held(symbol).values(), ZERO)
        if total != self.net(symbol):
            raise ReconcileError(
                f"Strategies hold {total} {symbol} together, and the account {self.net(symbol)}.",
                "Nothing is traded until executions and books are read again.",
            )

    def _owners(self, execution: Execution, link: str, kind: Kind, qty: Decimal) -> Shares:
        step = self.steps.get(execution.symbol, _GRAIN)
        if link in self._claims:
            claims = self._claims[link]
            wants = {name: own for name, own in claims.items() if own * qty > 0}
        elif kind != "trade" or execution.exec_type in _ENDS or execution.stop_order_type in _EXITS:
            claims = {}
            wants = {
                name: -own for name, own in self.held(execution.symbol).items() if own * qty < 0
            }
        else:
            return {EXTERNAL: qty}
        total = sum(wants.values(), ZERO)
        most = qty if abs(qty) <= abs(total) else total
        shares = divide(most, wants, step)
        for name, own in shares.items():
            if name in claims:
                claims[name] -= own
        if qty != most:
            shares[EXTERNAL] = shares.get(EXTERNAL, ZERO) + qty - most
        return shares

    def _at(self, symbol: str, moment: datetime) -> Shares:
        # Funding is paid on what was held at its stamp, though later fills may have come first.
        held = self.held(symbol)
        for posting in reversed(self.shares.postings):
            if isinstance(posting, Fill) and posting.symbol == symbol and posting.moment >= moment:
                held[posting.strategy] = held.get(posting.strategy, ZERO) - posting.qty
        return {name: own for name, own in held.items() if own} or {EXTERNAL: Decimal(1)}

    def _fund(
        self, execution: Execution, amount: Decimal, held: Shares, moment: datetime
    ) -> list[tuple[Posting, list[Posting]]]:
        net = sum(held.values(), ZERO)
        amounts = _share(amount, held, net) if net else {EXTERNAL: amount}
        name, symbol = execution.exec_id, execution.symbol
        parts: list[Posting] = [
            Payment(f"{name}/{strategy}", moment, "funding", own, symbol, strategy)
            for strategy, own in amounts.items()
        ]
        return [(Payment(name, moment, "funding", amount, symbol), parts)]

    def _trade(
        self, execution: Execution, kind: Kind, fee: Decimal, shares: Shares, moment: datetime
    ) -> list[tuple[Posting, list[Posting]]]:
        qty = execution.side.sign * execution.exec_qty
        fees = _share(fee, shares, qty)
        name, symbol, price = execution.exec_id, execution.symbol, execution.exec_price
        parts: list[Posting] = [
            Fill(f"{name}/{own}", moment, symbol, part, price, fees[own], own, kind)
            for own, part in shares.items()
        ]
        return [(Fill(name, moment, symbol, qty, price, fee, "", kind), parts)]


def _share(amount: Decimal, weights: Shares, total: Decimal) -> Shares:
    # Cut at the last decimal of the books; the last by name takes what is left.
    *names, last = sorted(weights)
    shares = {
        name: _EXACT.quantize(_EXACT.divide(_EXACT.multiply(amount, weights[name]), total), _GRAIN)
        for name in names
    }
    shares[last] = _EXACT.subtract(amount, _sum(shares.values()))
    return shares


def _sum(amounts: Iterable[Decimal]) -> Decimal:
    total = ZERO
    for amount in amounts:
        total = _EXACT.add(total, amount)
    return total


def fee_of(execution: Execution) -> Decimal:
    """Return what an execution cost, taxes included; raise ``DataError`` where that is unknown."""
    if execution.exec_fee is None:
        raise DataError(
            f"The execution {execution.exec_id} has no fee.",
            "Book the executions of REST or the execution topic; the fast topic lacks fees.",
        )
    return _sum([execution.exec_fee, *(extra.fee for extra in execution.extra_fees)])


def _grain(value: Decimal) -> Decimal:
    exponent = value.normalize().as_tuple().exponent
    return Decimal((0, (1,), min(int(exponent), 0))) if value else Decimal(1)


def _lots(value: Decimal, unit: Decimal) -> int:
    return int(_EXACT.divide(value, unit))
