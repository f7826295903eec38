"""What goes wrong on purpose: faults by kind and place, scripted as scenarios, seeded."""

from __future__ import annotations

import tomllib
from dataclasses import asdict, dataclass, field, fields
from importlib.resources import files
from pathlib import Path
from random import Random
from typing import Any, Final

from workbench.core.errors import ConfigError

ON_REQUESTS: Final = {
    "delay": "the reply comes late",
    "cut": "accepted, then the connection is cut without a reply",
    "lose": "the connection is cut before anything is accepted",
    "refuse": "not accepted: answered with a return code",
    "obscure": "accepted, and answered with a return code as if it were not",
    "status": "not accepted: answered with an HTTP status",
}
ON_FRAMES: Final = {
    "late": "pushed frames come late, in order",
    "duplicate": "a pushed frame comes twice",
    "reorder": "a pushed frame comes after the next one",
    "drop": "a pushed frame never comes",
    "stale": "nothing is pushed for a while on a connection that stays open",
}
ACTS: Final = {
    "disconnect": "sockets are cut",
    "restart": "the exchange is away for a while and forgets its closed orders",
    "skew": "the exchange's clock is moved",
    "ban": "addresses are banned (403)",
    "maintenance": "orders and accounts are away, and the status says so",
    "partial": "a resting order is filled in part and then cancelled",
    "adl": "a position is reduced by auto-deleveraging",
    "order": "somebody trades on the account by hand",
    "instrument": "the rules of an instrument change",
}
KINDS: Final = {**ON_REQUESTS, **ON_FRAMES, **ACTS}


@dataclass(slots=True)
class Fault:
    """One thing that goes wrong.

    ``where`` is the name of a request (``order.create`` for REST and the trade socket alike), of a
    topic or of a socket, or what comes before a full stop in it; empty for all. It happens
    ``times`` times (0: always), each time with the chance ``share``.
    """

    kind: str
    where: str = ""
    at_s: float = 0.0
    times: int = 1
    share: float = 1.0
    seconds: float = 0.0
    code: int = 0
    uid: str = ""
    symbol: str = ""
    amount: str = ""
    text: str = ""
    params: dict[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if self.kind not in KINDS:
            raise ConfigError(
                f"There is no fault {self.kind!r}.", f"Use one of {', '.join(KINDS)}."
            )
        if min(self.at_s, self.times, self.seconds) < 0 or not 0 < self.share <= 1:
            raise ConfigError(
                f"The fault {self} cannot happen.",
                "Times and seconds must not be negative, and the share lies above 0, up to 1.",
            )

    def is_at(self, name: str, uid: str) -> bool:
        """Return whether the fault concerns a request, topic or socket of an account."""
        is_there = self.where in ("", name) or name.startswith(f"{self.where}.")
        return is_there and self.uid in ("", uid)


@dataclass(frozen=True, slots=True)
class Scenario:
    """A script of faults, and what a client must do about them."""

    name: str
    title: str
    expect: str
    faults: tuple[Fault, ...]


_TYPES: Final[dict[str, tuple[type, ...]]] = {
    "str": (str,), "int": (int,), "float": (int, float), "dict[str, str]": (dict,),
}  # fmt: skip


def read_fault(table: dict[str, Any]) -> Fault:
    """Make a fault of a table, refusing words that it does not know."""
    known = {item.name: str(item.type) for item in fields(Fault)}
    unknown = set(table) - set(known)
    if unknown or "kind" not in table:
        raise ConfigError(
            f"A fault cannot be read from {sorted(table)}.",
            f"It needs a kind, and may have {', '.join(known)}.",
        )
    for name, value in table.items():
        if not isinstance(value, _TYPES[known[name]]) or isinstance(value, bool):
            raise ConfigError(
                f"The {name} of a fault is {value!r}.", f"It must be of the type {known[name]}."
            )
    return Fault(**table)


def list_scenarios() -> list[str]:
    """Return the names of the scenarios that come with the package."""
    folder = files("workbench.exchange.server") / "scenarios"
    return sorted(Path(item.name).stem for item in folder.iterdir() if item.name.endswith(".toml"))


def load_scenario(name: str) -> Scenario:
    """Read a scenario by its name, or from a file."""
    if name.endswith(".toml"):
        text = Path(name).read_text() if Path(name).is_file() else None
    else:
        known = name in list_scenarios()
        place = files("workbench.exchange.server") / "scenarios" / f"{name}.toml"
        text = place.read_text() if known else None
    if text is None:
        raise ConfigError(
            f"There is no scenario {name!r}.",
            f"Use a TOML file or one of {', '.join(list_scenarios())}.",
        )
    try:
        table = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise ConfigError(f"The scenario {name} is no TOML: {error}.", "Correct it.") from error
    steps = table.get("fault", [])
    if not steps:
        raise ConfigError(f"The scenario {name} has no fault.", "Give it a [[fault]].")
    return Scenario(
        Path(name).stem, str(table.get("title", name)), str(table.get("expect", "")),
        tuple(read_fault(step) for step in steps),
    )  # fmt: skip


class Faults:
    """The faults that are in force; chances come from the seed."""

    def __init__(self, seed: int) -> None:
        self._random = Random(seed)  # noqa: S311 - faults must be the same again
        self.active: list[Fault] = []

    def add(self, fault: Fault) -> None:
        """Put a fault in force."""
        self.active.append(fault)

    def remove(self, fault: Fault) -> None:
        """End a fault that lasted its time, if it is still in force."""
        self.active = [one for one in self.active if one is not fault]

    def hit(self, kinds: dict[str, str], name: str, uid: str) -> Fault | None:
        """Return the fault that happens here, if one does; it has happened once more then."""
        for fault in self.active:
            if fault.kind not in kinds or not fault.is_at(name, uid):
                continue
            if fault.share < 1 and self._random.random() >= fault.share:
                continue
            if fault.times:
                fault.times -= 1
                if not fault.times:
                    self.remove(fault)
            return fault
        return None

    def rows(self) -> list[dict[str, Any]]:
        """Return the faults in force as tables."""
        return [asdict(fault) for fault in self.active]
