"""Protects the download: the lake holds what the exchange has, whatever happens on the way."""

from datetime import UTC, datetime, timedelta
from functools import partial

import pytest

from tests.loopback.fixtures import NOW
from workbench import data
from workbench.core.errors import DataError, ExchangeError
from workbench.data import Lake, Series, load
from workbench.data.seal import SEALED
from workbench.exchange import BybitClient
from workbench.store import Store

START = "2024-01-01"
SERIES = Series("kline", "BTCUSDT", "60")
# The server of these tests is on this machine, and plays the real exchange.
pull = partial(data.pull, venue="bybit")


@pytest.fixture
def lake(home):
    return Lake(home / "data" / "lake")


def kline_requests(market):
    return [path for path in market.requests if path == "/v5/market/kline"]


def test_pull_equals_the_source_bar_for_bar(lake, client, market):
    """DF-01: every closed bar, unchanged; the one in progress is not stored."""
    report = pull(["BTCUSDT"], start=START, lake=lake, client=client)
    first = int(datetime(2024, 1, 1, tzinfo=UTC).timestamp() * 1000)
    last = int(NOW.timestamp() * 1000) - 3_600_000
    source = [r for r in market.klines["kline", "BTCUSDT", "60"] if first <= int(r[0]) <= last]
    held = lake.read(SERIES)
    assert held["time"].dt.epoch("ms").to_list() == [int(row[0]) for row in source]
    for k, name in enumerate(("open", "high", "low", "close", "volume"), start=1):
        assert held[name].to_list() == [float(row[k]) for row in source]
    assert held["time"].max() + timedelta(hours=1) <= NOW
    assert report.new_rows[SERIES] == len(source)
    assert report.findings == ()


def test_pulled_market_is_whole(lake, client):
    pull(["BTCUSDT", "ETHUSDT"], start=START, lake=lake, client=client)
    loaded = load(["BTCUSDT", "ETHUSDT"], lake=lake)
    assert not loaded.mark_is_last
    assert set(loaded.instruments) == {"BTCUSDT", "ETHUSDT"}
    settled = loaded.funding_settled["BTCUSDT"].dropna()
    assert set(settled.index.hour) == {0, 8, 16}
    assert loaded.open_interest.notna().all().all()


def test_pulled_premium_predicts_the_funding(lake, client, market):
    """DF-01: the premium index comes bar for bar, and gives a rate at every one."""
    pull(["BTCUSDT"], start=START, lake=lake, client=client)
    held = lake.read(Series("premium", "BTCUSDT", "60"))
    source = {int(row[0]): float(row[4]) for row in market.klines["premium", "BTCUSDT", "60"]}
    assert held["close"].to_list() == [source[t] for t in held["time"].dt.epoch("ms")]
    loaded = load(["BTCUSDT"], lake=lake)
    assert len(held) == loaded.n_bars
    assert loaded.funding_predicted.notna().all().all()
    settled = loaded.funding_settled["BTCUSDT"].dropna().index
    assert (loaded.funding_predicted.loc[settled].abs() <= 0.005).all().all()


def test_pull_again_asks_only_for_what_is_new(lake, client, market):
    pull(["BTCUSDT"], start=START, lake=lake, client=client, kinds=["kline"])
    market.requests.clear()
    again = pull(["BTCUSDT"], start=START, lake=lake, client=client, kinds=["kline"])
    assert again.new_rows[SERIES] == 0
    assert len(kline_requests(market)) <= 1


@pytest.mark.parametrize("at", range(1, 7))
def test_pull_interrupted_at_any_page_goes_on_there(lake, client, market, endpoint, clock, at):
    """DF-01: an outage costs the page that was asked for; nothing is lost, nothing doubled."""
    market.faults = [None] * at + ["10001"] * 50
    with pytest.raises(ExchangeError):
        pull(["BTCUSDT"], start=START, lake=lake, client=client, kinds=["kline"])
    market.faults = []
    pull(["BTCUSDT"], start=START, lake=lake, client=client, kinds=["kline"])
    whole = Lake(lake.root.parent / "other")
    pull(["BTCUSDT"], start=START, lake=whole, client=client, kinds=["kline"])
    assert lake.read(SERIES).equals(whole.read(SERIES))


def test_pull_fills_a_hole(lake, client):
    pull(["BTCUSDT"], start=START, end="2024-01-10", lake=lake, client=client, kinds=["kline"])
    pull(["BTCUSDT"], start="2024-01-20", lake=lake, client=client, kinds=["kline"])
    before = len(lake.read(SERIES))
    pull(["BTCUSDT"], start=START, lake=lake, client=client, kinds=["kline"])
    assert len(lake.read(SERIES)) == before + 240


def test_pull_before_the_launch_starts_there(lake, client, market):
    market.instruments[0]["launchTime"] = str(
        int(datetime(2024, 2, 1, tzinfo=UTC).timestamp() * 1000)
    )
    pull(["BTCUSDT"], start="2015-01-01", lake=lake, client=client, kinds=["kline"])
    assert lake.read(SERIES)["time"].min() == datetime(2024, 2, 1, tzinfo=UTC)
    assert len(kline_requests(market)) == 1


def test_pull_of_an_unknown_symbol_writes_nothing(lake, client):
    with pytest.raises(DataError, match="no perpetual BTCUSDC"):
        pull(["BTCUSDT", "BTCUSDC"], lake=lake, client=client)
    assert lake.series() == []


def test_pull_of_nothing_is_nothing(lake):
    assert pull([], lake=lake).new_rows == {}


def test_pull_of_an_unknown_kind_lists_the_known(lake, client):
    with pytest.raises(DataError, match="open_interest"):
        pull(["BTCUSDT"], kinds=["trades"], lake=lake, client=client)


def test_first_pull_seals_the_end_of_the_data(lake, client):
    """DESIGN 5: one date for all, six months before the first pull; a second does not move it."""
    for _ in range(2):
        pull(["BTCUSDT"], start="2024-02-28", lake=lake, client=client, kinds=["kline"])
    with Store.open() as store:
        seals = store.events(kind="seal")
    assert [row["until"] for row in seals["detail"]] == [(NOW - SEALED).isoformat()]


def test_progress_reaches_the_end(lake, client):
    seen = []
    pull(["BTCUSDT"], start="2024-02-01", lake=lake, client=client, kinds=["kline"],
         progress=lambda what, share: seen.append((what, share)))  # fmt: skip
    assert seen[-1] == ("BTCUSDT kline", 1.0)


def test_pull_without_the_exchange_says_what_to_check(lake):
    client = BybitClient("http://127.0.0.1:9", timeout_s=1, tries=1)
    with pytest.raises(ExchangeError, match="rest_url"):
        pull(["BTCUSDT"], lake=lake, client=client)


def test_pull_from_a_simulator_is_kept_apart_labelled_and_seals_nothing(lake, client):
    """What is not the real market never passes for it."""
    report = data.pull(["BTCUSDT"], start=START, lake=lake, client=client)
    assert {series.venue for series in report.new_rows} == {"simulator"}
    assert load(["BTCUSDT"], lake=lake, venue="simulator").watermark == "SYNTHETIC"
    with pytest.raises(DataError, match="holds no 60 bars"):
        load(["BTCUSDT"], lake=lake)
    with Store.open() as store:
        assert store.events(kind="seal").empty
