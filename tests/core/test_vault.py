"""Secrets stay secret, and a vault file is either exactly what was written or refused (CF-04)."""

import copy
import inspect
import io
import json
import logging
import multiprocessing
import pickle
import pprint
import stat
import time
import traceback
from datetime import UTC, datetime, timedelta
from pathlib import Path

import keyring
import pytest
from hypothesis import given
from hypothesis import strategies as st
from IPython.lib.pretty import pretty
from keyring.backend import KeyringBackend
from keyring.backends.fail import Keyring as NoKeyring
from keyring.errors import KeyringLocked
from pydantic import BaseModel
from rich.console import Console
from rich.pretty import pretty_repr
from rich.traceback import Traceback

import workbench
from workbench.core.clock import SimulatedClock
from workbench.core.errors import SecretError
from workbench.core.vault import (
    Request,
    Secret,
    Vault,
    find_passphrase,
    forget_passphrase,
    load_public_key,
    load_public_keys,
    passphrase_source,
    public_path,
    rotate_signing_key,
    signing_key,
)
from workbench.core.vault import document as file
from workbench.core.vault.cipher import Cost, stretch

PACKAGE = Path(workbench.__file__).parent
CANARY = "canary-5f1e0c"
KEYS = {"api_key": f"{CANARY}-key", "api_secret": f"{CANARY}-secret"}
PASSPHRASE = Secret("correct horse battery staple")
QUICK = Cost(passes=2, memory_kib=19_456, lanes=1)  # the cheapest that is allowed
START = datetime(2025, 1, 1, tzinfo=UTC)


class Ring(KeyringBackend):
    """A keyring in memory, as good as that of a desktop."""

    priority = 5

    def __init__(self):
        super().__init__()
        self.held = {}
        self.is_locked = False

    def get_password(self, service, username):
        if self.is_locked:
            raise KeyringLocked(CANARY)
        return self.held.get((service, username))

    def set_password(self, service, username, password):
        self.held[service, username] = password

    def delete_password(self, service, username):
        del self.held[service, username]


@pytest.fixture(autouse=True)
def _no_keyring(monkeypatch):
    monkeypatch.setattr(keyring, "get_keyring", NoKeyring)
    for name in ("WORKBENCH_VAULT_PASSPHRASE", "WORKBENCH_VAULT_PASSPHRASE_FILE"):
        monkeypatch.delenv(name, raising=False)


@pytest.fixture
def ring(monkeypatch):
    backend = Ring()
    monkeypatch.setattr(keyring, "get_keyring", lambda: backend)
    return backend


@pytest.fixture
def place(tmp_path):
    return tmp_path / "data" / "vault.json"


@pytest.fixture
def clock():
    return SimulatedClock(START)


@pytest.fixture
def vault(place, clock):
    made = Vault.open(place, passphrase=PASSPHRASE, create=True, cost=QUICK, clock=clock)
    made.add("bybit", "exchange", KEYS)
    made.add("telegram", "token", {"token": f"{CANARY}-token"})
    return made


def reopen(place, passphrase=PASSPHRASE):
    return Vault.open(place, passphrase=passphrase)


def edit(place, change):
    whole = json.loads(place.read_text())
    change(whole)
    place.write_text(json.dumps(whole, indent=1, sort_keys=True) + "\n")


# Secret


class Holder(BaseModel):
    """A model that holds a secret."""

    secret: Secret

    model_config = {"arbitrary_types_allowed": False}


SHOWN = {
    "repr": repr,
    "str": str,
    "format": lambda s: f"{s} {s:>9} {s!r}",
    "percent": lambda s: "%s %r" % (s, s),  # noqa: UP031
    "container": lambda s: repr([{"a": (s,)}]),
    "pprint": lambda s: pprint.pformat({"a": s}),
    "copies": lambda s: repr([copy.copy(s), copy.deepcopy(s)]),
    "pydantic repr": lambda s: repr(Holder(secret=s)),
    "pydantic dump": lambda s: str(Holder(secret=s).model_dump()),
    "pydantic json": lambda s: Holder(secret=s).model_dump_json(),
    "json default": lambda s: json.dumps(s, default=str),
    "ipython": lambda s: pretty({"a": s}),
    "rich": lambda s: pretty_repr({"a": s}),
    "members": lambda s: repr([value for name, value in inspect.getmembers(s)]),
    "slots": lambda s: repr([getattr(s, name) for name in s.__slots__]),
}


