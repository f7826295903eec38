"""The red team: whoever wants a permit that was not earned, or more of one, is refused by name.

Real pieces throughout: a run of a notebook that is sealed, the verdict that it declares, the book,
the vault's key, and the check that reads the sealed run.
"""

import base64
import json
import shutil
import sqlite3
from contextlib import contextmanager
from decimal import Decimal

import pytest

from tests.evidence.scene import (
    NAME,
    edit_event,
    graduate,
    hash_now,
    write_project,
)
from tests.lifecycle.scene import make_key
from workbench.core.clock import SimulatedClock, SystemClock
from workbench.core.errors import EvidenceError
from workbench.evidence.stages import Venue
from workbench.evidence.verdicts import ID_LENGTH, Verdict
from workbench.jobs.verify import check_run
from workbench.lifecycle import Book, admit, admit_to_paper, enter, retire
from workbench.lifecycle.grounds import record_probe
from workbench.store import Store
from workbench.store.canonical import canonical_json


@pytest.fixture(scope="module")
def origin(tmp_path_factory):
    """A project whose strategy has a verdict; it is put back as it was after each attack."""
    patch = pytest.MonkeyPatch()
    home = tmp_path_factory.mktemp("redteam")
    patch.chdir(home)
    patch.setenv("WORKBENCH_DATA_DIR", str(home / "data"))
    write_project(home, patch)
    done = graduate(home)
    key = make_key(home, SystemClock())
    with opened(key) as book:
        enter(book, NAME, hash_now(home), actor="t", capital_usdt=Decimal(1000))
    kept = tmp_path_factory.mktemp("kept") / "home"
    shutil.copytree(home, kept)
    yield home, kept, done, key
    patch.undo()


@pytest.fixture
def scene(origin, monkeypatch):
    home, kept, done, key = origin
    monkeypatch.chdir(home)
    yield home, done, key
    for part in ("data", "strategies"):
        shutil.rmtree(home / part)
        shutil.copytree(kept / part, home / part)


@contextmanager
def opened(key, *, clock=None):
    with Store.open() as store:
        yield Book(store, key=key, clock=clock)


def place_of(home):
    return home / "data" / "workbench.db"


def promote(scene, strategy_hash=None):
    home, _, key = scene
    with opened(key) as book:
        return admit_to_paper(
            book, strategy_hash or hash_now(home), actor="mallory", check_run=check_run
        )


def trade(scene, *, strategy_hash=None, clock=None, document=None, key=None):
    home, _, own = scene
    with opened(own, clock=clock) as book:
        return admit(
            book, strategy_hash or hash_now(home), public_keys=[(key or own).public],
            venue=Venue.DEMO, is_synthetic_market=False, capital_usdt=Decimal(1000),
            document=document,
        )  # fmt: skip


def refused(words, attack, *arguments, **options):
    with pytest.raises(EvidenceError, match=words):
        attack(*arguments, **options)


def enter_as(scene, strategy_hash):
    """A changed strategy enters RESEARCH by itself, as anybody's may."""
    with opened(scene[2]) as book:
        record_probe(book.store, strategy_hash, {"leaks": 0}, actor="mallory")
        enter(book, NAME, strategy_hash, actor="mallory", capital_usdt=Decimal(1000))


def test_redteam_the_honest_way_is_open(scene):
    """Without this nothing below would mean anything."""
    assert promote(scene).stage == "PAPER_VALIDATION"
    assert trade(scene).strategy == NAME


@pytest.mark.parametrize(
    ("file", "old", "new"),
    [("mine.py", "SIZE = 0.5", "SIZE = 0.6"), ("mine_scale.py", "1.0", "1.1")],
)
def test_redteam_changes_one_constant(scene, file, old, new):
    """In the strategy, and in a module that it imports: another hash, without evidence."""
    home, *_ = scene
    before = hash_now(home)
    with opened(scene[2]) as book:
        permit = book.standing(before).permit.document
    promote(scene)
    path = home / "strategies" / file
    path.write_text(path.read_text().replace(old, new))
    after = hash_now(home)

    assert after != before
    refused(f"No strategy with the hash {after[:12]} is in any stage", trade, scene)
    enter_as(scene, after)
    refused(f"there is one for {before[:12]}: code or parameters have changed", promote, scene)
    words = f"is for the code and parameters {before[:12]}, not {after[:12]}"
    refused(words, trade, scene, document=permit)


def test_redteam_swaps_parameters(scene):
    home, *_ = scene
    other = hash_now(home, horizon=12)
    enter_as(scene, other)

    refused("code or parameters have changed since", promote, scene, other)


def test_redteam_swaps_parameters_in_the_row_of_the_run(scene):
    home, done, _ = scene
    with sqlite3.connect(place_of(home)) as database:
        database.execute("DROP TRIGGER runs_refuse_update")
        database.execute("UPDATE runs SET params = ?", ('{"HORIZON":12,"SEED":7}',))

    words = f"The run {done.run_id} is not what was sealed: the store's row of the run, params"
    refused(words, promote, scene)


def test_redteam_replays_an_old_permit(scene):
    home, _, key = scene
    with opened(key) as book:
        old = book.standing(hash_now(home)).permit.document
    promote(scene)

    refused("is number 1 and was superseded by number 2", trade, scene, document=old)


def test_redteam_replays_the_permit_of_what_was_retired(scene):
    home, _, key = scene
    promote(scene)
    with opened(key) as book:
        good = book.standing(hash_now(home)).permit.document
        retire(book, hash_now(home), actor="ada", reason="it is over")

    refused("was revoked", trade, scene, document=good)


