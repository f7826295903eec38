"""The one account simulation: a unified-margin perpetual account, bar by bar, compiled by numba.

``simulate(first, last, ...)`` advances an account over bars ``first .. last - 1``. Sweeps and
permutations run it over all bars at once; ``run`` calls it one bar at a time where something must
decide between bars (a stepped strategy, or risk, which sets the quantities itself). It holds no
state and allocates nothing: all that it reads and writes is
handed in, so that configurations run side by side without shared writes.

What happens in bar i, in this order:

1. Orders decided at the close of bar i - 1 fill (``FILL``: the open, moved by latency), sized by
   the equity and close known then.
2. Liquidation is checked with every position at the worst mark it can meet before its stop.
3. Brackets: the stop or trailing stop first, then the take-profit; finer bars, where there are
   any, decide the order of touches.
4. Funding settled in the bar is paid by the position held at its close, on the mark.
5. Equity is marked to market.
"""

# The compiled functions carry no annotations: numba types them from their arguments.
# ruff: noqa: ANN001, ANN202
# mypy: disallow-untyped-defs=False, disallow-untyped-calls=False
# mypy: disallow-untyped-decorators=False, warn-return-any=False

from __future__ import annotations

from typing import Final

import numpy as np
from numpy.typing import NDArray

from workbench.backtest.compiled import cached, part
from workbench.core import costs as cost_model
from workbench.core import lots, margin, measures
from workbench.core.lots import LOT_SLACK
from workbench.strategies.base import KEEP, WEIGHT_QUANTUM

# Columns of `bars`, shape (n_bars, n_symbols, N_BARS): prices in USDT, fractions for the rest.
FILL, OPEN, HIGH, LOW, CLOSE, MARK_HIGH, MARK_LOW, MARK_CLOSE, FUNDING, SLIP, IMPACT = range(11)
N_BARS: Final = 11
# Columns of `finer`, shape (n_finer, n_symbols, N_FINER).
FINER_OPEN, FINER_HIGH, FINER_LOW, FINER_CLOSE = range(4)
N_FINER: Final = 4
# Columns of `brackets`, shape (n_bars or 1, n_symbols, N_BRACKETS): fractions, NaN for none.
STOP_LOSS, TAKE_PROFIT, TRAILING = range(3)
N_BRACKETS: Final = 3
# Columns of `spec`, shape (n_symbols, N_SPEC); zero means that there is no such rule.
TICK, STEP, MIN_QTY, MAX_QTY, MIN_NOTIONAL = range(5)
N_SPEC: Final = 5
# Columns of `tiers`, shape (n_symbols, n_tiers, N_TIERS), ascending, the last limit infinite.
TIER_LIMIT, TIER_RATE, TIER_DEDUCTION, TIER_LEVERAGE = range(4)
N_TIERS: Final = 4
# `rules`, shape (N_RULES,).
TAKER, MAKER, LEVERAGE, MARGIN_LEVERAGE, BAND, HAS_MARGIN, IS_ISOLATED, BY_QUANTITY = range(8)
N_RULES: Final = 8
# Columns of `book`, shape (n_symbols, N_BOOK): the state of each position and resting order.
QTY, ENTRY, WEIGHT, LOCK, LIQUIDATION, ENTERED, TARGET = range(7)
STOP, TAKE, TRAIL, BEST, LEVEL = range(7, 12)
REST_WEIGHT, REST_PRICE, REST_TTL, REST_POST_ONLY = range(12, 16)
# What part of the account a full weight of the column stands for, how much of what its weight asks
# for was granted, and the cash that the column has earned: realised profit less fees and funding.
SHARE, GRANTED, EARNED = range(16, 19)
N_BOOK: Final = 19
# `cash`, shape (N_CASH,): the state of the account.
WALLET, EQUITY, FEES, SLIPPAGE, FUNDING_PAID, TURNOVER, N_FILLS, N_LIQUIDATIONS, N_CUTS = range(9)
N_CASH: Final = 9
# Columns of `fills`, shape (capacity, N_FILL); what does not fit is counted but not kept.
F_BAR, F_SYMBOL, F_QTY, F_PRICE, F_FEE, F_SLIPPAGE, F_REASON = range(7)
N_FILL: Final = 7

