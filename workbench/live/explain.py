"""Explain: the moment of an order, rebuilt from the journal."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from pathlib import Path
from typing import Any, Final

from workbench.core.costs import BASIS_POINT
from workbench.core.errors import DataError
from workbench.live.journal import Line, read_journal

SHOWN: Final = frozenset({"fact", "row", "execution", "amend"})
"""The kinds of lines that make the life of an order."""


@dataclass(frozen=True, slots=True)
class Story:
    """Everything about one order: what was seen, wanted, decided, sent and filled.

    ``bar`` is the newest one at the decision, ``weights`` what each strategy wanted of the symbol.
    """

    link: str
    symbol: str
    plan: Mapping[str, Any]
    bar: Mapping[str, Any] | None = None
    weights: Mapping[str, float | None] = field(default_factory=dict)
    verdict: str = ""
    mids: Mapping[str, str] = field(default_factory=dict)
    life: Sequence[Line] = ()
    postings: Sequence[Mapping[str, Any]] = ()

    def lines(self) -> list[str]:
        """Return the story in words, a line each."""
        request = self.plan["request"]
        told = [
            f"{self.link}: {request['side']} {request['qty']} {self.symbol}, "
            f"{request['order_type'].lower()}"
            + (f" at {request['price']}" if request["price"] else "")
            + (f", triggered at {request['trigger_price']}" if request["trigger_price"] else "")
            + (f", stop {request['stop_loss']}" if request["stop_loss"] else ""),
            "for "
            + ", ".join(f"{name} {Decimal(qty):+f}" for name, qty in self.plan["claims"].items()),
        ]
        if self.bar is not None:
            values = {name: own for name, own in self.bar.items() if name != "known_at"}
            seen = ", ".join(f"{name} {value:g}" for name, value in values.items())
            told.append(f"bar of {self.bar['known_at']}: {seen}")
        told += [
            f"{name} wanted " + ("to keep" if weight is None else f"{weight:+.4f}")
            for name, weight in self.weights.items()
        ]
        told += [f"decision {self.plan['decision']}: {line}" for line in self.verdict.splitlines()]
        told += [f"{line.at:%Y-%m-%d %H:%M:%S.%f} {_words(line)}" for line in self.life]
        return told + self._fills()

    def _fills(self) -> list[str]:
        filled = [own for own in self.postings if Decimal(own["qty"])]
        if not filled:
            return ["nothing was filled"]
        qty = sum((Decimal(own["qty"]) for own in filled), Decimal(0))
        value = sum((Decimal(own["qty"]) * Decimal(own["price"]) for own in filled), Decimal(0))
        fees = sum((Decimal(own["amount_usdt"]) for own in filled), Decimal(0))
        price = value / qty
        text = f"filled {qty:+f} at {price:f}, fees {fees:f} USDT"
        if expected := filled[0]["expected_price"]:
            worse = (price / Decimal(expected) - 1) * (1 if qty > 0 else -1)
            bps = float(worse) / BASIS_POINT
            text += f"; {expected} was expected: {bps:+.2f} basis points worse"
        return [text]


def explain(path: Path, order: str) -> Story:
    """Return the story of an order by its link or by the exchange's id, or the beginning of it.

    Raises
    ------
    DataError
        If no order, or more than one, has that name.
    """
    plans: dict[str, Mapping[str, Any]] = {}
    names: dict[str, str] = {}
    lines: list[Line] = []
    for line in read_journal(path):
        lines.append(line)
        document = line.document
        if line.kind == "intent":
            plans[document["request"]["order_link_id"]] = document
        elif line.kind in ("row", "execution") and document["order_link_id"]:
            names[document["order_id"]] = document["order_link_id"]
    found = {link for link in plans if link.startswith(order)}
    found |= {link for name, link in names.items() if name.startswith(order) and link in plans}
    if len(found) != 1:
        raise DataError(
            f"{len(found) or 'No'} orders in the journal begin with {order!r}.",
            "Give the whole name; `workbench status` and the journal have them.",
        )
    (link,) = found
    return _tell(link, plans[link], lines, {n for n, own in names.items() if own == link})


def _tell(link: str, plan: Mapping[str, Any], lines: Sequence[Line], ids: set[str]) -> Story:
    decision, symbol = plan["decision"], plan["request"]["symbol"]
    asked = next(
        (own for own in lines if own.kind == "asked" and own.document["decision"] == decision), None
    )
    known_at = None if asked is None else asked.document["known_at"]
    bar = weights = None
    for line in lines:
        if line.kind in ("bar", "weights") and line.document["known_at"] == known_at:
            bar = line.document if line.kind == "bar" else bar
            weights = line.document if line.kind == "weights" else weights
    verdict = next(
        (own.document["words"] for own in lines
         if own.kind == "decision" and own.document["id"] == decision), "",
    )  # fmt: skip
    life = [own for own in lines if own.kind in SHOWN and _is_of(own.document, link, ids)]
    postings = [
        own.document
        for own in lines
        if own.kind == "postings" and own.document["order_id"] in {link, *ids}
    ]
    return Story(
        link, symbol, plan, _bar_of(bar, weights, symbol), _weights_of(weights, symbol), verdict,
        {} if asked is None else asked.document["mids"], life, postings,
    )  # fmt: skip


def _is_of(document: Mapping[str, Any], link: str, ids: set[str]) -> bool:
    name = document.get("link") or document.get("order_link_id")
    return name == link or document.get("order_id") in ids


def _bar_of(
    bar: Mapping[str, Any] | None, weights: Mapping[str, Any] | None, symbol: str
) -> dict[str, Any] | None:
    if bar is None or weights is None:
        return None
    column = weights["symbols"].index(symbol)
    values = {name: row[column] for name, row in bar["values"].items()}
    return {
        "known_at": bar["known_at"],
        **{name: value for name, value in values.items() if value is not None},
    }


def _weights_of(weights: Mapping[str, Any] | None, symbol: str) -> dict[str, float | None]:
    if weights is None:
        return {}
    column = weights["symbols"].index(symbol)
    return {
        name: None if row[column] is None else row[column] * BASIS_POINT
        for name, row in zip(weights["strategies"], weights["weights"], strict=True)
    }


def _words(line: Line) -> str:
    document = line.document
    if line.kind == "fact":
        return f"{document['what']}: {document['words']}".rstrip(": ")
    if line.kind == "execution":
        return f"{document['exec_type']} {document['exec_qty']} at {document['exec_price']}"
    if line.kind == "amend":
        return f"amended to {document['qty'] or ''} {document['price'] or ''}".rstrip()
    return f"{document['order_status']}, filled {document['cum_exec_qty']} of {document['qty']}"
