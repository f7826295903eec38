"""Live: the feed, the engine, its journal, reconciliation, and the supervisor beside them.

Loads nothing of research: a process starts within two seconds and trades with what the worker and
the stages have left for it.
"""

import lazy_loader as lazy

__getattr__, __dir__, __all__ = lazy.attach(
    __name__, submodules=["heartbeat", "journal", "supervisor"]
)
