"""Where the passphrase of a vault comes from: a variable, a file, the keyring, or a person."""

from __future__ import annotations

import os
import secrets
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final, NamedTuple

from workbench.core.errors import SecretError
from workbench.core.vault.secret import Secret

VARIABLE: Final = "WORKBENCH_VAULT_PASSPHRASE"
FILE_VARIABLE: Final = "WORKBENCH_VAULT_PASSPHRASE_FILE"
PASSPHRASES: Final = (VARIABLE, FILE_VARIABLE)
KEYRING: Final = "keyring"
SERVICE: Final = "workbench-vault"
_REAL: Final = 1  # keyring's own threshold for a backend that it recommends


class Request(NamedTuple):
    """Which passphrase is wanted: ``slot`` names its generation, ``is_new`` one to be chosen."""

    slot: str
    is_new: bool


Ask = Callable[[Request], Secret[str]]


def find_passphrase(request: Request, *, ask: Ask | None = None) -> Secret[str]:
    """Return the passphrase from the first place that has one; a new keyring entry is made.

    The order: ``WORKBENCH_VAULT_PASSPHRASE``, the file named by
    ``WORKBENCH_VAULT_PASSPHRASE_FILE``, the keyring of the system, ``ask``.

    Raises
    ------
    SecretError
        If no place has one, or one of them cannot be read.
    """
    if os.environ.get(VARIABLE):
        return Secret(os.environ[VARIABLE])
    if os.environ.get(FILE_VARIABLE):
        return _read_file(Path(os.environ[FILE_VARIABLE]))
    found = _make_in_keyring(request.slot) if request.is_new else _get_from_keyring(request.slot)
    if found is not None:
        return found
    if ask is not None:
        return ask(request)
    raise SecretError(
        "There is no passphrase for the vault: no variable, no keyring, nobody to ask.",
        f"Set {VARIABLE}, or {FILE_VARIABLE} to a file that holds it.",
    )


def passphrase_source(slot: str) -> str | None:
    """Return the variable that gives the passphrase, or ``keyring``; None if a person does."""
    given = next((name for name in PASSPHRASES if os.environ.get(name)), None)
    if given or _get_from_keyring(slot) is None:
        return given
    return KEYRING


def forget_passphrase(slot: str) -> None:
    """Remove the passphrase of a slot from the keyring, if it is there."""
    if _get_from_keyring(slot) is not None:
        _call("delete_password", slot)


def _read_file(path: Path) -> Secret[str]:
    try:
        # One trailing line break is the editor's; everything else is the passphrase.
        secret = Secret(path.read_text(encoding="utf-8").removesuffix("\n").removesuffix("\r"))
    except (OSError, UnicodeDecodeError) as error:
        reason = type(error).__name__
    else:
        if secret.reveal():
            return secret
        reason = "it is empty"
    raise SecretError(
        f"The passphrase file {path} cannot be read ({reason}).",
        f"Set {FILE_VARIABLE} to a text file that holds the passphrase alone.",
    )


def _backend() -> Any:
    import keyring

    backend = keyring.get_keyring()
    return backend if backend.priority >= _REAL else None


def _get_from_keyring(slot: str) -> Secret[str] | None:
    return _call("get_password", slot)


def _make_in_keyring(slot: str) -> Secret[str] | None:
    if _backend() is None:
        return None
    made = Secret(secrets.token_urlsafe(32))
    _call("set_password", slot, made)
    return made


def _call(method: str, slot: str, *values: Secret[str]) -> Secret[str] | None:
    from keyring.errors import KeyringError

    backend = _backend()
    if backend is None:
        return None
    try:
        answer = getattr(backend, method)(SERVICE, slot, *(value.reveal() for value in values))
        return None if answer is None else Secret(answer)
    except KeyringError as error:
        reason = type(error).__name__
    # Raised out here, so that no frame of the backend hangs on to the error.
    raise SecretError(
        f"The keyring of the system refused ({reason}).",
        f"Unlock it, or set {VARIABLE} or {FILE_VARIABLE} instead.",
    )
