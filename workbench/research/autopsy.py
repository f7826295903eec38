"""The autopsy of a strategy made elsewhere: its own trades, repriced and judged, off the record."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Final

import pandas as pd

from workbench.core.config import load_config
from workbench.core.costs import Costs
from workbench.core.errors import DataError
from workbench.core.records import Account, Market
from workbench.data import read_trades
from workbench.data.blotter import Blotter
from workbench.evidence.gates import load_gate
from workbench.evidence.judge import judge
from workbench.evidence.verdicts import Verdict
from workbench.research.claims import measure_claims
from workbench.research.cover import Missing, cover, describe_span, find_market
from workbench.research.reprice import reprice

GATE: Final = "autopsy"


@dataclass(frozen=True)
class Autopsy:
    """What a list of trades comes to under Bybit's costs and rules. Unledgered: no evidence.

    Attributes
    ----------
    blotter : Blotter
        What was read.
    n_trials : int
        How many strategies were tried, as the user says.
    market : Market
        What it was repriced on.
    fills : DataFrame
        Those that could be, with ``row``, ``next_row`` and ``outside`` (see ``place_fills``).
    missing : list of Missing
    guesses : list of str
    waterfall : DataFrame
        Sharpe ratio, total return and drawdown after each layer.
    daily : DataFrame
        Daily returns after each layer.
    measures : mapping
        What the gate was shown.
    verdict : Verdict
        It grants nothing, whatever it says.
    """

    blotter: Blotter = field(repr=False)
    n_trials: int
    market: Market = field(repr=False)
    costs: Costs
    account: Account
    fills: pd.DataFrame = field(repr=False)
    missing: Sequence[Missing]
    guesses: Sequence[str]
    notes: Sequence[str]
    waterfall: pd.DataFrame
    daily: pd.DataFrame = field(repr=False)
    measures: Mapping[str, Any] = field(repr=False)
    verdict: Verdict

    @property
    def equity(self) -> pd.DataFrame:
        """Equity in USDT at the end of each day, after each layer."""
        return self.account.capital_usdt * (1.0 + self.daily).cumprod()

    @property
    def impossible(self) -> pd.DataFrame:
        """Fills at prices at which nothing was traded, the farthest first."""
        bad = self.fills[self.fills["outside"] > 0]
        columns = ["moment", "symbol", "qty", "price", "outside"]
        return bad.sort_values("outside", ascending=False)[columns]

    @property
    def watermark(self) -> str:
        """What every title made from this must carry."""
        return " · ".join(text for text in (self.market.watermark, "UNLEDGERED") if text)


def dissect(
    trades: str | Path | pd.DataFrame,
    *,
    n_trials: int,
    market: Market | None = None,
    symbol: str | None = None,
    strategy: str | None = None,
    interval: str | None = None,
    capital_usdt: float | None = None,
    leverage: float | None = None,
    costs: Costs | None = None,
) -> Autopsy:
    """Reprice trades that another tool made, and say what they would be worth.

    Parameters
    ----------
    trades : path or DataFrame
        A freqtrade backtest (zip or JSON), or a table of round trips or orders: CSV, Parquet or a
        frame, such as vectorbt's records or ``Result.trades``.
    n_trials : int
        How many strategies and settings were tried before these trades were shown to anybody.
    market : Market, optional
        To reprice on; by default what the lake holds of their symbols, in the finest bars.
    symbol, strategy : str, optional
        Where the file does not say what was traded, or holds several strategies.
    interval : str, optional
        Bars to take of the lake.
    capital_usdt, leverage : float, optional
        Where the file does not say: the most that was ever held at once, over the leverage.
    costs : Costs, optional
        By default the configuration's.

    Returns
    -------
    Autopsy

    Raises
    ------
    DataError
        If the file cannot be read, or the lake holds nothing of what it trades.

    Notes
    -----
    Nothing is written into the trial ledger and nothing here can pass a gate that grants: the code
    behind the trades, and the other trials, are unknown. So luck is judged by the deflated Sharpe
    ratio with the number of trials that the user states, each as long as these trades and without
    an edge: the expected best of them has a Sharpe ratio of ``expected_maximum`` over the root of
    the days. Look-ahead in the signals cannot be seen in trades; probe the code.
    """
    if n_trials < 1:
        raise DataError(f"{n_trials} trials cannot be.", "Count these trades as one at least.")
    config = load_config()
    costs = costs or config.costs
    source = trades if isinstance(trades, pd.DataFrame) else Path(trades)
    blotter = read_trades(source, symbol=symbol, strategy=strategy)
    guesses = list(blotter.guesses)
    market = market or find_market(blotter, interval=interval)
    placed, missing = cover(blotter, market, guesses)
    account = _account(blotter, placed, config.account, capital_usdt, leverage, guesses)
    waterfall, daily, totals = reprice(placed, market, costs=costs, account=account)
    measures = measure_claims(
        placed, daily, waterfall, totals, missing, n_trials, costs=costs, market=market
    )
    content = pd.util.hash_pandas_object(blotter.fills).to_numpy().tobytes()
    verdict = judge(
        measures, load_gate(GATE), strategy=blotter.name, is_synthetic=market.is_synthetic,
        strategy_hash=f"unledgered {hashlib.sha256(content).hexdigest()[:16]}",
    )  # fmt: skip
    return Autopsy(
        blotter, n_trials, market, costs, account, placed, missing, guesses,
        _notes(blotter, placed, market, totals), waterfall, daily, measures, verdict,
    )  # fmt: skip


def _account(
    blotter: Blotter,
    placed: pd.DataFrame,
    account: Account,
    capital_usdt: float | None,
    leverage: float | None,
    guesses: list[str],
) -> Account:
    leverage = leverage or blotter.leverage
    capital = capital_usdt or blotter.capital_usdt
    if capital is None:
        capital = _most_held(placed) / (leverage or 1.0)
        over = f" over a leverage of {leverage:g}" if leverage else ""
        guesses.append(f"capital {capital:,.0f} USDT, the most that was held at once{over}")
    return replace(
        account, capital_usdt=capital, leverage=1.0, is_isolated=blotter.is_isolated,
        margin_leverage=max(leverage or account.margin_leverage, 1.0),
    )  # fmt: skip


def _most_held(placed: pd.DataFrame) -> float:
    position: dict[str, float] = {}
    price: dict[str, float] = {}
    most = 0.0
    for _, together in placed.groupby("moment", sort=True):
        for symbol, qty, at in together[["symbol", "qty", "price"]].itertuples(index=False):
            position[symbol] = position.get(symbol, 0.0) + qty
            price[symbol] = at
        most = max(most, sum(abs(qty) * price[symbol] for symbol, qty in position.items()))
    return most


def _notes(
    blotter: Blotter, placed: pd.DataFrame, market: Market, totals: Mapping[str, float]
) -> list[str]:
    notes = []
    if blotter.form == "round trips" and (placed["outside"] > 0).any():
        notes.append(
            "the average price of an entry or exit in several fills can lie where nothing was "
            "traded: give the orders instead"
        )
    moments = blotter.fills.groupby("trade")["moment"].agg(["min", "max"])
    is_short = (moments["max"] - moments["min"]) < market.bar_length
    if is_short.mean() > 0.5:
        notes.append(
            f"most trades last less than a bar of {describe_span(market.bar_length)}, so that "
            "next-open fills undo them: bring finer bars, workbench data pull "
            f"{' '.join(market.symbols[:3])} --interval 5"
        )
    if totals["n_cuts"]:
        notes.append(f"{totals['n_cuts']:.0f} entries were cut to what the margin covers")
    lacking = [s for s in market.symbols if market.funding_settled[s].isna().all()]
    if lacking:
        notes.append(f"the lake has no funding rates of {', '.join(lacking)}: none is charged")
    if not set(market.symbols) <= set(market.instruments):
        notes.append("without instrument data nothing is rounded (`workbench data pull`)")
    if market.mark_is_last:
        notes.append("mark prices are missing in part: the last price stands in")
    return notes
