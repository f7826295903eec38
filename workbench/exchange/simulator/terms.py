"""On what terms positions are held: leverage, modes, margin by hand, stops."""

from __future__ import annotations

from collections.abc import Mapping
from decimal import Decimal
from typing import Any, Final, NamedTuple

from workbench.exchange import records
from workbench.exchange.simulator import views
from workbench.exchange.simulator.accounts import Account
from workbench.exchange.simulator.feed import Feed
from workbench.exchange.simulator.markets import SymbolMarket
from workbench.exchange.simulator.orders import TRIGGERS, ZERO, amount, limit_of, price, whole, word
from workbench.exchange.simulator.positions import Position
from workbench.exchange.simulator.rules import Refused
from workbench.exchange.words import MarginMode, PositionMode, StopOrderType, TpslMode, TriggerBy

Params = Mapping[str, Any]
Plan = tuple[int, TpslMode, Decimal, TriggerBy, Decimal | None, int]
MAX_STOPS: Final = 20
"""Take-profits and stop-losses of mode Partial on one position."""


class Leg(NamedTuple):
    """One of the two stops of a position: +1 takes profit, -1 limits loss."""

    way: int
    name: str
    field: str
    kind: StopOrderType


LEGS: Final = (
    Leg(1, "tp", "takeProfit", StopOrderType.TAKE_PROFIT),
    Leg(-1, "sl", "stopLoss", StopOrderType.STOP_LOSS),
)


