"""What risk is asked and what it is told: targets, the book, and the outlook at one moment.

All arrays are float64; a row is a strategy and a column a symbol, in the order of the
``RiskSystem`` that they are handed to. Values are in USDT and fractions; nothing here is changed
after it is made.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

import numpy as np
from numpy.typing import NDArray

from workbench.risk.regime import Regime

Floats = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Targets:
    """What strategies want.

    Attributes
    ----------
    known_at : datetime
        The moment of the decision, in UTC.
    weights : ndarray of shape (n_strategies, n_symbols)
        In [-1, 1] of what a strategy is allotted; NaN keeps the position, 0 closes it.
    brackets : ndarray of shape (n_strategies, n_symbols, 3)
        Stop-loss, take-profit and trailing distance of an entry, as fractions of its price; NaN for
        none.
    """

    known_at: datetime
    weights: Floats
    brackets: Floats


@dataclass(frozen=True, slots=True)
class Book:
    """What the account holds.

    Attributes
    ----------
    qty : ndarray of shape (n_strategies, n_symbols)
        Signed quantity of each strategy, in base coin.
    stops : ndarray of shape (n_strategies, n_symbols)
        Price of the protective stop of each position; NaN where there is none.
    equity_usdt : float
        Wallet plus unrealised profit, on the mark.
    flows_usdt : float
        Deposits, transfers in and interest less withdrawals and transfers out, ever since: money
        that came or went without being earned or lost by trading.
    shares : ndarray of shape (n_strategies,)
        Fraction of the equity that each strategy is allotted.
    pnl_usdt : ndarray of shape (n_strategies,)
        Profit of each strategy after costs, ever since.
    orders_per_min, reject_rate : float
        Orders sent in the last minute, and the share that the exchange refused.
    """

    qty: Floats
    stops: Floats
    equity_usdt: float
    flows_usdt: float
    shares: Floats
    pnl_usdt: Floats
    orders_per_min: float = 0.0
    reject_rate: float = 0.0


@dataclass(frozen=True, slots=True)
class Outlook:
    """What is known of the market, and forecast.

    Attributes
    ----------
    price, mark : ndarray of shape (n_symbols,)
        Last close and mark; NaN where they have never been seen.
    age_bars : ndarray of shape (n_symbols,)
        Bars since the price was fresh; 0 for the bar that has just closed.
    covariance : ndarray of shape (n_symbols, n_symbols)
        Forecast of daily returns; NaN where there is no forecast.
    turnover_usdt : ndarray of shape (n_symbols,)
        Value traded over the last day; NaN where it is unknown.
    tail : float
        Loss of a day that is not exceeded at the limits' level, in standard deviations.
    regime : Regime
    volatility_ratio : float
        Volatility over its usual; NaN where nothing is usual yet.
    correlation : float
        Mean correlation of all pairs; NaN where there is no pair.
    scales : ndarray of shape (n_strategies,)
        What a sizer makes of each strategy's weights (1 leaves them).
    """

    price: Floats
    mark: Floats
    age_bars: Floats
    covariance: Floats
    turnover_usdt: Floats
    tail: float
    regime: Regime
    volatility_ratio: float
    correlation: float
    scales: Floats
