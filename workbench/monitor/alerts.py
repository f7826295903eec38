"""Alerts: one sink for everything that must be told to people who are not looking.

``Alerts.tell`` never waits and never fails. ``Board`` decides what is told of what is raised;
each channel has a thread and a bounded queue of its own, so that one that hangs delays no other.
Channels are addresses of apprise: Telegram, Discord, Slack, e-mail, webhooks and a hundred more.
They hold passwords and tokens, and are shown nowhere.
"""

from __future__ import annotations

import logging
import queue
import threading
import warnings
from collections.abc import Callable, Iterator, Sequence
from datetime import datetime, timedelta
from enum import IntEnum
from functools import partial
from typing import TYPE_CHECKING, Final, NamedTuple

from workbench.core.clock import Clock, SystemClock
from workbench.core.errors import ConfigError
from workbench.core.vault.secret import Secret

if TYPE_CHECKING:
    from workbench.core.config import AlertsSettings, Config
    from workbench.core.vault import Vault

PREFIX: Final = "alert."
"""Secrets of the vault whose names begin so are addresses of channels."""
ROOM: Final = 200
TRIES: Final = 3
FIRST_WAIT_S: Final = 1.0

_log: Final = logging.getLogger(__name__)


class Severity(IntEnum):
    """How soon somebody should look."""

    INFO = 0
    WARNING = 1
    CRITICAL = 2

    @property
    def words(self) -> str:
        """Its name as people write it."""
        return self.name.lower()


class Alert(NamedTuple):
    """Something raised, or over; what has the same key is the same trouble."""

    key: str
    severity: Severity
    words: str
    is_over: bool = False

    @property
    def title(self) -> str:
        """The line that stands above its words."""
        return f"Workbench {'over' if self.is_over else self.severity.words}: {self.key}"


class _Open(NamedTuple):
    first: datetime
    told: datetime
    heard: datetime
    severity: Severity
    silent: int = 0


class Board:
    """What is told of what is raised: pure, by the time that it is handed.

    The same trouble is told again only when it has got worse, or after a cool-down, with how often
    it was raised meanwhile. One that is still raised after ``escalate_s`` is told a level higher.
    The end is told if the beginning was; what is not raised for as long as both times together has
    ended by itself.
    """

    def __init__(self, *, cooldown_s: float = 300.0, escalate_s: float = 900.0) -> None:
        self.cooldown, self.escalate = timedelta(seconds=cooldown_s), timedelta(seconds=escalate_s)
        self._open: dict[str, _Open] = {}

    def hear(self, alert: Alert, now: datetime) -> Alert | None:
        """Take an alert, and return what is to be told of it."""
        quiet = self.cooldown + self.escalate
        self._open = {key: own for key, own in self._open.items() if now - own.heard <= quiet}
        own = self._open.pop(alert.key, None)
        if alert.is_over:
            return None if own is None else alert
        if own is None:
            self._open[alert.key] = _Open(now, now, now, alert.severity)
            return alert
        severity = max(alert.severity, own.severity)
        if now - own.first >= self.escalate and own.severity is not Severity.CRITICAL:
            severity = max(severity, Severity(min(own.severity + 1, Severity.CRITICAL)))
        if severity is own.severity and now - own.told < self.cooldown:
            self._open[alert.key] = own._replace(heard=now, silent=own.silent + 1)
            return None
        words = alert.words
        if own.silent:
            words = f"{words} (raised {own.silent + 1} times more since {own.told:%H:%M:%S} UTC)"
        first = now if severity > own.severity else own.first
        self._open[alert.key] = _Open(first, now, now, severity)
        return alert._replace(severity=severity, words=words)


Send = Callable[[Alert], bool]


