"""Protects the autopsy: what is claimed, was possible and is left, and that it grants nothing."""

import json

import numpy as np
import pandas as pd
import polars as pl
import pytest

from tests.data.test_tradelist import freqtrade_trade, write_freqtrade
from tests.markets import random_market
from workbench.core.costs import Costs
from workbench.core.errors import DataError
from workbench.core.records import Account
from workbench.data import import_file
from workbench.data.seal import seal_end
from workbench.research import dissect, load
from workbench.research.reprice import NEXT_OPEN, find_lag, place_fills, reprice
from workbench.store import Store

FROM = "2024-01-03"


@pytest.fixture(scope="module")
def real_lake(shared_data, tmp_path_factory):
    """BTC hourly from 2024 on, with mark and funding."""
    place = tmp_path_factory.mktemp("autopsy")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("WORKBENCH_DATA_DIR", str(place))
        for name in ("ohlcv_1h", "mark_1h", "funding"):
            rows = pl.read_parquet(shared_data / "bybit_linear_2024" / f"{name}.parquet")
            cut = rows.filter(
                (pl.col("symbol") == "BTCUSDT")
                & (pl.col("timestamp") >= pl.datetime(2023, 12, 30, time_zone="UTC"))
                & (pl.col("timestamp") < pl.datetime(2024, 10, 1, time_zone="UTC"))
            )
            cut.write_parquet(place / f"BTCUSDT_{name}.parquet")
            import_file(place / f"BTCUSDT_{name}.parquet", lake=place / "lake")
    return place / "lake"


@pytest.fixture
def lake(home, real_lake):
    (home / "data").mkdir()
    (home / "data" / "lake").symlink_to(real_lake)
    return real_lake


@pytest.fixture
def bars(lake):
    """Opens, highs and lows by the start of the bar."""
    market = load(["BTCUSDT"], start=FROM)
    table = pd.DataFrame(
        {name: getattr(market, name)["BTCUSDT"] for name in ("open", "high", "low", "close")}
    )
    return table.set_axis(market.index - market.bar_length)


def trips(bars, rows, *, hold=24, side=1.0, entry=None, leave=None):
    """Round trips from the open at each row to the open so many bars later."""
    rows = np.asarray(rows)
    price = bars["open"].to_numpy()
    return pd.DataFrame(
        {
            "symbol": "BTCUSDT",
            "side": np.where(np.broadcast_to(side, rows.shape) > 0, "long", "short"),
            "entry_time": bars.index[rows],
            "exit_time": bars.index[rows + hold],
            "entry_price": price[rows] if entry is None else entry,
            "exit_price": price[rows + hold] if leave is None else leave,
            "qty": 0.2,
        }
    )


def test_honest_fills_cost_what_the_kernel_says_they_do(bars):
    """An independent oracle: the last layer of plain sums is the first one of the kernel."""
    found = dissect(trips(bars, range(24, 5_000, 50)), n_trials=1)
    table = found.waterfall["total_return"]
    assert found.measures["impossible"] == 0
    assert table["as claimed"] > table["Bybit's taker fees"] > table["spread and slippage"]
    assert table[NEXT_OPEN] == pytest.approx(table["funding at its stamps"], rel=1e-9)
    assert np.allclose(found.daily[NEXT_OPEN], found.daily["funding at its stamps"], atol=1e-12)
    gains = 0.2 * (found.blotter.fills["qty"] * -found.blotter.fills["price"] / 0.2).sum()
    assert table["as claimed"] * found.account.capital_usdt == pytest.approx(gains, rel=1e-9)
    fees = (0.2 * found.blotter.fills["price"]).sum() * 5.5e-4
    lost = (table["as claimed"] - table["Bybit's taker fees"]) * found.account.capital_usdt
    assert lost == pytest.approx(fees, rel=1e-9)


