"""Protects the books: every posting counts once, every sum is exact, and a backtest replays."""

import json
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal, localcontext

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from workbench.core.errors import DataError, ReconcileError
from workbench.portfolio.accounting import (
    Books,
    Fill,
    Payment,
    Position,
    read_books,
    read_fills,
    read_funding,
    read_marks,
)

START = datetime(2024, 1, 1, tzinfo=UTC)
CENT = Decimal("0.01")
SYMBOLS, STRATEGIES = ["AAAUSDT", "BBBUSDT", "CCCUSDT"], ["trend", "carry"]


def fill(name, qty, price, *, fee="0", symbol="AAAUSDT", strategy="", kind="trade", at=0):
    moment = START + timedelta(minutes=at)
    return Fill(name, moment, symbol, Decimal(qty), Decimal(price), Decimal(fee), strategy, kind)


def pay(name, kind, amount, *, symbol="", strategy="", at=0):
    return Payment(name, START + timedelta(minutes=at), kind, Decimal(amount), symbol, strategy)


money = st.decimals("0.000001", "100000", places=6)
signed = st.decimals("-5000", "5000", places=3)
fills = st.builds(
    lambda qty, price, fee, symbol, strategy, kind: fill(
        "?", qty, price, fee=fee, symbol=symbol, strategy=strategy, kind=kind
    ),
    signed.filter(bool), money, st.decimals("-10", "10", places=8), st.sampled_from(SYMBOLS),
    st.sampled_from(STRATEGIES), st.sampled_from(["trade", "trade", "liquidation", "adl"]),
)  # fmt: skip
payments = st.builds(
    lambda kind, amount, symbol, strategy: pay(
        "?", kind, abs(amount) * {"deposit": 1, "withdrawal": -1}[kind] if kind in
        ("deposit", "withdrawal") else amount, symbol=symbol, strategy=strategy
    ),
    st.sampled_from(["funding", "fee", "deposit", "withdrawal", "transfer", "interest"]), signed,
    st.sampled_from(SYMBOLS), st.sampled_from(STRATEGIES),
)  # fmt: skip
postings = st.lists(st.one_of(fills, fills, payments), max_size=40).map(
    lambda own: [replace(posting, id=f"p{i}") for i, posting in enumerate(own)]
)
marks = st.fixed_dictionaries(dict.fromkeys(SYMBOLS, money))


def cash_flows(own, at):
    """Equity by the other road: money in and out, and what is held at the end on its mark."""
    with localcontext(prec=100):
        total = Decimal(0)
        for posting in own:
            if isinstance(posting, Payment):
                total += posting.amount_usdt
            else:
                total += posting.qty * (at[posting.symbol] - posting.price) - posting.fee_usdt
        return total


@given(postings, marks)
def test_equity_is_the_sum_of_all_postings_exactly_at_every_step(own, at):
    """PM-01: not to the cent but to the last digit; the cash alone would not be it."""
    books = Books()
    for i, posting in enumerate(own):
        books.post(posting)
        equity = books.equity_usdt(at)
        assert equity == cash_flows(own[: i + 1], at)
        with localcontext(prec=100):
            assert equity == books.wallet_usdt + books.unrealised_usdt(at)


@given(postings, marks)
def test_strategies_and_symbols_add_up_to_the_account_without_a_remainder(own, at):
    """PM-01: virtual books of strategies that trade against each other, and the net one."""
    books = Books(own)
    with localcontext(prec=100):
        assert sum(books.pnl_usdt(at).values()) == books.equity_usdt(at) - books.flows_usdt


@given(postings, marks, st.decimals("1", "100", places=2))
def test_cash_margins_and_unrealised_add_up_to_the_equity(own, at, leverage):
    """PM-01, isolated margin: equity = cash + the sum of margins and unrealised profits."""
    books = Books(own)
    cash, margins = books.isolated_margins(dict.fromkeys(SYMBOLS, leverage))
    with localcontext(prec=100):
        assert cash + sum(margins.values()) + books.unrealised_usdt(at) == books.equity_usdt(at)
    assert all(margin > 0 for margin in margins.values())
    assert set(margins) == {s for s, position in books.positions.items() if position.qty}


