"""The reference cases' methods that ``workbench.risk`` answers, by name.

Levels of the cases are confidences, but those of Kupiec and the traffic light are rates of hits;
their GARCH returns are in per cent, ours are fractions.
"""

from collections.abc import Callable, Mapping
from math import sqrt
from typing import Any

import numpy as np
import pandas as pd

from tests.validation.adapters import column
from workbench.core.measures import annual_volatility, excess_kurtosis, kelly_stake, skewness
from workbench.risk import (
    dcc,
    extremes,
    forecast,
    garch,
    kelly,
    sizing,
    tails,
    vartests,
    volatility,
)

ERRORS = {"normal": "normal", "t": "student", "student": "student", "studentst": "student"}


def table(frame: Any) -> np.ndarray:
    """The numbers of a file of several series."""
    return pd.DataFrame(frame).select_dtypes("number").to_numpy()


def run(
    x: Any, mu: float, params: Mapping[str, float], model: str = "garch", dist: str = "normal",
    nu: float | None = None,
) -> forecast.VolatilityFit:  # fmt: skip
    """A model at given parameters."""
    tail = {} if nu is None else {"nu": nu}
    return garch.apply_garch(
        column(x) / 100, parameters={"mu": mu, **params, **tail}, model=model,
        errors=ERRORS[dist], presample="residuals",
    )  # fmt: skip


def fit(x: Any, model: str) -> dict[str, float]:
    found = garch.fit_garch(column(x) / 100, model=model, errors="normal", presample="residuals")
    assert not found.is_fallback, found.note
    return {**found.parameters, "loglik": found.loglikelihood}


def fit_default(x: Any, model: str = "garch") -> dict[str, float]:
    found = garch.fit_garch(column(x) / 100, model=model, errors="normal")
    p = found.parameters
    return {
        "mu": p["mu"], "omega": p["omega"], "alpha[1]": p["alpha"], "beta[1]": p["beta"],
        "gamma[1]": p.get("gamma", 0.0), "loglik": found.loglikelihood,
    }  # fmt: skip


def loglik(x: Any, **inputs: Any) -> dict[str, float]:
    done = run(x, **inputs)
    h = 1e4 * done.variance[:-1]
    return {"loglik": done.loglikelihood, "h_first": h[0], "h_last": h[-1]}


def variance_path(x: Any, **inputs: Any) -> dict[str, Any]:
    return {"h": {str(i): h for i, h in enumerate(1e4 * run(x, **inputs).variance)}}


def revert(
    omega: float, alpha: float, beta: float, h_last: float, e_last: float, horizon: int
) -> dict[str, Any]:
    first = omega + alpha * e_last**2 + beta * h_last
    return {
        "variance": forecast.revert(first, omega, alpha + beta, horizon).tolist(),
        "unconditional": omega / (1 - alpha - beta),
        "half_life": forecast.half_life(alpha + beta),
    }


def dcc_path(z: Any, a: float, b: float, Qbar: Any) -> dict[str, Any]:  # noqa: N803
    path = dcc.dcc_path(table(z), a=a, b=b, target=np.array(Qbar))
    return {
        "R_last": path.correlation[-2].tolist(), "R1_forecast": path.correlation[-1].tolist(),
        "corr_loglik": path.loglikelihood,
    }  # fmt: skip


def dcc_fit(z: Any) -> dict[str, float]:
    found = dcc.fit_correlation(table(z))
    return {"a": found.a, "b": found.b, "corr_loglik": found.loglikelihood}


def dcc_end_to_end(x: Any) -> dict[str, float]:
    found = dcc.fit_dcc(pd.DataFrame(table(x) / 100))
    assert found.note == ""
    return {"a": found.a, "b": found.b, "loglik": found.loglikelihood}


def dcc_marginals(x: Any) -> dict[str, float]:
    """The columns of the file are the five Dow stocks in the order of the alphabet."""
    answer = {}
    for name, series in zip(("AA", "AXP", "BA", "BAC", "C"), table(x).T, strict=True):
        p = fit(series, "garch")
        answer |= {
            f"[{name}].mu": p["mu"], f"[{name}].omega": p["omega"],
            f"[{name}].alpha1": p["alpha"], f"[{name}].beta1": p["beta"],
        }  # fmt: skip
    return answer


