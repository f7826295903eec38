"""Protects parity: the backtest's kernel and the exchange in candle-exact mode, bar for bar.

Two programs that share no code but the formulas of the core: numba in float64, and an exchange that
takes orders in Decimal. The same targets must give the same fills and the same equity.
"""

from dataclasses import replace
from decimal import Decimal

import numpy as np
import pandas as pd
import polars as pl
import pytest

from tests.markets import make_instrument, make_market, random_market, scripted
from workbench.backtest import run
from workbench.core.costs import Costs
from workbench.core.lots import whole_lots
from workbench.core.records import Account, Instrument, Market, RiskTier, from_bar_start
from workbench.exchange.simulator import CandleSource, Settings, Simulator
from workbench.strategies.base import KEEP, WEIGHT_QUANTUM, quantise

UID = "kernel"
BRACKETS = {"stop_loss": 0.02, "take_profit": 0.05, "trailing": 0.03, "rebalance_band": 0.05}


class Trader:
    """Follows weights at the exchange as the backtest reads them; one account, market orders."""

    def __init__(self, market, strategy, *, costs, account):
        settings = Settings(is_exact=True, costs=costs, limit_x=Decimal(9), limit_y=Decimal(9))
        self.market, self.strategy, self.account = market, strategy, account
        instruments = [market.instruments[symbol] for symbol in market.symbols]
        self.sim = Simulator(instruments, source=CandleSource(market), settings=settings)
        mode = "ISOLATED_MARGIN" if account.is_isolated else "REGULAR_MARGIN"
        self.sim.add_account(UID, wallet_usdt=Decimal(repr(account.capital_usdt)))
        if account.is_isolated:
            self.sim.set_margin_mode(UID, {"setMarginMode": mode})
        leverage = f"{account.margin_leverage:g}"
        for symbol in market.symbols:
            if leverage != "10":
                body = {"symbol": symbol, "buyLeverage": leverage, "sellLeverage": leverage}
                self.sim.set_leverage(UID, body)
        self.weight = dict.fromkeys(market.symbols, 0)
        self.lock = dict.fromkeys(market.symbols, 0)
        self.held = dict.fromkeys(market.symbols, 0.0)

    def follow(self):
        market, sim = self.market, self.sim
        weights = quantise(self.strategy.weights(market))
        ends = market.index.as_unit("ms").asi8
        close = market.close.ffill().to_numpy()
        equity = np.empty(market.n_bars)
        sim.advance(int(ends[0]))
        equity[0] = self.account.capital_usdt
        for i in range(1, market.n_bars):
            opened = []
            for s, symbol in enumerate(market.symbols):
                if not np.isnan(market.open.iat[i, s]):
                    opened += self.order(
                        symbol, int(weights[i - 1, s]), close[i - 1, s], equity[i - 1]
                    )
            sim.advance(int(ends[i - 1]) + 1)
            for symbol in opened:
                self.protect(symbol)
            sim.advance(int(ends[i]))
            self.notice()
            wallet = sim.accounts[UID]
            equity[i] = float(wallet.wallet + sum(p.profit for p in wallet.held()))
            sim.take_events()
        return equity

    def order(self, symbol, w, close, equity):
        if w == KEEP:
            return []
        if self.lock[symbol] and w * self.lock[symbol] > 0:
            return []
        self.lock[symbol] = 0
        held, scale = self.held[symbol], self.account.leverage * equity
        drift = held * close - w * WEIGHT_QUANTUM * scale
        if scale <= 0 or (
            w == self.weight[symbol] and abs(drift) <= self.strategy.rebalance_band * scale
        ):
            return []
        rules = self.market.instruments[symbol]
        step = float(rules.qty_step)
        target = float(whole_lots(w * WEIGHT_QUANTUM * scale / close, step)) if w else 0.0
        delta = target - held
        most = float(rules.max_market_qty)
        if abs(delta) > most:
            delta = np.sign(delta) * most
        target = held + delta
        is_small = abs(delta) < float(rules.min_qty) or abs(delta) * close < float(
            rules.min_notional_usdt
        )
        self.weight[symbol] = w if not (target != 0 and is_small) else self.weight[symbol]
        if delta == 0.0 or (target != 0.0 and is_small):
            self.weight[symbol] = w
            return []
        lots = round(abs(delta) / step)
        self.sim.create_order(
            UID,
            {"symbol": symbol, "side": "Buy" if delta > 0 else "Sell", "orderType": "Market",
             "qty": str(lots * rules.qty_step), "reduceOnly": target == 0.0},
        )  # fmt: skip
        self.held[symbol] = round(target / step) * step
        is_new = self.held[symbol] != 0 and held * self.held[symbol] <= 0
        return [symbol] if is_new else []

    def protect(self, symbol):
        found = self.strategy.brackets(self.market)
        if found.stop_loss is None and found.take_profit is None and found.trailing is None:
            return
        (position,) = self.sim.accounts[UID].held()[:1] if len(self.held) == 1 else [
            p for p in self.sim.accounts[UID].held() if p.market.symbol == symbol
        ]  # fmt: skip
        tick, side = position.contract.tick, position.side
        entry = float(position.entry)
        body = {"symbol": symbol}
        for name, distance, way in (
            ("stopLoss", found.stop_loss, -side), ("takeProfit", found.take_profit, side)
        ):  # fmt: skip
            if distance is not None:
                level = entry * (1 + way * distance) / float(tick)
                ticks = np.floor(level + 1e-9) if way < 0 else np.ceil(level - 1e-9)
                body[name] = str(int(ticks) * tick)
        if found.trailing is not None:
            body["trailingStop"] = repr(entry * found.trailing)[:14]
        self.sim.trading_stop(UID, body)

    def notice(self):
        # What the exchange closed by itself locks the side that it closed.
        now = dict.fromkeys(self.held, 0.0)
        for position in self.sim.accounts[UID].held():
            now[position.market.symbol] = float(position.side * position.size)
        for symbol, held in self.held.items():
            if held and not now[symbol]:
                self.lock[symbol], self.weight[symbol] = np.sign(held), 0
        self.held = now


