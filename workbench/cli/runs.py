"""``workbench run`` and ``workbench runs``: notebooks as recorded jobs, and what they left."""

from __future__ import annotations

import webbrowser
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final

import typer
from rich.box import SIMPLE_HEAD
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Column, Table
from rich.text import Text
from typer.core import TyperCommand

from workbench.cli.terminal import err, out
from workbench.core.errors import JobError

if TYPE_CHECKING:
    from workbench.jobs.run import JobResult
    from workbench.jobs.run import Progress as Watch
    from workbench.store.records import Run

app = typer.Typer(no_args_is_help=True, help="List, show and open recorded runs.")

STYLES: Final = {"done": "green", "running": "cyan", "stopped": "yellow"}
KEY_MEASURES: Final = {
    "sharpe": "strategy.sharpe",
    "return": "strategy.total_return",
    "drawdown": "strategy.max_drawdown",
}


class PairsCommand(TyperCommand):
    """A command whose ``-p`` takes two words, the way papermill's does."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Join name and value into one word, which is all that typer's lists can hold."""
        return super().parse_args(ctx, join_pairs(args))


def join_pairs(args: list[str]) -> list[str]:
    """Return arguments with each ``-p NAME VALUE`` as ``-p NAME=VALUE``."""
    joined: list[str] = []
    rest = iter(args)
    for word in rest:
        joined.append(word)
        if word in ("-p", "--param"):
            name = next(rest, None)
            value = None if name is None or "=" in name else next(rest, None)
            joined += [text for text in [name if value is None else f"{name}={value}"] if text]
    return joined


def run(
    notebook: Annotated[Path, typer.Argument(help="The notebook to run.")],
    param: Annotated[
        list[str] | None,
        typer.Option("--param", "-p", metavar="NAME VALUE", help="Set a parameter; repeatable."),
    ] = None,
    file: Annotated[
        Path | None, typer.Option("--file", "-f", help="Parameters from a YAML file.")
    ] = None,
    *,
    open_page: Annotated[
        bool, typer.Option("--open", help="Open the page of the run when it is done.")
    ] = False,
) -> None:
    """Run a notebook as a recorded job: executed copy, page and row in the store.

    Ends with code 1 where the notebook fails or is stopped; its partial copy is kept.
    """
    from workbench.jobs.run import run_notebook

    params = read_params(param or [], file)
    with show_progress(notebook.name) as watch:
        result = run_notebook(notebook, params, progress=watch)
    report(result)
    if open_page:
        webbrowser.open(result.html.as_uri())
    if result.status != "done":
        raise typer.Exit(1)


run.command_class = PairsCommand  # type: ignore[attr-defined]


@app.command("list")
def list_runs(
    status: Annotated[
        str | None, typer.Option(help="Only running, done, failed or stopped ones.")
    ] = None,
    limit: Annotated[int, typer.Option("--limit", "-n", min=1, help="How many.")] = 20,
) -> None:
    """List recorded runs, newest first."""
    from workbench.monitor.process import shown_status
    from workbench.store.session import Store

    with Store.open() as store:
        runs = [store.run(run_id) for run_id in store.runs(status=status, limit=limit)["run_id"]]
    if not runs:
        out.print("No runs yet. `workbench run NOTEBOOK` makes one.")
        return
    columns = [Column("run", no_wrap=True), Column("notebook", overflow="fold")]
    columns += [Column("status", no_wrap=True)]
    columns += [Column(name, justify="right", no_wrap=True) for name in ("s", *KEY_MEASURES)]
    table = Table(*columns, box=SIMPLE_HEAD, pad_edge=False, padding=(0, 1, 0, 0))
    for row in runs:
        shown = shown_status(row)
        seconds = f"{(row.ended - row.started).total_seconds():.1f}" if row.ended else ""
        known = [_number(row.measures.get(key)) for key in KEY_MEASURES.values()]
        table.add_row(row.run_id, Text(Path(row.notebook).stem), _status(shown), seconds, *known)
    out.print(table)


