"""Protects the backtest of risk forecasts: causal, at the nominal rate, and told as it is."""

import numpy as np
import pandas as pd
import pytest

from tests.risk.simulated import frame, garch_returns
from tests.validation.history import read_market
from workbench.core.errors import DataError
from workbench.core.measures import expected_shortfall, value_at_risk
from workbench.risk import garch
from workbench.risk.coverage import ALL, FILTERED, METHODS, forecast_tails, judge_forecasts
from workbench.risk.tails import student_tail
from workbench.risk.vartests import kupiec

CONDITIONAL = ["ewma_historical", "garch_student", "garch_historical", "garch_extremes"]


@pytest.fixture(scope="module")
def simulated():
    """Four years of four symbols by GARCH(1,1) with Student errors, and forecasts of them."""
    returns = frame(garch_returns(1, 1_500, alpha=0.1, beta=0.88, nu=5.0, n_symbols=4))
    methods = [*CONDITIONAL, "normal", "historical"]
    return returns, forecast_tails(returns, methods=methods, refit_bars=60)


def pooled(simulated, method, level, *, nominal):
    """Kupiec's p-value of the hits of all symbols together."""
    judged = judge_forecasts(simulated[0], simulated[1].table).loc[method, level]
    hits, bars = int(judged["hits"].sum()), int(judged["bars"].sum())
    assert bars == 4 * (1_500 - 365)
    return kupiec(hits, bars, level=nominal).p_value


@pytest.mark.parametrize("method", CONDITIONAL)
@pytest.mark.parametrize("level", [0.95, 0.99])
def test_conditional_methods_cover_simulated_garch_at_the_nominal_rate(simulated, method, level):
    """RK-10. A quantile of 365 bars has a rate of its own, which its docstring states."""
    is_sample = method.endswith("historical")
    nominal = 1 - (1 + 364 * (1 - level)) / 366 if is_sample else level
    assert pooled(simulated, method, level, nominal=nominal) > 0.01
    judged = judge_forecasts(simulated[0], simulated[1].table).loc[method, level]
    assert (judged["kupiec"] > 0.01).all()
    assert (judged["independence"] > 0.001).all()


def test_method_that_knows_neither_clusters_nor_fat_tails_is_found_out(simulated):
    assert pooled(simulated, "normal", 0.99, nominal=0.99) < 1e-4
    judged = judge_forecasts(simulated[0], simulated[1].table).loc["normal", 0.99]
    assert judged["z2"].mean() < -0.7
    assert "yellow" in set(judged["zone"])


def test_sample_quantile_has_the_stated_rate():
    """Of uniform returns the quantile itself is the chance that a new bar exceeds it."""
    x = np.random.default_rng(6).random((4_000, 365))
    rate = np.mean([-value_at_risk(row, level=0.99) for row in x])
    assert rate == pytest.approx((1 + 364 * 0.01) / 366, abs=4e-4)


def test_every_method_has_a_shortfall_above_its_value_at_risk():
    table = forecast_tails(frame(garch_returns(7, 380))).table
    assert set(table.columns.get_level_values("method")) == set(ALL)
    var, es = (table.xs(name, axis=1, level="measure") for name in ("var", "es"))
    assert ((es - var).iloc[364:] >= -1e-12).all().all()
    assert table.iloc[:364].isna().all().all()
    assert table.iloc[364:].notna().all().all()


def test_forecast_is_made_of_the_window_that_ends_at_its_row(simulated):
    returns, made = simulated
    x = returns["BUSDT"].to_numpy()[100 : 100 + 365]
    row = made.table["historical", 0.95, "BUSDT"].iloc[464]
    assert row["var"] == value_at_risk(x, level=0.95)
    assert row["es"] == expected_shortfall(x, level=0.95)


def test_conditional_forecast_is_of_the_volatility_after_its_row(simulated):
    returns, made = simulated
    x = returns["CUSDT"].to_numpy()
    fit = garch.fit_garch(x[:365])
    for row in (364, 380):
        now = garch.apply_garch(x[: row + 1], parameters=fit.parameters)
        nu = fit.parameters["nu"]
        expected = student_tail(now.mean, np.sqrt(now.variance[-1]), nu, level=0.99)
        seen = made.table["garch_student", 0.99, "CUSDT"].iloc[row]
        assert seen["var"] == pytest.approx(expected.value_at_risk)
        assert seen["es"] == pytest.approx(expected.expected_shortfall)


def test_forecasts_know_no_later_bar():
    """The rows up to a change are the same to the last bit, whatever the bars after it."""
    returns = frame(garch_returns(8, 470))
    changed = returns.iloc[:450].copy()
    changed.iloc[420:] *= -5
    full, cut = (forecast_tails(r, refit_bars=20).table for r in (returns, changed))
    pd.testing.assert_frame_equal(full.iloc[:420], cut.iloc[:420], check_exact=True)
    assert (full.iloc[425] != cut.iloc[425]).mean() > 0.8


def test_hits_are_held_against_the_bar_after_the_forecast():
    index = pd.date_range("2024-01-01", periods=4, tz="UTC")
    returns = pd.DataFrame({"A": [0.0, -0.1, np.nan, -0.3]}, index)
    columns = pd.MultiIndex.from_product(
        [["m"], [0.95], ["A"], ["es", "var"]], names=["method", "level", "symbol", "measure"]
    )
    table = pd.DataFrame([[0.2, 0.15], [0.3, 0.2], [np.nan] * 2, [0.1, 0.05]], index, columns)
    judged = judge_forecasts(returns, table).loc[("m", 0.95, "A")]
    # -0.1 follows 0.15: no hit; the next bar that is there, -0.3, follows 0.2: a hit.
    assert [judged["bars"], judged["hits"]] == [2, 1]
    assert judged["var"] == pytest.approx(0.175)
    assert judged["z1"] == pytest.approx(1 - 0.3 / 0.3)


