"""Protects what leaves: nothing that the exchange would refuse for its numbers, and nothing else.

The oracle counts in fractions, over the recorded instruments.
"""

import json
from decimal import Decimal
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from workbench.core.errors import OrderRejected
from workbench.core.records import RiskTier
from workbench.exchange.instruments import parse_instrument
from workbench.exchange.records import PriceLimit
from workbench.exchange.requests import AmendRequest, CancelRequest, OrderRequest, StopRequest, body
from workbench.exchange.rules import (
    check_amend,
    check_leverage,
    check_named,
    check_order,
    check_stop,
)
from workbench.exchange.words import (
    OrderType,
    PositionIdx,
    Side,
    TimeInForce,
    TpslMode,
    TriggerBy,
    TriggerDirection,
)

SYMBOLS = ["BTCUSDT", "ETHUSDT", "LTCUSDT", "ADAUSDT"]
TIERS = (RiskTier(Decimal(10**6), Decimal("0.005"), Decimal("0.01"), Decimal(100), Decimal(0)),)


@pytest.fixture(scope="session")
def rows(shared_data):
    path = shared_data.parent / "bybit" / "instruments" / "ccxt_static_markets.json"
    return {row["symbol"]: row for row in json.loads(path.read_text())["list"]}


@pytest.fixture(scope="session")
def instruments(rows):
    return {symbol: parse_instrument(rows[symbol], TIERS) for symbol in SYMBOLS}


@pytest.fixture(scope="session")
def bitcoin(instruments):
    return instruments["BTCUSDT"]


def order(**changes):
    given = {
        "symbol": "BTCUSDT", "side": Side.BUY, "order_type": OrderType.LIMIT,
        "qty": Decimal("0.01"), "price": Decimal("40000.1"), "order_link_id": "a-1",
    } | changes  # fmt: skip
    return OrderRequest(**given)


def is_multiple(amount, step):
    return (Fraction(amount) / Fraction(step)).denominator == 1


def would_be_taken(row, request):
    """What the exchange's own row says of a limit or market order, without a decimal context."""
    lots, prices = row["lotSizeFilter"], row["priceFilter"]
    is_market = request.order_type == OrderType.MARKET
    most = lots["maxMktOrderQty"] if is_market else lots["maxOrderQty"]
    qty, price = Fraction(request.qty), Fraction(request.price or 0)
    is_fine = Fraction(lots["minOrderQty"]) <= qty <= Fraction(most)
    is_fine &= is_multiple(request.qty, lots["qtyStep"])
    if not is_market:
        is_fine &= Fraction(prices["minPrice"]) <= price <= Fraction(prices["maxPrice"])
        is_fine &= is_multiple(request.price, prices["tickSize"])
        is_fine &= request.reduce_only or qty * price >= Fraction(lots["minNotionalValue"])
    return is_fine


def amounts(unit, *, low=-2, high=10):
    """Multiples of a step over many magnitudes, a third of them a little off."""
    whole = st.builds(
        lambda digits, power: Decimal(digits).scaleb(power) * unit,
        st.integers(0, 9999), st.integers(low, high - 4),
    )  # fmt: skip
    return st.one_of(whole, whole, whole.map(lambda amount: amount + unit / 7))


@given(st.data())
def test_order_passes_exactly_if_the_exchange_would_take_it(rows, instruments, data):
    """TE-05."""
    symbol = data.draw(st.sampled_from(SYMBOLS))
    own = instruments[symbol]
    is_market = data.draw(st.booleans())
    request = order(
        symbol=symbol,
        order_type=OrderType.MARKET if is_market else OrderType.LIMIT,
        qty=data.draw(amounts(own.qty_step)),
        price=None if is_market else data.draw(amounts(own.tick_size)),
        side=data.draw(st.sampled_from(Side)),
        reduce_only=data.draw(st.booleans()),
    )
    refusal = None
    try:
        check_order(request, own)
    except OrderRejected as error:
        refusal = str(error)
    assert (refusal is None) is would_be_taken(rows[symbol], request), refusal
    sent = body(request)
    assert "E" not in sent["qty"] + sent.get("price", "")
    assert Decimal(sent["qty"]) == request.qty


