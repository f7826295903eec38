"""Stress: shocks put into a market at many moments, and ladders of worse and worse costs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import Final, Literal

import numpy as np
import pandas as pd

from workbench.core.costs import Costs
from workbench.core.errors import DataError
from workbench.core.records import Account, Market
from workbench.risk.scenarios import BETA_DAYS, Shock, load_shocks
from workbench.strategies.base import Strategy
from workbench.validation.frozen import DAY, Outcome, delay, freeze, replay, side_by_side
from workbench.validation.shocks import lacking, shock_costs, shock_market

LEAD: Final = 2
"""Bars before a shock at which an account begins: a decision, its fill, and then the shock."""
NO_SHOCK: Final = Shock(name="no shock")
RUN: Final = (
    *("total_return", "max_drawdown", "worst_bar", "n_liquidations"),
    *("funding_usdt", "fees_usdt"),
)

Rungs = Literal["slippage_bps", "latency_s", "fee_scale", "funding_scale"]
RUNGS: Final[Mapping[Rungs, tuple[float, ...]]] = {
    "slippage_bps": (0.0, 1.0, 2.0, 5.0, 10.0, 20.0, 50.0),
    "latency_s": (0.0, 1.0, 10.0, 60.0, 600.0, 3_600.0, 14_400.0, 86_400.0),
    "fee_scale": (0.0, 0.5, 1.0, 1.5, 2.0, 3.0),
    "funding_scale": (0.0, 1.0, 2.0, 3.0, 5.0),
}
"""The rungs of a ladder by what it makes worse."""


@dataclass(frozen=True, slots=True)
class ShockReplay:
    """What shocks at many moments do to an account.

    Attributes
    ----------
    table : DataFrame
        A row without any, then one for each shock: ``status`` ("replayed", or why the market
        cannot show it), ``moments`` at which it was shown, ``mean_return`` and ``worst_return`` of
        the window, ``mean_change`` and ``worst_change`` against the same window without it,
        ``worst_drawdown``, and ``liquidated``: the share of the moments with a liquidation.
    runs : DataFrame
        By ``shock`` and ``moment`` (``known_at`` of the bar that opens shocked): ``lacks`` (why
        it is not shown there, else empty), ``total_return``, ``change``, ``max_drawdown``,
        ``worst_bar``, ``n_liquidations``, ``funding_usdt`` (positive is paid), ``fees_usdt``.
    watermark : str
    """

    table: pd.DataFrame
    runs: pd.DataFrame
    watermark: str


@dataclass(frozen=True, slots=True)
class Ladder:
    """What is left of a strategy as one cost grows.

    Attributes
    ----------
    of : str
    table : DataFrame
        By rung: ``sharpe``, ``total_return``, ``max_drawdown``, ``n_fills``, ``n_liquidations``.
    watermark : str
    """

    of: Rungs
    table: pd.DataFrame
    watermark: str

    @property
    def gone_at(self) -> float:
        """The first rung at which the Sharpe ratio is not above 0; infinite where none is."""
        gone = self.table.index[self.table["sharpe"] <= 0]
        return float(gone[0]) if len(gone) else float("inf")

    @property
    def break_even(self) -> float:
        """Where the Sharpe ratio crosses 0 on the line between rungs: up to ``gone_at``."""
        row = int(self.table.index.searchsorted(self.gone_at))
        if not 0 < row < len(self.table):
            return self.gone_at
        (low, high), (over, under) = (
            values[row - 1 : row + 1] for values in (self.table.index, self.table["sharpe"])
        )
        return float(low + (high - low) * over / (over - under))


def replay_shocks(
    strategy: Strategy,
    market: Market,
    *,
    shocks: Sequence[Shock] | None = None,
    moments: int = 12,
    days_after: int = 7,
    costs: Costs | None = None,
    account: Account | None = None,
    workers: int | None = None,
) -> ShockReplay:
    """Put every shock into a market at many moments, and trade a fresh account through each.

    Parameters
    ----------
    strategy : Strategy
        It decides on the shocked market: what it does after the shock is part of the answer.
    market : Market
    shocks : sequence of Shock, optional
        Those of the package by default.
    moments : int, default=12
        Spread evenly over the bars that leave room for the lookback, 90 days of betas, and the
        days after.
    days_after : int, default=7
        Length of the window from the shock on.
    costs, account : Costs, Account, optional
        Shocked costs hold for the whole window, the entry two bars before the shock included.
    workers : int, optional
        Threads.

    Returns
    -------
    ShockReplay

    Raises
    ------
    DataError
        If the market is too short, or two shocks have one name.
    """
    chosen = load_shocks() if shocks is None else tuple(shocks)
    costs = Costs() if costs is None else costs
    after = max(1, round(days_after * DAY / market.bar_length))
    first = max(strategy.lookback, round(BETA_DAYS * DAY / market.bar_length)) + LEAD
    last = market.n_bars - after
    if last <= first or moments < 1:
        raise DataError(
            f"A market of {market.n_bars} bars cannot hold {moments} shocks: {first} bars must lie "
            f"before the first and {after} after the last.",
            "Give a longer market, fewer days after, or at least one moment.",
        )
    rows = np.unique(np.linspace(first, last, moments).astype(np.int64)).tolist()
    shown = (NO_SHOCK, *chosen)
    if len({shock.name for shock in shown}) < len(shown):
        raise DataError("Two shocks have the same name.", "Give each a name of its own.")

    def one(job: tuple[Shock, int]) -> Outcome | str:
        shock, row = job
        window = market.until(market.index[row + after - 1])
        return lacking(window, shock, row=row) or replay(
            strategy,
            shock_market(window, shock, at=market.index[row]),
            start=market.index[row - LEAD],
            costs=shock_costs(costs, shock),
            account=account,
        )

    jobs = [(shock, row) for shock in shown for row in rows]
    done = side_by_side(one, jobs, workers=workers)
    index = pd.MultiIndex.from_tuples(
        [(shock.name, market.index[row]) for shock, row in jobs], names=["shock", "moment"]
    )
    runs = _runs(done, index)
    lines = [_summary(own) for _, own in runs.groupby(level="shock", sort=False)]
    names = pd.Index([shock.name for shock in shown], name="shock")
    return ShockReplay(pd.DataFrame(lines, index=names), runs, market.watermark)


def cost_ladder(
    strategy: Strategy,
    market: Market,
    *,
    of: Rungs,
    rungs: Sequence[float] | None = None,
    costs: Costs | None = None,
    account: Account | None = None,
    workers: int | None = None,
) -> Ladder:
    """Backtest a strategy on rung after rung of one cost, the others as they are.

    Parameters
    ----------
    strategy : Strategy
    market : Market
    of : {"slippage_bps", "latency_s", "fee_scale", "funding_scale"}
        Slippage and latency are set to the rung, fees and funding multiplied by it.
    rungs : sequence of float, optional
        Ascending, at least 0; those of ``RUNGS`` by default.
    costs, account : Costs, Account, optional
    workers : int, optional
        Threads.

    Returns
    -------
    Ladder

    Raises
    ------
    DataError
        If rungs do not rise from 0 or above, or funding is to grow where there is none.

    Notes
    -----
    Timing: a latency of k bars and a rest moves every decision by k bars and its fill by the rest
    into the next, since one order cannot wait longer than a bar. A stepped strategy then sees a
    market that is k bars old, but its own position as it is.
    """
    steps = RUNGS[of] if rungs is None else tuple(float(rung) for rung in rungs)
    if not steps or steps[0] < 0 or any(b <= a for a, b in pairwise(steps)):
        raise DataError(f"{steps} are not the rungs of a ladder.", "Let them rise from 0 or above.")
    costs = Costs() if costs is None else costs
    frozen = freeze(strategy, market)
    bar_s = market.bar_length.total_seconds()

    def one(rung: float) -> Outcome:
        traded, seen, paid = frozen, market, costs
        if of == "latency_s":
            bars, rest = divmod(rung, bar_s)
            traded, paid = delay(frozen, int(bars)), replace(costs, latency_s=rest)
        elif of == "slippage_bps":
            paid = replace(costs, slippage_bps=rung)
        elif of == "fee_scale":
            paid = shock_costs(costs, Shock(name=of, fee_scale=rung))
        else:
            # A strategy that reads funding decides on the rates that it pays.
            seen = shock_market(market, Shock(name=of, funding_scale=rung), at=market.index[1])
            traded = freeze(strategy, seen)
        return replay(traded, seen, costs=paid, account=account)

    done = [outcome.measures for outcome in side_by_side(one, steps, workers=workers)]
    columns = ["sharpe", "total_return", "max_drawdown", "n_fills", "n_liquidations"]
    table = pd.DataFrame(done, index=pd.Index(steps, name=of))[columns]
    return Ladder(of, table, market.watermark)


def _runs(done: Sequence[Outcome | str], index: pd.MultiIndex) -> pd.DataFrame:
    rows = [
        {"lacks": item} if isinstance(item, str) else {"lacks": "", **item.measures}
        for item in done
    ]
    runs = pd.DataFrame(rows, index=index)[["lacks", *RUN]]
    base = runs["total_return"].xs(NO_SHOCK.name)
    moments = index.get_level_values("moment")
    runs.insert(2, "change", runs["total_return"] - base.reindex(moments).to_numpy())
    return runs


def _summary(runs: pd.DataFrame) -> dict[str, object]:
    own = runs[runs["lacks"] == ""]
    answer: dict[str, object] = {"status": "replayed", "moments": len(own)}
    if own.empty:
        return answer | {"status": f"not shown: {runs['lacks'].iloc[-1]}"}
    return answer | {
        "mean_return": own["total_return"].mean(),
        "worst_return": own["total_return"].min(),
        "mean_change": own["change"].mean(),
        "worst_change": own["change"].min(),
        "worst_drawdown": own["max_drawdown"].max(),
        "liquidated": (own["n_liquidations"] > 0).mean(),
    }
