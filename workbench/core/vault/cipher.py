"""The cryptography of the vault: argon2id for the passphrase, AES-256-GCM for everything else."""

from __future__ import annotations

import hashlib
import hmac
import json
import os
from typing import TYPE_CHECKING, Annotated, Final, cast

from argon2.exceptions import HashingError
from argon2.low_level import Type, hash_secret_raw
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF
from pydantic import BaseModel, ConfigDict, Field

from workbench.core.errors import SecretError
from workbench.core.vault.secret import AnySecret, Secret

KEY_BYTES: Final = 32
NONCE_BYTES: Final = 12
SALT_BYTES: Final = 16
_BYTES: Final = b"b"
_TEXTS: Final = b"m"

if TYPE_CHECKING:
    from collections.abc import Mapping

Hex = Annotated[str, Field(pattern=r"^([0-9a-f]{2})+$")]


class Part(BaseModel):
    """A part of a file: nothing unknown in it, nothing converted, and never quoted in errors."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, hide_input_in_errors=True)


class Cost(Part):
    """What one guess of the passphrase costs.

    The default is the second choice of RFC 9106, section 4 (64 MiB, three passes, four lanes):
    about 0.2 s. The bounds refuse a file that would be cheap to guess or would exhaust the memory.
    """

    passes: int = Field(default=3, ge=2, le=32)
    memory_kib: int = Field(default=65_536, ge=19_456, le=1_048_576)
    lanes: int = Field(default=4, ge=1, le=16)


class Sealed(Part):
    """Encrypted bytes with their nonce, both as hexadecimal text."""

    nonce: Annotated[str, Field(pattern=r"^[0-9a-f]{24}$")]
    text: Hex


class Cipher:
    """One AES-256-GCM key; what it is stays inside."""

    def __init__(self, key: Secret[bytes]) -> None:
        self._cipher = AESGCM(key.reveal())

    def seal(self, secret: Secret[bytes], context: bytes) -> Sealed:
        """Encrypt under a fresh nonce; only the same context opens it again."""
        nonce = os.urandom(NONCE_BYTES)
        text = self._cipher.encrypt(nonce, secret.reveal(), context)
        return Sealed(nonce=nonce.hex(), text=text.hex())

    def unseal(self, sealed: Sealed, context: bytes) -> Secret[bytes] | None:
        """Decrypt, or return None if key, context or bytes are not those of ``seal``."""
        nonce, text = bytes.fromhex(sealed.nonce), bytes.fromhex(sealed.text)
        try:
            return Secret(self._cipher.decrypt(nonce, text, context))
        except InvalidTag:
            return None


def draw_key() -> Secret[bytes]:
    """Return a new random key."""
    return Secret(os.urandom(KEY_BYTES))


def stretch(passphrase: Secret[str], salt: bytes, cost: Cost) -> Cipher:
    """Return the cipher of a passphrase, made slow to guess by argon2id."""
    try:
        return Cipher(
            Secret(
                hash_secret_raw(
                    # Bytes of a variable that are no UTF-8 come as surrogates.
                    passphrase.reveal().encode("utf-8", "surrogatepass"),
                    salt,
                    time_cost=cost.passes,
                    memory_cost=cost.memory_kib,
                    parallelism=cost.lanes,
                    hash_len=KEY_BYTES,
                    type=Type.ID,
                )
            )
        )
    except HashingError as error:
        reason = str(error)
    raise SecretError(
        f"The passphrase could not be stretched: {reason}.",
        f"Opening the vault needs {cost.memory_kib // 1024} MiB of free memory.",
    )


def branch(key: Secret[bytes], purpose: str) -> Secret[bytes]:
    """Return the key of one purpose, by HKDF-SHA256."""
    return Secret(HKDF(SHA256(), KEY_BYTES, salt=None, info=purpose.encode()).derive(key.reveal()))


def fingerprint(key: Secret[bytes], secret: Secret[bytes]) -> str:
    """Return 16 hexadecimal digits that tell secrets apart; no guess is tested without the key."""
    return hmac.new(key.reveal(), secret.reveal(), hashlib.sha256).hexdigest()[:16]


def encode(secret: AnySecret) -> Secret[bytes]:
    """Return a secret as bytes that ``decode`` reads back."""
    if isinstance(secret.reveal(), bytes):
        return Secret(_BYTES + cast("bytes", secret.reveal()))
    if not _is_text(secret):
        raise SecretError(
            "A secret holds something else than text.", "Give bytes, or texts by their names."
        )
    return Secret(_TEXTS + json.dumps(secret.reveal(), sort_keys=True).encode())


def decode(secret: Secret[bytes]) -> AnySecret:
    """Return the secret that was encoded."""
    if secret.reveal().startswith(_BYTES):
        return Secret(secret.reveal()[1:])
    return Secret(json.loads(secret.reveal()[1:]))


def _is_text(secret: AnySecret) -> bool:
    pairs = cast("Mapping[object, object]", secret.reveal()).items()
    return all(isinstance(part, str) for pair in pairs for part in pair)