REASONS: Final = ("weight", "rebalance", "limit", "stop", "trailing", "take_profit", "liquidation")
R_WEIGHT, R_REBALANCE, R_LIMIT, R_STOP, R_TRAILING, R_TAKE, R_LIQUIDATION = range(7)

Floats = NDArray[np.float64]

_whole_lots = part(lots.whole_lots)
_taker_price = part(cost_model.taker_price)
_square_root_impact = part(cost_model.square_root_impact)
_fee = part(cost_model.fee)
_funding_payment = part(cost_model.funding_payment)
_initial_margin = part(margin.initial_margin)
_maintenance_margin = part(margin.maintenance_margin)
_bankruptcy_price = part(margin.bankruptcy_price)
_liquidation_price = part(margin.liquidation_price)
_unrealised_pnl = part(margin.unrealised_pnl)
_sharpe = part(measures.sharpe)
_sortino = part(measures.sortino)
_total_return = part(measures.total_return)
_volatility = part(measures.annual_volatility)
_max_drawdown = part(measures.max_drawdown)


@part
def _tier(tiers, s, value):
    k = 0
    while value > tiers[s, k, TIER_LIMIT]:
        k += 1
    return k


@part
def _round_down(qty, step):
    return qty if step <= 0.0 else _whole_lots(qty, step)


@part
def _trail(s, side, best, book):
    # The nearer of stop and trailing stop, had the price been at best.
    stop = book[s, STOP]
    trail = best - side * book[s, TRAIL]
    return trail if np.isnan(stop) or side * (trail - stop) > 0.0 else stop


@part
def _lock_brackets(s, price, side, row, brackets, spec, book):
    # Rounded to the tick away from the entry: never better than what was asked for.
    tick = spec[s, TICK]
    stop = price * (1.0 - side * brackets[row, s, STOP_LOSS])
    take = price * (1.0 + side * brackets[row, s, TAKE_PROFIT])
    if tick > 0.0:
        if side > 0:
            stop = np.floor(stop / tick + LOT_SLACK) * tick
            take = np.ceil(take / tick - LOT_SLACK) * tick
        else:
            stop = np.ceil(stop / tick - LOT_SLACK) * tick
            take = np.floor(take / tick + LOT_SLACK) * tick
    book[s, STOP] = stop
    book[s, TAKE] = take
    book[s, TRAIL] = price * brackets[row, s, TRAILING]
    book[s, BEST] = price if brackets[row, s, TRAILING] > 0.0 else np.nan
    book[s, LEVEL] = _trail(s, side, price, book)


@part
def _fill(i, s, qty, price, fee_rate, slippage, reason, book, cash, fills):
    # Books one fill: realised profit, fee, average entry price, totals and the log.
    held = book[s, QTY]
    after = held + qty
    is_closing = held * qty < 0.0
    realised = 0.0
    if is_closing:
        closed = min(abs(qty), abs(held))
        realised = _unrealised_pnl(book[s, ENTRY], price, np.sign(held) * closed)
        cash[WALLET] += realised
    if abs(after) < 1e-12 * abs(qty):
        after = 0.0
    if after == 0.0:
        book[s, ENTRY] = np.nan
        for k in range(STOP, LEVEL + 1):
            book[s, k] = np.nan
    elif held == 0.0 or held * after < 0.0:
        book[s, ENTRY] = price
        book[s, ENTERED] = i
    elif not is_closing:
        book[s, ENTRY] += (price - book[s, ENTRY]) * (qty / after)
    book[s, QTY] = after
    value = abs(qty) * price
    fee = _fee(value, fee_rate)
    cash[WALLET] -= fee
    book[s, EARNED] += realised - fee
    cash[FEES] += fee
    cash[SLIPPAGE] += slippage
    cash[TURNOVER] += value
    n = int(cash[N_FILLS])
    if n < fills.shape[0]:
        fills[n, F_BAR] = i
        fills[n, F_SYMBOL] = s
        fills[n, F_QTY] = qty
        fills[n, F_PRICE] = price
        fills[n, F_FEE] = fee
        fills[n, F_SLIPPAGE] = slippage
        fills[n, F_REASON] = reason
    cash[N_FILLS] = n + 1


