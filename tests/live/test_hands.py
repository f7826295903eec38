"""The supervisor's connection closes, cancels and sets stops; it can open nothing.

TE-09: an emergency stop cancels and flattens reduce-only.
"""

from datetime import timedelta

import pytest

from tests.exchange.desk import KEY, Desk, make_exchange
from tests.live.seen import D
from workbench.core.config import load_config
from workbench.core.errors import ConfigError, ExchangeBusy, OrderRejected, SecretError
from workbench.core.vault import Secret
from workbench.exchange.client.caller import ROUTES
from workbench.exchange.requests import CancelRequest, OrderRequest, StopRequest
from workbench.exchange.server import ServerSettings, machine_ms, serving
from workbench.exchange.words import OrderType, Side
from workbench.live.flatten import Held, choose_cancels, close_position
from workbench.live.guard import find_login, key_name, locked, open_hands
from workbench.live.hands import PATIENCE_S, ImpatientClock
from workbench.live.latch import Level

LOGIN = Secret({"api_key": KEY.key, "api_secret": KEY.secret})


@pytest.fixture
def place(home):
    desk = Desk(make_exchange(settings=ServerSettings(ack_ms=0), wall_ms=machine_ms()))
    with serving(desk.exchange) as place:
        desk.order(orderType="Market", qty="0.01", stopLoss=desk.price("0.9"))
        desk.order(orderLinkId="entry")
        yield place


@pytest.fixture
def hands(place):
    config = load_config(overrides={"exchange.rest_url": f"http://{place}"})
    return open_hands(config, LOGIN)


def closing(**fields):
    named = {
        "symbol": "BTCUSDT", "side": Side.SELL, "order_type": OrderType.MARKET, "qty": D("0.01"),
        "order_link_id": "kill-1", "reduce_only": True,
    } | fields  # fmt: skip
    return OrderRequest(**named)


def test_hands_see_cancel_close_and_count(hands):
    held = hands.look()
    assert [own.symbol for own in held.positions] == ["BTCUSDT"]
    rules = hands.learn(["BTCUSDT"])
    close = close_position(
        held.positions[0], rules["BTCUSDT"], tries=0, collar=D("0.01"), link="kill-1"
    )
    money = hands.count(lambda now: now - timedelta(minutes=1))
    assert money.wallet == sum(own.change for own in money.rows)
    assert money.equity == money.wallet + held.positions[0].unrealised_pnl
    assert hands.send([*choose_cancels(Level.FLATTEN, held), close]) == []
    assert hands.look() == Held([], [])


def test_hands_move_the_stop_of_a_position(hands):
    stop = hands.look().positions[0].stop_loss - 1000
    hands.learn(["BTCUSDT"])
    assert hands.send([StopRequest(symbol="BTCUSDT", stop_loss=stop)]) == []
    assert hands.look().positions[0].stop_loss == stop


def test_hands_can_open_nothing(hands):
    with pytest.raises(OrderRejected, match="only closes"):
        hands.client.create_order(closing(reduce_only=False))
    refused = hands.send([closing(reduce_only=False), closing(order_link_id="kill-2")])
    assert any("only closes" in words for words in refused)


def test_one_refusal_keeps_nothing_else_back(hands):
    held = hands.look()
    failed = hands.send(
        [closing(symbol="ETHUSDT", order_link_id="kill-9"), closing(),
         CancelRequest(symbol="BTCUSDT", order_id="no-such"),
         StopRequest(symbol="ETHUSDT", stop_loss=D(1))]
    )  # fmt: skip
    assert held.positions
    assert hands.look().positions == []
    assert any("position is zero" in words for words in failed)


def test_limit_of_batches_that_somebody_else_has_used_up_leaves_single_orders(hands, place):
    other = open_hands(
        load_config(overrides={"exchange.rest_url": f"http://{place}"}), LOGIN
    ).client
    for n in range(2):
        other.cancel_orders([CancelRequest(symbol="BTCUSDT", order_id="x")])
        other._buckets.clear()
        nothing = [closing(symbol="ETHUSDT", order_link_id=f"busy-{n}-{k}") for k in range(10)]
        other.create_orders(nothing)
        other._buckets.clear()
    assert hands.send([closing()]) == []
    assert hands.look().positions == []


def test_clock_refuses_to_wait_for_long():
    with pytest.raises(ExchangeBusy, match="600 s"):
        ImpatientClock().sleep(600)
    assert PATIENCE_S < 5
    ImpatientClock().sleep(0)


def test_key_is_the_supervisors_own(home):
    from tests.core.test_vault import PASSPHRASE, QUICK
    from workbench.core.vault import Vault

    config = load_config(overrides={"exchange.rest_url": "http://127.0.0.1:1"})
    vault = Vault.open(config.vault_path, passphrase=PASSPHRASE, create=True, cost=QUICK)
    vault.add("bybit.simulator", "exchange", {"api_key": "k", "api_secret": "s"})
    assert key_name(config) == "bybit.simulator.supervisor"
    with pytest.raises(SecretError, match="does not share"):
        find_login(config, vault)
    vault.add(key_name(config), "exchange", {"api_key": "k2", "api_secret": "s"})
    assert find_login(config, vault).reveal()["api_key"] == "k2"


def test_mainnet_needs_the_setting_and_no_database(home):
    config = load_config()
    with pytest.raises(ConfigError, match=r"exchange\.mainnet is false"):
        open_hands(config, LOGIN)
    hands = open_hands(load_config(overrides={"exchange.mainnet": True}), LOGIN)
    hands.client._require_rights("get_api_key_information", ROUTES["place_batch_order"])


def test_folder_has_one_supervisor_only(tmp_path):
    with (
        locked(tmp_path),
        pytest.raises(ConfigError, match="runs already"),
        locked(tmp_path),
    ):
        raise AssertionError("two of them")
    with locked(tmp_path):
        pass
