"""Verify a sealed run: execute it again, on the code, data and ledger of its day, and compare."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any, Final

from workbench.core.config import load_config
from workbench.core.errors import EvidenceError, JobError
from workbench.core.layers import find_root, variable_name
from workbench.evidence.seals import (
    Difference,
    Seal,
    check_notebook,
    compare_code,
    compare_measures,
    digest_code,
    read_seal,
)
from workbench.jobs.metrics import WATERMARK
from workbench.jobs.origin import find_origin
from workbench.jobs.run import open_notebook
from workbench.jobs.sealing import EVENT, STRATEGIES, code_now
from workbench.store.canonical import plain

if TYPE_CHECKING:
    from nbformat import NotebookNode

    from workbench.store.records import Run
    from workbench.store.session import Store

INJECTED: Final = "injected-parameters"
SEALED: Final = ("run_id", "notebook", "params", "seed", "measures", "git_commit", "lock_hash")
"""What the store and the seal both say of a run."""


@dataclass(frozen=True, slots=True)
class Verification:
    """What came of executing a sealed run again.

    Attributes
    ----------
    run_id : str
    differences : tuple of Difference
        Empty where the run is verified.
    n_measures : int
        Declared outputs that were compared.
    restored : str or None
        The commit whose code was fetched to execute it, where today's is another.
    """

    run_id: str
    differences: tuple[Difference, ...]
    n_measures: int = 0
    restored: str | None = None

    @property
    def is_verified(self) -> bool:
        """Whether everything is as it was sealed and came out the same again."""
        return not self.differences


def verify_run(run_id: str, *, store: Store | None = None) -> Verification:
    """Check the seal of a run, execute its notebook again and compare the declared outputs.

    The second execution happens in a process of its own, in a temporary store that holds the
    ledger as it was when the run began, and on a lake that holds the sealed files only; it writes
    no trial. Where the code has changed since and was committed then, that commit is fetched.

    Raises
    ------
    DataError, EvidenceError
        If there is no such run, or it was never sealed.
    JobError
        If its notebook is gone.
    """
    from workbench.store.session import Store

    with nullcontext(store) if store else Store.open() as book:
        run = book.run(run_id)
        notebook, seal, found = _check(book, run)
        if found:
            # What was edited proves nothing, whatever comes out of it again.
            return Verification(run.run_id, tuple(found))
        with TemporaryDirectory(prefix="workbench-verify-") as folder:
            return _verify(book, run, notebook, seal, Path(folder))


def check_run(run_id: str, *, store: Store | None = None) -> tuple[Difference, ...]:
    """Say in what a run is no longer what was sealed, without executing anything.

    Its notebook is held against the seal, the seal against the store's digest and row of the run,
    and the trial ledger against its chain and against the seal. Errors as of ``verify_run``.
    """
    from workbench.store.session import Store

    with nullcontext(store) if store else Store.open() as book:
        return tuple(_check(book, book.run(run_id))[2])


def _check(book: Store, run: Run) -> tuple[NotebookNode, Seal, list[Difference]]:
    notebook = open_notebook(run.path)
    seal = read_seal(notebook)
    # A seal that was changed says nothing of the row.
    found = check_notebook(notebook, seal, digest=_recorded_digest(book, run.run_id)) or [
        Difference(f"the store's row of the run, {name}", "it is not what was sealed")
        for name in SEALED
        if _own(getattr(run, name)) != _own(getattr(seal, name))
    ]
    return notebook, seal, found + _check_ledger(book, seal)


def _own(value: Any) -> Any:
    if isinstance(value, Mapping):
        # The watermark is put on the row by the job, whatever the notebook declares.
        value = {name: each for name, each in value.items() if name != WATERMARK}
    return plain(value)


def _verify(
    book: Store, run: Run, notebook: NotebookNode, seal: Seal, folder: Path
) -> Verification:
    root = find_root()
    changed = compare_code(seal.code, code_now(root))
    lock = find_origin(root).lock_hash
    if lock != seal.lock_hash:
        changed_lock = [Difference("the lock", "other versions of the libraries are installed now")]
    else:
        changed_lock = []
    book.fork(f"sqlite:///{folder / 'data' / 'workbench.db'}", until=run.started)
    _rebuild_data(seal, folder / "data" / "lake")
    with _restored(root, seal, folder / "code", [d.what for d in changed]) as place:
        # Code that could be restored is no difference; code that could not is one.
        differences = changed_lock + ([] if place is not None else changed)
        again, fault = _execute(notebook, seal, place or root, folder)
    if fault:
        differences.append(Difference("the second execution", fault))
    else:
        differences += compare_measures(_own(seal.measures), _own(again))
    restored = seal.git_commit if changed and place is not None else None
    return Verification(run.run_id, tuple(differences), len(seal.measures), restored)


def _recorded_digest(book: Store, run_id: str) -> str:
    events = book.events(kind=EVENT)
    digests = [row["digest"] for row in events["detail"] if row["run_id"] == run_id]
    if not digests:
        raise EvidenceError(
            f"The store has recorded no seal of the run {run_id}.",
            "Only a run that ended well is sealed: run its notebook again.",
        )
    return str(digests[-1])


def _check_ledger(book: Store, seal: Seal) -> list[Difference]:
    check = book.verify_trials()
    if not check.is_intact:
        return [Difference("the trial ledger", f"trial {check.broken}: {check.reason}")]
    number, head = seal.ledger
    trials = book.trials()
    if number > len(trials) or (number and trials["row_hash"].iloc[number - 1] != head):
        words = f"its first {number} trials are not those that the run was sealed with"
        return [Difference("the trial ledger", words)]
    return []


def _rebuild_data(seal: Seal, target: Path) -> None:
    from workbench.data import Lake
    from workbench.data.snapshot import has_snapshot, rebuild_lake

    lake = Lake(load_config().lake_dir)
    for snapshot_id in seal.snapshots:
        kept = has_snapshot(lake, snapshot_id)
        # A synthetic market, or one made by hand, has no files: its seed makes it again.
        if kept is not None:
            rebuild_lake(lake, kept, target)


@contextmanager
def _restored(root: Path, seal: Seal, place: Path, changed: Sequence[str]) -> Iterator[Path | None]:
    """Yield the project of the sealed commit, today's where nothing changed, None without one."""
    if not changed:
        yield root
        return
    if seal.git_commit is None or not _git(
        root, "worktree", "add", "--detach", str(place), seal.git_commit
    ):
        yield None
        return
    try:
        # What has not changed since need not be in the project's history: the package may be
        # installed from elsewhere.
        fetched = digest_code(place, folders=["workbench", STRATEGIES])
        is_whole = all(fetched.get(path) == seal.code.get(path) for path in changed)
        yield place if is_whole else None
    finally:
        _git(root, "worktree", "remove", "--force", str(place))


