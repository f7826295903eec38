"""Accounting: what an account holds and has earned, exactly, from the postings that made it so.

Everything is a ``Decimal`` and no sum is ever rounded, so that ``equity = wallet + unrealised``
holds to the last digit, and so does the sum of all strategies and symbols. Only an average price is
rounded (28 digits), and what is left over stays in the cost of the position: nothing is lost.

The books of strategies are virtual. What the exchange holds is their net: its wallet realises what
two opposite strategies do not, and the totals are the same.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from decimal import Context, Decimal, FloatOperation, Inexact, InvalidOperation, localcontext
from typing import Any, Final, Literal

import numpy as np
import pandas as pd
from pydantic import TypeAdapter, ValidationError

from workbench.core.errors import DataError, ReconcileError
from workbench.core.margin import initial_margin
from workbench.core.records import to_decimal

FINE: Final = Decimal("1e-12")
"""The step to which floats of a backtest are rounded where they become money."""

FLOWS: Final = frozenset({"deposit", "withdrawal", "transfer", "interest"})
"""What comes into or leaves the account without being earned by trading."""

_EXACT: Final = Context(prec=120, traps=[FloatOperation, InvalidOperation, Inexact])
_DIVISION: Final = Context(prec=28, traps=[FloatOperation, InvalidOperation])
_ZERO: Final = Decimal(0)


@dataclass(frozen=True, slots=True)
class Fill:
    """One execution: ``qty`` carries the sign, the fee is paid where it is positive.

    ``liquidation`` and ``adl`` are executions that the exchange made on its own.
    """

    id: str
    moment: datetime
    symbol: str
    qty: Decimal
    price: Decimal
    fee_usdt: Decimal = _ZERO
    strategy: str = ""
    kind: Literal["trade", "liquidation", "adl"] = "trade"

    def __post_init__(self) -> None:
        _check(self, self.qty, self.price, self.fee_usdt)
        if self.qty == 0 or self.price <= 0:
            raise DataError(f"{self} is no fill.", "It needs a quantity, and a price above 0.")


@dataclass(frozen=True, slots=True)
class Payment:
    """Money that moves without an execution: ``amount_usdt`` is added to the wallet.

    Funding and fees that are paid are negative; so is a withdrawal.
    """

    id: str
    moment: datetime
    kind: Literal["funding", "fee", "deposit", "withdrawal", "transfer", "interest"]
    amount_usdt: Decimal
    symbol: str = ""
    strategy: str = ""

    def __post_init__(self) -> None:
        _check(self, self.amount_usdt)
        if self.amount_usdt * {"deposit": -1, "withdrawal": 1}.get(self.kind, 0) > 0:
            raise DataError(f"{self} has the wrong sign.", "A withdrawal is negative.")


Posting = Fill | Payment
_POSTINGS: Final = TypeAdapter(list[Posting])


@dataclass(frozen=True, slots=True)
class Position:
    """What is held: signed quantity, average entry price, and what was paid for it (signed)."""

    qty: Decimal = _ZERO
    entry: Decimal = _ZERO
    cost: Decimal = _ZERO

    def fill(self, qty: Decimal, price: Decimal) -> tuple[Position, Decimal]:
        """Return the position after a fill, and the profit that it realises.

        A partial close leaves the entry price as it is; a fill that turns the position closes all
        of it and opens the rest at its own price.
        """
        after = self.qty + qty
        if self.qty * qty >= 0:
            cost = self.cost + qty * price
            return Position(after, _DIVISION.divide(cost, after), cost), _ZERO
        if self.qty * after > 0:
            freed = -qty * self.entry
            return Position(after, self.entry, self.cost - freed), -qty * price - freed
        realised = self.qty * price - self.cost
        return Position(after, price if after else _ZERO, after * price), realised

    def unrealised(self, symbol: str, marks: Mapping[str, Decimal]) -> Decimal:
        """Return the profit not yet realised on a mark price, which must be there if it is held."""
        if not self.qty:
            return _ZERO
        mark = marks.get(symbol)
        if not isinstance(mark, Decimal) or not mark.is_finite() or mark <= 0:
            raise DataError(
                f"The mark of {symbol}, which is held, is {mark!r}.",
                "Give the mark price of every symbol that is held, as a Decimal above 0.",
            )
        return self.qty * mark - self.cost


@dataclass(slots=True)
class Line:
    """What one strategy has earned in one symbol; fees and funding are positive where paid."""

    position: Position = field(default_factory=Position)
    realised_usdt: Decimal = _ZERO
    fees_usdt: Decimal = _ZERO
    funding_usdt: Decimal = _ZERO


class Books:
    """The books of one account, kept by strategy and symbol (``lines``) and net (``positions``)."""

    def __init__(self, postings: Iterable[Posting] = ()) -> None:
        self.wallet_usdt = _ZERO
        self.flows_usdt = _ZERO
        self.lines: dict[tuple[str, str], Line] = {}
        self.positions: dict[str, Position] = {}
        self._postings: dict[str, Posting] = {}
        for posting in postings:
            self.post(posting)

    @property
    def postings(self) -> Sequence[Posting]:
        """Everything that was posted, in the order of its arrival."""
        return tuple(self._postings.values())

    def find(self, name: str) -> Posting | None:
        """Return a posting by its id, None where there is none."""
        return self._postings.get(name)

    def post(self, posting: Posting) -> bool:
        """Book a posting and return whether it was new; one that came before changes nothing.

        Raises
        ------
        ReconcileError
            If another posting of the same id says something else.
        """
        known = self._postings.get(posting.id)
        if known not in (None, posting):
            raise ReconcileError(
                f"{posting.id} was booked as {known} and is now {posting}.",
                "Compare both with the exchange before trading goes on.",
            )
        if known is None:
            with localcontext(_EXACT):
                if isinstance(posting, Fill):
                    self._fill(posting)
                else:
                    self._pay(posting)
            self._postings[posting.id] = posting
        return known is None

    def unrealised_usdt(self, marks: Mapping[str, Decimal]) -> Decimal:
        """Return the profit not yet realised, on mark prices.

        Raises
        ------
        DataError
            If the mark of a symbol that is held is missing, or not a positive ``Decimal``.
        """
        with localcontext(_EXACT):
            return sum((p.unrealised(s, marks) for s, p in self.positions.items()), _ZERO)

    def equity_usdt(self, marks: Mapping[str, Decimal]) -> Decimal:
        """Return the wallet and the unrealised profit; see ``unrealised_usdt``."""
        with localcontext(_EXACT):
            return self.wallet_usdt + self.unrealised_usdt(marks)

    def pnl_usdt(self, marks: Mapping[str, Decimal]) -> dict[tuple[str, str], Decimal]:
        """Return what each strategy has earned in each symbol, net of fees and funding.

        They add up to the equity less the flows, without a remainder.
        """
        with localcontext(_EXACT):
            return {
                key: line.realised_usdt
                + line.position.unrealised(key[1], marks)
                - line.fees_usdt
                - line.funding_usdt
                for key, line in self.lines.items()
            }

    def isolated_margins(
        self, leverage: Mapping[str, Decimal]
    ) -> tuple[Decimal, dict[str, Decimal]]:
        """Return the cash that is free, and the margin of each position held at a leverage.

        Cash, margins and unrealised profit add up to the equity, without a remainder.
        """
        margins = {
            symbol: _DIVISION.plus(initial_margin(abs(position.cost), leverage[symbol]))
            for symbol, position in self.positions.items()
            if position.qty
        }
        with localcontext(_EXACT):
            return self.wallet_usdt - sum(margins.values(), _ZERO), margins

    def document(self) -> list[dict[str, str]]:
        """Return the postings as plain text, from which ``read_books`` makes the same books."""
        answer: list[dict[str, str]] = _POSTINGS.dump_python(list(self.postings), mode="json")
        return answer

    def _fill(self, fill: Fill) -> None:
        line = self._line(fill)
        line.position, realised = line.position.fill(fill.qty, fill.price)
        line.realised_usdt += realised
        line.fees_usdt += fill.fee_usdt
        net = self.positions.get(fill.symbol, Position())
        self.positions[fill.symbol], realised = net.fill(fill.qty, fill.price)
        self.wallet_usdt += realised - fill.fee_usdt

    def _pay(self, payment: Payment) -> None:
        self.wallet_usdt += payment.amount_usdt
        if payment.kind in FLOWS:
            self.flows_usdt += payment.amount_usdt
        elif payment.kind == "funding":
            self._line(payment).funding_usdt -= payment.amount_usdt
        else:
            self._line(payment).fees_usdt -= payment.amount_usdt

    def _line(self, posting: Posting) -> Line:
        return self.lines.setdefault((posting.strategy, posting.symbol), Line())


def read_books(document: Sequence[Mapping[str, str]]) -> Books:
    """Return the books that were written as a plain document.

    Raises
    ------
    DataError
        If a row is not a posting.
    """
    try:
        return Books(_POSTINGS.validate_python(document))
    except ValidationError as error:
        raise DataError(
            f"These are no postings: {error.errors()[0]['msg']}.", "Restore what document() wrote."
        ) from error


def read_fills(fills: pd.DataFrame, *, step: Decimal = FINE) -> list[Fill]:
    """Return the fills of a backtest as postings.

    Parameters
    ----------
    fills : DataFrame
        As in a backtest's ``Result.fills``: ``known_at``, ``symbol``, ``side``, ``qty``, ``price``,
        ``fee_usdt``, ``reason``, and ``strategy`` where there are several.
    step : Decimal
        What floats are rounded to.

    Notes
    -----
    The running position is rounded, and a fill is its change: what the float books call flat is
    flat here.
    """
    rows: Any = fills if "strategy" in fills else fills.assign(strategy="")
    held: dict[tuple[str, str], float] = {}
    answer = []
    for i, row in enumerate(rows.itertuples(index=False)):
        key = (str(row.strategy), str(row.symbol))
        before = held.get(key, 0.0)
        held[key] = before + row.side * row.qty
        qty = to_decimal(held[key], step=step) - to_decimal(before, step=step)
        if qty:
            price, fee = to_decimal(row.price, step=step), to_decimal(row.fee_usdt, step=step)
            moment, name = row.known_at.to_pydatetime(), f"fill:{i}"
            kind: Any = "liquidation" if row.reason == "liquidation" else "trade"
            answer.append(Fill(name, moment, key[1], qty, price, fee, key[0], kind))
    return answer


def read_funding(funding: pd.DataFrame, *, step: Decimal = FINE) -> list[Payment]:
    """Return the funding of a backtest as postings, one a bar and symbol in which some was paid.

    Parameters
    ----------
    funding : DataFrame of shape (n_bars, n_symbols)
        USDT paid in each bar (negative where received), as in a backtest's ``Result.funding``;
        columns are symbols, or pairs of strategy and symbol.
    step : Decimal
        What floats are rounded to.
    """
    table = funding.to_numpy(dtype=np.float64)
    moments = pd.DatetimeIndex(funding.index).to_pydatetime()
    names = [split_name(name) for name in funding.columns]
    answer = []
    for i, j in zip(*np.nonzero(table), strict=True):
        (strategy, symbol), moment = names[j], moments[i]
        amount = -to_decimal(float(table[i, j]), step=step)
        name = f"funding:{strategy}:{symbol}:{moment.isoformat()}"
        answer.append(Payment(name, moment, "funding", amount, symbol, strategy))
    return answer


def read_marks(row: pd.Series, *, step: Decimal = FINE) -> dict[str, Decimal]:
    """Return the mark prices of one bar, without those that are missing."""
    return {str(name): to_decimal(float(mark), step=step) for name, mark in row.dropna().items()}


def split_name(column: Any) -> tuple[str, str]:
    """Return strategy and symbol of a column, which names both or the symbol alone."""
    return column if isinstance(column, tuple) else ("", str(column))


def _check(posting: Posting, *amounts: Decimal) -> None:
    # A Decimal made straight of a float has some fifty decimals.
    is_money = all(
        isinstance(amount, Decimal) and amount.is_finite() and amount.as_tuple().exponent >= -18  # type: ignore[operator]
        for amount in amounts
    )
    if not (is_money and posting.id and posting.moment.tzinfo):
        raise DataError(
            f"{posting} cannot be booked.",
            "It needs the exchange's id, a UTC-aware time, and finite Decimals of at most 18 "
            "decimals; core.records.to_decimal makes one of a float.",
        )
