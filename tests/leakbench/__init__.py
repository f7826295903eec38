"""LeakBench: a corpus of look-ahead as it is really written, each leak beside its corrected twin.

In every file of a kind, ``<case>_leak`` and ``<case>_clean`` (``<Case>Leak`` and ``<Case>Clean``)
are as alike as can be. ``make leakbench`` probes them all.
"""
