"""Protects what is read out of other tools' files of trades: signs, times, names, and guesses."""

import json
import zipfile

import numpy as np
import pandas as pd
import pytest

from workbench.core.errors import DataError
from workbench.data import read_trades
from workbench.data.blotter import bybit_name

MS = 1_704_067_200_000  # 2024-01-01T00:00:00Z
HOUR_MS = 3_600_000


def order(hours, amount, price, *, is_entry):
    return {
        "amount": amount,
        "safe_price": price,
        "ft_order_side": "buy" if is_entry else "sell",
        "order_filled_timestamp": MS + hours * HOUR_MS,
        "ft_is_entry": is_entry,
        "ft_order_tag": "",
        "cost": amount * price,
    }


def freqtrade_trade(**changes):
    """One trade as the documentation of freqtrade's export describes it."""
    return {
        "pair": "BTC/USDT:USDT",
        "stake_amount": 100.0,
        "max_stake_amount": 100.0,
        "amount": 0.01,
        "open_date": "2024-01-01 00:00:00+00:00",
        "close_date": "2024-01-02 00:00:00+00:00",
        "open_rate": 40_000.0,
        "close_rate": 41_000.0,
        "fee_open": 0.0005,
        "fee_close": 0.0004,
        "profit_ratio": 0.02,
        "profit_abs": 9.6,
        "exit_reason": "roi",
        "is_open": False,
        "is_short": False,
        "leverage": 3.0,
        "funding_fees": 0.25,
        "open_timestamp": MS,
        "close_timestamp": MS + 24 * HOUR_MS,
    } | changes


def write_freqtrade(path, trades, *, strategies=("Idea",)):
    held = {
        "trades": trades,
        "timeframe": "5m",
        "starting_balance": 1_000,
        "margin_mode": "isolated",
        "trading_mode": "futures",
    }
    result = {
        "metadata": {},
        "strategy": dict.fromkeys(strategies, held),
        "strategy_comparison": [],
    }
    with zipfile.ZipFile(path, "w") as archive:
        stem = "backtest-result-2024-06-01_12-00-00"
        archive.writestr(f"{stem}_config.json", json.dumps({"stake_currency": "USDT"}))
        archive.writestr(f"{stem}_Idea.py", "class Idea: ...")
        archive.writestr(f"{stem}_market_change.feather", b"\x00")
        archive.writestr(f"{stem}.json", json.dumps(result))
    return path


def test_freqtrade_zip_is_read_with_its_signs(tmp_path):
    trades = [
        freqtrade_trade(),
        freqtrade_trade(pair="ETH/USDT:USDT", is_short=True, leverage=5.0, funding_fees=-0.5),
    ]
    blotter = read_trades(write_freqtrade(tmp_path / "b.zip", trades))
    assert (blotter.name, blotter.form, blotter.capital_usdt) == (
        "Idea", "freqtrade backtest", 1_000,
    )  # fmt: skip
    assert (blotter.leverage, blotter.is_isolated, blotter.is_at_moment) == (5.0, True, True)
    assert blotter.timeframe == pd.Timedelta(minutes=5)
    assert blotter.symbols == ["BTCUSDT", "ETHUSDT"]
    btc = blotter.fills[blotter.fills["symbol"] == "BTCUSDT"]
    assert btc["qty"].tolist() == [0.01, -0.01]
    assert btc["fee_usdt"].tolist() == pytest.approx([0.2, 0.164])
    # What freqtrade calls a funding fee of 0.25 was received.
    assert btc["funding_usdt"].tolist() == [0.0, -0.25]
    eth = blotter.fills[blotter.fills["symbol"] == "ETHUSDT"]
    assert eth["qty"].tolist() == [-0.01, 0.01]
    assert eth["funding_usdt"].sum() == 0.5
    assert str(eth["moment"].iloc[0]) == "2024-01-01 00:00:00+00:00"


def test_freqtrade_trade_of_several_orders_keeps_each_of_them(tmp_path):
    orders = [
        order(0, 0.01, 40_000, is_entry=True),
        order(5, 0.01, 39_000, is_entry=True),
        order(9, 0.02, 41_000, is_entry=False),
        {**order(9, 0.5, 1, is_entry=False), "order_filled_timestamp": None},
    ]
    trade = freqtrade_trade(amount=0.02, open_rate=39_500.0, orders=orders)
    fills = read_trades(write_freqtrade(tmp_path / "b.zip", [trade])).fills
    assert fills["qty"].tolist() == [0.01, 0.01, -0.02]
    assert fills["price"].tolist() == [40_000, 39_000, 41_000]
    assert fills["moment"].dt.hour.tolist() == [0, 5, 9]
    assert fills["trade"].nunique() == 1


def test_freqtrade_position_that_is_still_open_has_no_exit(tmp_path):
    path = write_freqtrade(tmp_path / "b.zip", [freqtrade_trade(is_open=True)])
    assert read_trades(path).fills["qty"].tolist() == [0.01]


