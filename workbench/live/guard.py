"""The guard: starts the watch in a process of its own, and again whenever it dies or hangs.

The guard itself does nothing that could hang: it waits for the watch to show itself. The state
comes along through a pipe, so that the next watch goes on from there although no file was written.
"""

from __future__ import annotations

import contextlib
import fcntl
import multiprocessing
import os
import secrets
import signal
import termios
import threading
import time
from array import array
from collections.abc import Iterator, Sequence
from functools import partial
from multiprocessing.connection import Connection, wait
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, NamedTuple, NoReturn, cast

from workbench.core.clock import SystemClock
from workbench.core.errors import ConfigError, SecretError
from workbench.exchange.optin import OptIn
from workbench.exchange.venues import find_venue
from workbench.live.door import Door
from workbench.live.hands import ClosingClient, ExchangeHands, ImpatientClock
from workbench.live.latch import Press
from workbench.live.watch import Watch, Word
from workbench.monitor.alerts import Alert, Alerts, Send, Severity

if TYPE_CHECKING:
    from multiprocessing.context import ForkProcess

    from workbench.core.config import Config
    from workbench.core.vault import Secret, Vault
    from workbench.exchange.client.session import Login

LOCK: Final = "lock"
TIMEOUT_S: Final = 3.0
REQUESTS_PER_S: Final = 50.0
AGAIN_S: Final = 0.5
TAKEN_S: Final = 8.0

State = dict[str, Any]


def key_name(config: Config) -> str:
    """Return what the supervisor's own key is called in the vault."""
    return f"{find_venue(config.exchange.rest_url).key_name}.supervisor"


def find_login(config: Config, vault: Vault) -> Login:
    """Return the supervisor's own key.

    Raises
    ------
    SecretError
        If the vault has none.
    """
    name = key_name(config)
    if name not in vault.names():
        raise SecretError(
            f"The vault has no key {name!r}: the supervisor does not share the engine's.",
            f"Make a second key of the account, and `workbench keys add {name} --kind exchange`.",
        )
    return cast("Login", vault.get(name))


def open_hands(config: Config, login: Login) -> ExchangeHands:
    """Return the supervisor's own connection: short of patience, and tried once.

    Raises
    ------
    ConfigError
        If the exchange is the mainnet and ``exchange.mainnet`` is not set.
    """
    opt_in = None
    if find_venue(config.exchange.rest_url).is_real:
        if not config.exchange.mainnet:
            raise ConfigError(
                "exchange.mainnet is false, and the supervisor has to close positions there.",
                "Set exchange.mainnet = true in workbench.live.toml.",
            )
        # The recorded word is in the store, which must not be needed here, and is about opening
        # positions: a supervisor can only close them.
        opt_in = OptIn("supervisor", "it only cancels and closes", SystemClock().now(), "")
    client = ClosingClient(
        config.exchange.rest_url, login=login, opt_in=opt_in, clock=ImpatientClock(), tries=1,
        timeout_s=min(config.exchange.timeout_s, TIMEOUT_S), requests_per_s=REQUESTS_PER_S,
    )  # fmt: skip
    return ExchangeHands(client)


@contextlib.contextmanager
def locked(folder: Path) -> Iterator[None]:
    """Hold the lock of a folder, so that it has one supervisor only.

    Raises
    ------
    ConfigError
        If another process holds it.
    """
    folder.mkdir(parents=True, exist_ok=True)
    descriptor = os.open(folder / LOCK, os.O_RDWR | os.O_CREAT, 0o600)
    try:
        _take(descriptor, folder)
        yield
    finally:
        os.close(descriptor)


def supervise(config: Config, *, login: Login, targets: Sequence[Secret[str]], show: Send) -> None:
    """Keep a watch running until this process is asked to end.

    Raises
    ------
    ConfigError
        If another supervisor runs.
    """
    token, state, is_again = secrets.token_urlsafe(24), None, False
    with locked(config.supervisor_dir):
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, _end)
        while True:
            child, mouth = _start(
                _Task(config, login, tuple(targets), show, token, state, is_again)
            )
            try:
                state = _follow(child, mouth, config.supervisor.watchdog_s, state)
            finally:
                _stop(child)
                mouth.close()
            is_again = True
            time.sleep(AGAIN_S)


class _Task(NamedTuple):
    config: Config
    login: Login
    targets: tuple[Secret[str], ...]
    show: Send
    token: str
    state: State | None
    is_again: bool


def _take(descriptor: int, folder: Path) -> None:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as error:
        raise ConfigError(
            f"A supervisor of {folder} runs already.",
            "`workbench kill --show` asks it how it stands; stop it before you start another.",
        ) from error


def _start(task: _Task) -> tuple[ForkProcess, Connection]:
    context = multiprocessing.get_context("fork")
    mouth, ear = context.Pipe(duplex=False)
    child = context.Process(target=_watch, args=(task, ear))
    child.start()
    ear.close()
    return child, mouth


def _follow(
    child: ForkProcess, mouth: Connection, watchdog_s: float, state: State | None
) -> State | None:
    while mouth in wait([mouth, child.sentinel], watchdog_s):
        try:
            state = mouth.recv()
        except (EOFError, OSError):
            return state
    return state


def _stop(child: ForkProcess) -> None:
    # A chance to sign off in order, and no more than that.
    child.terminate()
    child.join(2.0)
    if child.is_alive():
        child.kill()
        child.join()


def _watch(task: _Task, ear: Connection) -> None:
    config, ends = task.config, threading.Event()
    signal.signal(signal.SIGTERM, lambda *_: ends.set())
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    hands = open_hands(config, task.login)
    sink = Alerts(task.targets, settings=config.alerts, clock=hands.client.clock)
    sink.add("terminal", task.show)
    if task.is_again:
        words = "the watch was dead or hung, and was started again"
        sink.tell(Alert("watchdog", Severity.CRITICAL, words))
    watch = Watch(
        config.supervisor_dir, config.supervisor, hands=hands, clock=hands.client.clock,
        tell=sink.tell, report=partial(_report, ear), state=task.state,
    )  # fmt: skip
    door = _open_door(watch, config, task.token)
    watch.run(ends)
    if door is not None:
        door.close()
    sink.close()


def _open_door(watch: Watch, config: Config, token: str) -> Door | None:
    def say(press: Press) -> None:
        word = Word(press, threading.Event())
        watch.words.put(word)
        watch.wake.set()
        word.taken.wait(TAKEN_S)

    door = None
    try:
        door = Door(config.supervisor.port, token, say=say, state=watch.state)
        door.publish(config.supervisor_dir)
    except OSError as error:
        watch.tell(Alert("door", Severity.WARNING, f"the kill switch over HTTP: {error}"))
    return door


def _report(ear: Connection, state: State) -> None:
    # What is not read yet would be in the way: whoever reads it may be stopped, or gone.
    unread = array("i", [0])
    with contextlib.suppress(OSError):
        fcntl.ioctl(ear.fileno(), termios.FIONREAD, unread)
        if not unread[0]:
            ear.send(state)


def _end(*_: object) -> NoReturn:
    raise SystemExit(0)