class Channel:
    """One way to people: a thread that sends what waits in its queue, and gives up in time."""

    def __init__(
        self, name: str, connect: Callable[[], Send], *, room: int = ROOM,
        wait_s: float = FIRST_WAIT_S,
    ) -> None:  # fmt: skip
        self.name, self.wait_s = name, wait_s
        self.sent = self.failed = self.dropped = 0
        self._connect = connect
        self._queue: queue.Queue[Alert | None] = queue.Queue(room)
        self._ends = threading.Event()
        self._thread = threading.Thread(target=self._run, name=f"alerts {name}", daemon=True)
        self._thread.start()

    def put(self, alert: Alert) -> None:
        """Let an alert wait to be sent; where too many wait, the oldest is dropped."""
        while True:
            try:
                self._queue.put_nowait(alert)
                return
            except queue.Full:
                self._drop_one()

    def close(self, timeout_s: float) -> None:
        """Send what waits, for so long at most, and end."""
        try:
            self._queue.put_nowait(None)
        except queue.Full:
            self._ends.set()
        self._thread.join(timeout_s)
        self._ends.set()

    def _drop_one(self) -> None:
        try:
            self._queue.get_nowait()
            self.dropped += 1
        except queue.Empty:
            return

    def _run(self) -> None:
        send: Send | None = None
        while not self._ends.is_set():
            alert = self._queue.get()
            if alert is None:
                return
            for attempt in range(TRIES):
                send, is_sent = self._try(send, alert)
                if is_sent or self._ends.wait(self.wait_s * 2**attempt):
                    break
            self.sent, self.failed = self.sent + is_sent, self.failed + (not is_sent)
            if not is_sent:
                _log.warning("the alert %s could not be sent by %s", alert.key, self.name)

    def _try(self, send: Send | None, alert: Alert) -> tuple[Send | None, bool]:
        try:
            send = send or self._connect()
            return send, send(alert)
        except Exception as error:
            # A library of a hundred services: whatever it raises, the others are told.
            _log.warning("alerts by %s: %s", self.name, type(error).__name__)
            return send, False


class Alerts:
    """The sink: safe to share between threads, and never in anybody's way."""

    def __init__(
        self,
        targets: Sequence[Secret[str]] = (),
        *,
        settings: AlertsSettings | None = None,
        clock: Clock | None = None,
        wait_s: float = FIRST_WAIT_S,
    ) -> None:
        self.clock = clock or SystemClock()
        options = {} if settings is None else {
            "cooldown_s": settings.cooldown_s, "escalate_s": settings.escalate_s
        }  # fmt: skip
        self.board = Board(**options)
        self.channels = [
            Channel(_name(number, target), partial(_connect, target, number), wait_s=wait_s)
            for number, target in enumerate(targets, start=1)
        ]
        self._lock = threading.Lock()

    def add(self, name: str, send: Send) -> None:
        """Let alerts go one way more, such as to the terminal, which may hang as well."""
        self.channels.append(Channel(name, lambda: send))

    def tell(self, alert: Alert) -> None:
        """Hear an alert, and hand what is to be told to every channel."""
        with self._lock:
            told = self.board.hear(alert, self.clock.now())
        if told is not None:
            for channel in self.channels:
                channel.put(told)

    def close(self, timeout_s: float = 5.0) -> None:
        """Send what waits, for so long at most, and end."""
        for channel in self.channels:
            channel.close(timeout_s)


def find_targets(config: Config, vault: Vault | None = None) -> list[Secret[str]]:
    """Return the addresses of the channels: those of the variable, then those of the vault."""
    given = config.alerts.targets
    targets = [] if given is None else [Secret(word) for word in given.get_secret_value().split()]
    return [*targets, *(() if vault is None else _kept(vault))]


def check_targets(targets: Sequence[Secret[str]]) -> None:
    """Read every address, without sending anything.

    Raises
    ------
    ConfigError
        If one is no address that apprise knows.
    """
    for number, target in enumerate(targets, start=1):
        _connect(target, number)


def _kept(vault: Vault) -> Iterator[Secret[str]]:
    for name in vault.names():
        if name.startswith(PREFIX):
            held = vault.get(name).reveal()
            if isinstance(held, bytes):
                raise ConfigError(f"The secret {name} is no address.", "Keep it with --kind token.")
            yield Secret(held["token"])


def _name(number: int, target: Secret[str]) -> str:
    # No more than the kind of service; without a kind it may be a token and nothing else.
    kind, mark, _ = target.reveal().partition("://")
    return f"{number} ({kind if mark and kind.isalnum() and len(kind) < 20 else 'of no kind'})"


def _connect(target: Secret[str], number: int) -> Send:
    # It warns of its own imports, and its log holds hosts and answers.
    logging.getLogger("apprise").setLevel(logging.CRITICAL + 1)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        import apprise

        service = apprise.Apprise(asset=apprise.AppriseAsset(app_id="Workbench"))
        is_known = service.add(target.reveal())
    if not is_known:
        raise ConfigError(
            f"Address {_name(number, target)} of the alerts is none that apprise knows.",
            "It looks like tgram://TOKEN/CHAT, discord://ID/TOKEN, slack://A/B/C, "
            "mailtos://USER:PASSWORD@HOST or jsons://HOST/PATH.",
        )
    types = {
        Severity.INFO: apprise.NotifyType.INFO,
        Severity.WARNING: apprise.NotifyType.WARNING,
        Severity.CRITICAL: apprise.NotifyType.FAILURE,
    }

    def send(alert: Alert) -> bool:
        kind = apprise.NotifyType.SUCCESS if alert.is_over else types[alert.severity]
        return bool(service.notify(alert.words, title=alert.title, notify_type=kind))

    return send
