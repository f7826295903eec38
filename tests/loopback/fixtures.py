"""A loopback exchange that knows the recorded instruments and shared candles."""

import json
from datetime import UTC, datetime

import polars as pl
import pytest

from tests.loopback.server import Market, serving
from workbench.core.clock import SimulatedClock
from workbench.core.vault import Secret
from workbench.exchange import BybitClient

NOW = datetime(2024, 3, 1, 12, 30, tzinfo=UTC)


def millis(moment):
    return int(moment.timestamp() * 1000)


def tiers():
    return [
        {"id": k, "riskLimitValue": limit, "maintenanceMargin": rate, "maxLeverage": leverage,
         "mmDeduction": ""}
        for k, (limit, rate, leverage) in enumerate(
            [("2000000", "0.005", "100.00"), ("10000000", "0.01", "50.00")], start=1
        )
    ]  # fmt: skip


def premium_rows(marks, traded):
    """The mark over the last price, since no recording of the premium index is at hand."""
    rows = []
    for mark, last in zip(marks, traded, strict=True):
        opened, closed = (float(mark[k]) / float(last[k]) - 1 for k in (1, 4))
        bar = (opened, max(opened, closed), min(opened, closed), closed)
        rows.append([mark[0], *map(repr, bar)])
    return rows


@pytest.fixture(scope="session")
def candles(shared_data):
    """Real hourly candles, marks and funding of early 2024, as the exchange would send them."""
    folder = shared_data / "bybit_linear_2024"
    span = pl.col("timestamp").is_between(datetime(2023, 12, 20, tzinfo=UTC), NOW)

    def rows(name, columns):
        table = pl.read_parquet(folder / name).filter(span).sort("timestamp")
        answer = {}
        for (symbol,), own in table.group_by("symbol"):
            stamps = own["timestamp"].dt.epoch("ms").to_list()
            values = own.select(columns).rows()
            answer[symbol] = [[str(t), *map(repr, v)] for t, v in zip(stamps, values, strict=True)]
        return answer

    prices = ["open", "high", "low", "close"]
    traded = rows("ohlcv_1h.parquet", [*prices, "volume"])
    marks = rows("mark_1h.parquet", prices)
    settled = rows("funding.parquet", ["funding_rate"])
    return {
        "kline": {
            symbol: [[*row, repr(float(row[4]) * float(row[5]))] for row in own]
            for symbol, own in traded.items()
        },
        "mark": marks,
        "premium": {s: premium_rows(marks[s], traded[s]) for s in ("BTCUSDT", "ETHUSDT")},
        "funding": {
            symbol: [(int(row[0]), row[1]) for row in own] for symbol, own in settled.items()
        },
    }


@pytest.fixture
def market(shared_data, candles):
    """The exchange's state: BTC and ETH, the last candle still in progress."""
    path = shared_data.parent / "bybit" / "instruments" / "ccxt_static_markets.json"
    listed = json.loads(path.read_text())["list"]
    symbols = ("BTCUSDT", "ETHUSDT")
    hours = range(millis(datetime(2024, 1, 1, tzinfo=UTC)), millis(NOW), 3_600_000)
    return Market(
        now_ms=millis(NOW),
        instruments=[row for row in listed if row["symbol"] != "BTCUSD"],
        risk_limits={row["symbol"]: tiers() for row in listed},
        klines={(k, s, "60"): candles[k][s] for k in ("kline", "mark", "premium") for s in symbols},
        funding={s: candles["funding"][s] for s in symbols},
        open_interest={s: [(t, str(1000 + n)) for n, t in enumerate(hours)] for s in symbols},
    )


@pytest.fixture
def endpoint(market):
    """The address of the loopback exchange."""
    with serving(market) as address:
        yield address


@pytest.fixture
def clock():
    """A clock that stands at the exchange's time and moves instead of waiting."""
    return SimulatedClock(NOW)


@pytest.fixture
def client(endpoint, clock):
    """A real client, on real pybit, of the loopback exchange."""
    return BybitClient(endpoint, clock=clock, timeout_s=2, requests_per_s=1000)


@pytest.fixture
def login(market):
    """The key of the loopback exchange, which may trade and not withdraw."""
    rights = {"ContractTrade": ["Order", "Position"], "Wallet": ["AccountTransfer"]}
    market.desk.answers["/v5/user/query-api"] = {
        "id": "1", "apiKey": market.desk.key, "userID": 7, "readOnly": 0, "permissions": rights,
        "ips": ["127.0.0.1"], "deadlineDay": -2, "isMaster": False, "parentUid": "6", "uta": 1,
    }  # fmt: skip
    return Secret({"api_key": market.desk.key, "api_secret": market.desk.secret})


@pytest.fixture
def trader(endpoint, market, clock, login):
    """A client with a key that may trade; the exchange's time goes on with its clock."""
    market.elapsed_ms = lambda: millis(clock.now()) - millis(NOW)
    return BybitClient(endpoint, login=login, clock=clock, timeout_s=2, requests_per_s=1000)


@pytest.fixture(scope="session")
def documents(shared_data):
    """Gives the result of a documented reply by the name of its file."""
    folder = shared_data.parent / "bybit" / "bybit_docs"
    return lambda name: json.loads((folder / f"{name}.json").read_text())["result"]


@pytest.fixture
def desk(market, login, documents):
    """An account in order: unified, cross, flat, one-way, ten times leverage."""
    market.desk.answers["/v5/account/info"] = documents("account__account-info.0")
    flat = documents("position__position.0")["list"][0] | {
        "symbol": "BTCUSDT", "side": "", "size": "0", "avgPrice": "0"
    }  # fmt: skip
    market.desk.answers["/v5/position/list"] = lambda query: {
        "list": [flat] if "symbol" in query else []
    }
    return market.desk