def test_missing_bars_of_one_symbol_move_no_other():
    returns = frame(garch_returns(2, 460, n_symbols=2))
    holed = returns.copy()
    holed.iloc[:40, 1] = np.nan
    holed.iloc[420, 1] = np.nan
    methods = ["historical", "garch_student"]
    full, part = (forecast_tails(r, methods=methods).table for r in (returns, holed))
    one = full.columns.get_level_values("symbol") == "AUSDT"
    pd.testing.assert_frame_equal(full.loc[:, one], part.loc[:, one], check_exact=True)
    other = part.loc[:, ~one]
    assert other.iloc[:404].isna().all().all()
    assert other.iloc[420].isna().all()
    assert other.iloc[421:].notna().all().all()


def test_symbol_with_too_few_bars_has_no_forecast_and_no_verdict():
    returns = frame(garch_returns(9, 400, n_symbols=2))
    returns.iloc[:100, 1] = np.nan
    made = forecast_tails(returns, methods=["normal", "garch_normal"])
    assert made.table.xs("BUSDT", axis=1, level="symbol").isna().all().all()
    judged = judge_forecasts(returns, made.table)
    assert set(judged.index.get_level_values("symbol")) == {"AUSDT"}
    assert set(made.fits["symbol"]) == {"AUSDT"}


def test_infinite_shortfall_leaves_the_other_judgements():
    returns = frame(garch_returns(10, 400))
    table = forecast_tails(returns, methods=["normal"], levels=[0.95]).table
    table.iloc[370, table.columns.get_level_values("measure") == "es"] = np.inf
    row = judge_forecasts(returns, table).iloc[0]
    assert np.isnan(row["z2"])
    assert 0 <= row["kupiec"] <= 1


def test_fits_say_which_fell_back(monkeypatch):
    real = garch._problem
    seen = []

    def problem(*args):
        seen.append(args)
        return "stuck" if len(seen) == 1 else real(*args)

    monkeypatch.setattr(garch, "_problem", problem)
    made = forecast_tails(frame(garch_returns(3, 420)), methods=["garch_student"])
    assert made.fits["model"].tolist() == ["ewma", "garch"]
    assert made.fits["note"].tolist()[0] == "EWMA stands in: stuck"
    assert made.fits["known_at"].tolist() == [
        made.table.index[364], made.table.index[394],
    ]  # fmt: skip
    assert made.table.iloc[364:].notna().all().all()


@pytest.mark.slow
def test_workers_give_the_same_bytes():
    returns = frame(garch_returns(4, 400, n_symbols=3))
    alone, shared = (forecast_tails(returns, workers=n) for n in (1, 2))
    pd.testing.assert_frame_equal(alone.table, shared.table, check_exact=True)
    pd.testing.assert_frame_equal(alone.fits, shared.fits, check_exact=True)


@pytest.mark.parametrize(
    ("returns", "options", "said"),
    [
        (frame(garch_returns(5, 400)), {"methods": ["magic"]}, "no method"),
        (frame(garch_returns(5, 400)), {"methods": []}, "no method"),
        (frame(garch_returns(5, 400)), {"window": 60}, "windows of 60"),
        (frame(garch_returns(5, 300)), {}, "300 bars leave nothing"),
        (frame(garch_returns(5, 1)), {}, "1 bars leave nothing"),
        (frame(np.zeros((400, 1))), {"methods": ["normal"]}, "AUSDT: All 365 returns are 0"),
        (frame(np.zeros((400, 1))), {"methods": ["garch_normal"]}, "AUSDT: All 365 returns"),
    ],
)
def test_what_cannot_be_forecast_is_refused(returns, options, said):
    with pytest.raises(DataError, match=said):
        forecast_tails(returns, **options)


@pytest.mark.slow
def test_coverage_of_bitcoin_is_told_as_it_is(shared_data):
    """RK-10: every method on daily BTC from 2020 to 2025, whatever the rates are."""
    market = read_market(shared_data / "bybit_linear_major_long" / "ohlcv_1h.parquet")
    days = market.select(["BTCUSDT"]).resample("D")
    returns = days.close.pct_change(fill_method=None)
    made = forecast_tails(returns)
    judged = judge_forecasts(returns, made.table)

    assert set(judged.index.get_level_values("method")) == set(METHODS) | set(FILTERED)
    assert judged["bars"].nunique() == 1
    assert judged["bars"].iloc[0] == returns["BTCUSDT"].count() - 365 > 1_400
    # The rates are those of the returns themselves, counted anew.
    following = returns["BTCUSDT"].dropna().shift(-1)
    for (method, level, symbol), row in judged.iterrows():
        var = made.table[method, level, symbol, "var"].dropna()
        hits = (following.loc[var.index] < -var).sum()
        assert row["hits"] == hits
        assert row["rate"] == pytest.approx(hits / row["bars"])
    assert len(made.fits) == len(range(0, returns["BTCUSDT"].count() - 364, 30))
    print(judged.round(4).to_string())  # noqa: T201 - the table is the result
