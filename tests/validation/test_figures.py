"""Protects the figures of an evaluation: what is drawn and said is what was found, watermarked."""

import json
from itertools import product

import numpy as np
import pandas as pd
import pytest
from plotly.utils import PlotlyJSONEncoder

from tests.markets import random_market, scripted
from workbench.core.errors import DataError
from workbench.risk.scenarios import Episode, Shock
from workbench.validation import figures, overfit, stress
from workbench.validation.deflation import deflated_sharpe, sharpe_stats
from workbench.validation.episodes import replay_episodes
from workbench.validation.leaks import Finding, LeakReport
from workbench.validation.montecarlo import simulate_trades
from workbench.validation.robustness import neighbourhood
from workbench.validation.splits import walk_forward
from workbench.validation.variations import start_dates
from workbench.validation.walkforward import combinatorial_paths, walk_forward_returns

DAYS = pd.date_range("2022-01-01", periods=600, freq="D", tz="UTC")
MARK = "SYNTHETIC"


@pytest.fixture(scope="module")
def returns():
    return np.random.default_rng(4).normal(0, 0.02, (600, 12)) + np.linspace(-1e-3, 1e-3, 12)


@pytest.fixture(scope="module")
def cscv(returns):
    return overfit.cscv(returns, n_blocks=8)


@pytest.fixture(scope="module")
def walk(returns):
    return walk_forward_returns(returns, walk_forward(600, train=200, test=50, purge=1))


@pytest.fixture(scope="module")
def market():
    return random_market(2, n_bars=24 * 120, n_symbols=2)


@pytest.fixture(scope="module")
def holder(market):
    return scripted([[0.4, 0.4]] * market.n_bars)


def said(figure):
    """The title of a figure, after checking that it carries the watermark and stays small."""
    title = figure.layout.title.text
    assert title.startswith(f"<b>{MARK}</b>")
    assert len(json.dumps(figure, cls=PlotlyJSONEncoder)) < 400_000
    assert len(title) - len(f"<b>{MARK}</b>") < 105, "a title must fit 1,000 pixels"
    assert figure.layout.meta["name"], "a panel lists it by its name"
    return title


def test_overfitting_shades_what_is_at_or_below_the_median(cscv):
    """VA-02: the shaded bars hold exactly the probability of backtest overfitting."""
    figure = figures.overfitting(cscv, watermark=MARK)
    better, worse = figure.data
    assert f"PBO {cscv.pbo:.0%}" in said(figure)
    assert sum(worse.y) == pytest.approx(cscv.pbo)
    assert sum(better.y) + sum(worse.y) == pytest.approx(1)
    assert max(worse.x) <= 0 < min(better.x)
    assert figure.layout.shapes[0].x1 == 0


def test_overfitting_of_many_ranks_bins_them_with_an_edge_at_the_median():
    many = overfit.cscv(np.random.default_rng(8).normal(0, 0.02, (300, 90)), n_blocks=10)
    better, worse = figures.overfitting(many, watermark=MARK).data
    assert sum(worse.y) == pytest.approx(many.pbo)
    assert max(worse.x) + worse.width / 2 == pytest.approx(0, abs=1e-9)
    assert min(better.x) - better.width / 2 == pytest.approx(0, abs=1e-9)


def test_overfitting_counts_a_choice_at_the_median_as_overfitted(returns):
    """Trap: three copies of one strategy share the middle rank, whose logit is zero."""
    same = overfit.cscv(np.repeat(returns[:, :1], 3, axis=1), n_blocks=4)
    figure = figures.overfitting(same, watermark=MARK)
    assert "PBO 100%" in said(figure)
    assert sum(figure.data[1].y) == pytest.approx(1)


def test_degradation_draws_the_line_of_all_splits(cscv):
    """VA-02: annual on both axes, so slope stays and intercept is scaled."""
    figure = figures.degradation(cscv, watermark=MARK)
    assert f"{cscv.p_loss:.0%} of the choices lost" in said(figure)
    line = next(trace for trace in figure.data if trace.name == "degradation")
    slope = (line.y[1] - line.y[0]) / (line.x[1] - line.x[0])
    assert slope == pytest.approx(cscv.slope)
    assert line.y[0] == pytest.approx(np.sqrt(365) * cscv.intercept + slope * line.x[0])
    lost = next(trace for trace in figure.data if trace.name.startswith("lost"))
    assert max(lost.y) < 0


def test_degradation_of_many_splits_draws_some(returns):
    figure = figures.degradation(overfit.cscv(returns), watermark=MARK)
    assert sum(len(trace.x) for trace in figure.data[:2]) <= 1_500
    assert "12,870 splits" in figure.layout.title.subtitle.text
    said(figure)


