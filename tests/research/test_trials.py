"""Protects the trial ledger from research: every evaluation is recorded, and each counts once."""

import numpy as np
import pytest

import workbench as wb
from tests.markets import random_market
from workbench.core.errors import DataError
from workbench.store import Store
from workbench.strategies import BuyAndHold, MovingAverageCross

GRID = {"fast": [5, 10], "slow": [20, 40]}


@pytest.fixture
def market(home):
    return wb.load(["BTCUSDT"], source="synthetic", end="2024-03-01", start="2024-01-01", seed=3)


def trials():
    with Store.open() as store:
        return store.trials()


def test_load_synthetic_registers_its_snapshot_and_is_marked(market):
    with Store.open() as store:
        kept = store.snapshot(market.snapshot_id)
    assert kept.is_synthetic
    assert market.watermark == "SYNTHETIC"


def test_backtest_twice_counts_once(market):
    for _ in range(2):
        wb.research.backtest(BuyAndHold(), market)
    assert len(trials()) == 1


def test_backtest_with_other_costs_or_window_counts_again(market):
    wb.research.backtest(BuyAndHold(), market)
    wb.research.backtest(BuyAndHold(), market, costs=wb.core.costs.Costs(taker_fee_bps=1))
    wb.research.backtest(BuyAndHold(), market.between("2024-02-01", None))
    assert len(trials()) == 3


def test_sweep_records_every_configuration_with_its_daily_returns(market):
    swept = wb.sweep(MovingAverageCross(), market, GRID)
    rows = trials()
    assert rows["kind"].tolist() == ["sweep"] * 4
    with Store.open() as store:
        kept = store.trial_returns(rows["trial_id"].tolist())
    assert np.array_equal(kept, swept.returns)
    wb.research.backtest(swept.strategies[0], market)
    assert len(trials()) == 4


def test_compare_puts_buy_and_hold_beside(market):
    results = wb.compare([MovingAverageCross()], market)
    assert list(results) == ["MovingAverageCross", "buy and hold"]


def test_run_id_of_the_job_is_kept_with_the_trial(market, monkeypatch):
    from datetime import UTC, datetime

    with Store.open() as store:
        run_id = store.start_run(
            notebook="x.ipynb", notebook_hash="0" * 64, params={}, seed=1, git_commit=None,
            git_dirty=False, lock_hash=None, path="x", started=datetime(2024, 1, 1, tzinfo=UTC),
        )  # fmt: skip
    monkeypatch.setenv("WORKBENCH_RUN_ID", run_id)
    wb.research.backtest(BuyAndHold(), market)
    assert trials()["run_id"].tolist() == [run_id]


def test_market_made_by_hand_is_recorded_too(home):
    wb.research.backtest(BuyAndHold(), random_market(1))
    assert len(trials()) == 1


def test_unseal_without_a_reason_is_refused(home):
    with pytest.raises(DataError, match="reason"):
        wb.research.unseal("2026-01-01", reason=" ")