@part
def _trade(
    i,
    s,
    qty,
    mid,
    rate,
    is_taker,
    reason,
    row,
    brackets,
    bars,
    spec,
    tiers,
    rules,
    book,
    cash,
    fills,
):
    # Fills an order at a price and, where it opens or turns a position, locks its brackets.
    side = 1.0 if qty > 0.0 else -1.0
    held = book[s, QTY]
    price = mid
    if is_taker:
        impact = _square_root_impact(bars[i, s, IMPACT], abs(qty) * mid, 1.0)
        price = _taker_price(mid, side, bars[i, s, SLIP], impact)
    _fill(i, s, qty, price, rate, abs(price - mid) * abs(qty), reason, book, cash, fills)
    after = book[s, QTY]
    if after != 0.0 and held * after <= 0.0:
        _lock_brackets(s, price, side, row, brackets, spec, book)
    if after != 0.0 and rules[IS_ISOLATED] > 0.0 and rules[HAS_MARGIN] > 0.0:
        entry = book[s, ENTRY]
        k = _tier(tiers, s, abs(after) * entry)
        book[s, LIQUIDATION] = _liquidation_price(
            entry,
            abs(after),
            min(rules[MARGIN_LEVERAGE], tiers[s, k, TIER_LEVERAGE]),
            1 if after > 0.0 else -1,
            tiers[s, k, TIER_RATE],
            tiers[s, k, TIER_DEDUCTION],
            0.0,
        )


@part
def _size(i, s, w, spec, rules, book, cash, bars):
    # The position that a weight asks for, from what was known at the close before bar i.
    qty = book[s, QTY]
    if w == 0:
        return 0.0
    close = bars[i - 1, s, CLOSE]
    value = w * WEIGHT_QUANTUM * rules[LEVERAGE] * cash[EQUITY] * book[s, SHARE]
    target = _round_down(value / close, spec[s, STEP])
    delta = target - qty
    if spec[s, MAX_QTY] > 0.0 and abs(delta) > spec[s, MAX_QTY]:
        delta = np.sign(delta) * spec[s, MAX_QTY]
        target = qty + delta
        cash[N_CUTS] += 1
    if target != 0.0 and (
        abs(delta) < spec[s, MIN_QTY] or abs(delta) * close < spec[s, MIN_NOTIONAL]
    ):
        return qty
    return target


@part
def _fit_margin(i, bars, spec, tiers, rules, book, cash):
    # The exchange refuses what margin does not cover: entries are cut in proportion until it does.
    needed = 0.0
    added = 0.0
    available = cash[WALLET]
    for s in range(book.shape[0]):
        target = book[s, TARGET]
        qty = book[s, QTY]
        price = bars[i, s, FILL]
        if np.isnan(price):
            price = bars[i, s, MARK_CLOSE]
        if qty != 0.0 and rules[IS_ISOLATED] == 0.0:
            available += _unrealised_pnl(book[s, ENTRY], price, qty)
        if target == 0.0:
            continue
        value = abs(target) * price
        k = _tier(tiers, s, value)
        leverage = min(rules[MARGIN_LEVERAGE], tiers[s, k, TIER_LEVERAGE])
        all_in = _initial_margin(value, leverage) + _fee(abs(target - qty) * price, rules[TAKER])
        if abs(target) > abs(qty) or target * qty < 0.0:
            base = 0.0 if target * qty < 0.0 else abs(qty) * price
            added += all_in - _initial_margin(base, leverage)
        needed += all_in
    if needed <= available:
        return
    share = 0.0 if added <= 0.0 else max(0.0, 1.0 - (needed - available) / added)
    for s in range(book.shape[0]):
        target = book[s, TARGET]
        qty = book[s, QTY]
        if abs(target) > abs(qty) or target * qty < 0.0:
            base = 0.0 if target * qty < 0.0 else qty
            book[s, TARGET] = base + _round_down((target - base) * share, spec[s, STEP])
            cash[N_CUTS] += 1


