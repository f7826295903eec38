"""Snapshots: the files behind a load and their hashes, by which every number re-runs."""

from __future__ import annotations

import json
import os
import shutil
import tarfile
from collections.abc import Iterable
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import Final

from workbench.core.errors import DataError
from workbench.data.lake import Lake, write_whole
from workbench.data.status import NAME as QUALITY

FOLDER: Final = ".snapshots"
PINNED: Final = ".pinned"


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


def pin_snapshot(lake: Lake, snapshot: Snapshot) -> None:
    """Keep the content of a snapshot's files, so that later pulls cannot take it away.

    The lake replaces files and never writes into them, so a second link to each keeps the content
    and costs no space until the lake moves on.

    Raises
    ------
    DataError
        If a file has changed since the snapshot was taken and was not pinned before.
    """
    for name, digest in snapshot.files:
        place = lake.root / PINNED / digest
        if place.is_file():
            continue
        if not (lake.root / name).is_file() or lake.digest(lake.root / name) != digest:
            raise _gone(name)
        _link(lake.root / name, place)


def rebuild_lake(lake: Lake, snapshot: Snapshot, target: Path) -> Lake:
    """Make a lake in a new folder that holds the files of a snapshot, as they were, and no other.

    Raises
    ------
    DataError
        If the content of a file is neither in the lake nor pinned.
    """
    for name, digest in snapshot.files:
        pinned, current = lake.root / PINNED / digest, lake.root / name
        source = pinned if pinned.is_file() else current
        if not source.is_file() or sha256(source.read_bytes()).hexdigest() != digest:
            raise _gone(name)
        _link(source, target / name)
        quality = current.with_name(QUALITY)
        if quality.is_file() and not (target / name).with_name(QUALITY).exists():
            # A copy: what is looked at again is written into it.
            write_whole((target / name).with_name(QUALITY), quality.read_bytes())
    return Lake(target)


def _link(source: Path, place: Path) -> None:
    place.parent.mkdir(parents=True, exist_ok=True)
    try:
        os.link(source, place)
    except FileExistsError:
        return
    except OSError:
        # Another file system has no links to this one.
        shutil.copyfile(source, place)


def _gone(name: str) -> DataError:
    return DataError(
        f"{name} is no longer what the snapshot holds.",
        "Restore it from an export (`restore_snapshot`), or run again for a new snapshot.",
    )


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
