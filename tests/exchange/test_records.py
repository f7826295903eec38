"""Protects the records: every documented and recorded row and push becomes one, value by value."""

import json
import pickle
from dataclasses import fields
from datetime import UTC, datetime, timedelta
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from workbench.core.errors import DataError
from workbench.exchange import records, words
from workbench.exchange.records import (
    parse_account,
    parse_ack,
    parse_adl_alert,
    parse_book,
    parse_candle,
    parse_closed_pnl,
    parse_execution,
    parse_fee_rate,
    parse_insurance,
    parse_key,
    parse_liquidation,
    parse_maintenance,
    parse_order,
    parse_position,
    parse_price_limit,
    parse_ticker,
    parse_trade,
    parse_transaction,
    parse_wallet,
)  # fmt: skip
from workbench.exchange.wire import from_millis, plain_text, to_millis, wire_names

# Files by the parser that must read every row in them.
SAMPLES = {
    parse_order: [
        "bybit_docs/order__open-order.0", "bybit_docs/order__order-list.0",
        "bybit_docs/websocket__private__order.1", "nautilus/http_get_orders_history",
        "nautilus/http_get_orders_realtime", "nautilus/http_get_orders_realtime_tp_sl",
        "nautilus/http_get_orders_history_with_duplicate",
        "nautilus/http_get_order_partially_filled_rejected", "nautilus/ws_account_order",
        "nautilus/ws_account_order_filled", "nautilus/ws_account_order_stop_loss",
        "nautilus/ws_account_order_take_profit", "nautilus/ws_account_order_stop_limit",
        "nautilus/ws_account_order_partially_filled_rejected",
    ],
    parse_execution: [
        "bybit_docs/order__execution.0", "bybit_docs/websocket__private__execution.1",
        "bybit_docs/websocket__private__fast-execution.1", "nautilus/http_get_executions",
        "nautilus/ws_account_execution", "nautilus/ws_account_execution_adl",
        "nautilus/ws_account_execution_fast",
    ],
    parse_position: [
        "bybit_docs/position__position.0", "bybit_docs/position__manual-add-margin.0",
        "bybit_docs/websocket__private__position.1", "nautilus/http_get_positions",
        "nautilus/http_get_positions_with_open_time", "nautilus/ws_account_position",
        "nautilus/ws_account_position_short", "nautilus/ws_account_position_with_open_time",
        "ccxt_inline/rest__parse_position.0", "ccxt_inline/rest__parse_position.3",
        "ccxt_inline/rest__parse_adl_rank.0",
    ],
    parse_wallet: [
        "bybit_docs/account__wallet-balance.0", "bybit_docs/websocket__private__wallet.1",
        "nautilus/http_get_wallet_balance", "nautilus/http_get_wallet_balance_with_spot_borrow",
        "nautilus/ws_account_wallet",
    ],
    parse_ticker: ["bybit_docs/market__tickers.0", "nautilus/ws_ticker_linear",
                   "bybit_docs/websocket__public__ticker.0_0.repaired"],
    parse_book: ["bybit_docs/market__orderbook.0", "bybit_docs/websocket__public__orderbook.1",
                 "nautilus/http_get_orderbook", "nautilus/ws_orderbook_snapshot"],
    parse_trade: ["bybit_docs/market__recent-trade.0", "bybit_docs/websocket__public__trade.0",
                  "nautilus/http_get_trades_recent", "nautilus/ws_public_trade"],
    parse_candle: ["bybit_docs/market__kline.0", "bybit_docs/market__mark-kline.0",
                   "bybit_docs/websocket__public__kline.0", "nautilus/ws_kline"],
    parse_liquidation: ["bybit_docs/websocket__public__all-liquidation.0"],
    parse_price_limit: ["bybit_docs/market__order-price-limit.0",
                        "bybit_docs/websocket__public__order-price-limit.1"],
    parse_adl_alert: ["bybit_docs/market__adl-alert.0",
                      "bybit_docs/websocket__public__adl-alert.0_0.repaired"],
    parse_insurance: ["bybit_docs/market__insurance.0"],
    parse_maintenance: ["bybit_docs/system-status.0",
                        "bybit_docs/websocket__system__system-status.1"],
    parse_fee_rate: ["bybit_docs/account__fee-rate.0", "nautilus/http_get_fee_rate"],
    parse_transaction: ["bybit_docs/account__transaction-log.0",
                        "ccxt_inline/rest__fetch_ledger.1"],
    parse_closed_pnl: ["bybit_docs/position__close-pnl.0"],
    parse_key: ["bybit_docs/user__apikey-info.0", "nautilus/http_get_user_query_api"],
    parse_account: ["bybit_docs/account__account-info.0", "nautilus/http_get_account_info"],
    parse_ack: ["bybit_docs/order__create-order.0", "bybit_docs/order__cancel-all.0",
                "bybit_docs/order__batch-place.0"],
}  # fmt: skip
CASES = [(parse, name) for parse, names in SAMPLES.items() for name in names]


