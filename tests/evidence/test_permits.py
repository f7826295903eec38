"""A permit is good for exactly what was signed, and everything else is refused by name (GR-09)."""

import base64
import json
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from workbench.core.clock import SimulatedClock
from workbench.core.errors import EvidenceError
from workbench.core.vault import Secret, Vault, load_public_keys, public_path, rotate_signing_key
from workbench.core.vault import signing_key as signing_key_of
from workbench.core.vault.cipher import Cost
from workbench.evidence.permits import Permit, check_permit, read_permit, sign_permit
from workbench.evidence.stages import PROFILES, REACHES, Stage, Venue, reach_of
from workbench.store.canonical import canonical_json

START = datetime(2025, 1, 1, tzinfo=UTC)
QUICK = Cost(passes=2, memory_kib=19_456, lanes=1)
PERMIT = Permit(
    permit_id="permit-3",
    serial=3,
    strategy="night_drift",
    strategy_hash="a" * 64,
    stage=Stage.PAPER_VALIDATION,
    capital_usdt=Decimal("1000.50"),
    is_synthetic_only=False,
    verdict_id="verdict-1",
    lock_hash="b" * 64,
    issued=START,
    expires=START + timedelta(days=30),
)
USE = {
    "revoked": frozenset(),
    "latest_serial": 3,
    "strategy_hash": "a" * 64,
    "venue": Venue.DEMO,
    "is_synthetic_market": False,
    "capital_usdt": Decimal(1000),
    "lock_hash": "b" * 64,
}


def make_vault(folder):
    clock = SimulatedClock(START)
    passphrase = Secret("correct horse battery staple")
    return Vault.open(
        folder / "vault.json", passphrase=passphrase, create=True, clock=clock, cost=QUICK
    )


@pytest.fixture(scope="module")
def signer(tmp_path_factory):
    return signing_key_of(make_vault(tmp_path_factory.mktemp("vault")))


@pytest.fixture(scope="module")
def document(signer):
    return sign_permit(PERMIT, signer)


def check(document, signer, *, after=timedelta(days=1), **changes):
    clock = SimulatedClock(START + after)
    keys = changes.pop("public_keys", [signer.public])
    return check_permit(document, public_keys=keys, clock=clock, **{**USE, **changes})


def test_permit_that_fits_is_returned_as_it_was_signed(document, signer):
    permit = check(document, signer)
    assert permit == replace(PERMIT, key_id=signer.key_id)
    assert permit.capital_usdt == Decimal("1000.50")
    assert not permit.is_reduce_only
    assert check(document.encode(), signer) == permit
    assert check(document, signer, lock_hash=None) == permit


def test_same_permit_is_always_the_same_text(document, signer):
    there = START.astimezone(datetime.strptime("+0800", "%z").tzinfo)
    assert sign_permit(replace(PERMIT, issued=there), signer) == document
    assert canonical_json(json.loads(document)) == document


