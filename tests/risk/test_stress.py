"""Protects the stress of a book: revalued exactly, liquidated as the backtest would, and no loss
beyond what was there."""

from decimal import Decimal

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.markets import make_instrument, make_market
from tests.validation.history import read_market
from workbench.backtest.run import run
from workbench.core import margin
from workbench.core.costs import FREE
from workbench.core.errors import DataError
from workbench.core.records import Account
from workbench.risk.margin import stack_tiers
from workbench.risk.scenarios import (
    Episode,
    Shock,
    episode_moves,
    load_episodes,
    load_shocks,
    shock_moves,
    worst_moves,
)
from workbench.risk.stress import stress_book
from workbench.strategies.hold import BuyAndHold

SYMBOLS = ["AAAUSDT", "BBBUSDT", "CCCUSDT"]
INSTRUMENTS = {symbol: make_instrument(symbol) for symbol in SYMBOLS}
TIERS = stack_tiers(INSTRUMENTS, SYMBOLS)


def book(qty, entry=(100.0, 50.0, 10.0), mark=(110.0, 40.0, 10.0)):
    return pd.DataFrame({"qty": qty, "entry": entry, "mark": mark}, index=SYMBOLS, dtype=float)


def moves(*rows):
    names = [f"m{i}" for i in range(len(rows))]
    return pd.DataFrame(list(rows), names, SYMBOLS, dtype=float)


def tier_of(symbol, value):
    return next(
        (t for t in INSTRUMENTS[symbol].tiers if value <= t.limit_usdt),
        INSTRUMENTS[symbol].tiers[-1],
    )


def by_hand(positions, move, wallet, leverage):
    """In Decimal, position by position, by the formulas that the exchange publishes."""
    equity, due, left = Decimal(wallet), Decimal(0), Decimal(wallet)
    lost = []
    for symbol, row in positions.iterrows():
        qty, entry = Decimal(row["qty"]), Decimal(row["entry"])
        after = Decimal(row["mark"]) * (1 + Decimal(move[symbol]))
        value = abs(qty) * after
        tier = tier_of(symbol, value)
        needs = margin.maintenance_margin(value, tier.maintenance_rate, tier.deduction_usdt)
        profit = margin.unrealised_pnl(entry, after, qty)
        equity, due = equity + profit, due + needs
        if leverage:
            begun = tier_of(symbol, abs(qty) * entry)
            put = margin.initial_margin(
                abs(qty) * entry, min(Decimal(leverage), begun.max_leverage)
            )
            is_lost = qty != 0 and put + profit <= needs
            lost += [symbol] * is_lost
            left += -put if is_lost else profit
    if leverage:
        return max(float(left), 0.0), lost
    return (
        (0.0, list(positions.index[positions["qty"] != 0]))
        if equity <= due
        else (float(equity), [])
    )


@settings(max_examples=80, deadline=None)
@given(
    qty=st.lists(st.integers(-3_000, 3_000), min_size=3, max_size=3).filter(any),
    move=st.lists(st.floats(-0.95, 3.0), min_size=3, max_size=3),
    share=st.floats(0.02, 3.0), leverage=st.sampled_from([None, 1, 5, 50]),
)  # fmt: skip
def test_book_is_worth_what_the_exchanges_formulas_say(qty, move, share, leverage):
    """RK-19: cross and isolated, through both tiers, against a plain loop in Decimal."""
    positions = book(qty)
    gross = float((positions["qty"].abs() * positions["entry"]).sum())
    before = float((positions["qty"] * (positions["mark"] - positions["entry"])).sum())
    # An account that was not due before; isolated margins are within the wallet.
    wallet = round(max(share, 1.1 / (leverage or 50)) * gross + max(-before, 0.0) + 1, 2)
    table = stress_book(
        positions, moves(move), wallet_usdt=wallet, tiers=TIERS, margin_leverage=leverage
    )
    equity, lost = by_hand(positions, moves(move).iloc[0], wallet, leverage)
    row = table.iloc[0]
    assert row["equity_usdt"] == pytest.approx(equity, rel=1e-9, abs=1e-6)
    assert row["liquidated"] == ", ".join(lost)
    assert row["is_liquidated"] == (row["margin_ratio"] >= 1.0) == bool(lost)
    assert row["pnl_usdt"] == pytest.approx(row["equity_usdt"] - wallet - before, abs=1e-6)
    assert row["share"] == pytest.approx(row["pnl_usdt"] / (wallet + before))
    assert row["equity_usdt"] >= 0.0


