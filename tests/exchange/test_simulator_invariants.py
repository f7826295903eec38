"""Protects the books of the simulated exchange: whatever accounts and markets do, they add up."""

from collections import Counter
from decimal import Decimal

import pytest
from hypothesis import HealthCheck, Phase, seed, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    rule,
    run_state_machine_as_test,
)

from tests.markets import make_instrument
from workbench.core.costs import Costs
from workbench.exchange.simulator import Refused, Settings, Simulator
from workbench.exchange.simulator.orders import _STAGE

SYMBOL, UIDS = "AAAUSDT", ("cross", "isolated", "hedged")
TICK, STEP = Decimal("0.1"), Decimal("0.001")
MAX_OPEN, MAX_CONDITIONAL = 6, 3
uids = st.sampled_from(UIDS)
sides = st.sampled_from(("Buy", "Sell"))
offsets = st.integers(-60, 60)
lots = st.integers(1, 60_000)


class Exchange(RuleBasedStateMachine):
    """Three accounts and a market that jumps; refusals are answers, all else must add up."""

    @initialize(tiny_fund=st.booleans(), latency_s=st.sampled_from((0.0, 0.05)))
    def open(self, tiny_fund, latency_s):
        self.sim = Simulator(
            [make_instrument(SYMBOL, max_qty=Decimal(60), max_market_qty=Decimal(60))],
            settings=Settings(
                max_open=MAX_OPEN,
                max_conditional=MAX_CONDITIONAL,
                costs=Costs(latency_s=latency_s),
                insurance_usdt=Decimal(50) if tiny_fund else Decimal(1_000_000),
            ),
        )  # fmt: skip
        self.mid, self.stages, self.filled = 1_000, {}, {}
        for uid in UIDS:
            self.sim.add_account(uid, wallet_usdt="700", smp_group=1 if uid != "hedged" else 0)
        self.sim.set_margin_mode("isolated", {"setMarginMode": "ISOLATED_MARGIN"})
        self.sim.switch_mode("hedged", {"symbol": SYMBOL, "mode": 3})
        self.quote(0, 1, 5_000)

    def ask(self, call, uid, **params):
        try:
            return call(uid, {"symbol": SYMBOL, **params})
        except Refused:
            return None

    def price(self, offset):
        return str(TICK * max(1, self.mid + offset))

    @rule(move=offsets, spread=st.integers(1, 5), size=st.integers(1, 60_000))
    def quote(self, move, spread, size):
        self.mid = max(200, self.mid + move)
        bids, asks = (
            [(TICK * (self.mid + way * (spread + k)), STEP * size) for k in range(5)]
            for way in (-1, 1)
        )
        self.sim.push_ticker(SYMBOL, self.sim.now_ms, mark=TICK * self.mid)
        self.sim.push_book(SYMBOL, bids, asks, self.sim.now_ms, is_snapshot=True)

    @rule(jump=st.integers(-30, 40), size=lots)
    def shock(self, jump, size):
        self.quote(self.mid * jump // 100, 1, size)

    @rule(offset=st.integers(-8, 8), side=sides, size=lots)
    def trade(self, offset, side, size):
        price = TICK * max(1, self.mid + offset)
        self.sim.push_trade(SYMBOL, price, STEP * size, side, self.sim.now_ms)

    @rule(rate=st.integers(-30, 30))
    def settle(self, rate):
        self.sim.settle_funding(self.sim.markets[SYMBOL], Decimal(rate) / 10_000, self.sim.now_ms)

    @rule(ms=st.integers(1, 100))
    def wait(self, ms):
        self.sim.advance(self.sim.now_ms + ms)

    @rule(
        uid=uids, side=sides, size=lots, offset=offsets, kind=st.sampled_from(("Limit", "Market")),
        tif=st.sampled_from(("GTC", "IOC", "FOK", "PostOnly")), reduces=st.booleans(),
        smp=st.sampled_from(("None", "CancelMaker", "CancelTaker", "CancelBoth")),
        idx=st.sampled_from((0, 0, 1, 2)), stops=st.sampled_from((None, "Full", "Partial")),
        trigger=st.one_of(st.none(), st.none(), offsets),
    )  # fmt: skip
    def create(self, uid, side, size, offset, kind, tif, reduces, smp, idx, stops, trigger):
        way = 1 if side == "Buy" else -1
        body = {"side": side, "qty": str(STEP * size), "orderType": kind, "timeInForce": tif,
                "price": self.price(offset), "reduceOnly": reduces, "smpType": smp,
                "positionIdx": (idx or 1) if uid == "hedged" else 0}  # fmt: skip
        if stops and not reduces:
            body |= {"takeProfit": self.price(way * 80), "stopLoss": self.price(-way * 80),
                     "tpslMode": stops}  # fmt: skip
        if trigger:
            body |= {"triggerPrice": self.price(trigger), "triggerDirection": 1 + (trigger < 0)}
        self.ask(self.sim.create_order, uid, **body)

    @rule(uid=uids, side=sides, size=st.integers(10_000, 60_000))
    def take(self, uid, side, size):
        idx = 1 + (side == "Sell") if uid == "hedged" else 0
        self.ask(self.sim.create_order, uid, side=side, qty=str(STEP * size), orderType="Market",
                 positionIdx=idx)  # fmt: skip

    @rule(uid=uids, side=sides, size=st.integers(100, 60_000), offset=st.integers(-6, 6))
    def rest(self, uid, side, size, offset):
        idx = 1 + (side == "Sell") if uid == "hedged" else 0
        self.ask(self.sim.create_order, uid, side=side, qty=str(STEP * size), orderType="Limit",
                 price=self.price(offset), positionIdx=idx)  # fmt: skip

    @rule(uid=uids, size=st.integers(100, 60_000))
    def close(self, uid, size):
        for position in self.sim.accounts[uid].held():
            side = "Sell" if position.side > 0 else "Buy"
            self.ask(self.sim.create_order, uid, side=side, qty=str(STEP * size), reduceOnly=True,
                     orderType="Market", positionIdx=position.idx)  # fmt: skip

    def some(self, uid, pick):
        orders = list(self.sim.accounts[uid].orders)
        return orders[pick % len(orders)] if orders else "none"

    @rule(uid=uids, pick=st.integers(0, 20), size=lots, offset=offsets)
    def amend(self, uid, pick, size, offset):
        self.ask(self.sim.amend_order, uid, orderId=self.some(uid, pick), qty=str(STEP * size),
                 price=self.price(offset))  # fmt: skip

    @rule(uid=uids, pick=st.integers(0, 20))
    def cancel(self, uid, pick):
        self.ask(self.sim.cancel_order, uid, orderId=self.some(uid, pick))

    @rule(uid=uids, kind=st.sampled_from((None, "Order", "StopOrder")))
    def cancel_all(self, uid, kind):
        self.ask(self.sim.cancel_all, uid, orderFilter=kind)

    @rule(uid=uids, leverage=st.integers(1, 60))
    def lever(self, uid, leverage):
        self.ask(self.sim.set_leverage, uid, buyLeverage=str(leverage), sellLeverage=str(leverage))

    @rule(uid=uids, take=st.integers(-20, 60), stop=st.integers(-60, 20), size=lots,
          trail=st.integers(0, 40), mode=st.sampled_from(("Full", "Partial")))  # fmt: skip
    def protect(self, uid, take, stop, size, trail, mode):
        for position in self.sim.accounts[uid].held():
            way = position.side
            self.ask(self.sim.trading_stop, uid, positionIdx=position.idx, tpslMode=mode,
                     takeProfit=self.price(way * take), stopLoss=self.price(way * stop),
                     tpSize=str(STEP * size), slSize=str(STEP * size),
                     trailingStop=str(TICK * trail))  # fmt: skip

    @rule(margin=st.integers(-500, 500).filter(bool))
    def pad(self, margin):
        self.ask(self.sim.add_margin, "isolated", margin=str(margin))

    @rule(uid=uids, size=lots)
    def deleverage(self, uid, size):
        for position in self.sim.accounts[uid].held()[:1]:
            self.sim.deleverage(uid, SYMBOL, STEP * size, position_idx=position.idx)

    @invariant()
    def money_is_conserved(self):
        """Wallets less the cost of what is held, the market, fees and insurance: what came in."""
        if hasattr(self, "sim"):
            assert self.sim.bank.difference(self.sim.accounts.values()) == 0
            assert self.sim.bank.insurance >= 0
            for account in self.sim.accounts.values():
                assert sum(row.change for row in account.transactions) == account.wallet

    @invariant()
    def positions_are_the_sum_of_fills(self):
        if not hasattr(self, "sim"):
            return
        held = Counter()
        for account in self.sim.accounts.values():
            fills = [e for e in account.executions if e.exec_type != "Funding"]
            lots_held = sum(position.lots for position in account.positions.values())
            assert STEP * lots_held == sum(e.side.sign * e.exec_qty for e in fills)
            held[SYMBOL] += lots_held
            for position in account.positions.values():
                assert position.cost >= 0
                assert position.lots or not (position.cost or position.extra or position.stops)
                assert position.way == 0 or position.lots * position.way >= 0
        assert held[SYMBOL] + self.sim.bank.lots.get(SYMBOL, 0) == 0

    @invariant()
    def orders_only_move_forward(self):
        if not hasattr(self, "sim"):
            return
        for event in self.sim.take_events():
            if event.kind != "order":
                continue
            order, stage = event.record, _STAGE[event.record.order_status]
            assert stage >= self.stages.get(order.order_id, 0)
            assert order.cum_exec_qty >= self.filled.get(order.order_id, 0)
            assert order.cum_exec_qty <= order.qty
            assert order.leaves_qty >= 0
            self.stages[order.order_id] = stage
            self.filled[order.order_id] = order.cum_exec_qty

    @invariant()
    def open_orders_are_counted_right(self):
        if not hasattr(self, "sim"):
            return
        resting = {
            o.order_id for side in (1, -1) for o in self.sim.markets[SYMBOL].book.resting(side)
        }
        live = set()
        for account in self.sim.accounts.values():
            mine = [o for o in account.orders.values() if o not in o.position.stops]
            assert sum(o.is_waiting for o in mine) <= MAX_CONDITIONAL
            set_off = sum(bool(o.trigger) for o in mine if not o.is_waiting)
            assert sum(not o.is_waiting for o in mine) - set_off <= MAX_OPEN
            for position in account.positions.values():
                opening = [o for o in position.live.values() if o.opens]
                assert position.buys == sum(o.leaves for o in opening if o.sign > 0)
                assert position.sells == sum(o.leaves for o in opening if o.sign < 0)
                for order in position.live.values():
                    assert order.leaves > 0
                    assert order.opens or order.leaves <= abs(position.lots)
                live |= set(position.live)
        assert resting <= live


def test_any_sequence_keeps_the_books():
    """The proof in small: some thousands of steps."""
    run_state_machine_as_test(
        Exchange,
        settings=settings(
            max_examples=80, stateful_step_count=40, deadline=None, derandomize=True,
            phases=[Phase.explicit, Phase.generate],
            suppress_health_check=list(HealthCheck),
        ),
    )  # fmt: skip


@pytest.mark.long
@pytest.mark.timeout(3600)
def test_ten_thousand_sequences_keep_the_books():
    run_state_machine_as_test(
        seed(5)(Exchange),
        settings=settings(
            max_examples=10_000, stateful_step_count=40, deadline=None, database=None,
            suppress_health_check=list(HealthCheck),
        ),
    )  # fmt: skip
