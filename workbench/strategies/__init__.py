"""Strategies: the contract, its probes, and six honest examples with their sources."""

import lazy_loader as lazy

__getattr__, __dir__, __all__ = lazy.attach(
    __name__,
    submod_attrs={
        "base": ["Brackets", "Held", "Intent", "SteppedStrategy", "Strategy", "quantise"],
    },
)