@pytest.mark.parametrize("value", [CANARY, CANARY.encode(), {"k": CANARY}], ids=["s", "b", "m"])
@pytest.mark.parametrize("way", SHOWN)
def test_secret_shown_in_any_way_is_masked(way, value):
    text = SHOWN[way](Secret(value))
    assert CANARY not in text
    assert way == "slots" or "***" in text


@pytest.mark.parametrize("way", [vars, json.dumps, pickle.dumps, iter, len, bytes])
def test_secret_taken_apart_refuses_without_showing(way):
    with pytest.raises((TypeError, SecretError)) as caught:
        way(Secret(CANARY))
    assert CANARY not in "".join(traceback.format_exception(caught.value))


def test_secret_reveals_what_it_was_given_and_does_not_change():
    given_ = {"a": "b"}
    secret = Secret(given_)
    given_["a"] = secret.reveal()["a"] = "c"
    assert secret.reveal() == {"a": "b"}
    with pytest.raises(AttributeError):
        secret._reveal = lambda: "x"


def test_secret_in_a_log_is_masked(caplog):
    logging.getLogger("workbench").warning("key %s %r", Secret(CANARY), {"k": Secret(CANARY)})
    assert CANARY not in caplog.text


def rich_text(error):
    """What rich prints for an error, with the local variables of every frame of the package.

    The frames of the test itself hold the secret in the clear, as a caller's do, and are left out.
    """
    trace = error.__traceback__
    while trace and PACKAGE not in Path(trace.tb_frame.f_code.co_filename).parents:
        trace = trace.tb_next
    assert trace is not None
    shown = Traceback.from_exception(
        type(error), error, trace, show_locals=True, locals_max_string=None
    )
    console = Console(file=io.StringIO(), width=300)
    console.print(shown)
    return console.file.getvalue()


def refuse_to_add(place):
    reopen(place).add("bybit", "exchange", KEYS)


def refuse_the_name(place):
    reopen(place).add("Not A Name", "exchange", KEYS)


def refuse_the_content(place):
    reopen(place).add("third", "exchange", {"api_key": CANARY, "n": 3})


def refuse_the_passphrase(place):
    reopen(place, Secret(f"{CANARY} wrong"))


def refuse_a_short_passphrase(place):
    reopen(place).rotate(Secret(CANARY[:11]))


def fail_to_write(place):
    opened = reopen(place)
    (place.parent / ".vault.json.draft").mkdir()
    opened.add("third", "exchange", KEYS)


@pytest.mark.parametrize(
    "fail",
    [
        refuse_to_add,
        refuse_the_name,
        refuse_the_content,
        refuse_the_passphrase,
        refuse_a_short_passphrase,
        fail_to_write,
    ],
)
def test_failure_of_the_vault_shows_no_secret_in_any_traceback(vault, fail):
    with pytest.raises((SecretError, OSError)) as caught:
        fail(vault.path)
    text = rich_text(caught.value)
    assert "locals" in text
    assert "***" in text
    assert CANARY[:11] not in text
    assert CANARY[:11] not in repr(caught.value) + str(caught.value)
    assert caught.value.__context__ is None or CANARY not in repr(caught.value.__context__)


def test_vault_and_its_keys_show_nothing(vault):
    key = signing_key(vault)
    private = vault.get("signing").reveal()["private"]
    for thing in (vault, key, vars(vault), vars(key), vault.entries(), vault._load()):
        assert CANARY not in repr(thing)
        assert private not in repr(thing)
    for thing in (vault, key):
        with pytest.raises(TypeError):
            pickle.dumps(thing)


# Vault


def test_vault_gives_back_what_it_was_given(vault, place):
    opened = reopen(place)
    opened.add("blob", "token", b"\x00\xff")
    assert opened.names() == vault.names() == ("blob", "bybit", "telegram")
    assert opened.get("bybit").reveal() == KEYS
    assert vault.get("blob").reveal() == b"\x00\xff"
    assert [(e.name, e.kind, e.created) for e in vault.entries()][1] == ("bybit", "exchange", START)
    vault.remove("blob")
    assert opened.names() == ("bybit", "telegram")


def test_vault_file_is_private_and_holds_nothing_in_the_clear(vault, place):
    assert stat.S_IMODE(place.stat().st_mode) == 0o600
    assert CANARY not in place.read_text()
    assert CANARY.encode().hex() not in place.read_text()


