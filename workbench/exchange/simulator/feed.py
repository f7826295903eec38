"""What markets do to the exchange: trades, books, prices and funding come in here.

Sources and live pushes use the same doors, so that a recorded, a made and a live market are
treated alike.
"""

from __future__ import annotations

from collections.abc import Sequence
from decimal import Decimal
from typing import Any

from workbench.core.costs import BASIS_POINT, funding_payment
from workbench.core.errors import DataError
from workbench.exchange import records
from workbench.exchange.simulator import liquidation, views
from workbench.exchange.simulator.candles import length_ms
from workbench.exchange.simulator.markets import SymbolMarket
from workbench.exchange.simulator.matching import Matching
from workbench.exchange.simulator.orders import BUY_SELL, ZERO
from workbench.exchange.simulator.paths import MadeBook
from workbench.exchange.simulator.positions import Position
from workbench.exchange.simulator.rules import cash
from workbench.exchange.words import TransactionType


class Feed(Matching):
    """The markets' side of the exchange."""

    def feed_trade(
        self,
        market: SymbolMarket,
        ticks: int,
        lots: int,
        sign: int,
        exec_id: str = "",
        time_ms: int | None = None,
    ) -> None:
        """Print a trade of the market and let it fill what stood in its way."""
        moment = self.now_ms if time_ms is None else time_ms
        market.print(market.contract.price(ticks), lots, moment)
        if lots:
            record = market.trade(exec_id, sign, market.last, lots)
            if "trade" in self.wanted:
                self.say("trade", market.symbol, record)
            self.on_trade(market, sign, ticks, lots)

    def feed_made(
        self, market: SymbolMarket, ticks: int, sign: int, *, lots: int, salt: int
    ) -> None:
        """Let a made book stand where a trade was: at the ask of a buyer, the bid of a seller.

        A side displays a share of ``lots``, the volume of a minute.
        """
        spread = max(1, round(ticks * self.settings.costs.spread_bps * BASIS_POINT))
        bid, ask = (ticks - spread, ticks) if sign > 0 else (ticks, ticks + spread)
        depth = self.settings.depth
        shown = max(1, int(lots * self.settings.depth_share) // depth)
        made = MadeBook(bid=max(bid, 1), ask=ask, depth=depth, lots=shown, salt=salt)
        market.book.quote(made.touch[1], ask, made)
        self.on_quotes(market)

    def feed_book(
        self,
        market: SymbolMarket,
        bids: Sequence[Any],
        asks: Sequence[Any],
        time_ms: int,
        *,
        is_snapshot: bool,
    ) -> None:
        """Set the levels of a recorded or live book; size 0 removes one."""
        tick, step = float(market.contract.tick), float(market.contract.step)
        sides = [
            [[round(float(p) / tick), round(float(q) / step)] for p, q in levels]
            for levels in (bids, asks)
        ]
        market.now_ms = time_ms
        if is_snapshot:
            market.book.replace(
                sorted((level for level in sides[0] if level[1]), reverse=True),
                sorted(level for level in sides[1] if level[1]),
            )
        else:
            for side, levels in ((1, sides[0]), (-1, sides[1])):
                for ticks, lots in levels:
                    market.book.change(side, ticks, lots)
            market.book.settle()
        self._value_by_book(market)
        self.on_quotes(market)
        self.feed_done(market)

    def _value_by_book(self, market: SymbolMarket) -> None:
        # Before the first trade, and where nobody tells a mark, the middle of the book stands in.
        bid, ask = market.book.touch[1], market.book.touch[-1]
        if bid is None or ask is None:
            return
        middle = market.contract.price((bid + ask) // 2)
        if not market.tape:
            market.last = middle
        if not market.is_marked:
            market.value(market.now_ms, middle, middle)

    def feed_interest(self, market: SymbolMarket, interest: Decimal, moment: int) -> None:
        """Set the open interest, in coins."""
        market.open_interest = interest
        market.interest.append(records.Stamp(moment, interest))

    def feed_done(self, market: SymbolMarket) -> None:
        """Draw the consequences of what the market did."""
        market.note_premium()
        if market.triggers:
            self.fire(market)
        for account in list(self.accounts.values()):
            if any(position.market is market for position in account.held()):
                liquidation.check(self, account)
        self.settle_due(market)
        self.flush()

    def settle_due(self, market: SymbolMarket) -> None:
        """Settle funding whose time has come, where the feed tells only the rate."""
        if market.is_live and self.now_ms >= market.next_funding_ms:
            self.settle_funding(market, market.funding_rate, market.next_funding_ms)

    def settle_funding(self, market: SymbolMarket, rate: Decimal, moment: int) -> None:
        """Let every position that is held pay or receive funding on the mark."""
        period = market.contract.instrument.funding_interval_min * 60_000
        market.next_funding_ms = moment + period - moment % period
        market.funding_rate = rate
        market.settled.append(records.Stamp(moment, rate))
        for account in self.accounts.values():
            for position in account.held():
                if position.market is market:
                    self._pay_funding(position, rate, moment)
        self.flush()

    def _pay_funding(self, position: Position, rate: Decimal, moment: int) -> None:
        account, market = position.account, position.market
        signed = position.contract.qty(position.lots)
        paid = cash(funding_payment(signed, market.mark, rate))
        account.wallet -= paid
        account.realised -= paid
        position.realised -= paid
        position.realised_ever -= paid
        self.bank.market += paid
        identity = self.name()
        market.seq += 1
        record = views.funding_record(position, identity, paid, rate, moment)
        account.executions.append(record)
        logged = views.transaction_record(
            position, TransactionType.SETTLEMENT, identity, moment=moment, sign=position.side,
            lots=abs(position.lots), price=market.mark, funding=-paid, rate=rate,
        )  # fmt: skip
        account.transactions.append(logged)
        self.say("execution", account.uid, record)
        self.note(position)

    # A live market, pushed in.

    def push_trade(
        self, symbol: str, price: Decimal, size: Decimal, side: str, time_ms: int, exec_id: str = ""
    ) -> None:
        """Take a trade of a live market."""
        market = self.markets[symbol]
        ticks, lots = round(price / market.contract.tick), round(size / market.contract.step)
        if not market.is_marked:
            market.value(time_ms, price, price)
        self.feed_trade(market, ticks, lots, BUY_SELL[side], exec_id, time_ms)
        self.feed_done(market)

    def push_book(
        self,
        symbol: str,
        bids: Sequence[Any],
        asks: Sequence[Any],
        time_ms: int,
        *,
        is_snapshot: bool,
    ) -> None:
        """Take the levels of a live book, all of them or those that changed."""
        self.feed_book(self.markets[symbol], bids, asks, time_ms, is_snapshot=is_snapshot)

    def push_ticker(
        self,
        symbol: str,
        time_ms: int,
        *,
        mark: Decimal | None = None,
        index: Decimal | None = None,
        funding_rate: Decimal | None = None,
        next_funding_ms: int | None = None,
        open_interest: Decimal | None = None,
    ) -> None:
        """Take what a live ticker told; funding is settled when its time has come."""
        market = self.markets[symbol]
        market.is_marked = market.is_marked or mark is not None
        if mark is not None or index is not None:
            mark = mark or market.mark or index
            market.value(time_ms, mark, index or market.index or mark)  # type: ignore[arg-type]
        if funding_rate is not None:
            market.funding_rate = funding_rate
        self.settle_due(market)
        if next_funding_ms is not None:
            market.next_funding_ms, market.is_live = next_funding_ms, True
        if open_interest is not None:
            self.feed_interest(market, open_interest, time_ms)
        self.feed_done(market)

    def push_candles(self, symbol: str, interval: str, rows: Sequence[records.Candle]) -> None:
        """Take the history of a live market, for candles that lie before its first trade."""
        market = self.markets[symbol]
        if market.traded.rows or market.traded.running:
            raise DataError(f"{symbol} has traded already.", "Push its history first.")
        market.traded.length = length_ms(interval)
        for row in sorted(rows, key=lambda candle: candle.start_ms):
            market.traded.put(
                (
                    row.start_ms,
                    row.open,
                    row.high,
                    row.low,
                    row.close,
                    row.volume or ZERO,
                    row.turnover or ZERO,
                )
            )