def test_funding_is_paid_at_each_stamp_that_is_held_over(bars, lake):
    """Held from 00:30 to 08:30 one stamp is crossed, from 01:00 to 07:00 none."""
    market = load(["BTCUSDT"], start=FROM)
    midnight = int(np.flatnonzero(bars.index.hour == 0)[10])
    for start, hold, stamp in ((midnight - 1, 3, True), (midnight + 1, 6, False)):
        found = dissect(trips(bars, [start], hold=hold), n_trials=1)
        table = found.waterfall["total_return"]
        paid = (table["spread and slippage"] - table["funding at its stamps"]) * (
            found.account.capital_usdt
        )
        at = market.index.get_loc(bars.index[midnight])
        rate = market.funding_settled["BTCUSDT"].iloc[at]
        assert rate != 0
        mark = market.mark_close["BTCUSDT"].iloc[at]
        assert paid == pytest.approx(0.2 * mark * rate * stamp, abs=1e-9)


def test_profit_that_lives_on_free_trading_is_named_as_that(bars):
    """Scalps of a few basis points, picked with hindsight: they earn before costs and not after."""
    move = (bars["open"].shift(-1) / bars["open"] - 1).to_numpy()
    rows = np.flatnonzero((np.abs(move) > 1e-4) & (np.abs(move) < 8e-4))
    rows = rows[(rows > 30) & (rows < 6_000)][::2]
    found = dissect(trips(bars, rows, hold=1, side=np.sign(move[rows])), n_trials=10)
    assert found.waterfall.loc["as claimed", "sharpe"] > 3
    assert found.waterfall.loc["Bybit's taker fees", "total_return"] < 0
    assert not found.verdict.is_passed
    assert found.verdict.sentence.startswith("It claims +")


def test_prices_that_were_never_traded_are_flagged_and_refused(bars):
    rows = np.arange(24, 2_000, 50)
    entry = bars["low"].to_numpy()[rows] * 0.97
    found = dissect(trips(bars, rows, entry=entry), n_trials=1)
    assert found.measures["impossible"] == len(rows)
    assert found.impossible["outside"].min() > 0.02
    assert "at prices at which nothing was traded then, by up to 3." in found.verdict.sentence
    assert any("average price" in note for note in found.notes)


def test_an_edge_that_is_there_passes_and_still_grants_nothing(bars):
    """With hindsight over a day: real prices, real costs, and one try."""
    ahead = (bars["open"].shift(-24) / bars["open"] - 1).to_numpy()
    rows = np.flatnonzero((bars.index.hour == 3) & (np.abs(ahead) > 0.005))[1:]
    found = dissect(
        trips(bars, rows[rows < 6_000], side=np.sign(ahead[rows[rows < 6_000]])), n_trials=1
    )
    assert found.verdict.is_passed
    assert not found.verdict.grants
    assert found.verdict.strategy_hash.startswith("unledgered")
    assert found.watermark == "UNLEDGERED"
    with Store.open() as store:
        assert store.trials().empty
        assert set(store.events()["kind"]) <= {"seal"}
    assert found.measures["delayed_sharpe"] == pytest.approx(found.measures["sharpe"], rel=0.3)


def test_more_trials_leave_less_of_the_same_trades(bars):
    """VA-03: the deflated Sharpe ratio falls, and the bar rises, with the number that was tried."""
    trades = trips(bars, range(24, 5_000, 37))
    seen = [dissect(trades, n_trials=n).measures for n in (1, 10, 1_000)]
    bars_ = [each["expected_maximum_sharpe"] for each in seen]
    sure = [each["deflated_sharpe"] for each in seen]
    assert bars_[0] == 0.0 < bars_[1] < bars_[2]
    assert sure[0] > sure[1] > sure[2]
    days = seen[0]["days"]
    # The expected maximum of ten standard normal variables is 1.539; the approximation gives 1.57.
    assert bars_[1] == pytest.approx(1.57 / days**0.5 * 365**0.5, rel=0.01)