def test_fingerprint_tells_secrets_apart_and_survives_rotation(vault):
    vault.add("again", "exchange", KEYS)
    before = {entry.name: entry.fingerprint for entry in vault.entries()}
    assert before["again"] == before["bybit"] != before["telegram"]
    vault.rotate()
    vault.add("third", "exchange", KEYS)
    after = {entry.name: entry.fingerprint for entry in vault.entries()}
    assert after == {**before, "third": before["bybit"]}


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (lambda v: v.get("none"), "no secret 'none'"),
        (lambda v: v.remove("none"), "no secret 'none'"),
        (lambda v: v.add("bybit", "exchange", KEYS), "'bybit' already"),
        (lambda v: v.add("none", "exchange", KEYS, replaces=True), "no secret 'none'"),
        (lambda v: v.add("a b", "exchange", KEYS), "cannot be called 'a b'"),
        (lambda v: v.add("ab", "Exchange", KEYS), "of the kind 'Exchange'"),
        (lambda v: v.add("ab", "token", {"a": 1}), "something else than text"),
        (lambda v: v.rotate(Secret("short")), "fewer than 12"),
    ],
)
def test_vault_asked_for_what_cannot_be_says_so(vault, call, words):
    with pytest.raises(SecretError, match=words):
        call(vault)


def test_vault_that_is_not_there_is_not_made_unasked(place):
    with pytest.raises(SecretError, match="cannot be read"):
        reopen(place)
    assert not place.exists()


def test_wrong_passphrase_is_named_and_not_shown(vault, place):
    wrong = f"{CANARY}-passphrase"
    with pytest.raises(SecretError, match="passphrase does not open") as caught:
        reopen(place, Secret(wrong))
    assert wrong not in str(caught.value)


def _swap(whole):
    rows = whole["rows"]
    rows["bybit"], rows["telegram"] = rows["telegram"], rows["bybit"]


def _swap_seals(whole):
    one, other = whole["rows"]["bybit"], whole["rows"]["telegram"]
    one["sealed"], other["sealed"] = other["sealed"], one["sealed"]


def _flip(text):
    return ("0" if text[0] != "0" else "1") + text[1:]


TAMPERING = {
    "swapped rows": (_swap, "'bybit' .* swapped: it holds that of 'telegram'"),
    "swapped seals": (_swap_seals, "'bybit' .* swapped: it holds that of 'telegram'"),
    "relabelled": (lambda w: w["rows"]["bybit"].update(kind="token"), "'bybit' .* edited"),
    "redated": (
        lambda w: w["rows"]["bybit"].update(created="2020-01-01T00:00:00+00:00"),
        "'bybit' .* edited",
    ),
    "fingerprint": (lambda w: w["rows"]["bybit"].update(fingerprint="0" * 16), "'bybit' .* edited"),
    "bytes": (
        lambda w: w["rows"]["bybit"]["sealed"].update(
            text=_flip(w["rows"]["bybit"]["sealed"]["text"])
        ),
        "'bybit' .* edited",
    ),
    "row removed": (lambda w: w["rows"].pop("bybit"), "'bybit' .* taken out"),
    "row added": (
        lambda w: w["rows"].update(third=w["rows"]["bybit"]),
        "'third' .* put into the file",
    ),
    "index": (lambda w: w["index"].update(text=_flip(w["index"]["text"])), "index .* edited"),
    "prints": (
        lambda w: w["prints"].update(text=_flip(w["prints"]["text"])),
        "fingerprint key .* edited",
    ),
    "key": (lambda w: w["key"].update(text=_flip(w["key"]["text"])), "header .* edited"),
    "salt": (lambda w: w["header"].update(salt=_flip(w["header"]["salt"])), "header .* edited"),
    "cheaper guesses": (
        lambda w: w["header"]["cost"].update(memory_kib=8),
        "header.cost.memory_kib",
    ),
    "memory bomb": (
        lambda w: w["header"]["cost"].update(memory_kib=2**31),
        "header.cost.memory_kib",
    ),
    "other version": (lambda w: w["header"].update(version=2), "header.version"),
    "unknown part": (lambda w: w.update(extra=1), "at extra"),
}


