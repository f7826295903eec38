"""Run one notebook by papermill, on the record from before its first cell to after its last."""

from __future__ import annotations

import logging
import signal
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Literal

from workbench.core.config import load_config
from workbench.core.errors import DataError, JobError
from workbench.core.vault import PASSPHRASES
from workbench.jobs.metrics import SNAPSHOT, WATERMARK, read_measures
from workbench.jobs.origin import find_origin, hash_notebook
from workbench.jobs.parameters import Parameter, bind_parameters, read_parameters
from workbench.jobs.trace import question, shorten
from workbench.monitor.process import mark_process

if TYPE_CHECKING:
    from nbformat import NotebookNode

    from workbench.jobs.kernels import Leash
    from workbench.store.session import Store

Status = Literal["done", "failed", "stopped"]

Progress = Callable[[int, int, str], None]
"""Called with the code cells done, the number of all, and the question of the one that runs."""

TRIES: Final = 3
"""How often a kernel that does not start is tried (ports can clash when many start at once)."""

RENDERER: Final = "plotly_mimetype"


@dataclass(frozen=True, slots=True)
class JobResult:
    """How a run ended, and what it left: the executed notebook and its page."""

    run_id: str
    path: Path
    html: Path
    status: Status
    measures: Mapping[str, Any]
    error: str | None = None


def open_notebook(path: str | Path) -> NotebookNode:
    """Read a notebook from disk.

    Raises
    ------
    JobError
        If there is none, or it cannot be read as one.
    """
    import nbformat
    from nbformat.reader import NotJSONError

    path = Path(path)
    try:
        read = nbformat.read(path, as_version=4)  # type: ignore[no-untyped-call]
        # Notebooks of before 2021 have no cell ids.
        notebook: NotebookNode = nbformat.v4.upgrade(read)  # type: ignore[no-untyped-call]
        return notebook
    except FileNotFoundError as error:
        raise JobError(
            f"There is no notebook {path}.", "Give the path of an .ipynb file."
        ) from error
    # JSON that is not an object is an AttributeError in nbformat.
    except (
        NotJSONError,
        nbformat.ValidationError,
        UnicodeDecodeError,
        IsADirectoryError,
        AttributeError,
    ) as error:
        raise JobError(
            f"{path} cannot be read as a notebook.", "Open it in JupyterLab and save it again."
        ) from error


def run_notebook(
    path: str | Path,
    params: Mapping[str, object] | None = None,
    *,
    store: Store | None = None,
    runs_dir: Path | None = None,
    progress: Progress | None = None,
) -> JobResult:
    """Execute a notebook with parameters and record the run.

    The executed copy and its page go to ``runs_dir/<date>/<name>-<run_id>``. A notebook that
    fails, or that SIGINT or SIGTERM stops, keeps its partial copy and its row says so.

    Raises
    ------
    JobError
        Before anything runs: if there is no such notebook, or a parameter is unknown or ill-typed.
    """
    from workbench.jobs.kernels import Leash, own_loop
    from workbench.store.session import Store

    path = Path(path)
    notebook = open_notebook(path)
    known = read_parameters(notebook)
    bound = bind_parameters(known, params or {}, notebook=path.name)
    config = load_config()
    with nullcontext(store) if store else Store.open() as book:
        started = datetime.now(UTC)
        run = _open_run(book, path, notebook, _all_params(known, bound), started, runs_dir)
        target = Path(book.run(run).path)
        # A notebook that prints its environment must not print what opens the vault.
        env = {**dict.fromkeys(PASSPHRASES, ""), "WORKBENCH_RUN_ID": run}
        env["PLOTLY_RENDERER"] = RENDERER
        if book.url != config.store.url and "***" not in book.url:
            env["WORKBENCH_STORE__URL"] = book.url
        leash = Leash(env)
        try:
            with _stopping(leash), own_loop():
                status, error = _execute(notebook, target, run, bound, leash, progress)
            return _close_run(book, run, target, status, error)
        except BaseException as failure:
            ended = datetime.now(UTC)
            reason = f"{type(failure).__name__}: {failure}"
            status = "stopped" if isinstance(failure, KeyboardInterrupt) else "failed"
            if book.run(run).status == "running":
                book.finish_run(run, status=status, ended=ended, error=reason)
            raise


def _all_params(known: Mapping[str, Parameter], bound: Mapping[str, Any]) -> dict[str, Any]:
    return {name: bound.get(name, parameter.default) for name, parameter in known.items()}


def _open_run(
    book: Store,
    path: Path,
    notebook: NotebookNode,
    params: Mapping[str, Any],
    started: datetime,
    runs_dir: Path | None,
) -> str:
    folder = (runs_dir or load_config().runs_dir).resolve() / f"{started:%Y-%m-%d}"
    folder.mkdir(parents=True, exist_ok=True)
    origin = find_origin(path.parent)
    seed = params.get("SEED")
    return book.start_run(
        notebook=path.name,
        notebook_hash=hash_notebook(notebook),
        params=params,
        seed=seed if isinstance(seed, int) else None,
        git_commit=origin.git_commit,
        git_dirty=origin.git_dirty,
        lock_hash=origin.lock_hash,
        path=str(folder / f"{path.stem}-{{run_id}}.ipynb"),
        started=started,
    )


