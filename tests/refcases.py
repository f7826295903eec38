"""Published reference cases, run against our functions: ``python -m tests.refcases FILE...``.

``ADAPTERS`` maps each method of the case files to a callable of its inputs that returns its
expected keys. Prints id, pass or fail and the difference; ends with 1 on any failure. A method
without an adapter is counted and named.
"""

import gzip
import json
import sys
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd

from tests.portfolio import adapters as portfolio
from tests.risk import adapters as risk
from tests.validation import adapters as validation
from workbench.core import measures


class Outcome(NamedTuple):
    """What became of one case; ``is_known`` is false where no adapter exists."""

    case: str
    method: str
    is_known: bool
    is_passed: bool
    difference: str


def performance(returns: Sequence[float], periods: float, mar: float = 0.0) -> dict[str, float]:
    """The measures of one return series under the names of the case files."""
    r = np.asarray(returns, dtype=float)
    downside = measures.downside_deviation(r, target=mar)
    excess = float(r.mean()) - mar
    return {
        "n": len(r),
        "total_return": measures.total_return(r),
        "cagr": measures.cagr(r, periods),
        "ann_vol": measures.annual_volatility(r, periods),
        "sharpe": measures.sharpe(r, periods),
        "sharpe_geo": measures.geometric_sharpe(r, periods),
        "max_drawdown": measures.max_drawdown(r),
        "calmar": measures.calmar(r, periods),
        "downside_dev": downside,
        "sortino_period": excess / downside,
        "sortino_ann": (
            measures.sortino(r, periods) if mar == 0 else excess / downside * np.sqrt(periods)
        ),
        "omega": measures.omega(r, target=mar),
        "ulcer": measures.ulcer_index(r),
        "pain": measures.pain_index(r),
        "martin": measures.martin_ratio(r, periods),
        "pain_ratio": measures.pain_ratio(r, periods),
        "kappa3": measures.kappa(r, target=mar),
        "tail_ratio": measures.tail_ratio(r),
        "win_rate": measures.win_rate(r),
        "profit_factor": measures.profit_factor(r),
        "skew": measures.skewness(r),
        "ex_kurt": measures.excess_kurtosis(r),
        "avg_drawdown": measures.average_drawdown(r),
        "burke": measures.burke_ratio(r, periods),
    }


def episodes(returns: Sequence[float]) -> list[dict[str, Any]]:
    """The drawdown episodes as the case files write them."""
    table = measures.drawdowns(np.asarray(returns, dtype=float))
    rows = table.astype({"end": object}).to_dict("records")
    return [row | {"end": None if pd.isna(row["end"]) else int(row["end"])} for row in rows]


def top_episodes(returns: Sequence[float]) -> list[dict[str, Any]]:
    """The five deepest, counted from one as the published table counts."""
    deepest = sorted(episodes(returns), key=lambda row: -row["depth"])[:5]
    return [{key: row[key] for key in row if key != "trough"} for row in deepest]


def trades(pnl: Sequence[float]) -> dict[str, float]:
    """The measures of a list of trades under the names of the case files."""
    values = np.asarray(pnl, dtype=float)
    named = measures.measure_trades(values)
    return {
        "n": named["n_trades"],
        "win_rate": named["win_rate"],
        "avg_win": named["average_win_usdt"],
        "avg_loss": named["average_loss_usdt"],
        "payoff": named["payoff"],
        "profit_factor": named["profit_factor"],
        "expectancy": named["expectancy_usdt"],
        "sqn": named["system_quality"],
        "kelly": named["kelly_fraction"],
    }


ADAPTERS: Mapping[str, Callable[..., dict[str, Any]]] = {
    "metrics": performance,
    "drawdowns": lambda returns: {"episodes": episodes(returns)},
    "drawdowns_top5": lambda returns: {"top5": top_episodes(returns)},
    "trade_stats": trades,
    **validation.ADAPTERS,
    **risk.ADAPTERS,
    **portfolio.ADAPTERS,
}

