"""The choice of an algorithm: a table of size, urgency and condition, and the reason in words."""

from __future__ import annotations

import tomllib
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import timedelta
from decimal import Decimal
from importlib.resources import files
from itertools import product
from math import inf
from pathlib import Path
from typing import Annotated, Final, NamedTuple, Self

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from workbench.core.errors import ConfigError, DataError
from workbench.execution.condition import Condition, Scale, State
from workbench.execution.parents import Algorithm, Urgency

PLACE: Final = files("workbench.execution") / "tables"

Some = Field(min_length=1)


class Size(BaseModel):
    """A class of sizes: at most this share of a day's volume, and of the depth that it takes."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str = Some
    day_share: float = Field(default=inf, gt=0)
    depth_share: float = Field(default=inf, gt=0)


class Row(BaseModel):
    """Which cases are worked by which algorithm, within which bounds, and why."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    size: Annotated[tuple[str, ...], Some]
    urgency: Annotated[tuple[Urgency, ...], Some]
    condition: Annotated[tuple[State, ...], Some]
    algorithm: Algorithm
    horizon_min: float = Field(gt=0)
    participation_cap: Decimal = Field(default=Decimal(1), gt=0, le=1)
    max_slippage_bps: Decimal | None = Field(default=None, ge=0)
    because: str = Some

    @model_validator(mode="after")
    def _check(self) -> Self:
        if self.algorithm is Algorithm.LIMIT:
            raise ValueError("a limit order is asked for with its price, never chosen")
        if self.algorithm in (Algorithm.POV, Algorithm.ADAPTIVE) and self.participation_cap == 1:
            raise ValueError(f"{self.algorithm} needs a participation_cap below 1")
        return self


class Table(BaseModel):
    """Classes of sizes in rising order, the scale of conditions, and the rows; the first decides.

    Every case has a row, and every row a case.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str = Some
    version: int = Field(ge=1)
    sizes: Annotated[tuple[Size, ...], Some]
    scale: Scale = Scale()
    rows: Annotated[tuple[Row, ...], Some]

    @model_validator(mode="after")
    def _check(self) -> Self:
        names = [size.name for size in self.sizes]
        last = self.sizes[-1]
        if last.day_share < inf or last.depth_share < inf:
            raise ValueError(f"the last size {last.name} must have no bounds")
        strange = {name for row in self.rows for name in row.size} - set(names)
        if strange:
            raise ValueError(f"no size is named {sorted(strange)[0]}")
        used = set()
        for case in product(names, Urgency, State):
            row = next(self.fitting(*case), None)
            if row is None:
                raise ValueError(f"no row fits {', '.join(case)}")
            used.add(self.rows.index(row))
        idle = set(range(len(self.rows))) - used
        if idle:
            raise ValueError(f"row {min(idle) + 1} never decides: rows before it fit its cases")
        return self

    def fitting(self, size: str, urgency: Urgency, condition: State) -> Iterator[Row]:
        """Yield the rows that fit a case, in their order."""
        for row in self.rows:
            if size in row.size and urgency in row.urgency and condition in row.condition:
                yield row

    def size_of(self, day_share: float, depth_share: float) -> str:
        """Return the class of an order by its shares of a day's volume and of the depth."""
        return next(
            size.name
            for size in self.sizes
            if day_share <= size.day_share and depth_share <= size.depth_share
        )


@dataclass(frozen=True, slots=True)
class Choice:
    """How an order is to be worked: what a ``Parent`` asks for, and why in words."""

    algorithm: Algorithm
    urgency: Urgency
    horizon: timedelta
    participation_cap: Decimal
    max_slippage: Decimal | None
    size: str
    words: str


class Demand(NamedTuple):
    """What is to be traded, in USDT, and the volume of a day that it is traded in."""

    value_usdt: float
    day_usdt: float
    urgency: Urgency = Urgency.NORMAL


def choose_algorithm(
    demand: Demand, condition: Condition, *, depth_usdt: float, table: Table | None = None
) -> Choice:
    """Return how an order is to be worked, by the first row of a table that fits.

    ``depth_usdt`` is what rests near the mid on the side that the order takes from.

    Raises
    ------
    DataError
        If the order, the volume or the depth is not above 0.
    """
    table = table or load_table()
    value, day, urgency = demand
    if not all(0.0 < one < inf for one in (value, day, depth_usdt)):
        raise DataError(
            f"An order of {value} USDT in a day of {day} and a depth of {depth_usdt} has no size.",
            "Give all three in USDT, above 0.",
        )
    size = table.size_of(value / day, value / depth_usdt)
    row = next(table.fitting(size, urgency, condition.state))
    cap = row.participation_cap
    bound = f" at no more than {cap:.0%} of the volume" if cap < 1 else ""
    words = (
        f"{value:,.0f} USDT is {value / day:.2%} of a day's volume and {value / depth_usdt:.2f} "
        f"times the depth at hand, which is {size}; its urgency is {urgency}; {condition.words}: "
        f"{row.algorithm} over {row.horizon_min:g} min{bound}, since {row.because}."
    )
    slip = row.max_slippage_bps
    return Choice(
        row.algorithm, urgency, timedelta(minutes=row.horizon_min), cap,
        None if slip is None else slip / 10_000, size, words,
    )  # fmt: skip


def load_table(name: str = "default") -> Table:
    """Return a table by its name, or out of a TOML file of one's own.

    Raises
    ------
    ConfigError
        If there is no such table, or the file does not describe one.
    """
    place = Path(name) if name.endswith(".toml") else PLACE / f"{name}.toml"
    try:
        text = place.read_text(encoding="utf-8")
        return Table.model_validate(tomllib.loads(text, parse_float=Decimal))
    except FileNotFoundError as error:
        raise ConfigError(
            f"There is no table {name!r}.", "Take 'default', or give the path of a .toml file."
        ) from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ConfigError(f"{place} is not valid TOML: {error}.", "Correct that line.") from error
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"]) or "the table"
        raise ConfigError(
            f"{place} does not describe a table: {where}: {first['msg']}.",
            "Compare it with the table 'default' of the package.",
        ) from error
