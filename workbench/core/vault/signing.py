"""The Ed25519 key that signs permits: private in the vault, public in the clear beside it."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Annotated, Final, Literal, cast

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from pydantic import Field, ValidationError

from workbench.core.errors import SecretError
from workbench.core.vault.book import Vault
from workbench.core.vault.cipher import Part
from workbench.core.vault.document import PUBLIC, lock, stamp, write
from workbench.core.vault.secret import Secret

NAME: Final = "signing"
KIND: Final = "signing"

_Private = Secret[Mapping[str, str]]


@dataclass(frozen=True)
class PublicKey:
    """What checks signatures; a retired key is known, and trusted no more."""

    key_id: str
    raw: bytes
    created: datetime
    retired: datetime | None = None

    def verifies(self, message: bytes, signature: bytes) -> bool:
        """Return whether the private half of this key signed the message."""
        try:
            Ed25519PublicKey.from_public_bytes(self.raw).verify(signature, message)
        except InvalidSignature:
            return False
        return True


class SigningKey:
    """What signs; the private half stays inside."""

    def __init__(self, private: Secret[bytes], public: PublicKey) -> None:
        self._private = Ed25519PrivateKey.from_private_bytes(private.reveal())
        self.public = public

    @property
    def key_id(self) -> str:
        """The name of the key: it follows from its public half."""
        return self.public.key_id

    def sign(self, message: bytes) -> bytes:
        """Return the signature of a message."""
        return self._private.sign(message)

    def __repr__(self) -> str:
        return f"SigningKey({self.key_id!r})"


class _Line(Part):
    key_id: str
    public: Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]
    created: str
    retired: str | None

    def key(self) -> PublicKey:
        raw = bytes.fromhex(self.public)
        if self.key_id != _key_id(raw):
            raise ValueError(f"{self.key_id} is not the name of its key")
        retired = None if self.retired is None else datetime.fromisoformat(self.retired)
        return PublicKey(self.key_id, raw, datetime.fromisoformat(self.created), retired)


class _Ring(Part):
    format: Literal["workbench-public-keys"] = "workbench-public-keys"
    version: Literal[1] = 1
    keys: Annotated[list[_Line], Field(min_length=1)]

    def text(self) -> bytes:
        return json.dumps(self.model_dump(mode="json"), indent=1, sort_keys=True).encode() + b"\n"


def public_path(vault: Path) -> Path:
    """Return where the public keys of a vault are."""
    return vault.with_suffix(".pub.json")


def signing_key(vault: Vault) -> SigningKey:
    """Return the key that signs, made on first use; its public half is kept beside the vault.

    Raises
    ------
    SecretError
        If the vault was edited, or the file beside it holds keys that the vault never had.
    """
    with lock(public_path(vault.path)):
        if NAME not in vault.names():
            if public_path(vault.path).exists():
                raise SecretError(
                    f"{public_path(vault.path)} holds public keys, but the vault no signing key.",
                    "Restore the vault from a backup; or move that file away, which ends every "
                    "permit signed so far.",
                )
            _keep(vault, [], replaces=False)
        private = _private(vault)
        ring = _ring(private)
        _publish(vault, ring)
        return SigningKey(_seed(private), ring.keys[-1].key())


def rotate_signing_key(vault: Vault) -> SigningKey:
    """Make a new signing key; the one before is destroyed, its public half kept as retired."""
    signing_key(vault)
    with lock(public_path(vault.path)):
        *retired, last = _ring(_private(vault)).keys
        now = stamp(vault.clock.now())
        _keep(vault, [*retired, last.model_copy(update={"retired": now})], replaces=True)
    return signing_key(vault)


def load_public_keys(path: Path) -> tuple[PublicKey, ...]:
    """Return every public key of a file, the retired ones too, the one in use last.

    Whoever can write the file decides which permits are good: let only its owner do so.

    Raises
    ------
    SecretError
        If the file cannot be read or is not one of public keys.
    """
    return tuple(line.key() for line in _read(path).keys)


def load_public_key(path: Path) -> PublicKey:
    """Return the public key in use; errors as of ``load_public_keys``."""
    return load_public_keys(path)[-1]


def _key_id(raw: bytes) -> str:
    return hashlib.sha256(raw).hexdigest()[:16]


def _private(vault: Vault) -> _Private:
    if not any(entry.kind == KIND for entry in vault.entries() if entry.name == NAME):
        raise SecretError(
            f"The vault holds something else than a signing key under {NAME!r}.",
            f"Keep it under another name, then `workbench keys remove {NAME}`.",
        )
    return cast("_Private", vault.get(NAME))


def _seed(private: _Private) -> Secret[bytes]:
    return Secret(bytes.fromhex(private.reveal()["private"]))


def _ring(private: _Private) -> _Ring:
    return _Ring.model_validate_json(private.reveal()["ring"])


def _keep(vault: Vault, retired: list[_Line], *, replaces: bool) -> None:
    key = Ed25519PrivateKey.generate()
    raw = key.public_key().public_bytes_raw()
    line = _Line(
        key_id=_key_id(raw), public=raw.hex(), created=stamp(vault.clock.now()), retired=None
    )
    # The public halves travel with the private one, so that one write of the vault changes both.
    ring = _Ring(keys=[*retired, line]).model_dump_json()
    held = Secret({"private": key.private_bytes_raw().hex(), "ring": ring})
    vault.add(NAME, KIND, held, replaces=replaces)


def _publish(vault: Vault, ring: _Ring) -> None:
    path = public_path(vault.path)
    if path.exists():
        found = _read(path)
        if found == ring:
            return
        strange = {line.public for line in found.keys} - {line.public for line in ring.keys}
        if strange:
            raise SecretError(
                f"{path} holds {len(strange)} public key(s) that the vault never had.",
                "Either the vault is an older copy (restore the newest) or somebody put them there "
                "(remove the file: it is made anew from the vault).",
            )
    write(path, ring.text(), PUBLIC)


def _read(path: Path) -> _Ring:
    try:
        ring = _Ring.model_validate_json(path.read_bytes())
        keys = [line.key() for line in ring.keys]
    except OSError as error:
        raise SecretError(
            f"The public keys {path} cannot be read ({error.strerror}).",
            "Copy the file from beside the vault, or run `workbench keys add signing --kind "
            "signing` where the vault is.",
        ) from error
    except (ValidationError, ValueError) as error:
        raise SecretError(
            f"{path} is not a file of public keys, or was edited: {str(error).splitlines()[0]}.",
            "Copy it again from beside the vault.",
        ) from error
    if keys[-1].retired or not all(key.retired for key in keys[:-1]):
        raise SecretError(
            f"{path} does not have exactly one key in use, as its last.",
            "Copy it again from beside the vault.",
        )
    return ring
