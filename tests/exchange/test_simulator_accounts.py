"""Protects the money: margin, liquidation, funding and profit, by worked and recorded cases."""

import json
from decimal import Decimal

import pytest

from tests.exchange.floor import ONE, Desk, refusal
from tests.markets import make_instrument
from workbench.core.records import RiskTier

D = Decimal


def floor(*, tick="0.01", step="0.001", rate="0.005", leverage="100", deposit=100_000, **more):
    """A desk on a contract of one tier."""
    tiers = (RiskTier(D(10_000_000), D(rate), 1 / D(leverage), D(leverage), D(0)),)
    instrument = make_instrument(
        "AAAUSDT", tick_size=D(tick), qty_step=D(step), min_qty=D(step), max_leverage=D(leverage),
        min_notional_usdt=D(1), tiers=tiers,
    )  # fmt: skip
    wallets = (("a", deposit), ("b", 1_000_000))
    return Desk(instrument=instrument, wallets=wallets, limit_x=D(5), limit_y=D(9), **more)


def hold(desk, side, qty, price, *, leverage="10", fee="0.00055", isolated=False, uid="a"):
    """Let an account enter at exactly a price, against the other one."""
    account = desk.sim.accounts[uid]
    account.taker = account.fee_to_close = D(fee)
    if isolated:
        desk.sim.set_margin_mode(uid, {"setMarginMode": "ISOLATED_MARGIN"})
    if leverage != "10":
        both = {"buyLeverage": leverage, "sellLeverage": leverage}
        desk.sim.set_leverage(uid, {"symbol": desk.symbol, **both})
    desk.sim.push_ticker(desk.symbol, 0, mark=D(price), index=D(price))
    desk.quote(D(price) - desk.tick, D(price) + desk.tick, size=0)
    desk.place("Sell" if side == "Buy" else "Buy", price, uid="b", qty=qty)
    desk.place(side, price, uid=uid, qty=qty, timeInForce="IOC")
    return desk.position(uid)


@pytest.fixture
def recorded(shared_data):
    """A recorded or documented payload by its path."""
    return lambda path: json.loads((shared_data.parent / "bybit" / path).read_text())


class TestMargin:
    """RK-22, BYBIT.md 2.7: initial and maintenance margin."""

    def test_isolated_margin_equals_the_checked_record(self):
        """Size 0.001 at 60,766.7 on 10 times: 6.10674952 and 0.33391302."""
        desk = floor(tick="0.1")
        position = hold(desk, "Buy", "0.001", "60766.7", isolated=True)
        assert round(position.position_im, 8) == D("6.10674952")
        assert round(position.position_mm, 8) == D("0.33391302")

    @pytest.mark.parametrize(
        ("number", "rate"), [(2, "0.005"), (3, "0.01")], ids=["ETHUSDT", "XRPUSDT"]
    )
    def test_isolated_margin_equals_recorded_positions(self, recorded, number, rate):
        """Recorded before the fee fell from 0.06 %; both figures to their last decimal."""
        row = recorded(f"ccxt_inline/rest__parse_position.{number}.json")
        entry = row.get("avgPrice") or row["entryPrice"]
        desk = floor(tick="0.0001", rate=rate)
        position = hold(
            desk, row["side"], row["size"], str(D(entry).normalize()), fee="0.0006", isolated=True,
        )  # fmt: skip
        assert position.position_im == D(row["positionIM"])
        assert position.position_mm == D(row["positionMM"])

    def test_cross_margin_follows_the_mark_as_recorded(self, recorded):
        """A push of November 2025: a short on 30 times, valued at the mark, not at its entry.

        The mark and the entry follow from value and profit; the two rates agree on the mark to all
        digits, and the fee term, whose form is not published, to a hundred-thousandth.
        """
        (row,) = recorded("nautilus/ws_account_position.json")["data"]
        size = D(row["size"])
        entry = D(row["positionValue"]) / size
        mark = entry - D(row["unrealisedPnl"]) / size
        im, mm = D(row["positionIM"]), D(row["positionMM"])
        assert (im - mm) / (1 / D(30) - D("0.005")) == pytest.approx(mark * size, abs=D("1e-6"))
        desk = floor(tick="0.005", step="0.01")
        hold(desk, "Sell", row["size"], str(entry.normalize()), leverage="30")
        desk.mark(mark)
        position = desk.position()
        assert position.unrealised_pnl == D(row["unrealisedPnl"])
        assert float(position.position_im) == pytest.approx(float(im), rel=2e-6)
        assert float(position.position_mm) == pytest.approx(float(mm), rel=1e-5)

    def test_margin_rises_with_the_tier(self):
        """The second tier takes 2 % less its deduction, so that nothing jumps at the border."""
        desk = Desk(wallets=(("a", 1_000_000), ("b", 1_000_000)), limit_x=D(5), limit_y=D(9))
        desk.sim.accounts["a"].fee_to_close = D(0)
        hold(desk, "Buy", "1500", "100.0")
        desk.sim.accounts["a"].fee_to_close = D(0)
        desk.mark("100.1")
        assert desk.position().position_mm == D(1500) * D("100.1") * D("0.02") - 1000

    def test_order_margin_counts_the_larger_side_and_what_an_order_loses(self):
        """Cross: the mark values orders, and a purchase above it loses the difference at once."""
        desk = floor(deposit=10_000)
        desk.quote("99.9", "100.1", size=0)
        desk.mark("100")
        one = D(100) / 10 + D(100) * D("0.9") * D("0.00055") + D(100) * D("0.00055")
        desk.place("Buy", "99", qty="3")
        assert desk.sim.wallet("a").total_initial_margin == 3 * one
        desk.place("Sell", "101.0", qty="2")
        assert desk.sim.wallet("a").total_initial_margin == 3 * one
        assert desk.sim.wallet("a").total_available_balance == 10_000 - 3 * one
        desk.sim.cancel_all("a", {"symbol": desk.symbol})
        desk.place("Buy", "110", qty="3")
        wallet = desk.sim.wallet("a")
        assert wallet.account_im_rate == 3 * one / (10_000 - 30)

    def test_reducing_orders_need_no_margin(self):
        desk = floor(deposit=1_100)
        hold(desk, "Buy", "100", "100")
        desk.quote("99.9", "100.1", size=1000)
        assert refusal(desk.place, "Buy", "99", qty="10") == 110007
        desk.place("Sell", qty="40")
        assert desk.position().size == 60

    def test_isolated_account_has_no_account_wide_margin(self):
        desk = floor()
        hold(desk, "Buy", "1", "100", isolated=True)
        wallet = desk.sim.wallet("a")
        assert wallet.total_initial_margin is None
        assert wallet.coin[0].total_position_im == desk.position().position_im