@app.command()
def show(run_id: Annotated[str, typer.Argument(help="The id of a run, or its start.")]) -> None:
    """Show one run: parameters, measures, paths and how it ended."""
    from workbench.monitor.process import shown_status
    from workbench.store.session import Store

    with Store.open() as store:
        row = store.run(run_id)
    table = Table("", "", title=f"Run {row.run_id}", show_header=False)
    table.add_row("status", _status(shown_status(row)))
    for name, value in _facts(row).items():
        table.add_row(name, Text(value, overflow="fold"))
    out.print(table)
    _print_mapping("Parameters", row.params)
    _print_mapping("Measures", row.measures)
    if row.error:
        out.print(Text(row.error, style="red"))


@app.command("open")
def open_run(
    run_id: Annotated[str, typer.Argument(help="The id of a run, or its start.")],
) -> None:
    """Open the page of a run in the browser."""
    from workbench.store.session import Store

    with Store.open() as store:
        row = store.run(run_id)
    page = Path(row.path).with_suffix(".html")
    if not page.is_file():
        raise JobError(
            f"The run {row.run_id} ({row.status}) has no page at {page}.",
            "A page is written when a run ends; run the notebook again if it was removed.",
        )
    out.print(Text(str(page)))
    webbrowser.open(page.as_uri())


def read_params(pairs: list[str], file: Path | None) -> dict[str, object]:
    """Return parameters from a YAML file, and above them those of the command line."""
    params: dict[str, object] = {}
    if file is not None:
        params.update(_read_file(file))
    for pair in pairs:
        name, sign, value = pair.partition("=")
        if not sign:
            raise JobError(f"The parameter {name} has no value.", "Write -p NAME VALUE.")
        params[name] = value
    return params


@contextmanager
def show_progress(name: str) -> Iterator[Watch]:
    """Show a bar over the cells of a notebook, with the question of the one that runs."""
    columns = (
        TextColumn("{task.fields[name]}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        TextColumn("[dim]{task.description}"),
    )
    with Progress(*columns, console=err, transient=True) as bar:
        task = bar.add_task("starting the kernel", total=None, name=name)

        def watch(done: int, total: int, asked: str) -> None:
            bar.update(task, completed=done, total=total, description=Text(asked).markup)

        yield watch


def report(result: JobResult) -> None:
    """Print how a run ended and where its files are; a failure goes to stderr."""
    if result.status == "done":
        out.print(Text.assemble("Run ", (result.run_id, "bold"), " is done."))
    else:
        err.print(Text(f"Run {result.run_id} {result.status}.", style="bold red"))
        err.print(Text(result.error or ""), soft_wrap=True)
    out.print(Text(f"notebook  {result.path}"), soft_wrap=True)
    out.print(Text(f"page      {result.html}"), soft_wrap=True)


def _read_file(file: Path) -> Mapping[str, object]:
    import yaml

    try:
        read = yaml.safe_load(file.read_text("utf-8"))
    except (OSError, yaml.YAMLError) as error:
        raise JobError(
            f"The parameters in {file} cannot be read: {error}", "Write NAME: value lines."
        ) from error
    if not isinstance(read, dict):
        raise JobError(f"{file} holds no parameters.", "Write NAME: value lines.")
    return read


def _status(status: str) -> Text:
    text = "lost (no process)" if status == "lost" else status
    return Text(text, style=STYLES.get(status, "red"))


def _number(value: object) -> str:
    return f"{value:,.3f}" if isinstance(value, int | float) else ""


def _facts(row: Run) -> dict[str, str]:
    path = Path(row.path)
    return {
        "notebook": f"{row.notebook} ({row.notebook_hash[:12]})",
        "started": f"{row.started:%Y-%m-%d %H:%M:%S} UTC",
        "ended": f"{row.ended:%Y-%m-%d %H:%M:%S} UTC" if row.ended else "",
        "seed": "" if row.seed is None else str(row.seed),
        "code": f"{row.git_commit or 'no commit'}{' (with changes)' if row.git_dirty else ''}",
        "packages": row.lock_hash or "no lock",
        "data": row.snapshot_id or "",
        "executed": str(path),
        "page": str(path.with_suffix(".html")),
    }


def _print_mapping(title: str, values: Mapping[str, object]) -> None:
    if not values:
        return
    table = Table(title=title, show_header=False)
    for name, value in values.items():
        text = f"{value:,.6g}" if isinstance(value, float) else str(value)
        table.add_row(Text(name), Text(text, overflow="fold"))
    out.print(table)