REFUSED = {
    "revoked": ({"revoked": {"permit-3"}}, "was revoked"),
    "old permit replayed": ({"latest_serial": 4}, "superseded by number 4"),
    "not on record": ({"latest_serial": 2}, "only 2 are on record"),
    "other strategy": ({"strategy_hash": "c" * 64}, "for the code and parameters a{12}, not c{12}"),
    "venue above the stage": ({"venue": Venue.MAINNET}, "may trade on demo, simulator_live, not"),
    "venue below the stage": ({"venue": Venue.SIMULATOR}, "not simulator"),
    "other lock": ({"lock_hash": "d" * 64}, "package lock b{12}, and d{12} runs"),
    "too much": ({"capital_usdt": Decimal("1000.51")}, "up to 1000.50 USDT, not 1000.51"),
    "less than nothing": ({"capital_usdt": Decimal(-1)}, "not -1"),
    "expired": ({"after": timedelta(days=30)}, "expired at 2025-01-31 00:00:00 UTC"),
    "unknown key": ({"public_keys": []}, "not known here"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_permit_that_does_not_fit_is_refused_by_name(document, signer, case):
    changes, words = REFUSED[case]
    with pytest.raises(EvidenceError, match=words):
        check(document, signer, **changes)


def test_permit_is_good_from_its_start_until_just_before_its_end(signer):
    later = sign_permit(replace(PERMIT, issued=START + timedelta(hours=1)), signer)
    with pytest.raises(EvidenceError, match="not yet valid"):
        check(later, signer, after=timedelta(hours=1) - timedelta(microseconds=1))
    assert check(later, signer, after=timedelta(hours=1))
    assert check(later, signer, after=timedelta(days=30) - timedelta(microseconds=1))


def test_permit_to_the_last_cent_is_good(document, signer):
    assert check(document, signer, capital_usdt=Decimal("1000.5"))


def test_evidence_from_a_synthetic_market_counts_on_a_synthetic_market_only(signer):
    document = sign_permit(replace(PERMIT, stage=Stage.RESEARCH, is_synthetic_only=True), signer)
    assert check(document, signer, venue=Venue.SIMULATOR, is_synthetic_market=True)
    with pytest.raises(EvidenceError, match="synthetic market only"):
        check(document, signer, venue=Venue.SIMULATOR)


def test_forged_signature_is_refused(document, signer, tmp_path):
    forger = signing_key_of(make_vault(tmp_path))
    theirs, ours = json.loads(sign_permit(PERMIT, forger)), json.loads(document)
    forged = canonical_json({**ours, "signature": theirs["signature"]})
    richer = canonical_json({**ours, "payload": {**ours["payload"], "capital_usdt": "1000000"}})
    short = canonical_json({**ours, "signature": base64.b64encode(b"x").decode()})
    for text in (forged, richer, short):
        with pytest.raises(EvidenceError, match="forged, or the permit was edited"):
            check(text, signer)
    with pytest.raises(EvidenceError, match="not known here"):
        check(canonical_json(theirs), signer)


def test_signature_of_something_else_is_not_one_of_a_permit(document, signer):
    payload = json.loads(document)["payload"]
    signature = base64.b64encode(signer.sign(canonical_json(payload).encode())).decode()
    with pytest.raises(EvidenceError, match="forged"):
        check(canonical_json({"payload": payload, "signature": signature}), signer)


def test_permit_of_a_retired_key_is_refused_though_its_signature_is_good(tmp_path):
    vault = make_vault(tmp_path)
    first = signing_key_of(vault)
    old = sign_permit(PERMIT, first)
    second = rotate_signing_key(vault)
    keys = load_public_keys(public_path(vault.path))
    with pytest.raises(EvidenceError, match=f"{first.key_id}, retired on 2025-01-01"):
        check(old, first, public_keys=keys)
    assert check(sign_permit(PERMIT, second), second, public_keys=keys)


@given(data=st.data())
def test_any_byte_of_a_permit_changed_is_refused(document, signer, data):
    whole = document.encode()
    at = data.draw(st.integers(0, len(whole) - 1))
    new = data.draw(st.integers(0, 255).filter(lambda byte: byte != whole[at]))
    with pytest.raises(EvidenceError):
        check(whole[:at] + bytes([new]) + whole[at + 1 :], signer)


@given(data=st.data())
def test_permit_cut_lengthened_or_spaced_is_refused(document, signer, data):
    start = data.draw(st.integers(0, len(document)))
    end = data.draw(st.integers(start, len(document)))
    middle = data.draw(st.text(max_size=3))
    text = document[:start] + middle + document[end:]
    if text != document:
        with pytest.raises(EvidenceError):
            check(text, signer)


@given(text=st.one_of(st.text(), st.binary()))
def test_anything_that_is_no_permit_is_refused_as_malformed(signer, text):
    with pytest.raises(EvidenceError, match="malformed"):
        check(text, signer)


@pytest.mark.parametrize(
    "text",
    [
        "[" * 100_000,
        '{"payload":{},"signature":1}',
        '{"payload":[],"signature":""}',
        '{"payload":{"a":NaN},"signature":""}',
        '{"payload":{"a":' + "9" * 5000 + '},"signature":""}',
        '{"payload":{"a":"\ud800"},"signature":""}',
        '{"payload":{},"payload":{},"signature":""}',
    ],
)
def test_hostile_text_is_refused_as_malformed(signer, text):
    with pytest.raises(EvidenceError, match="malformed"):
        check(text, signer)


def sign_payload(signer, **changes):
    payload = json.loads(sign_permit(PERMIT, signer))["payload"]
    payload = {name: value for name, value in {**payload, **changes}.items() if value != "drop"}
    message = b"workbench permit 1\n" + canonical_json(payload).encode()
    signature = base64.b64encode(signer.sign(message)).decode()
    return canonical_json({"payload": payload, "signature": signature})


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"serial": "drop"}, "lacks or adds serial"),
        ({"more": 1}, "lacks or adds more"),
        ({"stage": "HEAVEN"}, "does not fit"),
        ({"capital_usdt": "much"}, "does not fit"),
        ({"issued": 7}, "does not fit"),
        ({"capital_usdt": "NaN"}, "cannot have NaN as capital_usdt"),
        ({"issued": "2025-01-01T00:00:00"}, "without a zone"),
    ],
)
def test_signed_payload_that_is_no_permit_is_refused(signer, changes, words):
    with pytest.raises(EvidenceError, match=words):
        read_permit(sign_payload(signer, **changes), public_keys=[signer.public])


