"""The two consoles of the command line: results go to stdout, trouble to stderr."""

from typing import Final

from rich.console import Console

out: Final = Console()
err: Final = Console(stderr=True)