@given(postings, st.data())
def test_a_posting_that_comes_twice_changes_nothing(own, data):
    """Known trap: funding charged twice."""
    again = data.draw(st.lists(st.sampled_from(own), max_size=10)) if own else []
    once, books = Books(own), Books(own)
    assert [books.post(posting) for posting in again] == [False] * len(again)
    assert books.lines == once.lines
    assert books.wallet_usdt == once.wallet_usdt
    assert books.postings == tuple(own)


@given(postings, st.randoms())
def test_symbols_may_arrive_in_any_order(own, shuffled):
    """Only the order within a symbol counts; streams of several symbols race."""
    queues = {s: [p for p in own if p.symbol == s] for s in SYMBOLS}
    mixed = []
    while any(queues.values()):
        mixed.append(queues[shuffled.choice([s for s in SYMBOLS if queues[s]])].pop(0))
    ours, theirs = Books(own), Books(mixed)
    assert (ours.lines, ours.positions) == (theirs.lines, theirs.positions)
    assert (ours.wallet_usdt, ours.flows_usdt) == (theirs.wallet_usdt, theirs.flows_usdt)


@given(postings)
def test_document_survives_a_file(own):
    books = Books(own)
    again = read_books(json.loads(json.dumps(books.document())))
    assert again.postings == books.postings
    assert again.lines == books.lines


@given(st.lists(st.tuples(money, money), min_size=1, max_size=6), st.lists(st.floats(0.01, 0.9)))
def test_partial_closes_leave_the_average_price_untouched(entries, closes):
    """Known trap: average price moved by a partial close. Bit by bit, also from a third."""
    for side in (1, -1):
        position = Position()
        for qty, price in entries:
            position, realised = position.fill(side * qty, price)
            assert realised == 0
        average = sum(q * p for q, p in entries) / sum(q for q, _ in entries)
        assert position.entry == pytest.approx(average)
        entry = position.entry
        for share in closes:
            part = (position.qty * Decimal(str(round(share, 4)))).quantize(Decimal("1e-9"))
            if 0 < abs(part) < abs(position.qty):
                position, _ = position.fill(-part, Decimal(7))
                assert position.entry == entry


def test_a_trade_by_hand_comes_out_as_by_hand():
    """Two buys, a partial close, a turn, funding and fees, worked out on paper."""
    books = Books([pay("d", "deposit", "1000")])
    for posting, entry, wallet in (
        (fill("1", "2", "100", fee="0.2"), "100", "999.8"),
        (fill("2", "1", "130", fee="0.13"), "110", "999.67"),
        (fill("3", "-1", "120", fee="0.12"), "110", "1009.55"),
        (pay("f", "funding", "-0.5", symbol="AAAUSDT"), "110", "1009.05"),
        (fill("4", "-5", "105", fee="0.525"), "105", "998.525"),
        (fill("5", "3", "90", fee="0"), "0", "1043.525"),
    ):
        books.post(posting)
        assert books.positions["AAAUSDT"].entry == Decimal(entry)
        assert books.wallet_usdt == Decimal(wallet)
    line = books.lines["", "AAAUSDT"]
    assert (line.realised_usdt, line.fees_usdt) == (Decimal(45), Decimal("0.975"))
    assert line.funding_usdt == Decimal("0.5")


def test_net_wallet_realises_what_opposite_strategies_do_not():
    """The exchange is flat; each strategy still holds, and the totals agree."""
    books = Books([
        fill("1", "1", "100", strategy="trend"), fill("2", "-1", "110", strategy="carry"),
    ])  # fmt: skip
    assert books.wallet_usdt == 10
    assert books.positions["AAAUSDT"].qty == 0
    pnl = books.pnl_usdt({"AAAUSDT": Decimal(130)})
    assert pnl == {("trend", "AAAUSDT"): 30, ("carry", "AAAUSDT"): -20}


def test_the_same_id_with_another_content_stops_trading():
    books = Books([fill("1", "1", "100")])
    with pytest.raises(ReconcileError, match="1 was booked as"):
        books.post(fill("1", "1", "101"))
    assert books.positions["AAAUSDT"].cost == 100