@pytest.mark.parametrize(
    "changes",
    [
        {"permit_id": ""},
        {"strategy": "a b"},
        {"strategy_hash": 7},
        {"serial": 0},
        {"serial": True},
        {"serial": 1.0},
        {"is_synthetic_only": 1},
        {"capital_usdt": Decimal("Infinity")},
        {"capital_usdt": Decimal(-1)},
        {"capital_usdt": 1000.5},
        {"expires": START},
        {"issued": START.replace(tzinfo=None)},
        {"stage": Stage.UNDER_REVIEW},
        {"stage": Stage.UNDER_REVIEW, "before": Stage.RETIRED},
        {"stage": Stage.UNDER_REVIEW, "before": Stage.UNDER_REVIEW},
        {"before": Stage.RESEARCH},
        {"before": Stage.RETIRED},
    ],
)
def test_permit_with_a_value_that_does_not_fit_cannot_be_made(changes):
    with pytest.raises(EvidenceError):
        replace(PERMIT, **changes)


MAY = {
    Stage.RESEARCH: {Venue.SIMULATOR, Venue.SIMULATOR_LIVE},
    Stage.PAPER_VALIDATION: {Venue.SIMULATOR_LIVE, Venue.DEMO},
    Stage.LIVE_CANDIDATE: {Venue.DEMO, Venue.TESTNET},
    Stage.LIVE_TRADING: {Venue.MAINNET},
    Stage.RETIRED: set(),
}


@pytest.mark.parametrize("venue", Venue)
@pytest.mark.parametrize("stage", MAY)
def test_stage_decides_where_a_permit_is_good(signer, stage, venue):
    document = sign_permit(replace(PERMIT, stage=stage), signer)
    if venue in MAY[stage]:
        assert check(document, signer, venue=venue).stage is stage
    else:
        with pytest.raises(EvidenceError, match=f"is for the stage {stage}"):
            check(document, signer, venue=venue)


@pytest.mark.parametrize("before", [stage for stage in MAY if stage is not Stage.RETIRED])
def test_strategy_under_review_stays_where_it_was_to_close_only(signer, before):
    permit = replace(PERMIT, stage=Stage.UNDER_REVIEW, before=before)
    assert permit.reach.venues == MAY[before]
    assert permit.is_reduce_only
    assert not reach_of(before).is_reduce_only
    document = sign_permit(permit, signer)
    assert check(document, signer, venue=min(MAY[before])).before is before


def test_every_venue_has_a_profile_and_only_mainnet_is_live():
    assert set(PROFILES) == set(Venue)
    assert [venue for venue, profile in PROFILES.items() if profile == "live"] == [Venue.MAINNET]
    assert {stage for stage, reach in REACHES.items() if "live" in reach.profiles} == {
        Stage.LIVE_TRADING
    }
    assert set(REACHES) == set(Stage) - {Stage.UNDER_REVIEW}
