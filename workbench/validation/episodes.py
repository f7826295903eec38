"""Historical stress: a strategy shown the days again that broke others, bar by bar."""

from __future__ import annotations

import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib.resources import files
from importlib.resources.abc import Traversable
from pathlib import Path
from typing import Final, Literal, Self, TypeVar

import pandas as pd
from pydantic import (
    AwareDatetime,
    BaseModel,
    ConfigDict,
    Field,
    TypeAdapter,
    ValidationError,
    model_validator,
)

from workbench.core.costs import Costs
from workbench.core.errors import ConfigError
from workbench.core.records import Account, Market
from workbench.strategies.base import Strategy
from workbench.strategies.hold import BuyAndHold
from workbench.validation.frozen import Outcome, replay, side_by_side

PLACE: Final = files("workbench.validation") / "scenarios"
WHOLE: Final = 0.9
"""The share of an episode's bars that must be there for it to count as covered."""

SHOWN: Final = (
    "total_return",
    "max_drawdown",
    "worst_bar",
    "n_liquidations",
    "funding_usdt",
    "fees_usdt",
    "exposure",
)
HELD: Final = ("total_return", "max_drawdown", "worst_bar", "n_liquidations")
COLUMNS: Final = (
    *("severity", "kind", "start", "end", "status", "bars", "symbols"),
    *SHOWN,
    *(f"hold_{name}" for name in HELD),
    "notes",
)
REPLAYED: Final = "replayed"

Scenario = TypeVar("Scenario", bound=BaseModel)


