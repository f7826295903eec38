"""The watch: the supervisor's hands and feet, one turn after the other.

A turn first does what needs nobody: words, heartbeats, the latch, clearance for entries. Then it
looks at the exchange and does what has to be done there. Whatever fails is told, and does not keep
the rest from happening: neither a full disk, nor a reply that cannot be read, nor no reply at all.
"""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable
from datetime import datetime, timedelta
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, NamedTuple, TypeVar

from workbench.core.clock import Clock, SteadyClock
from workbench.core.errors import SecretError, WorkbenchError
from workbench.live.hands import Hands
from workbench.live.heartbeat import CLEARANCE, ENGINE, Heart, Pulse
from workbench.live.latch import (
    STOP,
    Level,
    Press,
    drop_word,
    load_state,
    read_word,
    save_state,
)
from workbench.live.supervisor import SELF, Plan, Seen, Supervisor
from workbench.monitor.alerts import Alert, Severity

if TYPE_CHECKING:
    from workbench.core.config import SupervisorSettings

PACE_S: Final = 0.1
LONGEST_WAIT_S: Final = 2.0
SAVE: Final = timedelta(seconds=10)
COUNT: Final = timedelta(seconds=2)

T = TypeVar("T")
Tell = Callable[[Alert], None]


class Word(NamedTuple):
    """A word that came by the door, and how its sender hears that it was taken up."""

    press: Press
    taken: threading.Event


