"""``workbench supervise`` and ``workbench kill``: the supervisor, and the switch it answers to."""

from __future__ import annotations

import getpass
import threading
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.text import Text

from workbench.cli.keys import open_vault
from workbench.cli.terminal import err, out
from workbench.core.config import load_config
from workbench.core.errors import ExchangeBusy

if TYPE_CHECKING:
    from workbench.core.config import Config
    from workbench.live.latch import Press
    from workbench.monitor.alerts import Alert


def supervise() -> None:
    """Watch over the account until Ctrl-C, and flatten it when that is called for.

    A process of its own, with a key of its own: it needs neither the engine nor the database. It
    listens to the file STOP, to `workbench kill`, to HTTP on this machine, to the engine's
    heartbeat, and to its own limits.
    """
    from workbench.live.guard import find_login, supervise
    from workbench.monitor.alerts import check_targets, find_targets

    config = load_config()
    vault = open_vault()
    targets = find_targets(config, vault)
    check_targets(targets)
    out.print(Text(f"supervising {config.exchange.rest_url}; {config.supervisor_dir} has the rest"))
    supervise(config, login=find_login(config, vault), targets=targets, show=_show)


def kill(
    *,
    level: Annotated[
        str, typer.Option(help="no-new-risk, cancel-all or flatten; each holds those before.")
    ] = "flatten",
    reason: Annotated[str, typer.Option(help="Why, for the record.")] = "",
    by: Annotated[str, typer.Option(help="Who does it; by default the user of the system.")] = "",
    release: Annotated[
        bool, typer.Option("--release", help="Take it back, whoever or whatever did it.")
    ] = False,
    here: Annotated[
        bool, typer.Option("--here", help="Act from this process, without the supervisor.")
    ] = False,
    show: Annotated[bool, typer.Option("--show", help="Only say how it stands.")] = False,
) -> None:
    """Close entries, cancel orders, or flatten the account; latched until it is released.

    Where no supervisor answers, this command does it itself, and leaves the latch to the next one.
    """
    from workbench.live.door import knock
    from workbench.live.latch import Level, Press, read_level

    config = load_config()
    if show:
        _tell(knock(config.supervisor_dir, "/state"))
        return
    press = Press(Level.CLEAR if release else read_level(level), by or getpass.getuser(), reason)
    press.check()
    said = {"level": press.level.words, "by": press.by, "reason": press.reason}
    try:
        if here:
            raise ExchangeBusy("The supervisor was not asked.", "--here was given.")
        _tell(knock(config.supervisor_dir, "/release" if release else "/kill", said))
    except ExchangeBusy as error:
        err.print(Text(error.what))
        _act_here(config, press)


def _act_here(config: Config, press: Press) -> None:
    from workbench.live.guard import find_login, locked, open_hands
    from workbench.live.latch import leave_word
    from workbench.live.watch import Watch, Word, release_state

    if not press.level:
        with locked(config.supervisor_dir):
            release_state(config.supervisor_dir, config.supervisor, press)
        out.print(Text(f"released by {press.by}: {press.reason}"))
        return
    out.print(Text("Acting from here."), Text("Ctrl-C ends it.", style="dim"))
    hands = open_hands(config, find_login(config, open_vault()))
    watch = Watch(
        config.supervisor_dir, config.supervisor, hands=hands, clock=hands.client.clock, tell=_print
    )
    watch.words.put(Word(press, threading.Event()))
    while True:
        wait_s = watch.turn()
        if watch.is_done:
            break
        watch.wake.wait(wait_s)
    # For a supervisor that hangs, and has heard nothing of it.
    leave_word(config.supervisor_dir, press)
    _tell(watch.state())


def _print(alert: Alert) -> None:
    out.print(Text(f"{alert.title}: {alert.words}"))


def _show(alert: Alert) -> bool:
    _print(alert)
    return True


def _tell(state: dict[str, Any]) -> None:
    latch = state["latch"]
    out.print(Text(f"level {state['level']}", style="bold"))
    if latch["reason"]:
        out.print(Text(f"{latch['level']} since {latch['at']} by {latch['by']}: {latch['reason']}"))
    held = ["unknown" if state[name] is None else state[name] for name in ("positions", "orders")]
    out.print(Text(f"positions {held[0]}, orders {held[1]}"))
    if state["silent_s"] is not None:
        out.print(Text(f"the engine was heard {state['silent_s']:.0f} s ago"))
    for trouble in state["troubles"]:
        out.print(Text(f"trouble with {trouble}", style="red"))
