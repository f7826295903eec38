"""The reference cases' methods that ``workbench.validation`` answers, by name."""

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import pandas as pd
from sklearn.model_selection import KFold, TimeSeriesSplit
from sklearn.tree import DecisionTreeClassifier

from workbench.validation import (
    deflation,
    montecarlo,
    overfit,
    permute,
    resample,
    shuffle,
    splits,
    superior,
)
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


def spa_exact(
    loss_diff: list[list[float]], scheme: str, block: int = 1, *, studentize: bool = False
) -> dict[str, Any]:
    answer, omega2, count = superior.superior_ability_exact(
        np.array(loss_diff), block=block, scheme=scheme, is_studentised=studentize
    )
    return {
        "stat": answer.statistic, "n_resamples": count, "omega2": omega2.tolist(),
        "lower": answer.lower, "consistent": answer.consistent, "upper": answer.upper,
    }  # fmt: skip


def reality_check(
    data: Any, add: Mapping[str, float], bootstrap: str, block: float, size: float
) -> dict[str, Any]:
    table = data.to_numpy().copy()
    for column, drift in add.items():
        table[:, int(column)] += drift
    answer = superior.superior_ability(
        table, block=block, scheme=bootstrap, size=size, is_studentised=False, reps=20_000
    )
    return {"p_upper": answer.upper, "superior": list(answer.superior)}


def signflip(x: list[float]) -> dict[str, Any]:
    answer = permute.flip_signs(np.array(x))
    return {
        "count_ge": answer.count, "n": answer.n, "p_one_sided": answer.one_sided,
        "p_two_sided": answer.two_sided,
    }  # fmt: skip


def label_permutation(X: Any, y: Any, estimator: str, cv: str, n_permutations: int) -> Any:  # noqa: N803
    """The case is told in words; this is what they say."""
    assert (y, cv) == ("0,1 alternating, n=60", "KFold(5)")
    labels = np.tile([0, 1], 30)
    features = {"column equal to y": labels[:, None]}[X]
    tree = {"DecisionTreeClassifier(random_state=0)": DecisionTreeClassifier(random_state=0)}
    answer = permute.permute_labels(
        tree[estimator], features, labels, cv=KFold(5), n=n_permutations
    )
    return {"score": answer.observed, "p": answer.p_value}


def bar_permute(
    ohlc: list[list[float]], perm_gap: list[int], perm_intrabar: list[int], start_index: int = 0
) -> dict[str, Any]:
    built = shuffle.permute_ohlc(
        np.array(ohlc), perm_gap=perm_gap, perm_intrabar=perm_intrabar, start_index=start_index
    )
    return {"ohlc": built.tolist()}


def boot_mean_se(x: Any, scheme: str, block: float = 1) -> dict[str, float]:
    values = column(x)
    variance = resample.mean_variance(values, block=block, scheme=scheme)
    return {"var_sqrtn_mean": variance, "se_mean": float(np.sqrt(variance / len(values)))}


def trade_perm(trade_returns: list[float]) -> dict[str, float]:
    every = montecarlo.enumerate_trades(np.array(trade_returns))
    return {
        "n": len(every.final), "final_min": every.final.min(), "final_max": every.final.max(),
        "dd_min": every.drawdown.min(), "dd_max": every.drawdown.max(),
        "dd_mean": every.drawdown.mean(), "p_dd_ge_20": every.p_ruin(0.2),
        "p_dd_ge_30": every.p_ruin(0.3),
    }  # fmt: skip


def trade_boot(trade_returns: list[float], ruin: float) -> dict[str, float]:
    every = montecarlo.enumerate_trades(np.array(trade_returns), is_resampled=True)
    return {
        "n": len(every.final), "mean_final": every.final.mean(), "std_final": every.final.std(),
        "p_dd": every.p_ruin(ruin), "p_loss": every.p_loss,
    }  # fmt: skip


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
    "spa_exact": spa_exact,
    "reality_check_mc": reality_check,
    "signflip": signflip,
    "mc_pvalue": lambda null_stats, observed: {
        "p": permute.permutation_pvalue(np.array(null_stats), observed)
    },
    "permutation_test_score": label_permutation,
    "bar_permute": bar_permute,
    "boot_mean_se": boot_mean_se,
    "opt_block": lambda x: dict(
        zip(("b_sb", "b_cb"), resample.optimal_block(column(x)), strict=True)
    ),
    "ar1_opt_block": lambda n, rho: dict(
        zip(("b_sb", "b_cb"), resample.optimal_block_ar1(n, rho), strict=True)
    ),
    "trade_perm_exact": trade_perm,
    "trade_boot_exact": trade_boot,
    "ruin_probability": lambda p_win, start_units, target_units, unit=1: {
        "p_ruin": montecarlo.ruin_probability(
            p_win, start=start_units, target=target_units, unit=unit
        )
    },
    "time_series_split": time_series_split,
    "adjust": adjust,
}