def from_returns(returns: Any, p: float, column: str = "") -> dict[str, float]:
    frame = pd.DataFrame(returns).select_dtypes("number")
    x = frame[column if column in frame else frame.columns[0]].dropna().to_numpy()
    gauss, bent = tails.normal(x, level=p), tails.cornish_fisher(x, level=p)
    quantile = tails.value_at_risk(x, level=p)
    return {
        "mean": x.mean(), "sd_pop": x.std(), "skew": skewness(x), "exkurt": excess_kurtosis(x),
        "var_hist": quantile, "es_hist_lt": tails.mean_beyond(x, quantile),
        "var_gauss": gauss.value_at_risk, "es_gauss": gauss.expected_shortfall,
        "var_cf": bent.value_at_risk, "es_cf": bent.expected_shortfall,
    }  # fmt: skip


def named(tail: tails.Tail) -> dict[str, float]:
    return {"var": tail.value_at_risk, "es": tail.expected_shortfall}


def expansion(mean: float, sd: float, skew: float, exkurt: float, p: float) -> dict[str, float]:
    unit = tails.cornish_fisher_tail(0.0, 1.0, skew, exkurt, level=p)
    return {"z_cf": -unit.value_at_risk, **named(unit.scaled(mean=mean, sd=sd))}


def kupiec(n: int, x: int, p: float) -> dict[str, Any]:
    ratio, p_value = vartests.kupiec(x, n, level=1 - p)
    return {"lr_uc": ratio, "p_value": p_value, "reject95": bool(p_value < 0.05)}


def kupiec_region(n: int, p: float, conf: float) -> dict[str, int]:
    fewest, most = vartests.kupiec_region(n, level=1 - p, confidence=conf)
    return {"min_ok": fewest, "max_ok": most}


def independence(moves: vartests.Transitions) -> dict[str, float]:
    ratio, p_value = vartests.independence(moves)
    return {
        "n00": moves.n00, "n01": moves.n01, "n10": moves.n10, "n11": moves.n11,
        "pi01": moves.after_none, "pi11": moves.after_hit, "pi": moves.overall,
        "lr_ind": ratio, "p_ind": p_value,
    }  # fmt: skip


def christoffersen(hits: Any, p: float) -> dict[str, float]:
    is_hit = np.asarray(hits, dtype=bool)
    ratio, p_value = vartests.christoffersen(is_hit, level=1 - p)
    frequency = vartests.kupiec(int(is_hit.sum()), len(is_hit), level=1 - p)
    return {
        **independence(vartests.Transitions.of(is_hit)), "lr_uc": frequency.statistic,
        "lr_cc": ratio, "p_cc": p_value,
    }  # fmt: skip


def traffic_light(exceptions: int, n: int, p: float) -> dict[str, Any]:
    light = vartests.traffic_light(exceptions, n, level=1 - p)
    return {
        "cum_prob": light.at_most, "prob": light.exactly, "zone": light.zone,
        "plus_factor": light.plus, "multiplier": 3 + light.plus,
    }  # fmt: skip


def gpd_fit(x: Any, u: float, sign: float = 1) -> dict[str, float]:
    found = extremes.fit_pareto(sign * column(x), threshold=u)
    return {
        "n_exc": found.n_beyond, "xi": found.shape, "beta": found.scale,
        "loglik": found.loglikelihood,
    }  # fmt: skip


def gpd_tail(
    u: float, n: int, n_exc: int, xi: float, beta: float, q: float
) -> dict[str, float]:  # fmt: skip
    return named(extremes.ParetoTail(u, xi, beta, n_exc, n).tail(level=q))


def filtered(x: Any, mu: float, params: Mapping[str, float], method: str = "") -> dict[str, Any]:
    """The threshold is told in words: the 198th largest loss of the residuals."""
    done = run(x, mu, params)
    sd, z = 100 * sqrt(done.variance[-1]), done.residuals
    returns = mu + 100 * np.sqrt(done.variance[:-1]) * z
    at = {
        level: tails.filtered_historical(
            returns, variance=1e4 * done.variance, mean=mu, level=level
        ).value_at_risk
        for level in (0.95, 0.99)
    }
    peaks = extremes.fit_peaks(z, share=197 / len(z))
    far = peaks.tail(level=0.99).scaled(mean=mu, sd=sd)
    beyond = tails.mean_beyond(z, tails.value_at_risk(z, level=0.99))
    return {
        "sigma_next": sd, "var95_fhs": at[0.95], "var99_fhs": at[0.99],
        "es99_fhs": sd * beyond - mu,
        "var99_normal": tails.normal_tail(mu, sd, level=0.99).value_at_risk,
        "var99_gpd": far.value_at_risk, "es99_gpd": far.expected_shortfall,
        "gpd_xi": peaks.shape, "gpd_beta": peaks.scale, "gpd_u": peaks.threshold,
        "n_exc": peaks.n_beyond,
    }  # fmt: skip


