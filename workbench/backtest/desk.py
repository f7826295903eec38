"""Several strategies on one account, with risk on."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import pandas as pd

from workbench.backtest import kernel
from workbench.backtest.guarded import RiskLog, run_guarded
from workbench.backtest.inputs import Floats, build_inputs, day_ends
from workbench.backtest.run import daily_returns, fill_frame
from workbench.core.costs import Costs
from workbench.core.errors import ConfigError
from workbench.core.records import Account, Market
from workbench.risk.limits import Limits
from workbench.risk.sizer import Sizer
from workbench.strategies.base import Strategy


@dataclass(frozen=True)
class DeskResult:
    """What several strategies made of one account.

    Frames are indexed by ``known_at``. ``positions`` (quantities held at each close) and
    ``funding`` (USDT paid) have a column for each strategy and symbol; ``fills`` names the strategy
    of each. ``shares`` is what each was allotted of the equity.
    """

    strategies: Mapping[str, Strategy]
    market: Market
    costs: Costs
    account: Account
    shares: pd.Series
    equity: pd.Series
    positions: pd.DataFrame
    funding: pd.DataFrame
    fills: pd.DataFrame
    risk: RiskLog
    notes: tuple[str, ...]

    @cached_property
    def daily_returns(self) -> pd.Series:
        """Simple return of the equity per UTC day."""
        return daily_returns(self.equity, self.account.capital_usdt)

    @cached_property
    def strategy_returns(self) -> pd.DataFrame:
        """Simple return of each strategy per UTC day, on what it was allotted at the day's start.

        They are the account's returns if each is weighted by its share.
        """
        days, rows = day_ends(self.market.index)
        start = self.equity.iloc[rows].set_axis(days).shift(1, fill_value=self.account.capital_usdt)
        pnl = self.risk.pnl.iloc[rows].set_axis(days)
        return pnl.diff().fillna(pnl.iloc[0]).div(start, axis=0) / self.shares

    @property
    def net_positions(self) -> pd.DataFrame:
        """Quantities that the account holds: strategies netted, of shape (n_bars, n_symbols)."""
        return self.positions.T.groupby(level="symbol", sort=False).sum().T

    @property
    def refusals(self) -> pd.DataFrame:
        """Every target that risk refused or made smaller, with the reason."""
        return self.risk.refusals

    @property
    def watermark(self) -> str:
        """What every title made from this result must carry."""
        return self.market.watermark


def run_desk(
    strategies: Mapping[str, Strategy],
    market: Market,
    *,
    limits: Limits,
    shares: Mapping[str, float] | None = None,
    sectors: Mapping[str, str] | None = None,
    sizers: Mapping[str, Sizer] | None = None,
    costs: Costs | None = None,
    account: Account | None = None,
) -> DeskResult:
    """Run several strategies on one account through the review that live trading uses.

    ``shares`` says what each is allotted of the equity, at most the limits' ``max_strategy_share``
    where there are several; by default equal parts of that. ``sizers`` scale weights first.

    Raises
    ------
    ConfigError
        If the shares do not fit, or there are more strategies than the limits allow.
    """
    costs = Costs() if costs is None else costs
    account = Account() if account is None else account
    names = list(strategies)
    part = _shares(names, shares, limits)
    inputs = build_inputs(market, costs=costs, account=account)
    walk, log = run_guarded(
        strategies, market, inputs, account=account, limits=limits, sectors=sectors, sizers=sizers,
        shares=dict(zip(names, part, strict=True)),
    )  # fmt: skip
    equity, _, positions, paid, fills = walk.books()
    columns = pd.MultiIndex.from_product([names, market.symbols], names=["strategy", "symbol"])
    return DeskResult(
        strategies=dict(strategies),
        market=market,
        costs=costs,
        account=account,
        shares=part,
        equity=pd.Series(equity, index=market.index, name="equity_usdt"),
        positions=pd.DataFrame(positions, index=market.index, columns=columns),
        funding=pd.DataFrame(paid, index=market.index, columns=columns),
        fills=_named(fills, names, market, costs),
        risk=log,
        notes=inputs.notes,
    )


def _shares(names: list[str], given: Mapping[str, float] | None, limits: Limits) -> pd.Series:
    most = 1.0 if len(names) == 1 else limits.max_strategy_share
    equal = dict.fromkeys(names, min(most, 1.0 / max(len(names), 1)))
    part = pd.Series(given or equal, dtype=np.float64)
    is_sound = set(part.index) == set(names) and (part > 0).all() and part.sum() <= 1 + 1e-9
    if not names or not is_sound or (part > most + 1e-9).any():
        raise ConfigError(
            f"The shares {part.to_dict()} do not fit {', '.join(names) or 'no strategy'}.",
            f"Give each strategy a share above 0 and up to {most:g}, and 1 at most in all.",
        )
    return part[names]


def _named(fills: Floats, names: list[str], market: Market, costs: Costs) -> pd.DataFrame:
    n = len(market.symbols)
    column = fills[:, kernel.F_SYMBOL].astype(np.int64)
    own = fills.copy()
    own[:, kernel.F_SYMBOL] = column % n
    table = fill_frame(own, market, costs)
    strategy = pd.Categorical.from_codes(column // n, categories=pd.Index(names))
    table.insert(2, "strategy", pd.Series(strategy, index=table.index))
    return table
