"""Protects the counts of concentration: closed forms, bounds, and sectors that are all named."""

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import linalg

from workbench.core.errors import ConfigError, DataError
from workbench.risk.diversity import (
    diversification_ratio,
    effective_bets,
    effective_number,
    entropy,
    find_sectors,
    gini,
    herfindahl,
    sector_exposure,
    shares,
)

NAMES = ["A", "B", "C", "D"]
EQUAL = pd.Series([0.25, -0.25, 0.25, 0.25], NAMES)
SINGLE = pd.Series([0.0, -0.7, 0.0, 0.0], NAMES)


def covariance(rho, sd=(0.02, 0.02, 0.02, 0.02)):
    matrix = np.full((4, 4), rho) + (1 - rho) * np.eye(4)
    return pd.DataFrame(matrix * np.outer(sd, sd), NAMES, NAMES)


def test_equal_and_single_positions_are_the_ends_of_each_measure():
    """RK-18."""
    assert [herfindahl(EQUAL), herfindahl(SINGLE)] == [0.25, 1.0]
    assert [effective_number(EQUAL), effective_number(SINGLE)] == [4.0, 1.0]
    assert [entropy(EQUAL), entropy(SINGLE)] == pytest.approx([np.log(4), 0.0])
    assert [gini(EQUAL), gini(SINGLE)] == pytest.approx([0.0, 0.75])


@given(st.lists(st.floats(-5, 5).filter(lambda w: abs(w) > 1e-3), min_size=1, max_size=30))
def test_measures_stay_within_their_bounds_and_agree(weights):
    w = pd.Series(weights)
    n = len(w)
    assert 1 / n - 1e-12 <= herfindahl(w) <= 1 + 1e-12
    assert 1 - 1e-9 <= np.exp(entropy(w)) <= n + 1e-9
    assert effective_number(w) <= np.exp(entropy(w)) + 1e-9
    assert -1e-12 <= gini(w) <= (n - 1) / n + 1e-12
    gaps = np.abs(shares(w)[:, None] - shares(w)[None, :]).mean() / (2 * shares(w).mean())
    assert gini(w) == pytest.approx(gaps, abs=1e-9)


def test_sectors_add_up_gross_and_net():
    """RK-18: the map is data."""
    w = pd.Series({"BTC": 0.5, "ETH": 0.2, "SOL": -0.1, "DOGE": -0.2, "OLD": 0.0})
    found = sector_exposure(w, {"BTC": "money", "ETH": "chain", "SOL": "chain", "DOGE": "meme"})
    assert found.index.tolist() == ["money", "chain", "meme"]
    assert found["gross"].tolist() == pytest.approx([0.5, 0.3, 0.2])
    assert found["net"].tolist() == pytest.approx([0.5, 0.1, -0.2])
    assert found["share"].sum() == pytest.approx(1.0)
    with pytest.raises(DataError, match="DOGE has no sector"):
        sector_exposure(w, {"BTC": "money", "ETH": "chain", "SOL": "chain"})


def test_diversification_ratio_is_the_closed_form():
    """RK-14."""
    long = EQUAL.abs()
    assert diversification_ratio(long, covariance(0.0)) == pytest.approx(2.0)
    assert diversification_ratio(long, covariance(1.0)) == pytest.approx(1.0)
    assert diversification_ratio(long, covariance(0.5)) == pytest.approx(np.sqrt(4 / 2.5))
    assert (
        diversification_ratio(pd.Series({"A": 1.0, "B": -1.0}), covariance(1.0).iloc[:2, :2])
        == np.inf
    )


@pytest.mark.parametrize("bets", ["torsion", "components"])
def test_effective_bets_count_uncorrelated_positions(bets):
    """RK-14."""
    sd = (0.01, 0.02, 0.03, 0.04)
    even = pd.Series(1 / np.array(sd), NAMES)
    diagonal = covariance(0.0, sd)
    assert effective_bets(even, diagonal, bets=bets) == pytest.approx(4.0)
    assert effective_bets(SINGLE, diagonal, bets=bets) == pytest.approx(1.0)


def test_effective_bets_of_one_market_are_few():
    long = EQUAL.abs()
    assert effective_bets(long, covariance(0.9)) == pytest.approx(1.0, abs=1e-6)
    # Alike in all ways, no bet differs from another: Meucci's torsion keeps them all.
    assert effective_bets(long, covariance(0.9), bets="torsion") == pytest.approx(4.0)
    tilted = pd.Series([1.0, 0.05, 0.05, 0.05], NAMES)
    assert 1.0 < effective_bets(tilted, covariance(0.3), bets="torsion") < 2.0


