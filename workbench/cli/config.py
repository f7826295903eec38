"""``workbench config``: what is set, and where it was set."""

from typing import Annotated

import typer
from rich.table import Table
from rich.text import Text

from workbench.cli.terminal import out
from workbench.core.config import config_settings, load_config
from workbench.core.layers import DEFAULT

app = typer.Typer(no_args_is_help=True, help="Show each setting and where it came from.")


@app.callback()
def _group() -> None:
    pass


@app.command()
def show(
    profile: Annotated[
        str | None, typer.Option(help="Read as dev, test, paper or live; else as configured.")
    ] = None,
) -> None:
    """Print each value of the configuration and where it came from; secrets are masked."""
    config = load_config(profile=profile)
    table = Table("setting", "value", "from", title=f"Profile {config.profile}")
    for key, (value, origin) in config_settings(config).items():
        style = "dim" if origin == DEFAULT else "bold"
        table.add_row(*(Text(text, style, overflow="fold") for text in (key, value, origin)))
    out.print(table)
