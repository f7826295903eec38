"""The identity of a strategy: the hash of its code, its parameters and what it has fitted."""

from __future__ import annotations

import ast
import hashlib
import inspect
import json
import linecache
import sys
import sysconfig
from collections.abc import Iterator
from functools import lru_cache
from pathlib import Path
from types import CodeType, FunctionType, ModuleType
from typing import Any, Final
from weakref import WeakKeyDictionary

import numpy as np
import pandas as pd

from workbench.core.errors import ModelError
from workbench.strategies import base
from workbench.strategies.base import Strategy

_HOUSE: Final = ("workbench.strategies", "workbench.features", "workbench.models")
_FOREIGN: Final = tuple(
    str(Path(sysconfig.get_path(key)).resolve()) for key in ("stdlib", "purelib", "platlib")
)
_Use = tuple[dict[str, Any], str, Any, str]
_codes: WeakKeyDictionary[type[Any], tuple[str, list[_Use]]] = WeakKeyDictionary()


def strategy_hash(strategy: Strategy) -> str:
    """Return the SHA-256 of a strategy's code, parameters and fitted fields, in hexadecimal.

    The code is the syntax tree of the class, of its bases up to the contract, and of the functions,
    classes, modules and constants that it uses from the user's own files or from the workbench's
    strategies, features and models, and from there on. Comments, formatting and docstrings do not
    count, nor does the file that the code stands in.

    Raises
    ------
    ModelError
        If source cannot be found, or a parameter has no plain form.
    """
    try:
        params = json.dumps(strategy.params, sort_keys=True, separators=(",", ":"))
    except (TypeError, ValueError) as error:
        raise ModelError(
            f"A parameter of {type(strategy).__name__} has no plain form: {error}.",
            "Use numbers, text, lists and mappings as fields, or give the field a serialiser.",
        ) from error
    text = f"{_code_digest(type(strategy))}\n{params}"
    return hashlib.sha256(text.encode()).hexdigest()


def decision_hash(weights: pd.DataFrame) -> str:
    """Return the SHA-256 of what weights decide: quantised, with their moments and symbols.

    Parameters
    ----------
    weights : DataFrame of shape (n_bars, n_symbols)
        Indexed by ``known_at``, UTC.

    Raises
    ------
    ModelError
        If a weight is outside [-1, 1].
    """
    moments = pd.DatetimeIndex(weights.index).as_unit("us").asi8
    digest = hashlib.sha256(json.dumps([str(symbol) for symbol in weights.columns]).encode())
    digest.update(moments.astype("<i8").tobytes())
    digest.update(base.quantise(weights).astype("<i2").tobytes())
    return digest.hexdigest()


def _code_digest(cls: type[Strategy]) -> str:
    known = _codes.get(cls)
    # A helper may have been redefined in another cell since: what was used must still be in place.
    if known is not None and all(_is_same(use) for use in known[1]):
        return known[0]
    reader = _Reader()
    reader.read(cls)
    parts = sorted(reader.parts)
    digest = hashlib.sha256("\n\n".join(parts).encode()).hexdigest()
    _codes[cls] = (digest, reader.uses)
    return digest


def _is_same(use: _Use) -> bool:
    scope, name, value, text = use
    return scope.get(name) is value and (not text or _constant(value) == text)


class _Reader:
    """Walk from a class over everything local that its code names."""

    def __init__(self) -> None:
        self.parts: list[str] = []
        self.uses: list[_Use] = []
        self._seen: set[int] = set()

    def read(self, thing: type[Any] | FunctionType) -> None:
        if id(thing) in self._seen:
            return
        self._seen.add(id(thing))
        node = _definition(thing)
        self.parts.append(f"{thing.__qualname__.rpartition('.')[2]}\n{_normalise(node)}")
        if isinstance(thing, type):
            for ancestor in thing.__bases__:
                if _is_local(ancestor):
                    self.read(ancestor)
        self._follow(node, _scope(thing))

    def _follow(self, node: ast.AST, scope: dict[str, Any]) -> None:
        names = {n.id for n in ast.walk(node) if isinstance(n, ast.Name)}
        for name in sorted(names & scope.keys()):
            value = scope[name]
            target = inspect.unwrap(value) if callable(value) else value
            text = ""
            if isinstance(target, ModuleType):
                self._read_module(target)
            elif isinstance(target, type | FunctionType):
                if _is_local(target):
                    self.read(target)
                else:
                    self.parts.append(f"{name} = {target.__module__}.{target.__qualname__}")
            else:
                text = _constant(value)
                self.parts.append(f"{name} = {text}")
            self.uses.append((scope, name, value, text))

    def _read_module(self, module: ModuleType) -> None:
        if id(module) in self._seen:
            return
        self._seen.add(id(module))
        path = getattr(module, "__file__", None)
        if not _is_local_place(module.__name__, path) or path is None:
            self.parts.append(f"module {module.__name__}")
            return
        tree = _parse(path)
        self.parts.append(_normalise(tree))
        self._follow(tree, vars(module))