def _execute(
    notebook: NotebookNode,
    target: Path,
    run: str,
    bound: Mapping[str, Any],
    leash: Leash,
    progress: Progress | None,
) -> tuple[Status, str | None]:
    import nbformat
    import papermill
    from papermill.exceptions import PapermillExecutionError

    # papermill logs the end of a kernel that was stopped on purpose.
    logging.getLogger("papermill").addHandler(logging.NullHandler())
    notebook.metadata["workbench"] = {"run_id": run, **mark_process()}
    watch = _Watch(notebook, progress)
    # papermill fills {names} in a path from the parameters.
    place = str(target).replace("{", "{{").replace("}", "}}")
    for attempt in range(1, TRIES + 1):
        nbformat.write(notebook, target)  # type: ignore[no-untyped-call]
        try:
            papermill.execute_notebook(
                place,
                place,
                parameters=dict(bound),
                kernel_name="python3",
                language="python",
                progress_bar=False,
                kernel_manager_class=leash.manager_class(),
                # Every output has arrived; a graceful end interrupts, and logs that it did.
                shutdown_kernel="immediate",
                on_cell_start=watch.start,
                on_cell_executed=watch.finish,
            )
            return "done", None
        except PapermillExecutionError as error:
            return "failed", shorten(error, place=watch.place)
        except (RuntimeError, InterruptedError) as error:
            if leash.is_stopped:
                return "stopped", f"Stopped {watch.place}."
            if watch.has_started:
                return "failed", f"The kernel died {watch.place}; it may have run out of memory."
            if attempt == TRIES:
                return "failed", f"The kernel did not start in {TRIES} tries: {error}"
        finally:
            leash.end()
    raise AssertionError("the last attempt returns")


class _Watch:
    """Follows the cells of a run and tells the caller."""

    def __init__(self, notebook: NotebookNode, progress: Progress | None) -> None:
        self._progress = progress
        self._number = 0
        self._question = ""
        self._before: dict[str, str] = {}
        sentence = ""
        for cell in notebook.cells:
            if cell.cell_type == "markdown":
                sentence = question(cell.source)
            elif cell.source.strip():
                self._before[cell.id] = sentence
        self._total = len(self._before)
        self.has_started = False

    @property
    def place(self) -> str:
        if not self.has_started:
            return "before the first cell"
        asked = f' ("{self._question}")' if self._question else ""
        return f"in code cell {self._number} of {self._total}{asked}"

    def start(self, cell: NotebookNode, **_: Any) -> None:
        self.has_started = True
        # The cell that papermill injects is not one of the notebook's own.
        if cell.get("id") in self._before:
            self._number += 1
            self._question = self._before[cell.id]
            self._tell(self._number - 1)

    def finish(self, cell: NotebookNode, **_: Any) -> None:
        if cell.get("id") in self._before:
            self._tell(self._number)

    def _tell(self, done: int) -> None:
        if self._progress is not None:
            self._progress(done, self._total, self._question)


def _close_run(book: Store, run: str, target: Path, status: Status, error: str | None) -> JobResult:
    from workbench.jobs.page import write_page
    from workbench.jobs.sealing import seal_run

    executed = open_notebook(target)
    measures = read_measures(executed)
    snapshot = _known_snapshot(book, measures)
    ended = datetime.now(UTC)
    html = target.with_suffix(".html")
    if status == "done":
        seal_run(executed, target, book.run(run), measures=measures, store=book, now=ended)
    # A notebook that keeps silent about a synthetic market does not make it a real one.
    marks = {read["watermark"] for read in _reads(book, run) if read["watermark"]}
    if marks:
        measures = {**measures, WATERMARK: " · ".join(sorted(marks))}
    write_page(
        executed, html, run=book.run(run), status=status, ended=ended, error=error,
        measures=measures,
    )  # fmt: skip
    book.finish_run(
        run, status=status, ended=ended, error=error, measures=measures, snapshot_id=snapshot
    )
    return JobResult(run, target, html, status, measures, error)


def _reads(book: Store, run: str) -> list[Mapping[str, Any]]:
    details = book.events(kind="read")["detail"]
    return [detail for detail in details if detail["run_id"] == run]


def _known_snapshot(book: Store, measures: Mapping[str, Any]) -> str | None:
    named = measures.get(SNAPSHOT)
    if not isinstance(named, str):
        return None
    try:
        return book.snapshot(named).snapshot_id
    except DataError:
        # A market made by hand: what the notebook said of it stays among the measures.
        return None


@contextmanager
def _stopping(leash: Leash) -> Iterator[None]:
    """Let SIGINT and SIGTERM stop the run; only the main thread can hear them."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = {
        number: signal.signal(number, lambda *_: leash.stop())
        for number in (signal.SIGINT, signal.SIGTERM)
    }
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
