"""Protects the sealed end of imported data: one date for all, set once."""

from datetime import timedelta

import pandas as pd
import pytest

from workbench.data import import_file, seal_import
from workbench.data.seal import SEALED
from workbench.store import Store


def write_bars(path, *, days):
    times = pd.date_range("2022-01-01", periods=days, freq="1D")
    bars = dict.fromkeys(("open", "high", "low", "close", "volume"), 100.0)
    pd.DataFrame({"timestamp": times, "symbol": "BTCUSDT", **bars}).to_csv(path, index=False)
    return path


def seals():
    with Store.open() as store:
        return [row["until"] for row in store.events(kind="seal")["detail"]]


@pytest.mark.parametrize(
    ("days", "held_back"), [(1_000, SEALED), (41, timedelta(days=10) - timedelta(hours=6))]
)
def test_seal_import_seals_six_months_or_a_quarter(home, days, held_back):
    """DESIGN 5. The last bar of a file is taken to be in progress and does not count."""
    report = import_file(write_bars(home / "a.csv", days=days), lake=home / "lake")

    seal_import(report)

    last = pd.Timestamp("2022-01-01", tz="UTC") + pd.Timedelta(days=days - 2)
    assert [pd.Timestamp(until) for until in seals()] == [last - held_back]


def test_seal_import_of_more_data_does_not_move_the_date(home):
    for name, days in (("a.csv", 500), ("b.csv", 1_000)):
        seal_import(import_file(write_bars(home / name, days=days), lake=home / "lake"))

    assert len(seals()) == 1
