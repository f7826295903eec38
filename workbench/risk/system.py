"""The one risk system: what is measured, limited and sized, in backtest, replay, paper and live.

The loop tells it what there is (``observe``), then asks what may be held (``review``). ``observe``
advances peaks, days and breakers; ``review`` changes nothing, so that the same question has the
same answer. Money that comes or goes without being earned (``Book.flows_usdt``) moves no return,
drawdown or breaker; see ``track``.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from math import isnan, sqrt
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from workbench.core.errors import ConfigError, DataError
from workbench.core.lots import whole_lots
from workbench.core.records import Instrument, to_float
from workbench.risk.breakers import Breakers, Change, Kind
from workbench.risk.caps import overlap
from workbench.risk.ceilings import Ceilings, Scene, fill_covariance
from workbench.risk.decision import _SEAL, Decision, Level, Reason
from workbench.risk.limits import Limits, breaker_limits
from workbench.risk.margin import stack_tiers
from workbench.risk.sizing import correlation_multiplier, regime_multiplier
from workbench.risk.state import Book, Outlook, Targets
from workbench.risk.track import Track

Floats = NDArray[np.float64]
Mask = NDArray[np.bool_]

STOP, TAKE, TRAIL = range(3)


class Reading(NamedTuple):
    """What ``observe`` measured, as fractions of the equity unless it says otherwise.

    ``strategy_drawdown`` is of shape (n_strategies,); ``sharpe`` and ``consistency`` (days without
    a loss) are NaN while there are too few days.
    """

    known_at: datetime
    equity_usdt: float
    drawdown: float
    daily_loss: float
    strategy_drawdown: Floats
    value_at_risk: float
    gross: float
    net: float
    sharpe: float
    consistency: float
    level: Level


class RiskSystem:
    """The account's limits and its memory: peaks, days and breakers.

    Parameters
    ----------
    limits : Limits
    symbols, strategies : sequence of str
        The columns and rows of everything that it is handed.
    instruments : mapping of symbol to Instrument
        Every symbol must be there, with its margin tiers.
    sectors : mapping of symbol to str, optional
        A symbol that is not in it is a sector of its own.
    leverage : float, default=1.0
        Exposure that a weight of 1 stands for.
    margin_leverage : float, default=10.0
        Leverage set at the exchange.

    Raises
    ------
    ConfigError
        If an instrument is missing, or there are more strategies than the limits allow.
    """

    def __init__(
        self,
        limits: Limits,
        *,
        symbols: Sequence[str],
        strategies: Sequence[str],
        instruments: Mapping[str, Instrument],
        sectors: Mapping[str, str] | None = None,
        leverage: float = 1.0,
        margin_leverage: float = 10.0,
    ) -> None:
        self.limits = limits
        self.symbols, self.strategies = tuple(symbols), tuple(strategies)
        if len(self.strategies) > limits.max_strategies:
            raise ConfigError(
                f"{len(self.strategies)} strategies are more than the {limits.max_strategies} of "
                f"the mode {limits.title}.",
                "Trade fewer, or raise max_strategies.",
            )
        self.leverage = leverage
        missing = [s for s in self.symbols if s not in instruments]
        if missing:
            raise ConfigError(
                f"There are no exchange rules of {', '.join(missing)}.",
                "Pull or import their instruments: no order can be checked without them.",
            )
        self.ceilings = Ceilings(
            limits,
            symbols,
            stack_tiers(instruments, symbols),
            sectors=sectors,
            margin_leverage=margin_leverage,
        )
        self.set_instruments(instruments)
        self.breakers = Breakers(breaker_limits(limits))
        self.track = Track(strategies, n_days=limits.performance_days)
        self.reading: Reading | None = None

    def set_instruments(self, instruments: Mapping[str, Instrument]) -> None:
        """Take new steps, sizes and tiers, as the exchange changes them."""
        rows = [instruments[symbol] for symbol in self.symbols]
        self._step = np.array([to_float(r.qty_step) for r in rows])
        self._min_qty = np.array([to_float(r.min_qty) for r in rows])
        self._max_qty = np.array([to_float(r.max_market_qty) for r in rows])
        self._min_value = np.array([to_float(r.min_notional_usdt) for r in rows])
        self.ceilings.tiers = stack_tiers(instruments, self.symbols)

    def set_limits(self, limits: Limits) -> None:
        """Take other limits at once; peaks, days and breakers stay."""
        self.limits = limits
        self.breakers.set_limits(breaker_limits(limits))
        self.ceilings.limits = limits
        self.track.keep_days(limits.performance_days)

    # What there is

    def observe(
        self, known_at: datetime, book: Book, outlook: Outlook
    ) -> tuple[Reading, list[Change]]:
        """Take account and market as they are; return what was measured and what breakers changed.

        Raises
        ------
        DataError
            If the equity is not a number, or time runs backwards.
        """
        if isnan(book.equity_usdt):
            raise DataError(
                "The equity of the account is not a number.",
                "Find the price or balance that is missing; nothing is traded without it.",
            )
        self.track.advance(known_at, book)
        reading = self._measure(known_at, book, outlook)
        self.reading = reading
        limits = self.limits
        stale = float((outlook.age_bars > limits.max_age_bars).mean())
        return reading, self.breakers.update(
            {
                Kind.DAILY_LOSS: reading.daily_loss,
                Kind.DRAWDOWN: reading.drawdown,
                Kind.VALUE_AT_RISK: reading.value_at_risk,
                Kind.VOLATILITY: outlook.volatility_ratio,
                Kind.STALE_DATA: stale,
                Kind.REJECT_RATE: book.reject_rate,
                Kind.ORDER_RATE: book.orders_per_min,
            },
            known_at,
        )

    def _measure(self, known_at: datetime, book: Book, outlook: Outlook) -> Reading:
        limits, track = self.limits, self.track
        value = _value(book, outlook)
        net = value.sum(axis=0)
        equity = book.equity_usdt
        scale = 1.0 / equity if equity > 0.0 else 0.0
        deviation = sqrt(max(float(net @ fill_covariance(outlook.covariance) @ net), 0.0))
        at_risk = outlook.tail * deviation * scale
        used = max(
            track.drawdown / limits.max_drawdown,
            track.daily_loss / limits.max_daily_loss,
            at_risk / self.breakers.limits[Kind.VALUE_AT_RISK],
        )
        level = Level(min(int(max(used, 0.25) * 4.0) - 1, 3))
        if level < Level.HIGH and (
            track.sharpe < limits.min_sharpe or track.consistency < limits.min_consistency
        ):
            level = Level.HIGH
        return Reading(
            known_at=known_at,
            equity_usdt=equity,
            drawdown=track.drawdown,
            daily_loss=track.daily_loss,
            strategy_drawdown=track.strategy_drawdown,
            value_at_risk=at_risk,
            gross=float(np.abs(value).sum()) * scale,
            net=float(net.sum()) * scale,
            sharpe=track.sharpe,
            consistency=track.consistency,
            level=Level.CRITICAL if equity <= 0.0 else level,
        )

    # What may be held

    @property
    def multiplier(self) -> float:
        """What breakers leave of an entry: 0, a trial share, or 1."""
        return float(self.breakers.scale)

    def size_multipliers(self, outlook: Outlook) -> tuple[float, float]:
        """Return what the regime and the measured correlation leave of a size, each in [0, 1]."""
        limits = self.limits
        regime = regime_multiplier(
            outlook.regime,
            normal=limits.regime_normal,
            high=limits.regime_high,
            crisis=limits.regime_crisis,
        )
        return regime, correlation_multiplier(
            outlook.correlation,
            len(self.symbols),
            usual=limits.usual_correlation,
            floor=limits.correlation_floor,
        )

    def needs_trim(self, book: Book, outlook: Outlook) -> bool:
        """Return whether prices have carried what is held beyond a limit, or everything must close.

        A bar without a changed target asks this after ``observe`` and, mostly, goes on.
        """
        reading, limits = self.reading, self.limits
        if reading is None or reading.gross == 0.0:
            return False
        band = 1.0 + limits.trim_band
        if (
            self._must_close(reading)
            or reading.gross > limits.max_gross * band
            or abs(reading.net) > limits.max_net * band
            or reading.value_at_risk > limits.max_value_at_risk * band
        ):
            return True
        value = np.abs(_value(book, outlook)).sum(axis=0)
        return self.ceilings.is_passed(value, book.equity_usdt)

    def review(self, targets: Targets, book: Book, outlook: Outlook) -> Decision:
        """Return what may be held: approved, resized or refused, with a reason for each cut.

        Exits and reductions are never refused. Entries need a fresh price, a forecast, a closed
        breaker and room under every limit, and get a protective bracket.

        Raises
        ------
        DataError
            If a shape does not fit, or nothing was observed at the moment of the targets.
        """
        reading = self._check(targets, book)
        held = _value(book, outlook)
        equity = max(book.equity_usdt, 0.0)
        asked = ~np.isnan(targets.weights)
        wanted = targets.weights * self.leverage * equity * book.shares[:, None]
        wanted = np.where(asked, wanted * outlook.scales[:, None], held)
        brackets, stop, is_unrewarded = self._brackets(targets.brackets, outlook)
        with np.errstate(invalid="ignore"):
            away = np.abs(1.0 - book.stops / outlook.price)
        stop = np.where(asked | np.isnan(away), stop, np.minimum(away, 1.0))
        scene = Scene(book, held, asked, stop, equity, [])
        if self._must_close(reading):
            scene = scene._replace(asked=np.ones_like(asked))
            target = scene.note(Reason.CLOSE, reading.drawdown, self.limits.max_drawdown,
                wanted, np.zeros_like(wanted),
            )  # fmt: skip
        else:
            target = self._multiply(wanted, scene, outlook)
            target = self._gate(target, scene, reading, outlook, is_unrewarded)
            target = self.ceilings.apply(target, scene, outlook)
        return Decision(
            known_at=targets.known_at,
            strategies=self.strategies,
            symbols=self.symbols,
            held=book.qty,
            qty=self._round(target, scene, outlook.price),
            asked_usdt=wanted,
            brackets=brackets,
            price=outlook.price,
            cuts=tuple(scene.cuts),
            level=reading.level,
            seal=_SEAL,
        )

    def _check(self, targets: Targets, book: Book) -> Reading:
        shape = (len(self.strategies), len(self.symbols))
        if not targets.weights.shape == book.qty.shape == shape:
            raise DataError(
                f"Targets of shape {targets.weights.shape} and a book of {book.qty.shape} are not "
                f"of {shape[0]} strategies and {shape[1]} symbols.",
                "Hand both in the order of the system's strategies and symbols.",
            )
        reading = self.reading
        if reading is None or reading.known_at != targets.known_at:
            seen = "nothing" if reading is None else reading.known_at
            raise DataError(
                f"Targets of {targets.known_at} are asked about, and {seen} was observed last.",
                "Call observe with the book and the outlook of the same moment first.",
            )
        return reading

    def _must_close(self, reading: Reading) -> bool:
        limits = self.limits
        return limits.drawdown_action == "close" and reading.drawdown >= limits.max_drawdown

    def _brackets(self, given: Floats, outlook: Outlook) -> tuple[Floats, Floats, Mask]:
        # The strategy's protection or, where it gives no stop, the default; the loss at the stop as
        # a fraction of the value; and which entries promise too little for what they risk.
        limits = self.limits
        deviation = np.sqrt(np.diagonal(outlook.covariance))
        default = np.minimum(limits.stop_volatilities * deviation, limits.max_stop)
        is_bare = np.isnan(given[:, :, STOP]) & np.isnan(given[:, :, TRAIL])
        brackets = given.copy()
        brackets[:, :, STOP] = np.where(is_bare, default, given[:, :, STOP])
        if limits.take_profit:
            is_open = is_bare & np.isnan(given[:, :, TAKE])
            brackets[:, :, TAKE] = np.where(is_open, limits.take_profit, given[:, :, TAKE])
        brackets[np.isinf(brackets)] = np.nan
        stop = np.fmin(brackets[:, :, STOP], brackets[:, :, TRAIL])
        is_unrewarded = given[:, :, TAKE] < limits.min_reward_risk * np.where(is_bare, np.nan, stop)
        return brackets, np.where(stop < 1.0, stop, 1.0), is_unrewarded

    def _multiply(self, target: Floats, scene: Scene, outlook: Outlook) -> Floats:
        multipliers = self.size_multipliers(outlook)
        for reason, share in zip((Reason.REGIME, Reason.CORRELATION), multipliers, strict=True):
            if share < 1.0:
                target = scene.note(
                    reason, share, 1.0, target, np.where(scene.asked, target * share, target)
                )
        return target

    def _gate(
        self,
        target: Floats,
        scene: Scene,
        reading: Reading,
        outlook: Outlook,
        is_unrewarded: Mask,
    ) -> Floats:
        limits = self.limits
        kept = overlap(target, scene.held)
        if (kept == target).all():
            return target
        price, mark = outlook.price, outlook.mark
        is_known = np.isfinite(price) & np.isfinite(np.diagonal(outlook.covariance))
        is_blind = ~(is_known & (outlook.age_bars <= limits.max_age_bars))
        is_blind |= np.isnan(outlook.turnover_usdt) & np.isfinite(limits.max_turnover_share)
        # A position that cannot be valued leaves no number of the account to be trusted.
        is_blind |= bool(((scene.book.qty != 0.0) & ~np.isfinite(price)).any())
        away = np.abs(price / mark - 1.0)
        is_away = ~(away <= limits.price_collar) & ~is_blind
        own = reading.strategy_drawdown
        is_down = own >= limits.max_strategy_drawdown
        for reason, load, limit, blocked in (
            (Reason.DATA, 0.0, 0.0, is_blind[None, :]),
            (Reason.COLLAR, float(away[is_away].max(initial=0.0)), limits.price_collar, is_away),
            (Reason.STRATEGY, float(own.max()), limits.max_strategy_drawdown, is_down[:, None]),
            (Reason.REWARD, 0.0, limits.min_reward_risk, is_unrewarded),
        ):
            if blocked.any():
                target = scene.note(reason, load, limit, target, np.where(blocked, kept, target))
        share = self.breakers.scale
        if share < 1.0:
            least = np.where(np.abs(target * share) > np.abs(kept), target * share, kept)
            target = scene.note(Reason.BREAKER, share, 1.0, target, least)
        if reading.level is Level.CRITICAL:
            target = scene.note(Reason.LEVEL, 0.0, 0.0, target, overlap(target, kept))
        return target

    def _round(self, target: Floats, scene: Scene, price: Floats) -> Floats:
        # What nobody changed stays to the last digit; a close needs no price.
        held = scene.book.qty
        with np.errstate(invalid="ignore"):
            lots = whole_lots(target / price, self._step)
        is_closed = scene.asked & (target == 0.0)
        qty = np.where(is_closed, 0.0, np.where(target == scene.held, held, lots))
        delta = qty - held
        net = np.abs(delta.sum(axis=0))
        most = self._max_qty
        is_large = (most > 0.0) & (net > most)
        if is_large.any():
            share = np.where(is_large, most / np.maximum(net, most), 1.0)
            qty = np.where(is_large, held + whole_lots(delta * share, self._step), qty)
        is_small = (net < self._min_qty) | ~(net * price >= self._min_value)
        is_small &= (net > 0.0) & (qty.sum(axis=0) != 0.0)
        for symbol in np.flatnonzero(is_small):
            qty[:, symbol] = held[:, symbol] + _crossed(delta[:, symbol])
        if is_large.any() or is_small.any():
            after = np.where(is_large | is_small, np.nan_to_num(qty * price), target)
            scene.note(Reason.LOTS, 0.0, 0.0, target, after)
        return qty

    # What it remembers

    def rearm(self, kind: Kind, *, by: str, reason: str, now: datetime) -> Change:
        """Let a person close a breaker again; after a drawdown the peak starts anew."""
        change = self.breakers.rearm(kind, by=by, reason=reason, now=now)
        if kind is Kind.DRAWDOWN:
            self.track.restart()
        return change

    def restart(self, strategy: str) -> None:
        """Let a strategy that fell too far enter again, by a person's word."""
        self.track.restart(strategy)

    def document(self) -> dict[str, Any]:
        """Return its memory as plain values, to be kept across a restart."""
        return {"track": self.track.document(), "breakers": self.breakers.document()}

    def restore(self, document: Mapping[str, Any]) -> None:
        """Take the memory of an earlier process; the next ``observe`` goes on from there."""
        self.track.restore(document["track"])
        self.breakers.restore(document["breakers"])


def _crossed(delta: Floats) -> Floats:
    # The changes of strategies in a symbol whose sum is too small to be sent: what goes one way is
    # cut, the largest first, until the rest cancels out among them.
    net = float(delta.sum())
    left, answer = abs(net), delta.copy()
    for k in np.argsort(-np.abs(delta), kind="stable"):
        if delta[k] * net > 0.0:
            cut = min(left, abs(float(delta[k])))
            answer[k] -= np.copysign(cut, delta[k])
            left -= cut
    return answer


def _value(book: Book, outlook: Outlook) -> Floats:
    # A position whose price was never seen counts nothing here; ``_gate`` then lets nobody enter.
    value = book.qty * outlook.price
    return np.where(np.isnan(value), 0.0, value)