def test_dominance_says_what_the_distributions_say(cscv, returns):
    figure = figures.dominance(cscv, watermark=MARK)
    assert ("beats" in said(figure)) == (cscv.dominates != "none")
    edge = returns.copy()
    edge[:, 3] += 0.02
    clear = overfit.cscv(edge, n_blocks=8)
    assert clear.dominates == "first"
    assert "at every level" in said(figures.dominance(clear, watermark=MARK))


def test_deflation_marks_the_deflated_sharpe_of_both_counts(returns):
    """VA-03: the marks lie on the curve, at the ratios that the gate is shown."""
    stats = sharpe_stats(returns[:, -1])
    options = {"variance": 0.001, "n_trials": 500}
    figure = figures.deflation(stats, **options, n_effective=20.0, watermark=MARK)
    assert "500 trials" in said(figure)
    marks = {t.name: t for t in figure.data if t.name.endswith("trials") and t.showlegend}
    for name, n in (("all trials", 500), ("effective trials", 20.0)):
        assert marks[name].x == (n,)
        assert marks[name].y[0] == deflated_sharpe(stats, n_trials=n, variance=0.001)[0]
    curve = next(t for t in figure.data if t.name == "deflated Sharpe ratio")
    assert (np.diff(curve.y) <= 0).all()
    assert max(curve.x) >= 5_000


def test_null_separates_exactly_the_worlds_as_good_as_what_was_seen():
    """VA-06: the red bars are the worlds that count against the strategy."""
    worlds = np.r_[np.arange(80.0), np.full(20, 60.0)]
    figure = figures.null(
        worlds, 60.0, p_value=41 / 101, of="a statistic", name="n", threshold=75.0, watermark=MARK
    )
    assert "40.6% of worlds without an edge" in said(figure)
    below, reached = figure.data
    assert sum(below.y) == pytest.approx(0.6)
    assert sum(reached.y) == pytest.approx(0.4)
    assert min(reached.x) - reached.width / 2 == pytest.approx(60)
    assert [shape.x0 for shape in figure.layout.shapes] == [60.0, 75.0]


def test_null_of_what_no_world_reaches_has_no_red():
    figure = figures.null(np.arange(50.0), 99.0, p_value=1 / 51, of="x", name="n", watermark=MARK)
    assert len(figure.data[1].y) == 0
    said(figure)


def test_walk_forward_shows_equity_choices_and_both_sharpe_ratios(walk):
    """VA-01: stitched returns, and what every window chose anew."""
    params = pd.DataFrame({"fast": range(12), "slow": range(100, 112)})
    figure = figures.walk_forward(walk, DAYS, params, watermark=MARK)
    assert f"{walk.sharpe:.2f}" in said(figure)
    equity, inside, outside, fast, slow = figure.data
    assert equity.y[-1] == pytest.approx(np.prod(1 + walk.returns), abs=1e-6)
    assert list(outside.y) == list(walk.table["oos_sharpe"].round(3))
    assert list(inside.y) == list(walk.table["is_sharpe"].round(3))
    assert list(fast.text) == [str(k) for k in walk.table["chosen"]]
    assert list(slow.text) == [str(100 + k) for k in walk.table["chosen"]]


def test_walk_forward_of_many_windows_marks_choices_instead_of_naming_them(returns):
    many = walk_forward_returns(returns, walk_forward(600, train=60, test=10))
    figure = figures.walk_forward(many, DAYS, pd.DataFrame({"a": range(12)}), watermark=MARK)
    assert figure.data[-1].mode == "markers"
    said(figure)


def test_fan_draws_every_path_and_tells_those_that_lost(returns):
    """VA-05: each path is there, and the losing ones differ by more than colour."""
    paths = combinatorial_paths(returns)
    figure = figures.paths(paths, DAYS, watermark=MARK)
    lines = [trace for trace in figure.data if trace.name != "median"]
    assert len(lines) == len(paths.returns)
    lost = [trace for trace in lines if "lost" in trace.name]
    assert len(lost) == round(paths.p_loss * len(paths.returns))
    assert {trace.line.dash for trace in lost} <= {"dot"}
    assert figure.data[-1].y[-1] == pytest.approx(
        np.median(np.prod(1 + paths.returns, axis=1)), abs=1e-6
    )
    said(figure)


def test_fan_of_thousands_stays_small(returns):
    many = np.random.default_rng(0).normal(0, 0.01, (3_000, 700))
    figure = figures.fan(many, pd.RangeIndex(700), of="world", title="T", watermark=MARK)
    assert len(figure.data) <= 61
    said(figure)