@pytest.fixture(scope="session")
def shared(shared_data):
    return shared_data.parent / "bybit"


def load_rows(shared, name):
    """The rows of a reply, of a push, or of a file that is one row."""
    whole = json.loads((shared / f"{name}.json").read_text())
    inner = whole.get("result", whole.get("data", whole))
    rows = inner.get("list", inner) if isinstance(inner, dict) else inner
    return rows if isinstance(rows, list) else [rows]


def is_told(value, raw):
    """Whether a record's value says the same as the exchange's text."""
    if raw in ("", None, "UNKNOWN", "NORMAL", "normal") or isinstance(raw, dict | list):
        return True
    if value is None:
        return Decimal(str(raw)) == 0
    if isinstance(value, Decimal):
        return value == Decimal(str(raw))
    if isinstance(value, int):
        return value == (raw if isinstance(raw, bool) else int(raw))
    return value == raw


@pytest.mark.parametrize(("parse", "name"), CASES, ids=lambda x: getattr(x, "args", [x])[0])
def test_every_documented_row_is_read_value_by_value(shared, parse, name):
    rows = load_rows(shared, name)
    assert rows
    for row in rows:
        record = parse(row)
        names = wire_names(type(record))
        named = row if isinstance(row, dict) else {}
        for field in fields(record):
            for key in names[field.name]:
                if key in named:
                    assert is_told(getattr(record, field.name), named[key]), (field.name, named)
        assert pickle.loads(pickle.dumps(record)) == record


def test_every_name_is_one_that_a_documented_row_carries(shared):
    """A name that no sample has would be a slip of the pen, read as missing for ever."""
    seen = {}
    for parse, name in CASES:
        for row in load_rows(shared, name):
            kind = type(parse(row))
            seen.setdefault(kind, set()).update(row if isinstance(row, dict) else ())
    absent = {
        (kind.__name__, field)
        for kind, keys in seen.items()
        for field, names in wire_names(kind).items()
        if not keys & set(names)
    }
    # The documentation names these in its tables, and shows them in none of its samples.
    assert absent == {
        ("Order", "parent_order_link_id"), ("ClosedPnl", "open_fee"), ("ClosedPnl", "close_fee"),
        ("OrderAck", "code"), ("OrderAck", "message"),
    }  # fmt: skip


def test_position_entry_price_is_the_average_price_of_rest(shared):
    (row,) = load_rows(shared, "nautilus/ws_account_position_with_open_time")
    assert parse_position(row).avg_price == Decimal(50_000)


def test_flat_position_has_no_side_and_no_prices(shared):
    (row,) = load_rows(shared, "bybit_docs/websocket__private__position.1")
    flat = parse_position(row)
    assert (flat.side, flat.avg_price, flat.liq_price, flat.signed_size) == (None, None, None, 0)


def test_short_position_has_a_negative_size(shared):
    row = load_rows(shared, "nautilus/ws_account_position_short")[0]
    assert parse_position(row).signed_size < 0


