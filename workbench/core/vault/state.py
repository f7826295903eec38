"""What an authentic vault file says, and what exactly is wrong with any other."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

from workbench.core.errors import SecretError
from workbench.core.vault.cipher import Cipher, Sealed, branch, draw_key
from workbench.core.vault.document import Document, Header, Row, canonical, checksum
from workbench.core.vault.secret import Secret

BACKUP: Final = "Do not use its keys before you know why; restore the file from a backup."


@dataclass(frozen=True)
class State:
    """What an authentic file says; every key in it is masked."""

    header: Header
    key: Sealed
    data_key: Secret[bytes]
    prints: Secret[bytes]
    rows: Mapping[str, Row]
    revision: int

    @property
    def rows_cipher(self) -> Cipher:
        """The cipher of the secrets."""
        return Cipher(branch(self.data_key, "rows"))

    def context(self, part: str) -> bytes:
        """Return what the seal of a part of the file is bound to."""
        return canonical({"vault_id": self.header.vault_id, "part": part, "key": self.key.text})

    def document(self) -> Document:
        """Return the file that says this."""
        digests = {name: row.digest for name, row in self.rows.items()}
        index = Secret(canonical({"revision": self.revision, "rows": digests}))
        return Document(
            header=self.header,
            key=self.key,
            check=checksum(self.header, self.key),
            prints=Cipher(branch(self.data_key, "prints")).seal(
                self.prints, self.context("prints")
            ),
            rows=dict(self.rows),
            index=Cipher(branch(self.data_key, "index")).seal(index, self.context("index")),
        )


def read(path: Path) -> Document:
    """Read a vault file as far as that goes without its passphrase."""
    try:
        text = path.read_bytes()
    except OSError as error:
        raise SecretError(
            f"The vault {path} cannot be read ({error.strerror}).",
            "Check the place; `workbench keys add` makes a new vault.",
        ) from error
    document = Document.parse(text, path)
    if document.check != checksum(document.header, document.key):
        raise SecretError(f"The header of the vault {path} was damaged or edited.", BACKUP)
    return document


def authenticate(document: Document, door: Cipher, path: Path) -> State:
    """Return what a file says once all of it is checked, naming the part that is wrong."""
    header = document.header
    data_key = door.unseal(document.key, header.context)
    if data_key is None:
        raise SecretError(
            f"The passphrase does not open the vault {path}.",
            "Give the one that it was made or last rotated with.",
        )
    # What opens only with the data key is written by whoever has it: no form to check.
    draft = State(header, document.key, data_key, data_key, document.rows, 0)
    prints = Cipher(branch(data_key, "prints")).unseal(document.prints, draft.context("prints"))
    index = Cipher(branch(data_key, "index")).unseal(document.index, draft.context("index"))
    if prints is None or index is None:
        part = "index" if index is None else "fingerprint key"
        raise SecretError(f"The {part} of the vault {path} was edited or put back.", BACKUP)
    listed = json.loads(index.reveal())
    state = replace(draft, prints=prints, revision=listed["revision"])
    for name in sorted({*listed["rows"], *state.rows}):
        problem = _problem(state, name, listed["rows"].get(name))
        if problem:
            raise SecretError(f"The secret {name!r} of the vault {path} {problem}.", BACKUP)
    return state


def _problem(state: State, name: str, digest: str | None) -> str | None:
    row = state.rows.get(name)
    if row is None:
        return "was taken out of the file"
    if row.digest == digest:
        return None
    if digest is None:
        return "was put into the file from outside"
    vault_id, cipher = state.header.vault_id, state.rows_cipher
    if cipher.unseal(row.sealed, row.context(name, vault_id)):
        return "was rolled back to an earlier state"
    for other, its in state.rows.items():
        contexts = (row.context(other, vault_id), its.context(other, vault_id))
        if other != name and any(cipher.unseal(row.sealed, context) for context in contexts):
            return f"was swapped: it holds that of {other!r}"
    return "was edited or damaged"


def unseal(state: State, name: str, path: Path) -> Secret[bytes]:
    """Decrypt one secret."""
    check_held(state, name)
    row = state.rows[name]
    plain = state.rows_cipher.unseal(row.sealed, row.context(name, state.header.vault_id))
    if plain is None:
        raise SecretError(f"The secret {name!r} of the vault {path} does not open.", BACKUP)
    return plain


def rekey(
    header: Header, door: Cipher, data_key: Secret[bytes], rows: Mapping[str, Row], revision: int
) -> State:
    """Return rows under a data key that a door locks, with a new key of fingerprints."""
    key = door.seal(data_key, header.context)
    return State(header, key, data_key, draw_key(), rows, revision)


def check_held(state: State, name: str) -> None:
    """Raise unless there is a secret of that name."""
    if name not in state.rows:
        raise SecretError(
            f"The vault has no secret {name!r}.",
            f"It holds {', '.join(sorted(state.rows)) or 'nothing'}; `workbench keys add` adds.",
        )
