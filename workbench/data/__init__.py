"""Market data: the lake and its snapshots, quality, import, download and the synthetic market.

Polars, and bars stamped by their start, stay inside this room; what leaves it is a ``Market``.
"""

import lazy_loader as lazy

__getattr__, __dir__, __all__ = lazy.attach(
    __name__,
    submod_attrs={
        "coverage": ["check_market", "inventory", "sql"],
        "download": ["PullReport", "pull"],
        "frames": ["load"],
        "importer": ["ImportReport", "import_file"],
        "lake": ["Lake", "Series"],
        "quality": ["Finding", "check"],
        "seal": ["seal_end", "seal_import"],
        "snapshot": [
            "export_snapshot",
            "find_snapshot",
            "has_snapshot",
            "restore_snapshot",
            "verify_snapshot",
        ],
        "status": ["check_series"],
        "synthetic": ["synthesise", "write_market"],
        "tradelist": ["read_trades"],
    },
)