@part
def _is_due(i, s, bars, weights, rules, book, cash):
    # Whether the weight decided before bar i asks for an order: it changed, or the position drifted
    # from what was granted of it.
    w = weights[i - 1, s]
    if w == KEEP or w * book[s, LOCK] > 0.0:
        return False
    if w != book[s, WEIGHT]:
        return True
    scale = rules[LEVERAGE] * cash[EQUITY] * book[s, SHARE]
    drift = book[s, QTY] * bars[i - 1, s, CLOSE] - w * WEIGHT_QUANTUM * book[s, GRANTED] * scale
    return abs(drift) > rules[BAND] * scale


@part
def _decide(i, bars, weights, spec, tiers, rules, book, cash):
    # Sets TARGET for every symbol whose weight changed or drifted; cuts what margin cannot carry.
    has_order = False
    for s in range(book.shape[0]):
        w = weights[i - 1, s]
        qty = book[s, QTY]
        book[s, TARGET] = qty
        if not _is_due(i, s, bars, weights, rules, book, cash):
            continue
        if np.isnan(bars[i, s, FILL]) or np.isnan(bars[i - 1, s, CLOSE]):
            continue
        target = _size(i, s, w, spec, rules, book, cash, bars)
        if target == qty:
            book[s, WEIGHT] = w
            continue
        book[s, TARGET] = target
        has_order = True
    if has_order and rules[HAS_MARGIN] > 0.0:
        _fit_margin(i, bars, spec, tiers, rules, book, cash)


@part
def _rest(i, s, brackets, bars, spec, tiers, rules, book, cash, fills):
    # A resting limit fills as maker only when the price trades through it, not merely touches it.
    book[s, REST_TTL] -= 1.0
    fill = bars[i, s, FILL]
    if np.isnan(fill):
        return
    limit = book[s, REST_PRICE]
    w = book[s, REST_WEIGHT]
    target = _size(i, s, w, spec, rules, book, cash, bars)
    book[s, TARGET] = target
    if rules[HAS_MARGIN] > 0.0:
        for other in range(book.shape[0]):
            if other != s:
                book[other, TARGET] = book[other, QTY]
        _fit_margin(i, bars, spec, tiers, rules, book, cash)
    delta = book[s, TARGET] - book[s, QTY]
    if delta == 0.0:
        book[s, REST_TTL] = 0.0
        return
    side = 1.0 if delta > 0.0 else -1.0
    is_marketable = side * (fill - limit) <= 0.0
    if is_marketable and book[s, REST_POST_ONLY] > 0.0:
        book[s, REST_TTL] = 0.0
        return
    is_through = limit > bars[i, s, LOW] if side > 0.0 else limit < bars[i, s, HIGH]
    if not (is_marketable or is_through):
        return
    book[s, REST_TTL] = 0.0
    book[s, WEIGHT] = w
    row = min(i - 1, brackets.shape[0] - 1)
    _trade(
        i, s, delta, fill if is_marketable else limit,
        rules[TAKER] if is_marketable else rules[MAKER], is_marketable, R_LIMIT, row, brackets,
        bars, spec, tiers, rules, book, cash, fills,
    )  # fmt: skip


