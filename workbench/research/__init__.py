"""The verbs that notebooks call: load a market, backtest, sweep, optimise, compare.

The only room that writes trials.
"""

import lazy_loader as lazy

__getattr__, __dir__, __all__ = lazy.attach(
    __name__,
    submod_attrs={
        "autopsy": ["Autopsy", "dissect"],
        "fitting": ["fit"],
        "market": ["identify", "load", "unseal"],
        "permuted": ["permute_sweep"],
        "search": ["Search", "optimise"],
        "trials": ["backtest", "compare", "sweep"],
        "validation": ["neighbours", "validate"],
    },
)
