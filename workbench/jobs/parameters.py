"""The parameters of a notebook: read from its tagged cell, checked before a kernel starts."""

from __future__ import annotations

import ast
import io
import json
import math
import tokenize
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date
from difflib import get_close_matches
from typing import TYPE_CHECKING, Any, Final

import yaml

from workbench.core.errors import JobError

if TYPE_CHECKING:
    from nbformat import NotebookNode

TAG: Final = "parameters"
_YES: Final = frozenset({"true", "yes", "on", "1"})
_NO: Final = frozenset({"false", "no", "off", "0"})


@dataclass(frozen=True, slots=True)
class Parameter:
    """One parameter: its default decides its type; the comment beside it says unit and meaning."""

    name: str
    default: Any
    comment: str = ""

    @property
    def kind(self) -> str:
        """The name of its type; a default of None takes any single value."""
        return "any" if self.default is None else type(self.default).__name__

    def __str__(self) -> str:
        note = f"  # {self.comment}" if self.comment else ""
        return f"{self.name} ({self.kind}) = {self.default!r}{note}"


def read_parameters(notebook: NotebookNode) -> dict[str, Parameter]:
    """Return the parameters of a notebook by name, in their order.

    Raises
    ------
    JobError
        If the tagged cell holds anything but assignments of literals.
    """
    for cell in notebook.cells:
        if cell.cell_type == "code" and TAG in cell.metadata.get("tags", []):
            return parse_parameters(cell.source)
    return {}


def parse_parameters(source: str) -> dict[str, Parameter]:
    """Return the parameters that the source of a tagged cell assigns."""
    comments = _comments(source)
    found = {}
    for node in _parse(source).body:
        name, value = _assigned(node)
        try:
            default = ast.literal_eval(value)
        except ValueError as error:
            raise JobError(
                f"The default of {name} is not a literal: {ast.unparse(value)}.",
                "In the cell tagged parameters write plain values only; compute in a later cell.",
            ) from error
        found[name] = Parameter(name, default, comments.get(node.end_lineno or 0, ""))
    return found


def bind_parameters(
    known: Mapping[str, Parameter], given: Mapping[str, object], *, notebook: str = "The notebook"
) -> dict[str, Any]:
    """Return given values in the types of the notebook's own defaults.

    Text, as a command line gives it, is read by the type of the default: ``false`` becomes False
    where the default is a bool, ``BTCUSDT,ETHUSDT`` a list where it is a list.

    Raises
    ------
    JobError
        If a name is unknown or a value does not fit; the message lists what is known.
    """
    problems = []
    bound = {}
    for name, value in given.items():
        if name not in known:
            near = get_close_matches(name.upper(), known, n=1)
            hint = f" (did you mean {near[0]}?)" if near else ""
            problems.append(f"{notebook} has no parameter {name}{hint}.")
            continue
        try:
            bound[name] = _convert(value, known[name].default)
        except ValueError as error:
            problems.append(f"{name} = {value!r} is not {error}.")
    if problems:
        listed = "\n".join(f"  {parameter}" for parameter in known.values())
        raise JobError(
            " ".join(problems),
            f"Its parameters are:\n{listed}" if known else "It has no cell tagged parameters.",
        )
    return bound


def _parse(source: str) -> ast.Module:
    try:
        return ast.parse(source)
    except SyntaxError as error:
        raise JobError(
            f"The cell tagged parameters does not parse: {error}.", "Write NAME = value lines."
        ) from error


def _assigned(node: ast.stmt) -> tuple[str, ast.expr]:
    target: ast.expr | None = None
    if isinstance(node, ast.Assign) and len(node.targets) == 1:
        target = node.targets[0]
    elif isinstance(node, ast.AnnAssign) and node.value is not None:
        target = node.target
    if isinstance(target, ast.Name) and isinstance(node, ast.Assign | ast.AnnAssign) and node.value:
        return target.id, node.value
    raise JobError(
        f"Line {node.lineno} of the cell tagged parameters is not NAME = value: "
        f"{ast.unparse(node)}.",
        "Keep assignments of plain values there, and the rest in other cells.",
    )


def _comments(source: str) -> dict[int, str]:
    tokens = tokenize.generate_tokens(io.StringIO(source).readline)
    return {
        token.start[0]: token.string.lstrip("# ").strip()
        for token in tokens
        if token.type == tokenize.COMMENT
    }


def _convert(value: Any, default: Any) -> Any:
    if default is None:
        return _any_scalar(value)
    for kind, convert in _CONVERSIONS.items():
        if isinstance(default, kind):
            return convert(value, default)
    raise ValueError(f"a {type(default).__name__}, which a parameter cannot be")


def _any_scalar(value: Any) -> Any:
    if isinstance(value, str):
        read = _read(value)
        return read if read is None or isinstance(read, bool | int | float) else value
    if value is None or isinstance(value, bool | int | float):
        return value
    if isinstance(value, date):  # a datetime is one too
        return value.isoformat()
    raise ValueError("a single value (a number, text, true or false)")


def _to_bool(value: Any, _: bool) -> bool:
    text = str(value).strip().lower()
    if isinstance(value, bool | str) and text in _YES | _NO:
        return text in _YES
    raise ValueError("true or false")


def _to_int(value: Any, _: int) -> int:
    if not isinstance(value, bool):
        try:
            return int(value, 10) if isinstance(value, str) else _whole(value)
        except (TypeError, ValueError):
            pass
    raise ValueError("a whole number")


def _whole(value: Any) -> int:
    if value != int(value):
        raise ValueError
    return int(value)


def _to_float(value: Any, _: float) -> float:
    if isinstance(value, str | int | float) and not isinstance(value, bool):
        try:
            number = float(value)
        except ValueError:
            number = math.nan
        if not math.isnan(number):
            return number
    raise ValueError("a number")


def _to_str(value: Any, _: str) -> str:
    if isinstance(value, bool | list | tuple | dict) or value is None:
        raise ValueError("text")
    # YAML reads 2024-01-01 as a date and 60 as a number.
    return value.isoformat() if hasattr(value, "isoformat") else str(value)


def _to_list(value: Any, default: list[Any]) -> list[Any]:
    if isinstance(value, str):
        is_written = value.lstrip().startswith("[")
        value = _read(value) if is_written else [part.strip() for part in value.split(",") if part]
    if isinstance(value, tuple):
        value = list(value)
    if not isinstance(value, list):
        raise ValueError("a list (BTCUSDT,ETHUSDT or [1, 2])")
    kinds = {type(item) for item in default}
    if len(kinds) == 1:
        try:
            value = [_convert(item, default[0]) for item in value]
        except ValueError as error:
            raise ValueError(f"a list of which each is {error}") from error
    return _json(value)  # type: ignore[no-any-return]


def _to_dict(value: Any, _: dict[str, Any]) -> dict[str, Any]:
    if isinstance(value, str):
        value = _read(value)
    if not isinstance(value, Mapping):
        raise ValueError("a mapping ({fast: 24, slow: 96})")
    return _json(dict(value))  # type: ignore[no-any-return]


def _json(value: Any) -> Any:
    try:
        return json.loads(json.dumps(value))
    except TypeError as error:
        raise ValueError("made of numbers, text, lists and mappings only") from error


def _read(text: str) -> Any:
    try:
        return yaml.safe_load(text)
    except yaml.YAMLError as error:
        raise ValueError("readable as YAML or JSON") from error


_CONVERSIONS: Final[Mapping[type, Any]] = {
    bool: _to_bool,
    int: _to_int,
    float: _to_float,
    str: _to_str,
    list: _to_list,
    tuple: _to_list,
    dict: _to_dict,
}
