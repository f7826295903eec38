"""Protects the regime: causal, slow to relax, and in a crisis when the market was."""

from datetime import timedelta

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.risk.simulated import frame
from tests.validation.history import read_market
from workbench.core.errors import ConfigError, DataError
from workbench.risk.regime import Regime, RegimeRules, State, detect_regimes, step_regime

HOUR = timedelta(hours=1)
QUICK = RegimeRules(usual_days=20)


def walk(scores, dwell_bars=2, state=State(), rules=RegimeRules()):  # noqa: B008 - both are frozen
    seen = []
    for score in scores:
        state = step_regime(state, score, rules=rules, dwell_bars=dwell_bars)
        seen.append(state.regime.name)
    return seen


def noise(seed, n, *, sd=0.01, rho=0.5, n_symbols=3):
    rng = np.random.default_rng(seed)
    common, own = rng.standard_normal((n, 1)), rng.standard_normal((n, n_symbols))
    return sd * (np.sqrt(rho) * common + np.sqrt(1 - rho) * own)


def test_rise_counts_at_once_and_can_skip_levels():
    assert walk([1.0, 2.6, 1.6, 3.0]) == ["NORMAL", "CRISIS", "CRISIS", "CRISIS"]


def test_fall_waits_for_the_dwell_below_the_lower_bound():
    """RK-16: dwell and hysteresis; a crisis entered at 2.5 is left below 2.0."""
    assert walk([2.5, 2.1, 2.1, 2.1, 2.1]) == ["CRISIS"] * 5
    assert walk([2.5, 1.9, 1.9, 1.9, 1.0]) == ["CRISIS", "CRISIS", "CRISIS", "HIGH", "HIGH"]
    assert walk([2.5, 1.9, 1.9, 2.1, 1.9, 1.9]) == ["CRISIS"] * 6
    assert walk([2.5, 0.1, 0.1, 0.1]) == ["CRISIS", "CRISIS", "CRISIS", "LOW"]


def test_calm_is_left_at_once_and_reached_slowly():
    assert walk([0.7, 0.8, 0.7, 0.7]) == ["LOW", "NORMAL", "NORMAL", "NORMAL"]
    assert walk([0.8, 0.55, 0.55, 0.55]) == ["NORMAL", "NORMAL", "NORMAL", "LOW"]


def test_missing_score_changes_nothing():
    assert walk([np.nan, 2.6, np.nan, 1.0]) == ["UNKNOWN", "CRISIS", "CRISIS", "CRISIS"]


@given(st.lists(st.floats(0.1, 5), min_size=1, max_size=60), st.integers(0, 5))
def test_regime_never_lies_below_what_the_score_asks_for(scores, dwell_bars):
    asked = [sum(s >= b for b in (0.75, 1.5, 2.5)) for s in scores]
    seen = [Regime[name] for name in walk(scores, dwell_bars)]
    assert all(have >= want for have, want in zip(seen, asked, strict=True))


def test_simulated_switches_are_found_within_a_day_and_left_after_one():
    x = noise(1, 2_400)
    x[1_200:1_500] *= 4
    found = detect_regimes(frame(x, "60"), bar_length=HOUR, rules=QUICK)["regime"]
    assert (found.iloc[150:1_200] <= Regime.NORMAL).mean() > 0.97
    assert found.iloc[1_224] == Regime.CRISIS
    assert (found.iloc[1_224:1_500] == Regime.CRISIS).mean() > 0.9
    assert (found.iloc[1_700:] <= Regime.NORMAL).mean() > 0.97


def test_a_crash_counts_in_the_bar_that_it_is_known_in():
    x = noise(8, 800)
    x[700] = -0.15
    found = detect_regimes(frame(x, "60"), bar_length=HOUR, rules=QUICK)["regime"]
    assert found.iloc[699] <= Regime.NORMAL
    assert found.iloc[700] == Regime.CRISIS


def test_pair_of_which_one_is_missing_has_no_correlation_to_count():
    x = noise(9, 900, n_symbols=2)
    x[600:] *= 0.05
    returns = frame(x, "60")
    returns.iloc[600:800, 1] = np.nan
    found = detect_regimes(returns, bar_length=HOUR, rules=QUICK)
    assert found["correlation"].iloc[600:800].isna().all()
    assert found["correlation"].iloc[500:600].notna().all()


def test_correlation_alone_raises_the_score():
    """RK-16: the volatility of a basket rises with correlations, at the same volatilities."""
    loose, tight = noise(2, 2_000, rho=0.1, n_symbols=8), noise(3, 400, rho=0.95, n_symbols=8)
    x = np.concatenate([loose, tight])
    found = detect_regimes(
        frame(x, "60"), bar_length=HOUR, rules=RegimeRules(usual_days=60, correlation_hours=48)
    )
    late = found.iloc[-100:]
    assert late["volatility"].mean() == pytest.approx(1.0, abs=0.3)
    assert late["diversification"].mean() == pytest.approx(np.sqrt(7.65 / 1.7), abs=0.2)
    assert late["correlation"].mean() == pytest.approx(0.95, abs=0.03)
    assert (late["regime"] >= Regime.HIGH).mean() > 0.9


