"""Where a run comes from: the hash of its notebook, the commit of its code, the lock."""

from __future__ import annotations

import hashlib
import json
import shutil
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from nbformat import NotebookNode

LOCK = "requirements.lock"


class Origin(NamedTuple):
    """The code behind a run; None where it is not under version control or has no lock."""

    git_commit: str | None
    git_dirty: bool
    lock_hash: str | None


def hash_notebook(notebook: NotebookNode) -> str:
    """Return the hash of a notebook's sources; outputs, counts and metadata do not count."""
    cells = [[cell.cell_type, cell.source] for cell in notebook.cells]
    return hashlib.sha256(json.dumps(cells, ensure_ascii=False).encode()).hexdigest()


def find_origin(folder: Path) -> Origin:
    """Return commit, dirty flag and lock hash of the project that a folder belongs to."""
    commit = _git(folder, "rev-parse", "HEAD")
    dirty = bool(commit) and bool(_git(folder, "status", "--porcelain"))
    folder = folder.resolve()
    locks = (place / LOCK for place in (folder, *folder.parents))
    lock = next((path for path in locks if path.is_file()), None)
    lock_hash = None if lock is None else hashlib.sha256(lock.read_bytes()).hexdigest()
    return Origin(commit or None, dirty, lock_hash)


def _git(folder: Path, *words: str) -> str:
    git = shutil.which("git")
    if git is None:
        return ""
    done = subprocess.run(  # noqa: S603 - fixed words, no shell
        [git, "--no-optional-locks", "-C", str(folder), *words],
        capture_output=True,
        text=True,
        check=False,
        timeout=30,
    )
    return done.stdout.strip() if done.returncode == 0 else ""
