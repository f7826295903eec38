"""Protects the choice of an algorithm: one case has one answer, and every case has it."""

from datetime import timedelta
from decimal import Decimal
from itertools import product

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.execution.made import make_parent, plain_book
from workbench.core.errors import ConfigError, DataError
from workbench.execution.choice import PLACE, Demand, choose_algorithm, load_table
from workbench.execution.condition import Condition, State, assess
from workbench.execution.parents import Algorithm, Urgency

TABLE = load_table()
IDLE = """[[rows]]
size = ["small"]
urgency = ["high"]
condition = ["deep", "normal", "thin", "wild"]
algorithm = "market"
horizon_min = 2
because = "it comes first"

[[rows]]"""
DEFAULT = (PLACE / "default.toml").read_text()


def a_condition(state):
    return Condition(1.0, 1e4, 1e5, 0.0, 0.03, 0.5, state)


def choose(value, state=State.NORMAL, urgency=Urgency.NORMAL, day=1e8, depth=1e5):
    return choose_algorithm(
        Demand(value, day, urgency), a_condition(state), depth_usdt=depth, table=TABLE
    )


@pytest.mark.parametrize(
    ("value", "urgency", "state", "size", "algorithm"),
    [
        (1_000, Urgency.HIGH, State.THIN, "small", Algorithm.MARKET),
        (1_000, Urgency.LOW, State.DEEP, "small", Algorithm.MAKER),
        (1_000, Urgency.NORMAL, State.WILD, "small", Algorithm.MARKET),
        (100_000, Urgency.HIGH, State.DEEP, "medium", Algorithm.ARRIVAL),
        (100_000, Urgency.NORMAL, State.NORMAL, "medium", Algorithm.TWAP),
        (100_000, Urgency.NORMAL, State.THIN, "medium", Algorithm.ADAPTIVE),
        (100_000, Urgency.LOW, State.THIN, "medium", Algorithm.ICEBERG),
        (900_000, Urgency.NORMAL, State.DEEP, "large", Algorithm.VWAP),
        (900_000, Urgency.NORMAL, State.WILD, "large", Algorithm.POV),
    ],
)
def test_choice_follows_the_table_and_says_why(value, urgency, state, size, algorithm):
    """EX-06."""
    choice = choose(value, state, urgency)
    assert (choice.algorithm, choice.size) == (algorithm, size)
    assert choice == choose(value, state, urgency)
    row = next(TABLE.fitting(size, urgency, state))
    for part in (f"{value:,} USDT", size, urgency, f"market is {state}", row.because, algorithm):
        assert part in choice.words


def test_words_of_a_choice_are_those_of_its_numbers():
    seen = assess(plain_book(spread=0.2), volatility=0.03)
    choice = choose_algorithm(Demand(150.0, 1e7), seen, depth_usdt=1000.0)
    assert choice.words == (
        "150 USDT is 0.00% of a day's volume and 0.15 times the depth at hand, which is small; its "
        "urgency is normal; the market is thin (liquidity 0.22: spread 19.98 bp, 500 USDT within "
        "10 bp, imbalance +0.00, volatility 3.0% a day): maker over 5 min, since queueing "
        "saves the spread and the taker's fee, and minutes can be waited for."
    )


@given(
    value=st.floats(1, 1e9), day=st.floats(1e3, 1e11), depth=st.floats(1, 1e8),
    urgency=st.sampled_from(list(Urgency)), state=st.sampled_from(list(State)),
)  # fmt: skip
def test_every_case_has_a_choice_that_a_parent_can_run(value, day, depth, urgency, state):
    choice = choose(value, state, urgency, day, depth)
    parent = make_parent(
        choice.algorithm, urgency=choice.urgency, participation_cap=choice.participation_cap,
        max_slippage=choice.max_slippage,
    )  # fmt: skip
    assert parent.max_slippage < Decimal("0.01")
    assert timedelta(0) < choice.horizon <= timedelta(days=1)


def test_a_larger_order_is_never_put_into_a_smaller_class():
    assert TABLE.size_of(1e-6, 0.1) == "small"
    assert TABLE.size_of(1e-6, 1.0) == TABLE.size_of(1e-3, 0.1) == "medium"
    assert TABLE.size_of(1e-6, 9.0) == TABLE.size_of(1e-2, 0.1) == "large"
    order = {size.name: place for place, size in enumerate(TABLE.sizes)}
    shares = (1e-5, 1e-4, 1e-3, 1e-2, 0.1, 1.0, 10.0)
    for one, other in product(shares, shares):
        now = order[TABLE.size_of(one, other)]
        assert now <= order[TABLE.size_of(2 * one, other)]
        assert now <= order[TABLE.size_of(one, 2 * other)]


def test_an_order_without_a_size_is_refused():
    for numbers in ((0, 1e8, 1e5), (1e3, 0, 1e5), (1e3, 1e8, 0), (1e3, float("nan"), 1e5)):
        with pytest.raises(DataError, match="has no size"):
            choose(numbers[0], day=numbers[1], depth=numbers[2])


@pytest.mark.parametrize(
    ("old", "new", "words"),
    [
        ("version = 1", "version = ", "not valid TOML"),
        ("version = 1", "version = 0", "version"),
        ('"deep", "normal", "thin", "wild"', '"deep", "normal", "thin"', "no row fits small, high"),
        ('size = ["small"]', 'size = ["tiny"]', "no size is named tiny"),
        ('name = "large"', 'name = "large"\nday_share = 1.0', "large must have no bounds"),
        ("[[rows]]", IDLE, "row 2 never decides"),
        ('algorithm = "market"', 'algorithm = "limit"', "never chosen"),
        ("participation_cap = 0.05", "", "needs a participation_cap"),
        ("thin = 0.4", "thin = 0.9", "measures nothing"),
    ],
)
def test_a_table_that_is_none_is_refused_with_its_fault(tmp_path, old, new, words):
    place = tmp_path / "mine.toml"
    place.write_text(DEFAULT.replace(old, new, 1 if old == "[[rows]]" else -1))
    with pytest.raises(ConfigError, match=words):
        load_table(str(place))


def test_a_table_that_is_not_there_is_named():
    for name in ("mine", "mine.toml"):
        with pytest.raises(ConfigError, match="no table 'mine"):
            load_table(name)