def test_freqtrade_json_beside_the_zip_reads_the_same(tmp_path):
    path = write_freqtrade(tmp_path / "b.zip", [freqtrade_trade()])
    with zipfile.ZipFile(path) as archive:
        text = archive.read("backtest-result-2024-06-01_12-00-00.json")
    plain = tmp_path / "b.json"
    plain.write_bytes(text)
    pd.testing.assert_frame_equal(read_trades(plain).fills, read_trades(path).fills)


@pytest.mark.parametrize(
    ("make", "seen"),
    [
        (lambda p: p.write_bytes(b"no zip"), "cannot be read"),
        (lambda p: zipfile.ZipFile(p, "w").close(), "holds no backtest"),
        (lambda p: write_freqtrade(p, []), "made no trade"),
        (lambda p: write_freqtrade(p, [{"pair": "BTC/USDT"}]), "has no"),
        (lambda p: write_freqtrade(p, [freqtrade_trade()], strategies=("A", "B")), "2 strategies"),
    ],
)
def test_freqtrade_file_that_is_none_says_so(tmp_path, make, seen):
    path = tmp_path / "b.zip"
    make(path)
    with pytest.raises(DataError, match=seen):
        read_trades(path)


def test_freqtrade_strategy_is_chosen_by_name(tmp_path):
    path = write_freqtrade(tmp_path / "b.zip", [freqtrade_trade()], strategies=("A", "B"))
    assert read_trades(path, strategy="B").name == "B"
    with pytest.raises(DataError, match="no strategy 'C'"):
        read_trades(path, strategy="C")


TRIPS = """\
Pair;Direction;Open Date;Close Date;Open Rate;Close Rate;Amount;Commission
BTC/USDT;Long;2024-01-01 00:00;2024-01-01 05:00;40000;41000;"1,500.0";8
BTC/USDT;short;2024-01-02 00:00;2024-01-02 05:00;42000;41000;1;8
"""


def test_csv_of_round_trips_is_guessed_and_says_so(tmp_path):
    path = tmp_path / "mine.csv"
    path.write_text(TRIPS)
    blotter = read_trades(path)
    assert blotter.form == "round trips"
    assert blotter.fills["qty"].tolist() == [1_500, -1_500, -1, 1]
    assert blotter.fills["fee_usdt"].tolist() == [4, 4, 4, 4]
    said = "; ".join(blotter.guesses)
    assert "entered_at from 'Open Date'" in said
    assert "times without a zone are UTC" in said
    assert "BTCUSDT for BTC/USDT" in said


def test_orders_with_entry_and_exit_words_are_paired(tmp_path):
    """As TradingView writes a list of trades: two rows each, newest first."""
    path = tmp_path / "list.csv"
    path.write_text(
        "Trade #,Type,Date and time,Price USDT,Size (qty),Signal,Symbol\n"
        "2,Exit short,2024-01-03 05:00,41000,2,x,BYBIT:BTCUSDT.P\n"
        "2,Entry short,2024-01-03 00:00,42000,2,s,BYBIT:BTCUSDT.P\n"
        "1,Exit long,2024-01-02 05:00,41000,1,x,BYBIT:BTCUSDT.P\n"
        "1,Entry long,2024-01-02 00:00,40000,1,l,BYBIT:BTCUSDT.P\n"
    )
    blotter = read_trades(path)
    assert blotter.form == "orders"
    assert blotter.symbols == ["BTCUSDT"]
    assert blotter.fills["qty"].tolist() == [1, -1, -2, 2]
    assert blotter.fills["trade"].tolist() == [0, 0, 1, 1]


def test_order_that_turns_a_position_belongs_to_two_trades():
    table = pd.DataFrame(
        {
            "time": pd.date_range("2024-01-01", periods=4, freq="h", tz="UTC"),
            "symbol": "BTCUSDT",
            "side": ["buy", "sell", "sell", "buy"],
            "qty": [1.0, 3.0, 1.0, 3.0],
            "price": 100.0,
            "fee": [1.0, 3.0, 1.0, 3.0],
        }
    )
    fills = read_trades(table).fills
    assert fills["qty"].tolist() == [1, -1, -2, -1, 3]
    assert fills["trade"].tolist() == [0, 0, 1, 1, 1]
    assert fills["fee_usdt"].tolist() == [1, 1, 2, 1, 3]


def test_trades_without_quantity_or_side_are_long_and_of_one_size():
    table = pd.DataFrame(
        {
            "symbol": ["BTCUSDT"],
            "entry_time": [1_704_067_200],
            "exit_time": [1_704_070_800],
            "entry_price": [40_000.0],
            "exit_price": [40_400.0],
        }
    )
    blotter = read_trades(table)
    assert blotter.fills["qty"].tolist() == [0.025, -0.025]
    assert "times in s since 1970" in blotter.guesses
    assert any("1,000 USDT" in guess for guess in blotter.guesses)
    assert str(blotter.fills["moment"].iloc[1]) == "2024-01-01 01:00:00+00:00"


