"""Overrides: a person's signed word, for a while, in the place of a gate."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import asdict, dataclass, replace
from datetime import datetime
from decimal import Decimal
from typing import Any, Final, Self

from workbench.core.vault import PublicKey, SigningKey
from workbench.evidence.stages import Stage
from workbench.store.canonical import canonical_json, plain

# A signature over an override must never pass for one over anything else.
_PURPOSE: Final = b"workbench override 1\n"


@dataclass(frozen=True, slots=True, kw_only=True)
class Override:
    """Who lets a strategy act as if it were in a stage, why, from when until when, with how much.

    ``signature`` is that of the vault's key ``key_id`` over everything else, in hexadecimal.
    """

    strategy_hash: str
    stage: Stage
    by: str
    reason: str
    since: datetime
    until: datetime
    capital_usdt: Decimal
    key_id: str = ""
    signature: str = ""

    def sign(self, key: SigningKey) -> Self:
        """Return it with the signature of a key."""
        named = replace(self, key_id=key.key_id)
        return replace(named, signature=key.sign(named._message()).hex())

    def is_signed(self, public_keys: Collection[PublicKey]) -> bool:
        """Return whether a key in use has signed exactly this."""
        return any(
            key.key_id == self.key_id
            and key.retired is None
            and key.verifies(self._message(), bytes.fromhex(self.signature))
            for key in public_keys
        )

    def to_dict(self) -> dict[str, Any]:
        """Return it as plain values."""
        return dict(plain(asdict(self)))

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Self:
        """Return the override that ``to_dict`` gave."""
        parsed = {
            "stage": Stage(values["stage"]),
            "since": datetime.fromisoformat(values["since"]),
            "until": datetime.fromisoformat(values["until"]),
            "capital_usdt": Decimal(values["capital_usdt"]),
        }
        return cls(**{**values, **parsed})

    def _message(self) -> bytes:
        return _PURPOSE + canonical_json({**asdict(self), "signature": ""}).encode()