class TestSettings:
    """Leverage, modes, margin by hand; BYBIT.md 2.4."""

    def test_leverage(self):
        desk = floor(deposit=1_100)
        body = {"symbol": desk.symbol, "buyLeverage": "10", "sellLeverage": "10"}
        assert refusal(desk.sim.set_leverage, "a", body) == 110043
        over = body | {"buyLeverage": "101", "sellLeverage": "101"}
        assert refusal(desk.sim.set_leverage, "a", over) == 110013
        assert refusal(desk.sim.set_leverage, "a", body | {"buyLeverage": "5"}) == 10001
        hold(desk, "Buy", "100", "100")
        assert refusal(
            desk.sim.set_leverage, "a", body | {"buyLeverage": "5", "sellLeverage": "5"}
        ) == 110044  # fmt: skip
        desk.sim.set_leverage("a", body | {"buyLeverage": "20", "sellLeverage": "20"})
        assert desk.position().leverage == 20

    def test_margin_by_hand_moves_the_liquidation_price(self):
        desk = floor()
        body = {"symbol": desk.symbol, "margin": "50"}
        assert refusal(desk.sim.add_margin, "a", body) == 110015
        before = hold(desk, "Buy", "10", "100", isolated=True)
        after = desk.sim.add_margin("a", body)
        assert after.position_balance == before.position_balance + 50
        assert before.liq_price - after.liq_price == pytest.approx(D(5) / D("0.995"), abs=D("1e-9"))
        assert refusal(desk.sim.add_margin, "a", body | {"margin": "-51"}) == 110012
        assert refusal(desk.sim.add_margin, "a", body | {"margin": "200000"}) == 110014
        desk.sim.add_margin("a", body | {"margin": "-50"})
        assert desk.position().liq_price == before.liq_price

    def test_margin_mode(self):
        desk = floor()
        body = {"setMarginMode": "REGULAR_MARGIN"}
        assert refusal(desk.sim.set_margin_mode, "a", body) == 110026
        desk.sim.set_margin_mode("a", {"setMarginMode": "ISOLATED_MARGIN"})
        assert desk.sim.account_info("a").margin_mode == "ISOLATED_MARGIN"

    def test_position_mode_of_all_symbols(self):
        desk = floor()
        assert refusal(desk.sim.switch_mode, "a", {"mode": 3}) == 10001
        desk.place("Buy", "90")
        assert refusal(desk.sim.switch_mode, "a", {"coin": "USDT", "mode": 3}) == 110028
        desk.sim.cancel_all("a", {"settleCoin": "USDT"})
        desk.sim.switch_mode("a", {"coin": "USDT", "mode": 3})
        assert desk.sim.position_mode("a", desk.symbol) == 3
        assert [p.position_idx for p in desk.sim.positions("a", desk.symbol)] == [1, 2]

    def test_isolated_margin_that_is_not_there_is_refused(self):
        desk = floor(deposit=1_100)
        hold(desk, "Buy", "100", "100")
        desk.mark("130")
        desk.place("Buy", "100", qty="20")
        body = {"setMarginMode": "ISOLATED_MARGIN"}
        assert refusal(desk.sim.set_margin_mode, "a", body) == 110044
        assert desk.sim.account_info("a").margin_mode == "REGULAR_MARGIN"

    def test_pre_check_tells_the_rates_and_changes_nothing(self):
        desk = floor(deposit=1_000)
        desk.mark("100")
        body = ONE | {"symbol": desk.symbol, "side": "Buy", "orderType": "Limit", "price": "99"}
        check = desk.sim.pre_check("a", body | {"qty": "10"})
        assert (check.pre_imr_e4, check.post_imr_e4) == (0, 1010)
        assert desk.sim.open_orders("a") == []


