"""A strategy's standing in words, for the terminal."""

from __future__ import annotations

from datetime import datetime
from typing import TYPE_CHECKING, Final

from rich.text import Text

from workbench.cli.terminal import out
from workbench.core.config import load_config

if TYPE_CHECKING:
    from workbench.core.vault import PublicKey
    from workbench.lifecycle import Standing

HASH_SHOWN: Final = 12
STYLES: Final = {"LIVE_TRADING": "bold green", "UNDER_REVIEW": "yellow", "RETIRED": "dim"}


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
        Text(f"{standing.capital_usdt:,}"),
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
    return {
        "hash": standing.strategy_hash,
        "stage": standing.stage + (f", before {standing.before}" if standing.before else ""),
        "since": f"{standing.since:%Y-%m-%d %H:%M} UTC, {(now - standing.since).days} days",
        "may trade on": places + (", only to close" if reach.is_reduce_only else ""),
        "capital": f"{standing.capital_usdt:,} USDT",
        "permit": f"number {standing.serial}, until {_until(standing, now)}",
        "verdict": standing.verdict_id
        + (", counts on a synthetic market only" if standing.is_synthetic else ""),
        "run": standing.run_id or "-",
        "enabled by": standing.enabled_by or "-",
        "goes on as": standing.successor[:HASH_SHOWN] or "-",
    }


def standing_warnings(standing: Standing, now: datetime) -> list[str]:
    """Return what must be shown in red: an override, and one that nobody signed."""
    override = standing.active_override(now)
    if override is None:
        return []
    words = [
        f"OVERRIDE: acts as {override.stage} until {override.until:%Y-%m-%d %H:%M} UTC with "
        f"{override.capital_usdt:,} USDT, on the word of {override.by}: {override.reason}"
    ]
    if not override.is_signed(_public_keys()):
        words.append("The override is NOT SIGNED by a key in use: somebody wrote it by hand.")
    return words


def _public_keys() -> tuple[PublicKey, ...]:
    from workbench.core.vault import load_public_keys, public_path

    place = public_path(load_config().vault_path)
    return load_public_keys(place) if place.exists() else ()
