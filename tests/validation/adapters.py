"""The reference cases' methods that ``workbench.validation`` answers, by name."""

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import pandas as pd
from sklearn.model_selection import TimeSeriesSplit

from workbench.validation import deflation, overfit, splits
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


def rows(parts: list[splits.Split]) -> list[dict[str, list[int]]]:
    return [{"train": s.train.tolist(), "test": s.test.tolist()} for s in parts]


def purged_kfold(
    t0: list[float],
    t1: list[float],
    n_splits: int,
    embargo: float = 0.0,
    *,
    closed: bool = True,
) -> dict[str, Any]:
    parts = splits.purged_kfold(t0, t1, n_splits=n_splits, embargo=embargo, is_closed=closed)
    return {"splits": rows(parts)}


def cpcv(
    t0: list[float], t1: list[float], n_groups: int, k: int, embargo: float = 0.0
) -> dict[str, Any]:
    parts = splits.combinatorial_purged(t0, t1, n_groups=n_groups, n_test=k, embargo=embargo)
    named = [{"groups": list(s.groups), **row} for s, row in zip(parts, rows(parts), strict=True)]
    return {
        "n_splits": len(parts), "n_paths": splits.n_paths(n_groups, k), "splits": named,
    }  # fmt: skip


def walk_forward(
    n: int, train: int, test: int, step: int | None = None, gap: int = 0, *, anchored: bool = False
) -> dict[str, Any]:
    parts = splits.walk_forward(
        n, train=train, test=test, step=step, purge=gap, is_anchored=anchored
    )
    ends = [
        {
            name: [int(part[0]), int(part[-1])]
            for name, part in (("train", s.train), ("test", s.test))
        }
        for s in parts
    ]
    return {"splits": ends}


def time_series_split(
    n: int,
    n_splits: int = 5,
    max_train_size: int | None = None,
    test_size: int | None = None,
    gap: int = 0,
) -> dict[str, Any]:
    """scikit-learn's own, which is what users are told to use for it."""
    splitter = TimeSeriesSplit(
        n_splits, max_train_size=max_train_size, test_size=test_size, gap=gap
    )
    parts = splitter.split(np.zeros((n, 1)))
    return {"splits": [{"train": a.tolist(), "test": b.tolist()} for a, b in parts]}


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
    "purged_kfold": purged_kfold,
    "cpcv": cpcv,
    "cpcv_counts": lambda n_groups, k: {
        "n_splits": len(splits.choices(n_groups, k)),
        "n_paths": splits.n_paths(n_groups, k),
    },
    "cpcv_paths": lambda n_groups, k: {
        "combos": [list(chosen) for chosen in splits.choices(n_groups, k)],
        "paths": splits.paths(n_groups, k).tolist(),
    },
    "walk_forward": walk_forward,
    "time_series_split": time_series_split,
    "adjust": adjust,
}