def ewma_backtest(
    x: Any, lam: float, warmup: int, p: float, mean: float = 0.0, h0: Any = None
) -> dict[str, Any]:
    """The start is told in words, or given: the mean of the warm-up's squared returns."""
    returns = column(x)
    start = h0 if isinstance(h0, (int, float)) else np.mean(returns[:warmup] ** 2)
    variance = volatility.ewma(returns[warmup:] ** 2, decay=lam, start=start)[:-1]
    quantile = tails.normal_tail(0.0, 1.0, level=p).value_at_risk
    is_hit = returns[warmup:] < mean - quantile * np.sqrt(variance)
    return {**christoffersen(is_hit, 1 - p), "n": len(is_hit), "x": int(is_hit.sum())}


def coin(p: float, b: float, a: float) -> dict[str, float]:
    stake = kelly_stake(p, gain=b, loss=a)
    growth = kelly.expected_growth(stake, np.array([b, -a]), np.array([p, 1 - p]))
    return {"f": stake, "growth": growth}


def thorp(mu: float, r: float, sigma: float) -> dict[str, float]:
    multiple = kelly.continuous_kelly(mu, sigma, rate=r)
    return {
        "f": multiple, "sd_at_f": multiple * sigma, "sharpe": (mu - r) / sigma,
        "growth": kelly.continuous_growth(multiple, mu, sigma, rate=r),
        "growth_unlevered": kelly.continuous_growth(1.0, mu, sigma, rate=r),
    }  # fmt: skip


def discrete_kelly(outcomes: Any, probs: Any) -> dict[str, float]:
    x, p = np.array(outcomes), np.array(probs)
    stake = kelly.discrete_kelly(x, p)
    return {"f": stake, "growth": kelly.expected_growth(stake, x, p)}


def volatility_targeting(
    returns: Any, target_ann: float, lookback: int, periods: float, max_leverage: float
) -> dict[str, Any]:
    """The weight of each bar is made of the bars before it."""
    x = np.array(returns)
    windows = np.lib.stride_tricks.sliding_window_view(x[:-1], lookback)
    known = np.array([annual_volatility(window, periods) for window in windows])
    weights = sizing.volatility_target(known, target=target_ann, ceiling=max_leverage)
    return {"weights": weights.tolist(), "strategy_returns": (weights * x[lookback:]).tolist()}


def equal_risk(cov: Any) -> dict[str, Any]:
    sigma = np.array(cov)
    weights = sizing.risk_parity(sigma)
    return {
        "weights": weights.tolist(), "vol": sqrt(weights @ sigma @ weights),
        "risk_contrib_pct": sizing.risk_shares(weights, sigma).tolist(),
    }  # fmt: skip


ADAPTERS: Mapping[str, Callable[..., dict[str, Any]]] = {
    "kelly_binary": coin,
    "kelly_continuous": thorp,
    "kelly_discrete": discrete_kelly,
    "kelly_half_growth": lambda sharpe, c: {
        "ratio": kelly.kelly_growth_share(c),
        "growth_excess": kelly.kelly_growth_share(c) * sharpe**2 / 2,
    },
    "vol_target": volatility_targeting,
    "erc": equal_risk,
    "ivp": lambda cov: {"weights": sizing.inverse_variance(np.array(cov)).tolist()},
    "fit_file": fit,
    "arch_default": fit_default,
    "loglik_file": loglik,
    "variance_path_file": variance_path,
    "forecast_garch": revert,
    "ewma": lambda x, lam, h0: {
        "variance": volatility.ewma(np.square(x), decay=lam, start=h0).tolist()
    },
    "dcc_path_file": dcc_path,
    "dcc_fit_file": dcc_fit,
    "dcc_end_to_end": dcc_end_to_end,
    "dcc_marginals": dcc_marginals,
    "from_returns": from_returns,
    "gaussian": lambda mean, sd, p: named(tails.normal_tail(mean, sd, level=p)),
    "student": lambda mean, sd, nu, p: named(tails.student_tail(mean, sd, nu, level=p)),
    "cornish_fisher": expansion,
    "kupiec": kupiec,
    "kupiec_region": kupiec_region,
    "christoffersen_counts": lambda n00, n01, n10, n11: independence(
        vartests.Transitions(n00, n01, n10, n11)
    ),
    "christoffersen_hits": christoffersen,
    "traffic_light": traffic_light,
    "gpd_fit": gpd_fit,
    "gpd_var_es": gpd_tail,
    "hill_file": lambda x, k, sign=1: {"xi": extremes.hill(sign * column(x), k=k)},
    "garch_filtered_var": filtered,
    "ewma_var_backtest": ewma_backtest,
}