class TestLiquidation:
    """RK-22: at the mark, in steps, at the bankruptcy price, with the fund bearing the gap."""

    @pytest.mark.parametrize("side", ["Buy", "Sell"])
    def test_isolated_is_taken_over_at_its_price_and_not_before(self, side):
        desk = floor()
        way = 1 if side == "Buy" else -1
        position = hold(desk, side, "10", "100", isolated=True)
        expected = 100 * (1 - way * D("0.1")) / (1 - way * D("0.005"))
        assert position.liq_price == pytest.approx(expected, abs=D("1e-12"))
        desk.mark(round(position.liq_price + way * D("0.01"), 2))
        assert desk.position().size == 10
        fund = desk.sim.insurance()
        mark = round(position.liq_price - way * D("0.01"), 2)
        desk.sim.take_events()
        desk.mark(mark)
        assert desk.position().size == 0
        bust = D(100) * (1 - way * D("0.1"))
        assert desk.sim.insurance() - fund == way * (mark - bust) * 10
        lost = 100_000 - desk.sim.wallet("a").total_equity
        assert lost == D(100) + bust * 10 * D("0.00055") + D(1000) * D("0.00055")
        (told,) = [e.record for e in desk.sim.take_events() if e.kind == "liquidation"]
        assert (told.side, told.price, told.size) == (side, bust, 10)
        fill = desk.sim.executions("a")[0]
        assert fill.exec_type == "BustTrade"
        assert fill.create_type == "CreateByTakeOver_PassThrough"

    def test_cross_cancels_orders_first(self):
        """What open orders freed may be enough: cancelling costs nothing."""
        desk = floor(deposit=1_100)
        hold(desk, "Buy", "100", "100")
        resting = desk.place("Sell", "150", qty="1")
        desk.mark("89.5")
        order = desk.order(resting)
        assert order.cancel_type == "CancelAllBeforeLiq"
        assert desk.position().size == 0
        assert desk.sim.bank.difference(desk.sim.accounts.values()) == 0

    def test_cross_liquidation_price_is_where_it_happens(self):
        desk = floor(deposit=1_100)
        position = hold(desk, "Buy", "100", "100")
        desk.sim.accounts["a"].fee_to_close = D(0)
        price = desk.position().liq_price
        desk.mark(round(price + D("0.01"), 2))
        assert desk.position().size == position.size
        desk.mark(round(price - D("0.01"), 2))
        assert desk.position().size == 0
        assert abs(desk.sim.wallet("a").total_equity) < D("0.000001")

    def test_high_tier_steps_down_before_it_is_taken_over(self):
        """2,000 coins are in the second tier: what goes is closed down to its border."""
        desk = Desk(wallets=(("a", 21_000), ("b", 9_000_000)), limit_x=D(5), limit_y=D(9))
        hold(desk, "Buy", "2000", "100.0")
        desk.mark("90.8")
        fills = [f for f in desk.sim.executions("a") if f.exec_type == "BustTrade"]
        assert fills[-1].create_type == "CreateByLiq"
        assert fills[-1].exec_qty == 2000 - D(int(D(100_000) / D("0.0908"))) / 1000
        assert len(fills) == 1
        assert desk.position().position_value < 111_000
        assert desk.position().position_mm < desk.sim.wallet("a").total_margin_balance

    def test_empty_fund_deleverages_the_other_side(self):
        """What insurance cannot bear, the profitable short bears at the bankruptcy price."""
        desk = floor(insurance_usdt=D(1))
        hold(desk, "Buy", "10", "100", isolated=True)
        desk.mark("80")
        assert desk.position("b").size == 0
        fill = desk.sim.executions("b")[0]
        assert (fill.exec_type, fill.exec_price, fill.exec_fee) == ("AdlTrade", 90, 0)
        assert desk.sim.insurance() == 1
        assert desk.sim.bank.difference(desk.sim.accounts.values()) == 0

    def test_margin_that_adds_itself_saves_the_position(self):
        desk = floor()
        position = hold(desk, "Buy", "10", "100", isolated=True)
        desk.sim.set_auto_add_margin("a", {"symbol": desk.symbol, "autoAddMargin": 1})
        desk.mark("90.4")
        assert desk.position().size == 10
        assert desk.position().position_balance == pytest.approx(2 * position.position_im)


