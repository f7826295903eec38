"""Where the exchange is: the separate hosts of its four environments, told by the REST address."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final, Literal
from urllib.parse import urlsplit

VenueName = Literal["simulator", "demo", "testnet", "mainnet"]

_LOOPBACK: Final = ("127.0.0.1", "localhost", "::1")
_HOST: Final = re.compile(
    r"api(?:-(?P<kind>testnet|demo))?\.(?P<domain>[a-z-]+)\.(?P<rest>[a-z.]+)"
)


@dataclass(frozen=True, slots=True)
class Venue:
    """One environment; the sockets' addresses end before ``/v5``. Demo has no trade socket."""

    name: VenueName
    rest_url: str
    public_url: str
    private_url: str
    trade_url: str | None

    @property
    def key_name(self) -> str:
        """What its key is called in the vault: no environment can take the key of another."""
        return f"bybit.{self.name}"

    @property
    def is_real(self) -> bool:
        """Whether orders there cost money."""
        return self.name == "mainnet"


def find_venue(rest_url: str) -> Venue:
    """Return the environment of a REST address.

    A host that is neither this machine nor one of Bybit's own is held to be a way to the mainnet:
    its strict rules then apply.
    """
    parts = urlsplit(rest_url)
    host = parts.hostname or ""
    here = f"{'wss' if parts.scheme == 'https' else 'ws'}://{parts.netloc}"
    if host in _LOOPBACK:
        return Venue("simulator", rest_url, here, here, here)
    found = _HOST.fullmatch(host)
    if found is None:
        return Venue("mainnet", rest_url, here, here, here)
    kind, domain = found["kind"], found["domain"]
    own = f"wss://stream{f'-{kind}' if kind else ''}.{domain}"
    # Public data are always under .com, and those of demo are the mainnet's.
    public = f"wss://stream.{domain}.com" if kind == "demo" else f"{own}.com"
    private = f"{own}.{found['rest']}"
    if kind == "demo":
        return Venue("demo", rest_url, public, private, None)
    return Venue("testnet" if kind else "mainnet", rest_url, public, private, private)