def test_stamps_that_label_bars_filled_at_their_close_are_found_out(bars):
    trades = trips(bars, range(24, 2_000, 31))
    late = trades.assign(
        entry_time=trades["entry_time"] - pd.Timedelta(hours=1),
        exit_time=trades["exit_time"] - pd.Timedelta(hours=1),
    )
    one, other = dissect(trades, n_trials=5), dissect(late, n_trials=5)
    assert not any("starts of bars" in guess for guess in one.guesses)
    assert any("starts of bars of 1 h" in guess for guess in other.guesses)
    assert other.waterfall[NEXT_OPEN:].equals(one.waterfall[NEXT_OPEN:]) or np.allclose(
        other.waterfall.loc[NEXT_OPEN:], one.waterfall.loc[NEXT_OPEN:]
    )


def test_price_inside_a_bar_is_filled_at_the_open_after_it_never_before(bars, lake):
    """A stop at a bar's low: the open of that bar would be a fill before the loss."""
    market = load(["BTCUSDT"], start=FROM)
    row = 100 + int(np.argmax((bars["open"] / bars["low"] - 1).to_numpy()[100:1_000]))
    fills = pd.DataFrame(
        {
            "moment": [bars.index[row], bars.index[row] + pd.Timedelta(minutes=20)],
            "symbol": "BTCUSDT",
            "qty": [-1.0, 1.0],
            "price": [bars["low"].iloc[row] * 1.0001, bars["close"].iloc[row]],
        }
    )
    placed = place_fills(fills, market, lag=pd.Timedelta(0), timeframe=None)
    at = market.index.get_loc(bars.index[row] + pd.Timedelta(hours=1))
    assert placed["row"].tolist() == [at, at]
    assert placed["next_row"].tolist() == [at + 1, at + 1]
    assert (placed["outside"] == 0).all()


def test_what_the_lake_lacks_is_named_with_the_command_and_the_rest_goes_on(bars):
    trades = trips(bars, range(24, 1_000, 40))
    others = trades.head(2).assign(symbol="DOGE/USDT")
    found = dissect(pd.concat([trades, others], ignore_index=True), n_trials=1)
    (missing,) = found.missing
    assert (missing.symbol, missing.n_trades) == ("DOGEUSDT", 2)
    assert missing.remedy.startswith("workbench data pull DOGEUSDT --interval 60 --start 2024-01-0")
    assert found.measures["covered_share"] == pytest.approx(25 / 27)
    assert any(f.name == "nothing left out" and f.status == "fail" for f in found.verdict.findings)
    with pytest.raises(DataError, match="holds no bars of DOGEUSDT") as caught:
        dissect(others, n_trials=1)
    assert "workbench data pull DOGEUSDT" in caught.value.fix
    early = trades.assign(
        entry_time=trades["entry_time"] - pd.Timedelta(days=900),
        exit_time=trades["exit_time"] - pd.Timedelta(days=900),
    )
    with pytest.raises(DataError, match="BTCUSDT from 2021"):
        dissect(early, n_trials=1)


def test_trades_after_the_sealed_date_stay_out_and_are_not_held_against_it(bars):
    trades = trips(bars, range(24, 5_000, 40))
    until = trades["entry_time"].iloc[100]
    seal_end(until.to_pydatetime(), reason="a test")
    found = dissect(trades, n_trials=1)
    assert found.fills["moment"].max() <= until
    assert found.market.index[-1] <= until
    (missing,) = found.missing
    assert missing.remedy.startswith("sealed since")
    assert found.measures["covered_share"] == 1.0


def test_freqtrade_with_leverage_is_liquidated_on_the_mark(bars, tmp_path):
    """Fifty times long over the fall of 5 August 2024: the claimed exit was never reached."""
    start, end = pd.Timestamp("2024-08-04 00:00", tz="UTC"), pd.Timestamp("2024-08-09", tz="UTC")
    trade = freqtrade_trade(
        amount=0.1, leverage=50.0, open_date=str(start), close_date=str(end),
        open_rate=float(bars["open"][start]), close_rate=float(bars["open"][end]),
        fee_open=0.0, fee_close=0.0, funding_fees=0.0,
    )  # fmt: skip
    found = dissect(write_freqtrade(tmp_path / "b.zip", [trade]), n_trials=1, capital_usdt=500.0)
    assert found.account.is_isolated
    assert found.account.margin_leverage == 50
    assert found.measures["n_liquidations"] == 1
    assert (
        found.waterfall.loc["margin and liquidation", "total_return"]
        < (found.waterfall.loc["lots and minimum notional", "total_return"])
    )
    assert "liquidated 1 times" in found.verdict.sentence


