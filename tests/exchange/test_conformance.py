"""Every payload that is served has the fields of the documented example, no more and no fewer."""

import json
from pathlib import Path

import pytest

from tests.exchange.desk import OTHER, Desk, heard
from workbench.exchange.server.exchange import ENDPOINTS


@pytest.fixture(scope="session")
def examples(shared_data) -> Path:
    """The folder of the documented payloads."""
    return shared_data.parent / "bybit" / "bybit_docs"


def fields(value, path=""):
    """The names of all fields of a JSON value with their places; lists are of one kind each."""
    if isinstance(value, dict):
        return {
            place for name, below in value.items() for place in fields(below, f"{path}.{name}")
        } | {path}
    if isinstance(value, list):
        rows = [row for row in value if isinstance(row, dict)]
        return {place for row in rows for place in fields(row, f"{path}[]")} | {path}
    return {path}


def columns(value):
    """How many columns the rows of a list of lists have."""
    if isinstance(value, dict):
        return {n for below in value.values() for n in columns(below)}
    if isinstance(value, list):
        own = {len(row) for row in value if isinstance(row, list)}
        return own | {n for row in value if isinstance(row, dict) for n in columns(row)}
    return set()


# What each example is compared with: a query or body that the busy desk answers.
LINEAR = {"category": "linear"}
BTC = {**LINEAR, "symbol": "BTCUSDT"}
READS = {
    "market__time.0": ("/v5/market/time", {}),
    "market__kline.0": ("/v5/market/kline", {**BTC, "interval": "5"}),
    "market__mark-kline.0": ("/v5/market/mark-price-kline", {**BTC, "interval": "5"}),
    "market__index-kline.0": ("/v5/market/index-price-kline", {**BTC, "interval": "5"}),
    "market__premium-index-kline.0": (
        "/v5/market/premium-index-price-kline", {**BTC, "interval": "5"}
    ),
    "market__instrument.0": ("/v5/market/instruments-info", LINEAR),
    "market__tickers.0": ("/v5/market/tickers", BTC),
    "market__orderbook.0": ("/v5/market/orderbook", BTC),
    "market__recent-trade.0": ("/v5/market/recent-trade", BTC),
    "market__history-fund-rate.0": ("/v5/market/funding/history", BTC),
    "market__open-interest.0": ("/v5/market/open-interest", {**BTC, "intervalTime": "5min"}),
    "market__risk-limit.0_0.repaired": ("/v5/market/risk-limit", BTC),
    "market__insurance.0": ("/v5/market/insurance", {}),
    "market__adl-alert.0": ("/v5/market/adlAlert", {}),
    "market__order-price-limit.0": ("/v5/market/price-limit", BTC),
    "system-status.0": ("/v5/system/status", {}),
    "order__open-order.0": ("/v5/order/realtime", BTC),
    "order__order-list.0": ("/v5/order/history", BTC),
    "order__execution.0": ("/v5/execution/list", BTC),
    "position__position.0": ("/v5/position/list", BTC),
    "position__close-pnl.0": ("/v5/position/closed-pnl", BTC),
    "account__wallet-balance.0": ("/v5/account/wallet-balance", {"accountType": "UNIFIED"}),
    "account__account-info.0": ("/v5/account/info", {}),
    "account__fee-rate.0": ("/v5/account/fee-rate", LINEAR),
    "account__transaction-log.0": ("/v5/account/transaction-log", {}),
    "account__unified-trans-amnt.0": ("/v5/account/withdrawal", {"coinName": "USDT"}),
    "account__smp-group.0": ("/v5/account/smp-group", {}),
    "account__dcp-info.0": ("/v5/account/query-dcp-info", {}),
    "user__apikey-info.0": ("/v5/user/query-api", {}),
    "asset__coin-info.0": ("/v5/asset/coin/query-info", {}),
}  # fmt: skip
ORDER = {**BTC, "side": "Buy", "orderType": "Limit", "qty": "0.01", "price": "20000"}
WRITES = {
    "order__create-order.0": ("/v5/order/create", {**ORDER, "orderLinkId": "c-1"}),
    "order__amend-order.0": ("/v5/order/amend", {**BTC, "orderLinkId": "rest", "qty": "0.02"}),
    "order__cancel-order.0": ("/v5/order/cancel", {**BTC, "orderLinkId": "to-cancel"}),
    "order__cancel-all.0": ("/v5/order/cancel-all", BTC),
    "order__batch-place.0": ("/v5/order/create-batch", {**LINEAR, "request": [ORDER, ORDER]}),
    "order__batch-amend.0": (
        "/v5/order/amend-batch",
        {**LINEAR, "request": [{"symbol": "BTCUSDT", "orderLinkId": "rest", "qty": "0.03"}]},
    ),
    "order__batch-cancel.0": (
        "/v5/order/cancel-batch",
        {**LINEAR, "request": [{"symbol": "BTCUSDT", "orderLinkId": "no-such"}]},
    ),
    "order__pre-check-order.0": ("/v5/order/pre-check", ORDER),
    "position__leverage.0": (
        "/v5/position/set-leverage", {**BTC, "buyLeverage": "7", "sellLeverage": "7"}
    ),
    "position__position-mode.0": (
        "/v5/position/switch-mode", {**LINEAR, "symbol": "ETHUSDT", "mode": 3}
    ),
    "position__trading-stop.0": (
        "/v5/position/trading-stop",
        {**BTC, "positionIdx": 0, "tpslMode": "Full", "stopLoss": "20000"},
    ),
    "position__confirm-mmr.0": ("/v5/position/confirm-pending-mmr", BTC),
    "account__set-margin-mode.0": (
        "/v5/account/set-margin-mode", {"setMarginMode": "ISOLATED_MARGIN"}
    ),
}  # fmt: skip
ISOLATED = {
    "position__auto-add-margin.0": (
        "/v5/position/set-auto-add-margin", {**BTC, "autoAddMargin": 1}
    ),
    "position__manual-add-margin.0": ("/v5/position/add-margin", {**BTC, "margin": "10"}),
}  # fmt: skip
OTHER_PRODUCT = {
    "market__instrument.1": "a contract before its launch, whose auction has phases",
    "market__instrument.2": "an option",
    "market__instrument.3": "a spot pair",
    "market__tickers.1": "an option",
    "market__tickers.2": "a spot pair",
    "market__risk-limit.0": "the example as written is no JSON; its repair is compared",
    "market__long-short-ratio.0": "nobody counts accounts in a simulator: its list is empty",
    "order__dcp.0": "cancelling on a lost connection is for institutions: refused",
}
REASONS = {
    "envelope": "every reply has it; this page's example is cut short",
    "table": "the page's table of fields has it, its example does not",
    "history": "the example of the order history has it, and the rows are the same",
    "recorded": "recorded replies have it, the example does not",
    "reasons": "reasons are listed only where the mode could not be set",
    "chains": "nothing enters or leaves a simulator: no coin has a chain",
    "coins": "the map has one key per coin asked for",
    "fees": "the fee detail has one key per coin that fees were paid in",
    "tax": "no tax is taken on fees here",
}
_ORDER = {
    "+.result.list[].createType": "recorded", "+.result.list[].parentOrderLinkId": "table",
    "-.result.list[].cumFeeDetail.MNT": "fees",
}  # fmt: skip
_ONLY_IN_HISTORY = (
    "extraFees", "rpiMatchedQty", "rpiTakerAccess", "slippageTolerance", "slippageToleranceType",
)  # fmt: skip
_CHAIN = (
    "", ".chain", ".chainDeposit", ".chainType", ".chainWithdraw", ".confirmation",
    ".contractAddress", ".depositMin", ".minAccuracy", ".safeConfirmNumber", ".withdrawFee",
    ".withdrawMax", ".withdrawMin", ".withdrawPercentageFee",
)  # fmt: skip
_TAX = ("", ".fee", ".feeCoin", ".feeRate", ".feeType", ".subFeeType")
ALLOWED = {
    "account__account-info.0": {"+.retExtInfo": "envelope", "+.time": "envelope"},
    "account__set-margin-mode.0": {
        "+.retExtInfo": "envelope", "+.time": "envelope", "-.result.reasons[]": "reasons",
        "-.result.reasons[].reasonCode": "reasons", "-.result.reasons[].reasonMsg": "reasons",
    },
    "account__unified-trans-amnt.0": {
        **{f"-.result.availableWithdrawalMap.{c}": "coins" for c in ("BTC", "ETH", "SOL", "XRP")},
        "+.result.availableWithdrawalMap.USDT": "coins",
    },
    "asset__coin-info.0": {f"-.result.rows[].chains[]{part}": "chains" for part in _CHAIN},
    "market__risk-limit.0_0.repaired": {"+.result.nextPageCursor": "table"},
    "order__open-order.0": {
        **{f"+.result.list[].{name}": "history" for name in _ONLY_IN_HISTORY}, **_ORDER,
    },
    "order__order-list.0": {**_ORDER, "+.result.list[].cumFeeDetail.USDT": "fees"},
    "order__execution.0": {"+.result.list[].createType": "recorded"},
    "position__close-pnl.0": {
        "+.result.list[].openFee": "table", "+.result.list[].closeFee": "table"
    },
    "websocket__private__execution.1": {f"-.data[].extraFees[]{part}": "tax" for part in _TAX},
    "websocket__private__order.1": {
        "+.data[].createType": "recorded", "+.data[].parentOrderLinkId": "table",
        "-.data[].cumFeeDetail.MNT": "fees", "+.data[].cumFeeDetail.USDT": "fees",
    },
}  # fmt: skip
PUSHES = {
    "websocket__private__execution.1": ("execution", "/v5/private"),
    "websocket__private__fast-execution.1": ("execution.fast", "/v5/private"),
    "websocket__private__order.1": ("order", "/v5/private"),
    "websocket__private__position.1": ("position", "/v5/private"),
    "websocket__private__wallet.1": ("wallet", "/v5/private"),
    "websocket__public__all-liquidation.0": ("allLiquidation.ETHUSDT", "/v5/public/linear"),
    "websocket__public__kline.0": ("kline.5.BTCUSDT", "/v5/public/linear"),
    "websocket__public__order-price-limit.1": ("priceLimit.BTCUSDT", "/v5/public/linear"),
    "websocket__public__orderbook.0_0.repaired": ("orderbook.50.BTCUSDT", "/v5/public/linear"),
    "websocket__public__orderbook.1": ("orderbook.50.BTCUSDT", "/v5/public/linear"),
    "websocket__public__ticker.0_0.repaired": ("tickers.BTCUSDT", "/v5/public/linear"),
    "websocket__public__trade.0": ("publicTrade.BTCUSDT", "/v5/public/linear"),
    "websocket__system__system-status.1": ("system.status", "/v5/public/misc/status"),
}


