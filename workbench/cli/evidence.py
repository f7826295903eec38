"""``workbench verify`` and ``workbench trials``: whether what is on record still holds."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer
from rich.table import Table
from rich.text import Text

from workbench.cli.terminal import out

if TYPE_CHECKING:
    from workbench.jobs.verify import Verification

TRIALS_SHOWN = 20


def verify(
    run: Annotated[str, typer.Argument(help="Id of a run, or the beginning of it.")],
) -> None:
    """Execute a sealed run again, on the code, data and ledger of its day, and compare.

    Ends with code 1 where something differs; nothing that comes out is written to the store.
    """
    from workbench.jobs.verify import verify_run

    with out.status("Executing it again in a process and a store of its own ..."):
        answer = verify_run(run)
    print_verification(answer)
    if not answer.is_verified:
        raise typer.Exit(1)


def print_verification(answer: Verification) -> None:
    """Print what came of executing a sealed run again."""
    if answer.restored:
        out.print(Text(f"Its code was fetched from commit {answer.restored[:10]}.", style="dim"))
    for difference in answer.differences:
        out.print(Text(f"{difference.what}: {difference.words}", style="red"), soft_wrap=True)
    if not answer.is_verified:
        out.print(Text(f"NOT VERIFIED  {answer.run_id}", style="bold red"))
        return
    out.print(
        Text.assemble(
            ("VERIFIED", "bold green"),
            f"  {answer.run_id}: {answer.n_measures} declared outputs came out the same",
        )
    )


def trials(
    *,
    family: Annotated[str | None, typer.Option(help="Only those of one family.")] = None,
    limit: Annotated[int, typer.Option(min=1, help="How many of the newest to list.")] = (
        TRIALS_SHOWN
    ),
    check: Annotated[
        bool, typer.Option("--check/--no-check", help="Recompute the chain of hashes.")
    ] = True,
) -> None:
    """List the newest trials, count all, and check that none was changed or removed.

    Ends with code 1 where the chain is broken, naming the trial.
    """
    from workbench.store import Store

    with Store.open() as store:
        rows = store.trials(family=family)
        chain = store.verify_trials() if check else None
    table = Table("trial", "strategy", "parameters", "kind", "data", "at", title=None)
    for row in rows.tail(limit).itertuples():
        params = " ".join(f"{name}={value}" for name, value in row.params.items())
        table.add_row(
            str(row.trial_id), str(row.strategy), params, str(row.kind),
            str(row.snapshot_id)[:10], f"{row.created:%Y-%m-%d %H:%M}",
        )  # fmt: skip
    out.print(table)
    count = f"{len(rows):,} trials" if len(rows) != 1 else "1 trial"
    out.print(Text(f"{count}{f' of the family {family}' if family else ''}."))
    if chain is None:
        return
    if not chain.is_intact:
        out.print(Text(f"The ledger is broken at trial {chain.broken}: {chain.reason}.", "red"))
        raise typer.Exit(1)
    out.print(Text(f"The chain is intact; it ends in {chain.head[:16]}.", style="green"))
