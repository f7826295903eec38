"""Run one strategy over one market, and keep all that a person may ask about it."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, Any, Final

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from workbench.backtest import kernel
from workbench.backtest.guarded import RiskLog, run_guarded
from workbench.backtest.inputs import (
    LAYERS,
    Floats,
    Inputs,
    Realism,
    build_brackets,
    build_inputs,
    check_frame,
    day_ends,
    peel,
)
from workbench.backtest.scan import scan
from workbench.backtest.trades import pair_trades
from workbench.core.costs import Costs
from workbench.core.errors import ConfigError, DataError
from workbench.core.measures import drawdowns
from workbench.core.records import Account, Market, to_moment
from workbench.risk.limits import Limits
from workbench.risk.sizer import Sizer
from workbench.strategies.base import KEEP, WEIGHT_QUANTUM, SteppedStrategy, Strategy, quantise

if TYPE_CHECKING:
    import vectorbt

NO_ROWS: Final = 0
FIRST_CAPACITY: Final = 4096


@dataclass(frozen=True)
class Result:
    """One backtest: equity, fills and funding, and the questions that they answer.

    Frames and series are indexed by ``known_at``. ``weights`` are the quantised weights that were
    wanted (NaN keeps), ``positions`` the quantities held at each close, ``funding`` what was paid
    in each bar (positive is paid), in USDT. ``risk`` is there if risk was on.
    """

    strategy: Strategy
    market: Market
    costs: Costs
    account: Account
    equity: pd.Series
    weights: pd.DataFrame
    positions: pd.DataFrame
    funding: pd.DataFrame
    fills: pd.DataFrame
    totals: dict[str, float]
    notes: tuple[str, ...]
    brackets: Floats = field(repr=False)
    risk: RiskLog | None = None
    sizer: Sizer | None = None

    @cached_property
    def returns(self) -> pd.Series:
        """Simple return of the equity per bar; the first bar starts from the capital."""
        before = self.equity.shift(1, fill_value=self.account.capital_usdt)
        return (self.equity / before - 1.0).where(before > 0, 0.0).rename("return")

    @cached_property
    def daily_returns(self) -> pd.Series:
        """Simple return of the equity per UTC day."""
        return daily_returns(self.equity, self.account.capital_usdt)

    @cached_property
    def trades(self) -> pd.DataFrame:
        """One row for each round trip, from flat (or the other side) to flat."""
        return pair_trades(self.fills, self.funding, mark=self.market.mark_close.ffill())

    @cached_property
    def drawdowns(self) -> pd.DataFrame:
        """One row for each fall from a peak: when it began, was deepest and was made good."""
        table = drawdowns(self.returns.to_numpy())
        moments = self.equity.index.to_series().reset_index(drop=True)
        for name in ("start", "trough", "end"):
            table[name] = table[name].map(moments)
        return table

    @property
    def n_liquidations(self) -> int:
        """How many positions were liquidated."""
        return int(self.totals["n_liquidations"])

    @property
    def watermark(self) -> str:
        """What every title made from this result must carry."""
        return self.market.watermark

    def measures(self) -> pd.Series:
        """Return the statistics of the run by name."""
        from workbench.backtest.report import measures

        return measures(self)

    def waterfall(self) -> pd.DataFrame:
        """Return Sharpe ratio and total return as each layer of reality is added.

        Returns
        -------
        DataFrame
            A row for each layer, columns ``sharpe``, ``total_return`` and ``n_fills``; the last
            row is this result. A layer that the market has no data for changes nothing; see
            ``notes``.
        """
        rows = {}
        inputs = _inputs(self.strategy, self.market, self.costs, self.account, None)
        room, out = np.empty(self.market.n_bars), np.empty(len(kernel.MEASURES))
        for layer, realism in LAYERS.items():
            equity, totals = self._simulate(peel(inputs, realism))
            kernel.summarise(
                equity, self.account.capital_usdt, self.market.bars_per_year, room, out
            )
            named = dict(zip(kernel.MEASURES, out.tolist(), strict=True))
            rows[layer] = {
                "sharpe": named["sharpe"],
                "total_return": named["total_return"],
                "n_fills": int(totals[kernel.N_FILLS]),
            }
        return pd.DataFrame.from_dict(rows, orient="index").rename_axis("layer")

    def why(self, moment: str | pd.Timestamp) -> pd.DataFrame:
        """Return what the strategy saw, wanted and got at a moment, a row for each symbol.

        ``moment`` is read as the last ``known_at`` at or before it. The decision made there fills
        in the next bar; ``saw_*`` are the fields that the strategy needs.

        Raises
        ------
        DataError
            If the moment lies before the first bar.
        """
        stamp = to_moment(moment)
        row = int(self.market.index.searchsorted(stamp, side="right")) - 1
        if row < 0:
            raise DataError(
                f"{stamp} lies before the first bar.", f"Ask from {self.market.index[0]} on."
            )
        known_at = self.market.index[row]
        answer = pd.DataFrame(index=pd.Index(self.market.symbols, name=f"known at {known_at}"))
        for name in self.strategy.needs:
            answer[f"saw_{name}"] = getattr(self.market, name).iloc[row]
        if isinstance(self.strategy, SteppedStrategy):
            for name, frame in self.strategy.features(self.market.until(known_at)).items():
                seen = frame.iloc[-1].to_dict()
                answer[f"saw_{name}"] = pd.Series([seen] * len(answer), index=answer.index)
        answer["wanted_weight"] = self.weights.iloc[row]
        answer["held_qty"] = self.positions.iloc[row]
        answer["equity_usdt"] = self.equity.iloc[row]
        if row + 1 < self.market.n_bars:
            got = self.fills[self.fills["known_at"] == self.market.index[row + 1]]
            by_symbol = got.groupby("symbol", observed=True)
            signed = (got["qty"] * got["side"]).groupby(got["symbol"], observed=True).sum()
            answer["got_qty"] = signed.reindex(answer.index).fillna(0.0)
            answer["got_price"] = by_symbol["price"].last().reindex(answer.index)
            answer["got_fee_usdt"] = by_symbol["fee_usdt"].sum().reindex(answer.index)
            answer["got_because"] = by_symbol["reason"].agg(" then ".join).reindex(answer.index)
            answer["holds_qty"] = self.positions.iloc[row + 1]
        return answer

    def vectorbt(self) -> vectorbt.Portfolio:
        """Hand the same orders to vectorbt, for its plots and statistics."""
        from workbench.backtest.report import to_vectorbt

        return to_vectorbt(self)

    @property
    def refusals(self) -> pd.DataFrame:
        """Every target that risk refused or made smaller, with the reason; see ``RiskLog``.

        Raises
        ------
        DataError
            If risk was off.
        """
        if self.risk is None:
            raise DataError("Risk was off, so nothing was refused.", "Run it with limits.")
        return self.risk.refusals

    def _simulate(self, inputs: Inputs) -> tuple[Floats, Floats]:
        if self.risk is not None:
            walk, _ = run_guarded(
                {"strategy": self.strategy}, self.market, inputs, account=self.account,
                limits=self.risk.limits,
                sizers={} if self.sizer is None else {"strategy": self.sizer},
            )  # fmt: skip
            return walk.equity, walk.cash
        if isinstance(self.strategy, SteppedStrategy):
            scanned = scan(self.strategy, self.market, inputs, keeps=False)
            return scanned.equity, scanned.cash
        weights = quantise(self.weights)
        equity, cash, _, _, _ = simulate(inputs, weights, self.brackets, capacity=NO_ROWS)
        return equity, cash


def run(
    strategy: Strategy,
    market: Market,
    *,
    costs: Costs | None = None,
    account: Account | None = None,
    realism: Realism | None = None,
    limits: Limits | None = None,
    sizer: Sizer | None = None,
) -> Result:
    """Backtest a strategy on a market, every layer of reality on unless ``realism`` says less.

    Decisions at ``known_at`` t fill at the open of the next bar, plus latency. Deterministic: the
    same arguments give the same result, bit for bit. With ``limits`` risk is on: every target goes
    through the review that live trading uses, and ``Result.risk`` says what became of it; a
    ``sizer`` scales the weights first.

    Raises
    ------
    ModelError
        If the strategy answers with weights outside [-1, 1] or of another shape than the market.
    DataError
        If the market cannot be simulated.
    """
    costs = Costs() if costs is None else costs
    account = Account() if account is None else account
    if sizer is not None and limits is None:
        raise ConfigError("A sizer was given without limits.", "Give limits as well.")
    inputs = _inputs(strategy, market, costs, account, realism)
    log = None
    if limits is not None:
        name = type(strategy).__name__
        done, log = run_guarded(
            {name: strategy}, market, inputs, account=account, limits=limits,
            sizers={} if sizer is None else {name: sizer},
        )  # fmt: skip
        weights, brackets = done.weights, done.brackets
        equity, cash, positions, paid, fills = done.books()
    elif isinstance(strategy, SteppedStrategy):
        done = scan(strategy, market, inputs, keeps=True)
        weights, brackets = done.weights, done.brackets
        equity, cash, positions, paid, fills = done.books()
    else:
        wanted = check_frame(strategy.weights(market), market, "weights")
        weights, brackets = quantise(wanted), build_brackets(strategy, market)
        equity, cash, positions, paid, fills = simulate(
            inputs, weights, brackets, capacity=FIRST_CAPACITY
        )
    frame: dict[str, Any] = {"index": market.index, "columns": market.symbols}
    return Result(
        strategy=strategy,
        market=market,
        costs=costs,
        account=account,
        equity=pd.Series(equity, index=market.index, name="equity_usdt"),
        weights=pd.DataFrame(np.where(weights == KEEP, np.nan, weights * WEIGHT_QUANTUM), **frame),
        positions=pd.DataFrame(positions, **frame),
        funding=pd.DataFrame(paid, **frame),
        fills=fill_frame(fills, market, costs),
        totals={
            "wallet_usdt": cash[kernel.WALLET],
            "fees_usdt": cash[kernel.FEES],
            "slippage_usdt": cash[kernel.SLIPPAGE],
            "funding_usdt": cash[kernel.FUNDING_PAID],
            "turnover_usdt": cash[kernel.TURNOVER],
            "n_fills": cash[kernel.N_FILLS],
            "n_liquidations": cash[kernel.N_LIQUIDATIONS],
            "n_cuts": cash[kernel.N_CUTS],
        },
        notes=inputs.notes,
        brackets=brackets,
        risk=log,
        sizer=sizer,
    )


def simulate(
    inputs: Inputs, weights: NDArray[np.int16], brackets: Floats, *, capacity: int
) -> tuple[Floats, Floats, Floats, Floats, Floats]:
    """Run the kernel over all bars: equity, cash, positions, funding paid, fills.

    With a capacity of 0 only equity and cash are kept; otherwise the log of fills grows until it
    holds them all.
    """
    n_bars, n_symbols = weights.shape
    rows = n_bars if capacity else 0
    while True:
        book, cash = kernel.open_account(inputs.capital_usdt, n_symbols)
        equity = np.empty(n_bars)
        positions, paid = np.zeros((rows, n_symbols)), np.zeros((rows, n_symbols))
        fills = np.empty((capacity, kernel.N_FILL))
        kernel.simulate(
            0, n_bars, inputs.bars, weights, brackets, inputs.finer, inputs.finer_first,
            inputs.spec, inputs.tiers, inputs.rules, book, cash, equity, positions, paid, fills,
        )  # fmt: skip
        n_fills = int(cash[kernel.N_FILLS])
        if not capacity or n_fills <= capacity:
            return equity, cash, positions, paid, fills[:n_fills]
        capacity = n_fills


def daily_returns(equity: pd.Series, capital_usdt: float) -> pd.Series:
    """Return the simple return of an equity curve per UTC day, the first on the capital."""
    days, rows = day_ends(pd.DatetimeIndex(equity.index))
    ends = equity.iloc[rows].set_axis(days)
    before = ends.shift(1, fill_value=capital_usdt)
    return (ends / before - 1.0).where(before > 0, 0.0).rename("return")


def _inputs(
    strategy: Strategy, market: Market, costs: Costs, account: Account, realism: Realism | None
) -> Inputs:
    inputs = build_inputs(market, costs=costs, account=account, realism=realism)
    inputs.rules[kernel.BAND] = strategy.rebalance_band
    return inputs


def fill_frame(fills: Floats, market: Market, costs: Costs) -> pd.DataFrame:
    """Return the kernel's log of fills as a table."""
    bar = fills[:, kernel.F_BAR].astype(np.int64)
    known_at = market.index[bar]
    opened_at = known_at - market.bar_length
    reason = pd.Categorical.from_codes(
        fills[:, kernel.F_REASON].astype(np.int64), categories=pd.Index(kernel.REASONS)
    )
    is_at_open = reason.isin(["weight", "rebalance"])
    at_open = opened_at + pd.Timedelta(seconds=costs.latency_s)
    return pd.DataFrame(
        {
            "known_at": known_at,
            "filled_at": at_open.where(is_at_open, known_at).as_unit("us"),
            "symbol": pd.Categorical.from_codes(
                fills[:, kernel.F_SYMBOL].astype(np.int64), categories=pd.Index(market.symbols)
            ),
            "side": np.sign(fills[:, kernel.F_QTY]).astype(int),
            "qty": np.abs(fills[:, kernel.F_QTY]),
            "price": fills[:, kernel.F_PRICE],
            "fee_usdt": fills[:, kernel.F_FEE],
            "slippage_usdt": fills[:, kernel.F_SLIPPAGE],
            "reason": reason,
        }
    )
