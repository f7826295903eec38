"""Workbench: research, validate and trade systematic strategies on Bybit perpetuals.

``import workbench as wb`` loads nothing heavy; each room loads when it is first touched.
"""

import lazy_loader as lazy

__version__ = "0.1.0"

__getattr__, __dir__, __all__ = lazy.attach(
    __name__,
    submodules=[
        "backtest",
        "core",
        "data",
        "jobs",
        "lifecycle",
        "panels",
        "portfolio",
        "research",
        "risk",
        "strategies",
        "validation",
    ],
    submod_attrs={
        "backtest": ["figures"],
        "backtest.report": ["readable"],
        "jobs": ["record"],
        "panels": ["explore", "show"],
        "research": ["compare", "load", "optimise", "sweep"],
    },
)