@part
def _enter(i, bars, weights, brackets, spec, tiers, rules, book, cash, fills):
    # Fills the market orders of bar i; what was decided for a missing bar waits for the next.
    if rules[BY_QUANTITY] > 0.0:
        for s in range(book.shape[0]):
            if np.isnan(bars[i, s, FILL]):
                book[s, TARGET] = book[s, QTY]
        if rules[HAS_MARGIN] > 0.0:
            _fit_margin(i, bars, spec, tiers, rules, book, cash)
    else:
        _decide(i, bars, weights, spec, tiers, rules, book, cash)
    row = min(i - 1, brackets.shape[0] - 1)
    for s in range(book.shape[0]):
        delta = book[s, TARGET] - book[s, QTY]
        if delta == 0.0:
            if book[s, REST_TTL] > 0.0:
                _rest(i, s, brackets, bars, spec, tiers, rules, book, cash, fills)
            continue
        w = weights[i - 1, s]
        reason = R_REBALANCE if w == book[s, WEIGHT] or w == KEEP else R_WEIGHT
        if w != KEEP:
            book[s, WEIGHT] = w
        book[s, REST_TTL] = 0.0
        _trade(
            i, s, delta, bars[i, s, FILL], rules[TAKER], True, reason, row, brackets,
            bars, spec, tiers, rules, book, cash, fills,
        )  # fmt: skip


@part
def _worst(i, s, bars, book):
    # The worst price at which the position can be held in this bar: the adverse extreme of the
    # mark, or the exit at its stop where the stop is touched first.
    side = 1.0 if book[s, QTY] > 0.0 else -1.0
    level = book[s, LEVEL]
    adverse = bars[i, s, LOW] if side > 0.0 else bars[i, s, HIGH]
    if side * (adverse - level) <= 0.0:
        first = bars[i, s, FILL] if book[s, ENTERED] == i else bars[i, s, OPEN]
        return first if side * (first - level) < 0.0 else level
    return bars[i, s, MARK_LOW] if side > 0.0 else bars[i, s, MARK_HIGH]


@part
def _close_out(i, s, price, rate, slippage, reason, book, cash, fills):
    side = 1.0 if book[s, QTY] > 0.0 else -1.0
    _fill(i, s, -book[s, QTY], price, rate, slippage, reason, book, cash, fills)
    book[s, LOCK] = side
    book[s, WEIGHT] = 0.0
    book[s, REST_TTL] = 0.0


@part
def _liquidate(i, bars, tiers, rules, book, cash, fills):
    # Takes positions over at their bankruptcy price: what margin is left goes to the insurance
    # fund, and a gap beyond it is the fund's loss. Cross: the whole account. Isolated: each alone.
    if rules[IS_ISOLATED] > 0.0:
        for s in range(book.shape[0]):
            if book[s, QTY] == 0.0:
                continue
            side = 1.0 if book[s, QTY] > 0.0 else -1.0
            if side * (_worst(i, s, bars, book) - book[s, LIQUIDATION]) <= 0.0:
                entry = book[s, ENTRY]
                k = _tier(tiers, s, abs(book[s, QTY]) * entry)
                leverage = min(rules[MARGIN_LEVERAGE], tiers[s, k, TIER_LEVERAGE])
                price = _bankruptcy_price(entry, leverage, side)
                _close_out(i, s, price, 0.0, 0.0, R_LIQUIDATION, book, cash, fills)
                cash[N_LIQUIDATIONS] += 1
        return
    equity = cash[WALLET]
    needed = 0.0
    value = 0.0
    for s in range(book.shape[0]):
        qty = book[s, QTY]
        if qty != 0.0:
            worst = _worst(i, s, bars, book)
            equity += _unrealised_pnl(book[s, ENTRY], worst, qty)
            k = _tier(tiers, s, abs(qty) * worst)
            value += abs(qty) * worst
            needed += _maintenance_margin(
                abs(qty) * worst, tiers[s, k, TIER_RATE], tiers[s, k, TIER_DEDUCTION]
            )
    if value == 0.0 or equity > needed:
        return
    for s in range(book.shape[0]):
        if book[s, QTY] != 0.0:
            side = 1.0 if book[s, QTY] > 0.0 else -1.0
            price = _worst(i, s, bars, book) * (1.0 - side * equity / value)
            _close_out(i, s, price, 0.0, 0.0, R_LIQUIDATION, book, cash, fills)
            cash[N_LIQUIDATIONS] += 1
    cash[WALLET] = 0.0


