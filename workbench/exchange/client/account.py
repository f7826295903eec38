"""What the owner of a key may ask: orders, fills, positions, money, fees, the key itself."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from workbench.exchange import records
from workbench.exchange.client.market import MarketReads
from workbench.exchange.requests import CATEGORY

SETTLE_COIN = "USDT"


class AccountReads(MarketReads):
    """Private reads."""

    def open_orders(self, symbol: str | None = None) -> list[records.Order]:
        """Return the open orders of a symbol, or of all, conditional ones too."""
        rows = self._pages("get_open_orders", limit=50, openOnly=0, **_scope(symbol))
        return [records.parse_order(row) for row in rows]

    def find_order(
        self, symbol: str, *, order_link_id: str = "", order_id: str = ""
    ) -> records.Order | None:
        """Return one order by either id, open or ended, or None if the exchange shows it nowhere.

        None is not yet proof that it was not placed: an order may be on its way, and one that was
        cancelled without a fill is shown for a day only.
        """
        query = {"orderLinkId": order_link_id or None, "orderId": order_id or None}
        for name in ("get_open_orders", "get_order_history"):
            result = self._read(name, category=CATEGORY, symbol=symbol, **query)
            if result["list"]:
                return records.parse_order(result["list"][0])
        return None

    def order_history(
        self, start: datetime, end: datetime, *, symbol: str | None = None
    ) -> list[records.Order]:
        """Return the orders made in ``start <= time < end``, by their last change.

        Orders that ended without a fill are there for a day, older than seven days only those
        with fills.
        """
        rows = self._history("get_order_history", start, end, limit=50, **_scope(symbol))
        orders = {order.order_id: order for order in map(records.parse_order, rows)}
        return sorted(orders.values(), key=lambda order: order.updated_time_ms)

    def executions(
        self, start: datetime, end: datetime, *, symbol: str | None = None
    ) -> list[records.Execution]:
        """Return fills, funding and liquidations of ``start <= time < end``, oldest first."""
        rows = self._history("get_executions", start, end, limit=100, **_scope(symbol))
        fills = {fill.exec_id: fill for fill in map(records.parse_execution, rows)}
        return sorted(fills.values(), key=lambda fill: (fill.exec_time_ms, fill.seq))

    def positions(self, symbol: str | None = None) -> list[records.Position]:
        """Return the position of a symbol, flat or not, or every position that is not flat."""
        rows = self._pages("get_positions", limit=200, **_scope(symbol))
        return [records.parse_position(row) for row in rows]

    def closed_pnl(
        self, start: datetime, end: datetime, *, symbol: str | None = None
    ) -> list[records.ClosedPnl]:
        """Return what closing brought in ``start <= time < end``, oldest first."""
        rows = self._history("get_closed_pnl", start, end, limit=100, category=CATEGORY,
                             symbol=symbol)  # fmt: skip
        return sorted(map(records.parse_closed_pnl, rows), key=lambda row: row.updated_time_ms)

    def wallet(self) -> records.Wallet:
        """Return the unified account."""
        result = self._read("get_wallet_balance", accountType="UNIFIED")
        return records.parse_wallet(result["list"][0])

    def account_info(self) -> records.AccountInfo:
        """Return how the account is set up."""
        return records.parse_account(self._read("get_account_info"))

    def fee_rates(self, symbol: str | None = None) -> list[records.FeeRate]:
        """Return what a symbol costs this account, or all of them."""
        result = self._read("get_fee_rates", category=CATEGORY, symbol=symbol)
        return [records.parse_fee_rate(row) for row in result["list"]]

    def transactions(self, start: datetime, end: datetime) -> list[records.Transaction]:
        """Return what moved the wallet in ``start <= time < end``, oldest first."""
        rows = self._history("get_transaction_log", start, end, limit=50, category=CATEGORY,
                             accountType="UNIFIED")  # fmt: skip
        return sorted(map(records.parse_transaction, rows), key=lambda row: row.transaction_time_ms)

    def key_info(self) -> records.KeyInfo:
        """Return what the key in use may do."""
        return records.parse_key(self._read("get_api_key_information"))


def _scope(symbol: str | None) -> dict[str, Any]:
    own = {"settleCoin": SETTLE_COIN} if symbol is None else {"symbol": symbol}
    return {"category": CATEGORY, **own}
