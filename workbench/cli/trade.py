"""``workbench trade`` and what one may say to the engine that it starts."""

from __future__ import annotations

import asyncio
import getpass
import logging
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Annotated, Any, Final, Literal

import typer
from rich.box import SIMPLE_HEAD
from rich.table import Table
from rich.text import Text

from workbench.cli.terminal import out
from workbench.core.config import Config, config_origins, load_config
from workbench.core.errors import ConfigError, ExchangeError
from workbench.core.layers import DEFAULT

if TYPE_CHECKING:
    from workbench.live.commands import Outcome
    from workbench.store import Store

Name = Literal["paper", "demo", "testnet", "live"]
Profile = Annotated[Name, typer.Option(help="Which account.")]
Reason = Annotated[str, typer.Option(help="Why, for the record.")]
By = Annotated[str, typer.Option(help="Who does it; by default the user of the system.")]
Id = Annotated[str, typer.Option("--id", help="A name for it: given twice it is done once.")]
One = Annotated[str | None, typer.Option("--strategy", help="One strategy; else the engine.")]
Wait = Annotated[float, typer.Option(min=0, help="Seconds to wait for the engine's answer.")]

WAIT_S: Final = 15.0
LOOK_S: Final = 0.2
SILENT_S: Final = 15.0


def trade(
    *,
    profile: Profile = "paper",
    strategy: Annotated[
        list[str] | None,
        typer.Option(help="A strategy of [trade.strategies], or a name; else all of them."),
    ] = None,
) -> None:
    """Trade until stopped: closed bars, weights, risk, orders, with everything on record.

    paper is the simulator (`workbench simulate`), live real money. Ends in order on Ctrl-C: entries
    are cancelled, stops stay at the exchange.
    """
    from workbench.cli.keys import open_vault
    from workbench.core.vault import load_public_keys, public_path
    from workbench.exchange.client import open_client
    from workbench.live.run import Run
    from workbench.live.setup import gather
    from workbench.monitor.alerts import Alerts, find_targets
    from workbench.store import Store

    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(message)s")
    config = load_for(profile)
    vault = open_vault()
    with Store.open() as store:
        client = open_client(config, vault=vault, store=store)
        keys = load_public_keys(public_path(config.vault_path))
        parts = gather(config, store, client, keys, names=strategy or ())
        for error in parts.refused:
            out.print(Text(str(error), style="bold red"), soft_wrap=True)
        words = f"{', '.join(parts.names)} on {client.venue.rest_url} ({parts.venue})"
        out.print(Text(words, style="green"), soft_wrap=True)
        alerts = Alerts(find_targets(config, vault), settings=config.alerts)
        login: Any = vault.get(client.venue.key_name)
        try:
            asyncio.run(_run(Run, parts, login, alerts))
        finally:
            alerts.close()


async def _run(kind: Any, *arguments: Any) -> None:
    await kind(*arguments).run()


def load_for(profile: str) -> Config:
    """Return the configuration of a profile that trades, its endpoint where none is set."""
    from workbench.live.setup import PLACES

    config = load_config(profile=profile)
    if config_origins(config)["exchange.rest_url"] == DEFAULT and profile in PLACES:
        return load_config(profile=profile, overrides={"exchange.rest_url": PLACES[profile]})
    return config


def status(*, profile: Profile = "paper") -> None:
    """Show what the engine says of itself; code 1 where it is silent, halted or not there."""
    with _store() as store:
        engines = store.engines()
        found = engines[engines["profile"] == profile]
        if not len(found):
            out.print(f"No engine of the profile {profile} has ever said anything.")
            raise typer.Exit(1)
        word, at = found.iloc[0]["document"], found.iloc[0]["at"].to_pydatetime()
    age_s = time.time() - at.timestamp()
    is_silent = age_s > SILENT_S and word["state"] != "stopped"
    style = "red" if is_silent or word["state"] == "halted" else "green"
    head = f"{word['state']} on {word['venue']}, {age_s:.0f} s ago. {word['words']}".rstrip()
    out.print(Text(f"silent: {head}" if is_silent else head, style=style), soft_wrap=True)
    out.print(
        f"equity {word['equity_usdt']:,.2f} USDT, limits {word['limits']}, bar {word['known_at']}"
    )
    _print_parts(word)
    if style == "red":
        raise typer.Exit(1)


