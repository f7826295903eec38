"""How rows and pushes of Bybit's V5 protocol become records: one reader, driven by types."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Mapping
from dataclasses import MISSING, fields, is_dataclass
from datetime import UTC, datetime, timedelta
from decimal import Decimal, InvalidOperation
from functools import cache
from typing import (
    Annotated,
    Any,
    Final,
    NamedTuple,
    TypeVar,
    cast,
    get_args,
    get_origin,
    get_type_hints,
)

from workbench.core.errors import DataError
from workbench.exchange.words import PositionIdx, TriggerDirection

Record = TypeVar("Record")
Row = Mapping[str, Any]
Names = Mapping[str, tuple[str, ...]]
Price = Annotated[Decimal | None, "0 is none"]

EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)


class Level(NamedTuple):
    """One price of a book and the base coin that waits there."""

    price: Decimal
    size: Decimal


_UPPER: Final = {"im": "IM", "mm": "MM", "upl": "UPL"}


def wire_names(record: type) -> dict[str, tuple[str, ...]]:
    """Return the names that the exchange gives to each field, the REST name first."""
    known: Names = getattr(record, "NAMES", {})
    return {f.name: known.get(f.name, (_camel(f.name),)) for f in fields(record)}


def read(record: type[Record], row: Row) -> Record:
    """Make a record from a REST row or a push.

    Raises
    ------
    DataError
        If a field that every such row has is missing, or a value cannot be read.
    """
    values: dict[str, Any] = {}
    for name, keys, convert, is_needed in _plan(cast(Hashable, record)):
        for key in keys:
            raw = row.get(key)
            if raw is not None and raw != "":
                break
        else:
            if is_needed:
                raise _unreadable(record, row, f"has no {keys[0]}")
            continue
        try:
            values[name] = convert(raw)
        except (ValueError, TypeError, InvalidOperation) as error:
            raise _unreadable(record, row, f"has {key} = {raw!r}") from error
    return record(**values)


def to_millis(moment: datetime) -> int:
    """Return a moment as milliseconds since 1970, cut to the whole."""
    return (moment - EPOCH) // timedelta(milliseconds=1)


def from_millis(millis: int) -> datetime:
    """Return milliseconds since 1970 as a moment in UTC."""
    return EPOCH + timedelta(milliseconds=millis)


def plain_text(amount: Decimal) -> str:
    """Return an amount as the exchange wants it: digits and a point, never an exponent."""
    return format(amount, "f")


@cache
def _plan(record: Any) -> list[tuple[str, tuple[str, ...], Callable[[Any], Any], bool]]:
    hints = get_type_hints(record, include_extras=True)
    names = wire_names(record)
    return [
        (
            f.name,
            names[f.name],
            _converter(hints[f.name]),
            f.default is MISSING and f.default_factory is MISSING,
        )
        for f in fields(record)
    ]


def _converter(hint: Any) -> Callable[[Any], Any]:
    if hint == Price:
        return _price
    if hint in _CONVERTERS:
        return _CONVERTERS[hint]
    of = get_args(hint)
    if get_origin(hint) is tuple and is_dataclass(of[0]):
        return lambda rows: tuple(read(of[0], row) for row in rows)
    if get_origin(hint) is tuple:
        return lambda values: tuple(map(of[0], values))
    if type(None) in of:
        return _converter(of[0])
    return hint  # type: ignore[no-any-return]  # an enum or str


def _price(raw: Any) -> Decimal | None:
    return _decimal(raw) or None


def _decimal(raw: Any) -> Decimal:
    found = Decimal(raw if isinstance(raw, str) else str(raw))
    if not found.is_finite():
        raise ValueError("not a number")
    return found


def _flag(raw: Any) -> bool:
    return raw in (True, 1, "1", "true")


def _levels(rows: Any) -> tuple[Level, ...]:
    return tuple(Level(_decimal(price), _decimal(size)) for price, size in rows)


_CONVERTERS: Final[Mapping[Any, Callable[[Any], Any]]] = {
    Decimal: _decimal,
    bool: _flag,
    PositionIdx: lambda raw: PositionIdx(int(raw)),
    TriggerDirection: lambda raw: TriggerDirection(int(raw)),
    tuple[Level, ...]: _levels,
    Mapping[str, Decimal]: lambda row: {name: _decimal(raw) for name, raw in row.items()},
    Mapping[str, tuple[str, ...]]: lambda row: {name: tuple(own) for name, own in row.items()},
}


def _camel(name: str) -> str:
    first, *rest = name.removesuffix("_ms").split("_")
    return first + "".join(_UPPER.get(part, part.capitalize()) for part in rest)


def _unreadable(record: type, row: Row, what: str) -> DataError:
    return DataError(
        f"A row of the exchange for {record.__name__} {what}: {str(dict(row))[:300]}.",
        "The protocol has changed or the answer is damaged; nothing was taken from it.",
    )
