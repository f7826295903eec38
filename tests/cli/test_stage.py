"""``workbench stage``: every way a strategy can go, in words, and code 1 where it may not."""

import json
import shutil
import sqlite3
from datetime import datetime, timedelta
from decimal import Decimal

import keyring
import pytest
from keyring.backends.fail import Keyring as NoKeyring
from rich.console import Console
from typer.testing import CliRunner

from tests.evidence.scene import NAME, edit_event, graduate, hash_now, write_project
from tests.lifecycle.scene import make_records
from workbench.cli import app, stage
from workbench.cli.stage import _desk
from workbench.core.config import load_config
from workbench.core.vault import Secret, Vault, signing_key
from workbench.core.vault.cipher import Cost
from workbench.evidence.seals import Difference
from workbench.evidence.stages import Stage
from workbench.jobs import verify
from workbench.lifecycle import Book
from workbench.store import Store
from workbench.store.chain import START, entry_digest

PASSPHRASE = "correct horse battery staple"


def make_vault(path):
    cost = Cost(passes=2, memory_kib=19_456, lanes=1)
    return Vault.open(path, passphrase=Secret(PASSPHRASE), create=True, cost=cost)


@pytest.fixture(scope="module")
def graduated(tmp_path_factory):
    """A project whose strategy passed the gate in a sealed run, with a vault."""
    patch = pytest.MonkeyPatch()
    home = tmp_path_factory.mktemp("stage")
    patch.chdir(home)
    patch.setenv("WORKBENCH_DATA_DIR", str(home / "data"))
    write_project(home, patch)
    done = graduate(home)
    signing_key(make_vault(home / "data" / "vault.json"))
    kept = tmp_path_factory.mktemp("kept") / "data"
    shutil.copytree(home / "data", kept)
    yield home, kept, done
    patch.undo()


@pytest.fixture
def project(graduated, monkeypatch):
    home, kept, _ = graduated
    monkeypatch.chdir(home)
    monkeypatch.setattr(keyring, "get_keyring", NoKeyring)
    monkeypatch.setenv("WORKBENCH_VAULT_PASSPHRASE", PASSPHRASE)
    yield home
    shutil.rmtree(home / "data")
    shutil.copytree(kept, home / "data")


def call(*arguments, code=0):
    result = CliRunner(env={"COLUMNS": "250"}).invoke(app, ["stage", *arguments])
    assert result.exit_code == code, result.output + result.stderr
    assert PASSPHRASE not in result.output + result.stderr
    return result.output + result.stderr


def standing(home):
    with Store.open() as store:
        return Book(store).standing(hash_now(home))


@pytest.fixture
def traded(monkeypatch):
    """Recorded trading, as the engine will leave it."""

    def desk(**options):
        plain = _desk(**options)
        with Store.open() as store:
            book = Book(store)
            found = {
                s.strategy_hash: make_records(book.clock.now(), n_days=100, losing=0.3)
                for s in book.standings
            }
        return type(plain)(**{**{f: getattr(plain, f) for f in plain.__slots__}, "records": found})

    monkeypatch.setattr(stage, "_desk", desk)


def test_promote_goes_into_research_and_to_paper_on_the_sealed_verdict(project):
    """GR-01: the name of the project, then the hash."""
    assert "is in RESEARCH: Its leak probe found nothing." in call("promote", NAME)
    said = call("promote", hash_now(project)[:8])

    assert "is in PAPER_VALIDATION: The best of 120 tries" in said
    assert standing(project).capital_usdt == Decimal(10_000)
    listed = call("list")
    assert "PAPER_VALIDATION" in listed
    assert "The book has 2 entries and ends in" in listed
    assert "On real money: 0.00 of 10,000.00 USDT." in listed


def test_promote_of_a_new_strategy_probes_it_first(project):
    said = call("promote", "mine", "-p", "horizon", "48")

    assert "CLEAN  Mine" in said
    with Store.open() as store:
        found = Book(store).standing(hash_now(project, horizon=48))
    assert found.stage is Stage.RESEARCH
    refused = call("promote", "mine", "-p", "horizon", "48", code=1)
    assert "code or parameters have changed since" in refused


def test_promote_of_what_reads_the_future_is_refused_with_the_leak(project):
    path = project / "strategies" / "peek.py"
    text = (project / "strategies" / "mine.py").read_text()
    path.write_text(
        text.replace("class Mine", "class Peek").replace("np.sign(past)", "np.sign(past.shift(-1))")
    )
    said = call("promote", "strategies/peek.py:Peek", code=1)
    path.unlink()

    assert "LEAKS  Peek" in said
    assert "Peek reads the future" in said
    with Store.open() as store:
        assert Book(store).standings == ()


def test_promote_beyond_paper_needs_recorded_fills(project):
    call("promote", NAME)
    call("promote", NAME)

    assert "No fills of Mine" in call("promote", NAME, code=1)


def test_promote_verify_executes_the_run_again(project, monkeypatch):
    asked = []

    def again(run_id, **_):
        asked.append(run_id)
        return verify.Verification(run_id, (Difference("sharpe", "1 was sealed, 2 comes out"),))

    monkeypatch.setattr(verify, "verify_run", again)
    call("promote", NAME)
    said = call("promote", NAME, "--verify", code=1)

    assert "sharpe: 1 was sealed, 2 comes out" in said
    assert len(asked) == 1


def go_live(*more, code=0):
    return call("promote", NAME, "--enable", "ada", "--reason", "the desk agreed", *more, code=code)


