"""Validation: how much of a result is luck, leak or the choice of the best of many.

Pure: frames and arrays in, results out.
"""

import lazy_loader as lazy

__getattr__, __dir__, __all__ = lazy.attach(
    __name__,
    submodules=[
        "answers", "deflation", "episodes", "extremes", "figures", "frozen", "futures", "inquiry",
        "leaks", "maxstat", "montecarlo", "overfit", "permute", "power", "processes", "resample",
        "robustness", "shocks", "shuffle", "splits", "stability", "stress", "superior",
        "variations", "walkforward",
    ],
)  # fmt: skip
