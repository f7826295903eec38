"""Who gets in, how often, and what a request that is not let in is told (TE-01, TE-06, TE-07)."""

import json

import pytest
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
)
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.exchange.desk import KEY, START_MS, Desk, heard, make_exchange, sign
from workbench.core.vault.rsa import is_rsa_signature
from workbench.exchange.server import ApiKey, LimitRules, ServerSettings
from workbench.exchange.server.limits import Limiter

INFO = "/v5/account/info"
BTC = {"category": "linear", "symbol": "BTCUSDT"}


def code(reply):
    return json.loads(reply.body)["retCode"]


@pytest.fixture(scope="module")
def desk():
    """A desk whose other keys are limited each in its way."""
    keys = [
        KEY,
        ApiKey("read", "s1", "1001", is_read_only=True),
        ApiKey("orders", "s2", "1001", {"ContractTrade": ["Order"]}),
        ApiKey("bound", "s3", "1001", addresses=("10.0.0.9",)),
        ApiKey("old", "s4", "1001", expires_ms=START_MS - 1),
    ]
    desk = Desk(make_exchange(keys=keys, settings=ServerSettings(0, 0, 5, LimitRules(100))))
    desk.keys = {key.key: key for key in keys}
    return desk


@pytest.mark.parametrize(
    ("offset_ms", "window", "wanted"),
    [(0, 5000, 0), (999, 5000, 0), (1000, 5000, 10002), (-5000, 5000, 0), (-5001, 5000, 10002),
     (-9000, 10000, 0), (-20, 10, 10002)],
)  # fmt: skip
def test_receive_window_is_closed_behind_and_open_ahead(desk, offset_ms, window, wanted):
    stamp = str(desk.exchange.now_ms + offset_ms)
    text = f"{stamp}{KEY.key}{window}"
    headers = {"x-bapi-api-key": KEY.key, "x-bapi-timestamp": stamp,
               "x-bapi-recv-window": str(window),
               "x-bapi-sign": sign(KEY.secret, text)}  # fmt: skip
    assert code(desk.send("GET", INFO, signed=False, **headers)) == wanted


def test_signature_covers_the_raw_query_as_it_was_sent(desk):
    for query in ("symbol=BTCUSDT&category=linear", "category=linear&symbol=BTCUSDT&x=%20"):
        assert code(desk.send("GET", "/v5/position/list", query=query)) == 0
    sent = desk.send("GET", "/v5/position/list", query="category=linear", x_bapi_sign="0" * 64)
    assert code(sent) == 10004


def test_signature_covers_the_raw_body_spaces_and_all(desk):
    body = '{"category" :"linear",  "symbol":"BTCUSDT", "unknown": [1], "orderId":"x"}'
    assert code(desk.send("POST", "/v5/order/cancel", body=body)) == 110001


@pytest.mark.parametrize(
    ("key", "path", "wanted"),
    [("read", INFO, 0), ("read", "/v5/order/cancel-all", 10005),
     ("orders", "/v5/order/cancel-all", 0),
     ("orders", "/v5/position/confirm-pending-mmr", 10005), ("bound", INFO, 10010),
     ("old", INFO, 33004)],
)  # fmt: skip
def test_key_is_held_to_its_rights_its_address_and_its_term(desk, key, path, wanted):
    is_post = path != INFO
    body = json.dumps(BTC) if is_post else ""
    sent = desk.send("POST" if is_post else "GET", path, body=body, key=desk.keys[key])
    assert (sent.status, code(sent)) == (200, wanted)


def test_request_without_authentication_is_401_and_an_unknown_path_404(desk):
    assert desk.send("GET", INFO, signed=False).status == 401
    unknown = desk.send("GET", "/v5/no/such/path")
    assert (unknown.status, code(unknown)) == (404, 10017)
    assert code(desk.send("POST", "/v5/market/time")) == 10017
    stranger = ApiKey("stranger", "s", "9")
    assert code(desk.send("GET", INFO, key=stranger)) == 10003


def test_rsa_key_signs_by_pkcs1_over_sha256_and_no_other_text():
    from base64 import b64encode

    from Crypto.Hash import SHA256
    from Crypto.PublicKey import RSA
    from Crypto.Signature import PKCS1_v1_5

    private = rsa.generate_private_key(65537, 2048)
    public = private.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
    pem = private.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    # pybit signs so; the exchange checks by another library.
    made = b64encode(PKCS1_v1_5.new(RSA.import_key(pem)).sign(SHA256.new(b"text"))).decode()
    assert is_rsa_signature(public.decode(), b"text", made)
    assert not is_rsa_signature(public.decode(), b"another", made)
    assert not is_rsa_signature(public.decode(), b"text", "no base64!")
    key = ApiKey("rsa", "", "1001", rsa_public=public.decode())
    assert key.has_signed(b"text", made)


