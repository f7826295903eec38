"""Risk: the one place where risk is measured.

Pure: frames and arrays in, results out. What needs ``arch``, scikit-learn or skfolio (``garch``,
``har``, ``dcc``, ``shrinkage``, ``coverage``) is for research and the worker, which hand the live
engine their numbers; the other modules load nothing heavy and serve it too.
"""

import lazy_loader as lazy

__getattr__, __dir__, __all__ = lazy.attach(
    __name__,
    submodules=[
        "components", "coverage", "dcc", "dependence", "diversity", "extremes", "forecast",
        "garch", "har", "regime", "shrinkage", "tails", "vartests", "volatility",
    ],
)  # fmt: skip
