"""Seal a run when it has ended well, so that every number in it can be had again."""

from __future__ import annotations

import platform
from collections.abc import Mapping
from dataclasses import asdict
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import workbench
from workbench.core.config import Config, load_config
from workbench.core.layers import find_root
from workbench.evidence.seals import Seal, digest_cells, digest_code
from workbench.jobs.metrics import SNAPSHOT

if TYPE_CHECKING:
    from nbformat import NotebookNode

    from workbench.store.records import Run
    from workbench.store.session import Store

EVENT: Final = "run_seal"
STRATEGIES: Final = "strategies"


def seal_run(
    notebook: NotebookNode,
    target: Path,
    run: Run,
    *,
    measures: Mapping[str, Any],
    store: Store,
    now: datetime,
) -> Seal:
    """Write a seal into an executed notebook, its digest into the store, and pin its data."""
    import nbformat

    config = load_config()
    snapshots = {measures.get(SNAPSHOT), *store.trials(run_id=run.run_id)["snapshot_id"]}
    seal = Seal(
        run_id=run.run_id,
        notebook=run.notebook,
        params=run.params,
        seed=run.seed,
        cells=digest_cells(notebook),
        measures=measures,
        snapshots=sorted(name for name in snapshots if isinstance(name, str)),
        code=code_now(find_root()),
        git_commit=run.git_commit,
        git_dirty=run.git_dirty,
        lock_hash=run.lock_hash,
        python=platform.python_version(),
        settings=settings_of(config),
        ledger=list(store.trial_head()),
        sealed=now.isoformat(),
    )
    _pin(config, seal.snapshots)
    notebook.metadata["workbench"]["seal"] = seal.to_dict()
    nbformat.write(notebook, target)  # type: ignore[no-untyped-call]
    store.add_event(EVENT, actor="jobs", detail={"run_id": run.run_id, "digest": seal.digest})
    return seal


def code_now(root: Path) -> dict[str, str]:
    """Return the digest of each file of the package that runs and of a project's strategies."""
    package = Path(workbench.__file__).parent
    return {
        **digest_code(package.parent, folders=[package.name]),
        **digest_code(root, folders=[STRATEGIES]),
    }


def settings_of(config: Config) -> dict[str, Any]:
    """Return the settings by which results are computed."""
    return {
        "costs": asdict(config.costs),
        "account": asdict(config.account),
        "seed": config.seed,
    }


def _pin(config: Config, snapshots: list[str] | tuple[str, ...] | Any) -> None:
    from workbench.data import Lake
    from workbench.data.snapshot import has_snapshot, pin_snapshot

    lake = Lake(config.lake_dir)
    for snapshot_id in snapshots:
        kept = has_snapshot(lake, snapshot_id)
        if kept is not None:
            pin_snapshot(lake, kept)
