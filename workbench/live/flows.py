"""Flows: what came into the wallet or left it without being earned, so that it is no loss.

A transfer counts as soon as the account's log shows it. What the wallet shows and the log does not
explain is in doubt at first (the log may be late): until it is explained, less money is taken for
a withdrawal and more money for nothing at all. What is not explained in time was a flow: the log
of one product need not list the transfers of the account.
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any, Final

from workbench.exchange.records import Transaction
from workbench.exchange.wire import from_millis, to_millis
from workbench.exchange.words import TransactionType

COIN: Final = "USDT"
EARNED: Final = frozenset(
    {TransactionType.TRADE, TransactionType.SETTLEMENT, TransactionType.LIQUIDATION,
     TransactionType.ADL, TransactionType("DELIVERY")}
)  # fmt: skip
SETTLE: Final = timedelta(seconds=30)
OVERLAP: Final = timedelta(seconds=20)
"""The log is read again from before its last row: rows may come late."""
DUST: Final = Decimal("0.01")
"""What roundings may leave."""
_ZERO: Final = Decimal(0)


class Flows:
    """The flows of one account since it was first looked at: ``total``, and what is in doubt."""

    def __init__(self) -> None:
        self.total = self.doubt = _ZERO
        self._explained: Decimal | None = None
        self._seen: dict[str, int] = {}
        self._last_ms = 0
        self._doubted: tuple[Decimal, datetime] | None = None

    def since(self, now: datetime) -> datetime:
        """Return from when on the log must be read."""
        return (from_millis(self._last_ms) if self._last_ms else now) - OVERLAP

    def advance(self, now: datetime, wallet: Decimal, rows: Iterable[Transaction]) -> None:
        """Take the wallet's balance, and the rows of the log since ``since``, by exchange time."""
        new = {_name(row): row for row in rows if row.currency == COIN}
        new = {name: row for name, row in new.items() if name not in self._seen}
        self._seen |= {name: row.transaction_time_ms for name, row in new.items()}
        if self._explained is None:
            self._explained, self._last_ms = wallet, to_millis(now)
            return
        self._last_ms = max([self._last_ms, *self._seen.values()])
        oldest = to_millis(self.since(now) - OVERLAP)
        self._seen = {name: at for name, at in self._seen.items() if at >= oldest}
        self._explained += sum((row.change for row in new.values()), _ZERO)
        self.total += sum((r.change for r in new.values() if r.type not in EARNED), _ZERO)
        self._settle(now, wallet)

    @property
    def mild(self) -> Decimal:
        """The flows if what is missing has been withdrawn."""
        return self.total + min(self.doubt, _ZERO)

    def document(self) -> dict[str, Any]:
        """Return all that must be kept, as plain JSON."""
        return {
            "total": str(self.total), "last_ms": self._last_ms, "seen": self._seen,
            "explained": None if self._explained is None else str(self._explained),
        }  # fmt: skip

    def restore(self, document: dict[str, Any]) -> None:
        """Go on from a document."""
        self.total, explained = Decimal(document["total"]), document["explained"]
        self._explained = None if explained is None else Decimal(explained)
        self._last_ms, self._seen = int(document["last_ms"]), dict(document["seen"])

    def _settle(self, now: datetime, wallet: Decimal) -> None:
        assert self._explained is not None  # noqa: S101 - the first look has set it
        doubt = wallet - self._explained
        self.doubt = doubt if abs(doubt) >= DUST else _ZERO
        if not self.doubt:
            self._doubted = None
        elif self._doubted is None or self._doubted[0] != self.doubt:
            self._doubted = self.doubt, now
        elif now - self._doubted[1] >= SETTLE:
            self.total += self.doubt
            self._explained, self.doubt, self._doubted = wallet, _ZERO, None


def _name(row: Transaction) -> str:
    # Rows of one moment may share an id.
    return f"{row.id} {row.type} {row.trade_id} {row.transaction_time_ms}"
