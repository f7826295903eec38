"""The roster: the strategies that trade, each by itself, and what they want at a bar.

Each runs in a thread of its own. One that raises, or does not answer in time, is held flat: it
enters nothing, its positions are kept by their stops, and the others go on.
"""

from __future__ import annotations

import asyncio
import json
import logging
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from decimal import Decimal
from enum import StrEnum
from functools import partial
from typing import Any, Final

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from workbench.core.errors import ConfigError, ModelError
from workbench.core.records import Market
from workbench.exchange.words import TimeInForce
from workbench.execution.memory import Style
from workbench.live.window import Window
from workbench.strategies.base import (
    KEEP,
    WEIGHT_QUANTUM,
    Brackets,
    Held,
    Intent,
    SteppedStrategy,
    Strategy,
    quantise,
)

log = logging.getLogger(__name__)

Floats = NDArray[np.float64]
CanSend = Callable[[str, float], bool]
"""Whether a symbol's weight could be traded for now."""


class Phase(StrEnum):
    """What a strategy does: run, only exit, nothing, or nothing because it failed."""

    RUNNING = "running"
    PAUSED = "paused"
    STOPPED = "stopped"
    FAILED = "failed"


MOVES: Final[Mapping[str, tuple[frozenset[Phase], Phase]]] = {
    "start": (frozenset({Phase.STOPPED, Phase.FAILED}), Phase.RUNNING),
    "pause": (frozenset({Phase.RUNNING}), Phase.PAUSED),
    "resume": (frozenset({Phase.PAUSED, Phase.FAILED}), Phase.RUNNING),
    "stop": (frozenset({Phase.RUNNING, Phase.PAUSED, Phase.FAILED}), Phase.STOPPED),
    "fail": (frozenset({Phase.RUNNING, Phase.PAUSED}), Phase.FAILED),
}
"""What may be done to a strategy: from which phases, and to which."""


@dataclass(frozen=True, slots=True)
class Want:
    """What a strategy wants of its symbols: weights (NaN keeps), brackets, orders that rest."""

    weights: Floats
    brackets: Floats
    styles: Mapping[str, Style] = field(default_factory=dict)
    state: Mapping[str, Any] | None = None


@dataclass(slots=True)
class Runner:
    """A strategy that trades, where it stands, and what it remembers."""

    name: str
    strategy: Strategy
    strategy_hash: str
    symbols: tuple[str, ...]
    phase: Phase = Phase.RUNNING
    words: str = ""
    state: Mapping[str, Any] | None = None
    busy: Future[Want | str] | None = None

    def move(self, what: str, words: str) -> None:
        """Change the phase.

        Raises
        ------
        ConfigError
            If that cannot be done to it as it stands.
        """
        before, after = MOVES[what]
        if self.phase not in before:
            raise ConfigError(
                f"{self.name} is {self.phase}: one cannot {what} it.",
                f"That is for a strategy that is {' or '.join(sorted(before))}.",
            )
        self.phase, self.words = after, words

    def answer(self, market: Market, held: Mapping[str, Held], can_send: CanSend) -> Want:
        """Return what the strategy wants at the last bar of a market.

        Raises
        ------
        ModelError
            If its answer does not have the form of one.
        """
        strategy = self.strategy
        if isinstance(strategy, SteppedStrategy):
            return _step(strategy, self.state, market, held, can_send)
        frame = _checked(strategy.weights(market), market, "weights")
        whole = quantise(frame.iloc[-1:])[0]
        weights = np.where(whole == KEEP, np.nan, whole * WEIGHT_QUANTUM)
        return Want(weights, _brackets(strategy.brackets(market), market))


@dataclass(frozen=True, slots=True)
class Wants:
    """What all strategies want, of shape (n_strategies, n_symbols), and who did not answer."""

    weights: Floats
    brackets: Floats
    styles: Mapping[str, Style]
    failures: Mapping[str, str]


class Roster:
    """Asks strategies, each within ``timeout_s``; with ``is_inline`` here and now (a replay)."""

    def __init__(
        self, runners: Sequence[Runner], *, timeout_s: float = 10.0, is_inline: bool = False
    ) -> None:
        self.runners = {runner.name: runner for runner in runners}
        self.timeout_s, self.is_inline = timeout_s, is_inline
        self._threads = {
            name: ThreadPoolExecutor(1, thread_name_prefix=f"strategy-{name}")
            for name in ([] if is_inline else self.runners)
        }

    @property
    def lookback(self) -> int:
        """How many bars the strategies need together."""
        return max((runner.strategy.lookback for runner in self.runners.values()), default=1)

    def close(self) -> None:
        """Let the threads go; one that hangs is left to itself."""
        for pool in self._threads.values():
            pool.shutdown(wait=False, cancel_futures=True)

    async def ask(
        self,
        window: Window,
        seen: Callable[[Runner], Mapping[str, Held]],
        can_send: Callable[[Runner], CanSend],
    ) -> Wants:
        """Ask every strategy that runs or may exit; a silent one keeps what it holds."""
        failures: dict[str, str] = {}
        answers: dict[str, Want | str] = {}
        asked: dict[str, Future[Want | str]] = {}
        for name, runner in self.runners.items():
            if runner.phase not in (Phase.RUNNING, Phase.PAUSED):
                continue
            if runner.busy is not None and not runner.busy.done():
                failures[name] = "It is still at an earlier bar."
                continue
            lookback = runner.strategy.lookback
            if len(window) < lookback:
                failures[name] = f"{len(window)} of the {lookback} bars that it needs are here."
                continue
            market = window.market(lookback, runner.symbols)
            held = seen(runner) if isinstance(runner.strategy, SteppedStrategy) else {}
            call = partial(_try, runner, market, held, can_send(runner))
            if self.is_inline:
                answers[name] = call()
            else:
                runner.busy = asked[name] = self._threads[name].submit(call)
        if asked:
            await asyncio.wait(
                [asyncio.wrap_future(one) for one in asked.values()], timeout=self.timeout_s
            )
        for name, future in asked.items():
            if future.done():
                answers[name] = future.result()
            else:
                failures[name] = f"It did not answer within {self.timeout_s:g} s."
        return self._gather(window.symbols, answers, failures)

    def _gather(
        self, symbols: tuple[str, ...], answers: dict[str, Want | str], failures: dict[str, str]
    ) -> Wants:
        shape = len(self.runners), len(symbols)
        weights, brackets = np.full(shape, np.nan), np.full((*shape, 3), np.nan)
        styles: dict[str, Style] = {}
        plain: set[str] = set()
        for k, (name, runner) in enumerate(self.runners.items()):
            want = answers.get(name)
            if want is None:
                continue
            if isinstance(want, str):
                runner.move("fail", want)
                failures[name] = want
                continue
            columns = [symbols.index(symbol) for symbol in runner.symbols]
            weights[k, columns], brackets[k, columns] = want.weights, want.brackets
            runner.state = want.state
            moving = {s for s, w in zip(runner.symbols, want.weights, strict=True) if w == w}
            plain |= moving - set(want.styles)
            styles |= want.styles
        # One order trades a symbol for all: it rests only if nobody wants it at once.
        return Wants(
            weights, brackets, {s: own for s, own in styles.items() if s not in plain}, failures
        )


