"""Bybit: one client for REST, the streams, and an exchange of the same protocol on loopback."""

import lazy_loader as lazy

__getattr__, __dir__, __all__ = lazy.attach(
    __name__,
    submod_attrs={
        "client": ["BybitClient", "open_client"],
        "pace": ["TokenBucket"],
        "venues": ["Venue", "find_venue"],
    },
)
