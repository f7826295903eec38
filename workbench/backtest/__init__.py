"""Backtests: one compiled account simulation, runs and sweeps over it, and their reports."""

import lazy_loader as lazy

__getattr__, __dir__, __all__ = lazy.attach(
    __name__,
    submodules=["figures", "kernel", "report"],
    submod_attrs={
        "desk": ["DeskResult", "run_desk"],
        "guarded": ["RiskLog"],
        "inputs": ["LAYERS", "Realism"],
        "run": ["Result", "run"],
        "sweep": ["Sweep", "sweep"],
    },
)