def test_trials_count_those_before_the_marked_moment():
    made = pd.Series(DAYS[[5, 1, 3, 9]])
    figure = figures.trials(made, marked=DAYS[5], watermark=MARK)
    assert "3 trials when it was judged, 4 now" in said(figure)
    assert list(figure.data[0].y) == [1, 2, 3, 4]
    assert list(figure.data[1].y) == [3]
    later = figures.trials(made, marked=DAYS[20], watermark=MARK)
    assert list(later.data[0].y) == [1, 2, 3, 4, 4], "the line goes on to the verdict"


def test_episodes_name_the_worst_and_what_is_not_covered(market, holder):
    """VA-09."""
    span = market.index
    day = [Episode(name=f"day {k}", start=span[24 * k], end=span[24 * k + 24], kind="crypto",
                   severity="severe", what="a day") for k in (3, 50, 80)]  # fmt: skip
    late = Episode(name="later", start=span[-1], end=span[-1] + pd.Timedelta(days=2), kind="macro",
                   severity="severe", what="after")  # fmt: skip
    replay = replay_episodes(holder, market, episodes=[*day, late])
    figure = figures.episodes(replay, watermark=MARK)
    table = replay.table.dropna(subset="total_return")
    assert table["total_return"].idxmin() in said(figure)
    drawn = dict(zip([*figure.data[0].y, *figure.data[1].y],
                     [*figure.data[0].x, *figure.data[1].x], strict=True))  # fmt: skip
    assert drawn == pytest.approx(table["total_return"].to_dict())
    assert "Not covered by this market: 1" in figure.layout.title.subtitle.text
    none = figures.episodes(replay_episodes(holder, market, episodes=[late]), watermark=MARK)
    assert "None of 1 episodes" in said(none)


def test_shocks_show_every_moment_and_the_ruined(market, holder):
    """VA-10."""
    symbol = market.symbols[0]
    known = [Shock(name="half", moves={"*": -0.5}), Shock(name="other", factors={"ZZZUSDT": -0.1}),
             Shock(name="dip", moves={symbol: -0.05})]  # fmt: skip
    replay = stress.replay_shocks(holder, market, shocks=known, moments=3)
    figure = figures.shocks(replay)
    assert "Worst shock: half" in figure.layout.title.text
    moments = next(trace for trace in figure.data if trace.name == "a moment")
    assert len(moments.x) == 3 * 3
    assert "1 shocks" in figure.layout.title.subtitle.text
    none = stress.replay_shocks(holder, market, shocks=known[1:2], moments=3)
    with pytest.raises(DataError, match="cannot show any"):
        figures.shocks(none)


def test_ladders_mark_where_nothing_is_left(market, holder):
    steps = {"slippage_bps": (0.0, 10.0, 1_000.0), "latency_s": (0.0, 60.0, 7_200.0)}
    made = [stress.cost_ladder(holder, market, of=of, rungs=rungs) for of, rungs in steps.items()]
    figure = figures.ladders(made)
    drawn = [trace for trace in figure.data if trace.mode == "lines+markers"]
    for trace, ladder in zip(drawn, made, strict=True):
        assert list(trace.y) == list(ladder.table["sharpe"].round(3))
    assert figure.layout.xaxis2.ticktext == ("0s", "1m", "2h")
    with pytest.raises(DataError, match="no ladder"):
        figures.ladders([])


def test_monte_carlo_bands_hold_their_share_of_the_paths():
    """VA-08."""
    drawn = np.random.default_rng(1).normal(0.0005, 0.01, (400, 90))
    figure = figures.monte_carlo(drawn, watermark=MARK)
    ends = np.prod(1 + drawn, axis=1)
    assert f"{(ends < 1).mean():.0%} of 400 paths lose" in said(figure)
    wide, half, middle = figure.data
    at_end = np.array(wide.y)[np.array(wide.x) == 90]
    assert sorted(at_end) == pytest.approx(np.quantile(ends, [0.05, 0.95]))
    at_end = np.array(half.y)[np.array(half.x) == 90]
    assert ((ends >= min(at_end)) & (ends <= max(at_end))).mean() == pytest.approx(0.5, abs=0.01)
    assert middle.y[-1] == pytest.approx(np.median(ends))


def test_ruin_is_the_share_of_paths_that_fell_so_far():
    trades = np.random.default_rng(2).normal(0.001, 0.05, 60)
    ways = {"shuffled trades": simulate_trades(trades, n_paths=500),
            "trades missed": simulate_trades(trades, skip=0.3, n_paths=500)}  # fmt: skip
    figure = figures.ruin(ways, watermark=MARK)
    said(figure)
    for trace, found in zip(figure.data, ways.values(), strict=True):
        assert trace.y[0] == 1
        assert trace.y[30] == (found.drawdown >= trace.x[30] - 1e-12).mean()
    assert figure.data[0].line.dash != figure.data[1].line.dash


