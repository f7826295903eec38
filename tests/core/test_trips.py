"""Protects the pairing of fills into round trips, which the backtest and the live books share."""

import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from workbench.core.trips import pair_fills


def fills(*rows):
    return pd.DataFrame(rows, columns=["side", "qty", "price", "fee_usdt"])


def test_trip_closes_where_the_position_is_flat():
    first, second = pair_fills(
        fills((1, 1.0, 100.0, 0.1), (1, 1.0, 110.0, 0.1), (-1, 2.0, 120.0, 0.2), (-1, 1.0, 90.0, 0))
    )

    assert (first.side, first.entered_value, first.left_value) == (1, 210.0, 240.0)
    assert first.fees == pytest.approx(0.4)
    assert (first.first.Index, first.last.Index) == (0, 2)
    assert not first.is_open
    assert (second.side, second.is_open, second.held) == (-1, True, 1.0)


def test_fill_that_turns_a_position_ends_one_trip_and_begins_the_next_with_its_share_of_the_fee():
    long, short = pair_fills(fills((1, 1.0, 100.0, 0.0), (-1, 4.0, 90.0, 0.8)))

    assert (long.is_open, short.is_open) == (False, True)
    assert (long.fees, short.fees) == (pytest.approx(0.2), pytest.approx(0.6))
    assert long.last.Index == short.first.Index == 1


def test_trip_that_was_reduced_only_is_open():
    (trip,) = pair_fills(fills((1, 2.0, 100.0, 0.0), (-1, 0.5, 90.0, 0.0)))

    assert trip.is_open
    assert trip.held == 1.5


def test_dust_of_arithmetic_closes_a_trip():
    (trip,) = pair_fills(
        fills((1, 0.1, 1.0, 0.0), (1, 0.2, 1.0, 0.0), (-1, 0.30000000000000004, 1.0, 0.0))
    )

    assert not trip.is_open


@given(
    rows=st.lists(
        st.tuples(st.sampled_from([1, -1]), st.integers(1, 9), st.integers(1, 50), st.floats(0, 1)),
        max_size=30,
    )
)
def test_trips_lose_no_quantity_value_or_fee(rows):
    table = fills(*((side, float(qty), float(price), fee) for side, qty, price, fee in rows))
    trips = pair_fills(table)
    flow = sum(trip.side * (trip.left_value - trip.entered_value) for trip in trips)
    left = sum(trip.side * trip.held for trip in trips)

    assert flow == pytest.approx(-(table["side"] * table["qty"] * table["price"]).sum())
    assert left == pytest.approx((table["side"] * table["qty"]).sum())
    assert sum(trip.fees for trip in trips) == pytest.approx(table["fee_usdt"].sum())
    assert all(not trip.is_open for trip in trips[:-1])