def test_no_move_changes_nothing_and_the_worst_position_is_named():
    table = stress_book(
        book([1, -2, 3]), moves([0, 0, 0], [-0.1, 0.2, 0.1]), wallet_usdt=1_000.0, tiers=TIERS
    )
    assert table.loc["m0", ["pnl_usdt", "share"]].tolist() == [0.0, 0.0]
    assert table.loc["m0", "equity_usdt"] == pytest.approx(1_000 + 10 + 20)
    assert table.loc["m1", "worst"] == "BBBUSDT"
    assert table.loc["m1", "worst_usdt"] == pytest.approx(-2 * 8)
    assert table.loc["m1", "pnl_usdt"] == pytest.approx(-11 - 16 + 3)


def test_a_gap_beyond_the_wallet_costs_the_wallet_and_no_more():
    """RK-19: the rest is the insurance fund's loss."""
    table = stress_book(book([100, 0, 0]), moves([-0.9, 0, 0]), wallet_usdt=1_000.0, tiers=TIERS)
    row = table.iloc[0]
    assert (row["equity_usdt"], row["share"], row["liquidated"]) == (0.0, -1.0, "AAAUSDT")
    assert row["worst_usdt"] < -2_000


def test_isolated_positions_fall_alone():
    positions = book([10, 10, 0], mark=(100.0, 50.0, 10.0))
    table = stress_book(
        positions, moves([-0.5, -0.05, 0.0]), wallet_usdt=1_000.0, tiers=TIERS, margin_leverage=10
    )
    assert table["liquidated"].iloc[0] == "AAAUSDT"
    assert table["equity_usdt"].iloc[0] == pytest.approx(1_000 - 1_000 / 10 - 500 * 0.05)


def test_funding_of_a_shock_is_paid_by_longs_on_the_moved_mark():
    table = stress_book(
        book([10, 0, 0]), moves([0.1, 0, 0], [0, 0, 0]), wallet_usdt=1_000.0, tiers=TIERS,
        funding={"m0": 0.003},
    )  # fmt: skip
    assert table["funding_usdt"].tolist() == pytest.approx([-0.003 * 10 * 121, 0.0])
    assert table["pnl_usdt"].iloc[0] == pytest.approx(110 - 0.003 * 10 * 121)


def test_symbol_without_a_move_follows_the_others_and_is_named():
    """A stated assumption, never a zero; nothing known of any is not covered."""
    table = stress_book(
        book([1, 1, 1]), moves([-0.2, -0.4, np.nan], [np.nan] * 3), wallet_usdt=500.0, tiers=TIERS
    )
    assert table["assumed"].tolist() == ["CCCUSDT", ""]
    assert table["pnl_usdt"].iloc[0] == pytest.approx(-22 - 16 - 3)
    assert table.loc["m1", ["pnl_usdt", "share", "equity_usdt", "margin_ratio"]].isna().all()
    assert not table.loc["m1", "is_liquidated"]


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({"positions": book([0, 0, 0])}, "Nothing is held"),
        ({"positions": book([1, 1, 1], mark=(1.0, np.nan, 1.0))}, "is missing"),
        ({"wallet_usdt": np.nan}, "is missing"),
        ({"wallet_usdt": -1e6}, "nothing left"),
        ({"moves": moves([0, 0, 0])[SYMBOLS[:2]]}, "no moves of CCCUSDT"),
        ({"moves": moves([-1.0, 0, 0])}, "whole price"),
    ],
)
def test_book_that_cannot_be_stressed_is_refused(changed, said):
    options = {"positions": book([1, 1, 1]), "moves": moves([0, 0, 0]), "wallet_usdt": 100.0}
    options |= changed
    with pytest.raises(DataError, match=said):
        stress_book(options.pop("positions"), options.pop("moves"), tiers=TIERS, **options)


@pytest.mark.parametrize("move", [-0.05, -0.15, -0.19, -0.25, -0.6, 0.3])
@pytest.mark.parametrize("is_isolated", [False, True])
def test_stress_of_a_gap_is_what_the_backtest_makes_of_it(move, is_isolated):
    """RK-19: one rule for both, whether or not the account lives."""
    close = 100 * np.array([1, 1, 1, 1, 1 + move, 1 + move])
    one = {SYMBOLS[0]: INSTRUMENTS[SYMBOLS[0]]}
    market = make_market(close=close, open=close, high=close, low=close, instruments=one)
    account = Account(
        capital_usdt=1_000.0, leverage=5.0, margin_leverage=5.0, is_isolated=is_isolated
    )
    result = run(BuyAndHold(), market, costs=FREE, account=account)
    positions = book([50, 0, 0], mark=(100.0, 50.0, 10.0))
    table = stress_book(
        positions, moves([move, 0, 0]), wallet_usdt=1_000.0, tiers=TIERS,
        margin_leverage=5.0 if is_isolated else None,
    )  # fmt: skip
    assert result.equity.iloc[4] == pytest.approx(table["equity_usdt"].iloc[0], abs=1e-6)


