"""Bybit: one client for REST; streams and the simulator follow."""

import lazy_loader as lazy

__getattr__, __dir__, __all__ = lazy.attach(
    __name__, submod_attrs={"client": ["BybitClient", "Kline"], "pace": ["TokenBucket"]}
)
