"""The verbs that notebooks call: load a market, backtest, sweep, compare.

The only room that writes trials.
"""

import lazy_loader as lazy

__getattr__, __dir__, __all__ = lazy.attach(
    __name__,
    submod_attrs={
        "market": ["identify", "load", "unseal"],
        "trials": ["backtest", "compare", "sweep"],
    },
)
