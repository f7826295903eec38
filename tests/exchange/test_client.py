"""Protects the client: real pybit against a V5 server on loopback, its pages and its faults."""

from datetime import UTC, datetime, timedelta
from decimal import Decimal

import pytest
from pybit.unified_trading import HTTP

from tests.loopback.fixtures import NOW
from workbench.core.errors import DataError, ExchangeBusy, ExchangeError
from workbench.exchange import BybitClient

START = datetime(2024, 1, 1, tzinfo=UTC)


def test_server_time_is_aware(client):
    assert client.server_time() == NOW


def test_session_is_pybits_and_takes_any_address():
    """BYBIT.md 1.2: the endpoint is set on the session; a new pybit must still let us."""
    session = BybitClient("http://127.0.0.1:9")._session()
    assert session.endpoint == "http://127.0.0.1:9"
    assert {"_submit_request", "_prepare_headers", "_prepare_request", "prepare_payload"} <= set(
        dir(HTTP)
    )


def test_instruments_follow_the_cursor_and_carry_their_tiers(client):
    """TE-02, TE-05: recorded instruments with Decimal steps, tiers with computed deductions."""
    bitcoin, ether = client.instruments(["BTCUSDT", "ETHUSDT"])
    assert (bitcoin.tick_size, bitcoin.qty_step) == (Decimal("0.10"), Decimal("0.001"))
    assert bitcoin.max_market_qty == Decimal("119.000")
    assert [tier.deduction_usdt for tier in bitcoin.tiers] == [0, Decimal(10_000)]
    assert ether.funding_interval_min == 480
    assert bitcoin.launched == datetime(2020, 3, 15, tzinfo=UTC)


def test_instrument_unknown_names_the_nearest(client):
    with pytest.raises(DataError, match=r"no perpetual BTCUSD\..*BTCUSDT"):
        client.instruments(["BTCUSD"])


def test_tiers_in_percent_are_normalised(client, market):
    market.risk_limits["BTCUSDT"][0]["maintenanceMargin"] = "0.5"
    market.risk_limits["BTCUSDT"][1]["maintenanceMargin"] = "1"
    assert [t.maintenance_rate for t in client.risk_limits("BTCUSDT")] == [
        Decimal("0.005"),
        Decimal("0.01"),
    ]


def test_tier_rate_that_no_scale_explains_is_refused(client, market):
    market.risk_limits["BTCUSDT"][1]["maintenanceMargin"] = "1.5"
    with pytest.raises(DataError, match="between 0 and 1"):
        client.risk_limits("BTCUSDT")


def test_klines_of_many_pages_are_ascending_and_complete(client, market):
    end = START + timedelta(hours=1300)
    pages = list(client.klines("BTCUSDT", "60", START, end))
    starts = [bar.start_ms for page in pages for bar in page]
    assert [len(page) for page in pages] == [1000, 300]
    assert starts == sorted(starts)
    source = {int(row[0]): row for row in market.klines["kline", "BTCUSDT", "60"]}
    first = pages[0][0]
    assert first.close == Decimal(source[first.start_ms][4])


def test_mark_klines_carry_no_volume(client):
    page = next(client.klines("BTCUSDT", "60", START, START + timedelta(hours=2), kind="mark"))
    assert (page[0].volume, page[0].turnover) == (None, None)


def test_funding_pages_backwards_to_the_start(client, market):
    market.funding["BTCUSDT"] = [
        (int((START + timedelta(hours=8 * k)).timestamp() * 1000), "0.0001") for k in range(450)
    ]
    pages = list(client.funding("BTCUSDT", START, START + timedelta(days=150)))
    assert [len(page) for page in pages] == [200, 200, 50]
    assert pages[-1][0].time_ms == int(START.timestamp() * 1000)


def test_open_interest_follows_the_cursor(client):
    pages = list(client.open_interest("BTCUSDT", "60", START, START + timedelta(hours=450)))
    assert sum(len(page) for page in pages) == 450


def test_open_interest_of_an_unserved_step_lists_the_served(client):
    with pytest.raises(DataError, match="240, D"):
        next(client.open_interest("BTCUSDT", "120", START, NOW))


@pytest.mark.parametrize(
    "fault", ["10006", "10006+reset", "10016", "10000", "cut", "garbage", "503"]
)
def test_passing_fault_is_asked_again_and_waited_out(client, market, clock, fault):
    """TE-06, TE-07: slow down, outage, cut connection: read again, through the clock."""
    market.faults = [fault, fault]
    assert client.server_time() == NOW
    assert clock.now() > NOW
    assert len(market.requests) == 3


def test_fault_that_stays_is_raised_after_the_last_try(client, market):
    market.faults = ["10006"] * 99
    with pytest.raises(ExchangeBusy, match="10006"):
        client.server_time()
    assert len(market.requests) == client.tries


def test_refusal_is_raised_at_once(client, market):
    market.faults = ["10001"]
    with pytest.raises(ExchangeError, match="10001"):
        client.server_time()
    assert len(market.requests) == 1


def test_ban_stops_everything_for_ten_minutes(client, market, clock):
    market.faults = ["403"]
    with pytest.raises(ExchangeError, match="banned"):
        client.server_time()
    assert len(market.requests) == 1
    client.server_time()
    assert clock.now() - NOW >= timedelta(minutes=10)


def test_burst_is_spread_by_the_bucket(endpoint, clock):
    """TE-07: thirty requests at ten a second take two seconds, the first ten none."""
    client = BybitClient(endpoint, clock=clock, requests_per_s=10)
    for _ in range(30):
        client.server_time()
    assert timedelta(seconds=1.9) < clock.now() - NOW < timedelta(seconds=2.1)


def test_nobody_there_says_what_to_check():
    client = BybitClient("http://127.0.0.1:9", timeout_s=1, tries=1)
    with pytest.raises(ExchangeBusy, match="rest_url"):
        client.server_time()


def test_quotes_and_notices_are_records(client, market, documents):
    """TE-02: ticker, book, trades, price limit, alerts, insurance, maintenance."""
    market.desk.answers |= {
        f"/v5/{path}": documents(name)
        for path, name in {
            "market/tickers": "market__tickers.0",
            "market/orderbook": "market__orderbook.0",
            "market/recent-trade": "market__recent-trade.0",
            "market/price-limit": "market__order-price-limit.0",
            "market/adlAlert": "market__adl-alert.0",
            "market/insurance": "market__insurance.0",
            "system/status": "system-status.0",
        }.items()
    }
    assert client.tickers("BTCUSD")[0].last_price == Decimal("120635.50")
    assert client.book("BTCUSDT").asks[0] == (Decimal("65557.7"), Decimal("16.606555"))
    assert client.trades("BTCUSDT")[0].price == Decimal("16618.49")
    assert client.price_limit("BTCUSDT").buy_lmt == Decimal("105878.10")
    assert client.adl_alerts()[0].symbol == "BTCUSDT"
    assert client.insurance()[0].coin == "USDT"
    assert client.maintenance()[0].state == "completed"
