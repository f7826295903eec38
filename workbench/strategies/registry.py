"""Strategies by name: the built-in ones, the project's own, and any class in a module or file."""

from __future__ import annotations

import hashlib
import inspect
import linecache
import sys
from collections.abc import Mapping
from difflib import get_close_matches
from importlib import import_module
from pathlib import Path
from types import ModuleType
from typing import Any, Final

from pydantic import ValidationError

from workbench.core.errors import ModelError
from workbench.core.layers import find_root
from workbench.strategies.base import Strategy

BUILT_IN: Final[Mapping[str, str]] = {
    "breakout": "DonchianBreakout",
    "carry": "FundingCarry",
    "crossover": "MovingAverageCross",
    "crosssection": "CrossSectionalMomentum",
    "hold": "BuyAndHold",
    "momentum": "TimeSeriesMomentum",
    "pairs": "CointegratedPair",
}
"""Modules of this room and the strategy in each."""


def list_strategies(registered: Mapping[str, str] | None = None) -> dict[str, str]:
    """Return every known name and the ``module:Class`` or ``file.py:Class`` it stands for."""
    own = {name: f"workbench.strategies.{name}:{cls}" for name, cls in BUILT_IN.items()}
    return {**own, **(registered or {})}


def load_strategy(
    ref: str,
    params: Mapping[str, Any] | None = None,
    *,
    registered: Mapping[str, str] | None = None,
    root: Path | None = None,
) -> Strategy:
    """Return a strategy from its name and parameters.

    Parameters
    ----------
    ref : str
        A built-in name (``momentum``), its class (``TimeSeriesMomentum``), a registered name,
        ``module:Class`` or ``file.py:Class``.
    params : mapping, optional
        Parameters other than the defaults.
    registered : mapping of str to str, optional
        The ``[strategies]`` of ``workbench.toml``; its names win over the built-in ones.
    root : Path, optional
        Folder that files are relative to; by default the project folder.

    Raises
    ------
    ModelError
        If nothing of this name can be loaded, or a parameter is unknown or does not fit.
    """
    known = list_strategies(registered)
    classes = {cls: known[name] for name, cls in BUILT_IN.items() if name in known}
    place = known.get(ref) or classes.get(ref) or ref
    if ":" not in place:
        names = [*known, *classes]
        near = get_close_matches(ref, names, n=1, cutoff=0.5)
        raise ModelError(
            f"There is no strategy {ref!r}." + (f" Did you mean {near[0]!r}?" if near else ""),
            f"Known are {', '.join(sorted(known))}, or give module:Class or file.py:Class.",
        )
    cls = _load_class(place, root=root)
    try:
        return cls(**dict(params or {}))
    except ValidationError as error:
        raise _refuse(cls, error) from error


def _load_class(place: str, *, root: Path | None) -> type[Strategy]:
    source, _, name = place.rpartition(":")
    module = load_file(source, root=root) if source.endswith(".py") else _load_module(source)
    found = find_strategies(module)
    if name in found:
        return found[name]
    raise ModelError(
        f"{source} holds no complete strategy {name!r}.",
        f"It holds {', '.join(found) or 'none'}; a strategy is a Strategy with lookback and "
        "weights (or features, init and step).",
    )


def find_strategies(module: ModuleType) -> dict[str, type[Strategy]]:
    """Return the complete strategies that a module holds, by name."""
    return {
        key: value
        for key, value in vars(module).items()
        if isinstance(value, type) and issubclass(value, Strategy) and not inspect.isabstract(value)
    }


def _load_module(name: str) -> ModuleType:
    try:
        return import_module(name)
    except ImportError as error:
        raise ModelError(
            f"The module {name} cannot be imported: {error}.",
            "Install it, or name a file of the project (strategies/mine.py:Mine).",
        ) from error


def load_file(source: str, *, root: Path | None = None) -> ModuleType:
    """Return the module in a Python file, anew whenever the file has changed.

    Raises
    ------
    ModelError
        If there is no such file, or it cannot be loaded.
    """
    path = ((root or find_root()) / source).resolve()
    if not path.is_file():
        raise ModelError(
            f"There is no file {path}.", "`workbench new strategy NAME` writes a strategy."
        )
    # The name holds the content: an edited file is a new module, the same file the same classes.
    text = path.read_text(encoding="utf-8")
    digest = hashlib.sha256(f"{path}\n{text}".encode()).hexdigest()[:16]
    name = f"_strategy_{path.stem}_{digest}"
    if name in sys.modules:
        return sys.modules[name]
    module = ModuleType(name)
    module.__file__ = str(path)
    # Compiled here, since bytecode caches and linecache miss an edit of equal size and second; the
    # lines stay with the code that runs, so that its identity is its own after further edits.
    place = f"{path}#{digest}"
    linecache.cache[place] = (len(text), None, text.splitlines(keepends=True), place)
    sys.modules[name] = module
    try:
        exec(compile(text, place, "exec"), vars(module))  # noqa: S102
    except Exception as error:
        del sys.modules[name]
        raise ModelError(
            f"{path} cannot be loaded: {type(error).__name__}: {error}.",
            "Run the file by itself to see where it stops.",
        ) from error
    return module


def _refuse(cls: type[Strategy], error: ValidationError) -> ModelError:
    faults = "; ".join(_fault(cls, dict(fault)) for fault in error.errors())
    known = ", ".join(_describe(cls, name) for name in cls.model_fields)
    return ModelError(f"{cls.__name__} cannot take these parameters: {faults}.", f"Known: {known}.")


def _fault(cls: type[Strategy], fault: dict[str, Any]) -> str:
    name = ".".join(str(part) for part in fault["loc"])
    if fault["type"] == "extra_forbidden":
        near = get_close_matches(name, cls.model_fields, n=1)
        return f"{name} is unknown" + (f", did you mean {near[0]}" if near else "")
    message = str(fault["msg"]).removeprefix("Value error, ")
    return f"{name} = {fault['input']!r}: {message}" if name else message


def _describe(cls: type[Strategy], name: str) -> str:
    field = cls.model_fields[name]
    kind = getattr(field.annotation, "__name__", None) or str(field.annotation)
    signs = {"gt": ">", "ge": ">=", "lt": "<", "le": "<="}
    bounds = [
        f"{sign} {getattr(bound, key)}"
        for bound in field.metadata
        for key, sign in signs.items()
        if hasattr(bound, key)
    ]
    return f"{name} ({', '.join([kind, *bounds])})"
