"""The supervisor's judgement: what is seen goes in, what is to be done comes out.

Pure and small: no clock, no file, no network, no database; ``live.watch`` is the hands and feet.
A step takes what is known at a moment and answers with the level in force, the requests to send
now, and what to tell. Sent or not, the next step judges by what the exchange then shows: nothing
is believed to be flat that has not been seen flat.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from decimal import Decimal
from types import MappingProxyType
from typing import Any, Final, NamedTuple

import numpy as np

from workbench.core.config import SupervisorSettings
from workbench.core.records import to_float
from workbench.exchange.records import Position, Transaction
from workbench.exchange.requests import Request
from workbench.exchange.wire import to_millis
from workbench.live.flatten import (
    AT_ONCE,
    Flaw,
    Held,
    Instruments,
    Key,
    choose_cancels,
    close_position,
    find_flaw,
    key_of,
    set_backstop,
)
from workbench.live.flows import Flows
from workbench.live.latch import Latch, Level, Press
from workbench.monitor.alerts import Alert, Severity
from workbench.risk.state import Book
from workbench.risk.track import Track

SELF: Final = "supervisor"
LINK: Final = "kill-"
FIRST_WAIT_S: Final = 0.1
LONGEST_WAIT_S: Final = 1.0


class Money(NamedTuple):
    """The account's money at the exchange's time, and its log since ``Flows.since``."""

    at: datetime
    equity: Decimal
    wallet: Decimal
    rows: Sequence[Transaction]


class Seen(NamedTuple):
    """What is known now; None is what could not be learned."""

    silent_s: float | None = None
    presses: Sequence[Press] = ()
    held: Held | None = None
    money: Money | None = None
    instruments: Instruments = MappingProxyType({})


class Plan(NamedTuple):
    """The level in force, what to send now in this order, and what to tell."""

    level: Level
    requests: Sequence[Request] = ()
    alerts: Sequence[Alert] = ()


class _Try(NamedTuple):
    size: Decimal
    tries: int
    again: datetime


class Supervisor:
    """The latch, the account's track, and what was tried so far."""

    def __init__(self, rules: SupervisorSettings) -> None:
        self.rules = rules
        self.latch = Latch()
        self.flows, self.track = Flows(), Track((SELF,), n_days=1)
        self.held: Held | None = None
        self._forgiven_s = 0.0
        self._is_lost = self._was_flat = False
        self._flaws: dict[Key, tuple[Flaw, datetime]] = {}
        self._tries: dict[Key, _Try] = {}
        self._number = 0
        self._alerts: list[Alert] = []

    def step(self, now: datetime, seen: Seen) -> Plan:
        """Judge what is seen at a moment (a clock that never goes back)."""
        self._alerts = []
        for press in seen.presses:
            self._press(press, now, seen.silent_s)
        if seen.held is not None:
            self.held = seen.held
        if seen.money is not None:
            self._judge_money(seen.money, now)
        self._judge_silence(seen.silent_s, now)
        level = max(self.latch.level, Level.NO_NEW_RISK if self._is_lost else Level.CLEAR)
        requests = () if seen.held is None else self._act(level, seen.held, seen.instruments, now)
        return Plan(level, requests, self._alerts)

    def document(self) -> dict[str, Any]:
        """Return all that must be kept, as plain JSON."""
        return {
            "latch": self.latch.document(), "flows": self.flows.document(),
            "track": self.track.document(), "forgiven_s": self._forgiven_s,
        }  # fmt: skip

    def restore(self, document: Mapping[str, Any]) -> None:
        """Go on from a document.

        Raises
        ------
        KeyError, TypeError, ValueError, WorkbenchError
            If it is not one that ``document`` made.
        """
        self.latch = Latch.read(document["latch"])
        self.flows.restore(document["flows"])
        self.track.restore(document["track"])
        self._forgiven_s = float(document["forgiven_s"])

    def _press(self, press: Press, now: datetime, silent_s: float | None = None) -> None:
        before, self.latch = self.latch.level, self.latch.press(press, now)
        if self.latch.level is before:
            return
        if press.level is Level.CLEAR:
            # Whatever led here starts anew, or it would be latched again at once.
            self.track.restart()
            self.track.day_nav = self.track.nav
            self._forgiven_s = silent_s or 0.0
        self._tries.clear()
        words = f"{press.level.words} by {press.by}: {press.reason}"
        self._tell("latch", Severity.CRITICAL, words, is_over=press.level is Level.CLEAR)

    def _judge_silence(self, silent_s: float | None, now: datetime) -> None:
        since_s = silent_s or 0.0
        self._forgiven_s = min(self._forgiven_s, since_s)
        since_s -= self._forgiven_s
        was_lost, self._is_lost = self._is_lost, since_s >= self.rules.silent_s
        words = f"the engine has been silent for {since_s:.1f} s"
        if self._is_lost != was_lost:
            said = (
                f"{words}: no entries, stops stay"
                if self._is_lost
                else "the engine is back, or has signed off"
            )
            self._tell("engine", Severity.CRITICAL, said, is_over=was_lost)
        is_late = since_s >= self.rules.silent_s + self.rules.grace_s
        if is_late and not (self.held is not None and self.held.is_flat):
            self._press(Press(Level.FLATTEN, SELF, words), now, silent_s)

    def _judge_money(self, money: Money, now: datetime) -> None:
        track, flows = self.track, self.flows
        flows.advance(money.at, money.wallet, money.rows)
        peak, nothing = track.peak, np.zeros((1, 0))
        book = Book(
            qty=nothing, stops=nothing, equity_usdt=to_float(money.equity),
            flows_usdt=to_float(flows.mild), shares=np.ones(1), pnl_usdt=np.zeros(1),
        )  # fmt: skip
        track.advance(money.at if track.last is None else max(money.at, track.last), book)
        if flows.doubt > 0:
            # Whether it was earned is not known yet: no peak is measured on it.
            track.peak = peak
        for words, loss, limit in (
            ("below its peak", track.drawdown, self.rules.max_drawdown),
            ("lost today", track.daily_loss, self.rules.max_daily_loss),
        ):
            if loss > limit:
                reason = f"{loss:.1%} {words}, more than {limit:.1%}"
                self._press(Press(Level.FLATTEN, SELF, reason), now)

    def _act(
        self, level: Level, held: Held, instruments: Instruments, now: datetime
    ) -> Sequence[Request]:
        requests: list[Request] = list(choose_cancels(level, held))
        if level is Level.FLATTEN:
            self._flaws.clear()
            due = [own for own in held.positions if self._is_due(own, now)]
            requests += [self._close(own, instruments, now) for own in due[:AT_ONCE]]
        else:
            requests += self._mend(held, instruments, now)
        held_keys = {key_of(own) for own in held.positions}
        self._tries = {key: own for key, own in self._tries.items() if key in held_keys}
        if level is Level.FLATTEN and held.is_flat and not self._was_flat:
            key = f"flat ({self.latch.at[:19]})"
            self._tell(key, Severity.WARNING, "no position and no order is left")
        self._was_flat = held.is_flat and level is Level.FLATTEN
        return requests

    def _is_due(self, position: Position, now: datetime) -> bool:
        # Where nothing was closed the market is empty: asking faster would only use up the limit.
        last = self._tries.get(key_of(position))
        return last is None or position.size != last.size or now >= last.again

    def _close(self, position: Position, instruments: Instruments, now: datetime) -> Request:
        key = key_of(position)
        last = self._tries.get(key)
        tries = 0 if last is None or position.size < last.size else last.tries
        wait_s = min(FIRST_WAIT_S * 2**tries, LONGEST_WAIT_S)
        self._tries[key] = _Try(position.size, tries + 1, now + timedelta(seconds=wait_s))
        self._number += 1
        return close_position(
            position, instruments.get(position.symbol), tries=tries,
            collar=Decimal(repr(self.rules.collar)),
            link=f"{LINK}{to_millis(now)}-{self._number}",
        )  # fmt: skip

    def _mend(self, held: Held, instruments: Instruments, now: datetime) -> list[Request]:
        requests: list[Request] = []
        flaws: dict[Key, tuple[Flaw, datetime]] = {}
        for position in held.positions:
            key, flaw = key_of(position), find_flaw(position, held.orders)
            if flaw is None:
                if key in self._flaws:
                    self._tell(f"stop {key[0]}", Severity.CRITICAL, "is there", is_over=True)
                continue
            known, since = self._flaws.get(key, (flaw, now))
            flaws[key] = flaw, since if known is flaw else now
            instrument = instruments.get(position.symbol)
            if now - flaws[key][1] < timedelta(seconds=self.rules.bare_s) or instrument is None:
                continue
            self._tell(f"stop {key[0]}", Severity.CRITICAL, f"the position {flaw}")
            if flaw is Flaw.PASSED:
                requests.append(self._close(position, instruments, now))
            else:
                distance = Decimal(repr(self.rules.stop_distance))
                stop = set_backstop(position, instrument, distance=distance)
                requests += [] if stop is None else [stop]
        self._flaws = flaws
        return requests

    def _tell(self, key: str, severity: Severity, words: str, *, is_over: bool = False) -> None:
        self._alerts.append(Alert(key, severity, words, is_over))