def test_rows_that_cannot_be_used_are_counted_and_take_their_trade_along():
    table = pd.DataFrame(
        {
            "symbol": "BTCUSDT",
            "side": "long",
            "entry_time": pd.to_datetime(
                ["2024-01-01", "2024-01-02", "2024-01-03", None], utc=True
            ),
            "exit_time": pd.to_datetime(["2024-01-02"] * 4, utc=True),
            "entry_price": [100.0, np.nan, 100.0, 100.0],
            "exit_price": [101.0, 100.0, 100.0, 100.0],
            "qty": [1.0, 1.0, 1.0, 1.0],
        }
    )  # fmt: skip
    blotter = read_trades(table)
    assert blotter.n_trades == 1
    assert blotter.left_out == {
        "no time": 1, "no price or quantity": 1, "it ends before it begins": 2,
    }  # fmt: skip


def test_symbol_comes_from_the_file_name_or_is_asked_for(tmp_path):
    header = "entry_time,exit_time,entry_price,exit_price,qty\n"
    row = "2024-01-01T00:00:00Z,2024-01-02T00:00:00Z,1,2,3\n"
    named, bare = tmp_path / "eth-usdt_trades.csv", tmp_path / "trades.csv"
    for path in (named, bare):
        path.write_text(header + row)
    assert read_trades(named).symbols == ["ETHUSDT"]
    assert read_trades(bare, symbol="SOL-USD").symbols == ["SOLUSDT"]
    with pytest.raises(DataError, match="does not say what was traded") as caught:
        read_trades(bare)
    assert "--symbol" in caught.value.fix


@pytest.mark.parametrize(
    ("name", "content", "seen"),
    [
        ("a.pkl", b"", "pickle"),
        ("a.csv", b"x,y\n1,2\n", "neither round trips nor orders"),
        ("a.parquet", b"nothing", "cannot be read as a table"),
        ("a.csv", b"time,side,price,qty,symbol\n2024-01-01,hold,1,1,BTCUSDT\n", "'hold'"),
        ("a.csv", b"time,side,price,qty,symbol\nsome day,buy,1,1,BTCUSDT\n", "'some day'"),
        (
            "a.csv",
            b"time,side,price,qty,symbol\n2024-01-01,buy,0,1,BTCUSDT\n",
            "None of the trades",
        ),
    ],
)
def test_file_that_cannot_be_read_says_what_to_give(tmp_path, name, content, seen):
    path = tmp_path / name
    path.write_bytes(content)
    with pytest.raises(DataError, match=seen):
        read_trades(path)


def test_file_that_is_not_there_says_so(tmp_path):
    with pytest.raises(DataError, match="no file"):
        read_trades(tmp_path / "none.csv")


@pytest.mark.parametrize(
    ("given", "name"),
    [
        ("BTC/USDT:USDT", "BTCUSDT"),
        ("BTC/USDT", "BTCUSDT"),
        ("btc-usd", "BTCUSDT"),
        ("1000PEPEUSDT", "1000PEPEUSDT"),
        ("BINANCE:ETHUSDT.P", "ETHUSDT"),
        ("ETH-USDT-SWAP", "ETHUSDT"),
        ("SOL_USDT", "SOLUSDT"),
        ("XRPUSDT-PERP", "XRPUSDT"),
    ],
)
def test_bybit_name_of_a_pair_is_its_perpetual(given, name):
    assert bybit_name(given) == name


@pytest.mark.slow
def test_vectorbt_records_come_back_as_the_same_positions(tmp_path):
    """From a real portfolio, by orders and by trades, over CSV and over Parquet."""
    import warnings

    import polars as pl

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        import vectorbt as vbt

        rng = np.random.default_rng(0)
        index = pd.date_range("2024-01-01", periods=400, freq="h", tz="UTC")
        names = pd.Index(["BTCUSDT", "ETHUSDT"])
        price = pd.DataFrame(
            100 * np.exp(rng.normal(0, 0.01, (400, 2)).cumsum(axis=0)), index, names
        )
        turns = [pd.DataFrame(rng.random((400, 2)) < 0.05, index, names) for _ in range(2)]
        book = vbt.Portfolio.from_signals(price, *turns, fees=0.001, freq="1h", direction="both")
        orders, trades = book.orders.records_readable, book.trades.records_readable
        held = book.assets()
        fees = float(orders["Fees"].sum())
    orders.to_csv(tmp_path / "orders.csv")
    pl.DataFrame({c: trades[c].tolist() for c in trades}).write_parquet(tmp_path / "trades.parquet")
    for name in ("orders.csv", "trades.parquet"):
        blotter = read_trades(tmp_path / name)
        assert blotter.fills["fee_usdt"].sum() == pytest.approx(fees)
        moves = blotter.fills.pivot_table(
            index="moment", columns="symbol", values="qty", aggfunc="sum"
        )
        own = moves.reindex(index).fillna(0.0).cumsum()
        assert np.allclose(own.to_numpy(), held[own.columns].to_numpy())
