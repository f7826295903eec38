"""The reference cases' methods that ``workbench.validation`` answers, by name."""

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import pandas as pd

from workbench.validation import deflation, overfit
from workbench.validation.deflation import SharpeStats


def column(frame: Any) -> np.ndarray:
    """The values of a file of one series, whatever its columns are called."""
    table = frame if isinstance(frame, pd.DataFrame) else pd.DataFrame(frame)
    return table.select_dtypes("number").iloc[:, -1].to_numpy()


def psr(sr: float, n: int, skew: float, kurt: float, sr_benchmark: float = 0.0) -> dict[str, float]:
    stats = SharpeStats(sr, skew, kurt, n)
    return {
        "psr": deflation.probabilistic_sharpe(stats, benchmark=sr_benchmark),
        "sr_std": stats.standard_error,
    }


def psr_from_returns(returns: Any, sr_benchmark: float = 0.0) -> dict[str, float]:
    stats = deflation.sharpe_stats(column(returns))
    return {
        "sr": stats.sharpe, "skew": stats.skewness, "kurt": stats.kurtosis, "n": stats.n,
        "sr_std": stats.standard_error,
        "psr": deflation.probabilistic_sharpe(stats, benchmark=sr_benchmark),
    }  # fmt: skip


def dsr(
    sr_ann: float, n: int, skew: float, kurt: float, n_trials: float, var_trials_ann: float,
    periods: float,
) -> dict[str, float]:  # fmt: skip
    stats = SharpeStats(sr_ann / np.sqrt(periods), skew, kurt, n)
    value, bar = deflation.deflated_sharpe(
        stats, n_trials=n_trials, variance=var_trials_ann / periods
    )
    return {"dsr": value, "sr0": bar}


def min_btl(n_trials: float, target_sr_ann: float) -> dict[str, float]:
    years, bound = deflation.min_backtest_length(n_trials, target=target_sr_ann)
    return {"min_btl": years, "upper_bound": bound}


def cscv(
    returns: Any,
    S: int,  # noqa: N803 - the cases' name
    metric: str = "sharpe",
    threshold: float = 0.0,
    rf: float = 0.0,
) -> dict[str, Any]:
    table = returns.to_numpy() if isinstance(returns, pd.DataFrame) else np.array(returns)
    answer = overfit.cscv(table, n_blocks=S, metric=metric, threshold=threshold, risk_free=rf)
    return {
        "pbo": answer.pbo, "n_combinations": answer.n_combinations,
        "mean_logit": answer.logits.mean(), "logits_head": answer.logits[:10].tolist(),
        "slope": answer.slope, "intercept": answer.intercept, "r2": answer.r2,
        "p_loss": answer.p_loss, "is_best_mean": answer.is_best.mean(),
        "oos_best_mean": answer.oos_best.mean(),
    }  # fmt: skip


def adjust(pvalues: list[float], method: str, alpha: float = 0.05) -> dict[str, Any]:
    adjusted = deflation.adjust_pvalues(np.array(pvalues), method=method)
    return {"adjusted": adjusted.tolist(), "n_rejected": int((adjusted <= alpha).sum())}


ADAPTERS: Mapping[str, Callable[..., dict[str, Any]]] = {
    "psr": psr,
    "psr_from_returns": psr_from_returns,
    "psr2025": lambda sr, n, skew, kurt, sr_benchmark=0.0, rho=0.0: {
        "psr": deflation.probabilistic_sharpe_2025(
            SharpeStats(sr, skew, kurt, n), benchmark=sr_benchmark, autocorrelation=rho
        )
    },
    "min_trl": lambda sr, skew, kurt, prob, sr_benchmark=0.0: {
        "min_trl": deflation.min_track_record(
            SharpeStats(sr, skew, kurt, 2), benchmark=sr_benchmark, probability=prob
        )
    },
    "min_trl2025": lambda sr, skew, kurt, alpha, sr_benchmark=0.0, rho=0.0: {
        "min_trl": deflation.min_track_record_2025(
            SharpeStats(sr, skew, kurt, 2),
            benchmark=sr_benchmark,
            alpha=alpha,
            autocorrelation=rho,
        )
    },
    "dsr_annualised": dsr,
    "expected_max_z": lambda n: {"expected_max": deflation.expected_maximum(n)},
    "expected_max_z_exact": lambda n: {"expected_max": deflation.expected_maximum_exact(n)},
    "max_trials_for_years": lambda years, target_sr_ann: {
        "max_trials": deflation.max_trials(years, target=target_sr_ann)
    },
    "min_btl_years": min_btl,
    "lo_ar1_eta": lambda q, rho: {"eta": deflation.annualisation_factor(q, autocorrelation=rho)},
    "lo_iid_se": lambda sr, n: {"se": deflation.sharpe_error_iid(sr, n)},
    "indep_trials": lambda m, rho: {"n": deflation.independent_trials(m, correlation=rho)},
    "cscv": cscv,
    "adjust": adjust,
}
