"""Lists come by page, newest first, within the windows of time that the exchange serves."""

from urllib.parse import unquote

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.exchange.desk import SYMBOLS, Desk, make_exchange
from workbench.exchange.server import LimitRules, ServerSettings
from workbench.exchange.server.paging import DAY_MS, WEEK_MS, page, read_window
from workbench.exchange.simulator import Refused

BTC = {"category": "linear", "symbol": "BTCUSDT"}
ROWS = st.lists(st.tuples(st.integers(0, 30), st.text("ab:%,", min_size=1)), unique=True)


def pages(rows, limit, *, encode=lambda cursor: cursor, between=lambda rows: rows):
    """Every page of a list, by its cursors."""
    found, cursor = [], ""
    for _ in range(len(rows) + 1):
        params = {"limit": str(limit), "cursor": encode(cursor)}
        shown, cursor = page(rows, params, key=lambda row: row, default=20, most=50)
        found.append(shown)
        if not cursor:
            return found
        rows = between(rows)
    raise AssertionError("the cursors never end")


@given(rows=ROWS, limit=st.integers(1, 7), encode=st.sampled_from([lambda c: c, unquote]))
def test_pages_hold_every_row_once_the_newest_first(rows, limit, encode):
    found = pages(rows, limit, encode=encode)
    assert [row for one in found for row in one] == sorted(rows, reverse=True)
    assert all(len(one) == limit for one in found[:-1])


@given(rows=ROWS, limit=st.integers(1, 7))
def test_rows_that_arrive_between_two_pages_shift_nothing(rows, limit):
    found = pages(rows, limit, between=lambda rows: [*rows, (99, f"new{len(rows)}")])
    assert [row for one in found for row in one] == sorted(rows, reverse=True)


@pytest.mark.parametrize(
    ("params", "wanted"),
    [({}, (900 - WEEK_MS, 900)), ({"endTime": "500"}, (500 - WEEK_MS, 500)),
     ({"startTime": "100"}, (100, 100 + WEEK_MS)), ({"startTime": "1", "endTime": "9"}, (1, 9))],
)  # fmt: skip
def test_window_is_filled_in_from_what_was_given(params, wanted):
    assert read_window(params, 900, span_ms=WEEK_MS) == wanted


@pytest.mark.parametrize(
    "params",
    [{"startTime": "9", "endTime": "1"}, {"startTime": "0", "endTime": str(WEEK_MS + 1)},
     {"startTime": "-1"}, {"endTime": "soon"}, {"startTime": "\u0661"}],
)  # fmt: skip
def test_window_that_is_too_long_or_no_window_is_refused(params):
    with pytest.raises(Refused, match="10001"):
        read_window(params, 900, span_ms=WEEK_MS)


def make_desk():
    """A desk with a dozen cancelled orders and one that was filled."""
    desk = Desk(make_exchange(settings=ServerSettings(0, 0, 5, LimitRules(1000))))
    desk.order(orderLinkId="filled", orderType="Market")
    for k in range(12):
        desk.order(orderLinkId=f"c{k}")
        desk.post("/v5/order/cancel", **BTC, orderLinkId=f"c{k}")
    return desk


@pytest.fixture(scope="module")
def desk():
    return make_desk()


@pytest.fixture(scope="module")
def aged():
    """The same desk a day later."""
    desk = make_desk()
    desk.move(DAY_MS / 1000 + 1)
    return desk


def links(desk, **params):
    reply = desk.get("/v5/order/history", **BTC, **params)["result"]
    return [row["orderLinkId"] for row in reply["list"]], reply["nextPageCursor"]


def test_history_pages_and_forgets_orders_without_fills_after_a_day(desk, aged):
    first, cursor = links(desk, limit=8)
    second, last = links(desk, limit=8, cursor=cursor)
    assert sorted(first + second) == sorted(["filled", *(f"c{k}" for k in range(12))])
    assert last == ""
    assert links(aged)[0] == ["filled"]


def test_log_gives_a_day_where_no_window_is_named(aged):
    log = "/v5/account/transaction-log"
    kinds = {row["type"] for row in aged.get(log)["result"]["list"]}
    start = aged.exchange.now_ms - 2 * DAY_MS
    window = {"startTime": start, "endTime": aged.exchange.now_ms}
    more = {row["type"] for row in aged.get(log, **window)["result"]["list"]}
    assert kinds == {"SETTLEMENT"}
    assert more == {"SETTLEMENT", "TRADE", "TRANSFER_IN"}


def test_start_of_funding_alone_is_an_error_as_it_is_there(aged):
    path, start = "/v5/market/funding/history", aged.exchange.now_ms - DAY_MS
    assert aged.get(path, **BTC, startTime=start)["retCode"] == 10001
    rows = aged.get(path, **BTC, startTime=start, endTime=aged.exchange.now_ms)["result"]["list"]
    stamps = [int(row["fundingRateTimestamp"]) for row in rows]
    assert len(stamps) == 3
    assert stamps == sorted(stamps, reverse=True)


def test_instruments_and_positions_page_in_the_order_of_their_listing(desk):
    path = "/v5/market/instruments-info"
    first = desk.get(path, category="linear", limit=1)["result"]
    second = desk.get(path, category="linear", limit=1, cursor=first["nextPageCursor"])["result"]
    assert [row["symbol"] for row in first["list"] + second["list"]] == list(SYMBOLS)
    assert second["nextPageCursor"] == ""


def test_open_orders_need_a_scope_and_positions_are_shown_flat_only_by_name(desk):
    assert desk.get("/v5/order/realtime", category="linear")["retCode"] == 10001
    assert desk.get("/v5/position/list", category="linear")["retCode"] == 10001
    named = desk.get("/v5/position/list", category="linear", symbol="ETHUSDT")["result"]["list"]
    assert [row["side"] for row in named] == [""]
    held = desk.get("/v5/position/list", category="linear", settleCoin="USDT")["result"]["list"]
    assert [row["symbol"] for row in held] == ["BTCUSDT"]
    for category in ("spot", "inverse", "option"):
        assert desk.get("/v5/position/list", category=category)["result"]["list"] == []
    assert desk.post("/v5/order/create", category="spot", symbol="BTCUSDT")["retCode"] == 10001
