"""Monitoring: whether machine, store and exchange are fit to work with, and what still runs."""

import lazy_loader as lazy

__getattr__, __dir__, __all__ = lazy.attach(__name__, submod_attrs={"health": ["Check", "examine"]})
