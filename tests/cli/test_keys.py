"""``workbench keys``: secrets go in by prompt or standard input, and never come out (CF-04)."""

import json
from pathlib import Path

import keyring
import pytest
from keyring.backends.fail import Keyring as NoKeyring
from typer.testing import CliRunner

from tests.core.test_vault import Ring
from tests.jobs.books import write_notebook
from workbench.cli import app, keys
from workbench.core.vault import Secret, Vault, load_public_keys, public_path
from workbench.store import Store

PASSPHRASE = "correct horse battery staple"
NEW = "another passphrase, longer"
SECRET = "canary-9d21"


@pytest.fixture
def place(home, monkeypatch):
    monkeypatch.setattr(keyring, "get_keyring", NoKeyring)
    monkeypatch.setenv("WORKBENCH_VAULT_PASSPHRASE", PASSPHRASE)
    return home / "data" / "vault.json"


@pytest.fixture
def person(place, monkeypatch):
    """Somebody at a terminal, and no passphrase anywhere else."""

    class Terminal:
        def isatty(self):
            return True

    class System:
        stdin = Terminal()

    monkeypatch.delenv("WORKBENCH_VAULT_PASSPHRASE")
    monkeypatch.setattr(keys, "sys", System)


def call(*arguments, typed=""):
    result = CliRunner(env={"COLUMNS": "200"}).invoke(app, ["keys", *arguments], input=typed)
    assert SECRET not in result.output + result.stderr
    assert PASSPHRASE not in result.output + result.stderr
    return result


def add_bybit(name="bybit.demo"):
    return call("add", name, "--kind", "exchange", typed=f"my-key\n{SECRET}\n")


def opened(place, passphrase=PASSPHRASE):
    return Vault.open(place, passphrase=Secret(passphrase))


def test_add_reads_standard_input_and_list_shows_no_secret(place):
    assert add_bybit().exit_code == 0
    assert opened(place).get("bybit.demo").reveal() == {"api_key": "my-key", "api_secret": SECRET}
    listed = call("list")
    entry = opened(place).entries()[0]
    assert listed.exit_code == 0
    for word in ("bybit.demo", "exchange", entry.fingerprint, f"{entry.created:%Y-%m-%d}"):
        assert word in listed.output
    assert "my-key" not in listed.output


def test_add_keeps_every_line_of_a_private_key(place):
    pem = f"-----BEGIN-----\n{SECRET}\n-----END-----"
    call("add", "rsa", "--kind", "exchange", typed=f"my-key\n{pem}\n")
    assert opened(place).get("rsa").reveal()["api_secret"] == pem


def test_add_asks_a_person_without_echo(place, person):
    typed = f"{PASSPHRASE}\n{PASSPHRASE}\n{SECRET}\n"
    assert call("add", "telegram", "--kind", "token", typed=typed).exit_code == 0
    assert opened(place).get("telegram").reveal() == {"token": SECRET}
    assert call("test", "telegram", typed=f"{PASSPHRASE}\n").exit_code == 0


def test_add_has_no_place_for_a_secret_among_its_arguments(place):
    assert call("add", "a", "b", "--kind", "token").exit_code == 2
    assert call("add", "a", "--kind", "token", "--secret", "b").exit_code == 2


@pytest.mark.parametrize(
    ("arguments", "typed", "words"),
    [
        (("add", "a", "--kind", "exchange"), "", "no api_key"),
        (("add", "a", "--kind", "exchange"), "key\n", "no api_secret"),
        (("add", "a", "--kind", "signing"), "", "cannot be of the kind signing"),
        (("add", "signing", "--kind", "token"), "x\n", "cannot be of the kind token"),
        (("add", "bybit.demo", "--kind", "token"), "x\n", "'bybit.demo' already"),
        (("test", "none"), "", "no secret 'none'"),
        (("rotate", "none"), "", "no key 'none'"),
        (("remove", "none", "--yes"), "", "no secret 'none'"),
        (("rotate",), "short\n", "fewer than 12"),
    ],
)
def test_keys_asked_for_what_cannot_be_ends_with_code_1(place, arguments, typed, words):
    add_bybit()
    result = call(*arguments, typed=typed)
    assert result.exit_code == 1
    assert words in result.stderr


def test_keys_without_a_passphrase_says_what_to_do(place, monkeypatch):
    monkeypatch.delenv("WORKBENCH_VAULT_PASSPHRASE")
    result = add_bybit()
    assert result.exit_code == 1
    assert "WORKBENCH_VAULT_PASSPHRASE_FILE" in result.stderr
    assert not place.exists()


def test_keys_with_a_wrong_passphrase_does_not_show_it(place, monkeypatch):
    add_bybit()
    monkeypatch.setenv("WORKBENCH_VAULT_PASSPHRASE", SECRET)
    result = call("list")
    assert result.exit_code == 1
    assert "does not open" in result.stderr


def test_list_without_a_vault_makes_none(place):
    assert call("list").exit_code == 1
    assert not place.exists()


def test_test_opens_an_exchange_key_and_says_what_it_did_not_check(place):
    add_bybit()
    result = call("test", "bybit.demo")
    assert result.exit_code == 0
    assert "opens" in result.output
    assert "workbench doctor --account" in result.output


