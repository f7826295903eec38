"""``workbench stage``: where each strategy stands, and every way up, down and out."""

from __future__ import annotations

import getpass
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from decimal import Decimal
from typing import TYPE_CHECKING, Annotated, Any, Final

import typer
from rich.box import SIMPLE_HEAD
from rich.table import Table
from rich.text import Text

from workbench.cli.runs import PairsCommand
from workbench.cli.standing import (
    HASH_SHOWN,
    print_standing,
    probe_first,
    resolve_strategy,
    stage_row,
    standing_facts,
    standing_warnings,
)
from workbench.cli.terminal import out
from workbench.core.config import load_config
from workbench.core.errors import SecretError

if TYPE_CHECKING:
    from workbench.lifecycle import Book, Desk, Standing
    from workbench.lifecycle.moves import Enable

app = typer.Typer(no_args_is_help=True, help="Move a strategy between its stages.")

ENTRIES_SHOWN: Final = 10

Who = Annotated[
    str, typer.Argument(help="Its name or hash, or for a new one a name, file.py:Class.")
]
Params = Annotated[
    list[str] | None,
    typer.Option("--param", "-p", metavar="NAME VALUE", help="A parameter of it; repeatable."),
]
By = Annotated[str, typer.Option(help="Who does it; by default the user of the system.")]
Reason = Annotated[str, typer.Option(help="Why, for the record.")]
Verify = Annotated[
    bool, typer.Option("--verify", help="Execute the run behind the verdict again as well.")
]
EnabledBy = Annotated[
    str | None, typer.Option("--enable", metavar="NAME", help="Who lets it trade real money.")
]
Confirm = Annotated[
    str | None, typer.Option(metavar="NAME", help="Its name again, for real money; else asked.")
]


@app.command("list")
def list_stages() -> None:
    """Print where each strategy stands, and where the chain of the book ends."""
    from workbench.lifecycle.capital import live_capital

    with _book() as book:
        now = book.clock.now()
        table = Table(
            "strategy", "hash", "stage", "since", "USDT", "permit until", "", box=SIMPLE_HEAD
        )
        for standing in book.standings:
            table.add_row(*stage_row(standing, now))
        out.print(table)
        live, budget = live_capital(book.standings, now), _budget()
        out.print(Text(f"On real money: {live:,.2f} of {budget:,.2f} USDT."))
        words = f"The book has {len(book.entries)} entries and ends in {book.head[:16]}."
        out.print(Text(words, style="green"))


@app.command()
def show(strategy: Who) -> None:
    """Show one strategy: what it may do, on what evidence, and how it got there."""
    with _book() as book:
        found = book.standing(resolve_strategy(book, strategy, None)[1])
        table = Table("", "", title=f"{found.strategy}", show_header=False)
        for name, value in standing_facts(found, book.clock.now()).items():
            table.add_row(name, Text(value, overflow="fold"))
        out.print(table)
        for words in standing_warnings(found, book.clock.now()):
            out.print(Text(words, style="bold red"), soft_wrap=True)
        history = Table("at", "what", "by", "why", title="How it got there", box=SIMPLE_HEAD)
        entries = [e for e in book.entries if e.strategy_hash == found.strategy_hash]
        for entry in entries[-ENTRIES_SHOWN:]:
            where = entry.detail["state"].get("stage") or entry.what
            style = "red" if entry.what == "override" else ""
            cells = (f"{entry.at:%Y-%m-%d %H:%M}", where, entry.actor, entry.detail["reason"])
            history.add_row(*(Text(cell, style=style, overflow="fold") for cell in cells))
        out.print(history)


def promote(
    strategy: Who,
    param: Params = None,
    *,
    verify: Verify = False,
    by: By = "",
    enable: EnabledBy = None,
    reason: Reason = "",
    confirm: Confirm = None,
) -> None:
    """Bring a strategy one stage up: into RESEARCH, to paper, to candidate, to live.

    A new strategy is probed for look-ahead first. Ends with code 1 and the reason where it is
    refused.
    """
    from workbench.evidence.stages import Stage
    from workbench.lifecycle import admit_to_paper, judge_records, moves
    from workbench.lifecycle.transitions import GATES, next_stage

    with _book(signs=True) as book:
        name, strategy_hash, own = resolve_strategy(book, strategy, param)
        old, actor = book.find(strategy_hash), by or getpass.getuser()
        if old is None:
            probe_first(book.store, name, strategy_hash, own, actor)
            new = moves.enter(
                book, name, strategy_hash, actor=actor, capital_usdt=_budget(),
                lock_hash=_lock_hash(),
            )  # fmt: skip
        elif old.stage is Stage.RESEARCH:
            check = _check(verify=verify)
            new = admit_to_paper(book, strategy_hash, actor=actor, check_run=check)
        else:
            to = next_stage(old.stage)
            verdict = judge_records(book, _desk(verify=verify), strategy_hash, GATES[to])
            new = moves.promote(
                book, strategy_hash, verdict, actor=actor, budget_usdt=_budget(),
                enable=_enable(old, enable, reason, confirm),
            )  # fmt: skip
        print_standing(new)


promote.command_class = PairsCommand  # type: ignore[attr-defined]
app.command("promote", cls=PairsCommand)(promote)