def test_moves_of_shocks_follow_betas_and_leave_out_what_moves_no_price():
    """RK-19: named shocks."""
    rng = np.random.default_rng(1)
    factor = rng.normal(0, 0.01, 3_000)
    logs = np.column_stack([factor, 1.5 * factor, rng.normal(0, 0.01, 3_000)]).cumsum(axis=0)
    market = make_market(close=100 * np.exp(logs), symbols=("BTCUSDT", "ETHUSDT", "XUSDT"))
    table = shock_moves(market)
    shocks = {shock.name: shock for shock in load_shocks()}
    assert set(table.index) < set(shocks)
    assert not {"fees doubled", "hedges fail", "liquidity dries up"} & set(table.index)
    assert table.loc["gap down 10 %"].tolist() == pytest.approx([-0.1] * 3)
    row = table.loc["bitcoin down 20 %, others by beta"]
    assert row["BTCUSDT"] == pytest.approx(-0.2)
    assert row["ETHUSDT"] == pytest.approx(0.8**1.5 - 1)
    assert row["XUSDT"] == pytest.approx(0.0, abs=0.02)
    assert (table.loc["funding 0.3 % against longs"] == 0.0).all()
    own = shock_moves(market, [Shock(name="mine", moves={"XUSDT": -0.7}, factors={"ZUSDT": -0.1})])
    assert own.loc["mine"].isna().all()


def test_worst_stretch_of_history_is_that_of_the_book_and_not_of_one_coin():
    """RK-19: counted by a loop; long and short have each their own."""
    rng = np.random.default_rng(2)
    logs = rng.normal(0, 0.02, (200, 3)).cumsum(axis=0)
    close = make_market(close=100 * np.exp(logs), symbols=SYMBOLS).close
    value = pd.Series([100.0, -300.0, 50.0], SYMBOLS)
    table = worst_moves(close, value, {"day": 1, "week": 7})
    for name, bars in (("day", 1), ("week", 7)):
        every = [close.iloc[t] / close.iloc[t - bars] - 1 for t in range(bars, 200)]
        assert table.loc[name] @ value == pytest.approx(min(float(m @ value) for m in every))
    assert (worst_moves(close, -value, {"day": 1}) @ -value).iloc[0] < 0
    assert not worst_moves(close, -value, {"day": 1}).equals(table.loc[["day"]])


def test_symbol_that_is_younger_than_an_episode_has_no_move_in_it():
    close = make_market(close=np.full((60, 3), 100.0), symbols=SYMBOLS, interval="D").close
    close.iloc[30:, 0], close.iloc[:50, 2] = 80.0, np.nan
    start, end = close.index[20], close.index[40]
    episode = Episode(
        name="e", start=start, end=end, kind="crypto", severity="severe", what="A fall."
    )
    before = episode.model_copy(update={"name": "b", "start": start - pd.Timedelta(days=99)})
    table = episode_moves(close, pd.Series([1.0, 1.0, 1.0], SYMBOLS), [episode, before])
    assert table.loc["e"].tolist()[:2] == pytest.approx([-0.2, 0.0])
    assert np.isnan(table.loc["e", "CCCUSDT"])
    assert table.loc["b"].isna().all()
    with pytest.raises(DataError, match="no prices of ZUSDT"):
        episode_moves(close, pd.Series({"ZUSDT": 1.0}), [episode])


def test_real_history_hurts_long_and_short_books_in_different_episodes(shared_data):
    """RK-19: on the hours of 2020 to 2025."""
    market = read_market(shared_data / "bybit_linear_major_long" / "ohlcv_1h.parquet")
    mark = market.close.ffill().iloc[-1]
    names = list(market.symbols)
    tiers = stack_tiers({s: make_instrument(s) for s in names}, names)
    worst = {}
    for side in (1, -1):
        positions = pd.DataFrame({"qty": side * 5_000 / mark, "entry": mark, "mark": mark})
        value = positions["qty"] * mark
        every = pd.concat(
            [
                shock_moves(market),
                worst_moves(market.close, value, {"worst day": 24, "worst week": 168}),
                episode_moves(market.close, value),
            ]
        )
        table = stress_book(positions, every, wallet_usdt=20_000.0, tiers=tiers)
        assert table.loc["2020-03 pandemic crash", "pnl_usdt":"margin_ratio"].isna().all()
        episodes = table.loc[[e.name for e in load_episodes()], "share"].dropna()
        assert len(episodes) >= 13
        assert (episodes <= 0).all()
        worst[side] = episodes.idxmin()
    assert worst[1] != worst[-1]
