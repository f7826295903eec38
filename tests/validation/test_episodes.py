"""Protects historical stress: the real days, bar by bar, and nothing left out in silence."""

import re

import numpy as np
import pandas as pd
import pytest

from tests.markets import make_instrument
from tests.validation.history import MAJORS
from workbench.core.costs import FREE, Costs
from workbench.core.errors import ConfigError
from workbench.core.records import Account, Market
from workbench.risk.scenarios import Episode, load_episodes
from workbench.strategies.hold import BuyAndHold
from workbench.strategies.momentum import TimeSeriesMomentum
from workbench.validation.episodes import replay_episodes

EPISODES = {episode.name: episode for episode in load_episodes()}
ASKED = ["2020-03", "2021-05", "2022-05", "2022-06", "2022-11", "2024-08", "2025-10"]


def episode(name):
    return next(e for e in EPISODES.values() if e.name.startswith(name))


def move_of(market, chosen):
    """The largest fall from a peak or rise from a trough, as a fraction of the higher price."""
    inside = market.between(pd.Timestamp(chosen.start) + market.bar_length, chosen.end)
    high, low = inside.high, inside.low
    fall = (1 - low / high.cummax()).max()
    rise = (1 - low.cummin() / high).max()
    return np.maximum(fall, rise)


def test_package_episodes_are_those_that_are_asked_for_and_macro_events_beside():
    """VA-09."""
    assert all(any(name.startswith(asked) for name in EPISODES) for asked in ASKED)
    assert {e.kind for e in EPISODES.values()} == {"crypto", "macro"}
    assert {e.severity for e in EPISODES.values()} == {"moderate", "severe", "extreme"}
    starts = [e.start for e in EPISODES.values()]
    assert starts == sorted(starts)


@pytest.mark.parametrize("chosen", EPISODES.values(), ids=lambda e: e.name)
def test_severity_follows_its_rule_on_real_prices(chosen, majors, bitstamp, autumn):
    """The rule stands at the head of the file."""
    place = {"2020-03": bitstamp, "2025-10": autumn}.get(chosen.name[:7], majors)
    symbols = [s for s in MAJORS if s in place.symbols] or place.symbols

    move = move_of(place.select(symbols), chosen).median()

    grade = "extreme" if move >= 1 / 3 else "severe" if move >= 0.25 else "moderate"
    assert grade == chosen.severity, f"{chosen.name}: {move:.3f}"


def test_real_bitcoin_is_replayed_where_it_is_covered_and_named_where_it_is_not(majors):
    """VA-09."""
    market = majors.select(["BTCUSDT"])

    done = replay_episodes(TimeSeriesMomentum(), market)

    assert done.not_covered == [episode("2020-03").name, episode("2025-10").name]
    assert list(done.table.index) == list(EPISODES)
    status = done.table["status"]
    assert status.iloc[0] == "not covered: the market begins on 2020-03-25"
    assert status.iloc[-1] == "not covered: the market ends on 2025-05-15"
    for asked in ("2021-05", "2022-05", "2022-06", "2022-11", "2024-08"):
        row = done.table.loc[episode(asked).name]
        assert row["status"] == "replayed"
        assert row["exposure"] > 0.9
        assert row["hold_total_return"] < -0.1
        assert done.equity[row.name]["strategy"].iloc[-1] - 1 == pytest.approx(row["total_return"])
    assert done.table.loc[done.not_covered, "total_return"].isna().all()


def test_hold_beside_is_the_market_itself(majors):
    """Not a first-day shock: return, deepest fall and worst hour are those of the closes."""
    market, chosen = majors.select(["BTCUSDT"]), episode("2022-11")

    done = replay_episodes(BuyAndHold(), market, episodes=[chosen], costs=FREE)

    close = market.between(chosen.start, chosen.end).close["BTCUSDT"]
    opened = market.open["BTCUSDT"].loc[close.index[1]]
    path = pd.concat([pd.Series([opened]), close.iloc[1:]]) / opened
    row = done.table.iloc[0]
    assert row["total_return"] == row["hold_total_return"] == pytest.approx(path.iloc[-1] - 1)
    assert row["max_drawdown"] == pytest.approx((1 - path / path.cummax()).max(), abs=1e-6)
    assert row["worst_bar"] == pytest.approx(path.pct_change().min(), abs=1e-6)
    assert (row["bars"], row["symbols"]) == (120, 1)


def test_funding_is_paid_as_it_was(majors):
    market, chosen = majors.select(["BTCUSDT"]), episode("2022-11")

    done = replay_episodes(
        BuyAndHold(), market, episodes=[chosen], costs=Costs(0, 0, 0, 0, 0, 0)
    ).table.iloc[0]

    inside = market.between(pd.Timestamp(chosen.start) + market.bar_length, chosen.end)
    qty = 10_000 / market.close["BTCUSDT"].asof(chosen.start)
    paid = (inside.funding_settled["BTCUSDT"] * inside.mark_close["BTCUSDT"] * qty).sum()
    assert inside.funding_settled["BTCUSDT"].notna().sum() == 15
    assert done["funding_usdt"] == pytest.approx(paid)
    assert "mark prices are missing" in done["notes"]


