"""Permits: signed, expiring statements that a strategy may trade at a stage with some capital.

A permit is a text, ``{"payload": {...}, "signature": "<base64>"}``, in canonical JSON; the Ed25519
signature covers the payload. Whoever holds the public keys can check it (``check_permit``); only
the vault can sign one (``sign_permit``). What is issued and what is revoked is kept by the caller.
"""

from __future__ import annotations

import base64
import json
import re
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, fields, replace
from datetime import datetime
from decimal import Decimal, DecimalException
from itertools import chain
from typing import Any, Final, Self, cast

from workbench.core.clock import Clock
from workbench.core.errors import EvidenceError
from workbench.core.vault import PublicKey, SigningKey
from workbench.evidence.stages import Reach, Stage, Venue, reach_of
from workbench.store.canonical import canonical_json, utc

# A signature over a permit must never pass for one over anything else.
_PURPOSE: Final = b"workbench permit 1\n"
_TEXTS: Final = ("permit_id", "strategy", "strategy_hash", "verdict_id", "lock_hash", "key_id")
_WORD: Final = re.compile(r"[\x21-\x7e]{1,200}")
_Faults = Iterator[tuple[str, str]]
_ASK_AGAIN: Final = "Have a permit issued for what runs now (`workbench stage show`)."


@dataclass(frozen=True, kw_only=True)
class Permit:
    """What is permitted: which code, at which stage, with how much, on which evidence, how long.

    Parameters
    ----------
    permit_id : str
        Name of this permit; revocations name it.
    serial : int
        Counts the permits of one strategy, from 1; only the latest is good.
    strategy, strategy_hash : str
        Name of the strategy, and the hash of its code, parameters and fitted model.
    stage, before : Stage, Stage or None
        The stage, and with UNDER_REVIEW only the stage before it.
    capital_usdt : Decimal
        The most that the strategy may use, in USDT.
    is_synthetic_only : bool
        Whether the evidence is from a synthetic market and counts on such a one only.
    verdict_id, lock_hash : str
        The evidence, and the hash of the locked packages under which it was found.
    issued, expires : datetime
        Good from the first moment until just before the second, UTC.
    key_id : str
        The key that signs; ``sign_permit`` fills it in.

    Raises
    ------
    EvidenceError
        If a value does not fit.
    """

    permit_id: str
    serial: int
    strategy: str
    strategy_hash: str
    stage: Stage
    before: Stage | None = None
    capital_usdt: Decimal
    is_synthetic_only: bool
    verdict_id: str
    lock_hash: str
    issued: datetime
    expires: datetime
    key_id: str = "-"

    def __post_init__(self) -> None:
        for problem in self._problems():
            raise EvidenceError(f"A permit cannot have {problem}.", "Correct it and issue it anew.")
        object.__setattr__(self, "issued", utc(self.issued))
        object.__setattr__(self, "expires", utc(self.expires))
        reach_of(self.stage, self.before)

    @property
    def reach(self) -> Reach:
        """Where the strategy may trade, and whether only to close."""
        return reach_of(self.stage, self.before)

    @property
    def is_reduce_only(self) -> bool:
        """Whether the strategy may only close what it holds."""
        return self.reach.is_reduce_only

    @classmethod
    def from_payload(cls, payload: Mapping[str, Any]) -> Self:
        """Return the permit of a payload, refusing everything that is not exactly one."""
        odd = sorted(set(payload) ^ {field.name for field in fields(cls)})
        if odd:
            raise _malformed(f"it lacks or adds {', '.join(odd)[:200]}")
        before = payload["before"]
        try:
            parsed = {
                "stage": Stage(payload["stage"]),
                "before": None if before is None else Stage(before),
                "capital_usdt": Decimal(payload["capital_usdt"]),
                "issued": datetime.fromisoformat(payload["issued"]),
                "expires": datetime.fromisoformat(payload["expires"]),
            }
            return cls(**{**payload, **parsed})
        except (ValueError, TypeError, DecimalException) as error:
            raise _malformed(f"a value does not fit ({type(error).__name__})") from error

    def _problems(self) -> Iterator[str]:
        for name in _TEXTS:
            value = getattr(self, name)
            if not isinstance(value, str) or not _WORD.fullmatch(value):
                yield f"{value!r:.80} as {name}"
        for name, kind in (("serial", int), ("is_synthetic_only", bool), ("capital_usdt", Decimal)):
            if type(getattr(self, name)) is not kind or (kind is int and self.serial < 1):
                yield f"{getattr(self, name)!r:.80} as {name}"
        if not self.capital_usdt.is_finite() or self.capital_usdt < 0:
            yield f"{self.capital_usdt} as capital_usdt"
        if self.issued.tzinfo is None or self.expires.tzinfo is None:
            yield "times without a zone"
        elif self.expires <= self.issued:
            yield f"its end, {self.expires}, before its start, {self.issued}"


