"""Protects the books: after every scenario of faults they are those of the exchange (TE-04)."""

import pytest

from tests.exchange import chaos
from workbench.exchange.server.faults import list_scenarios

SEEDS = range(3)


@pytest.mark.parametrize("name", list_scenarios())
def test_client_survives_a_scenario_with_books_equal_to_the_exchange(name):
    """Even seeds trade by REST, odd ones by the trade socket."""
    rows = [chaos.run(name, seed) for seed in SEEDS]
    assert not [row for row in rows if not chaos.is_clean(row)]
    assert all(row["n_orders"] and row["n_fills"] for row in rows)
    assert any(row["is_struck"] for row in rows)
    row = chaos.summarise(name, rows)
    assert row["recovery_p50_s"] <= row["recovery_p99_s"] < 120.0


def test_a_seed_gives_the_same_run_again():
    assert chaos.run("gap", 4) == chaos.run("gap", 4)


def test_a_fill_that_is_kept_from_the_client_counts_as_lost(monkeypatch):
    """Whoever compares must be able to find something."""
    booked, hidden = chaos.OrderManager.on_execution, []

    def forget(manager, execution):
        if not hidden or execution.exec_id in hidden:
            hidden.append(execution.exec_id)
        else:
            booked(manager, execution)

    monkeypatch.setattr(chaos.OrderManager, "on_execution", forget)
    monkeypatch.setattr(chaos, "PATIENCE_S", 20.0)
    row = chaos.run("duplicates", 0)
    assert row["lost_fills"] == 1
    assert row["recovery_s"] is None
    assert not chaos.is_clean(row)
