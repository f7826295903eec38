"""Which strategy is meant, and where it stands in words, for the terminal."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import TYPE_CHECKING, Any, Final

from rich.text import Text

from workbench.cli.runs import read_params
from workbench.cli.terminal import out
from workbench.core.config import load_config
from workbench.core.errors import EvidenceError

if TYPE_CHECKING:
    from workbench.core.vault import PublicKey
    from workbench.lifecycle import Book, Standing
    from workbench.store import Store
    from workbench.strategies import Strategy

HASH_SHOWN: Final = 12
STYLES: Final = {"LIVE_TRADING": "bold green", "UNDER_REVIEW": "yellow", "RETIRED": "dim"}


def resolve_strategy(
    book: Book, word: str, param: list[str] | None
) -> tuple[str, str, Strategy | None]:
    """Return name and hash of a strategy, and itself where it had to be loaded.

    Raises
    ------
    EvidenceError
        If several that are on record are called so.
    ModelError
        If none is, and nothing can be loaded by that name.
    """
    from workbench.evidence.stages import Stage
    from workbench.evidence.verdicts import read_verdicts
    from workbench.strategies import load_strategy, strategy_hash

    known = {v.verdict.strategy_hash: v.verdict.strategy for v in read_verdicts(book.store)}
    known |= {s.strategy_hash: s.strategy for s in book.standings}
    gone = {s.strategy_hash for s in book.standings if s.stage is Stage.RETIRED}
    is_hash = len(word) >= 6
    found = [h for h, name in known.items() if name == word or (is_hash and h.startswith(word))]
    found = [h for h in found if h not in gone] or found
    if len(found) == 1 and not param:
        return known[found[0]], found[0], None
    if len(found) > 1 and not param:
        raise EvidenceError(
            f"{len(found)} strategies are called {word}.",
            f"Give the beginning of a hash: {', '.join(h[:HASH_SHOWN] for h in sorted(found))}.",
        )
    params: Mapping[str, Any] = read_params(param or [], None)
    own = load_strategy(word, params, registered=load_config().strategies)
    return type(own).__name__, strategy_hash(own), own


def probe_first(
    store: Store, name: str, strategy_hash: str, own: Strategy | None, actor: str
) -> None:
    """Probe a strategy that was loaded and never probed, and put on record what was found."""
    from workbench.cli.leaks import BEYOND_LOOKBACK, MIN_BARS, SYMBOLS, load_market, print_report
    from workbench.lifecycle.grounds import has_probe, record_probe
    from workbench.validation.leaks import probe_leaks

    if own is None or has_probe(store, strategy_hash):
        return
    seed = load_config().seed
    market = load_market(
        SYMBOLS, source="synthetic", interval="60", seed=seed,
        bars=max(MIN_BARS, own.lookback + BEYOND_LOOKBACK),
    )  # fmt: skip
    with out.status(f"Probing {name} for look-ahead ..."):
        report = probe_leaks(own, market, name=name, seed=seed)
    print_report(report)
    record_probe(store, strategy_hash, report.measures, actor=actor)


def print_standing(standing: Standing) -> None:
    """Print where a strategy stands now, and why."""
    where = Text(standing.stage, style=STYLES.get(standing.stage, "bold"))
    out.print(Text.assemble(f"{standing.strategy} {standing.strategy_hash[:HASH_SHOWN]} is in ",
                            where, f": {standing.reason}"), soft_wrap=True)  # fmt: skip


def stage_row(standing: Standing, now: datetime) -> list[Text]:
    """Return the row of a strategy in the list of all."""
    override = standing.active_override(now)
    flag = f"OVERRIDE as {override.stage}" if override else ""
    return [
        Text(standing.strategy, overflow="fold"),
        Text(standing.strategy_hash[:HASH_SHOWN]),
        Text(standing.stage, style=STYLES.get(standing.stage, "")),
        Text(f"{standing.since:%Y-%m-%d}"),
        Text(f"{standing.capital_usdt:,.2f}"),
        Text(_until(standing, now)),
        Text(flag, style="bold red"),
    ]


def _until(standing: Standing, now: datetime) -> str:
    if standing.permit is None or not standing.has_permit(now):
        return "no permit"
    return f"{standing.permit.expires:%Y-%m-%d %H:%M}"


def standing_facts(standing: Standing, now: datetime) -> dict[str, str]:
    """Return what there is to say of a strategy, by name."""
    from workbench.evidence.stages import reach_of

    reach = reach_of(standing.stage, standing.before)
    places = ", ".join(sorted(reach.venues)) or "nowhere"
    facts = {
        "hash": standing.strategy_hash,
        "stage": standing.stage + (f", before {standing.before}" if standing.before else ""),
        "since": f"{standing.since:%Y-%m-%d %H:%M} UTC, {(now - standing.since).days} days",
        "may trade on": places + (", only to close" if reach.is_reduce_only else ""),
        "capital": f"{standing.capital_usdt:,.2f} USDT",
        "permit": f"number {standing.serial}, until {_until(standing, now)}",
        "verdict": standing.verdict_id
        + (", counts on a synthetic market only" if standing.is_synthetic else ""),
        "run": standing.run_id,
        "enabled by": standing.enabled_by,
        "goes on as": standing.successor[:HASH_SHOWN],
    }
    return {name: value for name, value in facts.items() if value not in ("", "-")}


def standing_warnings(standing: Standing, now: datetime) -> list[str]:
    """Return what must be shown in red: an override, and one that nobody signed."""
    override = standing.active_override(now)
    if override is None:
        return []
    words = [
        f"OVERRIDE: acts as {override.stage} until {override.until:%Y-%m-%d %H:%M} UTC with "
        f"{override.capital_usdt:,.2f} USDT, on the word of {override.by}: {override.reason}"
    ]
    if not override.is_signed(_public_keys()):
        words.append("The override is NOT SIGNED by a key in use: somebody wrote it by hand.")
    return words


def _public_keys() -> tuple[PublicKey, ...]:
    from workbench.core.vault import load_public_keys, public_path

    place = public_path(load_config().vault_path)
    return load_public_keys(place) if place.exists() else ()