def test_prediction_marks_what_was_seen_and_says_how_much_lies_below():
    predicted = np.linspace(-0.001, 0.001, 2_001)
    figure = figures.prediction(predicted, 0.0005, watermark=MARK)
    assert "earned 18% a year, more than 75% of the predictions" in said(figure)
    shaded, seen = figure.layout.shapes
    assert seen.x0 == pytest.approx(0.0005 * 365)
    assert shaded.x1 == pytest.approx(365 * np.quantile(predicted, 0.05))


def finding(at):
    words = "weights of AAAUSDT move with close"
    return Finding("poison", "weights", "close", "AAAUSDT", at, 0.5, words)


@pytest.mark.parametrize(
    ("found", "is_judged", "words"),
    [
        ([40], True, "It reads the future: close reaches its weights"),
        ([], True, "Nothing of the past moved in 12 changed futures"),
        ([], False, "it could not be judged"),
    ],
)
def test_leaks_mark_the_first_bars_that_moved(market, found, is_judged, words):
    at = [finding(market.index[k]) for k in found]
    report = LeakReport("Mine", tuple(at), 12, is_judged)
    figure = figures.leaks(report, market)
    assert words in figure.layout.title.text
    crosses = [trace for trace in figure.data if trace.name == "first bar that leaks"]
    assert len(crosses) == len(found)
    if found:
        assert crosses[0].y[0] == market.close.iloc[40, 0]


def neighbours(grid, score):
    rows = pd.DataFrame(list(product(*grid.values())), columns=list(grid))
    return neighbourhood(rows.assign(sharpe=[score(*row) for row in rows.to_numpy()]), grid)


def test_plateau_outlines_the_chosen_cell_and_its_neighbours():
    """VA-13: the map, the choice, and what lies a step around it."""
    found = neighbours({"fast": [5, 10, 20, 40], "slow": [50, 100, 200]}, lambda f, s: f * s / 1e3)
    figure = figures.plateau(found, watermark=MARK)
    assert f"keeps {found.plateau:.0%}" in said(figure)
    assert found.peak == {"fast": 40, "slow": 200}
    chosen, around = figure.layout.shapes[1], figure.layout.shapes[3]
    assert (chosen.x0, chosen.x1, chosen.y0, chosen.y1) == (2.5, 3.5, 1.5, 2.5)
    assert (around.x0, around.x1, around.y0, around.y1) == (1.5, 3.5, 0.5, 2.5)
    assert figure.data[0].z[2][3] == pytest.approx(8.0)
    assert "ends at it in fast and slow" in figure.layout.title.subtitle.text


def test_plateau_of_one_parameter_is_a_line_and_of_three_a_step_in_each():
    line = figures.plateau(neighbours({"a": [1, 2, 3]}, lambda a: 2 - (a - 2) ** 2), watermark=MARK)
    assert list(line.data[0].y) == [1, 2, 1]
    three = neighbours({"a": [1, 2, 3], "b": [1, 2, 3], "c": [1, 2, 3]},
                       lambda a, b, c: 9 - (a - 2) ** 2 - 2 * (b - 2) ** 2 - c)  # fmt: skip
    down, up = figures.plateau(three, watermark=MARK).data
    assert dict(zip(up.y, up.x, strict=True)) == {"a": 7, "b": 6, "c": 7}
    assert np.isnan(dict(zip(down.y, down.x, strict=True))["c"])


def test_plateau_of_a_loser_and_of_no_choice_say_so():
    loser = neighbours({"a": [1, 2, 3]}, lambda a: -a)
    assert "no peak to lose" in said(figures.plateau(loser, watermark=MARK))
    for draw in (figures.plateau, figures.overfitting, figures.degradation):
        assert "one configuration only" in said(draw(None, watermark=MARK))


def test_start_dates_tell_the_losers_by_shape_and_name_the_worst(market, holder):
    found = start_dates(holder, market, starts=8, horizon_days=30)
    figure = figures.start_dates(found)
    hold, gained, lost = figure.data
    returns = found.table["total_return"]
    assert len(gained.x) + len(lost.x) == len(hold.x) == 8
    assert sorted([*gained.y, *lost.y]) == pytest.approx(sorted(returns), abs=1e-4)
    assert f"lost from {(returns < 0).mean():.0%}" in figure.layout.title.text
    assert (gained.marker.symbol, lost.marker.symbol) == ("circle", "x")