@pytest.mark.parametrize("case", TAMPERING)
def test_vault_file_edited_is_refused_and_the_edit_named(vault, place, case):
    change, words = TAMPERING[case]
    edit(place, change)
    with pytest.raises(SecretError, match=words) as caught:
        reopen(place)
    assert CANARY not in str(caught.value)
    with pytest.raises(SecretError):
        vault.get("bybit")


def test_header_rewritten_with_its_checksum_does_not_open(vault, place):
    def change(whole):
        whole["header"]["salt"] = _flip(whole["header"]["salt"])
        header = file.Header.model_validate(whole["header"])
        whole["check"] = file.checksum(header, file.Sealed.model_validate(whole["key"]))

    edit(place, change)
    with pytest.raises(SecretError, match="passphrase does not open"):
        reopen(place)


def test_one_entry_put_back_as_it_was_is_named(vault, place):
    old = json.loads(place.read_text())["rows"]["bybit"]
    vault.add("bybit", "exchange", {**KEYS, "api_key": "new"}, replaces=True)
    edit(place, lambda whole: whole["rows"].update(bybit=old))
    with pytest.raises(SecretError, match=r"'bybit' .* rolled back"):
        reopen(place)


def test_whole_file_put_back_under_an_open_vault_is_noticed(vault, place):
    old, revision = place.read_bytes(), vault.revision
    vault.remove("telegram")
    place.write_bytes(old)
    with pytest.raises(SecretError, match=f"from revision {revision + 1} to {revision}"):
        vault.names()
    assert reopen(place).revision == revision  # which is why it is kept elsewhere


def test_entry_of_another_vault_is_refused(vault, place, tmp_path):
    other = Vault.open(tmp_path / "o.json", passphrase=PASSPHRASE, create=True, cost=QUICK)
    other.add("bybit", "exchange", {"api_key": "theirs", "api_secret": "theirs"})
    theirs = json.loads(other.path.read_text())["rows"]["bybit"]
    edit(place, lambda whole: whole["rows"].update(bybit=theirs))
    with pytest.raises(SecretError, match=r"'bybit' .* edited"):
        reopen(place)
    place.write_bytes(other.path.read_bytes())
    with pytest.raises(SecretError, match="another vault"):
        vault.names()


@pytest.mark.parametrize("share", [0.0, 0.3, 0.9, 0.999])
def test_vault_file_cut_short_is_refused(vault, place, share):
    whole = place.read_bytes()
    place.write_bytes(whole[: int(len(whole) * share)])
    with pytest.raises(SecretError, match="cut short"):
        reopen(place)


@pytest.fixture(scope="module")
def written(tmp_path_factory):
    path = tmp_path_factory.mktemp("vault") / "vault.json"
    made = Vault.open(path, passphrase=PASSPHRASE, create=True, cost=QUICK)
    made.add("bybit", "exchange", KEYS)
    return made, path.read_bytes()


@pytest.mark.parametrize("change", [lambda b: b ^ 1, lambda b: b ^ 0x20, lambda b: 9, lambda b: 32])
def test_every_byte_of_the_vault_file_changed_is_refused(written, change):
    vault, whole = written
    for at, byte in enumerate(whole):
        new = change(byte)
        if new == byte:
            continue
        vault.path.write_bytes(whole[:at] + bytes([new]) + whole[at + 1 :])
        with pytest.raises(SecretError):
            vault.get("bybit")


@given(
    content=st.one_of(
        st.binary(max_size=200), st.dictionaries(st.text(max_size=9), st.text(), max_size=4)
    )
)
def test_any_content_comes_back(written, content):
    vault, whole = written
    vault.path.write_bytes(whole)
    vault._revision = 0
    vault.add("any", "token", content)
    assert vault.get("any").reveal() == content


def test_rotate_changes_the_passphrase_and_every_encrypted_byte(vault, place):
    before = json.loads(place.read_text())
    new = Secret("another passphrase, longer")
    vault.rotate(new)
    after = json.loads(place.read_text())
    with pytest.raises(SecretError, match="passphrase does not open"):
        reopen(place)
    assert reopen(place, new).get("bybit").reveal() == vault.get("bybit").reveal() == KEYS
    assert before["header"]["salt"] != after["header"]["salt"]
    for name, row in before["rows"].items():
        assert row["sealed"] != after["rows"][name]["sealed"]