@part
def _touch(s, first, high, low, close, book):
    # Which bracket a stretch of prices touches, and at what price; the worse one first.
    side = 1.0 if book[s, QTY] > 0.0 else -1.0
    adverse, favour = (low, high) if side > 0.0 else (high, low)
    level = book[s, LEVEL]
    if side * (adverse - level) <= 0.0:
        reason = R_STOP if level == book[s, STOP] else R_TRAILING
        return reason, (first if side * (first - level) < 0.0 else level)
    take = book[s, TAKE]
    if side * (favour - take) >= 0.0:
        return R_TAKE, (first if side * (first - take) > 0.0 else take)
    if side * (favour - book[s, BEST]) > 0.0:
        book[s, BEST] = favour
        book[s, LEVEL] = _trail(s, side, favour, book)
        # The close came after the best price: beyond the new level, it has crossed it.
        if side * (close - book[s, LEVEL]) <= 0.0:
            return R_TRAILING, book[s, LEVEL]
    return -1, np.nan


@part
def _exit_brackets(i, s, bars, finer, finer_first, rules, book, cash, fills):
    first = bars[i, s, FILL] if book[s, ENTERED] == i else bars[i, s, OPEN]
    reason, price = -1, np.nan
    if finer_first[i] == finer_first[i + 1]:
        reason, price = _touch(s, first, bars[i, s, HIGH], bars[i, s, LOW], bars[i, s, CLOSE], book)
    for j in range(finer_first[i], finer_first[i + 1]):
        opened = first if j == finer_first[i] else finer[j, s, FINER_OPEN]
        reason, price = _touch(
            s, opened, finer[j, s, FINER_HIGH], finer[j, s, FINER_LOW], finer[j, s, FINER_CLOSE],
            book,
        )  # fmt: skip
        if reason >= 0:
            break
    if reason < 0:
        return
    qty = book[s, QTY]
    impact = _square_root_impact(bars[i, s, IMPACT], abs(qty) * price, 1.0)
    filled = _taker_price(price, -np.sign(qty), bars[i, s, SLIP], impact)
    _close_out(
        i, s, filled, rules[TAKER], abs(filled - price) * abs(qty), reason, book, cash, fills
    )