def compare(market, strategy, *, costs, account=None):
    """Run both, and return the result, the exchange and the largest relative gap in equity."""
    account = account or Account()
    result = run(strategy, market, costs=costs, account=account)
    trader = Trader(market, strategy, costs=costs, account=account)
    equity = trader.follow()
    fills = [e for e in trader.sim.executions(UID)[::-1] if e.exec_type != "Funding"]
    wanted = result.fills
    assert len(fills) == len(wanted)
    assert [f.symbol for f in fills] == list(wanted["symbol"])
    assert [f.side.sign for f in fills] == list(wanted["side"])
    for name, ours in (("qty", "exec_qty"), ("price", "exec_price"), ("fee_usdt", "exec_fee")):
        got = np.array([float(getattr(f, ours)) for f in fills])
        np.testing.assert_allclose(got, wanted[name], rtol=1e-9, atol=1e-8)
    paid = -sum(t.funding for t in trader.sim.transactions(UID))
    assert float(paid) == pytest.approx(result.totals["funding_usdt"], rel=1e-9, abs=1e-6)
    gap = np.abs(equity - result.equity.to_numpy()) / account.capital_usdt
    assert trader.sim.bank.difference(trader.sim.accounts.values()) == 0
    return result, trader.sim, float(gap.max())


def crossing(market, fast, slow, size):
    close = market.close
    is_up = close.rolling(fast).mean() > close.rolling(slow).mean()
    return np.where(is_up, size, -size).tolist()


def gapped(market):
    """The market with opens that jump, so that stops are gapped through."""
    jumps = np.random.default_rng(1).normal(0, 0.01, market.open.shape)
    opened = market.open * (1 + jumps)
    high, low = np.maximum(market.high, opened), np.minimum(market.low, opened)
    return replace(market, open=opened, high=high, low=low)


def real_market(shared_data, n_bars, *, symbol="BTCUSDT", skip=0):
    """Bars of 15 minutes as they were, with the funding that was settled."""
    place = shared_data / "bybit_linear_2024"
    table = pl.read_parquet(place / "ohlcv_15m.parquet").filter(pl.col("symbol") == symbol)
    table = table.sort("timestamp")[skip : skip + n_bars]
    index = pd.DatetimeIndex(table["timestamp"].to_numpy(), tz="UTC")
    frames = {
        name: from_bar_start(pd.DataFrame({symbol: table[name].to_numpy()}, index=index), "15")
        for name in ("open", "high", "low", "close", "volume")
    }
    table = pl.read_parquet(place / "funding.parquet").filter(pl.col("symbol") == symbol)
    table = table.unique("timestamp").sort("timestamp")
    stamps = pd.DatetimeIndex(table["timestamp"].to_numpy(), tz="UTC")
    rates = pd.Series(table["funding_rate"].to_numpy(), index=stamps)
    frames["funding_settled"] = rates.reindex(frames["close"].index).to_frame(symbol)
    tiers = tuple(
        RiskTier(Decimal(limit), Decimal(rate), 1 / Decimal(lev), Decimal(lev), Decimal(ded))
        for limit, rate, lev, ded in (
            (2_000_000, "0.005", 100, 0),
            (10_000_000, "0.01", 50, 10_000),
        )
    )
    rules = Instrument(
        symbol, Decimal("0.1"), Decimal("0.001"), Decimal("0.001"), Decimal(1190), Decimal(119),
        Decimal(5), Decimal(100), 480, tiers,
    )  # fmt: skip
    return Market.from_frames(frames, interval="15", instruments={symbol: rules}, snapshot_id="t")


