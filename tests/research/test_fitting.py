"""Protects the split between what a strategy learns from and what it is judged on."""

from dataclasses import replace

import pytest

from workbench import research
from workbench.core.errors import DataError
from workbench.data import synthesise
from workbench.strategies import CointegratedPair, MovingAverageCross


@pytest.fixture(scope="module")
def market():
    return synthesise(["BTCUSDT", "ETHUSDT"], n_bars=900, seed=5)


def test_rules_have_nothing_to_learn_and_keep_the_whole_market(market):
    rule = MovingAverageCross()
    fitted, same = research.fit({"rule": rule}, market, until="2023-01-10")
    assert fitted == {"rule": rule}
    assert same is market


def test_pair_learns_before_the_moment_and_is_judged_after(market):
    moment = market.index[299]
    later = market.close.copy()
    later.loc[later.index > moment] *= 3.0

    one, late = research.fit({"pair": CointegratedPair()}, market, until=moment)
    other, _ = research.fit({"pair": CointegratedPair()}, replace(market, close=later))

    assert one["pair"].hedge_ratio is not None
    assert one == research.fit({"pair": CointegratedPair()}, replace(market, close=later),
                               until=moment)[0]  # fmt: skip
    assert late.index[0] == market.index[300]
    assert late.n_bars == 600
    # The default, a third, reaches one bar further: into what was changed.
    assert other["pair"].hedge_ratio != one["pair"].hedge_ratio


def test_moment_that_leaves_nothing_on_one_side_is_refused(market):
    for until in ("2022-01-01", "2030-01-01"):
        with pytest.raises(DataError, match="Choose a moment between"):
            research.fit({"pair": CointegratedPair()}, market, until=until)
