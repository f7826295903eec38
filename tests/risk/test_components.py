"""Protects what positions add to risk: components add up, marginals are slopes."""

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.risk.simulated import frame, garch_returns
from workbench.core.errors import DataError
from workbench.risk.components import METHODS, contributions
from workbench.risk.tails import Tail

RETURNS = frame(garch_returns(1, 500, n_symbols=4) + 0.01 * garch_returns(2, 500, sd=1.0))
WEIGHTS = pd.Series([0.5, -0.3, 0.4, 0.2], RETURNS.columns)


@given(
    weights=st.lists(st.floats(-2, 2).map(lambda w: round(w, 3)), min_size=4, max_size=4).filter(
        lambda w: max(map(abs, w)) > 0.01
    ),
    method=st.sampled_from(sorted(METHODS)),
    level=st.sampled_from([0.9, 0.95, 0.99]),
)
def test_components_add_up_to_the_total(weights, method, level):
    """RK-11: for any weights, by every method."""
    held = pd.Series(weights, RETURNS.columns)
    found = contributions(RETURNS, held, level=level, method=method)
    expected = METHODS[method](RETURNS.to_numpy() @ held.to_numpy(), level=level)
    assert found.total == pytest.approx(expected, rel=1e-9)
    table = found.table
    assert table["component_var"].sum() == pytest.approx(found.total.value_at_risk, abs=1e-9)
    assert table["component_es"].sum() == pytest.approx(found.total.expected_shortfall, abs=1e-9)
    assert table[["share_var", "share_es"]].sum().to_numpy() == pytest.approx([1.0, 1.0], abs=1e-6)


@pytest.mark.parametrize("symbol", RETURNS.columns)
@pytest.mark.parametrize("method", ["normal", "historical"])
def test_marginal_is_the_slope_by_the_weight(symbol, method):
    """RK-11: the scenarios of the tail do not change over so small a step."""
    found = contributions(RETURNS, WEIGHTS, level=0.95, method=method).table.loc[symbol]
    step = 1e-7

    def total(change):
        moved = WEIGHTS.copy()
        moved[symbol] += change
        return contributions(RETURNS, moved, level=0.95, method=method).total

    up, down = total(step), total(-step)
    for i, name in enumerate(("marginal_var", "marginal_es")):
        assert found[name] == pytest.approx((up[i] - down[i]) / (2 * step), rel=1e-3, abs=1e-6)


def test_incremental_is_the_total_less_that_without_the_position():
    found = contributions(RETURNS, WEIGHTS, level=0.95)
    without = contributions(RETURNS, WEIGHTS.drop("BUSDT"), level=0.95).total
    assert found.table.loc["BUSDT", "incremental_var"] == pytest.approx(
        found.total.value_at_risk - without.value_at_risk
    )
    single = contributions(RETURNS, WEIGHTS[["AUSDT"]])
    row = single.table.loc["AUSDT"]
    assert Tail(row["incremental_var"], row["incremental_es"]) == pytest.approx(single.total)


def test_a_hedge_takes_risk_away():
    pair = RETURNS[["AUSDT"]].assign(H=RETURNS["AUSDT"] + 0.001)
    table = contributions(pair, pd.Series({"AUSDT": 1.0, "H": -0.5}), method="normal").table
    assert table.loc["H", "component_var"] < 0
    assert table.loc["H", "incremental_var"] < 0


def test_symbols_that_are_not_held_neither_count_nor_cost_bars():
    wide = RETURNS.assign(NEW=np.nan)
    held = WEIGHTS.reindex(wide.columns, fill_value=0.0)
    pd.testing.assert_frame_equal(
        contributions(wide, held).table, contributions(RETURNS, WEIGHTS).table
    )


@pytest.mark.parametrize(
    ("returns", "weights", "said"),
    [
        (RETURNS, pd.Series({"XUSDT": 1.0}), "no returns of XUSDT"),
        (RETURNS, 0 * WEIGHTS, "Nothing is held"),
        (RETURNS, pd.Series({"AUSDT": np.nan}), "Nothing is held"),
        (RETURNS.iloc[:1], WEIGHTS, "1 bars are common"),
        (RETURNS.assign(CUSDT=0.0), WEIGHTS, "CUSDT did not move"),
        (
            RETURNS.assign(
                AUSDT=RETURNS["AUSDT"].where(np.arange(500) < 250),
                BUSDT=RETURNS["BUSDT"].where(np.arange(500) >= 250),
            ),
            WEIGHTS,
            "AUSDT and BUSDT share 0",
        ),
    ],
)
def test_portfolio_that_cannot_be_measured_is_refused(returns, weights, said):
    with pytest.raises(DataError, match=said):
        contributions(returns, weights)
