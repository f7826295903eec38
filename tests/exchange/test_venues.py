"""Protects where requests go: each environment has its own hosts, and no key of another."""

import pytest

from tests.core.test_vault import QUICK
from workbench.core.config import load_config
from workbench.core.errors import ConfigError, SecretError
from workbench.core.vault import Secret, Vault
from workbench.exchange import find_venue, open_client
from workbench.exchange.optin import find_opt_in, record_opt_in, withdraw_opt_in
from workbench.store import Store

MAINNET = {"exchange.rest_url": "https://api.bybit.com"}


@pytest.mark.parametrize(
    ("rest", "name", "public", "private", "trade"),
    [
        ("https://api.bybit.com", "mainnet", "wss://stream.bybit.com", "wss://stream.bybit.com",
         "wss://stream.bybit.com"),
        ("https://api.bybit.nl", "mainnet", "wss://stream.bybit.com", "wss://stream.bybit.nl",
         "wss://stream.bybit.nl"),
        ("https://api.bytick.com", "mainnet", "wss://stream.bytick.com",
         "wss://stream.bytick.com", "wss://stream.bytick.com"),
        ("https://api-testnet.bybit.com", "testnet", "wss://stream-testnet.bybit.com",
         "wss://stream-testnet.bybit.com", "wss://stream-testnet.bybit.com"),
        ("https://api-demo.bybit.com", "demo", "wss://stream.bybit.com",
         "wss://stream-demo.bybit.com", None),
        ("http://127.0.0.1:8700", "simulator", "ws://127.0.0.1:8700", "ws://127.0.0.1:8700",
         "ws://127.0.0.1:8700"),
        ("https://localhost:8700", "simulator", "wss://localhost:8700", "wss://localhost:8700",
         "wss://localhost:8700"),
        ("https://bybit.proxy.example.org", "mainnet", "wss://bybit.proxy.example.org",
         "wss://bybit.proxy.example.org", "wss://bybit.proxy.example.org"),
    ],
)  # fmt: skip
def test_rest_address_tells_the_sockets(rest, name, public, private, trade):
    """TE-01: demo has no trade socket, and takes its public data from the mainnet."""
    venue = find_venue(rest)
    assert (venue.name, venue.rest_url) == (name, rest)
    assert (venue.public_url, venue.private_url, venue.trade_url) == (public, private, trade)
    assert venue.is_real is (name == "mainnet")
    assert venue.key_name == f"bybit.{name}"


@pytest.fixture
def vault(home):
    own = Vault.open(
        load_config().vault_path, passphrase=Secret("a passphrase of tests"), create=True,
        cost=QUICK,
    )  # fmt: skip
    own.add("bybit.mainnet", "exchange", {"api_key": "k", "api_secret": "s"})
    return own


@pytest.fixture
def store(home):
    with Store.open() as own:
        yield own


def entry(vault):
    return next(own for own in vault.entries() if own.name == "bybit.mainnet")


def opt_in(vault, store, *, flag=True):
    config = load_config(overrides={**MAINNET, "exchange.mainnet": flag})
    return find_opt_in(config, store, entry(vault))


def test_mainnet_needs_the_setting_and_the_recorded_word(vault, store):
    """TE-13: either alone is nothing; both name who and why."""
    assert opt_in(vault, store) is None
    record_opt_in(store, entry(vault), by="ann", reason="first", confirmed="bybit.mainnet")
    assert opt_in(vault, store, flag=False) is None
    found = opt_in(vault, store)
    assert (found.by, found.reason) == ("ann", "first")
    client = open_client(
        load_config(overrides={**MAINNET, "exchange.mainnet": True}), vault=vault, store=store
    )
    assert client._opt_in == found


def test_word_that_was_taken_back_no_longer_counts(vault, store):
    record_opt_in(store, entry(vault), by="ann", reason="first", confirmed="bybit.mainnet")
    withdraw_opt_in(store, entry(vault), by="bob", reason="enough")
    assert opt_in(vault, store) is None


def test_word_for_one_key_is_none_for_the_next(vault, store):
    record_opt_in(store, entry(vault), by="ann", reason="first", confirmed="bybit.mainnet")
    vault.add("bybit.mainnet", "exchange", {"api_key": "k2", "api_secret": "s2"}, replaces=True)
    assert opt_in(vault, store) is None


@pytest.mark.parametrize(
    "change", [{"confirmed": "bybit.demo"}, {"by": " "}, {"reason": ""}], ids=str
)
def test_word_is_recorded_only_with_who_why_and_the_name_again(vault, store, change):
    given = {"by": "ann", "reason": "first", "confirmed": "bybit.mainnet"} | change
    with pytest.raises(ConfigError, match="type its name once more"):
        record_opt_in(store, entry(vault), **given)
    assert store.events(kind="mainnet").empty


def test_key_of_another_environment_does_not_count(vault):
    config = load_config(overrides={"exchange.rest_url": "https://api-demo.bybit.com"})
    with pytest.raises(SecretError, match=r"no exchange key 'bybit\.demo'"):
        open_client(config, vault=vault)
    vault.add("bybit.demo", "token", {"token": "x"})
    with pytest.raises(SecretError, match=r"no exchange key 'bybit\.demo'"):
        open_client(config, vault=vault)


def test_client_without_a_vault_has_no_key(home):
    assert open_client(load_config())._login is None
