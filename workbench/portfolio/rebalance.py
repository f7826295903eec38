"""Rebalancing: when targets are due, and what would have to be traded for them at what cost.

What comes out are proposals. Nothing trades without ``risk.system.RiskSystem.review``, which takes
their ``weights`` as targets and may leave less of them, never more.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal
from math import inf
from typing import Final, Literal, NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from workbench.core.costs import BASIS_POINT, Costs, fee, square_root_impact, taker_price
from workbench.core.errors import ConfigError, DataError
from workbench.core.lots import whole_lots
from workbench.core.records import Instrument, to_decimal, to_float

Floats = NDArray[np.float64]
Every = Literal["day", "week", "month"]
Why = Literal["entry", "exit", "drift", "calendar"]

_MONDAY: Final = pd.Timestamp("1970-01-05", tz="UTC")


def due_targets(
    wanted: Floats,
    applied: Floats,
    held_usdt: Floats,
    *,
    scale_usdt: Floats | float,
    band: Floats | float,
    granted: Floats | float = 1.0,
) -> NDArray[np.bool_]:
    """Return which targets ask for an order: their weight changed, or the position drifted.

    Parameters
    ----------
    wanted : ndarray of shape (n_symbols,) or (n_strategies, n_symbols)
        Quantised weights decided now; NaN keeps the position.
    applied : ndarray of the same shape
        The weights that were last acted on.
    held_usdt : ndarray of the same shape
        Signed value of each position on the price of the decision.
    scale_usdt : ndarray or float
        Value that a weight of 1 stands for: equity times leverage times the strategy's share.
    band : ndarray or float
        Drift from what was granted beyond which a position is put right, as a fraction of the
        scale; infinite for never.
    granted : ndarray or float, default=1.0
        Share of the weight that risk left when it was acted on: what was cut on purpose is no
        drift.

    Notes
    -----
    The rule of the backtest's kernel, over arrays.
    """
    drift = np.abs(held_usdt - wanted * granted * scale_usdt)
    with np.errstate(invalid="ignore"):
        is_due = (wanted != applied) | (drift > np.asarray(band) * scale_usdt)
    return np.asarray(is_due & ~np.isnan(wanted))


def due_moments(index: pd.DatetimeIndex, *, every: Every) -> NDArray[np.bool_]:
    """Return at which moments a calendar asks to rebalance: the first of each UTC period.

    Parameters
    ----------
    index : DatetimeIndex of shape (n_bars,)
        The ``known_at`` of decisions; the row before decides whether a period is new, so that no
        row depends on a later one. Live, it is the last rebalancing and now.
    every : {"day", "week", "month"}
        Weeks begin on Monday. A decision known at midnight belongs to the day that begins there, in
        which it fills. The first row is due.
    """
    moments = index.tz_convert("UTC")
    if every == "month":
        period = np.asarray(moments.year * 12 + moments.month)
    else:
        period = np.asarray((moments - _MONDAY) // pd.Timedelta(days=7 if every == "week" else 1))
    return np.concatenate([[True], period[1:] != period[:-1]])[: len(index)]


@dataclass(frozen=True, slots=True)
class Rules:
    """What a rebalancing keeps to. Reductions are never cut, so that nothing holds up an exit.

    Attributes
    ----------
    band : float
        Drift of a weight beyond which it is put right; 0 puts right every drift.
    max_positions : int, optional
        New positions beyond it are left out, the smallest first.
    max_leverage : float
        Sum of absolute weights up to which positions may grow.
    max_turnover : float
        Sum of absolute changes of weight; what reductions leave of it is there to grow by.
    min_order_usdt : float
        Smaller orders are left out, but not exits.
    """

    band: float = 0.0
    max_positions: int | None = None
    max_leverage: float = inf
    max_turnover: float = inf
    min_order_usdt: float = 0.0

    def __post_init__(self) -> None:
        amounts = (self.band, self.max_leverage, self.max_turnover, self.min_order_usdt)
        if not min(amounts) >= 0.0 or (self.max_positions or 0) < 0:
            raise ConfigError(f"{self} are no rules.", "Let none of them be below 0.")


@dataclass(frozen=True, slots=True)
class Proposal:
    """An order that a rebalancing would need: nothing trades before risk has reviewed it.

    ``qty`` is in whole lots and positive, ``side`` 1 or -1; ``cost_usdt`` is what is expected to be
    paid beyond the mid: fee, half the spread, slippage and impact. Weights are of the equity.
    """

    symbol: str
    side: int
    qty: Decimal
    why: Why
    notional_usdt: float
    cost_usdt: float
    weight_before: float
    weight_after: float


class Skipped(NamedTuple):
    """A target that is not traded for, and the reason in words."""

    symbol: str
    words: str


@dataclass(frozen=True, slots=True)
class Plan:
    """What a rebalancing proposes.

    Attributes
    ----------
    proposals : tuple of Proposal
        Reductions first, so that they free margin for the others; a turn is an exit and an entry.
    skipped : tuple of Skipped
    weights : Series of shape (n_symbols,)
        Held when all of it is done.
    """

    proposals: tuple[Proposal, ...]
    skipped: tuple[Skipped, ...]
    weights: pd.Series

    @property
    def turnover(self) -> float:
        """Sum of the absolute changes of weight."""
        return sum(abs(one.weight_after - one.weight_before) for one in self.proposals)

    @property
    def cost_usdt(self) -> float:
        """Expected cost of all orders."""
        return sum(one.cost_usdt for one in self.proposals)


@dataclass(frozen=True, slots=True)
class Prices:
    """What is known of the market at the decision.

    Attributes
    ----------
    price : Series of shape (n_symbols,)
        Last close in USDT. What has none and is not held is skipped.
    traded_usdt, volatility : Series of shape (n_symbols,), optional
        Of the trailing day, for the impact; needed where the costs have one.
    expected : Series of shape (n_symbols,), optional
        Return expected until the next rebalancing. Where it is given, what would grow a position
        for less than it costs is left out.
    """

    price: pd.Series
    traded_usdt: pd.Series | None = None
    volatility: pd.Series | None = None
    expected: pd.Series | None = None


def plan_rebalance(
    wanted: pd.Series,
    held_qty: pd.Series,
    *,
    equity_usdt: float,
    prices: Prices,
    instruments: Mapping[str, Instrument],
    costs: Costs,
    rules: Rules | None = None,
    is_scheduled: bool = False,
) -> Plan:
    """Return the orders that bring what is held to what is wanted, with their costs.

    Parameters
    ----------
    wanted : Series of shape (n_symbols,)
        Weights as fractions of the equity; NaN keeps the position.
    held_qty : Series of shape (n_symbols,)
        Signed quantity held; a symbol that is left out is not held.
    equity_usdt : float
    prices : Prices
    instruments : mapping of symbol to Instrument
    costs : Costs
    rules : Rules, optional
    is_scheduled : bool, default=False
        Whether the calendar asks (``due_moments``): the band then counts as 0.

    Raises
    ------
    DataError
        If the equity is not above zero, something is held without a price or a target, an
        instrument is missing, or impact is asked for without what it rests on.
    """
    rules = rules or Rules()
    held = held_qty.reindex(wanted.index).fillna(0.0)
    _check(held, held_qty, equity_usdt, prices, instruments, costs)
    unit = prices.price.reindex(wanted.index) / equity_usdt
    before = (held * unit).where(held != 0.0, 0.0)
    is_blind = wanted.notna() & ~(unit > 0.0)
    skipped = [Skipped(str(symbol), "no price") for symbol in wanted.index[is_blind]]
    # An exit, an entry and a turn are due whatever the band.
    is_due = (wanted - before).abs() > (0.0 if is_scheduled else rules.band)
    is_due |= np.sign(wanted) != np.sign(before)
    goal = wanted.where(is_due & wanted.notna() & ~is_blind, before)
    desk = _Desk(prices, instruments, costs, rules, equity_usdt, is_scheduled)
    # What leads towards zero comes first and whole; what leads away from it has what is left.
    kept = before.where(goal.abs() >= before.abs(), goal).where(goal * before >= 0.0, 0.0)
    proposals, after = desk.trade(before, kept, skipped)
    growth = (goal - after).where((goal * after >= 0.0) & (goal.abs() > after.abs()), 0.0)
    if rules.max_positions is not None:
        places = max(rules.max_positions - int((after != 0.0).sum()), 0)
        new = growth[after == 0.0].abs().sort_values(ascending=False, kind="stable")
        late = new.index[places:][new.iloc[places:] > 0.0]
        skipped += [Skipped(str(s), f"beyond {rules.max_positions} positions") for s in late]
        growth[late] = 0.0
    if (total := float(growth.abs().sum())) > 0.0:
        used = float((after - before).abs().sum())
        room = min(rules.max_leverage - float(after.abs().sum()), rules.max_turnover - used)
        growth *= min(max(room / total, 0.0), 1.0)
    more, after = desk.trade(after, after + growth, skipped)
    return Plan((*proposals, *more), tuple(skipped), after)


@dataclass(frozen=True, slots=True)
class _Desk:
    # Writes the orders from one set of weights to another, and says which it leaves out.
    prices: Prices
    instruments: Mapping[str, Instrument]
    costs: Costs
    rules: Rules
    equity_usdt: float
    is_scheduled: bool

    def trade(
        self, before: pd.Series, target: pd.Series, skipped: list[Skipped]
    ) -> tuple[list[Proposal], pd.Series]:
        proposals, after = [], before.copy()
        for symbol in map(str, before.index[target != before]):
            own, was = self.instruments[symbol], float(before[symbol])
            unit = float(self.prices.price[symbol]) / self.equity_usdt
            lots, left = _round(float(target[symbol]) / unit, was / unit, own)
            weight, value = to_float(left) * unit, to_float(abs(lots)) * unit * self.equity_usdt
            paid = self.cost(symbol, value)
            if words := self.refuse(own, lots, value, paid, was, weight):
                skipped.append(Skipped(symbol, words))
                continue
            after[symbol] = weight
            side, why = 1 if lots > 0 else -1, self.why(was, weight)
            proposals.append(Proposal(symbol, side, abs(lots), why, value, paid, was, weight))
        return proposals, after

    def refuse(
        self, own: Instrument, lots: Decimal, value: float, paid: float, was: float, weight: float
    ) -> str:
        if lots == 0:
            return "less than a lot"
        least = max(to_float(own.min_notional_usdt), self.rules.min_order_usdt)
        if weight != 0.0 and (abs(lots) < own.min_qty or value < least):
            return f"{value:.2f} USDT is below the least order"
        if self.prices.expected is not None and abs(weight) > abs(was):
            gain = float(self.prices.expected[own.symbol]) * (weight - was) * self.equity_usdt
            return "" if gain > paid else f"costs {paid:.2f} USDT to gain {gain:.2f}"
        return ""

    def cost(self, symbol: str, value: float) -> float:
        costs, impact = self.costs, 0.0
        traded, volatility = self.prices.traded_usdt, self.prices.volatility
        if traded is not None and volatility is not None:
            law = costs.impact * float(volatility[symbol])
            impact = square_root_impact(law, value, float(traded[symbol]))
        half = (costs.spread_bps / 2.0 + costs.slippage_bps) * BASIS_POINT
        beyond = taker_price(value, 1.0, half, impact) - value
        return beyond + fee(value, costs.taker_fee_bps * BASIS_POINT)

    def why(self, was: float, weight: float) -> Why:
        if was == 0.0 or weight == 0.0:
            return "entry" if was == 0.0 else "exit"
        return "calendar" if self.is_scheduled else "drift"


def _check(
    held: pd.Series,
    held_qty: pd.Series,
    equity_usdt: float,
    prices: Prices,
    instruments: Mapping[str, Instrument],
    costs: Costs,
) -> None:
    lost = held_qty.index[(held_qty != 0.0) & ~held_qty.index.isin(held.index)]
    blind = held.index[(held != 0.0) & ~(prices.price.reindex(held.index) > 0.0)]
    bare = held.index[~held.index.isin(list(instruments))]
    lacks_impact = costs.impact > 0.0 and (prices.traded_usdt is None or prices.volatility is None)
    faults = {
        "equity is not above 0": not 0.0 < equity_usdt < inf,
        f"{', '.join(lost)} is held and has no target (NaN keeps it)": len(lost) > 0,
        f"{', '.join(blind)} is held and has no price": len(blind) > 0,
        f"there is no instrument {', '.join(bare)}": len(bare) > 0,
        "impact needs traded_usdt and volatility": lacks_impact,
    }
    seen = [what for what, is_so in faults.items() if is_so]
    if seen:
        raise DataError(f"Nothing can be planned: {'; '.join(seen)}.", "Give what is missing.")


def _round(target_qty: float, held: float, instrument: Instrument) -> tuple[Decimal, Decimal]:
    # The change in lots that ends at no more than the target, and what is held after it.
    step, most = instrument.qty_step, instrument.max_market_qty
    now = to_decimal(held, step=step)
    change = to_decimal(float(whole_lots(target_qty, to_float(step))), step=step) - now
    if most > 0:
        change = max(min(change, most), -most)
    return change, now + change
