"""The face of the simulated exchange: requests in, records and events out."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from decimal import Decimal
from typing import Final

from workbench.core.errors import DataError
from workbench.core.records import INTERVALS, Instrument, RiskTier
from workbench.exchange import records
from workbench.exchange.simulator import liquidation, views
from workbench.exchange.simulator.accounts import Account
from workbench.exchange.simulator.candles import length_ms
from workbench.exchange.simulator.orders import ZERO
from workbench.exchange.simulator.registry import Event
from workbench.exchange.simulator.requests import Requests
from workbench.exchange.simulator.rules import FEE_TIERS, Refused, Settings, cash
from workbench.exchange.simulator.sources import Source
from workbench.exchange.words import CancelType, MarginMode, TransactionType

NEVER: Final = 1 << 62


class Simulator(Requests):
    """An exchange of linear perpetuals: several accounts, many symbols, one market.

    ``now_ms`` is its time, moved by ``advance`` alone. Events tell what happened to accounts, and
    of the market's those kinds that ``wanted`` names (``trade``, ``liquidation``); how book, ticker
    and candles stand is read. Params of requests are bodies of V5 requests, every no is a
    ``Refused``.
    """

    def __init__(
        self,
        instruments: Sequence[Instrument],
        *,
        source: Source | Sequence[Source] = (),
        settings: Settings | None = None,
        seed: int = 0,
        start_ms: int | None = None,
    ) -> None:
        sources = list(source) if isinstance(source, Sequence) else [source]
        if start_ms is None:
            starts = [known for one in sources if (known := getattr(one, "start_ms", None))]
            start_ms = min(starts, default=0)
        super().__init__(instruments, settings=settings or Settings(), seed=seed, start_ms=start_ms)
        self._sources = sources
        for one in sources:
            one.bind(self)

    # Time.

    @property
    def next_ms(self) -> int | None:
        """When the market has something next; None when it has ended or is pushed."""
        return min((one.next_ms for one in self._sources if one.next_ms is not None), default=None)

    def advance(self, to_ms: int) -> None:
        """Let everything happen up to and including a moment.

        Raises
        ------
        DataError
            If the moment is past.
        """
        if to_ms < self.now_ms:
            raise DataError(f"{to_ms} lies before {self.now_ms}.", "Time only moves forward.")
        while True:
            due = min(
                self._sources,
                key=lambda one: NEVER if one.next_ms is None else one.next_ms,
                default=None,
            )
            moment = NEVER if due is None or due.next_ms is None else due.next_ms
            self.run_queue(min(moment, to_ms))
            if due is None or moment > to_ms:
                break
            self.now_ms = max(self.now_ms, moment)
            due.step(self, to_ms)
        self.now_ms = to_ms
        self.flush()

    def is_idle(self) -> bool:
        """Whether nobody would see what happens inside a bar."""
        if self._queue or "trade" in self.wanted:
            return False
        if any(account.orders or account.held() for account in self.accounts.values()):
            return False
        return not any(market.finer for market in self.markets.values())

    def take_events(self) -> list[Event]:
        """Return what happened since the last call, in order."""
        events, self._events = self._events, []
        return events

    # Accounts.

    def add_account(
        self,
        uid: str,
        *,
        wallet_usdt: Decimal | str = "0",
        margin_mode: MarginMode = MarginMode.CROSS,
        fee_tier: str = "VIP0",
        smp_group: int = 0,
    ) -> None:
        """Open an account; its fees are those of its tier, or of the costs in candle-exact mode."""
        if uid in self.accounts or fee_tier not in FEE_TIERS:
            raise DataError(
                f"The account {uid} of tier {fee_tier} cannot be opened.",
                f"Use a new uid and one of {', '.join(FEE_TIERS)}.",
            )
        maker, taker = FEE_TIERS[fee_tier]
        to_close = taker
        if self.settings.is_exact:
            costs = self.settings.costs
            maker, taker = (
                Decimal(repr(bps)) / 10_000 for bps in (costs.maker_fee_bps, costs.taker_fee_bps)
            )
            to_close = ZERO
        self.accounts[uid] = Account(
            uid, maker, taker, margin_mode, smp_group, to_close, updated_ms=self.now_ms
        )
        self.deposit(uid, wallet_usdt)

    def deposit(self, uid: str, amount: Decimal | str) -> None:
        """Pay money in."""
        account, paid = self.account(uid), cash(Decimal(amount))
        if paid <= 0:
            return
        account.wallet += paid
        self.bank.paid_in += paid
        account.transactions.append(
            records.Transaction(
                id=self.name(),
                type=TransactionType.TRANSFER_IN,
                currency="USDT",
                transaction_time_ms=self.now_ms,
                change=paid,
                cash_flow=paid,
                cash_balance=account.wallet,
            )
        )
        self._paid[account] = None
        self.flush()

    # Reads of an account, the newest first; the caller filters and pages.

    def open_orders(self, uid: str) -> list[records.Order]:
        """Return the open orders."""
        return [views.order_record(order) for order in reversed(self.account(uid).orders.values())]

    def order_history(self, uid: str) -> list[records.Order]:
        """Return the orders that have ended, the last to end first."""
        return [views.order_record(order) for order in reversed(self.account(uid).done.values())]

    def executions(self, uid: str) -> list[records.Execution]:
        """Return fills, funding and liquidations."""
        return list(reversed(self.account(uid).executions))

    def positions(self, uid: str, symbol: str | None = None) -> list[records.Position]:
        """Return the positions held; of a named symbol the flat ones too."""
        account = self.account(uid)
        if symbol is not None:
            found = self.positions_of(account, self.market(symbol))
        else:
            found = account.held()
        state = account.state()
        return [views.position_record(position, state) for position in found]

    def wallet(self, uid: str) -> records.Wallet:
        """Return the wallet."""
        account = self.account(uid)
        return views.wallet_record(account, account.state())

    def closed_pnl(self, uid: str) -> list[records.ClosedPnl]:
        """Return what each closing order brought."""
        return [views.closed_record(o) for o in reversed(self.account(uid).closings.values())]

    def transactions(self, uid: str) -> list[records.Transaction]:
        """Return the log of the wallet."""
        return list(reversed(self.account(uid).transactions))

    def fee_rates(self, uid: str) -> list[records.FeeRate]:
        """Return the fees of each symbol."""
        account = self.account(uid)
        return [records.FeeRate(symbol, account.maker, account.taker) for symbol in self.markets]

    def account_info(self, uid: str) -> records.AccountInfo:
        """Return how the account is set up."""
        account = self.account(uid)
        return records.AccountInfo(
            account.mode,
            unified_margin_status=5,
            updated_time_ms=account.updated_ms,
            smp_group=account.smp_group,
        )

    # Reads of the market.

    @property
    def instruments(self) -> Mapping[str, Instrument]:
        """The instruments by symbol."""
        return {s: market.contract.instrument for s, market in self.markets.items()}

    def change_instrument(self, instrument: Instrument) -> None:
        """Change the rules of a symbol; its steps may only grow to multiples of what they were.

        Raises
        ------
        DataError
            If a step is not a multiple of the first one.
        """
        self.market(instrument.symbol).contract.change(instrument)

    def tiers(self, symbol: str) -> tuple[RiskTier, ...]:
        """Return the risk tiers of a symbol."""
        return self.market(symbol).contract.tiers

    def ticker(self, symbol: str) -> records.Ticker:
        """Return the ticker of a symbol."""
        return self.market(symbol).ticker()

    def tickers(self) -> list[records.Ticker]:
        """Return all tickers."""
        return [market.ticker() for market in self.markets.values()]

    def book(self, symbol: str, depth: int = 25) -> records.Book:
        """Return the best levels of a book."""
        return self.market(symbol).snapshot(depth)

    def trades(self, symbol: str, limit: int = 500) -> list[records.PublicTrade]:
        """Return the last trades, the newest first."""
        return list(reversed(self.market(symbol).tape))[:limit]

    def candles(
        self,
        symbol: str,
        interval: str,
        *,
        kind: str = "kline",
        start_ms: int | None = None,
        end_ms: int | None = None,
        limit: int = 200,
    ) -> list[records.Candle]:
        """Return candles (``kline``, ``mark``, ``index``, ``premium``), the newest first."""
        market = self.market(symbol)
        if interval not in INTERVALS:
            raise Refused(10001, "params error: interval invalid")
        length = length_ms(interval)
        end = self.now_ms if end_ms is None else min(end_ms, self.now_ms)
        start = 0 if start_ms is None else start_ms
        if end_ms is None and start_ms is not None:
            end = min(end, start + limit * length - 1)
        return market.candles(interval, length, kind, start, end, limit)

    def funding_history(self, symbol: str) -> list[records.Stamp]:
        """Return the rates that were settled, the newest first."""
        return list(reversed(self.market(symbol).settled))

    def open_interest(self, symbol: str) -> list[records.Stamp]:
        """Return the open interest as it was told, the newest first."""
        return list(reversed(self.market(symbol).interest))

    def price_limit(self, symbol: str) -> records.PriceLimit:
        """Return the highest price of a purchase and the lowest of a sale."""
        market = self.market(symbol)
        high, low = (market.contract.price(ticks) for ticks in market.price_limit())
        return records.PriceLimit(symbol, high, low, self.now_ms)

    def insurance(self) -> Decimal:
        """Return what the insurance fund holds."""
        return self.bank.insurance

    # What a fault may do to an account.

    def cancel_by_exchange(self, uid: str, order_id: str, *, filled: Decimal | str = "0") -> None:
        """Fill a part of an open order at its price, if so asked, and cancel the rest."""
        order = self.account(uid).orders.get(order_id)
        if order is None:
            raise Refused(110001, "order not exists or too late to cancel")
        contract = order.position.contract
        lots = min(contract.lots(Decimal(filled)), order.leaves)
        if lots and not order.is_waiting:
            self.fill(order, lots, contract.price(order.ticks), is_maker=True)
            self.tell(order)
        if not order.status.is_final:
            self.cancel(order, CancelType.ADMIN)
        self.flush()

    def deleverage(
        self, uid: str, symbol: str, qty: Decimal | str, *, position_idx: int = 0
    ) -> None:
        """Reduce a position as the exchange does when its insurance is short, on the mark."""
        market = self.market(symbol)
        position = self.position(self.account(uid), market, position_idx)
        lots = min(market.contract.lots(Decimal(qty)), abs(position.lots))
        if not lots:
            raise Refused(110034, "There is no net position")
        liquidation.reduce_by_exchange(self, position, lots, market.mark)
        self.flush()
