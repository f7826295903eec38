"""Panels: the widgets, one ``show()`` for each panel, and the server that opens them."""

import lazy_loader as lazy

__getattr__, __dir__, __all__ = lazy.attach(
    __name__,
    submod_attrs={"board": ["show"], "explore": ["explore"], "server": ["serve"]},
)
