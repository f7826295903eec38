"""``workbench doctor``: whether this machine is fit to work with."""

import typer
from rich.table import Table
from rich.text import Text

from workbench.cli.terminal import out
from workbench.core.config import load_config
from workbench.core.layers import find_root
from workbench.exchange.client import BybitClient
from workbench.monitor.health import examine


def doctor() -> None:
    """Check Python, packages, kernel, disk, store, clock and exchange; code 1 if one is red."""
    config = load_config()
    server = BybitClient(rest_url=config.exchange.rest_url)
    with out.status("Looking"):
        checks = list(examine(config, root=find_root(), server=server))
    table = Table("", "check", "seen", "what to do", title=f"Profile {config.profile}")
    for check in checks:
        cells = (check.level, check.name, check.seen, check.fix)
        table.add_row(Text(cells[0], check.level), *(Text(t, overflow="fold") for t in cells[1:]))
    out.print(table)
    if any(check.level == "red" for check in checks):
        raise typer.Exit(1)