def _execute(
    notebook: NotebookNode, seal: Seal, place: Path, folder: Path
) -> tuple[Mapping[str, Any], str]:
    """Execute in a clean process; return the declared outputs, or what went wrong."""
    import nbformat
    import yaml

    from workbench.store.session import Store

    bare = _strip(notebook)
    source, params = folder / seal.notebook, folder / "params.yaml"
    nbformat.write(bare, source)  # type: ignore[no-untyped-call]
    params.write_text(yaml.safe_dump(dict(seal.params)), encoding="utf-8")
    env = {name: value for name, value in os.environ.items() if not name.startswith("WORKBENCH_")}
    env |= _settings(seal.settings)
    env |= {
        variable_name("data_dir"): str(folder / "data"),
        variable_name("store.url"): f"sqlite:///{folder / 'data' / 'workbench.db'}",
        "PYTHONPATH": os.pathsep.join([str(place), env.get("PYTHONPATH", "")]).rstrip(os.pathsep),
    }
    done = subprocess.run(  # noqa: S603 - our own interpreter
        [sys.executable, "-m", "workbench.cli", "run", str(source), "-f", str(params)],
        cwd=place, env=env, capture_output=True, text=True, check=False,
    )  # fmt: skip
    with Store.open(env[variable_name("store.url")]) as then:
        newest = then.runs(limit=1)
        if done.returncode or newest.empty or newest["status"][0] != "done":
            reason = "" if newest.empty else str(newest["error"][0] or "")
            return {}, reason or (done.stderr or done.stdout).strip()[-500:] or "it did not run"
        measures: Mapping[str, Any] = newest["measures"][0]
        return measures, ""


def _strip(notebook: NotebookNode) -> NotebookNode:
    import nbformat

    bare: NotebookNode = nbformat.from_dict(notebook)  # type: ignore[no-untyped-call]
    bare.metadata.pop("papermill", None)
    bare.metadata.pop("workbench", None)
    bare.cells = [cell for cell in bare.cells if INJECTED not in cell.metadata.get("tags", [])]
    for cell in bare.cells:
        cell.metadata.pop("papermill", None)
        if cell.cell_type == "code":
            cell.outputs, cell.execution_count = [], None
    return bare


def _settings(settings: Mapping[str, Any]) -> dict[str, str]:
    flat = {}
    for section, values in settings.items():
        pairs = values.items() if isinstance(values, Mapping) else [("", values)]
        for key, value in pairs:
            name = f"{section}.{key}".rstrip(".")
            flat[variable_name(name)] = str(value)
    return flat


def _git(root: Path, *words: str) -> bool:
    git = shutil.which("git")
    if git is None:
        return False
    done = subprocess.run(  # noqa: S603 - fixed words, no shell
        [git, "-C", str(root), *words], capture_output=True, text=True, check=False, timeout=120
    )
    return done.returncode == 0


def require_verified(verification: Verification) -> None:
    """Raise if a run did not verify, naming the first difference.

    Raises
    ------
    JobError
    """
    if not verification.is_verified:
        raise JobError(
            f"The run {verification.run_id} does not verify: {verification.differences[0]}.",
            "Run the notebook again on today's code and data; the old numbers stand for nothing.",
        )