def _is_local(thing: type[Any] | FunctionType) -> bool:
    name = thing.__module__
    if name == base.__name__ or name.startswith("pydantic"):
        return False
    path = getattr(sys.modules.get(name), "__file__", None)
    return _is_local_place(name, path or _code_file(thing))


def _is_local_place(name: str, path: str | None) -> bool:
    if name.partition(".")[0] == "workbench":
        return name.startswith(_HOUSE) and name != base.__name__
    if path is None or path.startswith("<frozen"):
        return False
    return not str(Path(path).resolve()).startswith(_FOREIGN)


def _scope(thing: type[Any] | FunctionType) -> dict[str, Any]:
    if isinstance(thing, FunctionType):
        return thing.__globals__
    functions = [f for f in _functions(thing) if f.__module__ == thing.__module__]
    return functions[0].__globals__ if functions else vars(sys.modules[thing.__module__])


def _functions(cls: type[Any]) -> Iterator[FunctionType]:
    for value in vars(cls).values():
        inner: Any = value.fget if isinstance(value, property) else value
        inner = inspect.unwrap(getattr(inner, "__func__", getattr(inner, "wrapped", inner)))
        inner = getattr(inner, "__func__", inner)
        if isinstance(inner, FunctionType) and inner.__qualname__.startswith(cls.__qualname__):
            yield inner


def _code_file(thing: type[Any] | FunctionType) -> str | None:
    codes: list[CodeType] = (
        [thing.__code__]
        if isinstance(thing, FunctionType)
        else [function.__code__ for function in _functions(thing)]
    )
    return codes[0].co_filename if codes else None


def _definition(thing: type[Any] | FunctionType) -> ast.AST:
    path = _code_file(thing) or getattr(sys.modules.get(thing.__module__), "__file__", None)
    if path is None:
        raise _no_source(thing.__qualname__)
    name = thing.__qualname__.rpartition(".")[2]
    kinds: tuple[type[ast.AST], ...] = (ast.ClassDef,)
    lines = (
        [function.__code__.co_firstlineno for function in _functions(thing)]
        if isinstance(thing, type)
        else [thing.__code__.co_firstlineno]
    )
    if isinstance(thing, FunctionType):
        kinds = (ast.FunctionDef, ast.AsyncFunctionDef, ast.Lambda)
    found = [
        node
        for node in ast.walk(_parse(path))
        if isinstance(node, kinds)
        and getattr(node, "name", "<lambda>") == name
        and all(_first_line(node) <= line <= node.end_lineno for line in lines)  # type: ignore[attr-defined]
    ]
    if not found:
        raise _no_source(thing.__qualname__)
    return found[-1]


def _first_line(node: Any) -> int:
    decorators = getattr(node, "decorator_list", [])
    first: int = min([int(node.lineno), *(decorator.lineno for decorator in decorators)])
    return first


def _parse(path: str) -> ast.Module:
    lines = linecache.getlines(path)
    if not lines:
        raise _no_source(path)
    return _tree("".join(lines))


@lru_cache(maxsize=256)
def _tree(source: str) -> ast.Module:
    return ast.parse(source)


def _no_source(name: str) -> ModelError:
    return ModelError(
        f"The source of {name} cannot be found, so it has no identity.",
        "Define it in a file or a notebook cell; save the file and restart if it has changed.",
    )


class _WithoutText(ast.NodeTransformer):
    """Drop bare strings: docstrings and the notes under fields."""

    def visit_Expr(self, node: ast.Expr) -> ast.AST | None:
        is_text = isinstance(node.value, ast.Constant) and isinstance(node.value.value, str)
        return None if is_text else self.generic_visit(node)


def _normalise(node: ast.AST) -> str:
    # The copy keeps the cached tree whole; dump leaves out lines and columns.
    copy = ast.parse(ast.unparse(node))
    return ast.unparse(ast.fix_missing_locations(_WithoutText().visit(copy)))


def _constant(value: Any) -> str:
    if isinstance(value, pd.DataFrame | pd.Series):
        frame = value.to_frame() if isinstance(value, pd.Series) else value
        labels = f"{list(frame.columns)}{list(frame.dtypes)}"
        return _constant(labels) + _constant(pd.util.hash_pandas_object(frame).to_numpy())
    if isinstance(value, np.ndarray):
        # The bytes of an object array are addresses: its items count instead.
        body = str(list(map(_constant, value.ravel()))).encode()
        body = body if value.dtype == object else value.tobytes()
        return hashlib.sha256(f"{value.dtype}{value.shape}".encode() + body).hexdigest()
    if isinstance(value, dict):
        return "{" + ",".join(sorted(f"{k!r}:{_constant(v)}" for k, v in value.items())) + "}"
    if isinstance(value, set | frozenset):
        return "{" + ",".join(sorted(map(_constant, value))) + "}"
    if isinstance(value, list | tuple):
        return "[" + ",".join(map(_constant, value)) + "]"
    if isinstance(value, bool | int | float | complex | str | bytes | type(None)):
        return repr(value)
    # What has no plain form counts by its kind: its repr may hold an address.
    return f"<{type(value).__module__}.{type(value).__qualname__}>"
