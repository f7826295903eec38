"""An exchange in memory: matching, margin, funding and market, without sockets or a clock.

Pure and deterministic: time is told by ``advance`` and chance by the seed, so that the same calls
give the same events. The server speaks V5 on top of it; tests and research may use it bare.
"""

import lazy_loader as lazy

__getattr__, __dir__, __all__ = lazy.attach(
    __name__,
    submod_attrs={
        "rules": ["Refused", "Settings"],
        "simulator": ["Simulator"],
        "archives": ["BookSource", "TradeSource"],
        "sources": ["CandleSource"],
    },
)