@cached
def simulate(  # noqa: C901 - one loop: what it calls out to costs more than the loop itself
    first: int,
    last: int,
    bars: Floats,
    weights: NDArray[np.int16],
    brackets: Floats,
    finer: Floats,
    finer_first: NDArray[np.int64],
    spec: Floats,
    tiers: Floats,
    rules: Floats,
    book: Floats,
    cash: Floats,
    equity: Floats,
    positions: Floats,
    paid: Floats,
    fills: Floats,
) -> None:
    """Advance an account over bars ``first .. last - 1``.

    Parameters
    ----------
    first, last : int
        Rows of ``bars`` to advance over; row 0 only marks to market.
    bars : ndarray of float64 of shape (n_bars, n_symbols, N_BARS)
        Prices and cost fractions. A missing bar has NaN in FILL, OPEN, HIGH and LOW; CLOSE and the
        marks are carried forward. FUNDING is 0 where nothing settles.
    weights : ndarray of int16 of shape (n_bars, n_symbols)
        Quantised target weights; row t was decided at the close of bar t.
    brackets : ndarray of float64 of shape (n_bars or 1, n_symbols, N_BRACKETS)
    finer : ndarray of float64 of shape (n_finer, n_symbols, N_FINER)
        Finer bars; bar i holds rows ``finer_first[i] .. finer_first[i + 1] - 1`` of them.
    finer_first : ndarray of int64 of shape (n_bars + 1,)
    spec, tiers, rules : ndarray of float64
        Instrument rules, margin tiers, and the rules of costs and account.
    book, cash : ndarray of float64
        The state, changed in place. Where ``rules[BY_QUANTITY]`` is set, the orders of a bar are
        the differences between TARGET, which the caller wrote, and QTY; weights only name them.
    equity : ndarray of float64 of shape (n_bars,)
        Written: wallet plus unrealised profit on the mark at each close, in USDT.
    positions, paid : ndarray of float64 of shape (n_bars or 0, n_symbols)
        Written where they have rows: quantity held at the close, funding paid in the bar.
    fills : ndarray of float64 of shape (capacity, N_FILL)
        Written up to its capacity; ``cash[N_FILLS]`` counts all.
    """
    # The loop itself only looks: whatever happens (an order, a touch, a liquidation) is decided
    # exactly by the functions above. In most bars nothing does.
    n_symbols = book.shape[0]
    band = rules[BAND]
    leverage = rules[LEVERAGE]
    has_margin = rules[HAS_MARGIN] > 0.0
    is_isolated = rules[IS_ISOLATED] > 0.0
    has_finer = finer.shape[0] > 0
    by_quantity = rules[BY_QUANTITY] > 0.0
    for i in range(first, last):
        if i > 0:
            scale = leverage * cash[EQUITY]
            has_order = False
            for s in range(n_symbols):
                w = weights[i - 1, s]
                full = scale * book[s, SHARE]
                wanted = w * WEIGHT_QUANTUM * book[s, GRANTED] * full
                drift = book[s, QTY] * bars[i - 1, s, CLOSE] - wanted
                is_new = w != book[s, WEIGHT] or abs(drift) > band * full
                if book[s, LOCK] != 0.0 and w != KEEP:
                    if w * book[s, LOCK] > 0.0:
                        is_new = False
                    else:
                        book[s, LOCK] = 0.0
                if by_quantity:
                    is_new = book[s, TARGET] != book[s, QTY]
                has_order |= book[s, REST_TTL] > 0.0 or (is_new and (by_quantity or w != KEEP))
            if has_order and scale > 0.0:
                _enter(i, bars, weights, brackets, spec, tiers, rules, book, cash, fills)
        equity_low = cash[WALLET]
        needed = 0.0
        total = 0.0
        is_held = False
        is_touched = False
        is_moved = False
        is_at_risk = False
        for s in range(n_symbols):
            qty = book[s, QTY]
            if qty == 0.0:
                continue
            is_held = True
            low = bars[i, s, LOW]
            high = bars[i, s, HIGH]
            if qty > 0.0:
                is_touched |= low <= book[s, LEVEL] or high >= book[s, TAKE]
                if high > book[s, BEST]:
                    is_moved = True
                    is_touched |= has_finer or bars[i, s, CLOSE] <= high - book[s, TRAIL]
                worst = bars[i, s, MARK_LOW]
                worst = low if low < worst else worst
                is_at_risk |= worst <= book[s, LIQUIDATION]
            else:
                is_touched |= high >= book[s, LEVEL] or low <= book[s, TAKE]
                if low < book[s, BEST]:
                    is_moved = True
                    is_touched |= has_finer or bars[i, s, CLOSE] >= low + book[s, TRAIL]
                worst = bars[i, s, MARK_HIGH]
                worst = high if high > worst else worst
                is_at_risk |= worst >= book[s, LIQUIDATION]
            is_moved |= bars[i, s, FUNDING] != 0.0
            value = abs(qty) * worst
            k = 0 if value <= tiers[s, 0, TIER_LIMIT] else _tier(tiers, s, value)
            equity_low += _unrealised_pnl(book[s, ENTRY], worst, qty)
            needed += _maintenance_margin(
                value, tiers[s, k, TIER_RATE], tiers[s, k, TIER_DEDUCTION]
            )
            total += _unrealised_pnl(book[s, ENTRY], bars[i, s, MARK_CLOSE], qty)
        if not is_isolated:
            is_at_risk = is_held and equity_low <= needed
        if is_at_risk and has_margin:
            _liquidate(i, bars, tiers, rules, book, cash, fills)
            is_moved = True
        if is_touched or is_moved:
            total = 0.0
            for s in range(n_symbols):
                if is_touched and book[s, QTY] != 0.0:
                    _exit_brackets(i, s, bars, finer, finer_first, rules, book, cash, fills)
                qty = book[s, QTY]
                if qty != 0.0:
                    mark = bars[i, s, MARK_CLOSE]
                    if bars[i, s, FUNDING] != 0.0:
                        payment = _funding_payment(qty, mark, bars[i, s, FUNDING])
                        cash[WALLET] -= payment
                        book[s, EARNED] -= payment
                        cash[FUNDING_PAID] += payment
                        if paid.shape[0] > 0:
                            paid[i, s] = payment
                    favour = bars[i, s, HIGH] if qty > 0.0 else bars[i, s, LOW]
                    if (favour - book[s, BEST]) * qty > 0.0:
                        book[s, BEST] = favour
                        book[s, LEVEL] = _trail(s, np.sign(qty), favour, book)
                    total += _unrealised_pnl(book[s, ENTRY], mark, qty)
        if positions.shape[0] > 0:
            for s in range(n_symbols):
                positions[i, s] = book[s, QTY]
        cash[EQUITY] = cash[WALLET] + total
        equity[i] = cash[EQUITY]


