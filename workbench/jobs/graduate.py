"""Put a strategy before a gate as a recorded, sealed job: the evidence notebook and its verdict."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Final

from workbench.core.errors import JobError
from workbench.core.layers import find_root
from workbench.evidence.verdicts import Recorded, read_verdicts
from workbench.jobs.run import JobResult, Progress, run_notebook

if TYPE_CHECKING:
    from workbench.store.session import Store

NOTEBOOK: Final = Path("notebooks/validation/80_graduate.ipynb")


def put_before_gate(
    params: Mapping[str, object], *, root: Path | None = None, progress: Progress | None = None
) -> tuple[JobResult, Recorded]:
    """Run the evidence notebook with these parameters and return the job and the verdict.

    Raises
    ------
    JobError
        If the notebook is not there, or does not run to its verdict.
    """
    from workbench.store.session import Store

    notebook = (root or find_root()) / NOTEBOOK
    if not notebook.is_file():
        raise JobError(
            f"The evidence notebook {notebook} is not there.",
            "Put strategies before a gate inside a checkout of the repository.",
        )
    job = run_notebook(notebook, params, progress=progress)
    if job.status != "done":
        raise JobError(f"The evidence notebook {job.status}: {job.error}", f"See {job.html}.")
    with Store.open() as store:
        return job, find_verdict(store, job.run_id)


def find_verdict(store: Store, run_id: str) -> Recorded:
    """Return the verdict that a run found.

    Raises
    ------
    JobError
        If it found none.
    """
    found = [each for each in read_verdicts(store) if each.run_id == run_id]
    if not found:
        raise JobError(
            f"The run {run_id} left no verdict.", "Its notebook must call research.validate."
        )
    return found[0]