def test_exact_mode_real_bars_give_the_kernels_fills_and_equity(shared_data):
    """BT-11: 20,000 real bars, funding, costs and brackets, to a millionth and far beyond."""
    market = real_market(shared_data, 20_000)
    strategy = scripted(crossing(market, 10, 50, 0.8), **BRACKETS)
    result, _, gap = compare(market, strategy, costs=Costs())
    assert {"weight", "stop", "trailing", "take_profit"} <= set(result.fills["reason"])
    assert gap < 1e-9


def test_exact_mode_several_symbols_share_one_margin():
    """Marks of their own, gaps through stops, rebalancing, and a trailing stop on each."""
    market = gapped(random_market(5, n_symbols=3))
    strategy = scripted(
        crossing(market, 5, 30, 0.3), stop_loss=0.03, trailing=0.04, rebalance_band=0.02
    )
    result, _, gap = compare(market, strategy, costs=Costs())
    assert {"weight", "rebalance", "trailing"} <= set(result.fills["reason"])
    assert gap < 1e-9


@pytest.mark.parametrize("is_isolated", [False, True])
def test_exact_mode_liquidates_where_the_kernel_does(shared_data, is_isolated):
    """RK-22: at the extremes of the mark, at the bankruptcy price, and nothing is left."""
    market = real_market(shared_data, 3_000, skip=10_000)
    account = Account(leverage=9.0, margin_leverage=20.0, is_isolated=is_isolated)
    strategy = scripted([1.0] * market.n_bars, rebalance_band=10.0)
    result, sim, gap = compare(market, strategy, costs=Costs(), account=account)
    assert result.n_liquidations
    assert [t.type for t in sim.transactions(UID)].count("LIQUIDATION") == result.n_liquidations
    assert gap < 1e-9


BARS = {"open": [100, 101, 103], "high": [102, 104, 104], "low": [98, 99, 100],
        "close": [101, 103, 101]}  # fmt: skip


class TestExactOrders:
    """Orders that a backtest does not have follow the same rules: the worse, never the better."""

    def trade(self, **body):
        """The fills of one order that was sent before the second bar opened."""
        market = make_market(instruments={"AAAUSDT": make_instrument()}, **BARS)
        sim = Simulator(
            list(market.instruments.values()), source=CandleSource(market),
            settings=Settings(is_exact=True, costs=Costs()),
        )  # fmt: skip
        sim.add_account(UID, wallet_usdt="10000")
        sim.advance(sim.now_ms + 3_600_000)
        sim.create_order(UID, {"symbol": "AAAUSDT", "side": "Buy", "qty": "1", **body})
        sim.advance(sim.now_ms + 2 * 3_600_000)
        return sim, [(float(e.exec_price), e.is_maker) for e in sim.executions(UID)[::-1]]

    @pytest.mark.parametrize(
        ("price", "tif", "fills"),
        [
            ("99.0", "GTC", []),  # touched, not traded through
            ("99.1", "GTC", [(99.1, True)]),
            ("102.0", "GTC", [(101 * 1.00025, False)]),  # the open is better than the limit
            ("102.0", "PostOnly", []),
            ("99.1", "IOC", []),
        ],
    )
    def test_limit(self, price, tif, fills):
        _, got = self.trade(orderType="Limit", price=price, timeInForce=tif)
        assert got == [(pytest.approx(p), m) for p, m in fills]

    def test_conditional_fills_at_its_trigger_or_at_the_open_beyond_it(self):
        more = {"orderType": "Market", "triggerDirection": 1}
        assert self.trade(triggerPrice="103.5", **more)[1][0][0] == pytest.approx(103.5 * 1.00025)
        assert self.trade(triggerPrice="104.1", **more)[1] == []

    def test_stop_comes_before_the_take_profit_of_the_same_bar(self):
        sim, got = self.trade(orderType="Market", stopLoss="99.5", takeProfit="103")
        assert got[1][0] == pytest.approx(99.5 * (1 - 0.00025))
        assert sim.order_history(UID)[0].create_type in ("CreateByStopLoss", "CreateByTakeProfit")
        assert sim.bank.difference(sim.accounts.values()) == 0
