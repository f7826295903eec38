"""Decisions: what may be held, why it is not all that was asked, and in words."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import datetime
from enum import IntEnum, StrEnum
from typing import Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from workbench.core.errors import RiskRefused

Floats = NDArray[np.float64]


class Reason(StrEnum):
    """Why less than what was asked is granted."""

    DATA = "data"
    COLLAR = "collar"
    REWARD = "reward"
    BREAKER = "breaker"
    LEVEL = "level"
    STRATEGY = "strategy"
    CLOSE = "close"
    REGIME = "regime"
    CORRELATION = "correlation"
    TRADE_RISK = "trade risk"
    SYMBOL = "symbol"
    LIQUIDITY = "liquidity"
    SECTOR = "sector"
    GROSS = "gross"
    NET = "net"
    HEAT = "heat"
    MARGIN = "margin"
    LIQUIDATION = "liquidation"
    VALUE_AT_RISK = "value at risk"
    POSITIONS = "positions"
    LOTS = "lots"


WORDS: Final = {
    Reason.DATA: "no price that is fresh, or no forecast: positions may only shrink",
    Reason.COLLAR: "the price is {load:.1%} from the mark, beyond {limit:.1%}",
    Reason.REWARD: "the take-profit is less than {limit:.2f} times as far away as the stop",
    Reason.BREAKER: "a circuit breaker leaves {load:.0%} of an entry",
    Reason.LEVEL: "the account's risk is critical: no entries",
    Reason.STRATEGY: "the strategy is {load:.1%} below its peak, beyond {limit:.1%}: no entries",
    Reason.CLOSE: "the account is {load:.1%} below its peak, beyond {limit:.1%}: everything closes",
    Reason.REGIME: "the market's regime leaves {load:.0%} of the size",
    Reason.CORRELATION: "symbols move together, which leaves {load:.0%} of the size",
    Reason.TRADE_RISK: "the stop would cost {load:,.0f} USDT, a trade may risk {limit:,.0f}",
    Reason.SYMBOL: "{load:,.0f} USDT in one symbol, at most {limit:,.0f}",
    Reason.LIQUIDITY: "{load:,.0f} USDT, at most {limit:,.0f} of what is traded in a day",
    Reason.SECTOR: "{load:,.0f} USDT in one sector, at most {limit:,.0f}",
    Reason.GROSS: "{load:,.0f} USDT in all positions, at most {limit:,.0f}",
    Reason.NET: "{load:,.0f} USDT net on one side, at most {limit:,.0f}",
    Reason.HEAT: "{load:,.0f} USDT lost if every stop is hit, at most {limit:,.0f}",
    Reason.MARGIN: "{load:,.0f} USDT of initial margin, at most {limit:,.0f}",
    Reason.LIQUIDATION: "{load:,.0f} USDT lost or bound at the least distance to liquidation, "
    "of an equity of {limit:,.0f}",
    Reason.VALUE_AT_RISK: "a value at risk of {load:,.0f} USDT a day, at most {limit:,.0f}",
    Reason.POSITIONS: "{load:.0f} positions, at most {limit:.0f}",
    Reason.LOTS: "the exchange takes no order that small or large",
}


class Level(IntEnum):
    """How much of its limits the account uses; critical blocks entries, never exits."""

    LOW = 0
    MEDIUM = 1
    HIGH = 2
    CRITICAL = 3


class Verdict(StrEnum):
    """What became of one target."""

    APPROVED = "approved"
    RESIZED = "resized"
    REFUSED = "refused"


class Cut(NamedTuple):
    """One step down: the reason, what was measured against which limit, and values around it.

    ``before`` and ``after`` are signed USDT of shape (n_strategies, n_symbols).
    """

    reason: Reason
    load: float
    limit: float
    before: Floats
    after: Floats

    @property
    def words(self) -> str:
        """The reason in words, with its numbers."""
        return WORDS[self.reason].format(load=self.load, limit=self.limit)


_SEAL: Final = object()


@dataclass(frozen=True, slots=True)
class Decision:
    """What may be held from now on; only ``RiskSystem.review`` makes one.

    Attributes
    ----------
    known_at : datetime
    strategies, symbols : tuple of str
        Names of the rows and columns.
    held, qty : ndarray of shape (n_strategies, n_symbols)
        Signed quantities before and, in whole lots, after.
    asked_usdt : ndarray of shape (n_strategies, n_symbols)
        Values that the targets stood for, before any cut.
    brackets : ndarray of shape (n_strategies, n_symbols, 3)
        Stop-loss, take-profit and trailing distance of each entry; NaN for none.
    price : ndarray of shape (n_symbols,)
        At which values were taken.
    cuts : tuple of Cut
    level : Level
    """

    known_at: datetime
    strategies: tuple[str, ...]
    symbols: tuple[str, ...]
    held: Floats
    qty: Floats
    asked_usdt: Floats
    brackets: Floats
    price: Floats
    cuts: tuple[Cut, ...]
    level: Level
    seal: object = field(repr=False, compare=False)

    def __post_init__(self) -> None:
        if self.seal is not _SEAL:
            raise RiskRefused(
                "A decision was made elsewhere than by review.",
                "Hand targets to RiskSystem.review; what it returns may be submitted.",
            )

    @property
    def id(self) -> str:
        """A name that is the same for the same decision, on any machine."""
        parts = (
            self.known_at.isoformat().encode(),
            "\0".join((*self.strategies, "", *self.symbols)).encode(),
            np.ascontiguousarray(self.held).tobytes(),
            np.ascontiguousarray(self.qty).tobytes(),
            np.ascontiguousarray(self.brackets).tobytes(),
        )
        return hashlib.sha256(b"\0".join(parts)).hexdigest()[:32]

    @property
    def orders(self) -> Floats:
        """Signed quantity to trade in each symbol, strategies netted, of shape (n_symbols,)."""
        return np.asarray((self.qty - self.held).sum(axis=0))

    def verdict(self, strategy: int, symbol: int) -> Verdict:
        """Return what became of a target: whether less risk than asked is granted, or none."""
        if not any(self._is_cut(cut, strategy, symbol) for cut in self.cuts):
            return Verdict.APPROVED
        qty = self.qty[strategy, symbol]
        is_refused = qty == 0.0 or qty == self.held[strategy, symbol]
        return Verdict.REFUSED if is_refused else Verdict.RESIZED

    def refusals(self) -> Iterator[tuple[str, str, Verdict, Cut]]:
        """Yield strategy, symbol, verdict and cut for every target that a cut made smaller."""
        for cut in self.cuts:
            for k, s in zip(*np.nonzero(np.abs(cut.after - cut.before) > 0.0), strict=True):
                yield self.strategies[k], self.symbols[s], self.verdict(int(k), int(s)), cut

    def explain(self) -> str:
        """Return the decision in words, a line for each position that it concerns."""
        lines = []
        for k, strategy in enumerate(self.strategies):
            for s, symbol in enumerate(self.symbols):
                if self.qty[k, s] == self.held[k, s] == 0.0 and self.asked_usdt[k, s] == 0.0:
                    continue
                lines.append(f"{strategy} {symbol}: {self._line(k, s)}")
        return "\n".join(lines) or "Nothing is held and nothing was asked."

    def _is_cut(self, cut: Cut, k: int, s: int) -> bool:
        return bool(cut.after[k, s] != cut.before[k, s])

    def _line(self, k: int, s: int) -> str:
        price = self.price[s]
        granted = self.qty[k, s] * price
        text = (
            f"asked {_side(self.asked_usdt[k, s])}, {self.verdict(k, s)}: holds "
            f"{_side(self.held[k, s] * price)}, now {_side(granted)}"
        )
        stop, take, trail = self.brackets[k, s].tolist()
        names = (("stop", stop), ("take-profit", take), ("trailing stop", trail))
        kept = [f"{name} {distance:.2%} away" for name, distance in names if distance == distance]
        if kept and granted:
            text += f" ({', '.join(kept)})"
        whys = [cut.words for cut in self.cuts if self._is_cut(cut, k, s)]
        return f"{text}: {'; '.join(whys)}." if whys else f"{text}."


def _side(value: float) -> str:
    if not value:
        return "nothing"
    return f"{'long' if value > 0 else 'short'} {abs(value):,.0f} USDT"
