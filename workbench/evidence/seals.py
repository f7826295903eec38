"""Seals: what an executed notebook rests on, and whether it is still what was sealed.

A seal stands in the notebook's metadata; its digest stands in the store, so that neither can be
changed without the other.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from math import inf, isclose
from pathlib import Path
from typing import Any, Final, Self

from workbench.core.errors import EvidenceError
from workbench.store.canonical import canonical_json, plain

VERSION: Final = 1
RELATIVE: Final = 1e-9
"""How far a number may move when it is computed again on the same data by the same code."""


@dataclass(frozen=True, slots=True)
class Seal:
    """What an executed notebook rests on.

    Attributes
    ----------
    run_id, notebook : str
    params : mapping
    seed : int or None
    cells : sequence of (id, digest of the source, digest of the outputs)
        In the order in which they ran.
    measures : mapping
        The outputs that the notebook declared.
    snapshots : sequence of str
        The data that the run read.
    code : mapping of path to digest
        The files of the package and of the project's strategies.
    git_commit : str or None
    git_dirty : bool
    lock_hash : str or None
    python : str
    settings : mapping
        Costs and account of the configuration.
    ledger : (int, str)
        Length and last hash of the trial ledger when the run ended.
    sealed : str
        The moment, ISO 8601.
    """

    run_id: str
    notebook: str
    params: Mapping[str, Any]
    seed: int | None
    cells: Sequence[Sequence[str]]
    measures: Mapping[str, Any]
    snapshots: Sequence[str]
    code: Mapping[str, str]
    git_commit: str | None
    git_dirty: bool
    lock_hash: str | None
    python: str
    settings: Mapping[str, Any]
    ledger: Sequence[Any]
    sealed: str
    version: int = VERSION

    @property
    def digest(self) -> str:
        """The SHA-256 of everything in the seal."""
        return hashlib.sha256(canonical_json(asdict(self)).encode()).hexdigest()

    def to_dict(self) -> dict[str, Any]:
        """Return it as plain values."""
        return dict(plain(asdict(self)))

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Self:
        """Return the seal that ``to_dict`` gave.

        Raises
        ------
        EvidenceError
            If a part is missing or unknown.
        """
        names = {field.name for field in fields(cls)}
        if set(values) != names:
            odd = ", ".join(sorted(set(values) ^ names))
            raise EvidenceError(
                f"The seal lacks, or has beyond what it should, {odd}.",
                "It was changed, or made by another version: run the notebook again.",
            )
        return cls(**values)


@dataclass(frozen=True, slots=True)
class Difference:
    """One way in which a run is not, or no longer, what was sealed."""

    what: str
    words: str

    def __str__(self) -> str:
        return f"{self.what}: {self.words}"


def digest_cells(notebook: Mapping[str, Any]) -> list[list[str]]:
    """Return id, digest of the source and digest of the outputs of each cell, in order."""
    return [
        [str(cell.get("id", place)), _digest(cell["source"]), _digest(_outputs(cell))]
        for place, cell in enumerate(notebook["cells"])
    ]


def digest_code(root: Path, *, folders: Iterable[str]) -> dict[str, str]:
    """Return the digest of every Python file and TOML setting under folders of a project."""
    paths = {
        path
        for folder in folders
        for pattern in ("**/*.py", "**/*.toml")
        for path in (root / folder).glob(pattern)
    }
    paths |= set(root.glob("workbench*.toml"))
    return {
        str(path.relative_to(root)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(paths)
        if "__pycache__" not in path.parts
    }


def read_seal(notebook: Mapping[str, Any]) -> Seal:
    """Return the seal of an executed notebook.

    Raises
    ------
    EvidenceError
        If it has none, or a damaged one.
    """
    values = notebook["metadata"].get("workbench", {}).get("seal")
    if values is None:
        raise EvidenceError(
            "The notebook carries no seal.",
            "Only a run that ended well is sealed: run it again with `workbench run`.",
        )
    return Seal.from_dict(plain(values))


def check_notebook(notebook: Mapping[str, Any], seal: Seal, *, digest: str) -> list[Difference]:
    """Compare an executed notebook with its seal, and the seal with the digest in the store."""
    found = []
    if seal.digest != digest:
        found.append(
            Difference("the seal", "it is not the one that the store recorded: it was changed")
        )
    now = digest_cells(notebook)
    if [cell[0] for cell in now] != [cell[0] for cell in seal.cells]:
        found.append(Difference("the cells", "some were added, removed or moved"))
        return found
    for place, (cell, sealed) in enumerate(zip(now, seal.cells, strict=True), start=1):
        for part, name in ((1, "source"), (2, "output")):
            if cell[part] != sealed[part]:
                found.append(
                    Difference(f"cell {place}", f"its {name} is not what was sealed: it was edited")
                )
    return found


def compare_code(sealed: Mapping[str, str], now: Mapping[str, str]) -> list[Difference]:
    """Name the files that have changed, gone or come since the seal."""
    words = []
    for path in sorted(sealed.keys() | now.keys()):
        if path not in now:
            words.append(Difference(path, "it was there when the run was sealed and is gone"))
        elif path not in sealed:
            words.append(Difference(path, "it was not there when the run was sealed"))
        elif sealed[path] != now[path]:
            words.append(Difference(path, "it has changed since the run was sealed"))
    return words


def compare_measures(
    sealed: Mapping[str, Any], again: Mapping[str, Any], *, relative: float = RELATIVE
) -> list[Difference]:
    """Compare declared outputs with those of a second execution.

    Numbers may differ by ``relative`` of the larger, everything else must be the same.
    """
    found = []
    for name in sorted(sealed.keys() | again.keys()):
        if name not in again:
            found.append(Difference(name, "the second execution did not declare it"))
        elif name not in sealed:
            found.append(Difference(name, "only the second execution declared it"))
        elif not _is_same(sealed[name], again[name], relative):
            found.append(
                Difference(name, f"{sealed[name]!r} was sealed, {again[name]!r} comes out now")
            )
    return found


def _is_same(one: Any, other: Any, relative: float) -> bool:
    numbers = (int, float)
    if isinstance(one, bool) or isinstance(other, bool):
        return one is other
    if isinstance(one, numbers) and isinstance(other, numbers):
        tiny = 0.0 if relative == 0 else 1e-12
        return one == other or (
            abs(one) < inf and isclose(one, other, rel_tol=relative, abs_tol=tiny)
        )
    return bool(one == other)


def _outputs(cell: Mapping[str, Any]) -> Any:
    # What a cell showed; counts and times of the machine that ran it are not part of that.
    return [
        {key: value for key, value in output.items() if key not in ("execution_count", "metadata")}
        for output in cell.get("outputs", [])
    ]


def _digest(value: Any) -> str:
    return hashlib.sha256(canonical_json(value).encode()).hexdigest()