def test_few_days_are_no_evidence_of_anything(bars):
    found = dissect(trips(bars, [30, 60], hold=5), n_trials=3)
    assert found.measures["deflated_sharpe"] is None
    assert not found.verdict.is_passed
    (luck,) = [f for f in found.verdict.findings if f.name == "more than luck"]
    assert "too few" in luck.sentence


def test_trials_below_one_are_refused(bars):
    with pytest.raises(DataError, match="0 trials"):
        dissect(trips(bars, [30]), n_trials=0)


@pytest.mark.parametrize("seed", range(3))
def test_layers_agree_with_the_kernel_on_any_market(seed):
    """Random fills at opens of several symbols: plain sums and kernel, day by day."""
    market = random_market(seed, n_bars=400, n_symbols=3)
    rng = np.random.default_rng(seed)
    rows, rank = rng.integers(30, 300, 40), rng.integers(0, 3, 40)
    ends = rows + rng.integers(1, 60, 40)
    qty = rng.normal(0, 3, 40)
    starts = market.index - market.bar_length
    opened = market.open.to_numpy()
    fills = pd.concat(
        pd.DataFrame(
            {"moment": starts[at], "symbol": np.array(market.symbols)[rank], "qty": sign * qty,
             "price": opened[at, rank], "fee_usdt": 0.0, "funding_usdt": 0.0, "trade": range(40)}
        )
        for at, sign in ((rows, 1.0), (ends, -1.0))
    ).sort_values("moment", kind="stable", ignore_index=True)  # fmt: skip
    assert find_lag(fills, market).span == pd.Timedelta(0)
    placed = place_fills(fills, market, lag=pd.Timedelta(0), timeframe=None)
    assert (placed["row"] == placed["next_row"]).all()
    account = Account(capital_usdt=1_000_000.0)
    _, daily, _ = reprice(placed, market, costs=Costs(), account=account)
    assert np.allclose(daily[NEXT_OPEN], daily["funding at its stamps"], atol=1e-6)


@pytest.mark.slow
def test_vectorbt_portfolio_is_claimed_as_vectorbt_claims_it(bars, tmp_path):
    """An oracle of its own: the return of the portfolio, from its orders and from its trades."""
    import warnings

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        import vectorbt as vbt

        price = bars["close"].rename("BTCUSDT").iloc[:3_000]
        fast, slow = price.rolling(24).mean(), price.rolling(120).mean()
        enter = (fast > slow) & (fast.shift() <= slow.shift())
        leave = (fast < slow) & (fast.shift() >= slow.shift())
        enter.iloc[-1], leave.iloc[-1] = False, True
        book = vbt.Portfolio.from_signals(
            price, enter, leave, fees=0.001, init_cash=1_000, freq="1h"
        )
        book.orders.records_readable.to_csv(tmp_path / "orders.csv")
        book.trades.records_readable.to_csv(tmp_path / "trades.csv")
        claimed = float(book.total_return())
    for name in ("orders", "trades"):
        found = dissect(tmp_path / f"{name}.csv", n_trials=1, capital_usdt=1_000.0)
        assert any("1 h" in guess for guess in found.guesses)
        assert found.measures["impossible"] == 0
        last = found.waterfall.loc["as claimed", "total_return"]
        assert last == pytest.approx(claimed, rel=1e-9)


def test_measures_have_a_plain_form(bars):
    found = dissect(trips(bars, range(24, 2_000, 40)), n_trials=7)
    assert json.loads(found.verdict.to_json())["measures"]["trials"] == 7
    assert list(found.equity.columns) == list(found.waterfall.index)
    assert found.equity.iloc[-1, 0] == pytest.approx(
        found.account.capital_usdt * (1 + found.waterfall.iloc[0]["total_return"])
    )
