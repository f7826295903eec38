"""The ``workbench`` command.

How a command gets here: a row in ``COMMANDS`` names it, the module of this room that holds it, the
name in that module, and the sentence for ``workbench --help``. The module loads only when its
command is called, so ``workbench --help`` stays fast whatever the modules import.

- A group (``workbench data pull``) is a ``typer.Typer(no_args_is_help=True, help="...")`` called
  ``app`` in its module, each command a function under ``@app.command()``.
- A single command (``workbench demo``) is a plain function with typer's annotations, named as the
  row says. Its docstring is its own ``--help``; a ``TyperCommand`` of its own is its attribute
  ``command_class``.
- Raise ``WorkbenchError`` and let it pass: the root prints ``what`` in red and ``fix`` on stderr
  and ends with code 1 (``--debug`` shows the traceback instead). Wrong usage ends with code 2.
- Print with ``workbench.cli.terminal.out``; it follows redirection and the width of the terminal.
- Test with ``typer.testing.CliRunner().invoke(workbench.cli.app, [...])``.
"""

from workbench.cli.root import COMMANDS, app, main

__all__ = ["COMMANDS", "app", "main"]
