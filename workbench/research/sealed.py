"""The look at sealed data: once for a strategy, on record, and the dearer the more there were."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any, Final

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from workbench.backtest.run import run as run_backtest
from workbench.core.bootstrap import bootstrap_indices
from workbench.core.costs import Costs
from workbench.core.records import Account, Market
from workbench.research.market import identify, load_sealed, sealed_date
from workbench.store import Store
from workbench.strategies import Strategy
from workbench.strategies.identity import strategy_hash
from workbench.validation.resample import optimal_block

LOOK: Final = "look"
MIN_DAYS: Final = 30
RESAMPLES: Final = 4_000


@dataclass(frozen=True, slots=True)
class Sealed:
    """What a strategy earned on data that nobody had looked at, against what was predicted.

    Attributes
    ----------
    quantile : float
        Where the mean daily return lies in its predicted distribution.
    looks : int
        Strategies that have been looked at on this data, this one included, and moves of the seal.
    returns : Series
        Daily returns after the sealed date.
    band : ndarray of shape (n_resamples,)
        Predicted means over as many days.
    snapshot_id : str
        The data behind it.
    """

    quantile: float
    looks: int
    returns: pd.Series
    band: NDArray[np.float64]
    snapshot_id: str

    @property
    def priced(self) -> float:
        """The quantile to the power of the looks: that of the best of so many, one right each."""
        return self.quantile**self.looks


def look_at_sealed(
    strategy: Strategy,
    market: Market,
    predicted: NDArray[np.float64],
    *,
    costs: Costs,
    account: Account,
    seed: int,
) -> Sealed | str:
    """Run a strategy on what follows the sealed date, record the look, and compare.

    Parameters
    ----------
    strategy : Strategy
    market : Market
        As ``research.load`` gave it.
    predicted : ndarray of shape (n_days,)
        Daily returns out of sample, from which the prediction is made.
    costs, account, seed : Costs, Account, int

    Returns
    -------
    Sealed or str
        A reason in words where there is nothing to look at.

    Notes
    -----
    The predicted mean over m days is that of m days of a stationary bootstrap of ``predicted``,
    moved by the error of its own mean (a second resample of all of it): both the luck of the m days
    and that of the prediction are in the band.
    """
    after, until = load_sealed(market, bars=max(strategy.lookback, 1)), sealed_date(market)
    if after is None or until is None:
        return "nothing follows the sealed date of this market"
    result = run_backtest(strategy, after, costs=costs, account=account)
    returns = result.daily_returns[result.daily_returns.index >= pd.Timestamp(until).ceil("D")]
    if len(returns) < MIN_DAYS:
        return f"{len(returns)} days are sealed, and {MIN_DAYS} are needed"
    band = predict_means(predicted, n_days=len(returns), seed=seed)
    seen = float(returns.mean())
    quantile = (float((band <= seen).sum()) + 1.0) / (len(band) + 1.0)
    place = f"synthetic {identify(market)}" if market.is_synthetic else "real"
    detail = {
        "place": place,
        "strategy_hash": strategy_hash(strategy),
        "until": until.isoformat(),
        "last": after.index[-1].isoformat(),
        "snapshot_id": identify(after),
        "quantile": quantile,
        "costs": asdict(costs),
    }
    return Sealed(quantile, _record(detail), returns, band, identify(after))


def predict_means(
    returns: NDArray[np.float64], *, n_days: int, seed: int, reps: int = RESAMPLES
) -> NDArray[np.float64]:
    """Return means over ``n_days`` days as past returns predict them, of shape (reps,)."""
    n = len(returns)
    block = float(np.clip(optimal_block(returns).stationary, 1.0, n / 2))
    options: dict[str, Any] = {"block": block, "scheme": "stationary", "reps": reps}
    ahead = bootstrap_indices(n, seed=seed, **options)
    # A resample is stationary: its first days are as good as any, and it can be repeated.
    rows = np.resize(np.arange(n), n_days)
    error = returns[bootstrap_indices(n, seed=seed + 1, **options)].mean(axis=1) - returns.mean()
    return np.asarray(returns[ahead[:, rows]].mean(axis=1) + error)


def _record(detail: dict[str, Any]) -> int:
    with Store.open() as store:
        before = [
            row for row in store.events(kind=LOOK)["detail"] if row["place"] == detail["place"]
        ]
        hashes = {row["strategy_hash"] for row in before}
        if detail["strategy_hash"] not in hashes:
            store.add_event(LOOK, actor="research", detail=detail)
        moves = len(store.events(kind="seal")) - 1 if detail["place"] == "real" else 0
    return len(hashes | {detail["strategy_hash"]}) + max(moves, 0)