@pytest.mark.parametrize(
    "bad",
    [
        lambda: fill("1", "0", "100"),
        lambda: fill("1", "1", "-3"),
        lambda: fill("", "1", "100"),
        lambda: fill("1", "NaN", "100"),
        lambda: Fill("1", START, "AAAUSDT", 0.1, Decimal(1)),
        lambda: Fill("1", START, "AAAUSDT", Decimal.from_float(0.1), Decimal(1)),
        lambda: Fill("1", START.replace(tzinfo=None), "AAAUSDT", Decimal(1), Decimal(1)),
        lambda: pay("1", "withdrawal", "5"),
        lambda: pay("1", "deposit", "-5"),
        lambda: read_books([{"id": "1"}]),
    ],
)
def test_what_is_no_posting_is_refused(bad):
    """Floats, also in the dress of a Decimal, never enter."""
    with pytest.raises(DataError):
        bad()


@pytest.mark.parametrize("mark", [{}, {"AAAUSDT": 100.0}, {"AAAUSDT": Decimal("NaN")}])
def test_a_position_without_a_mark_is_not_valued(mark):
    books = Books([fill("1", "1", "100")])
    with pytest.raises(DataError, match="mark of AAAUSDT"):
        books.equity_usdt(mark)
    with pytest.raises(DataError, match="mark of AAAUSDT"):
        books.pnl_usdt(mark)


def test_backtest_replays_to_the_same_equity_at_every_bar(busy):
    """PM-01 on real prices, with shorts, turns, partial closes, funding and liquidations."""
    market, capital = busy.market, Decimal(str(busy.account.capital_usdt))
    own = [*read_fills(busy.fills), *read_funding(busy.funding)]
    assert any(p.kind == "liquidation" for p in own)
    assert sum(isinstance(p, Payment) for p in own) > 100
    own.sort(key=lambda posting: posting.moment)
    books = Books([Payment("capital", market.index[0].to_pydatetime(), "deposit", capital)])
    prices = market.mark_close.ffill()
    worst, turns, partial = Decimal(0), 0, 0
    for i, moment in enumerate(market.index):
        while own and own[0].moment <= moment:
            posting = own.pop(0)
            before = books.positions.get(posting.symbol, Position())
            books.post(posting)
            after = books.positions[posting.symbol]
            turns += before.qty * after.qty < 0
            is_partial = before.qty * after.qty > 0 and abs(after.qty) < abs(before.qty)
            partial += is_partial
            assert not is_partial or after.entry == before.entry
        at = read_marks(prices.iloc[i])
        equity = books.equity_usdt(at)
        worst = max(worst, abs(equity - Decimal(busy.equity.iloc[i].item())))
        with localcontext(prec=100):
            assert sum(books.pnl_usdt(at).values()) == equity - capital
        held = [float(books.positions.get(s, Position()).qty) for s in market.symbols]
        assert held == pytest.approx(busy.positions.iloc[i].tolist(), abs=1e-9)
    assert not own
    assert worst < Decimal("1e-6")
    assert min(turns, partial) > 5


def test_read_fills_calls_flat_what_the_float_books_call_flat():
    """Three buys whose floats do not add up, closed by their float sum."""
    table = pd.DataFrame({
        "known_at": pd.date_range(START, periods=4, freq="h"), "symbol": "AAAUSDT",
        "side": [1, 1, 1, -1], "qty": [0.1, 0.2, 1 / 3, 0.1 + 0.2 + 1 / 3],
        "price": 100.0, "fee_usdt": 0.0, "reason": "weight",
    })  # fmt: skip
    assert Books(read_fills(table)).positions["AAAUSDT"].qty == 0


def test_read_funding_is_booked_once_however_often_it_is_read():
    table = pd.DataFrame({"AAAUSDT": [0.0, 1.5]}, index=pd.date_range(START, periods=2, freq="8h"))
    books = Books([*read_funding(table), *read_funding(table)])
    assert books.wallet_usdt == Decimal("-1.5")
    pairs = table.set_axis(pd.MultiIndex.from_tuples([("trend", "AAAUSDT")]), axis=1)
    assert read_funding(pairs)[0].strategy == "trend"
    assert not np.isnan(float(books.lines["", "AAAUSDT"].funding_usdt))