@pytest.fixture(scope="module")
def desk():
    """A desk with orders of every fate, a position, funding, and a liquidation beside it."""
    desk = Desk()
    desk.pushed = {
        path: desk.listen(*(t for t, where in PUSHES.values() if where == path), path=path)
        for path in dict.fromkeys(path for _, path in PUSHES.values())
    }
    desk.order(orderType="Market", qty="0.05", orderLinkId="open")
    desk.order(orderLinkId="rest")
    desk.order(orderLinkId="to-cancel", takeProfit=desk.price("1.2"), stopLoss=desk.price("0.8"))
    desk.order(orderLinkId="gone")
    desk.post("/v5/order/cancel", **BTC, orderLinkId="gone")
    desk.move(600)
    desk.order(orderType="Market", side="Sell", qty="0.02", reduceOnly=True)
    other = Desk(desk.exchange, OTHER)
    other.post("/v5/account/set-margin-mode", setMarginMode="ISOLATED_MARGIN")
    eth = {**LINEAR, "symbol": "ETHUSDT"}
    other.post("/v5/position/switch-mode", **eth, mode=3)
    other.post("/v5/position/set-leverage", **eth, buyLeverage="100", sellLeverage="100")
    for side, idx in (("Buy", 1), ("Sell", 2)):
        other.order(symbol="ETHUSDT", orderType="Market", side=side, qty="0.02", positionIdx=idx)
    desk.move(8 * 3600)
    desk.exchange.control("fault", {"kind": "maintenance", "seconds": 1.0}, desk.wall_ms)
    desk.wait(2)
    desk.frames = [frame for one in desk.pushed.values() for frame in heard(one)]
    desk.exchange.faults.active.clear()
    return desk