def _print_parts(word: dict[str, Any]) -> None:
    table = Table("strategy", "phase", "USDT", "profit", "", box=SIMPLE_HEAD)
    for name, own in word["strategies"].items():
        cells = (name, own["phase"], own["capital_usdt"], f"{own['pnl_usdt']:+,.2f}", own["words"])
        table.add_row(*(Text(str(cell), overflow="fold") for cell in cells))
    out.print(table)
    table = Table("position", "qty", "entry", "stop", "held by", box=SIMPLE_HEAD)
    for symbol, own in word["positions"].items():
        held = ", ".join(f"{name} {qty}" for name, qty in own["held"].items())
        style = "" if own["stop"] else "bold red"
        cells = (symbol, own["qty"], own["entry"], own["stop"] or "none", held)
        table.add_row(*(Text(str(cell), style=style, overflow="fold") for cell in cells))
    out.print(table)
    for own in word["orders"]:
        leg = f" ({own['leg']})" if own["leg"] else ""
        words = f"{own['id']} {own['side']} {own['qty']} {own['symbol']}{leg}: {own['state']}"
        out.print(Text(words), soft_wrap=True)
    for name, why in {**word["troubles"], **word["stale"]}.items():
        out.print(Text(f"{name}: {why}", style="yellow"), soft_wrap=True)


def pause(
    *, reason: Reason, strategy: One = None, profile: Profile = "paper", by: By = "",
    command_id: Id = "", wait: Wait = WAIT_S,
) -> None:  # fmt: skip
    """Let nothing enter any more; exits and stops go on."""
    _command("pause", profile, reason, by, command_id, wait, strategy=strategy)


def resume(
    *, reason: Reason, strategy: One = None, profile: Profile = "paper", by: By = "",
    command_id: Id = "", wait: Wait = WAIT_S,
) -> None:  # fmt: skip
    """Let entries pass again, after a pause, a failure or a halt."""
    _command("resume", profile, reason, by, command_id, wait, strategy=strategy)


def stop(
    *, reason: Reason, strategy: One = None, profile: Profile = "paper", by: By = "",
    drain: Annotated[
        bool, typer.Option("--drain", help="Only when everything is flat by itself.")
    ] = False,
    command_id: Id = "", wait: Wait = WAIT_S,
) -> None:  # fmt: skip
    """End the engine in order, or one strategy: entries are cancelled, stops stay."""
    more = {"strategy": strategy, "drain": drain or None}
    _command("stop", profile, reason, by, command_id, wait, **more)


def flatten(
    *, reason: Reason, profile: Profile = "paper", by: By = "", command_id: Id = "",
    wait: Wait = WAIT_S,
) -> None:  # fmt: skip
    """Cancel all entries and close everything, reduce-only; nothing enters until resume."""
    _command("flatten", profile, reason, by, command_id, wait)


def close(
    symbol: Annotated[str, typer.Argument(help="What is closed, whoever holds it.")],
    *, reason: Reason, profile: Profile = "paper", by: By = "", command_id: Id = "",
    wait: Wait = WAIT_S,
) -> None:  # fmt: skip
    """Close one symbol; who held it enters again only when its weight has changed sign."""
    _command("close", profile, reason, by, command_id, wait, symbol=symbol.upper())


def explain(
    order: Annotated[str, typer.Argument(help="An order's name here or at the exchange.")],
    *,
    profile: Profile = "paper",
) -> None:
    """Rebuild the moment of an order: bars, weights, risk's verdict, its life and its fills."""
    from workbench.live.explain import explain as tell
    from workbench.live.setup import journal_path

    path = journal_path(load_config(profile=profile))
    if not path.is_file():
        raise ConfigError(f"There is no journal {path}.", "`workbench trade` writes it.")
    for line in tell(path, order).lines():
        out.print(Text(line), soft_wrap=True)


def _command(
    name: str, profile: str, reason: str, by: str, command_id: str, wait: float, **more: Any
) -> None:
    from workbench.live.commands import ask

    with _store() as store:
        command = ask(
            store, name, profile=profile, by=by or getpass.getuser(), reason=reason,
            arguments=more, command_id=command_id,
        )  # fmt: skip
        outcome = _await(store, command.id, wait)
    style = "green" if outcome.is_done else "bold red"
    out.print(Text(outcome.words, style=style), soft_wrap=True)
    if not outcome.is_done:
        raise typer.Exit(1)


def _await(store: Store, command_id: str, wait: float) -> Outcome:
    from workbench.live.commands import find_outcome

    until = time.monotonic() + wait
    while (outcome := find_outcome(store, command_id)) is None:
        if time.monotonic() >= until:
            raise ExchangeError(
                f"The command {command_id} is on record, and no engine has answered in {wait:g} s.",
                "It is carried out when an engine hears it; in haste: `workbench kill flatten`.",
            )
        time.sleep(LOOK_S)
    return outcome


@contextmanager
def _store() -> Iterator[Store]:
    from workbench.store import Store

    with Store.open() as store:
        yield store
