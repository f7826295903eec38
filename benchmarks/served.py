"""The exchange on a port, in a process of its own, and clients that hurry it.

``python benchmarks/served.py SYMBOLS SPEED`` serves until its input is closed; the jobs in
``jobs.py`` start it so.
"""

import asyncio
import contextlib
import itertools
import subprocess
import sys
import threading
import time
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path

KEY, SECRET, UID = "bench", "bench-secret", "1001"
BTC = {"category": "linear", "symbol": "S0USDT"}
ORDERS, IN_FLIGHT = 3_000, 16


def serve(n_symbols, speed):
    """Serve a synthetic market, limits raised and acknowledgements at once."""
    from workbench.data import synthesise
    from workbench.exchange.server import (
        ApiKey,
        Exchange,
        LimitRules,
        ServerSettings,
        build_server,
        listen,
        machine_ms,
    )  # fmt: skip
    from workbench.exchange.server.roster import Account, add_accounts
    from workbench.exchange.simulator import CandleSource, Simulator

    now = datetime.now(UTC).replace(second=0, microsecond=0)
    symbols = [f"S{k}USDT" for k in range(n_symbols)]
    bars = 1_500 + int(speed * 3)
    market = synthesise(
        symbols, interval="1", start=now - timedelta(minutes=60), n_bars=bars, seed=1
    )
    simulator = Simulator(
        [market.instruments[symbol] for symbol in symbols],
        source=CandleSource(market, start=now), seed=1, start_ms=int(now.timestamp() * 1000),
    )  # fmt: skip
    keys = add_accounts(simulator, [Account(UID, (ApiKey(KEY, SECRET, UID),), Decimal(10**7))])
    raised = LimitRules(10**6, 10**9, 10**9)
    settings = ServerSettings(ack_ms=0, speed=speed, limits=raised)
    exchange = Exchange(simulator, keys, wall_ms=machine_ms(), settings=settings)
    listener = listen("127.0.0.1", 0)
    server = build_server(exchange, "bench")
    print(listener.getsockname()[1], flush=True)

    def watch():
        sys.stdin.read()
        server.should_exit = True

    threading.Thread(target=watch, daemon=True).start()
    server.run(sockets=[listener])


