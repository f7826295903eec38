"""Protects the virtual books: strategies and the outside always add up to the account, exactly."""

from datetime import UTC, datetime, timedelta
from decimal import Decimal, localcontext

import pytest
from hypothesis import given
from hypothesis import strategies as st

from workbench.core.errors import DataError, ReconcileError
from workbench.exchange.records import Execution, ExtraFee
from workbench.exchange.wire import to_millis
from workbench.exchange.words import CreateType, ExecType, Side, StopOrderType
from workbench.execution.books import EXTERNAL, Crossing, VirtualBooks, cross, divide
from workbench.portfolio.accounting import Payment

D = Decimal
STEP = D("0.001")
START = datetime(2026, 1, 1, tzinfo=UTC)
NAMES = ["a", "b", "c"]

lots = st.integers(1, 10**6).map(lambda n: n * STEP)
wants = st.dictionaries(st.sampled_from(NAMES), lots, min_size=1)


def make(number, qty, price="100", *, link="", fee="0.05", at=0, **changes):
    """An execution of a signed quantity."""
    qty = D(qty)
    fields = {"exec_fee": D(fee), "order_link_id": link} | changes
    return Execution(
        "AUSDT", f"e{number}", f"o-{link or number}", Side.BUY if qty > 0 else Side.SELL, D(price),
        abs(qty), to_millis(START + timedelta(seconds=at)), **fields,
    )  # fmt: skip


def make_books(**claims):
    books = VirtualBooks({"AUSDT": STEP})
    for link, own in claims.items():
        books.claim(link, {name: D(qty) for name, qty in own.items()})
    return books


def equities(books, price):
    """Equity by both sets of books."""
    marks = {"AUSDT": D(price)}
    return books.account.equity_usdt(marks), books.shares.equity_usdt(marks)


@given(wants, st.data())
def test_divide_gives_whole_lots_that_add_up_and_never_more_than_wanted(own, data):
    total = sum(own.values())
    qty = data.draw(st.integers(1, int(total / STEP))) * STEP
    parts = divide(qty, own, STEP)
    assert sum(parts.values()) == qty
    assert all(part % STEP == 0 and 0 < part <= own[name] for name, part in parts.items())
    for name, want in own.items():
        assert abs(parts.get(name, D(0)) - qty * want / total) < STEP
    assert {name: -part for name, part in parts.items()} == divide(-qty, own, STEP)


def test_divide_of_what_lies_between_steps_loses_nothing():
    """After the exchange has made its lots coarser."""
    assert divide(D("0.0015"), {"a": D("0.0010"), "b": D("0.0005")}, STEP) == {
        "a": D("0.0010"),
        "b": D("0.0005"),
    }


@given(st.dictionaries(st.sampled_from(NAMES), lots | lots.map(lambda qty: -qty), min_size=1))
def test_cross_leaves_one_side_and_takes_nothing_from_nowhere(own):
    crossed, rest = cross(own, STEP)
    assert sum(crossed.values()) == 0
    assert len({qty > 0 for qty in rest.values()}) <= 1
    assert sum(rest.values()) == sum(own.values())
    for name, want in own.items():
        assert crossed.get(name, D(0)) + rest.get(name, D(0)) == want
        assert abs(crossed.get(name, D(0))) <= abs(want)


KINDS = [
    {},
    {"exec_type": ExecType.ADL_TRADE},
    {"exec_type": ExecType.BUST_TRADE, "create_type": CreateType.TAKE_OVER},
    {"create_type": CreateType.STOP_LOSS, "stop_order_type": StopOrderType.STOP_LOSS},
    {"exec_type": ExecType.SETTLE},
]


@st.composite
def lives(draw):
    """What may happen to an account, in any sequence."""
    steps = []
    for number in range(draw(st.integers(1, 25))):
        qty = draw(st.integers(-5_000, 5_000).filter(bool)) * STEP
        price, fee = draw(st.decimals("1", "900", places=2)), draw(st.decimals("-1", "5", places=7))
        match draw(st.sampled_from(["own", "own", "other", "funding", "cross", "flow"])):
            case "own":
                claims = {k: own.copy_sign(qty) for k, own in draw(wants).items()}
                steps.append(("claim", f"l{number}", claims))
                steps.append(("book", make(number, qty, price, fee=fee, link=f"l{number}"), ""))
            case "other":
                kind = draw(st.sampled_from(KINDS))
                steps.append(("book", make(number, qty, price, fee=fee, at=number, **kind), ""))
            case "funding":
                kind = {"exec_type": ExecType.FUNDING}
                steps.append(("book", make(number, qty, price, fee=fee, at=number, **kind), ""))
            case "cross":
                moment = START + timedelta(seconds=number)
                shares = {"a": qty, "b": -qty}
                steps.append(("cross", Crossing(f"x{number}", "AUSDT", shares, price, moment), ""))
            case _:
                kind = "deposit" if qty > 0 else "withdrawal"
                steps.append(("flow", Payment(f"p{number}", START, kind, qty), ""))
    return steps


def live(books, steps):
    for verb, what, more in steps:
        match verb:
            case "claim":
                books.claim(what, more)
            case "book":
                books.book(what, what.order_link_id)
            case _:
                getattr(books, verb)(what)
        yield


@given(lives(), st.decimals("1", "900", places=2))
def test_strategies_and_the_outside_add_up_to_the_account_whatever_happens(steps, mark):
    """PM-01, TE-11: positions, equity and fees, to the last digit, after every single step."""
    books = make_books()
    for _ in live(books, steps):
        assert sum(books.held("AUSDT").values()) == books.net("AUSDT")
        account, shares = equities(books, mark)
        assert account == shares
    with localcontext(prec=100):
        for what in ("fees_usdt", "funding_usdt"):
            one, other = (
                sum((getattr(line, what) for line in own.lines.values()), D(0))
                for own in (books.account, books.shares)
            )
            assert one == other