@given(st.data())
def test_limits_of_the_exchange_are_inside_and_one_step_beyond_is_not(instruments, data):
    own = instruments[data.draw(st.sampled_from(SYMBOLS))]
    price = max(own.tick_size, own.max_price // own.tick_size * own.tick_size)
    check_order(order(symbol=own.symbol, qty=own.max_qty, price=price), own)
    for change in (
        {"qty": own.max_qty + own.qty_step},
        {"qty": own.min_qty - own.qty_step},
        {"price": own.max_price + own.tick_size},
        {"price": own.tick_size * 0},
    ):
        request = order(**{"symbol": own.symbol, "qty": own.max_qty, "price": price} | change)
        with pytest.raises(OrderRejected, match="range"):
            check_order(request, own)


def test_market_order_has_a_smaller_maximum(bitcoin):
    over = order(order_type=OrderType.MARKET, price=None, qty=Decimal(120))
    with pytest.raises(OrderRejected, match=r"0\.001 to 119"):
        check_order(over, bitcoin)
    check_order(order(qty=Decimal(120)), bitcoin)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"price": None}, "needs a price"),
        ({"order_type": OrderType.MARKET}, "has no price"),
        (
            {"order_type": OrderType.MARKET, "price": None, "time_in_force": TimeInForce.POST_ONLY},
            "post-only",
        ),
        ({"trigger_price": Decimal(41000)}, "direction go together"),
        ({"trigger_direction": TriggerDirection.RISE}, "direction go together"),
        ({"reduce_only": True, "take_profit": Decimal(50000)}, "cannot carry"),
        ({"take_profit": Decimal(50000), "tp_limit_price": Decimal(50000)}, "Partial"),
        ({"price": Decimal("40000.15")}, r"Use 40000\.10 or 40000\.20"),
        ({"qty": Decimal("0.0105")}, r"Use 0\.010 or 0\.011"),
        ({"qty": Decimal("NaN")}, "out of its range"),
        ({"price": Decimal("Infinity")}, "out of its range"),
        ({"price": Decimal(-1)}, "out of its range"),
        ({"take_profit": Decimal("50000.05")}, "take_profit"),
        ({"stop_loss": Decimal(0)}, "stop_loss"),
        ({"take_profit": Decimal(40000)}, "wrong side"),
        ({"stop_loss": Decimal(41000)}, "wrong side"),
        ({"side": Side.SELL, "take_profit": Decimal(41000)}, "wrong side"),
        ({"qty": Decimal("0.001"), "price": Decimal(4000)}, "at least 5 USDT"),
    ],
)
def test_order_that_would_be_refused_is_refused_in_words(bitcoin, change, words):
    with pytest.raises(OrderRejected, match=words):
        check_order(order(**change), bitcoin)


@pytest.mark.parametrize("closing", [{"reduce_only": True}, {"close_on_trigger": True}])
def test_closing_order_needs_no_minimum_value(bitcoin, closing):
    check_order(order(qty=Decimal("0.001"), price=Decimal(4000), **closing), bitcoin)


def test_quantity_of_zero_closes_everything_and_only_that(bitcoin):
    everything = {"order_type": OrderType.MARKET, "price": None, "qty": Decimal(0)}
    check_order(order(**everything, reduce_only=True, close_on_trigger=True), bitcoin)
    with pytest.raises(OrderRejected, match="range"):
        check_order(order(**everything, reduce_only=True), bitcoin)


@pytest.mark.parametrize(
    ("side", "price", "is_taken"),
    [(Side.BUY, 41000, True), (Side.BUY, "41000.1", False), (Side.SELL, 39000, True),
     (Side.SELL, "38999.9", False)],
)  # fmt: skip
def test_price_limit_binds_each_side_at_its_end(bitcoin, side, price, is_taken):
    limit = PriceLimit("BTCUSDT", Decimal(41000), Decimal(39000))
    request = order(side=side, price=Decimal(price))
    if is_taken:
        check_order(request, bitcoin, limit=limit)
    else:
        with pytest.raises(OrderRejected, match="price limit"):
            check_order(request, bitcoin, limit=limit)


