"""Snapshots: the files behind a load and their hashes, by which every number re-runs."""

from __future__ import annotations

import json
import tarfile
from collections.abc import Iterable
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import Final

from workbench.core.errors import DataError
from workbench.data.lake import Lake, write_whole

FOLDER: Final = ".snapshots"


@dataclass(frozen=True, slots=True)
class Snapshot:
    """The sorted list of (file, sha256) behind a load; its own hash is its id."""

    files: tuple[tuple[str, str], ...]

    @property
    def snapshot_id(self) -> str:
        """The hash of the list."""
        return sha256(json.dumps(self.files, separators=(",", ":")).encode()).hexdigest()


def take_snapshot(lake: Lake, paths: Iterable[Path]) -> Snapshot:
    """Hash files of a lake and keep the list there under its id."""
    listed = sorted((str(path.relative_to(lake.root)), lake.digest(path)) for path in set(paths))
    snapshot = Snapshot(tuple(listed))
    place = lake.root / FOLDER / f"{snapshot.snapshot_id}.json"
    if not place.is_file():
        write_whole(place, json.dumps(snapshot.files, indent=0).encode())
    return snapshot


def has_snapshot(lake: Lake, snapshot_id: str) -> Snapshot | None:
    """Return a snapshot if the lake has kept it."""
    place = lake.root / FOLDER / f"{snapshot_id}.json"
    if not place.is_file():
        return None
    return Snapshot(tuple((name, digest) for name, digest in json.loads(place.read_bytes())))


def find_snapshot(lake: Lake, snapshot_id: str) -> Snapshot:
    """Return a snapshot that the lake has kept; an unknown one is a ``DataError``."""
    snapshot = has_snapshot(lake, snapshot_id)
    if snapshot is None:
        raise DataError(
            f"The lake has kept no snapshot {snapshot_id}.",
            "A load makes one; or restore it from an export.",
        )
    return snapshot


def verify_snapshot(lake: Lake, snapshot: Snapshot) -> list[str]:
    """Read every file again and return those that are missing or no longer the same."""
    return [
        name
        for name, digest in snapshot.files
        if not (lake.root / name).is_file()
        or sha256((lake.root / name).read_bytes()).hexdigest() != digest
    ]


def export_snapshot(lake: Lake, snapshot: Snapshot, path: Path) -> None:
    """Write the files of a snapshot, and its list, into one tar file.

    Raises
    ------
    DataError
        If a file has changed since.
    """
    broken = verify_snapshot(lake, snapshot)
    if broken:
        raise DataError(
            f"{len(broken)} files of the snapshot have changed or gone: {broken[0]}.",
            "Restore them from an earlier export, or load again for a new snapshot.",
        )
    list_name = f"{FOLDER}/{snapshot.snapshot_id}.json"
    with tarfile.open(path, "w") as archive:
        for name in [list_name, *(name for name, _ in snapshot.files)]:
            archive.add(lake.root / name, arcname=name)


def restore_snapshot(lake: Lake, path: Path) -> Snapshot:
    """Bring the files of an export into a lake.

    Raises
    ------
    DataError
        If the lake holds other content under one of the names, or the export is damaged; nothing
        is written then.
    """
    with tarfile.open(path) as archive:
        contents = {
            member.name: file.read()
            for member in archive
            if (file := archive.extractfile(member)) is not None
        }
    lists = [name for name in contents if name.startswith(f"{FOLDER}/")]
    if len(lists) != 1:
        raise DataError(f"{path} is not an export of one snapshot.", "Export it again.")
    listed = tuple((name, digest) for name, digest in json.loads(contents[lists[0]]))
    snapshot = Snapshot(listed)
    for name, digest in snapshot.files:
        if sha256(contents.get(name, b"")).hexdigest() != digest or ".." in Path(name).parts:
            raise DataError(f"{name} in {path} is damaged.", "Export the snapshot again.")
        place = lake.root / name
        if place.is_file() and sha256(place.read_bytes()).hexdigest() != digest:
            raise DataError(
                f"The lake holds other rows in {name}.", "Restore into an empty lake folder."
            )
    for name, _ in (*snapshot.files, (lists[0], "")):
        write_whole(lake.root / name, contents[name])
    return snapshot