def test_wallet_margin_that_does_not_apply_is_not_zero(shared):
    """In isolated mode the account's margin is empty: read as 0 it would look perfectly safe."""
    (row,) = load_rows(shared, "bybit_docs/account__wallet-balance.0")
    wallet = parse_wallet({**row, "accountMMRate": "", "totalInitialMargin": ""})
    assert (wallet.account_mm_rate, wallet.total_initial_margin) == (None, None)
    assert wallet.coin[0].coin == "BTC"


def test_fast_execution_does_not_know_its_fee(shared):
    (row,) = load_rows(shared, "bybit_docs/websocket__private__fast-execution.1")
    fill = parse_execution(row)
    assert (fill.exec_fee, fill.exec_value, fill.exec_type) == (None, None, words.ExecType.TRADE)


def test_execution_keeps_the_taxes_on_its_fee(shared):
    (row,) = load_rows(shared, "bybit_docs/websocket__private__execution.1")
    (tax,) = parse_execution(row).extra_fees
    assert (tax.fee_coin, tax.fee) == ("USDT", Decimal("0.006403779"))


def test_transactions_add_up_as_the_exchange_says(shared):
    for row in load_rows(shared, "bybit_docs/account__transaction-log.0"):
        move = parse_transaction(row)
        assert move.change == move.cash_flow + move.funding - move.fee


def test_word_that_is_new_is_kept_and_equals_its_text():
    reason = words.RejectReason("EC_SomethingNew")
    assert reason == "EC_SomethingNew"
    assert pickle.loads(pickle.dumps(reason)) == reason
    assert words.StopOrderType("UNKNOWN") is words.StopOrderType.NONE


def test_word_that_is_no_text_is_refused():
    with pytest.raises(ValueError, match="not a valid"):
        words.RejectReason(7)


def test_sides_are_each_others_opposite_and_signed():
    assert [(side.sign, side.opposite) for side in words.Side] == [
        (1, words.Side.SELL), (-1, words.Side.BUY)
    ]  # fmt: skip


def test_status_that_is_new_counts_as_open():
    assert not words.OrderStatus("Pondering").is_final
    assert words.OrderStatus("Cancelled").is_final


@pytest.mark.parametrize(
    ("change", "seen"),
    [({"side": "Long"}, "side = 'Long'"), ({"qty": "much"}, "qty = 'much'"),
     ({"qty": ""}, "no qty"), ({"qty": "NaN"}, "qty = 'NaN'"), ({"price": "Infinity"}, "price"),
     ({"createdTime": "today"}, "createdTime"), ({"positionIdx": 7}, "positionIdx = 7")],
)  # fmt: skip
def test_damaged_row_is_refused_and_named(shared, change, seen):
    (row,) = load_rows(shared, "bybit_docs/order__open-order.0")
    with pytest.raises(DataError, match=rf"for Order has .*{seen}"):
        parse_order({**row, **change})


@given(st.decimals(allow_nan=False, allow_infinity=False, min_value=-(10**12), max_value=10**12))
def test_plain_text_has_no_exponent_and_loses_nothing(amount):
    text = plain_text(amount)
    assert "e" not in text.lower()
    assert Decimal(text) == amount


@given(st.datetimes(datetime(1970, 1, 1), datetime(2200, 1, 1), timezones=st.just(UTC)))  # noqa: DTZ001
def test_millis_and_back_is_the_moment_cut_to_the_millisecond(moment):
    assert timedelta(0) <= moment - from_millis(to_millis(moment)) < timedelta(milliseconds=1)


def test_key_that_may_withdraw_is_seen(shared):
    (row,) = load_rows(shared, "bybit_docs/user__apikey-info.0")
    assert not parse_key(row).can_withdraw
    wallet = {**row["permissions"], "Wallet": ["AccountTransfer", "Withdraw"]}
    assert parse_key({**row, "permissions": wallet}).can_withdraw
    assert not parse_key(row).can_trade
    assert parse_key({**row, "readOnly": 0}).can_trade


def test_every_record_is_frozen_and_holds_no_float():
    for kind in vars(records).values():
        if isinstance(kind, type) and hasattr(kind, "__dataclass_fields__"):
            assert kind.__dataclass_params__.frozen
            assert not any("float" in str(field.type) for field in fields(kind))