@app.command()
def demote(strategy: Who, *, reason: Reason, by: By = "") -> None:
    """Put a strategy under review: half the capital, and only to close what it holds.

    Without the passphrase of the vault it gets no permit at all.
    """
    from workbench.lifecycle import demote as put_under_review

    with _book() as book:
        strategy_hash = resolve_strategy(book, strategy, None)[1]
        book.key = _key_or_none("It gets no permit, not even to close.")
        actor = by or getpass.getuser()
        print_standing(put_under_review(book, strategy_hash, actor=actor, reason=reason))


@app.command()
def retire(strategy: Who, *, reason: Reason, by: By = "") -> None:
    """End a strategy for good: no capital, no permit."""
    from workbench.lifecycle import retire as end

    with _book() as book:
        strategy_hash = resolve_strategy(book, strategy, None)[1]
        print_standing(end(book, strategy_hash, actor=by or getpass.getuser(), reason=reason))


@app.command()
def revoke(strategy: Who, *, reason: Reason, by: By = "") -> None:
    """Take back the permit of a strategy at once; its stage stays."""
    from workbench.lifecycle import revoke as take_back

    with _book() as book:
        strategy_hash = resolve_strategy(book, strategy, None)[1]
        print_standing(take_back(book, strategy_hash, actor=by or getpass.getuser(), reason=reason))


@app.command()
def renew(strategy: Who, *, verify: Verify = False, by: By = "") -> None:
    """Issue the permit of a strategy anew, if what it stands on still holds."""
    from workbench.lifecycle import renew as issue_anew

    with _book(signs=True) as book:
        strategy_hash = resolve_strategy(book, strategy, None)[1]
        actor, check = by or getpass.getuser(), _check(verify=verify)
        print_standing(issue_anew(book, strategy_hash, actor=actor, check_run=check))


@app.command()
def override(
    strategy: Who,
    *,
    reason: Reason,
    by: Annotated[str, typer.Option(help="Who answers for it.")],
    days: Annotated[int, typer.Option(help="For how long.")] = 7,
    confirm: Confirm = None,
) -> None:
    """Let a strategy act for a while as if it were one stage up, on your signed word.

    Real money asks for its name again, and is at most 500 USDT.
    """
    from workbench.lifecycle import override as put_word

    with _book(signs=True) as book:
        old = book.standing(resolve_strategy(book, strategy, None)[1])
        new = put_word(
            book, old.strategy_hash, by=by, reason=reason, days=days, budget_usdt=_budget(),
            enable=_enable(old, by, reason, confirm),
        )  # fmt: skip
        print_standing(new)


@app.command()
def evaluate(*, verify: Verify = False, by: By = "schedule") -> None:
    """Look at every strategy once and do what follows; nothing is moved to real money.

    Without the passphrase of the vault it only takes rights away. Ends with code 1 where one could
    not be looked at.
    """
    from workbench.lifecycle import evaluate as look

    with _book() as book:
        book.key = _key_or_none("Nothing moves up, and no permit is renewed.")
        outcomes = look(book, _desk(verify=verify, actor=by))
    table = Table("strategy", "hash", "stage", "what", box=SIMPLE_HEAD)
    for outcome in outcomes:
        where = f"{outcome.before} → {outcome.after}" if outcome.is_moved else str(outcome.after)
        style = "red" if outcome.is_fault else "bold" if outcome.is_moved else ""
        words = (outcome.strategy, outcome.strategy_hash[:HASH_SHOWN], where, outcome.words)
        table.add_row(*(Text(word, style=style, overflow="fold") for word in words))
    out.print(table)
    if any(outcome.is_fault for outcome in outcomes):
        raise typer.Exit(1)


@contextmanager
def _book(*, signs: bool = False) -> Iterator[Book]:
    from workbench.lifecycle import Book
    from workbench.store import Store

    rules = load_config().graduation
    with Store.open() as store:
        yield Book(
            store, key=_signing_key() if signs else None, gates=rules.gates,
            permit_days=rules.permit_days,
        )  # fmt: skip


def _signing_key() -> Any:
    from workbench.cli.keys import open_vault
    from workbench.core.vault import signing_key

    return signing_key(open_vault())


def _key_or_none(otherwise: str) -> Any:
    try:
        return _signing_key()
    except SecretError as error:
        out.print(Text(f"{error.what} {otherwise}", style="yellow"))
        return None


def _desk(*, verify: bool, actor: str = "") -> Desk:
    from workbench.lifecycle import Desk

    # The engine is what records fills; a strategy that has none is told so.
    return Desk(
        records={}, check_run=_check(verify=verify), budget_usdt=_budget(),
        costs=load_config().costs, actor=actor,
    )  # fmt: skip


def _check(*, verify: bool) -> Any:
    from workbench.jobs.verify import check_run, verify_run

    return (lambda run_id: verify_run(run_id).differences) if verify else check_run


def _budget() -> Decimal:
    return Decimal(repr(load_config().account.capital_usdt))


def _lock_hash() -> str | None:
    from workbench.core.layers import find_root
    from workbench.jobs.origin import find_origin

    return find_origin(find_root()).lock_hash


def _enable(standing: Standing, by: str | None, reason: str, confirm: str | None) -> Enable | None:
    from workbench.evidence.stages import Stage
    from workbench.lifecycle.moves import Enable

    if standing.stage is not Stage.LIVE_CANDIDATE or by is None:
        return None
    if confirm is None and sys.stdin.isatty():
        words = f"Type {standing.strategy} to let it trade real money"
        confirm = str(typer.prompt(words))
    return Enable(by, reason, confirm or "")
