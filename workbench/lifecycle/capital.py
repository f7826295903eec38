"""How much money a stage is worth: the entry, the cut, the way up and down, and the budget."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime
from decimal import ROUND_DOWN, Decimal
from typing import TYPE_CHECKING, Final, Literal

from workbench.core.records import to_decimal

if TYPE_CHECKING:
    from workbench.lifecycle.standing import Standing

BASE_USDT: Final = Decimal(1_000)
CAP_USDT: Final = Decimal(5_000)
OVERRIDE_USDT: Final = Decimal(500)
"""The most that an override may put at risk: a base entry of low confidence."""

CONFIDENCE: Final = {"high": Decimal("1.5"), "medium": Decimal(1), "low": Decimal("0.5")}
CUT: Final = Decimal("0.5")
GROWTH: Final = Decimal("1.25")
SHRINKAGE: Final = Decimal("0.75")
_CENT: Final = Decimal("0.01")
_FINE: Final = Decimal("0.000001")


def entry_capital(score: float, confidence: Literal["high", "medium", "low"]) -> Decimal:
    """Return the capital in USDT with which a strategy goes live.

    Examples
    --------
    >>> entry_capital(0.75, "high")
    Decimal('2250.00')
    """
    times = min(2 * to_decimal(score, step=_FINE), Decimal(3))
    return _cents(min(BASE_USDT * times * CONFIDENCE[confidence], CAP_USDT))


def cut_capital(capital_usdt: Decimal) -> Decimal:
    """Return what a demotion leaves."""
    return _cents(capital_usdt * CUT)


def scale_capital(capital_usdt: Decimal, *, is_faultless: bool, free_usdt: Decimal) -> Decimal:
    """Return the capital of a live strategy after 30 days: more if nothing failed, else less.

    It grows up to the cap and by what the budget leaves free.
    """
    if not is_faultless:
        return _cents(capital_usdt * SHRINKAGE)
    wanted = min(capital_usdt * GROWTH, max(CAP_USDT, capital_usdt))
    return _cents(min(wanted, capital_usdt + max(free_usdt, Decimal(0))))


def fit_capital(capital_usdt: Decimal, share: Decimal) -> Decimal:
    """Return the share of a capital that a smaller budget leaves."""
    return _cents(capital_usdt * share)


def live_capital(standings: Iterable[Standing], now: datetime) -> Decimal:
    """Return the sum of the real money that strategies may use at a moment."""
    return sum((standing.exposure_usdt(now) for standing in standings), Decimal(0))


def _cents(amount: Decimal) -> Decimal:
    return amount.quantize(_CENT, rounding=ROUND_DOWN)
