"""The jobs that are timed, ours and the peer's: ``python benchmarks/jobs.py NAME`` prints JSON.

Each runs in a process of its own, so that memory and start-up are its own. Prices are real where
the shared data is there (BTC, 15 minutes) and seeded random walks otherwise.
"""

import json
import os
import resource
import statistics
import sys
import time
import warnings
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
from served import flat_memory, public_messages, rest_orders, simulate_start, socket_orders

N_BARS, N_CONFIGURATIONS = 50_000, 400
FAST = [5 + k for k in range(20)]
SLOW = [30 + 10 * k for k in range(20)]
FEE, SLIP = 5.5e-4, 2.5e-4


def prices():
    """Open, high, low and close of 50,000 bars."""
    shared = Path(os.environ.get("WORKBENCH_SHARED_DATA", "../shared/data"))
    path = shared / "bybit_linear_2024" / "ohlcv_15m.parquet"
    if path.is_file():
        import polars as pl

        rows = pl.read_parquet(path).filter(pl.col("symbol") == "BTCUSDT").sort("timestamp")
        return [rows[name].to_numpy()[:N_BARS].copy() for name in ("open", "high", "low", "close")]
    rng = np.random.default_rng(1)
    close = 30_000 * np.exp(rng.normal(0, 0.003, N_BARS).cumsum())
    opened = np.concatenate([[30_000.0], close[:-1]])
    spread = np.abs(rng.normal(0, 0.001, (2, N_BARS)))
    top, bottom = np.maximum(opened, close), np.minimum(opened, close)
    return [opened, top * (1 + spread[0]), bottom * (1 - spread[1]), close]


def market(interval="15"):
    """The prices as a market with an instrument and funding, so that every layer is on."""
    from workbench.core.records import Market
    from workbench.data import synthesise

    columns = dict(zip(("open", "high", "low", "close"), prices(), strict=True))
    index = pd.date_range("2024-01-01 00:15", periods=N_BARS, freq="15min", tz="UTC")
    frames = {k: pd.DataFrame({"BTCUSDT": v}, index=index) for k, v in columns.items()}
    funding = np.full(N_BARS, np.nan)
    funding[31::32] = 1e-4
    frames["funding_settled"] = pd.DataFrame({"BTCUSDT": funding}, index=index)
    instruments = synthesise(["BTCUSDT"], n_bars=2).instruments
    return Market.from_frames(
        frames, interval=interval, instruments=instruments, snapshot_id="benchmark"
    )


def crossings(close):
    """The weights of 400 moving-average pairs, of shape (n_bars, n_configurations)."""
    series = pd.Series(close)
    means = {n: series.rolling(n).mean().to_numpy() for n in {*FAST, *SLOW}}
    pairs = [(fast, slow) for fast in FAST for slow in SLOW]
    return np.column_stack([np.where(means[f] > means[s], 0.5, -0.5) for f, s in pairs])


def kernel():
    """Ours: every layer on, weights given, five measures, one core."""
    from workbench.backtest import kernel as engine
    from workbench.backtest.inputs import build_inputs
    from workbench.core.costs import Costs
    from workbench.core.records import Account

    inputs = build_inputs(market(), costs=Costs(latency_s=1), account=Account())
    inputs.rules[engine.BAND] = 0.05
    weights = np.ascontiguousarray(
        np.rint(crossings(prices()[3]) * 10_000).astype(np.int16).T[:, :, None]
    )
    brackets = np.array([[[0.05, 0.10, 0.04]]])
    none, room, out = np.zeros((0, 1)), np.empty(N_BARS), np.empty((N_CONFIGURATIONS, 5))
    fills, equity = np.empty((0, engine.N_FILL)), np.empty(N_BARS)

    def simulate(k):
        book, cash = engine.open_account(10_000.0, 1)
        engine.simulate(
            0, N_BARS, inputs.bars, weights[k], brackets, inputs.finer, inputs.finer_first,
            inputs.spec, inputs.tiers, inputs.rules, book, cash, equity, none, none, fills,
        )  # fmt: skip
        engine.summarise(equity, 10_000.0, 35_040.0, room, out[k])

    simulate(0)
    seconds = best(lambda: [simulate(k) for k in range(N_CONFIGURATIONS)])
    return {"seconds": seconds, "rate": N_BARS * N_CONFIGURATIONS / seconds}