def test_torsion_is_the_one_nearest_to_the_symbols():
    """The factors that differ least from the symbols, against one found step by step."""
    rng = np.random.default_rng(1)
    sigma = np.cov((rng.standard_normal((500, 4)) @ rng.standard_normal((4, 4))).T)
    sd = np.sqrt(np.diag(sigma))
    root = linalg.sqrtm(sigma / np.outer(sd, sd))
    scale = np.eye(4)
    for _ in range(500):
        rotation = linalg.inv(linalg.sqrtm(scale @ root @ root @ scale)) @ scale @ root
        scale = np.diag(np.diag(rotation @ root))
    torsion = np.diag(sd) @ scale @ rotation @ linalg.inv(root) @ np.diag(1 / sd)
    w = np.array([0.6, 0.3, -0.2, 0.5])
    risks = (linalg.inv(torsion).T @ w) * (torsion @ sigma @ w)
    p = risks / risks.sum()
    expected = np.exp(-(p * np.log(p)).sum())
    found = effective_bets(pd.Series(w, NAMES), pd.DataFrame(sigma, NAMES, NAMES), bets="torsion")
    assert found == pytest.approx(expected, rel=1e-9)


@given(seed=st.integers(0, 200))
def test_effective_bets_lie_between_one_and_all(seed):
    rng = np.random.default_rng(seed)
    x = rng.standard_normal((60, 4)) @ rng.standard_normal((4, 4))
    sigma = pd.DataFrame(np.cov(x.T) + 1e-3 * np.eye(4), NAMES, NAMES)
    w = pd.Series(rng.standard_normal(4), NAMES)
    for bets in ("torsion", "components"):
        assert 1 - 1e-9 <= effective_bets(w, sigma, bets=bets) <= 4 + 1e-9


@pytest.mark.parametrize(
    ("weights", "sigma", "said"),
    [
        (pd.Series({"X": 1.0}), covariance(0.5), "lacks X"),
        (0 * EQUAL, covariance(0.5), "nothing is held"),
        (EQUAL, covariance(1.0), "no inverse"),
        (EQUAL, covariance(0.5) * np.nan, "lacks values"),
        (EQUAL, covariance(0.0, (0.0, 0.1, 0.1, 0.1)), "no inverse"),
    ],
)
def test_bets_that_cannot_be_counted_are_refused(weights, sigma, said):
    with pytest.raises(DataError, match=said):
        effective_bets(weights, sigma, bets="torsion")


def test_positions_without_risk_are_no_bets():
    with pytest.raises(DataError, match="no risk"):
        effective_bets(EQUAL, covariance(0.0, (0.0,) * 4))


@pytest.mark.parametrize("weights", [[0.0, 0.0], [np.nan, 1.0], []])
def test_exposure_that_is_none_is_refused(weights):
    with pytest.raises(DataError, match="no exposure"):
        shares(pd.Series(weights, dtype=float))


def test_find_sectors_of_symbols_names_what_is_alike_and_leaves_the_rest_alone():
    """RK-18: the map is data."""
    symbols = ["BTCUSDT", "LTCUSDT", "1000BONKUSDT", "1INCHUSDT", "ETHPERP", "NOBODYUSDT"]
    found = find_sectors(symbols)
    assert found["BTCUSDT"] == found["LTCUSDT"] == "money"
    assert found["1000BONKUSDT"] == "memes"
    assert found["1INCHUSDT"] == "lending_and_trading"
    assert found["ETHPERP"] == "platforms"
    assert found["NOBODYUSDT"] == "NOBODY"


def test_find_sectors_of_a_list_that_contradicts_itself_says_where(tmp_path):
    (tmp_path / "mine.toml").write_text('a = ["BTC"]\nb = ["BTC"]')
    with pytest.raises(ConfigError, match="BTC more than once"):
        find_sectors(["BTCUSDT"], path=tmp_path / "mine.toml")
    (tmp_path / "mine.toml").write_text("a = 3")
    with pytest.raises(ConfigError, match="does not hold sectors"):
        find_sectors(["BTCUSDT"], path=tmp_path / "mine.toml")
    (tmp_path / "mine.toml").write_text('a = ["BTC"]')
    assert find_sectors(["BTCUSDT"], path=tmp_path / "mine.toml") == {"BTCUSDT": "a"}
