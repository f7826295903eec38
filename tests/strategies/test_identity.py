"""A hash changes with code and parameters, and with nothing else (identity of DESIGN 4.2)."""

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from workbench.core.errors import ModelError
from workbench.strategies import MovingAverageCross, identity, load_strategy, strategy_hash

CODE = '''
import numpy as np
from workbench.strategies import Strategy
LEVEL = 1.0
def side(x):
    return np.sign(x) * LEVEL
class Mine(Strategy):
    """Text."""
    n: int = 3
    @property
    def lookback(self):
        return self.n
    def weights(self, market):
        return side(market.close)
'''


def digest(folder: Path, code: str, **params: object) -> str:
    (folder / "mine.py").write_text(code)
    return strategy_hash(load_strategy("mine.py:Mine", params, root=folder))


def test_hash_when_only_comments_change_stays(tmp_path: Path) -> None:
    changed = CODE.replace('"""Text."""', '"""Other."""  # note').replace("n: int = 3", "n:int=3")
    assert digest(tmp_path, CODE) == digest(tmp_path, changed)


@pytest.mark.parametrize(
    ("old", "new"), [("LEVEL = 1.0", "LEVEL = 2.0"), ("sign(x)", "tanh(x)"), ("n: int", "n: float")]
)
def test_hash_when_code_changes_changes(tmp_path: Path, old: str, new: str) -> None:
    assert digest(tmp_path, CODE) != digest(tmp_path, CODE.replace(old, new))


def test_hash_when_parameters_change_changes(tmp_path: Path) -> None:
    assert digest(tmp_path, CODE) != digest(tmp_path, CODE, n=4)
    assert strategy_hash(MovingAverageCross()) == strategy_hash(MovingAverageCross(fast=24))


def test_hash_without_source_is_refused() -> None:
    space: dict[str, object] = {"__name__": "nowhere"}
    exec(CODE, space)
    mine = space["Mine"]
    assert isinstance(mine, type)
    with pytest.raises(ModelError, match="source"):
        strategy_hash(mine())


def test_load_with_a_wrong_name_or_parameter_says_what_is_known() -> None:
    with pytest.raises(ModelError, match="momentum"):
        load_strategy("momentom")
    with pytest.raises(ModelError, match=r"fats is unknown, did you mean fast.*fast \(int, >= 1"):
        load_strategy("crossover", {"fats": 3})


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (np.array([1, 2]), np.array([1.0, 2.0])),
        (np.zeros((2, 3)), np.zeros((3, 2))),
        (np.array(["a", "b"], dtype=object), np.array(["a", "c"], dtype=object)),
        (pd.DataFrame({"a": [1.0]}), pd.DataFrame({"b": [1.0]})),
        (pd.Series([1.0], index=["x"]), pd.Series([1.0], index=["y"])),
    ],
)
def test_constants_that_differ_hash_apart_and_equal_ones_alike(one: Any, other: Any) -> None:
    assert identity._constant(one) != identity._constant(other)
    assert identity._constant(one) == identity._constant(one.copy())


def test_hash_is_the_same_in_every_process(tmp_path: Path) -> None:
    """Trap: a hash that follows the order of a set or an address counts one trial as two."""
    (tmp_path / "mine.py").write_text(SETTLED)
    code = (
        "from workbench.strategies import load_strategy;"
        "from workbench.strategies.identity import strategy_hash;"
        "print(strategy_hash(load_strategy('mine.py:Mine')))"
    )
    hashes = {
        subprocess.run(
            [sys.executable, "-c", code], cwd=tmp_path, env={**os.environ, "PYTHONHASHSEED": seed},
            check=True, capture_output=True, text=True,
        ).stdout
        for seed in ("1", "2", "3")
    }  # fmt: skip
    assert len(hashes) == 1


SETTLED = """
import numpy as np
from workbench.strategies import BuyAndHold
NAMES = {"a", "b", "c", "d"}
TABLE = np.array(["x", 1, None], dtype=object)

class Mine(BuyAndHold):
    n: int = 3

    def weights(self, market):
        return super().weights(market) if NAMES and TABLE.size else None
"""


def test_decision_hash_is_of_what_is_traded_when_and_in_which_symbol() -> None:
    index = pd.date_range("2024-01-01", periods=2, freq="h", tz="UTC", unit="us")
    weights = pd.DataFrame({"A": [0.5, float("nan")], "B": [0.0, -0.25]}, index=index)
    same = identity.decision_hash(weights)

    # Less than half a quantum is not traded; another unit of time is the same moment.
    assert identity.decision_hash(weights + 0.00004) == same
    assert identity.decision_hash(weights.set_axis(index.as_unit("ns"))) == same
    others = [
        weights + 0.0001,
        weights.fillna(0.0),
        weights.set_axis(index + pd.Timedelta("1h")),
        weights[["B", "A"]],
        weights.rename(columns={"A": "C"}),
        weights.iloc[:1],
    ]
    assert same not in {identity.decision_hash(other) for other in others}
