"""The file of a vault: its form, and how it is written whole or not at all."""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Final, Literal, NamedTuple, Self

from pydantic import Field, ValidationError

from workbench.core.errors import SecretError
from workbench.core.vault.cipher import Cost, Part, Sealed

PRIVATE: Final = 0o600
PUBLIC: Final = 0o644

Name = Annotated[str, Field(pattern=r"^[a-z][a-z0-9_.-]{0,63}$")]


class Entry(NamedTuple):
    """What is said about a secret without opening it."""

    name: str
    kind: str
    created: datetime
    fingerprint: str


class Row(Part):
    """One secret of the file: what is said about it in the clear, and itself sealed."""

    kind: Annotated[str, Field(pattern=r"^[a-z]{1,20}$")]
    created: str
    fingerprint: Annotated[str, Field(pattern=r"^[0-9a-f]{16}$")]
    sealed: Sealed

    def context(self, name: str, vault_id: str) -> bytes:
        """Return what the seal of this row is bound to."""
        clear = self.model_dump(mode="json", exclude={"sealed"})
        return canonical({"vault_id": vault_id, "name": name, **clear})

    @property
    def digest(self) -> str:
        """The SHA-256 of the whole row, kept in the sealed index."""
        return hashlib.sha256(canonical(self.model_dump(mode="json"))).hexdigest()

    def entry(self, name: str) -> Entry:
        """Return what is said about the secret."""
        return Entry(name, self.kind, datetime.fromisoformat(self.created), self.fingerprint)


class Header(Part):
    """Which vault it is, and how its passphrase is stretched."""

    format: Literal["workbench-vault"] = "workbench-vault"
    version: Literal[1] = 1
    vault_id: Annotated[str, Field(pattern=r"^[0-9a-f]{32}$")]
    kdf: Literal["argon2id"] = "argon2id"
    salt: Annotated[str, Field(pattern=r"^[0-9a-f]{32}$")]
    cost: Cost

    @property
    def context(self) -> bytes:
        """What the wrapped data key is bound to."""
        return canonical(self.model_dump(mode="json"))


class Document(Part):
    """The whole file.

    ``key`` is the data key, sealed by the passphrase; ``check`` tells damage to header and key from
    a wrong passphrase; ``prints`` is the key of the fingerprints; ``index`` seals the digest of
    every row, so that none can be put back alone.
    """

    header: Header
    key: Sealed
    check: str
    prints: Sealed
    rows: dict[Name, Row]
    index: Sealed

    @classmethod
    def parse(cls, text: bytes, path: Path) -> Self:
        """Read the text of a file, refusing everything that is not exactly as ``text`` writes."""
        try:
            document = cls.model_validate(json.loads(text))
        except (ValueError, RecursionError) as error:
            reason = "it does not have the form of a vault"
            if isinstance(error, json.JSONDecodeError):
                reason = "it is cut short or is no JSON"
            if isinstance(error, ValidationError):
                reason += f", at {_place(error)}"
        else:
            if document.text() == text:
                return document
            reason = "it is not as the workbench writes it"
        raise SecretError(
            f"The vault {path} was damaged or edited: {reason}.", "Restore it from a backup."
        )

    def text(self) -> bytes:
        """Return the one text of this document."""
        whole = self.model_dump(mode="json")
        return json.dumps(whole, indent=1, sort_keys=True).encode() + b"\n"


def checksum(header: Header, key: Sealed) -> str:
    """Return the SHA-256 of a header and its wrapped key."""
    return hashlib.sha256(header.context + canonical(key.model_dump(mode="json"))).hexdigest()


def canonical(value: object) -> bytes:
    """Return the one JSON text of a value made of mappings and texts."""
    return json.dumps(value, sort_keys=True, separators=(",", ":")).encode()


def stamp(moment: datetime) -> str:
    """Return a moment as the file has it: UTC, to the second."""
    return moment.astimezone(UTC).replace(microsecond=0).isoformat()


@contextmanager
def lock(path: Path) -> Iterator[None]:
    """Hold off every other writer of a file, in this process and in others."""
    path.parent.mkdir(parents=True, exist_ok=True)
    flags = os.O_RDWR | os.O_CREAT | os.O_CLOEXEC
    descriptor = os.open(path.with_name(f".{path.name}.lock"), flags, PRIVATE)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)


def write(path: Path, text: bytes, mode: int) -> None:
    """Replace a file so that a crash leaves the old one or the new one; the caller holds a lock."""
    draft = path.with_name(f".{path.name}.draft")
    draft.unlink(missing_ok=True)
    descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, mode)
    with os.fdopen(descriptor, "wb") as file:
        os.fchmod(descriptor, mode)
        file.write(text)
        file.flush()
        os.fsync(descriptor)
    draft.replace(path)
    folder = os.open(path.parent, os.O_RDONLY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)


def _place(error: ValidationError) -> str:
    return ".".join(str(part) for part in error.errors(include_input=False)[0]["loc"]) or "its root"
