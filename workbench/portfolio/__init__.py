"""Portfolio: exact books, what explains their profit, who gets how much, and when to trade for it.

Pure: frames and records in, results out. ``allocation`` needs skfolio and is for research and the
worker; the other modules load nothing heavy and serve the live engine too.
"""

import lazy_loader as lazy

__getattr__, __dir__, __all__ = lazy.attach(
    __name__,
    submodules=["accounting", "allocation", "attribution", "budgets", "history", "rebalance"],
)
