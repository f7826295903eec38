"""A desk at the simulated exchange: signed requests and frames, on a clock that the test moves."""

import hashlib
import hmac
import json
from dataclasses import dataclass, field
from datetime import UTC, datetime
from urllib.parse import urlencode

from workbench.data import synthesise
from workbench.exchange.server import ApiKey, Exchange, Request, ServerSettings
from workbench.exchange.server.roster import Account, add_accounts
from workbench.exchange.simulator import CandleSource, Settings, Simulator

START = datetime(2024, 1, 2, tzinfo=UTC)
START_MS = int(START.timestamp() * 1000)
KEY = ApiKey("desk-key", "desk-secret", "1001")
OTHER = ApiKey("other-key", "other-secret", "1002")
SYMBOLS = ("BTCUSDT", "ETHUSDT")
MARKET = synthesise(
    SYMBOLS, interval="1", start=datetime(2024, 1, 1, tzinfo=UTC), n_bars=3 * 1440, seed=3
)


def sign(secret, text):
    return hmac.new(secret.encode(), text.encode(), hashlib.sha256).hexdigest()


def make_simulator(symbols=SYMBOLS, *, market=MARKET, seed=1, **settings):
    """An exchange on a synthetic market of minutes, a day of history behind it."""
    return Simulator(
        [market.instruments[symbol] for symbol in symbols],
        source=CandleSource(market, start=START), settings=Settings(**settings), seed=seed,
        start_ms=START_MS,
    )  # fmt: skip


def make_exchange(*, settings=None, journal=None, wall_ms=START_MS, keys=(KEY, OTHER), **options):
    """An exchange with two accounts of 100,000 USDT, or one per key that is given."""
    simulator = make_simulator(**options)
    uids = dict.fromkeys(key.uid for key in keys)
    accounts = [Account(uid, tuple(key for key in keys if key.uid == uid), 100_000) for uid in uids]
    opened = add_accounts(simulator, accounts)
    settings = settings or ServerSettings(ack_ms=0, speed=0, seed=5)
    return Exchange(simulator, opened, wall_ms=wall_ms, settings=settings, journal=journal)


@dataclass
class Desk:
    """One client of an exchange; its clock is the exchange's."""

    exchange: Exchange = field(default_factory=make_exchange)
    key: ApiKey = KEY
    address: str = "127.0.0.1"

    @property
    def wall_ms(self):
        return self.exchange.wall_ms

    def send(self, method, path, *, query="", body="", key=None, signed=True, **headers):
        """A request as it goes over the wire, and the raw reply."""
        key = key or self.key
        stamp = str(headers.pop("stamp", self.exchange.now_ms))
        named = {}
        if signed:
            text = f"{stamp}{key.key}5000{query if method == 'GET' else body}"
            named = {
                "x-bapi-api-key": key.key, "x-bapi-timestamp": stamp, "x-bapi-recv-window": "5000",
                "x-bapi-sign": sign(key.secret, text),
            }  # fmt: skip
        named |= {name.replace("_", "-"): value for name, value in headers.items()}
        request = Request(method, path, query.encode(), named, body.encode(), self.address)
        return self.exchange.handle(request, self.wall_ms)

    def get(self, path, **params):
        """The parsed reply to a signed query."""
        return json.loads(self.send("GET", path, query=urlencode(params)).body)

    def post(self, path, **body):
        """The parsed reply to a signed body."""
        return json.loads(self.send("POST", path, body=json.dumps(body)).body)

    def order(self, **body):
        """The parsed reply to an order of 0.01 BTC that rests far below the market."""
        named = {"category": "linear", "symbol": "BTCUSDT", "side": "Buy", "orderType": "Limit",
                 "qty": "0.01", "timeInForce": "GTC", **body}  # fmt: skip
        if named["orderType"] == "Limit":
            named.setdefault("price", self.price("0.99"))
        return self.post("/v5/order/create", **named)

    def price(self, share="1", symbol="BTCUSDT"):
        """A price at a share of the last one, on a tick."""
        from decimal import Decimal

        tick = self.exchange.simulator.instruments[symbol].tick_size
        last = self.exchange.simulator.ticker(symbol).last_price
        return str(last * Decimal(share) // tick * tick)

    def step(self, seconds):
        """Let the market and the wall go on."""
        ms = round(seconds * 1000)
        self.exchange.tick(self.wall_ms + ms)
        self.exchange.control("step", {"ms": ms}, self.wall_ms)

    def move(self, seconds):
        """Let the market alone go on."""
        self.exchange.control("step", {"ms": round(seconds * 1000)}, self.wall_ms)

    def wait(self, seconds):
        """Let the wall go on, and the market with it unless it is stepped."""
        self.exchange.tick(self.wall_ms + round(seconds * 1000))

    def open(self, path="/v5/public/linear", query=""):
        """A socket."""
        return self.exchange.open_socket(path, query, self.address, self.wall_ms)

    def say(self, socket, **message):
        """A frame to the exchange."""
        self.exchange.hear(socket, json.dumps(message), self.wall_ms)

    def login(self, path="/v5/private", *, key=None, expires=None):
        """A socket that has logged in, and the reply if it is there at once."""
        key = key or self.key
        expires = expires or self.exchange.now_ms + 10_000
        socket = self.open(path)
        sig = sign(key.secret, f"GET/realtime{expires}")
        self.say(socket, op="auth", args=[key.key, expires, sig])
        return socket, next(iter(heard(socket)), None)

    def listen(self, *topics, path="/v5/public/linear"):
        """A socket that listens to topics, its acknowledgement read."""
        socket = self.login(path)[0] if path == "/v5/private" else self.open(path)
        self.say(socket, op="subscribe", req_id="1", args=list(topics))
        return socket

    def trade(self, socket, op, *, req_id="r1", **body):
        """An operation by the trade socket."""
        header = {"X-BAPI-TIMESTAMP": str(self.exchange.now_ms), "X-BAPI-RECV-WINDOW": "5000"}
        self.say(socket, reqId=req_id, header=header, op=op, args=[body])


def heard(socket):
    """The frames that came since the last look."""
    frames = [json.loads(text) for text in socket.outbox]
    socket.outbox.clear()
    return frames