def compare(example, ours):
    """What we lack (-) and what we have beyond it (+)."""
    theirs, own = fields(example), fields(ours)
    return {f"-{place}" for place in theirs - own} | {f"+{place}" for place in own - theirs}


def load(examples, name):
    return json.loads((examples / f"{name}.json").read_text())


@pytest.mark.parametrize("name", READS)
def test_reply_to_a_query_has_the_documented_fields(name, desk, examples):
    path, params = READS[name]
    example, ours = load(examples, name), desk.get(path, **params)
    assert ours["retCode"] == 0, ours
    assert compare(example, ours) == set(ALLOWED.get(name, {}))
    assert columns(example) == columns(ours)


@pytest.mark.parametrize("name", [*WRITES, *ISOLATED])
def test_reply_to_a_command_has_the_documented_fields(name, examples):
    desk = Desk()
    path, body = {**WRITES, **ISOLATED}[name]
    desk.order(orderType="Market", qty="0.05")
    if name in ISOLATED:
        desk.post("/v5/account/set-margin-mode", setMarginMode="ISOLATED_MARGIN")
    desk.order(orderLinkId="rest")
    desk.order(orderLinkId="to-cancel")
    ours = desk.post(path, **body)
    assert ours["retCode"] == 0, ours
    assert compare(load(examples, name), ours) == set(ALLOWED.get(name, {}))


@pytest.mark.parametrize("name", PUSHES)
def test_push_has_the_documented_fields(name, desk, examples):
    example = load(examples, name)
    frames = [frame for frame in desk.frames if frame.get("topic") == PUSHES[name][0]]
    kind = example.get("type")
    found = [frame for frame in frames if kind in (None, frame.get("type"))]
    assert found, name
    assert compare(example, found[-1]) == set(ALLOWED.get(name, {}))


def test_every_example_of_a_served_path_is_compared(examples):
    rows = [line.split("\t") for line in (examples / "INDEX.tsv").read_text().splitlines()]
    served = {
        row[0].removesuffix(".json").removesuffix(".jsonish.txt")
        for row in rows
        if any(place in row[2] for place in (str(served) for served in ENDPOINTS))
    }
    assert served - {*READS, *WRITES, *ISOLATED, *OTHER_PRODUCT} == set()


def test_every_allowance_gives_a_reason_that_is_written_down():
    assert {why for rows in ALLOWED.values() for why in rows.values()} <= REASONS.keys()
