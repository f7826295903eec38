"""Who asks: keys, signatures over the raw bytes, and the receive window."""

from __future__ import annotations

import hmac
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, NamedTuple

from workbench.core.vault.rsa import is_rsa_signature
from workbench.exchange.simulator.rules import Refused

AHEAD_MS: Final = 1_000
"""How far a client's clock may be ahead."""
RECEIVE_WINDOW_MS: Final = 5_000
TRADING: Final[Mapping[str, tuple[str, ...]]] = {
    "ContractTrade": ("Order", "Position"),
    "Derivatives": ("DerivativesTrade",),
}
"""The permissions of a key that trades perpetuals and can withdraw nothing."""


class Clocks(NamedTuple):
    """The market's time and the machine's, either of which a stamp may follow, and the pace.

    A client that signs by its own clock and one that reads the exchange's time must both get in
    while the market runs in the past or faster than time does.
    """

    market_ms: int
    wall_ms: int
    pace: float = 1.0


@dataclass(frozen=True, slots=True)
class ApiKey:
    """A key of an account: what it may do, from where and until when."""

    key: str
    secret: str
    uid: str
    permissions: Mapping[str, Sequence[str]] = field(default_factory=lambda: TRADING)
    is_read_only: bool = False
    addresses: tuple[str, ...] = ("*",)
    expires_ms: int | None = None
    rsa_public: str = ""

    def has_signed(self, text: bytes, signature: str) -> bool:
        """Return whether a signature is this key's."""
        if self.rsa_public:
            return is_rsa_signature(self.rsa_public, text, signature)
        made = hmac.digest(self.secret.encode(), text, "sha256").hex()
        return hmac.compare_digest(made.encode(), signature.lower().encode())


class NoCredentials(Exception):
    """A private path was asked for without authentication."""


@dataclass(slots=True)
class Keyring:
    """The keys that the exchange knows."""

    keys: dict[str, ApiKey] = field(default_factory=dict)

    def check_request(
        self, headers: Mapping[str, str], payload: bytes, address: str, clocks: Clocks
    ) -> ApiKey:
        """Return the key that signed a request; the payload is its raw query or its raw body.

        Raises
        ------
        NoCredentials
            If the headers hold no key, stamp or signature.
        Refused
            If the key, the stamp, the address or the signature is wrong.
        """
        names = ("x-bapi-api-key", "x-bapi-timestamp", "x-bapi-sign")
        name, stamp, signature = (headers.get(header, "") for header in names)
        if not (name and stamp and signature):
            raise NoCredentials
        window = headers.get("x-bapi-recv-window", "")
        key = self._find(name, address, clocks)
        check_stamp(stamp, window, clocks)
        if not key.has_signed(f"{stamp}{name}{window}".encode() + payload, signature):
            raise Refused(10004, "Error sign, please check your signature generation algorithm.")
        return key

    def check_socket(self, arguments: Sequence[Any], address: str, clocks: Clocks) -> ApiKey:
        """Return the key that signed the authentication of a socket."""
        if len(arguments) < 3:
            raise Refused(10001, "Params Error")
        name, expires, signature = (str(argument) for argument in arguments[:3])
        key = self._find(name, address, clocks)
        now_ms = min(clocks.market_ms, clocks.wall_ms)
        if not _is_number(expires) or int(expires) <= now_ms:
            raise Refused(10002, "Request expired, expires must be greater than the current time")
        if not key.has_signed(f"GET/realtime{expires}".encode(), signature):
            raise Refused(10004, "Error sign, please check your signature generation algorithm.")
        return key

    def find_uid(self, name: str) -> str:
        """Return whose key this claims to be, or nobody."""
        key = self.keys.get(name)
        return key.uid if key else ""

    def _find(self, name: str, address: str, clocks: Clocks) -> ApiKey:
        key = self.keys.get(name)
        if key is None:
            raise Refused(10003, "API key is invalid.")
        if key.expires_ms is not None and key.expires_ms <= clocks.market_ms:
            raise Refused(33004, "Your api key has expired.")
        if "*" not in key.addresses and address not in key.addresses:
            raise Refused(10010, "Unmatched IP, please check your API key's bound IP addresses.")
        return key


def check_stamp(stamp: str, window: str, clocks: Clocks) -> None:
    """Refuse a stamp outside the receive window of both clocks."""
    if not _is_number(stamp) or not (window == "" or _is_number(window)):
        raise Refused(10001, "invalid request, timestamp or recv_window is not a number")
    reach = int(window) if window else RECEIVE_WINDOW_MS
    for now in (clocks.market_ms, clocks.wall_ms):
        behind = now - int(stamp)
        if -AHEAD_MS * clocks.pace < behind <= reach * clocks.pace:
            return
    raise Refused(
        10002,
        "invalid request, please check your server timestamp or recv_window param. "
        f"req_timestamp[{stamp}],server_timestamp[{clocks.market_ms}],recv_window[{reach}]",
    )


def check_permission(key: ApiKey, permission: str) -> None:
    """Refuse a write that a key may not do; reading needs no permission of its own."""
    granted = {name for names in key.permissions.values() for name in names}
    if key.is_read_only or permission not in granted:
        raise Refused(10005, "Permission denied, please check your API key permissions.")


def _is_number(text: str) -> bool:
    return text.isascii() and text.isdigit() and len(text) < 16
