"""The private calls of the client: what each is for, how often it may be made, what it changes."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final, NamedTuple


class Route(NamedTuple):
    """What kind of request a call is: its action (the end of its path) and its limit a second."""

    action: str = ""
    per_s: float = 0.0
    is_write: bool = False
    is_urgent: bool = False


MARKET: Final = Route()
ROUTES: Final[Mapping[str, Route]] = {
    "place_order": Route("create", 10, is_write=True),
    "amend_order": Route("amend", 10, is_write=True),
    "cancel_order": Route("cancel", 10, is_write=True, is_urgent=True),
    "cancel_all_orders": Route("cancel-all", 10, is_write=True, is_urgent=True),
    "place_batch_order": Route("create-batch", 10, is_write=True),
    "amend_batch_order": Route("amend-batch", 10, is_write=True),
    "cancel_batch_order": Route("cancel-batch", 10, is_write=True, is_urgent=True),
    "pre_check_order": Route("pre-check", 10),
    "get_open_orders": Route("realtime", 50),
    "get_order_history": Route("history", 50),
    "get_executions": Route("execution", 50),
    "get_positions": Route("position", 50),
    "get_closed_pnl": Route("closed-pnl", 50),
    "set_leverage": Route("set-leverage", 10, is_write=True),
    "switch_position_mode": Route("switch-mode", 10, is_write=True),
    "set_trading_stop": Route("trading-stop", 10, is_write=True, is_urgent=True),
    "add_or_reduce_margin": Route("add-margin", 10, is_write=True, is_urgent=True),
    "set_auto_add_margin": Route("set-auto-add-margin", 10, is_write=True),
    "get_wallet_balance": Route("wallet-balance", 50),
    "get_account_info": Route("info", 50),
    "get_fee_rates": Route("fee-rate", 5),
    "get_transaction_log": Route("transaction-log", 25),
    "set_margin_mode": Route("set-margin-mode", 5, is_write=True),
    "get_api_key_information": Route("query-api", 10),
    "apply_demo_money": Route("demo-apply-money", 1, is_write=True),
}
"""The private calls by pybit's names; every other one is public and shares one bucket."""
REPEATABLE: Final = frozenset(
    {"set-leverage", "switch-mode", "trading-stop", "set-auto-add-margin", "set-margin-mode"}
)
"""Writes that set something: doing them twice does what doing them once does."""