def sign_permit(permit: Permit, key: SigningKey) -> str:
    """Return the document of a permit, signed; its ``key_id`` becomes that of the key."""
    payload = _payload(replace(permit, key_id=key.key_id))
    signature = key.sign(_message(payload))
    return canonical_json(
        {"payload": payload, "signature": base64.b64encode(signature).decode("ascii")}
    )


def read_permit(document: str | bytes, *, public_keys: Collection[PublicKey]) -> Permit:
    """Return the permit of a document that a key in use has signed, whatever it permits.

    Raises
    ------
    EvidenceError
        If the document is malformed, its key unknown or retired, or its signature forged.
    """
    payload, signature = _parse(document)
    key_id = payload.get("key_id")
    key = next((key for key in public_keys if key.key_id == key_id), None)
    if key is None:
        raise EvidenceError(
            f"The permit names the key {key_id!r:.80}, which is not known here.",
            "Copy the public keys from beside the vault that issues permits.",
        )
    if not key.verifies(_message(payload), signature):
        raise EvidenceError(
            "The signature of the permit is forged, or the permit was edited.",
            "Take the document as it was issued.",
        )
    if key.retired is not None:
        # Whenever it says it was issued: whoever stole the old key can write any date.
        raise EvidenceError(
            f"The permit is signed by the key {key.key_id}, retired on {key.retired:%Y-%m-%d}.",
            "Have it issued anew under the key in use.",
        )
    return Permit.from_payload(payload)


def check_permit(
    document: str | bytes,
    *,
    public_keys: Collection[PublicKey],
    revoked: Collection[str],
    latest_serial: int,
    clock: Clock,
    strategy_hash: str,
    venue: Venue,
    is_synthetic_market: bool,
    capital_usdt: Decimal,
    lock_hash: str | None = None,
) -> Permit:
    """Return the permit of a document if it is good for this use at this moment.

    Parameters
    ----------
    document : str or bytes
        What ``sign_permit`` returned.
    public_keys : collection of PublicKey
        Every key of the vault, as ``load_public_keys`` reads them.
    revoked, latest_serial : collection of str, int
        The ``permit_id`` of each permit that was taken back, and the serial of the newest one on
        record for this strategy.
    clock, strategy_hash : Clock, str
        The moment of the check, and the strategy that is loaded.
    venue, is_synthetic_market : Venue, bool
        Where the order would go, and whether the market there is a synthetic one.
    capital_usdt : Decimal
        How much is to be used, in USDT.
    lock_hash : str or None
        The locked packages that run; None does not compare them.

    Raises
    ------
    EvidenceError
        If the document is malformed or forged, its key unknown or retired, or the permit revoked,
        superseded, not on record, expired, not yet valid, for another strategy, venue, market or
        package lock, or for less capital.
    """
    permit = read_permit(document, public_keys=public_keys)
    for what, fix in chain(
        _faults_of_standing(permit, revoked, latest_serial, clock.now()),
        _faults_of_code(permit, strategy_hash, lock_hash),
        _faults_of_use(permit, venue, is_synthetic_market, capital_usdt),
    ):
        raise EvidenceError(f"Permit {permit.permit_id} of {permit.strategy} {what}.", fix)
    return permit


