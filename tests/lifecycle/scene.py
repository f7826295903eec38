"""A store with a clock of its own, verdicts as a sealed run leaves them, and recorded trading."""

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path

import numpy as np
import pandas as pd

from tests.store.rows import add_snapshot, start_run
from workbench.core.clock import SimulatedClock
from workbench.core.costs import Costs
from workbench.core.vault import PublicKey, Secret, SigningKey, Vault, signing_key
from workbench.core.vault.cipher import Cost
from workbench.evidence.gates import load_gate
from workbench.evidence.judge import judge
from workbench.evidence.verdicts import record_verdict
from workbench.lifecycle import Book, Desk, Records, admit_to_paper, enter, promote
from workbench.lifecycle.moves import Enable
from workbench.store import Store

NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)
MINE, OTHER = "a" * 64, "b" * 64
NAME = "Trend"
QUICK = Cost(passes=2, memory_kib=19_456, lanes=1)
COSTS = Costs()
BUDGET = Decimal(10_000)
ENABLE = Enable("ada", "the desk agreed", NAME)

VALIDATED = {
    "leaks": 0, "probes": 24, "leak": "", "max_statistic_p": 0.01, "trials": 120, "oos_loss": 0.1,
    "oos_splits": 70, "costs_on": 1, "missing_costs": "", "sealed_quantile": 0.4, "looks": 1,
    "sealed_missing": "", "deflated_sharpe": 0.99, "deflated_sharpe_effective": 0.99, "pbo": 0.1,
    "permutation_p": 0.01, "efficiency": 0.8, "track_record_share": 2.0,
    "predicted_mean": 0.001, "predicted_ceiling": 0.1,
}  # fmt: skip
"""What passes the gate of validation, with every criterion held."""

GOOD = {
    "trades": 100, "days": 60, "execution_rate": 0.99, "fill_share": 0.98, "cost_drift": 0.1,
    "decision_mismatches": 0, "reconciliation_incidents": 0, "max_drawdown": 0.05,
    "shortfall_p": 1.0, "correlation": 0.2, "sharpe": 2.0, "sharpe_7d": 2.0, "win_rate": 0.6,
    "profit_factor": 2.0, "losses_in_a_row": 3, "validation_score": 1.0, "slippage": 0.0,
    "score": 0.9,
}  # fmt: skip
"""Measures that pass every gate of graduation."""


def untouched(run_id):
    """A check of a run that finds nothing; tests/evidence/test_redteam.py uses the real one."""
    return ()


def make_key(folder: Path, clock: SimulatedClock) -> SigningKey:
    vault = Vault.open(
        folder / "vault.json", passphrase=Secret("correct horse battery staple"), create=True,
        clock=clock, cost=QUICK,
    )  # fmt: skip
    return signing_key(vault)


@dataclass
class Scene:
    """Everything that a test of a stage needs."""

    store: Store
    clock: SimulatedClock
    key: SigningKey
    book: Book

    @property
    def public_keys(self) -> list[PublicKey]:
        return [self.key.public]

    def reopen(self, **changes) -> Book:
        """The book as a process that starts now reads it."""
        return Book(self.store, **{"key": self.key, "clock": self.clock} | changes)

    def wait(self, **duration) -> datetime:
        self.clock.sleep(timedelta(**duration).total_seconds())
        return self.clock.now()

    def validate(
        self, strategy_hash=MINE, *, strategy=NAME, is_synthetic=False, is_sealed=True, **changes
    ):
        """Put a verdict of a sealed run on record and return its id."""
        verdict = judge(
            VALIDATED | changes, load_gate(), strategy=strategy, strategy_hash=strategy_hash,
            is_synthetic=is_synthetic,
        )  # fmt: skip
        add_snapshot(self.store)
        run_id = start_run(self.store, started=self.clock.now())
        self.store.finish_run(
            run_id, status="done", ended=self.clock.now(), snapshot_id="snap",
            measures={"verdict.digest": verdict.digest},
        )  # fmt: skip
        return record_verdict(self.store, verdict, run_id=run_id if is_sealed else None)

    def judge(self, gate, strategy_hash=MINE, **changes):
        """What a gate says of measures."""
        return judge(
            GOOD | changes, load_gate(gate), strategy=NAME, strategy_hash=strategy_hash,
            is_synthetic=False,
        )  # fmt: skip

    def bring_to(self, stage, strategy_hash=MINE, **verdict):
        """Bring a strategy up to a stage."""
        self.validate(strategy_hash, **verdict)
        steps = {
            "RESEARCH": lambda: enter(
                self.book, NAME, strategy_hash, actor="t", capital_usdt=Decimal(10_000)
            ),
            "PAPER_VALIDATION": lambda: admit_to_paper(
                self.book, strategy_hash, actor="t", check_run=untouched
            ),
            "LIVE_CANDIDATE": lambda: promote(
                self.book, strategy_hash, self.judge("paper", strategy_hash), actor="t"
            ),
            "LIVE_TRADING": lambda: promote(
                self.book, strategy_hash, self.judge("candidate", strategy_hash), actor="t",
                budget_usdt=BUDGET, enable=ENABLE,
            ),
        }  # fmt: skip
        for name, step in steps.items():
            standing = step()
            if name == stage:
                return standing
        raise AssertionError(stage)

    def desk(self, records=None, **changes):
        given = {"budget_usdt": BUDGET, "costs": COSTS, "check_run": untouched}
        return Desk(records=records or {}, **{**given, **changes})


def make_records(
    end, *, n_days, mean=0.002, deviation=0.01, trades_a_day=4, seed=0, losing=0.0, **changes
) -> Records:
    """Recorded trading of ``n_days`` until a moment: one symbol, in and out, costs as assumed.

    ``losing`` is the share of trips that lose; the equity is drawn by itself.
    """
    rng = np.random.default_rng(seed)
    n = n_days * trades_a_day
    opened = end - timedelta(days=n_days) + np.arange(n) * timedelta(days=1) / trades_a_day
    fills, orders = [], []
    for k, moment in enumerate(opened):
        gain = -0.01 if (k % 100) / 100 < losing else 0.02
        for step, (side, mid) in enumerate([(1, 100.0), (-1, 100.0 * (1 + gain))]):
            at = moment + timedelta(minutes=5 + 60 * step)
            price = mid * (1 + side * 2.5e-4)
            fills.append(
                {"filled_at": at, "symbol": "BTCUSDT", "side": side, "qty": 1.0, "price": price}
                | {"fee_usdt": price * 5.5e-4, "funding_usdt": 0.0, "expected_price": mid}
                | {"order_id": f"{k}-{step}"}
            )
            orders.append(
                {"order_id": f"{k}-{step}", "sent_at": at - timedelta(minutes=1), "qty": 1.0}
                | {"status": "filled"}
            )
    moments = pd.DatetimeIndex([end - timedelta(days=n_days - d) for d in range(n_days + 1)])
    returns = rng.normal(0, deviation, n_days)
    returns += mean - returns.mean()
    equity = pd.Series(10_000 * np.cumprod([1.0, *(1 + returns)]), index=moments.as_unit("us"))
    given = {
        "fills": pd.DataFrame(fills), "orders": pd.DataFrame(orders), "equity": equity,
        "mismatches": pd.DatetimeIndex([], tz="UTC"), "incidents": pd.DatetimeIndex([], tz="UTC"),
    }  # fmt: skip
    return Records(**{**given, **changes})