def test_march_2020_liquidates_what_a_first_day_shock_would_not(bitstamp):
    """Four times leverage outlives the worst hour of the crash, not the way through it."""
    market = Market.from_frames(
        {name: getattr(bitstamp, name) for name in ("open", "high", "low", "close")},
        interval="60",
        instruments={"BTCUSD": make_instrument("BTCUSD")},
    )
    crash = market.between("2020-03-12 01:00", "2020-03-14")
    worst_hour = (crash.low / crash.open - 1).min().item()

    done = replay_episodes(
        BuyAndHold(), market, episodes=[episode("2020-03")], account=Account(leverage=4)
    ).table.iloc[0]

    assert 4 * worst_hour > -0.8
    assert done["n_liquidations"] == 1
    assert done["total_return"] == -1.0


def test_replay_knows_nothing_after_the_episode(majors):
    """VA-09: what comes later cannot change what is said of it."""
    market, chosen = majors.select(["BTCUSDT", "ETHUSDT"]), episode("2022-05")
    cut = market.until(chosen.end)

    one = replay_episodes(TimeSeriesMomentum(), market, episodes=[chosen])
    two = replay_episodes(TimeSeriesMomentum(), cut, episodes=[chosen])

    pd.testing.assert_frame_equal(one.table, two.table)


@pytest.mark.parametrize(
    ("span", "words"),
    [
        (("2022-11-05", None), r"2689 bars must lie before, there are 25"),
        (("2022-01-01", "2022-11-10"), r"ends on 2022-11-10"),
    ],
)
def test_episode_without_its_history_or_end_is_said_not_to_be_covered(majors, span, words):
    market = majors.select(["BTCUSDT"]).between(*span)
    done = replay_episodes(TimeSeriesMomentum(), market, episodes=[episode("2022-11")])

    assert re.search(words, done.table["status"].iloc[0])
    assert not done.equity


def test_episode_with_holes_is_said_not_to_be_covered(majors):
    market = majors.select(["BTCUSDT"]).between("2022-09-01", "2022-12-01")
    kept = ~((market.index > "2022-11-08") & (market.index < "2022-11-09"))
    frames = {name: getattr(market, name)[kept] for name in ("open", "high", "low", "close")}
    holed = Market.from_frames(frames, interval="60")

    done = replay_episodes(BuyAndHold(), holed, episodes=[episode("2022-11")])

    assert done.table["status"].iloc[0] == "not covered: the market holds 97 of 120 bars"


def test_episode_shorter_than_two_bars_is_said_not_to_be_covered(majors):
    weekly = majors.select(["BTCUSDT"]).resample("W")
    done = replay_episodes(BuyAndHold(), weekly, episodes=[episode("2024-08")])

    assert "a bar of W is too long" in done.table["status"].iloc[0]


def test_episodes_in_threads_give_the_same_table_and_count_the_symbols_that_traded(majors):
    market = majors.between("2021-01-01", "2022-12-01")
    one, two = (replay_episodes(TimeSeriesMomentum(), market, workers=n) for n in (1, 4))

    assert one.table.loc[episode("2021-05").name, "symbols"] == 3
    assert one.table.loc[episode("2022-11").name, "symbols"] == 5
    pd.testing.assert_frame_equal(one.table, two.table)


GOOD = """version = 1
[[episodes]]
name = "a"
start = 2022-01-01T00:00:00Z
end = 2022-01-02T00:00:00Z
kind = "macro"
severity = "severe"
what = "something"
"""


def test_own_file_of_episodes_is_read(tmp_path):
    place = tmp_path / "mine.toml"
    place.write_text(GOOD)

    (found,) = load_episodes(place)

    assert found == Episode.model_validate(found.model_dump())
    assert (found.name, found.severity) == ("a", "severe")


@pytest.mark.parametrize(
    ("old", "new", "words"),
    [
        ("version = 1\n", "", "needs a whole number `version`"),
        ("version = 1", "version = 1\nfoo = 2", "nothing else"),
        ("2022-01-01T00:00:00Z", "2022-01-01T00:00:00", "0.start"),
        ("2022-01-02T00:00:00Z", "2021-01-02T00:00:00Z", "not after its start"),
        ('"severe"', '"bad"', "0.severity"),
        ('what = "something"', "", "0.what"),
        ('"a"', '""', "0.name"),
        ("version = 1", "version =", "not valid TOML"),
        (GOOD, "version = 1\nepisodes = []", "names nothing"),
        (GOOD, GOOD + GOOD.removeprefix("version = 1\n"), "names a twice"),
    ],
)
def test_file_that_does_not_describe_episodes_is_refused(tmp_path, old, new, words):
    place = tmp_path / "mine.toml"
    place.write_text(GOOD.replace(old, new))

    with pytest.raises(ConfigError, match=re.escape(words)):
        load_episodes(place)


def test_missing_file_is_refused(tmp_path):
    with pytest.raises(ConfigError, match="There is no file"):
        load_episodes(tmp_path / "none.toml")