_WORDS = {"NaN": float("nan"), "Infinity": float("inf"), "-Infinity": float("-inf")}


def run_file(path: Path) -> list[Outcome]:
    """Run every case of one file."""
    cases = json.loads(path.read_text(encoding="utf-8"))["cases"]
    return [_run(case, path.parent) for case in cases]


def main(paths: Sequence[str]) -> int:
    """Run files, print each case, and return 1 if any failed."""
    outcomes = [outcome for path in paths for outcome in run_file(Path(path))]
    for outcome in outcomes:
        word = "pass" if outcome.is_passed else "FAIL" if outcome.is_known else "unknown"
        print(f"{outcome.case:40} {word:8} {outcome.difference}")
    unknown = Counter(outcome.method for outcome in outcomes if not outcome.is_known)
    for method, count in unknown.items():
        print(f"no adapter for {method}: {count} cases")
    return int(any(outcome.is_known and not outcome.is_passed for outcome in outcomes))


def _run(case: Mapping[str, Any], folder: Path) -> Outcome:
    method = case["method"]
    if method not in ADAPTERS:
        return Outcome(case["id"], method, is_known=False, is_passed=False, difference="")
    answer = ADAPTERS[method](**_inputs(case["inputs"], folder))
    worst, faults = 0.0, []
    for key, expected in case["expected"].items():
        if key not in answer:
            faults.append(f"{key} is missing")
            continue
        tolerance = case["tol"].get(key, case["tol"]) if isinstance(case["tol"], dict) else {}
        try:
            worst = max(worst, _compare(answer[key], expected, tolerance, key))
        except AssertionError as error:
            faults.append(str(error))
    difference = "; ".join(faults) or f"{worst:.2e}"
    return Outcome(case["id"], method, True, not faults, difference)


def _inputs(inputs: Mapping[str, Any], folder: Path) -> dict[str, Any]:
    answer = {}
    for key, value in inputs.items():
        if not (key.endswith("_file") or (isinstance(value, str) and value.startswith("data/"))):
            answer[key] = value
            continue
        place = folder / value
        opener = gzip.open if place.suffix == ".gz" else open
        with opener(place, "rt", encoding="utf-8") as file:
            first = file.readline()
            file.seek(0)
            # Some files begin with names, some with numbers.
            header = None if _is_numbers(first) else 0
            answer[key.removesuffix("_file")] = pd.read_csv(file, header=header)
    return answer


def _is_numbers(line: str) -> bool:
    try:
        [float(word) for word in line.strip().split(",")]
    except ValueError:
        return False
    return True


def _compare(ours: Any, theirs: Any, tolerance: Any, key: str) -> float:
    if isinstance(theirs, Mapping):
        return max(
            (_compare(ours[k], v, tolerance, f"{key}.{k}") for k, v in theirs.items()), default=0
        )
    if isinstance(theirs, list):
        assert len(ours) == len(theirs), f"{key} has {len(ours)} rows, not {len(theirs)}"
        pairs = zip(ours, theirs, strict=True)
        return max(
            (_compare(a, b, tolerance, f"{key}[{i}]") for i, (a, b) in enumerate(pairs)), default=0
        )
    theirs = _WORDS.get(theirs, theirs) if isinstance(theirs, str) else theirs
    if theirs is None or isinstance(theirs, (str, bool)) or tolerance == "exact":
        assert ours == theirs, f"{key} is {ours}, not {theirs}"
        return 0.0
    if np.isnan(theirs) or np.isinf(theirs):
        assert np.array_equal(ours, theirs, equal_nan=True), f"{key} is {ours}, not {theirs}"
        return 0.0
    gap = abs(ours - theirs)
    allowed = tolerance.get("abs", 0.0) + tolerance.get("rel", 0.0) * abs(theirs)
    assert gap <= allowed, f"{key} is {ours}, not {theirs} (off by {gap:.2e})"
    return float(gap)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
