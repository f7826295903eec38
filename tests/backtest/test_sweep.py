"""Protects sweeps: each row equals the run of its configuration, whatever runs beside it."""

from typing import ClassVar

import numpy as np
import pytest
from pydantic import model_validator

from tests.backtest.test_run import HARD, Stepper
from tests.markets import random_market
from workbench.backtest import run, sweep
from workbench.core import measures
from workbench.core.errors import ModelError
from workbench.strategies.base import Brackets, Strategy


class Cross(Strategy):
    """A crossover of two averages with a stop."""

    needs: ClassVar[tuple[str, ...]] = ("close",)
    fast: int = 3
    slow: int = 10

    @model_validator(mode="after")
    def _ordered(self):
        if self.fast >= self.slow:
            raise ValueError("fast must be below slow")
        return self

    @property
    def lookback(self):
        return self.slow

    def weights(self, market):
        fast, slow = (market.close.rolling(n).mean() for n in (self.fast, self.slow))
        return np.sign(fast - slow).fillna(0.0) * 0.4

    def brackets(self, market):
        return Brackets(stop_loss=0.03, trailing=0.05)


GRID = {"fast": [2, 3, 5, 12], "slow": [8, 10, 20]}


@pytest.mark.parametrize("workers", [1, 4])
def test_sweep_each_row_equals_its_run(workers):
    market = random_market(7)
    swept = sweep(Cross(), market, GRID, costs=HARD, workers=workers)
    assert len(swept.table) == 10
    assert swept.refused == [{"fast": 12, "slow": 8}, {"fast": 12, "slow": 10}]
    for row, strategy, daily in zip(
        swept.table.itertuples(), swept.strategies, swept.returns, strict=True
    ):
        assert (strategy.fast, strategy.slow) == (row.fast, row.slow)
        alone = run(strategy, market, costs=HARD)
        returns = alone.returns.to_numpy()
        assert row.sharpe == pytest.approx(measures.sharpe(returns, periods=8760), rel=1e-9)
        assert row.sortino == pytest.approx(measures.sortino(returns, periods=8760), rel=1e-9)
        assert row.total_return == pytest.approx(measures.total_return(returns), abs=1e-12)
        assert row.max_drawdown == pytest.approx(measures.max_drawdown(returns), abs=1e-12)
        assert row.volatility == pytest.approx(
            measures.annual_volatility(returns, periods=8760), rel=1e-9
        )
        assert row.n_fills == len(alone.fills)
        assert row.fees_usdt == pytest.approx(alone.totals["fees_usdt"])
        assert np.array_equal(daily, alone.daily_returns.to_numpy(dtype=np.float32))


def test_sweep_of_a_stepped_strategy_equals_its_run():
    market = random_market(8)
    swept = sweep(Stepper(), market, {"weight": [0.1, 0.3]}, costs=HARD)
    for row, strategy in zip(swept.table.itertuples(), swept.strategies, strict=True):
        assert row.n_fills == len(run(strategy, market, costs=HARD).fills)


def test_sweep_ranked_puts_the_best_first():
    swept = sweep(Cross(), random_market(9), GRID)
    assert swept.ranked("total_return")["total_return"].is_monotonic_decreasing


def test_sweep_reports_progress_to_the_end():
    seen = []
    sweep(Cross(), random_market(9), GRID, progress=lambda done, total: seen.append((done, total)))
    assert seen[-1] == (10, 10)
    assert [done for done, _ in seen] == list(range(1, 11))


def test_sweep_of_an_unknown_parameter_names_the_known():
    with pytest.raises(ModelError, match=r"no parameter speed.*fast, slow"):
        sweep(Cross(), random_market(9), {"speed": [1]})


def test_sweep_without_a_valid_combination_says_so():
    with pytest.raises(ModelError, match="None of the 1 combinations"):
        sweep(Cross(), random_market(9), {"fast": [9], "slow": [5]})


def test_days_end_at_midnight_and_leave_none_out():
    """A bar that closes at 00:00 belongs to the day that ends there; a day without bars is 0."""
    whole = random_market(1, n_bars=96)
    gap = whole.index.day == 2
    frames = {name: getattr(whole, name)[~gap] for name in ("open", "high", "low", "close")}
    swept = sweep(Cross(), type(whole).from_frames(frames, interval="60"), {"fast": [2]})
    assert [str(day.date()) for day in swept.days] == [f"2024-01-0{k}" for k in (1, 2, 3, 4)]
    assert swept.returns.shape == (1, 4)
    total = np.prod(1 + swept.returns[0].astype(float)) - 1
    assert total == pytest.approx(swept.table["total_return"][0], abs=1e-6)