@given(cut=st.integers(130, 390), seed=st.integers(0, 20))
def test_regime_of_a_prefix_is_the_prefix_of_the_regime(cut, seed):
    returns = frame(noise(seed, 400), "60")
    returns.iloc[seed : seed + 40, 1] = np.nan
    full = detect_regimes(returns, bar_length=HOUR, rules=QUICK)
    part = detect_regimes(returns.iloc[:cut], bar_length=HOUR, rules=QUICK)
    pd.testing.assert_frame_equal(full.iloc[:cut], part, rtol=1e-12)


def test_symbol_without_returns_does_not_move_the_others():
    returns = frame(noise(4, 600), "60")
    holed = returns.assign(NEW=np.nan)
    pd.testing.assert_frame_equal(
        detect_regimes(returns, bar_length=HOUR, rules=QUICK),
        detect_regimes(holed, bar_length=HOUR, rules=QUICK),
    )


def test_symbol_that_joins_leaves_the_regime_to_the_others_until_it_has_a_usual():
    x = noise(7, 1_200, n_symbols=2)
    x[1_000:] *= 4
    returns = frame(x, "60")
    returns.iloc[:990, 1] = np.nan
    found = detect_regimes(returns, bar_length=HOUR, rules=QUICK)
    assert found["score"].iloc[200:].notna().all()
    assert found["regime"].iloc[1_030] == Regime.CRISIS


def test_single_symbol_has_no_correlation_and_a_regime():
    found = detect_regimes(frame(noise(5, 600, n_symbols=1), "60"), bar_length=HOUR, rules=QUICK)
    assert found["correlation"].isna().all()
    assert (found["diversification"] == 1.0).all()
    assert (found["regime"].iloc[130:] >= Regime.LOW).all()
    assert (found["regime"].iloc[:100] == Regime.UNKNOWN).all()


@pytest.mark.parametrize(
    ("returns", "said"),
    [(noise(6, 1), "1 bars are too few"), (np.zeros((300, 2)), "No price moves")],
)
def test_returns_without_a_usual_are_refused(returns, said):
    with pytest.raises(DataError, match=said):
        detect_regimes(frame(returns, "60"), bar_length=HOUR, rules=QUICK)


@pytest.mark.parametrize(
    "changes",
    [{"low": 2.0}, {"crisis": 1.0}, {"slack": 0.0}, {"slack": 1.1}, {"dwell_hours": -1.0},
     {"volatility_hours": 0.0}, {"low": -0.1}],
)  # fmt: skip
def test_rules_that_contradict_themselves_are_refused(changes):
    with pytest.raises(ConfigError, match="no rules for a regime"):
        RegimeRules(**changes)


def log_returns(path, symbols=None):
    close = read_market(path).close
    return np.log(close if symbols is None else close[symbols]).diff()


def worst(found, start, end):
    return Regime(int(found.loc[start:end, "regime"].max()))


@pytest.mark.slow
def test_crisis_is_reached_in_march_2020(shared_data):
    """RK-16: bitcoin's crash of 12 March, on the day."""
    returns = log_returns(shared_data / "btcusd_bitstamp_1h" / "ohlcv_1h.parquet")
    found = detect_regimes(returns, bar_length=HOUR)
    assert worst(found, "2020-02-20", "2020-03-11") < Regime.CRISIS
    assert worst(found, "2020-03-12", "2020-03-12") == Regime.CRISIS
    assert worst(found, "2020-04-10", "2020-04-25") < Regime.CRISIS


@pytest.mark.slow
def test_crisis_is_reached_in_november_2022_and_is_rare(shared_data):
    """RK-16: FTX, on 8 November; and what else the five years call a crisis."""
    returns = log_returns(shared_data / "bybit_linear_major_long" / "ohlcv_1h.parquet")
    found = detect_regimes(returns, bar_length=HOUR)
    assert worst(found, "2022-10-15", "2022-11-07") < Regime.CRISIS
    assert worst(found, "2022-11-08", "2022-11-09") == Regime.CRISIS
    assert worst(found, "2022-12-01", "2022-12-31") < Regime.CRISIS
    for start, end in (("2021-05-19", "2021-05-20"), ("2022-05-11", "2022-05-12"),
                       ("2022-06-13", "2022-06-15"), ("2024-08-05", "2024-08-06")):  # fmt: skip
        assert worst(found, start, end) == Regime.CRISIS
    known = found["regime"][found["regime"] >= Regime.LOW]
    assert (known == Regime.CRISIS).mean() < 0.10
    assert set(known) == {Regime.LOW, Regime.NORMAL, Regime.HIGH, Regime.CRISIS}