@given(lives(), st.randoms())
def test_executions_that_come_again_change_nothing(steps, chance):
    books = make_books()
    for _ in live(books, steps):
        pass
    again = [step for step in steps if step[0] in ("book", "cross", "flow")]
    before, held = equities(books, 50), books.held("AUSDT")
    chance.shuffle(again)
    for _ in live(books, again):
        pass
    assert (equities(books, 50), books.held("AUSDT")) == (before, held)


def test_fills_of_a_netted_order_are_divided_by_what_each_still_wants():
    books = make_books(l={"a": "0.006", "b": "0.003"})
    assert books.book(make(1, "0.004", link="l"), "l") == {"a": D("0.003"), "b": D("0.001")}
    assert books.claims("l") == {"a": D("0.003"), "b": D("0.002")}
    assert books.book(make(2, "0.005", link="l"), "l") == {"a": D("0.003"), "b": D("0.002")}
    assert books.held("AUSDT") == {"a": D("0.006"), "b": D("0.003")}
    fees = {name: line.fees_usdt for (name, _), line in books.shares.lines.items()}
    assert sum(fees.values()) == D("0.10")
    assert fees["a"] == D("0.0375") + D("0.03")


def test_what_is_filled_beyond_the_claims_is_nobodys():
    books = make_books(l={"a": "0.002"})
    assert books.book(make(1, "0.003", link="l"), "l") == {"a": D("0.002"), EXTERNAL: D("0.001")}


def test_a_manual_trade_goes_to_the_outside_and_a_stop_to_who_held():
    books = make_books(l={"a": "4", "b": "2"})
    books.book(make(1, "6", link="l"), "l")
    assert books.book(make(2, "3", create_type=CreateType.USER)) == {EXTERNAL: D(3)}
    stop = {"create_type": CreateType.STOP_LOSS, "stop_order_type": StopOrderType.STOP_LOSS}
    assert books.book(make(3, "-9", **stop)) == {"a": D(-4), "b": D(-2), EXTERNAL: D(-3)}
    assert books.held("AUSDT") == {}


@pytest.mark.parametrize(
    ("changes", "kind"),
    [
        ({"exec_type": ExecType.ADL_TRADE}, "adl"),
        ({"exec_type": ExecType.BUST_TRADE}, "liquidation"),
        ({"create_type": CreateType.LIQUIDATION}, "liquidation"),
        ({"exec_type": ExecType.SETTLE}, "trade"),
    ],
)
def test_what_the_exchange_does_is_booked_by_its_kind_to_those_on_that_side(changes, kind):
    """Who holds against the net is neither liquidated nor deleveraged."""
    books = make_books(l={"a": "5"}, m={"b": "-2"})
    books.book(make(1, "5", link="l"), "l")
    books.book(make(2, "-2", link="m"), "m")
    assert books.book(make(3, "-3", **changes)) == {"a": D(-3)}
    assert books.held("AUSDT") == {"a": D(2), "b": D(-2)}
    assert books.shares.postings[-1].kind == books.account.postings[-1].kind == kind


def test_funding_is_shared_by_what_was_held_at_its_stamp():
    """The short strategy receives what the long one pays beyond the net; a late fill pays not."""
    books = make_books(l={"a": "5"}, m={"b": "-2"}, n={"c": "9"})
    books.book(make(1, "5", link="l", at=1), "l")
    books.book(make(2, "-2", link="m", at=2), "m")
    books.book(make(3, "9", link="n", at=10), "n")
    books.book(make(4, "3", fee="0.9", at=10, exec_type=ExecType.FUNDING))
    paid = {name: line.funding_usdt for (name, _), line in books.shares.lines.items()}
    assert paid == {"a": D("1.5"), "b": D("-0.6"), "c": 0}


def test_crossing_moves_no_wallet_and_no_entry_of_the_account():
    """What the exchange knows nothing of must not change what is compared with it."""
    books = make_books(l={"a": "5"})
    books.book(make(1, "5", "100", link="l"), "l")
    before = books.account.wallet_usdt, books.account.positions["AUSDT"]
    books.cross(Crossing("x", "AUSDT", {"a": D(-2), "b": D(2)}, D(120), START))
    assert (books.account.wallet_usdt, books.account.positions["AUSDT"]) == before
    assert books.held("AUSDT") == {"a": D(3), "b": D(2)}
    assert books.shares.lines["a", "AUSDT"].realised_usdt == 40


def test_crossing_that_does_not_add_up_and_a_fill_without_a_fee_are_refused():
    books = make_books(l={"a": "5"})
    with pytest.raises(ReconcileError, match="does not add up"):
        books.cross(Crossing("x", "AUSDT", {"a": D(1)}, D(1), START))
    with pytest.raises(DataError, match="no fee"):
        books.book(make(1, "5", link="l", exec_fee=None), "l")
    assert books.account.postings == ()


def test_taxes_on_top_of_the_fee_are_paid_too():
    books = make_books(l={"a": "1"})
    tax = (ExtraFee("USDT", "GST", D("0.01")),)
    books.book(make(1, "1", link="l", extra_fees=tax), "l")
    assert books.account.wallet_usdt == D("-0.06")


def test_check_finds_books_that_differ():
    books = make_books(l={"a": "1"})
    books.book(make(1, "1", link="l"), "l")
    books.shares.lines["a", "AUSDT"].position = type(books.account.positions["AUSDT"])()
    with pytest.raises(ReconcileError, match="together"):
        books.check("AUSDT")