class Episode(BaseModel):
    """Days with a name: the bars in (start, end], what happened, and how bad it was."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str = Field(min_length=1)
    start: AwareDatetime
    end: AwareDatetime
    kind: Literal["crypto", "macro"]
    severity: Literal["moderate", "severe", "extreme"]
    what: str = Field(min_length=1)

    @model_validator(mode="after")
    def _check(self) -> Self:
        if self.end <= self.start:
            raise ValueError(f"it ends at {self.end}, not after its start")
        return self


@dataclass(frozen=True, slots=True)
class EpisodeReplay:
    """What a strategy did in each episode.

    Attributes
    ----------
    table : DataFrame
        A row for each episode, in time: ``severity``, ``kind``, ``start``, ``end``, ``status``
        ("replayed", or why it is not covered), ``bars`` and ``symbols`` that there are,
        ``total_return``, ``max_drawdown``, ``worst_bar``, ``n_liquidations``, ``funding_usdt``
        (positive is paid), ``fees_usdt``, ``exposure``, under ``hold_*`` buy-and-hold, and
        ``notes``: what could not be simulated, such as missing marks.
    equity : mapping of str to DataFrame
        By episode that is covered: equity over capital of ``strategy`` and ``hold``, by known_at.
    """

    table: pd.DataFrame
    equity: Mapping[str, pd.DataFrame]

    @property
    def not_covered(self) -> list[str]:
        """The episodes that the market does not hold."""
        return [str(name) for name in self.table.index if name not in self.equity]


def load_episodes(path: str | Path | None = None) -> tuple[Episode, ...]:
    """Return the episodes of the package, or of a TOML file of one's own, in time.

    Raises
    ------
    ConfigError
        If the file does not describe episodes.
    """
    found = read_scenarios(path or PLACE / "episodes.toml", Episode, key="episodes")
    return tuple(sorted(found, key=lambda episode: episode.start))


def replay_episodes(
    strategy: Strategy,
    market: Market,
    *,
    episodes: Sequence[Episode] | None = None,
    costs: Costs | None = None,
    account: Account | None = None,
    workers: int | None = None,
) -> EpisodeReplay:
    """Replay a strategy over each episode, with prices, marks and funding as they were.

    Parameters
    ----------
    strategy : Strategy
        As it would have been then: a fitted one that has seen the episode is flattered.
    market : Market
        Real history, with the strategy's lookback before each episode.
    episodes : sequence of Episode, optional
        Those of the package by default.
    costs, account : Costs, Account, optional
        A fresh account for each episode.
    workers : int, optional
        Threads.

    Returns
    -------
    EpisodeReplay

    Notes
    -----
    Timing: the strategy is asked on all bars up to the end of the episode. The account begins at
    its start with the position that the strategy wants there, bought at the next open, and lives
    through every bar: gaps, liquidation on the mark's extremes, brackets and funding. Positions
    are marked at the end, not closed.
    """
    chosen = load_episodes() if episodes is None else tuple(episodes)

    def one(episode: Episode) -> tuple[Outcome, Outcome] | None:
        if _status(strategy, market, episode) != REPLAYED:
            return None
        span = {"start": pd.Timestamp(episode.start), "end": pd.Timestamp(episode.end)}
        own = replay(strategy, market, **span, costs=costs, account=account)
        return own, replay(BuyAndHold(), market, **span, costs=costs, account=account)

    done = side_by_side(one, chosen, workers=workers)
    rows, equity = [], {}
    for episode, pair in zip(chosen, done, strict=True):
        row = _row(strategy, market, episode)
        if pair is not None:
            own, hold = pair
            row |= {name: own.measures[name] for name in SHOWN} | {
                f"hold_{name}": hold.measures[name] for name in HELD
            }
            row["notes"] = "; ".join(own.result.notes)
            capital = own.result.account.capital_usdt
            equity[episode.name] = (
                pd.DataFrame({"strategy": own.equity, "hold": hold.equity}) / capital
            )
        rows.append(row)
    names = pd.Index([episode.name for episode in chosen], name="episode")
    return EpisodeReplay(pd.DataFrame(rows, index=names, columns=list(COLUMNS)), equity)


def read_scenarios(
    place: str | Path | Traversable, model: type[Scenario], *, key: str
) -> list[Scenario]:
    """Return the validated scenarios of a versioned TOML file.

    Raises
    ------
    ConfigError
        If the file is missing, is not TOML, has no version, or describes something else.
    """
    source = Path(place) if isinstance(place, str) else place
    if not source.is_file():
        raise ConfigError(f"There is no file {source}.", "Give the path of a .toml file.")
    try:
        told = tomllib.loads(source.read_text(encoding="utf-8"))
        if not isinstance(told.get("version"), int) or set(told) != {"version", key}:
            raise ConfigError(
                f"{source} holds {', '.join(sorted(told)) or 'nothing'}.",
                f"It needs a whole number `version` and [[{key}]], nothing else.",
            )
        found = TypeAdapter(list[model]).validate_python(told[key])  # type: ignore[valid-type]
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ConfigError(f"{source} is not valid TOML: {error}.", "Correct that line.") from error
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"])
        raise ConfigError(
            f"{source} does not describe {key}: {where}: {first['msg']}.",
            f"Compare it with {key}.toml of the package.",
        ) from error
    names = [getattr(scenario, "name", "") for scenario in found]
    doubled = sorted({name for name in names if names.count(name) > 1})
    if doubled or not names:
        raise ConfigError(
            f"{source} names {', '.join(doubled) or 'nothing'}" + (" twice." if doubled else "."),
            "Give every scenario a name of its own, and at least one.",
        )
    return found


def _row(strategy: Strategy, market: Market, episode: Episode) -> dict[str, object]:
    cut = market.close.iloc[_rows(market, episode)]
    return {
        **episode.model_dump(include={"severity", "kind", "start", "end"}),
        "status": _status(strategy, market, episode),
        "bars": len(cut),
        "symbols": int(cut.notna().any().sum()),
    }


def _status(strategy: Strategy, market: Market, episode: Episode) -> str:
    index, rows = market.index, _rows(market, episode)
    n_bars, expected = rows.stop - rows.start, (episode.end - episode.start) // market.bar_length
    if expected < 2:
        return f"not covered: a bar of {market.interval} is too long for it"
    if index[0] > episode.start:
        return f"not covered: the market begins on {index[0]:%Y-%m-%d}"
    if index[-1] < episode.end:
        return f"not covered: the market ends on {index[-1]:%Y-%m-%d}"
    if rows.start < strategy.lookback:
        return f"not covered: {strategy.lookback} bars must lie before, there are {rows.start}"
    if n_bars < WHOLE * expected:
        return f"not covered: the market holds {n_bars} of {expected} bars"
    return REPLAYED


def _rows(market: Market, episode: Episode) -> slice:
    first, stop = (
        int(market.index.searchsorted(pd.Timestamp(moment), side="right"))
        for moment in (episode.start, episode.end)
    )
    return slice(first, stop)