def test_test_of_a_tampered_vault_ends_with_code_1(place):
    add_bybit()
    whole = json.loads(place.read_text())
    whole["rows"]["bybit.demo"]["kind"] = "token"
    place.write_text(json.dumps(whole, indent=1, sort_keys=True) + "\n")
    result = call("test", "bybit.demo")
    assert result.exit_code == 1
    assert "edited" in result.stderr


def test_signing_key_is_made_tested_rotated_and_its_public_keys_listed(place):
    assert call("add", "signing", "--kind", "signing").exit_code == 0
    assert "signs, and its public key verifies" in call("test", "signing").output
    assert call("rotate", "signing").exit_code == 0
    old, new = load_public_keys(public_path(place))
    listed = call("list").output
    assert f"public key {old.key_id}" in listed
    assert "retired" in listed
    assert f"public key {new.key_id}" in listed
    assert "in use" in listed


def test_rotate_of_an_exchange_key_replaces_it(place):
    add_bybit()
    before = opened(place).entries()[0].fingerprint
    assert call("rotate", "bybit.demo", typed=f"newer\n{SECRET}2\n").exit_code == 0
    assert opened(place).get("bybit.demo").reveal()["api_key"] == "newer"
    assert opened(place).entries()[0].fingerprint != before


def test_rotate_takes_a_new_passphrase_and_says_where_to_put_it(place, monkeypatch):
    add_bybit()
    result = call("rotate", typed=f"{NEW}\n")
    assert result.exit_code == 0
    assert "where WORKBENCH_VAULT_PASSPHRASE has the old one" in result.output
    assert NEW not in result.output
    assert call("list").exit_code == 1
    assert opened(place, NEW).names() == ("bybit.demo",)


def test_rotate_asks_a_person_twice(place, person):
    typed = f"{PASSPHRASE}\n{PASSPHRASE}\n{SECRET}\n"
    call("add", "telegram", "--kind", "token", typed=typed)
    assert call("rotate", typed=f"{PASSPHRASE}\n{NEW}\n{NEW}\n").exit_code == 0
    assert opened(place, NEW).names() == ("telegram",)


def test_rotate_that_keeps_the_passphrase_changes_the_file(place):
    add_bybit()
    before = place.read_bytes()
    assert call("rotate", "--keep-passphrase").exit_code == 0
    assert place.read_bytes() != before
    assert opened(place).names() == ("bybit.demo",)


def test_rotate_with_a_keyring_needs_nobody(place, monkeypatch):
    ring = Ring()
    monkeypatch.setattr(keyring, "get_keyring", lambda: ring)
    monkeypatch.delenv("WORKBENCH_VAULT_PASSPHRASE")
    assert add_bybit().exit_code == 0
    (before,) = ring.held
    assert call("rotate").exit_code == 0
    (after,) = ring.held
    assert before != after
    assert call("test", "bybit.demo").exit_code == 0


def test_remove_asks_first(place):
    add_bybit()
    assert call("remove", "bybit.demo", typed="n\n").exit_code == 1
    assert opened(place).names() == ("bybit.demo",)
    assert call("remove", "bybit.demo", typed="y\n").exit_code == 0
    assert opened(place).names() == ()


def test_notebook_of_a_job_cannot_print_the_passphrase(place):
    notebook = write_notebook(Path("look.ipynb"), "import os\nprint(dict(os.environ))")
    run = CliRunner().invoke(app, ["run", str(notebook)])
    assert run.exit_code == 0, run.output
    (executed,) = (place.parent / "runs").rglob("*.ipynb")
    assert "WORKBENCH_RUN_ID" in executed.read_text()
    assert PASSPHRASE not in executed.read_text()


def test_environment_of_the_vault_is_no_setting(place):
    assert CliRunner().invoke(app, ["config", "show"]).exit_code == 0


def test_enable_records_who_lets_a_key_trade_money_and_disable_takes_it_back(place):
    """TE-13: the second opt-in is an event with a name, a reason and the key's fingerprint."""
    add_bybit("bybit.mainnet")
    call("enable", "bybit.mainnet", "--by", "ann", "--reason", "r1", "--confirm", "bybit.mainnet")
    call("disable", "bybit.mainnet", "--by", "bob", "--reason", "r2")
    with Store.open() as store:
        events = store.events(kind="mainnet")
    assert list(events["actor"]) == ["bob", "ann"]
    assert [detail["is_on"] for detail in events["detail"]] == [False, True]
    (entry,) = opened(place).entries()
    assert {detail["fingerprint"] for detail in events["detail"]} == {entry.fingerprint}


def test_enable_with_another_name_typed_records_nothing(place):
    add_bybit("bybit.mainnet")
    result = call("enable", "bybit.mainnet", "--reason", "r", typed="bybit.demo\n")
    assert result.exit_code == 1
    assert "once more" in result.stderr
    with Store.open() as store:
        assert store.events(kind="mainnet").empty


def test_enable_of_no_exchange_key_names_what_there_is(place):
    call("add", "alerts", "--kind", "token", typed="x\n")
    result = call("enable", "alerts", "--reason", "r", "--confirm", "alerts")
    assert "no exchange key 'alerts'" in result.stderr