def test_redteam_uses_an_expired_permit(scene):
    expires = promote(scene).permit.expires

    refused(f"expired at {expires:%Y-%m-%d}", trade, scene, clock=SimulatedClock(expires))


@pytest.mark.parametrize(
    "change",
    [
        {"stage": "LIVE_TRADING"},
        {"capital_usdt": "1000000"},
        {"expires": "2099-01-01T00:00:00+00:00"},
    ],
)
def test_redteam_edits_a_permit(scene, change):
    whole = json.loads(promote(scene).permit.document)
    whole["payload"] |= change

    refused("forged, or the permit was edited", trade, scene, document=canonical_json(whole))


def test_redteam_forges_a_signature(scene, tmp_path):
    theirs = make_key(tmp_path, SystemClock())
    whole = json.loads(promote(scene).permit.document)
    purpose = b"workbench permit 1\n" + canonical_json(whole["payload"]).encode()
    whole["signature"] = base64.b64encode(theirs.sign(purpose)).decode()
    refused("signature of the permit is forged", trade, scene, document=canonical_json(whole))

    whole["payload"]["key_id"] = theirs.key_id
    signed = b"workbench permit 1\n" + canonical_json(whole["payload"]).encode()
    whole["signature"] = base64.b64encode(theirs.sign(signed)).decode()
    refused("names the key .* not known here", trade, scene, document=canonical_json(whole))


def test_redteam_edits_a_row_of_the_ledger(scene):
    """A trial that would count against the result is made to look like another one."""
    with sqlite3.connect(place_of(scene[0])) as database:
        database.execute("DROP TRIGGER trials_refuse_update")
        database.execute("UPDATE trials SET family = 'other' WHERE trial_id = 1")

    refused("ledger is broken at trial 1: its content is not as written", promote, scene)


def test_redteam_takes_a_row_out_of_the_ledger(scene):
    with sqlite3.connect(place_of(scene[0])) as database:
        database.execute("DROP TRIGGER trials_refuse_delete")
        database.execute("DELETE FROM trials WHERE trial_id = 1")

    refused("ledger is broken at trial 1", promote, scene)


def test_redteam_edits_an_output_cell(scene):
    _, done, _ = scene
    notebook = json.loads(done.path.read_text())
    for output in notebook["cells"][-1]["outputs"]:
        for measures in output.get("data", {}).values():
            if isinstance(measures, dict) and "sharpe" in measures:
                measures["sharpe"] = 9.0
    done.path.write_text(json.dumps(notebook))

    refused("cell 2: its output is not what was sealed: it was edited", promote, scene)


def test_redteam_edits_an_output_cell_and_its_seal(scene):
    """The digest of the seal stands in the store: one cannot be changed without the other."""
    _, done, _ = scene
    notebook = json.loads(done.path.read_text())
    notebook["metadata"]["workbench"]["seal"]["measures"]["sharpe"] = 9.0
    done.path.write_text(json.dumps(notebook))

    refused("the seal: it is not the one that the store recorded", promote, scene)


def worse(verdict):
    verdict["measures"]["max_statistic_p"] = 0.001


def test_redteam_edits_a_verdict(scene):
    edit_event(place_of(scene[0]), "verdict", lambda detail: worse(detail["verdict"]))

    refused("The verdict .* was changed after it was recorded", promote, scene)


def test_redteam_edits_a_verdict_and_its_digest(scene):
    """The run that found it declares another digest."""
    found = {}

    def change(detail):
        worse(detail["verdict"])
        detail["digest"] = Verdict.from_dict(detail["verdict"]).digest
        found["id"] = detail["digest"][:ID_LENGTH]

    edit_event(place_of(scene[0]), "verdict", change)

    words = f"The run {scene[1].run_id} does not declare the verdict {found['id']} as its own"
    refused(words, promote, scene)


def test_redteam_edits_a_verdict_its_digest_and_the_row_of_the_run(scene):
    """The seal declares another digest still."""
    home, done, _ = scene
    found = {}

    def change(detail):
        worse(detail["verdict"])
        found["digest"] = detail["digest"] = Verdict.from_dict(detail["verdict"]).digest

    edit_event(place_of(home), "verdict", change)
    with sqlite3.connect(place_of(home)) as database:
        database.execute("DROP TRIGGER runs_refuse_update")
        measures = {**done.measures, "verdict.digest": found["digest"]}
        database.execute("UPDATE runs SET measures = ?", (json.dumps(measures),))

    refused("the store's row of the run, measures: it is not what was sealed", promote, scene)


def test_redteam_edits_a_stage(scene):
    promote(scene)
    edit_event(
        place_of(scene[0]), "stage",
        lambda detail: detail["detail"]["state"].update(stage="LIVE_TRADING"),
    )  # fmt: skip

    refused("Entry 2 of the book of stages is not as it was written", trade, scene)


def test_redteam_writes_a_stage_of_its_own(scene):
    """Whoever can write the store can chain an entry; the permit in it is still not signed."""
    home, _, key = scene
    mine = hash_now(home)
    with opened(key) as book:
        old = book.standing(mine)
        forged = json.loads(old.permit.document)
        forged["payload"] |= {"stage": "PAPER_VALIDATION", "serial": 2}
        permit = {
            "permit_id": "x", "serial": 2, "stage": "PAPER_VALIDATION",
            "expires": forged["payload"]["expires"], "document": canonical_json(forged),
        }  # fmt: skip
        book.append("move", old, actor="mallory", reason="I say so", permit=permit)

    refused("forged, or the permit was edited", trade, scene)
