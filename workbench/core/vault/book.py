"""The vault itself: named secrets in one file that is either whole or refused."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Final, Self

from workbench.core.clock import Clock, SystemClock
from workbench.core.errors import SecretError
from workbench.core.vault.cipher import (
    SALT_BYTES,
    Cipher,
    Cost,
    Sealed,
    branch,
    decode,
    draw_key,
    encode,
    fingerprint,
    stretch,
)
from workbench.core.vault.document import PRIVATE, Entry, Header, Row, lock, stamp, write
from workbench.core.vault.passphrase import Request
from workbench.core.vault.secret import AnySecret, Secret
from workbench.core.vault.state import BACKUP, State, authenticate, check_held, read, rekey, unseal

Passphrase = Secret[str] | Callable[[Request], Secret[str]]

COST: Final = Cost()
SHORTEST: Final = 12
_NAME: Final = re.compile(r"[a-z][a-z0-9_.-]{0,63}")
_KIND: Final = re.compile(r"[a-z]{1,20}")


class Vault:
    """Named secrets in one encrypted file, shared safely by processes on one machine.

    Every call reads the file anew and checks the whole of it; every change replaces it whole.
    Made by ``Vault.open``.
    """

    def __init__(self, path: Path, door: Cipher, header: Header, clock: Clock) -> None:
        self.path = path
        self.clock = clock
        self._door = door
        self._header = header
        self._revision = 0

    @classmethod
    def open(
        cls,
        path: Path,
        *,
        passphrase: Passphrase,
        create: bool = False,
        clock: Clock | None = None,
        cost: Cost = COST,
    ) -> Self:
        """Open a vault and check all of it; ``create`` makes one where there is none.

        ``passphrase`` is a secret, or what is called to get one (``find_passphrase``); ``cost``
        is used for a new vault only.

        Raises
        ------
        SecretError
            If there is no vault, the passphrase is wrong, or the file was damaged or edited.
        """
        path = path.resolve()
        clock = clock or SystemClock()
        if create:
            with lock(path):
                if not path.exists():
                    return cls._create(path, passphrase, clock, cost)
        header = read(path).header
        found = _ask(passphrase, Request(header.salt, is_new=False))
        door = stretch(found, bytes.fromhex(header.salt), header.cost)
        vault = cls(path, door, header, clock)
        vault._load()
        return vault

    @classmethod
    def _create(cls, path: Path, passphrase: Passphrase, clock: Clock, cost: Cost) -> Self:
        header = Header(vault_id=os.urandom(16).hex(), salt=os.urandom(SALT_BYTES).hex(), cost=cost)
        door = _new_door(header, passphrase)
        vault = cls(path, door, header, clock)
        vault._save(rekey(header, door, draw_key(), {}, 0))
        return vault

    @property
    def slot(self) -> str:
        """The name of this generation of the passphrase, as the keyring knows it."""
        return self._header.salt

    @property
    def revision(self) -> int:
        """How many times the file has been written; kept elsewhere it betrays an old copy."""
        return self._load().revision

    def names(self) -> tuple[str, ...]:
        """Return the names of the secrets, sorted."""
        return tuple(sorted(self._load().rows))

    def entries(self) -> tuple[Entry, ...]:
        """Return what is said about each secret; none is opened."""
        return tuple(row.entry(name) for name, row in sorted(self._load().rows.items()))

    def get(self, name: str) -> AnySecret:
        """Return a secret as it was added.

        Raises
        ------
        SecretError
            If there is none of that name, or the file was damaged or edited.
        """
        state = self._load()
        return decode(unseal(state, name, self.path))

    def add(
        self,
        name: str,
        kind: str,
        secret: AnySecret | Mapping[str, str] | bytes,
        *,
        replaces: bool = False,
    ) -> Entry:
        """Keep a secret under a name; one of that name is an error unless this replaces it.

        Raises
        ------
        SecretError
            If the name or kind does not fit, or the name is taken (not taken, with ``replaces``).
        """
        # First of all: from here on a traceback with locals shows three stars.
        secret = secret if isinstance(secret, Secret) else Secret(secret)
        _check_words(name, kind)
        plain = encode(secret)
        with lock(self.path):
            state = self._load()
            if (name in state.rows) is not replaces:
                raise SecretError(
                    f"The vault has {'no' if replaces else 'a'} secret {name!r}"
                    f"{'' if replaces else ' already'}.",
                    f"It holds {', '.join(sorted(state.rows)) or 'nothing'}: choose another name, "
                    "or rotate the secret that is there.",
                )
            row = Row(
                kind=kind,
                created=stamp(self.clock.now()),
                fingerprint=fingerprint(state.prints, plain),
                sealed=Sealed(nonce="00" * 12, text="00"),
            )
            sealed = state.rows_cipher.seal(plain, row.context(name, state.header.vault_id))
            row = row.model_copy(update={"sealed": sealed})
            self._save(replace(state, rows={**state.rows, name: row}, revision=state.revision + 1))
        return row.entry(name)

    def remove(self, name: str) -> None:
        """Forget a secret; none of that name is an error."""
        with lock(self.path):
            state = self._load()
            check_held(state, name)
            rows = {other: row for other, row in state.rows.items() if other != name}
            self._save(replace(state, rows=rows, revision=state.revision + 1))

    def rotate(self, passphrase: Passphrase | None = None) -> None:
        """Encrypt everything anew under a new data key, and a new passphrase if one is given.

        A crash leaves the old file, which the old passphrase opens, or the new one.
        """
        with lock(self.path):
            state = self._load()
            header, door = state.header, self._door
            if passphrase is not None:
                header = header.model_copy(update={"salt": os.urandom(SALT_BYTES).hex()})
                door = _new_door(header, passphrase)
            data_key = draw_key()
            rows, rows_cipher = {}, Cipher(branch(data_key, "rows"))
            for name, row in state.rows.items():
                plain = unseal(state, name, self.path)
                sealed = rows_cipher.seal(plain, row.context(name, header.vault_id))
                rows[name] = row.model_copy(update={"sealed": sealed})
            fresh = rekey(header, door, data_key, rows, state.revision + 1)
            self._save(replace(fresh, prints=state.prints))
            self._header, self._door = header, door

    def __repr__(self) -> str:
        return f"Vault({str(self.path)!r})"

    def _save(self, state: State) -> None:
        write(self.path, state.document().text(), PRIVATE)
        self._revision = state.revision

    def _load(self) -> State:
        document = read(self.path)
        if document.header != self._header:
            raise SecretError(
                f"{self.path} is another vault than the one opened, or has another passphrase now.",
                "Open it again.",
            )
        state = authenticate(document, self._door, self.path)
        if state.revision < self._revision:
            raise SecretError(
                f"{self.path} went back from revision {self._revision} to {state.revision}: "
                "an old copy was put in its place.",
                BACKUP,
            )
        self._revision = state.revision
        return state


def _new_door(header: Header, passphrase: Passphrase) -> Cipher:
    found = _ask(passphrase, Request(header.salt, is_new=True))
    if len(found.reveal()) < SHORTEST:
        raise SecretError(
            f"The new passphrase has fewer than {SHORTEST} characters.",
            "Take a longer one: five words at random are easy to keep.",
        )
    return stretch(found, bytes.fromhex(header.salt), header.cost)


def _ask(passphrase: Passphrase, request: Request) -> Secret[str]:
    return passphrase if isinstance(passphrase, Secret) else passphrase(request)


def _check_words(name: str, kind: str) -> None:
    if not _NAME.fullmatch(name) or not _KIND.fullmatch(kind):
        raise SecretError(
            f"A secret cannot be called {name!r} of the kind {kind!r}.",
            "Use lower-case letters, digits and . _ - (a letter first) for the name, and one "
            "lower-case word for the kind.",
        )