class Terms(Feed):
    """The requests that concern positions, and how accounts, symbols and positions are found."""

    def account(self, uid: str) -> Account:
        """Return an account."""
        if uid not in self.accounts:
            raise Refused(110018, f"user {uid} does not exist")
        return self.accounts[uid]

    def market(self, symbol: Any) -> SymbolMarket:
        """Return the market of a symbol."""
        if not isinstance(symbol, str) or not symbol:
            raise Refused(10001, "params error: symbol invalid")
        if symbol not in self.markets:
            raise Refused(10029, f"The symbol {symbol} is not traded here.")
        return self.markets[symbol]

    def positions_of(self, account: Account, market: SymbolMarket) -> list[Position]:
        """Return the one position of a symbol, or the long and the short one."""
        indexes = (1, 2) if market.symbol in account.hedged else (0,)
        return [self.position(account, market, idx) for idx in indexes]

    def position(self, account: Account, market: SymbolMarket, idx: int) -> Position:
        """Return a position, a flat one if there was none."""
        key = (market.symbol, idx)
        if key not in account.positions:
            leverage = min(Decimal(10), market.contract.instrument.max_leverage)
            account.positions[key] = Position(account, market, idx, leverage)
        return account.positions[key]

    def _position(self, uid: str, params: Params) -> Position:
        account, market = self.account(uid), self.market(params.get("symbol"))
        idx = whole(params, "positionIdx", (0, 1, 2))
        if (idx > 0) != (market.symbol in account.hedged):
            raise Refused(10001, "position idx not match position mode")
        return self.position(account, market, idx)

    def set_leverage(self, uid: str, params: Params) -> None:
        """Set the leverage of a symbol."""
        account, market = self.account(uid), self.market(params.get("symbol"))
        buy, sell = amount(params, "buyLeverage"), amount(params, "sellLeverage")
        if buy is None or sell is None or min(buy, sell) < 1:
            raise Refused(10001, "buy leverage invalid")
        positions = self.positions_of(account, market)
        if buy != sell and (len(positions) == 1 or not account.is_isolated):
            raise Refused(10001, "buy leverage not equal sell leverage")
        wanted = [sell if position.idx == 2 else buy for position in positions]
        if max(buy, sell) > market.contract.instrument.max_leverage:
            raise Refused(110013, "cannot set leverage gt maxLeverage by risk limit")
        if [position.leverage for position in positions] == wanted:
            raise Refused(110043, "leverage not modified")
        for position, leverage in zip(positions, wanted, strict=True):
            tier = market.contract.tier(position.size * market.mark)
            if leverage > tier.max_leverage:
                raise Refused(110013, "cannot set leverage gt maxLeverage by risk limit")
        before = [position.leverage for position in positions]
        _set_leverage(positions, wanted)
        if max(w < b for w, b in zip(wanted, before, strict=True)) and not (
            account.state().is_covered
        ):
            _set_leverage(positions, before)
            raise Refused(110044, "Available margin is insufficient.")
        for position in positions:
            self.note(position)
        self.flush()

    def switch_mode(self, uid: str, params: Params) -> None:
        """Switch a symbol, or all of a coin, between one-way and hedge mode."""
        account = self.account(uid)
        mode = whole(params, "mode", (0, 3))
        if params.get("symbol"):
            markets = [self.market(params["symbol"])]
        elif params.get("coin") == "USDT":
            markets = list(self.markets.values())
        else:
            raise Refused(10001, "params error: symbol or coin is needed")
        if all(self.position_mode(uid, m.symbol) == mode for m in markets):
            raise Refused(110025, "Position mode is not modified")
        for market in markets:
            positions = self.positions_of(account, market)
            if any(position.lots for position in positions):
                raise Refused(110024, "You have an existing position, so the mode cannot switch.")
            if any(order.position in positions for order in account.orders.values()):
                raise Refused(110028, "You have existing orders, so the mode cannot switch.")
        for market in markets:
            leverage = self.positions_of(account, market)[0].leverage
            (account.hedged.add if mode else account.hedged.discard)(market.symbol)
            for position in self.positions_of(account, market):
                position.leverage, position.need = leverage, None

    def position_mode(self, uid: str, symbol: str) -> PositionMode:
        """Return the position mode of a symbol."""
        is_hedged = symbol in self.account(uid).hedged
        return PositionMode.HEDGE if is_hedged else PositionMode.ONE_WAY

    def set_margin_mode(self, uid: str, params: Params) -> None:
        """Switch an account between cross and isolated margin."""
        account = self.account(uid)
        modes = (MarginMode.CROSS, MarginMode.ISOLATED)
        mode = word(params, "setMarginMode", modes)
        if mode is account.mode:
            raise Refused(110026, "Margin mode is not modified")
        before = account.mode
        account.switch(mode)
        if not account.state().is_covered:
            account.switch(before)
            raise Refused(110044, "Available margin is insufficient.")
        account.updated_ms = self.now_ms
        for position in account.positions.values():
            position.extra = ZERO
            self.note(position)
        self.flush()

    def trading_stop(self, uid: str, params: Params) -> None:
        """Set or remove take-profit, stop-loss and trailing stop of a position."""
        position = self._position(uid, params)
        if not position.lots:
            raise Refused(10001, "can not set tp/sl/ts for zero position")
        if all(
            params.get(name) in (None, "") for name in ("takeProfit", "stopLoss", "trailingStop")
        ):
            raise Refused(10001, "params error: nothing to set")
        mode = word(params, "tpslMode", (TpslMode.FULL, TpslMode.PARTIAL), TpslMode.FULL)
        legs = [leg for leg in LEGS if params.get(leg.field) not in (None, "")]
        plans = [self._plan_stop(position, params, leg, mode) for leg in legs]
        distance, active = amount(params, "trailingStop"), price(params, "activePrice")
        if distance and active is not None:
            check_stop(position.side, 1, active, position.market.last)
        known = sum(stop.tpsl_mode is TpslMode.PARTIAL for stop in position.stops)
        if mode is TpslMode.PARTIAL and known + len(plans) > MAX_STOPS:
            raise Refused(110061, "There are more than 20 take-profits and stop-losses.")
        self._set_stops(position, mode, legs, plans)
        if distance is not None:
            self.unprotect(position, StopOrderType.TRAILING_STOP)
        if distance:
            self.trail(position, distance, active or ZERO)
        self.note(position)
        self.flush()

    def _set_stops(
        self, position: Position, mode: TpslMode, legs: list[Leg], plans: list[Plan | None]
    ) -> None:
        if mode is TpslMode.FULL:
            for leg in legs:
                self.unprotect(position, leg.kind)
        made = [self.protect(position, *plan) for plan in plans if plan is not None]
        if len(made) == 2 and mode is TpslMode.PARTIAL:
            made[0].partner, made[1].partner = made[1], made[0]

    def _plan_stop(
        self, position: Position, params: Params, leg: Leg, mode: TpslMode
    ) -> Plan | None:
        level, contract = price(params, leg.field), position.contract
        by = word(params, f"{leg.name}TriggerBy", TRIGGERS, TriggerBy.LAST)
        if level is None:
            return None
        contract.ticks(level)
        check_stop(position.side, leg.way, level, position.market.price_of(by))
        limit, lots = limit_of(params, leg.name, mode, contract), abs(position.lots)
        if mode is TpslMode.PARTIAL:
            size = amount(params, f"{leg.name}Size")
            lots = 0 if size is None else contract.lots(size)
        if not 0 < lots <= abs(position.lots):
            raise Refused(110058, "The position is too small for this take-profit or stop-loss.")
        return leg.way, mode, level, by, limit, lots

    def add_margin(self, uid: str, params: Params) -> records.Position:
        """Add margin to an isolated position, or take some away (a negative amount)."""
        position = self._position(uid, params)
        raw = str(params.get("margin") or "")
        given = amount({"margin": raw.removeprefix("-")}, "margin")
        if not given:
            raise Refused(10001, "params error: margin invalid")
        change = -given if raw.startswith("-") else given
        account = position.account
        if not account.is_isolated:
            raise Refused(110015, "The position is in cross margin.")
        if not position.lots:
            raise Refused(110033, "Margin cannot be set without open position")
        if change > account.state().available:
            raise Refused(110014, "Insufficient available balance to add additional margin.")
        need = position.margins()
        spare = need.initial + position.extra + change + position.profit - need.maintenance
        if position.extra + change < 0 or spare <= 0:
            raise Refused(110012, "Insufficient margin to take away.")
        position.extra += change
        self.note(position)
        self.flush()
        return views.position_record(position, account.state())

    def set_auto_add_margin(self, uid: str, params: Params) -> None:
        """Let margin be added to an isolated position of itself before it is liquidated."""
        position = self._position(uid, params)
        wanted = bool(whole(params, "autoAddMargin", (0, 1)))
        if not position.account.is_isolated:
            raise Refused(110015, "The position is in cross margin.")
        if position.auto_add is wanted:
            raise Refused(110027, "Margin is not modified")
        position.auto_add = wanted
        self.note(position)
        self.flush()


def check_stop(side: int, leg: int, level: Decimal, base: Decimal) -> None:
    """Refuse a take-profit (leg +1) or stop-loss (-1) on the wrong side of a price."""
    if leg * side * (level - base) <= 0:
        name = "TakeProfit" if leg > 0 else "StopLoss"
        which = "higher" if leg * side > 0 else "lower"
        who = "Buy" if side > 0 else "Sell"
        raise Refused(
            10001, f"{name}:{level} set for {who} position should be {which} than base_price:{base}"
        )


def _set_leverage(positions: list[Position], leverages: list[Decimal]) -> None:
    for position, leverage in zip(positions, leverages, strict=True):
        position.leverage, position.need = leverage, None