class Watch:
    """One supervisor at work, in one thread; ``words`` may come from others.

    ``report`` is handed the state in every turn: whoever starts the watch again hands it back,
    so that the latch holds even where no file can be written. ``is_done`` says that the last look
    at the exchange has shown nothing that is left to do.
    """

    def __init__(
        self,
        folder: Path,
        rules: SupervisorSettings,
        *,
        hands: Hands,
        clock: Clock,
        tell: Tell,
        report: Callable[[dict[str, Any]], None] = lambda state: None,
        state: dict[str, Any] | None = None,
    ) -> None:
        self.folder, self.rules, self.hands, self.clock = folder, rules, hands, clock
        self.core = Supervisor(rules)
        self.pulse, self.clearance = Pulse(Heart(folder / ENGINE)), Heart(folder / CLEARANCE)
        self.words: queue.SimpleQueue[Word] = queue.SimpleQueue()
        self.wake = threading.Event()
        self.level = Level.CLEAR
        self.tell, self._report = tell, report
        self._look_at = self._count_at = self._saved_at = clock.now()
        self._failures = 0
        self.is_done = False
        self._troubles: set[str] = set()
        self._restore(state)
        self.shown = self._show()

    def state(self) -> dict[str, Any]:
        """Return how it stands, for people; others may ask at any time."""
        return self.shown

    @property
    def is_flat(self) -> bool:
        """Whether the last look at the exchange has shown neither a position nor an order."""
        return self.core.held is not None and self.core.held.is_flat

    def run(self, ends: threading.Event) -> None:
        """Turn until the end is asked for; entries are closed then."""
        while not ends.is_set():
            wait_s = self.turn()
            self.wake.wait(wait_s)
            self.wake.clear()
        self._do("clearance", self.clearance.rest)

    def turn(self) -> float:
        """Do one turn, and return in how many seconds the next is due."""
        now = self.clock.now()
        words = [self.words.get_nowait() for _ in range(self.words.qsize())]
        presses = [word.press for word in words]
        if any(press.level is Level.CLEAR for press in presses):
            # What is released is forgotten; a file that was touched meanwhile is not.
            self._do("the file STOP", partial(drop_word, self.folder))
        left = self._do("the file STOP", partial(read_word, self.folder))
        presses += [] if left is None else [left]
        silent_s = self.pulse.look(now)
        plan = self.core.step(now, Seen(silent_s, presses))
        self._keep(plan, now, has_word=bool(presses))
        for word in words:
            word.taken.set()
        if now >= self._look_at:
            self._work(now, silent_s)
        is_under_way = self.level is Level.FLATTEN and not self.is_flat
        wait_s = PACE_S if is_under_way else self.rules.poll_s
        return max(wait_s, min((self._look_at - now).total_seconds(), self.rules.poll_s))

    def _work(self, now: datetime, silent_s: float | None) -> None:
        held = self._do("exchange", self.hands.look)
        if held is None:
            self._failures += 1
            wait_s = min(PACE_S * 2**self._failures, LONGEST_WAIT_S)
            self._look_at = self.clock.now() + timedelta(seconds=wait_s)
            return
        self._failures, self._look_at = 0, now
        symbols = sorted({own.symbol for own in held.positions})
        instruments = self._do("instruments", partial(self.hands.learn, symbols)) or {}
        seen = Seen(silent_s, held=held, instruments=instruments)
        plan = self._do("judgement", partial(self.core.step, now, seen))
        if plan is None:
            return
        self._keep(plan, now)
        is_flat = held.is_flat or self.level is not Level.FLATTEN
        self.is_done = is_flat and not plan.requests
        if plan.requests:
            failed = self._do("orders", partial(self.hands.send, plan.requests))
            if failed:
                self._trouble("refusals", Severity.WARNING, "; ".join(failed))
            else:
                self._end("refusals")
        if now >= self._count_at and not (self.level is Level.FLATTEN and not held.is_flat):
            self._count_at = now + COUNT
            self._do("money", partial(self._count, now, silent_s))

    def _count(self, now: datetime, silent_s: float | None) -> None:
        money = self.hands.count(self.core.flows.since)
        self._keep(self.core.step(now, Seen(silent_s, money=money)), now)

    def _keep(self, plan: Plan, now: datetime, *, has_word: bool = False) -> None:
        self.level = plan.level
        for alert in plan.alerts:
            self.tell(alert)
        if plan.level:
            self._do("clearance", self.clearance.rest)
        else:
            self._do("clearance", self.clearance.beat)
        state = {**self.core.document(), "pulse": self.pulse.document()}
        self._report(state)
        self.shown = self._show()
        if has_word or plan.alerts or now - self._saved_at >= SAVE:
            self._saved_at = now
            self._do("state", partial(self._save, state))

    def _show(self) -> dict[str, Any]:
        held = self.core.held
        return {
            "level": self.level.words, "latch": self.core.latch.document(),
            "positions": None if held is None else len(held.positions),
            "orders": None if held is None else len(held.orders), "is_flat": self.is_flat,
            "silent_s": self.pulse.silent_s if self.pulse.is_known else None,
            "drawdown": self.core.track.drawdown, "daily_loss": self.core.track.daily_loss,
            "troubles": sorted(self._troubles),
        }  # fmt: skip

    def _save(self, state: dict[str, Any]) -> None:
        save_state(self.folder, state)
        # Not before it is on disk; until then the word stays, and is taken up again.
        drop_word(self.folder)

    def _restore(self, state: dict[str, Any] | None) -> None:
        try:
            found = load_state(self.folder) if state is None else state
            if found is not None:
                self.core.restore(found)
                self.pulse.restore(found["pulse"])
        except (OSError, KeyError, TypeError, ValueError, AttributeError, WorkbenchError) as error:
            self.core = Supervisor(self.rules)
            reason = f"its state cannot be read ({type(error).__name__}): what was latched?"
            press = Press(Level.NO_NEW_RISK, SELF, reason)
            self.core.latch = self.core.latch.press(press, self.clock.now())
            self.tell(Alert("latch", Severity.CRITICAL, reason))
        self.level = self.core.latch.level

    def _do(self, what: str, act: Callable[[], T]) -> T | None:
        try:
            done = act()
        except Exception as error:
            # Whatever it was, the next thing is tried all the same, and somebody is told.
            is_ours = isinstance(error, WorkbenchError)
            severity = Severity.CRITICAL if isinstance(error, SecretError) else Severity.WARNING
            self._trouble(what, severity, str(error) if is_ours else repr(error))
            return None
        self._end(what)
        return done

    def _end(self, what: str) -> None:
        if what in self._troubles:
            self._troubles.discard(what)
            self.tell(Alert(what, Severity.WARNING, "in order again", is_over=True))

    def _trouble(self, what: str, severity: Severity, words: str) -> None:
        self._troubles.add(what)
        self.tell(Alert(what, severity, words))


def release_state(folder: Path, rules: SupervisorSettings, press: Press) -> None:
    """Release what is latched on disk, where no supervisor runs."""
    core = Supervisor(rules)
    try:
        state = load_state(folder)
    except ValueError:
        state = None  # What cannot be read is what the person releases.
    if state is not None:
        core.restore(state)
    core.step(SteadyClock().now(), Seen(presses=[press]))
    drop_word(folder)
    (folder / STOP).unlink(missing_ok=True)
    save_state(folder, {**core.document(), "pulse": Pulse(Heart(folder / ENGINE)).document()})
