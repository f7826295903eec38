"""Historical stress: a strategy shown the days again that broke others, bar by bar."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

import pandas as pd

from workbench.core.costs import Costs
from workbench.core.records import Account, Market
from workbench.risk.scenarios import Episode, load_episodes
from workbench.strategies.base import Strategy
from workbench.strategies.hold import BuyAndHold
from workbench.validation.frozen import Outcome, replay, side_by_side

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
