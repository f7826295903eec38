"""Compilation by numba, cached on disk under the digest of everything that goes into it."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

import numba

from workbench.core import costs, lots, margin, measures
from workbench.strategies import base

_njit: Any = numba.njit  # Any: numba's types take njit(function) for a decorator with options
_settings: Any = numba.config

_FORMULAS: Final = (costs, lots, margin, measures, base)


def part(function: Callable[..., Any]) -> Any:
    """Compile a function that cached ones call, for scalars and for arrays that it only borrows.

    Without numba's reference counting, whose atomic counters on every array argument cost more
    than the work (a fill 200 ns instead of 60): nothing here may allocate.
    """
    return _njit(_nrt=False, error_model="numpy")(function)


def cached(function: Callable[..., Any]) -> Any:
    """Compile a function, keeping the machine code on disk between processes.

    numba's own cache notices a change of the function's file only, and would go on using formulas
    that have since changed in another; here the digest of all of them names the cache.
    """
    sources = [Path(str(module.__file__)) for module in _FORMULAS]
    own = Path(function.__code__.co_filename)
    digest = hashlib.sha256(b"".join(path.read_bytes() for path in [*sources, own])).hexdigest()
    before = _settings.CACHE_DIR
    _settings.CACHE_DIR = str(own.parent / "__pycache__" / digest[:16])
    try:
        return _njit(_nrt=False, nogil=True, cache=True, error_model="numpy")(function)
    finally:
        _settings.CACHE_DIR = before