def _try(runner: Runner, market: Market, held: Mapping[str, Held], can_send: CanSend) -> Want | str:
    # What a strategy raises can be anything, and is its own trouble alone: it comes back in words.
    try:
        return runner.answer(market, held, can_send)
    except Exception as error:
        log.exception("%s failed at %s", runner.name, market.index[-1])
        return f"{type(error).__name__}: {error}"


def _step(
    strategy: SteppedStrategy,
    state: Mapping[str, Any] | None,
    market: Market,
    held: Mapping[str, Held],
    can_send: CanSend,
) -> Want:
    row = {
        name: _checked(frame, market, f"feature {name}").to_numpy()[-1]
        for name, frame in strategy.features(market).items()
    }
    before = strategy.init() if state is None else dict(state)
    after, intents = strategy.step(before, row, held)
    # It must be what is read again after a restart.
    after = json.loads(json.dumps(after))
    symbols = market.symbols
    weights, brackets = np.full(len(symbols), np.nan), np.full((len(symbols), 3), np.nan)
    styles: dict[str, Style] = {}
    groups: dict[str, list[Intent]] = defaultdict(list)
    for intent in intents:
        if intent.symbol not in symbols or not abs(intent.weight) <= 1:
            raise ModelError(
                f"{type(strategy).__name__} wants {intent.weight} of {intent.symbol}.",
                f"Weights lie in [-1, 1], and it may trade {', '.join(symbols)}.",
            )
        groups[intent.group or f"\0{intent.symbol}"].append(intent)
    for name, members in groups.items():
        if not name.startswith("\0") and not all(can_send(m.symbol, m.weight) for m in members):
            continue
        for intent in members:
            s = symbols.index(intent.symbol)
            weights[s] = round(intent.weight / WEIGHT_QUANTUM) * WEIGHT_QUANTUM
            brackets[s] = intent.stop_loss, intent.take_profit, intent.trailing
            if intent.style != "market":
                styles[intent.symbol] = _style(strategy, intent, market)
    return Want(weights, brackets, styles, after)


def _style(strategy: SteppedStrategy, intent: Intent, market: Market) -> Style:
    if not intent.limit_price > 0 or intent.ttl_bars < 1:
        raise ModelError(
            f"The {intent.style} intent of {type(strategy).__name__} for {intent.symbol} has "
            f"limit_price {intent.limit_price} and ttl_bars {intent.ttl_bars}.",
            "A resting intent needs a positive price and at least one bar to live.",
        )
    tick = market.instruments[intent.symbol].tick_size
    # A buy never above its limit, a sale never below it.
    way = "ROUND_FLOOR" if intent.weight > 0 else "ROUND_CEILING"
    price = (Decimal(repr(intent.limit_price)) / tick).to_integral_value(rounding=way) * tick
    is_post_only = intent.style == "post_only"
    return Style(
        algorithm="limit",
        price=price,
        time_in_force=TimeInForce.POST_ONLY if is_post_only else TimeInForce.GTC,
        ttl_s=intent.ttl_bars * market.bar_length.total_seconds(),
    )


def _checked(frame: pd.DataFrame, market: Market, name: str) -> pd.DataFrame:
    if frame.shape != market.close.shape or list(frame.columns) != market.symbols:
        raise ModelError(
            f"The {name} of a strategy has shape {frame.shape}, the market {market.close.shape}.",
            "Return one row for each known_at and one column for each symbol, in their order.",
        )
    return frame


def _brackets(given: Brackets | None, market: Market) -> Floats:
    table = np.full((len(market.symbols), 3), np.nan)
    if given is None:
        return table
    for k, distance in enumerate((given.stop_loss, given.take_profit, given.trailing)):
        if isinstance(distance, pd.DataFrame):
            table[:, k] = _checked(distance, market, f"bracket {k}").to_numpy()[-1]
        elif distance is not None:
            table[:, k] = distance
    if (table <= 0).any():
        raise ModelError(
            "A bracket stands at no distance from the entry.",
            "Distances are positive fractions of the entry price; use None or NaN for no bracket.",
        )
    return table
