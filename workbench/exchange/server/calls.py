"""What a request is to the exchange: its raw form, and the call that it becomes."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final, NamedTuple

from workbench.exchange.server.auth import ApiKey
from workbench.exchange.simulator.rules import Refused
from workbench.exchange.simulator.simulator import Simulator

Params = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Request:
    """A request as it came in; header names are in lower case."""

    method: str
    path: str
    query: bytes = b""
    headers: Mapping[str, str] = field(default_factory=dict)
    body: bytes = b""
    address: str = "127.0.0.1"


@dataclass(slots=True)
class Reply:
    """What goes back, how late, and whether the connection is cut instead."""

    status: int
    body: bytes
    headers: dict[str, str] = field(default_factory=dict)
    delay_ms: int = 0
    is_cut: bool = False


class Answer(NamedTuple):
    """What a handler gives: the result, and what stands beside it in a batch."""

    result: Any
    extra: Mapping[str, Any] = {}


@dataclass(frozen=True, slots=True)
class Call:
    """A request that was let in: by whom, about what, and when.

    ``granted`` is how many orders of a batch the limits have room for, and ``restarted_ms`` since
    when closed orders are remembered.
    """

    simulator: Simulator
    params: Params
    now_ms: int
    key: ApiKey | None = None
    granted: int = 0
    restarted_ms: int = 0
    status: tuple[Mapping[str, Any], ...] = ()
    update_id: Callable[[str], int] = lambda symbol: 1

    @property
    def uid(self) -> str:
        """The account that asks."""
        if self.key is None:
            raise Refused(10003, "API key is invalid.")
        return self.key.uid

    def text(self, name: str, default: str = "") -> str:
        """Return a parameter as text."""
        value = self.params.get(name)
        if value is None:
            return default
        if isinstance(value, (dict, list)):
            raise Refused(10001, f"params error: {name} invalid")
        return str(value)

    def symbol(self) -> str:
        """Return the symbol asked for, which must be listed."""
        symbol = self.text("symbol")
        if symbol not in self.simulator.instruments:
            raise Refused(10001, "params error: symbol invalid")
        return symbol


Handler = Callable[[Call], Answer]


class Endpoint(NamedTuple):
    """A path: what answers it, who may ask and how often.

    ``permission`` is what a key must hold to write; ``units`` are granted in every window.
    """

    handler: Handler
    is_private: bool = False
    is_write: bool = False
    permission: str = ""
    units: int = 0
    window_ms: int = 1_000
    is_batch: bool = False


OK: Final = Answer({})
LISTS: Final = frozenset({"request", "utaDemoApplyMoney"})
"""The parameters that are lists; every other one is a single value."""


def plain(params: Params) -> dict[str, Any]:
    """Return parameters without what is nested: unknown ones may be anything, and are ignored."""
    return {
        name: value
        for name, value in params.items()
        if name in LISTS or not isinstance(value, (dict, list))
    }


def require_linear(call: Call, *, default: str = "") -> None:
    """Refuse any category but linear."""
    category = call.text("category", default)
    if category != "linear":
        raise Refused(10001, "params error: category only support linear here")
