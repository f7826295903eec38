"""Risk: the one place where risk is measured, limited and sized.

Pure: frames and arrays in, results out. What needs ``arch``, scikit-learn or skfolio (``garch``,
``har``, ``dcc``, ``shrinkage``, ``coverage``) is for research and the worker, which hand the live
engine their numbers; the other modules load nothing heavy and serve it too.
"""

import lazy_loader as lazy

__getattr__, __dir__, __all__ = lazy.attach(
    __name__,
    submodules=[
        "breakers", "caps", "ceilings", "components", "coverage", "dcc", "decision", "dependence",
        "diversity", "drawdown", "extremes", "figures", "forecast", "garch", "har", "hedge",
        "kelly", "limits", "margin", "outlook", "regime", "report", "scenarios", "shrinkage",
        "sizer", "sizing", "state", "stress", "system", "tables", "tails", "track", "vartests",
        "volatility",
    ],
)  # fmt: skip
