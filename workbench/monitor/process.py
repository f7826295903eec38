"""Which process runs a notebook, and whether it still lives."""

from __future__ import annotations

import json
import os
import socket
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import psutil

if TYPE_CHECKING:
    from workbench.store.records import Run

LOST: Final = "lost"
"""How a run is shown that its row calls running although its process is gone."""


def mark_process() -> dict[str, Any]:
    """Return what tells this process from every other, to stand in a notebook's metadata."""
    return {
        "host": socket.gethostname(),
        "pid": os.getpid(),
        "created": psutil.Process().create_time(),
    }


def is_gone(mark: dict[str, Any]) -> bool:
    """Return whether the process that left a mark has certainly ended."""
    if mark.get("host") != socket.gethostname():
        return False
    try:
        created = psutil.Process(mark["pid"]).create_time()
    except psutil.NoSuchProcess:
        return True
    return bool(abs(created - mark["created"]) > 1.0)


def shown_status(run: Run) -> str:
    """Return the status of a run as people should see it: ``lost`` where its process died."""
    if run.status != "running":
        return run.status
    try:
        metadata = json.loads(Path(run.path).read_text("utf-8"))["metadata"]
    except (OSError, ValueError, KeyError):
        # Its notebook is written right after its row, and again while it is read: half a file
        # tells nothing.
        return LOST if not Path(run.path).exists() else run.status
    return LOST if is_gone(metadata.get("workbench", {})) else run.status
