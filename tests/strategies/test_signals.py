"""Signals become the positions that vectorbt takes on the same signals."""

import numpy as np
import pandas as pd
import pytest

from tests.markets import make_index
from workbench.strategies import from_signals


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")
def test_signals_equal_vectorbt_on_random_signals() -> None:
    vbt = pytest.importorskip("vectorbt")
    rng = np.random.default_rng(2)
    index = make_index(2000)
    frames = [pd.DataFrame(rng.random((2000, 3)) < 0.15, index=index) for _ in range(4)]
    close = pd.DataFrame(100.0, index=index, columns=frames[0].columns)
    theirs = vbt.Portfolio.from_signals(
        close, *frames[:2], short_entries=frames[2], short_exits=frames[3], size=1.0, init_cash=1e6
    ).assets()
    ours = from_signals(*frames).ffill()
    assert np.array_equal(np.sign(theirs.to_numpy()), ours.to_numpy())


def test_signals_by_freqtrade_ignore_an_opposite_entry() -> None:
    index = make_index(4)
    on = {"l": [1, 0, 0, 0], "x": [0, 0, 1, 0], "s": [0, 1, 0, 1], "c": [0, 0, 0, 0]}
    frames = [pd.DataFrame({"A": v}, index=index).astype(bool) for v in on.values()]
    assert from_signals(*frames, convention="freqtrade").ffill()["A"].tolist() == [1, 1, 0, -1]
    assert from_signals(*frames).ffill()["A"].tolist() == [1, -1, -1, -1]
