"""Protects the graduation score: the listed formula, its bounds, its contradictions (GR-06)."""

from math import isclose

import pytest
from hypothesis import given
from hypothesis import strategies as st

from workbench.core.errors import DataError
from workbench.lifecycle import graduation_score

RATES = st.floats(0, 1)
ANY = {
    "sharpe": st.floats(-10, 10),
    "max_drawdown": RATES,
    "win_rate": RATES,
    "profit_factor": st.floats(0, 50),
    "validation_score": RATES,
    "execution_rate": RATES,
    "slippage": st.floats(-0.05, 0.05),
}
FALLING = {"max_drawdown", "slippage"}
PERFECT = {
    "sharpe": 2, "max_drawdown": 0, "win_rate": 1, "profit_factor": 2, "validation_score": 1,
    "execution_rate": 1, "slippage": 0,
}  # fmt: skip


@given(parts=st.fixed_dictionaries(ANY))
def test_score_is_in_bounds_whatever_the_parts(parts):
    assert 0 <= graduation_score(**parts) <= 1


@given(
    sharpe=st.floats(0, 4),
    drawdown=RATES,
    wins=RATES,
    factor=st.floats(0, 4),
    validation=RATES,
    executed=RATES,
    slippage=st.floats(0, 0.02),
)
def test_score_is_the_listed_formula(
    sharpe, drawdown, wins, factor, validation, executed, slippage
):
    listed = (
        0.25 * min(sharpe / 2, 1)
        + 0.25 * max(1 - 5 * drawdown, 0)
        + 0.20 * (wins + min(factor / 2, 1)) / 2
        + 0.15 * validation
        + 0.15 * (executed + (1 - min(100 * slippage, 1))) / 2
    )
    assert isclose(
        graduation_score(
            sharpe=sharpe, max_drawdown=drawdown, win_rate=wins, profit_factor=factor,
            validation_score=validation, execution_rate=executed, slippage=slippage,
        ),
        listed, abs_tol=1e-12,
    )  # fmt: skip


@pytest.mark.parametrize("name", ANY)
@given(data=st.data())
def test_score_is_monotone_in_each_part(name, data):
    parts = data.draw(st.fixed_dictionaries(ANY))
    more = data.draw(ANY[name].filter(lambda value: value >= parts[name]))
    before, after = graduation_score(**parts), graduation_score(**{**parts, name: more})

    assert after <= before + 1e-12 if name in FALLING else after >= before - 1e-12


def test_score_listed_minima_contradict_the_listed_score():
    """CHECKLIST default numbers 1, its note."""
    best_at_paper = graduation_score(**{**PERFECT, "sharpe": 1.0, "max_drawdown": 0.15})
    at_every_minimum = graduation_score(
        sharpe=1.0, max_drawdown=0.15, win_rate=0.45, profit_factor=1.2, validation_score=0.8,
        execution_rate=1.0, slippage=0.0,
    )  # fmt: skip
    best_at_candidate = graduation_score(**{**PERFECT, "sharpe": 1.2, "max_drawdown": 0.12})

    assert best_at_paper == pytest.approx(0.6875)
    assert at_every_minimum == pytest.approx(0.5625)
    assert best_at_candidate == pytest.approx(0.75)
    assert graduation_score(**PERFECT) == 1


@pytest.mark.parametrize("name", ANY)
def test_score_without_a_part_is_refused(name):
    with pytest.raises(DataError, match="is missing"):
        graduation_score(**{**PERFECT, name: float("nan")})
