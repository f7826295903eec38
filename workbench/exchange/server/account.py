"""Positions, wallet, fees, the transaction log, and the key itself."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from decimal import Decimal, InvalidOperation
from typing import Any, Final

from workbench.exchange.server import shapes
from workbench.exchange.server.calls import OK, Answer, Call, Endpoint, require_linear
from workbench.exchange.server.paging import DAY_MS, WEEK_MS, page, read_window
from workbench.exchange.server.trade import is_in_scope
from workbench.exchange.simulator.rules import Refused
from workbench.exchange.wire import plain_text

NEVER: Final = "1970-01-01T00:00:00Z"
GROUPS: Final = (
    "ContractTrade", "Spot", "Wallet", "Options", "Derivatives", "CopyTrading", "BlockTrade",
    "Exchange", "NFT", "Affiliate", "Earn", "FiatP2P", "FiatConvertBroker", "FiatGlobalPay",
    "FiatBitPay", "BitCard", "ByXPost",
)  # fmt: skip
"""The groups of permissions, as the exchange lists them."""
ADDED: Final = (
    "symbol", "positionIdx", "riskId", "riskLimitValue", "size", "avgPrice", "liqPrice",
    "bustPrice", "markPrice", "positionValue", "leverage", "autoAddMargin", "positionStatus",
    "positionIM", "positionMM", "takeProfit", "stopLoss", "trailingStop", "unrealisedPnl",
    "cumRealisedPnl", "createdTime", "updatedTime",
)  # fmt: skip
"""What is told of a position to which margin was added."""


def positions(call: Call) -> Answer:
    """Give positions: a flat one too where a symbol is named, else only those with a size."""
    require_linear(call)
    if call.text("symbol"):
        rows = call.simulator.positions(call.uid, call.symbol())
    elif call.text("settleCoin") or call.text("baseCoin"):
        rows = [
            row
            for row in call.simulator.positions(call.uid)
            if row.size and is_in_scope(call, row.symbol)
        ]
    else:
        raise Refused(10001, "params error: symbol or settleCoin is required")
    names = {symbol: number for number, symbol in enumerate(call.simulator.instruments, start=1)}
    shown, cursor = page(
        rows, call.params, key=lambda row: (10**6 - names[row.symbol], str(9 - row.position_idx)),
        default=20, most=200,
    )  # fmt: skip
    return Answer({
        "list": [shapes.POSITION(row) for row in shown], "nextPageCursor": cursor,
        "category": "linear",
    })  # fmt: skip


def _set(name: str) -> Callable[[Call], Answer]:
    def handler(call: Call) -> Answer:
        require_linear(call)
        getattr(call.simulator, name)(call.uid, call.params)
        return OK

    return handler


def add_margin(call: Call) -> Answer:
    """Add margin to an isolated position, or take it away, and show the position."""
    require_linear(call)
    row = shapes.POSITION(call.simulator.add_margin(call.uid, call.params))
    return Answer({"category": "linear", **{name: row[name] for name in ADDED}})


def confirm_pending_mmr(call: Call) -> Answer:
    """Confirm a raised maintenance margin: none is ever pending here."""
    require_linear(call)
    call.symbol()
    return OK


def closed_pnl(call: Call) -> Answer:
    """Give what closing brought, by weeks."""
    require_linear(call)
    start, end = read_window(call.params, call.now_ms, span_ms=WEEK_MS)
    rows = [
        row
        for row in call.simulator.closed_pnl(call.uid)
        if start <= row.updated_time_ms <= end and is_in_scope(call, row.symbol)
    ]
    shown, cursor = page(
        rows, call.params, key=lambda row: (row.updated_time_ms, row.order_id),
        default=50, most=100,
    )  # fmt: skip
    return Answer({
        "nextPageCursor": cursor, "category": "linear",
        "list": [shapes.CLOSED_PNL(row) for row in shown],
    })  # fmt: skip


def wallet_balance(call: Call) -> Answer:
    """Give the unified account."""
    if call.text("accountType") != "UNIFIED":
        raise Refused(10001, "accountType only support UNIFIED.")
    row = shapes.WALLET(call.simulator.wallet(call.uid))
    wanted = {coin for coin in call.text("coin").upper().split(",") if coin}
    if wanted:
        row["coin"] = [coin for coin in row["coin"] if coin["coin"] in wanted]
    return Answer({"list": [row]})


def account_info(call: Call) -> Answer:
    """Tell how the account is set up."""
    return Answer(shapes.ACCOUNT(call.simulator.account_info(call.uid)))


def set_margin_mode(call: Call) -> Answer:
    """Choose between cross and isolated margin for the whole account."""
    call.simulator.set_margin_mode(call.uid, call.params)
    return Answer({"reasons": []})


def fee_rates(call: Call) -> Answer:
    """Give the fees of the account."""
    require_linear(call)
    rows = [row for row in call.simulator.fee_rates(call.uid) if is_in_scope(call, row.symbol)]
    return Answer({"list": [shapes.FEE_RATE(row) for row in rows]})


def transaction_log(call: Call) -> Answer:
    """Give what moved the wallet: the last day, or a window of up to a week."""
    start, end = read_window(call.params, call.now_ms, span_ms=WEEK_MS, default_ms=DAY_MS)
    kind, coin = call.text("type"), call.text("currency")
    rows = [
        row
        for row in call.simulator.transactions(call.uid)
        if start <= row.transaction_time_ms <= end
        and kind in ("", row.type)
        and coin in ("", row.currency)
        and call.text("category") in ("", "linear")
        and call.text("baseCoin") in ("", row.symbol.removesuffix("USDT"))
    ]
    shown, cursor = page(
        rows, call.params, key=lambda row: (row.transaction_time_ms, row.id), default=20, most=50
    )
    return Answer({
        "nextPageCursor": cursor, "list": [shapes.TRANSACTION(row) for row in shown]
    })  # fmt: skip


def withdrawable(call: Call) -> Answer:
    """Tell what could be taken out."""
    available = call.simulator.wallet(call.uid).total_available_balance or Decimal(0)
    names = [name for name in call.text("coinName", "USDT").split(",") if name]
    amounts = {name: plain_text(available if name == "USDT" else Decimal(0)) for name in names}
    return Answer({
        "availableWithdrawal": next(iter(amounts.values()), ""), "availableWithdrawalMap": amounts
    })  # fmt: skip


def smp_group(call: Call) -> Answer:
    """Tell the group whose orders do not match each other."""
    return Answer({"smpGroup": call.simulator.account_info(call.uid).smp_group})


def dcp_info(call: Call) -> Answer:
    """Tell what is cancelled on a lost connection: nothing."""
    row = {"product": "DERIVATIVES", "dcpStatus": "OFF", "timeWindow": "10"}
    return Answer({"dcpInfos": [row]})


def key_info(call: Call) -> Answer:
    """Tell what the key may do."""
    key = call.key
    if key is None:
        raise Refused(10003, "API key is invalid.")
    number = int(key.uid) if key.uid.isdigit() else 0
    left_ms = None if key.expires_ms is None else key.expires_ms - call.now_ms
    expires = (
        NEVER if key.expires_ms is None
        else datetime.fromtimestamp(key.expires_ms / 1000, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    )  # fmt: skip
    return Answer({
        "id": key.uid, "note": "simulator", "apiKey": key.key, "readOnly": int(key.is_read_only),
        "secret": "", "permissions": {
            group: list(key.permissions.get(group, ())) for group in GROUPS
        },
        "ips": list(key.addresses), "type": 1,
        "deadlineDay": -2 if left_ms is None else left_ms // DAY_MS, "expiredAt": expires,
        "createdAt": NEVER, "unified": 0, "uta": 1, "userID": number, "inviterID": 0,
        "vipLevel": "No VIP", "mktMakerLevel": "0", "affiliateID": 0,
        "rsaPublicKey": key.rsa_public, "isMaster": True, "parentUid": "0", "kycLevel": "LEVEL_1",
        "kycRegion": "", "userIDInt64": str(number), "inviterIDInt64": "0", "affiliateIDInt64": "0",
    })  # fmt: skip


def coin_info(call: Call) -> Answer:
    """Tell what is known of a coin: no chain, for nothing enters or leaves."""
    coins = [coin for coin in ("USDT",) if call.text("coin") in ("", coin)]
    return Answer({"rows": [
        {"name": coin, "coin": coin, "remainAmount": "0", "chains": []} for coin in coins
    ]})  # fmt: skip


def apply_money(call: Call) -> Answer:
    """Put demo money into the account."""
    for item in _items(call.params.get("utaDemoApplyMoney")):
        try:
            amount = Decimal(str(item.get("amountStr")))
        except InvalidOperation:
            amount = Decimal(0)
        if item.get("coin") != "USDT" or not amount.is_finite() or not 0 < amount <= 100_000:
            raise Refused(10001, "params error: coin or amountStr invalid")
        call.simulator.deposit(call.uid, amount)
    return OK


def _items(value: Any) -> list[dict[str, Any]]:
    if not isinstance(value, list) or not all(isinstance(item, dict) for item in value):
        raise Refused(10001, "params error: utaDemoApplyMoney invalid")
    return value


def _position(handler: Callable[[Call], Answer]) -> Endpoint:
    return Endpoint(handler, True, True, "Position", 10)


ACCOUNT: Final = {
    ("GET", "/v5/position/list"): Endpoint(positions, True, units=50),
    ("POST", "/v5/position/set-leverage"): _position(_set("set_leverage")),
    ("POST", "/v5/position/switch-mode"): _position(_set("switch_mode")),
    ("POST", "/v5/position/trading-stop"): _position(_set("trading_stop")),
    ("POST", "/v5/position/set-auto-add-margin"): _position(_set("set_auto_add_margin")),
    ("POST", "/v5/position/add-margin"): _position(add_margin),
    ("POST", "/v5/position/confirm-pending-mmr"): _position(confirm_pending_mmr),
    ("GET", "/v5/position/closed-pnl"): Endpoint(closed_pnl, True, units=50),
    ("GET", "/v5/account/wallet-balance"): Endpoint(wallet_balance, True, units=50),
    ("GET", "/v5/account/info"): Endpoint(account_info, True, units=50),
    ("POST", "/v5/account/set-margin-mode"): _position(set_margin_mode),
    ("GET", "/v5/account/fee-rate"): Endpoint(fee_rates, True, units=5),
    ("GET", "/v5/account/transaction-log"): Endpoint(transaction_log, True, units=25),
    ("GET", "/v5/account/withdrawal"): Endpoint(withdrawable, True, units=50),
    ("GET", "/v5/account/smp-group"): Endpoint(smp_group, True, units=50),
    ("GET", "/v5/account/query-dcp-info"): Endpoint(dcp_info, True, units=50),
    ("GET", "/v5/user/query-api"): Endpoint(key_info, True, units=10),
    ("GET", "/v5/asset/coin/query-info"): Endpoint(coin_info, True, units=5),
    ("POST", "/v5/account/demo-apply-money"): Endpoint(
        apply_money, True, True, "Order", 1, window_ms=60_000
    ),
}
