"""How often a client may ask: orders by account and class, requests and sockets by address."""

from __future__ import annotations

from collections import defaultdict, deque
from dataclasses import dataclass, field
from typing import Final, NamedTuple

ADDRESS_WINDOW_MS: Final = 5_000
SOCKET_WINDOW_MS: Final = 300_000
BAN_MS: Final = 600_000


@dataclass(frozen=True, slots=True)
class LimitRules:
    """The exchange's default limits; ``scale`` raises those of every class alike."""

    scale: int = 1
    requests_per_5s: int = 600
    sockets_per_5min: int = 500
    topics_per_request: int = 2_000
    characters_per_request: int = 21_000
    frames_waiting: int = 20_000
    """A client that lets more frames than this wait is cut."""


class Quota(NamedTuple):
    """What a class had left for a request: units granted, its limit, what remains, the reset."""

    granted: int
    limit: int
    left: int
    reset_ms: int

    def headers(self) -> dict[str, str]:
        """Return the headers that tell the client."""
        return {
            "X-Bapi-Limit": str(self.limit),
            "X-Bapi-Limit-Status": str(self.left),
            "X-Bapi-Limit-Reset-Timestamp": str(self.reset_ms),
        }


@dataclass(slots=True)
class Limiter:
    """Counts over rolling windows."""

    rules: LimitRules
    _used: dict[tuple[str, str], deque[int]] = field(default_factory=lambda: defaultdict(deque))
    _asked: dict[str, deque[int]] = field(default_factory=lambda: defaultdict(deque))
    _opened: dict[str, deque[int]] = field(default_factory=lambda: defaultdict(deque))
    _banned: dict[str, int] = field(default_factory=dict)

    def take(
        self, uid: str, name: str, limit: int, now_ms: int, *, units: int = 1,
        window_ms: int = 1_000,
    ) -> Quota:  # fmt: skip
        """Grant as many units of a class as its last window has room for."""
        limit *= self.rules.scale
        used = self._used[uid, name]
        _forget(used, now_ms - window_ms)
        granted = min(units, limit - len(used))
        used.extend([now_ms] * granted)
        reset_ms = now_ms if granted == units else used[0] + window_ms
        return Quota(granted, limit, limit - len(used), reset_ms)

    def admit_request(self, address: str, now_ms: int) -> bool:
        """Count a request of an address; too many of them ban it for ten minutes."""
        if now_ms < self._banned.get(address, 0):
            return False
        asked = self._asked[address]
        _forget(asked, now_ms - ADDRESS_WINDOW_MS)
        asked.append(now_ms)
        if len(asked) > self.rules.requests_per_5s:
            self.ban(address, now_ms + BAN_MS)
            return False
        return True

    def admit_socket(self, address: str, now_ms: int) -> bool:
        """Count a new socket of an address; False when it opened too many in five minutes."""
        if now_ms < self._banned.get(address, 0):
            return False
        opened = self._opened[address]
        _forget(opened, now_ms - SOCKET_WINDOW_MS)
        opened.append(now_ms)
        return len(opened) <= self.rules.sockets_per_5min

    def ban(self, address: str, until_ms: int) -> None:
        """Answer an address with 403 until a moment."""
        self._banned[address] = until_ms
        self._asked.pop(address, None)


def _forget(stamps: deque[int], until_ms: int) -> None:
    while stamps and stamps[0] <= until_ms:
        stamps.popleft()