def test_limits_are_told_by_headers_and_end_with_the_second():
    desk = Desk(make_exchange())
    bodies = [desk.send("POST", "/v5/order/cancel-all", body=json.dumps(BTC)) for _ in range(11)]
    left = [int(reply.headers["X-Bapi-Limit-Status"]) for reply in bodies]
    assert left == [*range(9, -1, -1), 0]
    assert [code(reply) for reply in bodies] == [0] * 10 + [10006]
    assert bodies[0].headers["X-Bapi-Limit"] == "10"
    reset = int(bodies[-1].headers["X-Bapi-Limit-Reset-Timestamp"])
    assert reset == desk.wall_ms + 1000
    desk.wait(1.0)
    assert code(desk.send("POST", "/v5/order/cancel-all", body=json.dumps(BTC))) == 0


def test_orders_of_a_batch_count_one_by_one_and_the_overflow_fails_alone():
    desk = Desk(make_exchange())
    row = {"symbol": "BTCUSDT", "side": "Buy", "orderType": "Limit", "qty": "0.01",
           "price": desk.price("0.99")}  # fmt: skip
    reply = desk.post("/v5/order/create-batch", category="linear", request=[row] * 12)
    assert reply["retCode"] == 0
    codes = [item["code"] for item in reply["retExtInfo"]["list"]]
    assert codes == [0] * 10 + [10006] * 2
    assert [bool(item["orderId"]) for item in reply["result"]["list"]] == [True] * 10 + [False] * 2
    # Single orders have a bucket of their own.
    assert desk.order()["retCode"] == 0


def test_address_that_asks_too_often_is_banned_for_ten_minutes():
    rules = LimitRules(requests_per_5s=20)
    desk = Desk(make_exchange(settings=ServerSettings(0, 0, 5, rules)))
    statuses = [desk.send("GET", "/v5/market/time").status for _ in range(22)]
    assert statuses == [200] * 20 + [403] * 2
    desk.wait(599)
    assert desk.send("GET", "/v5/market/time").status == 403
    desk.wait(2)
    assert desk.send("GET", "/v5/market/time").status == 200


def test_sockets_of_an_address_are_counted_over_five_minutes():
    rules = LimitRules(sockets_per_5min=3)
    desk = Desk(make_exchange(settings=ServerSettings(0, 0, 5, rules)))
    assert [isinstance(desk.open(), int) for _ in range(4)] == [False] * 3 + [True]
    desk.wait(301)
    assert not isinstance(desk.open(), int)


@given(
    waits=st.lists(st.integers(0, 700), max_size=60), limit=st.integers(1, 10), seed=st.randoms()
)
@settings(max_examples=50, deadline=None)
def test_limiter_never_grants_more_than_the_limit_in_any_rolling_second(waits, limit, seed):
    limiter, now, granted = Limiter(LimitRules()), 0, []
    for wait in waits:
        now += wait
        units = seed.randint(1, 4)
        granted += [now] * limiter.take("u", "class", limit, now, units=units).granted
    assert all(sum(at <= one < at + 1000 for one in granted) <= limit for at in granted)


@pytest.mark.parametrize("path", ["/v5/private", "/v5/trade"])
def test_login_takes_numbers_and_text_and_refuses_the_past_and_a_wrong_signature(desk, path):
    now = desk.exchange.now_ms

    def reply(expires, secret=KEY.secret, **named):
        socket = desk.open(path)
        signature = sign(secret, f"GET/realtime{expires}")
        desk.say(socket, op="auth", args=[KEY.key, expires, signature], **named)
        return socket, heard(socket)[0]

    for expires in (now + 1, str(now + 10_000)):
        socket, frame = reply(expires)
        assert frame.get("success", frame.get("retCode") == 0) is True
        assert socket.close_code is None
    assert reply(now + 5, req_id="7", reqId="7")[1].get("req_id") == (
        "7" if "priv" in path else None
    )
    for wrong in (reply(now), reply(now + 9, "wrong")):
        socket, frame = wrong
        assert frame.get("success", frame.get("retCode") == 0) is False
        assert socket.close_code == 1000