def kernel_peer():
    """vectorbt: the same weights with fees and slippage, and the same five measures."""
    vbt = peer()
    opened, _, _, close = prices()
    weights = pd.DataFrame(crossings(close)).shift(1)
    opened, close = pd.Series(opened), pd.Series(close)

    def simulate(columns):
        portfolio = vbt.Portfolio.from_orders(
            close, size=weights.iloc[:, columns], size_type="targetpercent", price=opened,
            fees=FEE, slippage=SLIP, init_cash=10_000, freq="15min", engine="rust",
        )  # fmt: skip
        return measures_of(portfolio)

    simulate(slice(0, 2))
    seconds = best(lambda: simulate(slice(None)), times=1)
    return {"seconds": seconds, "rate": N_BARS * N_CONFIGURATIONS / seconds}


def sweep():
    """Ours: 400 pairs, indicators to ranked table."""
    from workbench.backtest import sweep as run
    from workbench.strategies import MovingAverageCross

    data = market()
    grid = {"fast": FAST, "slow": SLOW}
    run(MovingAverageCross(), data, {"fast": [5], "slow": [30]})
    seconds = best(lambda: run(MovingAverageCross(), data, grid).ranked())
    return {"seconds": seconds, "rate": N_BARS * N_CONFIGURATIONS / seconds, "gb": peak()}


def sweep_peer():
    """vectorbt: the same pairs, indicators to ranked table."""
    vbt = peer()
    opened, _, _, close = prices()
    opened, close = pd.Series(opened), pd.Series(close)

    def run(fast, slow):
        one = vbt.MA.run(close, window=[f for f in fast for _ in slow], short_name="fast")
        two = vbt.MA.run(close, window=[s for _ in fast for s in slow], short_name="slow")
        is_up = one.ma.to_numpy() > two.ma.to_numpy()
        weights = pd.DataFrame(np.where(is_up, 1.0, -1.0)).shift(1)
        portfolio = vbt.Portfolio.from_orders(
            close, size=weights, size_type="targetpercent", price=opened, fees=FEE, slippage=SLIP,
            init_cash=10_000, freq="15min", engine="rust",
        )  # fmt: skip
        table = pd.DataFrame(measures_of(portfolio))
        return table.sort_values("sharpe", ascending=False)

    run(FAST[:1], SLOW[:2])
    seconds = best(lambda: run(FAST, SLOW), times=1)
    return {"seconds": seconds, "rate": N_BARS * N_CONFIGURATIONS / seconds, "gb": peak()}


def first_backtest():
    """A first backtest in this fresh process, from its first import on (see ``run.py``)."""
    from workbench.backtest import run
    from workbench.strategies import MovingAverageCross

    index = pd.date_range("2024-01-01", periods=20_000, freq="h", tz="UTC")
    from workbench.core.records import Market

    close = 100 * np.exp(np.random.default_rng(1).normal(0, 0.01, 20_000).cumsum())
    frames = {"close": pd.DataFrame({"BTCUSDT": close}, index=index)}
    result = run(MovingAverageCross(), Market.from_frames(frames, interval="60"))
    return {"sharpe": float(result.measures()["sharpe"])}


def lake_folder():
    """A lake of synthetic rows: five symbols of five years hourly, one of 3 M minutes."""
    import tempfile

    from workbench.data import Lake, synthesise, write_market

    place = Lake(Path(tempfile.mkdtemp(prefix="benchmark-")))
    hourly = synthesise([f"S{k}USDT" for k in range(5)], n_bars=5 * 8_760, seed=1)
    write_market(hourly, place)
    minutes = synthesise(["MINUSDT"], interval="1", n_bars=3_000_000, seed=1)
    from workbench.data.lake import BARS, Series
    from workbench.data.synthetic import _rows

    rows = _rows(minutes, "MINUSDT", [*BARS, "volume", "turnover"], to_start=True)
    place.write(Series("kline", "MINUSDT", "1", "synthetic"), rows)
    return place


def loading():
    """Ours and pandas: the loads of the lake, warm, after quality has been checked once."""
    from workbench.data import load

    place = lake_folder()
    symbols = [f"S{k}USDT" for k in range(5)]
    load(symbols, venue="synthetic", lake=place)
    load(["MINUSDT"], interval="1", venue="synthetic", lake=place)
    hourly = best(lambda: load(symbols, venue="synthetic", lake=place))
    minutes = best(lambda: load(["MINUSDT"], interval="1", venue="synthetic", lake=place))
    return {"hourly": hourly, "minutes": minutes, **pandas_loads(place.root, symbols)}


