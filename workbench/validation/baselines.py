"""What a strategy must beat: its positions at random times, holding, a sign, a straight line."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Final

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from workbench.backtest.inputs import build_inputs
from workbench.backtest.sweep import evaluate
from workbench.core.costs import Costs
from workbench.core.errors import DataError
from workbench.core.measures import sharpe
from workbench.core.records import Account, Market
from workbench.core.trips import DUST
from workbench.strategies.base import Strategy
from workbench.strategies.hold import BuyAndHold
from workbench.strategies.windows import is_due
from workbench.validation.frozen import DAY, GivenWeights, Outcome, replay, side_by_side
from workbench.validation.permute import PermutationTest, signal_test

Floats = NDArray[np.float64]

PAST_DAYS: Final = (1, 7, 28)
TRAIN_DAYS: Final = 90
REFIT_DAYS: Final = 28
BLOCKS: Final = 20
AT_OPEN: Final = ("weight", "rebalance", "limit")
SHOWN: Final = ("sharpe", "total_return", "max_drawdown", "exposure", "n_fills", "n_liquidations")


@dataclass(frozen=True, slots=True)
class Baselines:
    """A strategy beside what needs no idea.

    Attributes
    ----------
    table : DataFrame
        Rows ``strategy``, ``buy and hold``, ``momentum sign``, ``linear model``, and ``random
        entry`` (the median of the draws; only its Sharpe ratio is known). Columns ``sharpe``,
        ``total_return``, ``max_drawdown``, ``exposure``, ``n_fills``, ``n_liquidations`` and
        ``is_beaten``: by Sharpe ratio, random entry at five per cent.
    start : Timestamp
        Where all of them begin, with fresh accounts.
    random : PermutationTest
        The Sharpe ratio of the strategy's positions at their own and at random times.
    watermark : str
    """

    table: pd.DataFrame
    start: pd.Timestamp
    random: PermutationTest = field(repr=False)
    watermark: str


def compare_baselines(
    strategy: Strategy,
    market: Market,
    *,
    draws: int = 200,
    seed: int = 0,
    costs: Costs | None = None,
    account: Account | None = None,
    workers: int | None = None,
) -> Baselines:
    """Compare a strategy with random entry, buy-and-hold, the sign of momentum and a linear model.

    Parameters
    ----------
    strategy : Strategy
    market : Market
        With more than the strategy's lookback and 119 days before what is compared.
    draws, seed : int
        Of random entry.
    costs, account : Costs, Account, optional
        The same for all.
    workers : int, optional
        Threads.

    Returns
    -------
    Baselines

    Raises
    ------
    DataError
        If the market is too short, or the strategy never holds anything.

    Notes
    -----
    Random entry trades the weights that the strategy held in another order of twenty blocks cut at
    a random row: same exposure, about the same number of trades, other times. It is compared with
    the same weights at their own times: what left inside a bar (by a bracket, or liquidated) leaves
    at the next open in both, so neither knows of it before.
    """
    warm = round((PAST_DAYS[-1] + TRAIN_DAYS + 1) * DAY / market.bar_length)
    row = max(strategy.lookback - 1, warm)
    if row + BLOCKS >= market.n_bars or draws < 1:
        raise DataError(
            f"A market of {market.n_bars} bars leaves nothing to compare after {row}.",
            "Give a longer market, and at least one draw.",
        )
    start = market.index[row]
    rivals: dict[str, Strategy] = {
        "strategy": strategy,
        "buy and hold": BuyAndHold(),
        "momentum sign": GivenWeights(frame=momentum_sign(market)),
        "linear model": GivenWeights(frame=linear_model(market)),
    }

    def one(rival: Strategy) -> Outcome:
        return replay(rival, market, start=start, costs=costs, account=account)

    done = dict(zip(rivals, side_by_side(one, rivals.values(), workers=workers), strict=True))
    table = pd.DataFrame({name: outcome.measures for name, outcome in done.items()}).T
    table = table[list(SHOWN)]
    random = _random_entry(done["strategy"], draws=draws, seed=seed, workers=workers)
    table.loc["random entry", "sharpe"] = float(np.median(random.null))
    table["is_beaten"] = table["sharpe"] < table.loc["strategy", "sharpe"]
    table.loc["random entry", "is_beaten"] = random.p_value <= 0.05
    return Baselines(table.rename_axis("rival"), start, random, market.watermark)


def momentum_sign(market: Market, *, days: int = PAST_DAYS[-1]) -> pd.DataFrame:
    """Return the sign of each symbol's return over past days, decided daily, one n-th each.

    Returns
    -------
    DataFrame of shape (n_bars, n_symbols)
        NaN (keep) between decisions and where a price is missing.
    """
    a_day = _bars_a_day(market)
    close = market.close.to_numpy()
    past = np.full_like(close, np.nan)
    past[days * a_day :] = close[days * a_day :] / close[: -days * a_day] - 1.0
    return _decided(market, np.sign(past))


def linear_model(market: Market) -> pd.DataFrame:
    """Return the sign of the next day's return by least squares on past returns, one n-th each.

    Returns
    -------
    DataFrame of shape (n_bars, n_symbols)
        NaN (keep) between decisions and where something is missing.

    Notes
    -----
    Log returns of the next day on those of the past 1, 7 and 28 days and a constant, pooled over
    all symbols and all days known so far, fitted anew every 28 days from the ninetieth on. A row
    learns only from days whose outcome it knows.
    """
    a_day = _bars_a_day(market)
    logs = np.log(market.close.to_numpy())
    longest = PAST_DAYS[-1] * a_day
    rows = np.flatnonzero(is_due(market, a_day))
    rows = rows[rows >= longest]
    past = np.stack([logs[rows] - logs[rows - days * a_day] for days in PAST_DAYS], axis=-1)
    x = np.concatenate([np.ones((*past.shape[:2], 1)), past], axis=-1)
    later = np.minimum(rows + a_day, market.n_bars - 1)
    y = np.where((rows + a_day < market.n_bars)[:, None], logs[later] - logs[rows], np.nan)
    signs = np.full(logs.shape, np.nan)
    for k in range(TRAIN_DAYS, len(rows), REFIT_DAYS):
        known = rows + a_day <= rows[k]
        xs, ys = x[known].reshape(-1, x.shape[-1]), y[known].ravel()
        whole = np.isfinite(ys) & np.isfinite(xs).all(axis=1)
        if whole.sum() < TRAIN_DAYS:
            continue
        slopes = np.linalg.lstsq(xs[whole], ys[whole], rcond=None)[0]
        part = slice(k, k + REFIT_DAYS)
        signs[rows[part]] = np.sign(x[part] @ slopes)
    return _decided(market, signs)


def held_weights(outcome: Outcome) -> pd.DataFrame:
    """Return the weights that an account held, at the rows whose decisions made them so.

    Returns
    -------
    DataFrame of shape (n_bars, n_symbols)
        From the first decision on. What left inside a bar, by a bracket or a liquidation, counts
        as decided at the bar's close: before, nobody knew.
    """
    result = outcome.result
    positions = result.positions.to_numpy()
    fills = result.fills[result.fills["reason"].isin(AT_OPEN)]
    bought = np.zeros_like(positions)
    rows = result.market.index.get_indexer(pd.Index(fills["known_at"]))
    np.add.at(bought, (rows, fills["symbol"].cat.codes), fills["qty"] * fills["side"])
    # What was held after the open, also where it did not live to see the close.
    target = positions[:-1] + bought[1:]
    close = result.market.close.ffill().to_numpy()[:-1]
    scale = result.account.leverage * result.equity.to_numpy()[:-1, None]
    wanted = np.divide(target * close, scale, out=np.zeros_like(target), where=scale > 0)
    wanted[np.abs(target) <= DUST * np.abs(bought[1:])] = 0.0
    wanted[(bought[1:] == 0) & (positions[:-1] != 0)] = np.nan
    frame = pd.DataFrame(wanted, result.market.index[:-1], result.market.close.columns)
    return frame.ffill().fillna(0.0).clip(-1.0, 1.0).loc[outcome.equity.index[0] :]


def _random_entry(
    outcome: Outcome, *, draws: int, seed: int, workers: int | None
) -> PermutationTest:
    result, weights = outcome.result, held_weights(outcome)
    if not weights.to_numpy().any():
        raise DataError(
            f"{type(result.strategy).__name__} held nothing.", "Compare one that trades."
        )
    inputs = build_inputs(result.market, costs=result.costs, account=result.account)
    first = len(result.equity) - len(outcome.equity)

    def measure(frame: pd.DataFrame) -> float:
        given = GivenWeights(frame=frame, rebalance_band=result.strategy.rebalance_band)
        equity, _ = evaluate(given, result.market, inputs)
        before = np.concatenate([[result.account.capital_usdt], equity[:-1]])
        returns = np.divide(equity, before, out=np.ones_like(equity), where=before > 0) - 1.0
        return float(sharpe(returns[first:], result.market.bars_per_year))

    block = max(1, len(weights) // BLOCKS)
    return signal_test(measure, weights, block=block, n=draws, seed=seed, workers=workers)


def _decided(market: Market, values: Floats) -> pd.DataFrame:
    values = np.where(is_due(market, _bars_a_day(market))[:, None], values, np.nan)
    return pd.DataFrame(values / values.shape[1], market.index, market.close.columns)


def _bars_a_day(market: Market) -> int:
    return max(1, round(DAY / market.bar_length))