def test_rotate_without_a_passphrase_changes_the_data_key_only(vault, place):
    other, before = reopen(place), json.loads(place.read_text())
    vault.rotate()
    after = json.loads(place.read_text())
    assert before["header"] == after["header"]
    assert before["key"] != after["key"]
    assert other.get("bybit").reveal() == KEYS


def test_vault_rotated_elsewhere_asks_to_be_opened_again(vault, place):
    other = reopen(place)
    vault.rotate(Secret("another passphrase, longer"))
    with pytest.raises(SecretError, match="another passphrase now"):
        other.names()


@pytest.mark.parametrize("step", ["fsync", "replace"])
def test_rotate_that_dies_leaves_the_old_vault(vault, place, monkeypatch, step):
    whole = place.read_bytes()

    def die(*arguments):
        raise OSError("power cut")

    with monkeypatch.context() as patch:
        patch.setattr(*(file.os, "fsync", die) if step == "fsync" else (file.Path, "replace", die))
        with pytest.raises(OSError, match="power cut"):
            vault.rotate(Secret("another passphrase, longer"))
    assert place.read_bytes() == whole
    assert reopen(place).get("bybit").reveal() == vault.get("bybit").reveal() == KEYS
    vault.rotate(Secret("another passphrase, longer"))
    assert vault.names() == ("bybit", "telegram")


def _add_many(place, prefix, barrier):
    opened = reopen(place)
    barrier.wait()
    for number in range(20):
        opened.add(f"{prefix}{number}", "token", {"token": prefix})


def test_processes_that_write_at_once_lose_nothing(vault, place):
    context = multiprocessing.get_context("spawn")
    barrier = context.Barrier(3)
    writers = [context.Process(target=_add_many, args=(place, name, barrier)) for name in "xyz"]
    for writer in writers:
        writer.start()
    for writer in writers:
        writer.join()
    assert [writer.exitcode for writer in writers] == [0, 0, 0]
    assert len(vault.names()) == 2 + 60


def test_default_cost_is_that_of_the_rfc_and_takes_less_than_half_a_second():
    assert Cost() == Cost(passes=3, memory_kib=64 * 1024, lanes=4)
    times = []
    for _ in range(3):
        start = time.perf_counter()
        stretch(PASSPHRASE, bytes(16), Cost())
        times.append(time.perf_counter() - start)
    assert min(times) < 0.5


# Passphrase

NEW, OLD = Request("slot", is_new=True), Request("slot", is_new=False)


def test_passphrase_comes_from_the_first_place_that_has_one(tmp_path, monkeypatch, ring):
    held = tmp_path / "passphrase"
    held.write_text("from the file\n")
    ring.set_password("workbench-vault", "slot", "from the keyring")
    assert (find_passphrase(OLD).reveal(), passphrase_source("slot")) == (
        "from the keyring",
        "keyring",
    )
    monkeypatch.setenv("WORKBENCH_VAULT_PASSPHRASE_FILE", str(held))
    assert find_passphrase(OLD).reveal() == "from the file"
    assert passphrase_source("slot") == "WORKBENCH_VAULT_PASSPHRASE_FILE"
    monkeypatch.setenv("WORKBENCH_VAULT_PASSPHRASE", "from the variable")
    assert find_passphrase(NEW).reveal() == "from the variable"
    assert passphrase_source("slot") == "WORKBENCH_VAULT_PASSPHRASE"


def test_passphrase_of_nobody_is_asked_for_or_refused_with_what_to_do():
    assert find_passphrase(OLD, ask=lambda request: Secret(repr(request.slot))).reveal() == "'slot'"
    with pytest.raises(SecretError, match="WORKBENCH_VAULT_PASSPHRASE_FILE"):
        find_passphrase(OLD)
    assert passphrase_source("slot") is None
    forget_passphrase("slot")


@pytest.mark.parametrize("content", [None, b"", b"\xff\xfe"])
def test_passphrase_file_that_cannot_be_used_is_named(tmp_path, monkeypatch, content):
    held = tmp_path / "passphrase"
    if content is not None:
        held.write_bytes(content)
    monkeypatch.setenv("WORKBENCH_VAULT_PASSPHRASE_FILE", str(held))
    with pytest.raises(SecretError, match="passphrase file"):
        find_passphrase(OLD)