def test_promote_to_real_money_needs_a_name_a_reason_and_the_name_again(project, traded):
    """GR-09."""
    for _ in range(2):
        call("promote", NAME)
    aged(project)
    call("promote", NAME)
    aged(project)
    assert "Real money needs a person" in call("promote", NAME, code=1)
    assert "second confirmation says 'Mime'" in go_live("--confirm", "Mime", code=1)
    assert "second confirmation says ''" in go_live(code=1)
    said = go_live("--confirm", NAME)

    assert "is in LIVE_TRADING: the desk agreed" in said
    assert standing(project).enabled_by == "ada"
    shown = call("show", NAME)
    assert "enabled by" in shown
    assert "mainnet" in shown


def aged(home):
    """Write the book anew as if all of it had happened a hundred days earlier."""
    with sqlite3.connect(home / "data" / "workbench.db") as database:
        database.execute("DROP TRIGGER IF EXISTS events_refuse_update")
        rows = database.execute(
            "SELECT event_id, detail FROM events WHERE kind = 'stage' ORDER BY event_id"
        ).fetchall()
        previous = START
        for number, text in rows:
            detail = json.loads(text)
            early = datetime.fromisoformat(detail["at"]) - timedelta(days=100)
            detail["at"] = early.isoformat()
            state = detail["detail"]["state"]
            state |= {k: early.isoformat() for k in ("since", "scaled") if state.get(k)}
            detail["previous"] = previous
            detail["digest"] = previous = entry_digest(
                {name: value for name, value in detail.items() if name != "digest"}
            )
            database.execute(
                "UPDATE events SET detail = ? WHERE event_id = ?", (json.dumps(detail), number)
            )


def test_demote_retire_and_revoke_need_a_reason_and_say_what_is_left(project):
    for _ in range(2):
        call("promote", NAME)
    assert "Missing option" in call("demote", NAME, code=2)
    assert "is in UNDER_REVIEW: odd fills" in call("demote", NAME, "--reason", "odd fills")
    assert "only to close" in call("show", NAME)
    call("revoke", NAME, "--reason", "odder")
    assert "no permit" in call("list")
    assert "is in UNDER_REVIEW" in call("renew", NAME)
    assert "is in RETIRED: it is over" in call("retire", NAME, "--reason", "it is over")
    assert "nowhere" in call("show", NAME)
    assert "RETIRED cannot move to UNDER_REVIEW" in call("demote", NAME, "--reason", "x", code=1)


def test_demote_without_the_passphrase_leaves_no_permit(project, monkeypatch):
    for _ in range(2):
        call("promote", NAME)
    monkeypatch.delenv("WORKBENCH_VAULT_PASSPHRASE")
    said = call("demote", NAME, "--reason", "odd fills")

    assert "It gets no permit, not even to close." in said
    assert "is in UNDER_REVIEW" in said
    assert "no permit" in call("list")
    assert "no passphrase" in call("renew", NAME, code=1)


def test_override_is_shown_in_red_and_one_that_nobody_signed_is_named(project, monkeypatch):
    """GR-10: flagged wherever the strategy is shown."""
    for _ in range(2):
        call("promote", NAME)
    call("override", NAME, "--by", "ada", "--reason", "the venue closes", "--days", "2")

    listed, shown = call("list"), call("show", NAME)
    assert "OVERRIDE as LIVE_CANDIDATE" in listed
    assert "OVERRIDE: acts as LIVE_CANDIDATE until" in shown
    assert "on the word of ada: the venue closes" in shown
    assert "NOT SIGNED" not in shown
    colours = Console(force_terminal=True, color_system="standard", width=250)
    monkeypatch.setattr(stage, "out", colours)
    for words in (("show", NAME), ("list",)):
        assert "\x1b[1;31mOVERRIDE" in call(*words)
    assert standing(project).stage is Stage.PAPER_VALIDATION

    (project / "data" / "vault.json").unlink()
    (project / "data" / "vault.pub.json").unlink()
    signing_key(make_vault(project / "data" / "vault.json"))
    assert "NOT SIGNED by a key in use" in call("show", NAME)


def test_evaluate_says_what_became_of_each(project, traded):
    """GR-11."""
    call("promote", NAME)
    said = call("evaluate")
    assert "RESEARCH → PAPER_VALIDATION" in said
    aged(project)
    assert "PAPER_VALIDATION → LIVE_CANDIDATE" in call("evaluate")
    aged(project)
    assert "it waits for a person to enable it" in call("evaluate")


def test_evaluate_without_the_passphrase_only_takes_rights_away(project, traded, monkeypatch):
    call("promote", NAME)
    monkeypatch.delenv("WORKBENCH_VAULT_PASSPHRASE")
    said = call("evaluate")

    assert "Nothing moves up, and no permit is renewed." in said
    assert "A permit can be issued only with the signing key" in said
    assert standing(project).stage is Stage.RESEARCH


def test_every_command_refuses_a_book_that_was_edited(project):
    call("promote", NAME)
    place = project / "data" / "workbench.db"
    edit_event(place, "stage", lambda detail: detail["detail"].update(reason="x"))
    for words in (("list",), ("show", NAME), ("promote", NAME), ("evaluate",)):
        assert "Entry 1 of the book of stages is not as it was written" in call(*words, code=1)


def test_strategy_by_a_name_that_two_have_asks_for_the_hash(project):
    call("promote", NAME)
    call("promote", "mine", "-p", "horizon", "48")
    said = call("show", NAME, code=1)

    assert "2 strategies are called Mine" in said
    assert hash_now(project)[:12] in said


def test_settings_choose_the_gates_and_how_long_a_permit_lasts(project, monkeypatch):
    monkeypatch.setenv("WORKBENCH_GRADUATION__PERMIT_DAYS", "3")
    monkeypatch.setenv("WORKBENCH_GRADUATION__GATES", "classic")
    assert load_config().graduation.gates == "classic"
    call("promote", NAME)
    found = standing(project)

    assert (found.permit.expires - found.since).days == 3