@contextlib.contextmanager
def served(n_symbols=1, speed=1.0):
    """The exchange in a process of its own; gives host and port, and the process."""
    command = [sys.executable, str(Path(__file__)), str(n_symbols), str(speed)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        yield f"127.0.0.1:{int(process.stdout.readline())}", process.pid
        process.stdin.close()


def rest_orders():
    """Orders placed and cancelled by pybit, one after the other."""
    from pybit.unified_trading import HTTP

    with served() as (place, _):
        http = HTTP(api_key=KEY, api_secret=SECRET)
        http.endpoint = f"http://{place}"
        price = _far(http.get_tickers(**BTC)["result"]["list"][0], http)
        order = {**BTC, "side": "Buy", "orderType": "Limit", "qty": "20", "price": price}
        started = time.perf_counter()
        for _ in range(ORDERS // 2):
            placed = http.place_order(**order)
            http.cancel_order(**BTC, orderId=placed["result"]["orderId"])
        return {"rate": ORDERS / (time.perf_counter() - started)}


def _far(ticker, http):
    rules = http.get_instruments_info(**BTC)["result"]["list"][0]
    tick = Decimal(rules["priceFilter"]["tickSize"])
    return str(Decimal(ticker["lastPrice"]) * Decimal("0.99") // tick * tick)


def socket_orders():
    """Orders placed and cancelled by the trade socket, sixteen in flight."""
    import hashlib
    import hmac

    import orjson
    from pybit.unified_trading import HTTP
    from websockets.asyncio.client import connect

    async def run(place, price):
        numbers = itertools.count()
        order = {**BTC, "side": "Buy", "orderType": "Limit", "qty": "20", "price": price}

        def frame(op, body):
            header = {"X-BAPI-TIMESTAMP": str(time.time_ns() // 1_000_000)}
            number = f"r{next(numbers)}"
            return orjson.dumps({"reqId": number, "header": header, "op": op, "args": [body]})

        async with connect(f"ws://{place}/v5/trade", compression=None) as wire:
            expires = time.time_ns() // 1_000_000 + 10_000
            words = f"GET/realtime{expires}".encode()
            sign = hmac.new(SECRET.encode(), words, hashlib.sha256).hexdigest()
            await wire.send(orjson.dumps({"op": "auth", "args": [KEY, expires, sign]}), text=True)
            await wire.recv()
            started, done = time.perf_counter(), 0
            for _ in range(IN_FLIGHT):
                await wire.send(frame("order.create", order), text=True)
            while done < 2 * ORDERS:
                reply = orjson.loads(await wire.recv(decode=False))
                assert reply["retCode"] == 0, reply
                done += 1
                if reply["op"] == "order.create":
                    name = {**BTC, "orderId": reply["data"]["orderId"]}
                    await wire.send(frame("order.cancel", name), text=True)
                else:
                    await wire.send(frame("order.create", order), text=True)
            return done / (time.perf_counter() - started)

    with served() as (place, _):
        http = HTTP()
        http.endpoint = f"http://{place}"
        price = _far(http.get_tickers(**BTC)["result"]["list"][0], http)
        return {"rate": asyncio.run(run(place, price))}


def public_messages(seconds=10):
    """Trades of a hundred symbols to one client: frames a second, and how late they get."""
    import orjson
    from websockets.asyncio.client import connect

    async def run(place):
        topics = [f"publicTrade.S{k}USDT" for k in range(N_SYMBOLS)]
        async with connect(f"ws://{place}/v5/public/linear", compression=None) as wire:
            await wire.send(orjson.dumps({"op": "subscribe", "args": topics}), text=True)
            await wire.recv()
            first = orjson.loads(await wire.recv(decode=False))["ts"]
            started, count, behind = time.perf_counter(), 0, []
            while time.perf_counter() - started < seconds:
                frame = orjson.loads(await wire.recv(decode=False))
                count += 1
                # The market's clock runs at its speed: what is left is the time in a queue.
                age = (time.perf_counter() - started) - (frame["ts"] - first) / 1000 / SPEED
                behind.append(age)
            third = len(behind) // 3
            early, late = (sum(part) / third for part in (behind[:third], behind[-third:]))
            return {"rate": count / seconds, "grown_ms": (late - early) * 1000}

    with served(N_SYMBOLS, SPEED) as (place, _):
        return asyncio.run(run(place))


def flat_memory(seconds=45):
    """Memory after a first and a last tenth of an hour of the market, under streams and orders."""
    import psutil

    async def read(place):
        import orjson
        from websockets.asyncio.client import connect

        kinds = ("orderbook.50", "orderbook.200", "tickers", "publicTrade", "kline.1")
        topics = [f"{kind}.S{k}USDT" for k in range(4) for kind in kinds]
        async with connect(f"ws://{place}/v5/public/linear", compression=None) as wire:
            await wire.send(orjson.dumps({"op": "subscribe", "args": topics}), text=True)
            until = time.perf_counter() + seconds
            while time.perf_counter() < until:
                await wire.recv(decode=False)

    with served(4, 3_600 / seconds) as (place, pid):
        from pybit.unified_trading import HTTP

        reader = threading.Thread(target=lambda: asyncio.run(read(place)))
        reader.start()
        http = HTTP(api_key=KEY, api_secret=SECRET)
        http.endpoint = f"http://{place}"
        price = _far(http.get_tickers(**BTC)["result"]["list"][0], http)
        order = {**BTC, "side": "Buy", "orderType": "Limit", "qty": "20", "price": price}
        process, marks, orders = psutil.Process(pid), [], 0
        while reader.is_alive():
            placed = http.place_order(**order)
            http.cancel_order(**BTC, orderId=placed["result"]["orderId"])
            orders += 1
            marks.append(process.memory_info().rss / 1e6)
            time.sleep(0.05)
        tenth = len(marks) // 10
        return {"early_mb": max(marks[tenth : 2 * tenth]), "late_mb": max(marks[-tenth:]),
                "orders": orders}  # fmt: skip


def simulate_start():
    """`workbench simulate` from its call to its port, the least of three."""
    command = [sys.executable, "-m", "workbench.cli", "simulate", "--port", "0"]
    seconds = []
    for _ in range(3):
        started = time.perf_counter()
        with subprocess.Popen(command, stdout=subprocess.PIPE) as process:
            process.stdout.readline()
            seconds.append(time.perf_counter() - started)
            process.terminate()
    return {"seconds": min(seconds)}


N_SYMBOLS, SPEED = 100, 600.0

if __name__ == "__main__":
    serve(int(sys.argv[1]), float(sys.argv[2]))