class TestFundingAndProfit:
    """TE-11, BYBIT.md 2.2 and 2.7: what is paid, by what sign it is written."""

    def test_funding_equals_the_documented_settlement(self, recorded):
        """100 XRP long at 0.3676 and 0.01 %: 0.003676 are paid."""
        page = recorded("bybit_docs/account__transaction-log.0.json")
        row = page["result"]["list"][0]
        desk = floor(tick="0.0001")
        hold(desk, "Buy", row["size"], "0.3615")
        desk.mark(row["tradePrice"])
        before = desk.sim.wallet("a").coin[0].wallet_balance
        desk.sim.settle_funding(desk.sim.markets[desk.symbol], D(row["feeRate"]), 8)
        logged, fill = desk.sim.transactions("a")[0], desk.sim.executions("a")[0]
        assert (logged.type, logged.funding, logged.change) == (
            "SETTLEMENT", D(row["funding"]), D(row["change"]),
        )  # fmt: skip
        assert logged.cash_balance == before + D(row["change"])
        assert (fill.exec_type, fill.exec_fee) == ("Funding", D("0.003676"))
        assert desk.sim.executions("b")[0].exec_fee == -D("0.003676")

    def test_fees_equal_the_documented_trade(self, recorded):
        page = recorded("bybit_docs/account__transaction-log.0.json")
        row = page["result"]["list"][1]
        desk = floor(tick="0.0001")
        hold(desk, row["side"], row["qty"], row["tradePrice"], fee=row["feeRate"])
        logged = desk.sim.transactions("a")[0]
        assert (logged.type, logged.fee, logged.change) == (
            "TRADE", D(row["fee"]), D(row["change"]),
        )  # fmt: skip

    def test_closed_profit_equals_the_documented_row(self, recorded):
        """Entry 3,584.9255, exit 3,541.795, both fees at 0.06 %: -47.4065323."""
        row = recorded("bybit_docs/position__close-pnl.0.json")["result"]["list"][0]
        desk = floor(tick="0.05", step="0.01")
        hold(desk, "Buy", "1.51", "1195.00", fee="0.0006")
        hold(desk, "Buy", "1.49", "1194.95", fee="0.0006")
        desk.place("Buy", "1180.60", uid="b", qty="2.90")
        desk.place("Buy", "1180.55", uid="b", qty="0.10")
        desk.place("Sell", qty="3", reduceOnly=True)
        (closed,) = desk.sim.closed_pnl("a")
        for name, key in (
            ("closed_pnl", "closedPnl"), ("cum_entry_value", "cumEntryValue"),
            ("cum_exit_value", "cumExitValue"), ("closed_size", "closedSize"), ("qty", "qty"),
        ):  # fmt: skip
            assert getattr(closed, name) == D(row[key]), name
        assert round(closed.avg_entry_price, 8) == D(row["avgEntryPrice"])
        assert closed.side == row["side"]

    def test_turned_position_closes_one_and_opens_the_other(self):
        desk = floor()
        hold(desk, "Buy", "2", "100")
        hold(desk, "Sell", "5", "110")
        position = desk.position()
        assert (position.side, position.size, position.avg_price) == ("Sell", 3, 110)
        (closed,) = desk.sim.closed_pnl("a")
        fees = (200 + 220) * D("0.00055")
        assert closed.closed_pnl == 20 - fees

    def test_wallet_is_the_sum_of_its_log(self):
        desk = floor()
        hold(desk, "Buy", "2", "100")
        hold(desk, "Sell", "1", "101")
        desk.sim.settle_funding(desk.sim.markets[desk.symbol], D("0.0003"), 8)
        for uid in "ab":
            log = desk.sim.transactions(uid)
            assert sum(row.change for row in log) == log[0].cash_balance
            assert all(row.change == row.cash_flow + row.funding - row.fee for row in log)

    def test_fee_tier_sets_the_fees(self):
        desk = floor()
        desk.sim.add_account("vip", wallet_usdt="1000", fee_tier="VIP5")
        (fees,) = desk.sim.fee_rates("vip")
        assert (fees.maker_fee_rate, fees.taker_fee_rate) == (D("0.0001"), D("0.00032"))