@cached
def size_order(
    i: int,
    s: int,
    w: int,
    spec: Floats,
    rules: Floats,
    book: Floats,
    cash: Floats,
    bars: Floats,
) -> float:
    """Return the position that a quantised weight asks for, as known at the close before bar i."""
    return _size(i, s, w, spec, rules, book, cash, bars)


MEASURES: Final = ("sharpe", "sortino", "total_return", "volatility", "max_drawdown")
"""The measures that ``summarise`` writes, in this order."""


@cached
def summarise(
    equity: Floats, capital_usdt: float, periods: float, returns: Floats, out: Floats
) -> None:
    """Write the returns of an equity curve, and its ``MEASURES`` into ``out``.

    ``periods`` is bars per year; ``returns`` is room for one value a bar.
    """
    before = capital_usdt
    for i in range(equity.shape[0]):
        returns[i] = equity[i] / before - 1.0 if before > 0.0 else 0.0
        before = equity[i]
    out[0] = _sharpe(returns, periods)
    out[1] = _sortino(returns, periods)
    out[2] = _total_return(returns)
    out[3] = _volatility(returns, periods)
    out[4] = _max_drawdown(returns)


def open_account(capital_usdt: float, n_symbols: int) -> tuple[Floats, Floats]:
    """Return a fresh ``book`` and ``cash`` for an account that holds nothing yet."""
    book = np.zeros((n_symbols, N_BOOK))
    book[:, [ENTRY, REST_PRICE]] = np.nan
    book[:, STOP : LEVEL + 1] = np.nan
    book[:, [SHARE, GRANTED]] = 1.0
    cash = np.zeros(N_CASH)
    cash[WALLET] = cash[EQUITY] = capital_usdt
    return book, cash


def compile_cached() -> None:
    """Compile everything and keep it on disk, so that a first backtest does not wait for it."""
    book, cash = open_account(1.0, 1)
    bars = np.ones((2, 1, N_BARS))
    equity = np.empty(2)
    none = np.empty((0, 1))
    tiers = np.array([[[np.inf, 0.0, 0.0, 1.0]]])
    rules = np.ones(N_RULES)
    weights = np.full((2, 1), KEEP, dtype=np.int16)
    size_order(1, 0, 1, np.zeros((1, N_SPEC)), rules, book, cash, bars)
    simulate(
        0, 2, bars, weights, np.full((1, 1, N_BRACKETS), np.nan), np.empty((0, 1, N_FINER)),
        np.zeros(3, dtype=np.int64), np.zeros((1, N_SPEC)), tiers, rules, book, cash, equity,
        none, none, np.empty((0, N_FILL)),
    )  # fmt: skip
    summarise(equity, 1.0, 8760.0, np.empty(2), np.empty(len(MEASURES)))
