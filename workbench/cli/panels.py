"""``workbench panels`` and ``workbench lab``: the browser's doors to the workbench."""

import os
import sys
import webbrowser
from pathlib import Path
from typing import Annotated, Final

import typer
from rich.text import Text

from workbench.cli.terminal import out
from workbench.core.config import load_config
from workbench.core.errors import ConfigError
from workbench.core.layers import find_root

QUIET: Final = (
    "--LabApp.check_for_updates_class=jupyterlab.NeverCheckForUpdate",
    "--LabApp.news_url=None",
    "--LabApp.extension_manager=readonly",
)
"""JupyterLab asks no outside host for news of itself or for extensions."""


def panels(
    *,
    port: Annotated[int | None, typer.Option(help="By default the configuration's.")] = None,
    browser: Annotated[
        bool,
        typer.Option("--browser/--no-browser", help="Open the first panel, or only say where."),
    ] = True,
) -> None:
    """Serve the panels behind a login, until Ctrl-C."""
    from workbench.panels import serve

    config = load_config()
    secret = config.panels.token

    def say(address: str) -> None:
        out.print(Text("The panels are at"), Text(address, style="bold"), soft_wrap=True)
        out.print(Text("Whoever has this address may look; Ctrl-C stops.", style="dim"))
        if browser:
            webbrowser.open(address)

    serve(
        apps=find_root() / "apps",
        host=config.panels.host,
        port=port or config.panels.port,
        token=None if secret is None else secret.get_secret_value(),
        ready=say,
    )


def lab(
    *,
    port: Annotated[int, typer.Option(help="Where it listens.")] = 8888,
    browser: Annotated[bool, typer.Option("--browser/--no-browser")] = True,
) -> None:
    """Open the notebooks in JupyterLab, with the kernel of this environment."""
    folder = find_root() / "notebooks"
    if not folder.is_dir():
        raise ConfigError(f"There is no folder {folder}.", "Run it in the project's folder.")
    words = [*QUIET, *([] if browser else ["--no-browser"])]
    if hasattr(os, "geteuid") and os.geteuid() == 0:
        # In a container everything runs as root; Jupyter refuses that unless told.
        words.append("--allow-root")
    call = [
        sys.executable, "-m", "jupyterlab", f"--port={port}", f"--notebook-dir={Path(folder)}",
        *words,
    ]  # fmt: skip
    # In the place of this process, so that whoever stops it stops JupyterLab and its kernels.
    os.execv(sys.executable, call)  # noqa: S606 - our own interpreter
