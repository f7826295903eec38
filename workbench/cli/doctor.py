"""``workbench doctor``: whether this machine, and the account that it trades, are fit for it."""

from __future__ import annotations

from collections.abc import Iterable
from decimal import Decimal
from typing import TYPE_CHECKING, Annotated

import typer
from rich.table import Table
from rich.text import Text

from workbench.cli.terminal import out
from workbench.core.config import load_config
from workbench.core.layers import find_root
from workbench.exchange.client import open_client

if TYPE_CHECKING:
    from workbench.core.config import Config
    from workbench.exchange.preflight import Finding
    from workbench.monitor.health import Check


def doctor(
    *,
    account: Annotated[
        bool, typer.Option("--account", help="Look at the account at the exchange instead.")
    ] = False,
    profile: Annotated[
        str | None, typer.Option(help="The profile whose configuration counts.")
    ] = None,
    symbol: Annotated[
        list[str] | None,
        typer.Option(help="With --account: what is to be traded; by default what is held."),
    ] = None,
) -> None:
    """Check Python, packages, kernel, disk, store, clock and exchange; code 1 if one is red.

    With --account: clock, key, account and margin mode, and of each symbol listing, position mode
    and leverage. Nothing is changed.
    """
    config = load_config(profile=profile)
    with out.status("Looking"):
        rows = _look_at_account(config, symbol or []) if account else _look_here(config)
    table = Table("", "check", "seen", "what to do", title=f"Profile {config.profile}")
    for row in rows:
        cells = (row.level, row.name, row.seen, row.fix)
        table.add_row(Text(cells[0], row.level), *(Text(t, overflow="fold") for t in cells[1:]))
    out.print(table)
    if any(row.level == "red" for row in rows):
        raise typer.Exit(1)


def _look_here(config: Config) -> list[Check]:
    from workbench.monitor.health import examine

    return list(examine(config, root=find_root(), server=open_client(config)))


def _look_at_account(config: Config, symbols: Iterable[str]) -> list[Finding]:
    from workbench.cli.keys import open_vault
    from workbench.exchange.preflight import preflight
    from workbench.exchange.words import MarginMode

    own = config.account
    return preflight(
        open_client(config, vault=open_vault()),
        [symbol.upper() for symbol in symbols],
        leverage=Decimal(repr(own.margin_leverage)),
        margin_mode=MarginMode.ISOLATED if own.is_isolated else MarginMode.CROSS,
    )