def _faults_of_standing(
    permit: Permit, revoked: Collection[str], latest_serial: int, now: datetime
) -> _Faults:
    if permit.permit_id in revoked:
        yield "was revoked", _ASK_AGAIN
    if permit.serial < latest_serial:
        yield f"is number {permit.serial} and was superseded by number {latest_serial}", _ASK_AGAIN
    if permit.serial > latest_serial:
        yield (
            f"is number {permit.serial}, but only {latest_serial} are on record here",
            "Bring the store up to date: an older copy of it may be in use.",
        )
    if now < permit.issued:
        yield (
            f"is not yet valid: it begins {permit.issued:%Y-%m-%d %H:%M:%S} UTC, and it is "
            f"{now:%Y-%m-%d %H:%M:%S}",
            "Wait, or set the clock of this machine right.",
        )
    if now >= permit.expires:
        yield f"expired at {permit.expires:%Y-%m-%d %H:%M:%S} UTC", _ASK_AGAIN


def _faults_of_code(permit: Permit, strategy_hash: str, lock_hash: str | None) -> _Faults:
    if permit.strategy_hash != strategy_hash:
        yield (
            f"is for the code and parameters {permit.strategy_hash:.12}, not {strategy_hash:.12}",
            "Load what was validated, or validate what is loaded.",
        )
    if lock_hash is not None and permit.lock_hash != lock_hash:
        yield (
            f"was earned under the package lock {permit.lock_hash:.12}, and {lock_hash:.12} runs",
            "Install the locked packages, or validate under these.",
        )


def _faults_of_use(
    permit: Permit, venue: Venue, is_synthetic_market: bool, capital_usdt: Decimal
) -> _Faults:
    if venue not in permit.reach.venues:
        allowed = ", ".join(sorted(permit.reach.venues)) or "nothing"
        yield (
            f"is for the stage {permit.stage}, which may trade on {allowed}, not {venue}",
            "Trade there, or promote the strategy first.",
        )
    if permit.is_synthetic_only and not is_synthetic_market:
        yield "is good on a synthetic market only: its evidence is", "Earn a verdict on real data."
    if not 0 <= capital_usdt <= permit.capital_usdt:
        yield (
            f"is for up to {permit.capital_usdt} USDT, not {capital_usdt}",
            "Lower account.capital_usdt, or have the capital scaled.",
        )


def _payload(permit: Permit) -> dict[str, Any]:
    plain = {field.name: getattr(permit, field.name) for field in fields(permit)}
    return cast("dict[str, Any]", json.loads(canonical_json(plain)))


def _message(payload: Mapping[str, Any]) -> bytes:
    return _PURPOSE + canonical_json(payload).encode()


def _parse(document: str | bytes) -> tuple[dict[str, Any], bytes]:
    try:
        text = document.decode() if isinstance(document, bytes) else document
        whole = json.loads(text)
        if not isinstance(whole, dict) or set(whole) != {"payload", "signature"}:
            raise _malformed("it does not have exactly a payload and a signature")
        signature = base64.b64decode(whole["signature"], validate=True)
        # One permit has one text: other spaces, orders, escapes or paddings are not let through.
        again = {**whole, "signature": base64.b64encode(signature).decode("ascii")}
        if not isinstance(whole["payload"], dict) or canonical_json(again) != text:
            raise _malformed("it is not written as it was issued")
        text.encode()
    except (ValueError, TypeError, RecursionError) as error:
        raise _malformed(f"it is no such text ({type(error).__name__})") from error
    return whole["payload"], signature


def _malformed(why: str) -> EvidenceError:
    return EvidenceError(f"The permit is malformed: {why}.", "Take the document as it was issued.")