def pandas_loads(root, symbols):
    """The same files by polars into pandas, pivoted, without marks, funding and checks."""
    import polars as pl

    def read(names, interval):
        frames = {}
        for name in names:
            folder = root / f"venue=synthetic/kind=kline/interval={interval}/symbol={name}"
            files = sorted(folder.glob("*.parquet"))
            rows = pl.read_parquet(files)
            frames[name] = pd.DataFrame({c: rows[c].to_numpy() for c in rows.columns}).set_index(
                "time"
            )
        return pd.concat(frames, axis=1)

    return {
        "hourly_peer": best(lambda: read(symbols, "60")),
        "minutes_peer": best(lambda: read(["MINUSDT"], "1")),
    }


def explore():
    """Ours: one move of a slider in ``explore`` on 20,000 bars, from the value to the new figures.

    The backtest, eight layers of the waterfall, every measure, the trial in the ledger, and the
    figure's new lines; what the browser then draws is not in it.
    """
    import tempfile

    os.environ["WORKBENCH_DATA_DIR"] = tempfile.mkdtemp(prefix="benchmark-")
    from workbench.data import synthesise
    from workbench.panels.explore import Explorer
    from workbench.strategies import MovingAverageCross

    explorer = Explorer(MovingAverageCross(), synthesise(["BTCUSDT"], n_bars=20_000, seed=1))
    values = iter(range(25, 45))

    def move():
        explorer.set("fast", next(values))

    move()
    return {"seconds": median(move, times=9)}


def growth():
    """Ours: peak memory of 1,600 configurations over that of 400, in GB."""
    from workbench.backtest import sweep as run
    from workbench.strategies import MovingAverageCross

    data, peaks = market(), []
    for count in (20, 40):
        fast, slow = list(range(5, 5 + count)), list(range(60, 60 + 10 * count, 10))
        run(MovingAverageCross(), data, {"fast": fast, "slow": slow})
        peaks.append(peak())
    return {"small": peaks[0], "large": peaks[1]}


def notebook():
    """papermill's time for the research notebook beside that of its code in this process."""
    import tempfile

    import nbformat

    from workbench.jobs import run_notebook

    os.chdir(tempfile.mkdtemp(prefix="benchmark-"))
    os.environ["WORKBENCH_DATA_DIR"] = str(Path.cwd() / "data")
    source = ROOT / "notebooks" / "research" / "30_compare_strategies.ipynb"
    params = {"SOURCE": "synthetic", "START": "2024-01-01", "END": "2024-06-01"}
    started = time.perf_counter()
    done = run_notebook(source, params)
    whole = time.perf_counter() - started
    executed = nbformat.read(done.path, as_version=4)
    inside = sum(c.metadata.get("papermill", {}).get("duration") or 0.0 for c in executed.cells)
    return {"whole": whole, "cells": inside}


def family():
    """Daily-looking returns of 500 configurations over 5,000 bars."""
    return np.random.default_rng(1).standard_t(4, (5_000, 500)) * 0.01


def cscv():
    """Ours: every split of 16 blocks, from block sums."""
    from workbench.validation.overfit import cscv as judge

    returns = family()
    return {"seconds": best(lambda: judge(returns), times=2), "gb": peak()}


