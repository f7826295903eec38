"""Rights: whether a strategy may trade here and now, asked at the start and for every order.

The book of stages is read from the store beside trading, never in its way: while the store does not
answer, what was read last counts until the permit itself expires.
"""

from __future__ import annotations

from collections.abc import Callable, Collection
from dataclasses import dataclass
from decimal import Decimal
from typing import TYPE_CHECKING

from workbench.core.errors import EvidenceError, WorkbenchError
from workbench.evidence.permits import Permit
from workbench.evidence.stages import Venue
from workbench.lifecycle.rights import admit

if TYPE_CHECKING:
    from workbench.core.vault import PublicKey
    from workbench.lifecycle.book import Book


@dataclass(slots=True)
class Rights:
    """The permits of strategies at one venue.

    ``read`` opens the book of stages anew; ``lock_hash`` is None where packages are not compared.
    """

    read: Callable[[], Book]
    public_keys: Collection[PublicKey]
    venue: Venue
    is_synthetic: bool
    lock_hash: str | None
    book: Book
    trouble: str = ""

    def refresh(self) -> None:
        """Read the book again; called in a thread."""
        try:
            self.book = self.read()
        except WorkbenchError as error:
            self.trouble = str(error)
        else:
            self.trouble = ""

    def permit(self, strategy_hash: str, capital_usdt: Decimal = Decimal(0)) -> Permit:
        """Return the permit by which a strategy may use so much capital now.

        Raises
        ------
        EvidenceError
            If there is none, or it does not reach here.
        """
        return admit(
            self.book, strategy_hash, public_keys=self.public_keys, venue=self.venue,
            is_synthetic_market=self.is_synthetic, capital_usdt=capital_usdt,
            lock_hash=self.lock_hash,
        )  # fmt: skip

    def refusal(self, strategy_hash: str, capital_usdt: Decimal) -> WorkbenchError | None:
        """Return why a strategy may not enter now, None where it may."""
        try:
            permit = self.permit(strategy_hash, capital_usdt)
        except EvidenceError as error:
            return error
        if permit.is_reduce_only:
            return EvidenceError(
                f"{permit.strategy} is in {permit.stage}.", "It may only close what it holds."
            )
        return None
