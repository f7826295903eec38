"""The verbs that notebooks call: load a market, backtest, sweep, optimise, compare.

The only room that writes trials.
"""

import lazy_loader as lazy

__getattr__, __dir__, __all__ = lazy.attach(
    __name__,
    submod_attrs={
        "allocate": ["Allocated", "compare_allocations", "failures"],
        "autopsy": ["Autopsy", "dissect"],
        "fitting": ["fit"],
        "market": ["identify", "load", "unseal"],
        "permuted": ["permute_sweep"],
        "risk": ["record_risk", "risk_limits", "risk_report"],
        "search": ["Search", "optimise"],
        "trials": ["backtest", "compare", "run_desk", "sweep"],
        "validation": ["neighbours", "validate"],
    },
)