def test_keyring_makes_a_passphrase_at_first_use_and_a_new_one_at_rotation(place, ring):
    made = Vault.open(place, passphrase=find_passphrase, create=True, cost=QUICK)
    made.add("bybit", "exchange", KEYS)
    old = made.slot
    assert list(ring.held) == [("workbench-vault", old)]
    made.rotate(find_passphrase)
    forget_passphrase(old)
    assert list(ring.held) == [("workbench-vault", made.slot)]
    assert Vault.open(place, passphrase=find_passphrase).get("bybit").reveal() == KEYS


def test_keyring_rotation_that_dies_still_opens(place, ring, monkeypatch):
    made = Vault.open(place, passphrase=find_passphrase, create=True, cost=QUICK)

    def die(*arguments):
        raise OSError("power cut")

    with monkeypatch.context() as patch:
        patch.setattr(file.Path, "replace", die)
        with pytest.raises(OSError, match="power cut"):
            made.rotate(find_passphrase)
    assert len(ring.held) == 2
    assert Vault.open(place, passphrase=find_passphrase).names() == ()


def test_keyring_that_is_locked_says_so_and_keeps_what_it_said(ring):
    ring.is_locked = True
    with pytest.raises(SecretError, match="KeyringLocked") as caught:
        find_passphrase(OLD)
    assert caught.value.__context__ is None
    assert CANARY not in str(caught.value)


# The signing key


def test_signing_key_is_made_once_and_its_public_half_kept_beside_the_vault(vault, place):
    key = signing_key(vault)
    beside = public_path(place)
    public = load_public_key(beside)
    assert key.key_id == signing_key(reopen(place)).key_id == public.key_id
    assert public.created == START
    assert public.verifies(b"message", key.sign(b"message"))
    assert not public.verifies(b"massage", key.sign(b"message"))
    assert not public.verifies(b"message", b"short")
    private = vault.get("signing").reveal()["private"]
    assert private not in beside.read_text()
    assert stat.S_IMODE(beside.stat().st_mode) == 0o644


def test_rotate_signing_key_retires_the_one_before(vault, place, clock):
    first = signing_key(vault)
    clock.sleep(3600)
    second = rotate_signing_key(vault)
    old, new = load_public_keys(public_path(place))
    assert (old.key_id, old.retired) == (first.key_id, START + timedelta(hours=1))
    assert (new.key_id, new.created, new.retired) == (second.key_id, old.retired, None)
    assert load_public_key(public_path(place)) == new
    assert old.verifies(b"message", first.sign(b"message"))
    vault.rotate(Secret("another passphrase, longer"))
    assert signing_key(vault).key_id == second.key_id


def test_public_keys_lost_or_behind_are_written_anew(vault, place):
    signing_key(vault)
    beside = public_path(place)
    behind = beside.read_bytes()
    rotate_signing_key(vault)
    newest = beside.read_bytes()
    beside.write_bytes(behind)
    signing_key(vault)
    assert beside.read_bytes() == newest
    beside.unlink()
    signing_key(vault)
    assert beside.read_bytes() == newest


def test_public_key_that_the_vault_never_had_is_refused(vault, place, tmp_path):
    signing_key(vault)
    other = Vault.open(tmp_path / "o.json", passphrase=PASSPHRASE, create=True, cost=QUICK)
    signing_key(other)
    public_path(place).write_bytes(public_path(other.path).read_bytes())
    with pytest.raises(SecretError, match="never had"):
        signing_key(vault)


def test_signing_key_lost_is_not_silently_replaced(vault, place):
    signing_key(vault)
    vault.remove("signing")
    with pytest.raises(SecretError, match="no signing key"):
        signing_key(vault)
    public_path(place).unlink()
    vault.add("signing", "token", {"token": "x"})
    with pytest.raises(SecretError, match="something else"):
        signing_key(vault)


def test_public_keys_edited_are_refused(vault, place):
    signing_key(vault)
    rotate_signing_key(vault)
    beside = public_path(place)
    whole = beside.read_text()
    ids = [key.key_id for key in load_public_keys(beside)]
    wrong = [
        whole.replace(ids[0], "0" * 16),
        whole.replace("null", '"2025-01-01T00:00:00+00:00"'),
        whole[:-9],
        whole.replace('"version": 1', '"version": 2'),
    ]
    for text in wrong:
        beside.write_text(text)
        with pytest.raises(SecretError, match=r"public keys|key in use"):
            load_public_keys(beside)
    beside.unlink()
    with pytest.raises(SecretError, match="cannot be read"):
        load_public_key(beside)
