"""Monitoring: whether the machine, the store and the exchange are fit to work with."""

import lazy_loader as lazy

__getattr__, __dir__, __all__ = lazy.attach(__name__, submod_attrs={"health": ["Check", "examine"]})