def cscv_peer():
    """A plain loop over the splits, as the paper tells it: 200 of 12,870, scaled."""
    from itertools import combinations, islice
    from math import comb

    blocks = np.array_split(family()[5_000 % 16 :], 16)

    def rank(chosen):
        inside = np.concatenate([blocks[k] for k in chosen])
        outside = np.concatenate([blocks[k] for k in range(16) if k not in chosen])
        seen, kept = (x.mean(axis=0) / x.std(axis=0, ddof=1) for x in (inside, outside))
        return (kept < kept[seen.argmax()]).sum()

    every = list(islice(combinations(range(16), 8), 0, None, comb(16, 8) // 200))[:200]
    seconds = best(lambda: [rank(chosen) for chosen in every], times=1)
    return {"seconds": seconds * comb(16, 8) / 200}


def permutations():
    """Ours: 1,000 permutations of 20,000 bars, each backtested with every layer on."""
    from workbench.backtest import sweep as run
    from workbench.strategies import MovingAverageCross
    from workbench.validation.permute import permutation_test

    data = market()
    data = data.until(data.index[19_999])

    def best_of(permuted):
        return float(run(MovingAverageCross(), permuted, {}, workers=1).table["sharpe"].max())

    permutation_test(best_of, data, n=2)
    seconds = best(lambda: permutation_test(best_of, data, n=1_000), times=1)
    return {"seconds": seconds, "rate": 1_000 * 20_000 / seconds}


def feature_set(market):
    """Sixty features of 20,000 bars, the return of the next hours, and a model of them."""
    from sklearn.linear_model import Ridge

    from workbench.validation.leaks import Pipeline

    close, volume = market.close.iloc[:, 0], market.turnover.iloc[:, 0]
    returns, table = np.log(close).diff(), {}
    for n in (6, 12, 24, 48, 72, 96, 144, 192, 288, 384, 480, 672):
        table |= {
            f"return_{n}": np.log(close).diff(n),
            f"mean_{n}": close / close.rolling(n).mean() - 1,
            f"volatility_{n}": returns.rolling(n).std(),
            f"channel_{n}": close / market.high.iloc[:, 0].rolling(n).max() - 1,
            f"turnover_{n}": volume / volume.ewm(span=n).mean() - 1,
        }
    features = pd.DataFrame(table).fillna(0.0)
    labels = np.log(close).diff(4).shift(-4)
    ends = pd.Series(features.index + 4 * market.bar_length, features.index)
    return Pipeline(Ridge(1.0), features, labels, ends)


def leaks():
    """Ours: truncate, poison and fit on a pipeline of 60 features over 20,000 bars."""
    from workbench.validation.leaks import probe_leaks

    data = market()
    data = data.until(data.index[19_999])
    data = replace(data, turnover=1e6 * data.close.diff().abs())
    report = probe_leaks(feature_set, data)
    if not report.is_clean or feature_set(data).features.shape != (20_000, 60):
        raise RuntimeError(f"the features are not what they should be: {report}")
    return {"seconds": best(lambda: probe_leaks(feature_set, data), times=1)}


def desk(n_strategies, n_symbols):
    """A risk system, and targets that its limits cut, for so many strategies and symbols."""
    from workbench.data import synthesise
    from workbench.risk.limits import load_limits
    from workbench.risk.regime import Regime
    from workbench.risk.state import Book, Outlook, Targets
    from workbench.risk.system import RiskSystem

    names = [f"S{s}USDT" for s in range(n_symbols)]
    shape, rng = (n_strategies, n_symbols), np.random.default_rng(5)
    small = synthesise(names, n_bars=300, seed=5)
    system = RiskSystem(
        load_limits(), symbols=names, strategies=[f"s{k}" for k in range(n_strategies)],
        instruments=small.instruments,
    )  # fmt: skip
    price = small.close.iloc[-1].to_numpy()
    outlook = Outlook(
        price, price, np.zeros(n_symbols), small.close.pct_change().cov().to_numpy() * 24,
        np.full(n_symbols, 1e9), 1.6, Regime.HIGH, 1.0, 0.6, np.ones(n_strategies),
    )  # fmt: skip
    empty, parts = np.zeros(shape), np.full(n_strategies, 1 / n_strategies)
    book = Book(empty, empty * np.nan, 1e5, 0.0, parts, np.zeros(n_strategies))
    now = small.index[-1].to_pydatetime()
    system.observe(now, book, outlook)
    bare = np.full((*shape, 3), np.nan)
    return system, Targets(now, rng.uniform(-1, 1, shape), bare), book, outlook


def review():
    """Ours: the median of reviews with forecasts at hand, each with several cuts."""
    seconds = {}
    for name, shape in (("small", (1, 5)), ("large", (10, 20))):
        system, targets, book, outlook = desk(*shape)
        if len(system.review(targets, book, outlook).cuts) < 2:
            raise RuntimeError("the limits cut nothing")
        seconds[name] = median(lambda: system.review(targets, book, outlook), 3_000)  # noqa: B023
    return seconds


def guarded():
    """Ours: 50,000 hourly bars of five symbols with risk on; the peer is the same without."""
    from workbench.backtest import run
    from workbench.data import synthesise
    from workbench.risk.limits import load_limits
    from workbench.strategies import TimeSeriesMomentum

    names = ["BTCUSDT", "ETHUSDT", "SOLUSDT", "XRPUSDT", "BNBUSDT"]
    data, limits = synthesise(names, n_bars=N_BARS, seed=3), load_limits()
    run(TimeSeriesMomentum(), data.until(data.index[500]), limits=limits)
    seconds = best(lambda: run(TimeSeriesMomentum(), data, limits=limits), times=2)
    return {"seconds": seconds, "free": best(lambda: run(TimeSeriesMomentum(), data))}


def matching():
    """Ours: create, amend, fill and cancel with margin checks and every event, two accounts.

    Each round is nine operations: three orders rest (one is amended and cancelled), two of another
    account take two of them, which are four fills.
    """
    from decimal import Decimal

    from workbench.exchange.simulator import CandleSource, Simulator

    data, rounds = market(), 2_000
    sim = Simulator([data.instruments["BTCUSDT"]], source=CandleSource(data), seed=1)
    for uid in ("maker", "taker"):
        sim.add_account(uid, wallet_usdt=Decimal(1_000_000))
    sim.advance(sim.next_ms + 3_600_000)
    book, tick = sim.book("BTCUSDT", 1), data.instruments["BTCUSDT"].tick_size
    bid, ask = book.bids[0].price, book.asks[0].price
    body = {"symbol": "BTCUSDT", "qty": "0.01", "timeInForce": "GTC"}
    names = iter(range(1_000_000))

    def order(uid, side, price=None):
        kind = {"orderType": "Market"} if price is None else {"orderType": "Limit", "price": price}
        more = {"side": side, "orderLinkId": f"n{next(names)}"}
        return {"symbol": "BTCUSDT", "orderId": sim.create_order(uid, body | kind | more).order_id}

    def go():
        for _ in range(rounds):
            resting = order("maker", "Buy", str(bid - 10 * tick))
            sim.amend_order("maker", resting | {"price": str(bid - 11 * tick)})
            for side, other, price in (("Buy", "Sell", ask - tick), ("Sell", "Buy", bid + tick)):
                order("maker", side, str(price))
                order("taker", other)
            sim.cancel_order("maker", resting)
            sim.take_events()

    go()
    seconds = best(go)
    if sim.bank.difference(sim.accounts.values()):
        raise RuntimeError("the books do not add up")
    return {"rate": 9 * rounds / seconds}


def candles():
    """Ours: candles played by the exchange when nobody has an order, at once and bar by bar."""
    from workbench.exchange.simulator import CandleSource, Simulator

    data = market()

    def play(stride):
        sim = Simulator([data.instruments["BTCUSDT"]], source=CandleSource(data), seed=1)
        sim.wanted = set()
        started, end = time.perf_counter(), sim.now_ms + 15 * 60_000 * (N_BARS - 1)
        while sim.now_ms < end:
            sim.advance(min(end, sim.now_ms + stride * 15 * 60_000))
        return N_BARS / (time.perf_counter() - started)

    return {"rate": max(play(N_BARS) for _ in range(3)), "stepped": play(1)}


def clustered(n_symbols, n_days):
    """Daily returns of GARCH(1,1) processes with Student errors and one common shock, seeded."""
    rng = np.random.default_rng(4)
    shocks = rng.standard_t(5, (n_days, n_symbols)) + rng.standard_t(5, (n_days, 1))
    shocks /= shocks.std(axis=0)
    returns, variance = np.empty((n_days, n_symbols)), np.full(n_symbols, 4e-4)
    for t in range(n_days):
        returns[t] = np.sqrt(variance) * shocks[t]
        variance = 1.2e-5 + 0.08 * returns[t] ** 2 + 0.89 * variance
    index = pd.date_range("2020-01-01", periods=n_days, tz="UTC")
    return pd.DataFrame(returns, index, [f"S{k}USDT" for k in range(n_symbols)])


def refit():
    """Ours: 20 GARCH(1,1) with Student errors on a year of days, from yesterday's parameters."""
    from workbench.risk.garch import fit_garch

    returns = clustered(20, 366).to_numpy()
    known = [fit_garch(own[:-1]) for own in returns.T]

    def again():
        return [fit_garch(own[1:], start=fit) for own, fit in zip(returns.T, known, strict=True)]

    if any(fit.is_fallback for fit in again()):
        raise RuntimeError("a fit fell back to EWMA: what is timed is not what it should be")
    return {"seconds": median(again, times=5)}


def coverage():
    """Ours: five years of daily forecasts of 20 symbols from rolling years, by all methods."""
    from workbench.risk.coverage import forecast_tails, judge_forecasts

    returns = clustered(20, 5 * 365)

    def run():
        made = forecast_tails(returns, window=365, refit_bars=30, workers=os.cpu_count())
        return judge_forecasts(returns, made.table)

    return {"seconds": best(run, times=1), "gb": peak()}


def frames():
    """Frames by name, what opens the stream and what is timed: recorded ones, or made ones.

    Ten symbols' books and trades as they came; and a snapshot of 500 levels, then its deltas.
    """
    from tests.loopback.recorded import archived_books, recording

    shared = Path(os.environ.get("WORKBENCH_SHARED_DATA", "../shared/data"))
    if shared.is_dir():
        deep = archived_books(shared)
        return {"ten": ([], recording(shared)), "deep": (deep[:1], deep[1:])}
    rng = np.random.default_rng(1)

    def made(number, levels):
        kind, topic = "snapshot" if number == 1 else "delta", "orderbook.500.BTCUSDT"
        bids, asks = (
            [[f"{price / 100 + above:.2f}", str(price % 2 + 1)] for price in prices]
            for prices, above in zip(rng.integers(1, 500, (2, levels)), (0, 5), strict=True)
        )
        data = {"s": "BTCUSDT", "b": bids, "a": asks, "u": number, "seq": number}
        return json.dumps({"topic": topic, "type": kind, "ts": number, "data": data}).encode()

    return {
        "ten": ([], [made(k, 3) for k in range(1, 4001)]),
        "deep": ([made(1, 500)], [made(k, 35) for k in range(2, 51)]),
    }


def topics_of(raws):
    """The topics of some frames."""
    return sorted({json.loads(raw)["topic"] for raw in raws})


def streams():
    """Ours: frames from memory parsed, checked and read as events, on one core."""
    from workbench.exchange.streams import PublicStream

    def read(stream, raws):
        for raw in raws:
            stream.feed(raw)
            stream.events.take()

    rates = {}
    for name, (first, raws) in frames().items():
        seconds = []
        for _ in range(20):
            stream = PublicStream("wss://stream.bybit.com")
            stream.subscribe(*topics_of(first + raws))
            read(stream, first)
            seconds += timings(lambda stream=stream, raws=raws: read(stream, raws), times=1)
        counters = stream.counters
        if counters.gaps or counters.garbage or counters.strays or stream.events.take():
            raise RuntimeError(f"the frames of {name} were not read whole: {counters}")
        rates[name] = len(raws) / min(seconds)
    return rates


def streams_peer():
    """pybit: the same frames through its handler and its merged books, without a socket."""
    from pybit._websocket_stream import _V5WebSocketManager

    def read(manager, raws):
        for raw in raws:
            manager._on_message(raw)

    rates = {}
    for name, (first, raws) in frames().items():
        manager = _V5WebSocketManager("Unified V5", testnet=False)
        for topic in topics_of(first + raws):
            manager._set_callback(topic, lambda message: None)
        read(manager, first)
        own = timings(lambda manager=manager, raws=raws: read(manager, raws), times=1)
        rates[name] = len(raws) / own[0]
    return rates


def peer():
    """vectorbt, quiet."""
    warnings.simplefilter("ignore")
    import vectorbt as vbt

    return vbt


def measures_of(portfolio):
    """The five measures that ours computes in the loop."""
    return {
        "sharpe": portfolio.sharpe_ratio(),
        "sortino": portfolio.sortino_ratio(),
        "total_return": portfolio.total_return(),
        "volatility": portfolio.annualized_volatility(),
        "max_drawdown": portfolio.max_drawdown(),
    }


def best(job, times=3):
    """The least of some timings, in seconds."""
    return min(timings(job, times))


def median(job, times):
    """The median of some timings, in seconds."""
    return statistics.median(timings(job, times))


def timings(job, times):
    """How long each of some runs took, in seconds."""
    seconds = []
    for _ in range(times):
        started = time.perf_counter()
        job()
        seconds.append(time.perf_counter() - started)
    return seconds


def peak():
    """The most memory that this process has held, in GB."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6


ROOT = Path(__file__).resolve().parents[1]
JOBS = {
    job.__name__: job
    for job in (
        *(kernel, kernel_peer, sweep, sweep_peer, growth, first_backtest, explore, loading),
        *(notebook, cscv, cscv_peer, permutations, leaks, refit, coverage),
        *(review, guarded, streams, streams_peer, matching, candles),
        *(rest_orders, socket_orders, public_messages, flat_memory, simulate_start),
    )
}

if __name__ == "__main__":
    print(json.dumps(JOBS[sys.argv[1]]()))
