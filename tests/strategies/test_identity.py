"""A hash changes with code and parameters, and with nothing else (identity of DESIGN 4.2)."""

from pathlib import Path

import pytest

from workbench.core.errors import ModelError
from workbench.strategies import MovingAverageCross, load_strategy, strategy_hash

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