def test_conditional_order_is_held_against_its_trigger_and_not_the_limit_of_now(bitcoin):
    limit = PriceLimit("BTCUSDT", Decimal(41000), Decimal(39000))
    rise = order(price=Decimal(45000), trigger_price=Decimal(44000),
                 trigger_direction=TriggerDirection.RISE)  # fmt: skip
    check_order(rise, bitcoin, limit=limit, reference=Decimal(43999))
    with pytest.raises(OrderRejected, match="waits for a rise"):
        check_order(rise, bitcoin, reference=Decimal(44000))
    fall = order(trigger_price=Decimal(44000), trigger_direction=TriggerDirection.FALL)
    check_order(fall, bitcoin, reference=Decimal(44001))
    with pytest.raises(OrderRejected, match="waits for a fall"):
        check_order(fall, bitcoin, reference=Decimal(43000))
    # The mark is another price than the last one, which is all that is known here.
    by_mark = order(trigger_price=Decimal(44000), trigger_direction=TriggerDirection.FALL,
                    trigger_by=TriggerBy.MARK)  # fmt: skip
    check_order(by_mark, bitcoin, reference=Decimal(43000))


def test_symbol_that_is_not_traded_is_refused(rows):
    closed = parse_instrument(rows["BTCUSDT"] | {"status": "Closed"}, TIERS)
    with pytest.raises(OrderRejected, match="its status is Closed"):
        check_order(order(), closed)


@pytest.mark.parametrize(
    ("given_", "words"),
    [
        ({}, "names no order"),
        ({"order_id": "x"}, "changes nothing"),
        ({"order_id": "x", "qty": Decimal("0.0001")}, "range"),
        ({"order_link_id": "x", "price": Decimal("1.05")}, "tick"),
    ],
)
def test_amendment_that_would_be_refused_is_refused(bitcoin, given_, words):
    with pytest.raises(OrderRejected, match=words):
        check_amend(AmendRequest(symbol="BTCUSDT", **given_), bitcoin)


def test_amendment_may_remove_a_stop(bitcoin):
    request = AmendRequest(symbol="BTCUSDT", order_id="x", stop_loss=Decimal(0))
    check_amend(request, bitcoin)
    assert body(request) == {"symbol": "BTCUSDT", "orderId": "x", "stopLoss": "0"}


def test_cancel_must_name_an_order():
    with pytest.raises(OrderRejected, match="names no order"):
        check_named(CancelRequest(symbol="BTCUSDT"))


def test_stops_keep_to_ticks_and_steps(bitcoin):
    def stop(**more):
        return StopRequest(symbol="BTCUSDT", **more)

    check_stop(stop(stop_loss=Decimal(0), trailing_stop=Decimal("0.1")), bitcoin)
    for bad in ({"trailing_stop": Decimal("0.05")}, {"active_price": Decimal("1.05")},
                {"tp_size": Decimal("0.0001")}):  # fmt: skip
        with pytest.raises(OrderRejected):
            check_stop(stop(**bad), bitcoin)


@pytest.mark.parametrize("leverage", ["0.5", "100.01", "3.005", "NaN"])
def test_leverage_that_the_instrument_does_not_know_is_refused(bitcoin, leverage):
    check_leverage(Decimal("3.01"), bitcoin)
    with pytest.raises(OrderRejected, match="1 to 100"):
        check_leverage(Decimal(leverage), bitcoin)


def test_body_leaves_out_what_was_not_given_and_keeps_the_index_of_the_position():
    request = order(
        reduce_only=True, time_in_force=TimeInForce.IOC, position_idx=PositionIdx.SHORT,
        trigger_price=Decimal("1E+4"), trigger_direction=TriggerDirection.FALL,
        tpsl_mode=TpslMode.PARTIAL,
    )  # fmt: skip
    assert body(request) == {
        "symbol": "BTCUSDT", "side": "Buy", "orderType": "Limit", "qty": "0.01",
        "orderLinkId": "a-1", "price": "40000.1", "timeInForce": "IOC", "positionIdx": 2,
        "reduceOnly": True, "triggerPrice": "10000", "triggerDirection": 2, "tpslMode": "Partial",
    }  # fmt: skip


def test_instrument_carries_every_limit_of_its_row(rows):
    row = rows["LTCUSDT"] | {"deliveryTime": "1700000000000"}
    own = parse_instrument(row, TIERS)
    assert (own.min_price, own.max_price) == (Decimal("0.01"), Decimal("199999.98"))
    assert (own.price_limit_x, own.price_limit_y) == (Decimal("0.05"), Decimal("0.1"))
    assert own.delisting.isoformat() == "2023-11-14T22:13:20+00:00"
    assert parse_instrument(rows["LTCUSDT"], TIERS).delisting is None
