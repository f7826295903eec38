"""Time the jobs against their peers and write ``results.json`` and ``README.md``."""

import json
import os
import platform
import statistics
import subprocess
import sys
import time
from pathlib import Path

from rich.console import Console
from rich.table import Table

HERE = Path(__file__).resolve().parent
METHOD = """
Made by `make bench`. Each job runs in a process of its own, ours and the peer's one after the other
on the same machine in the same run. Prices: BTC at 15 minutes where the shared data is there, a
seeded random walk otherwise. Kernel: every layer on (fees, spread, slippage, latency, funding,
brackets, rounding, margin, mark-to-market, five measures), weights given, one core; the peer is
vectorbt 1.2 with its Rust engine on the same weights with fees, slippage and the same measures, and
nothing else. Sweep: 400 moving-average pairs from prices to a ranked table, on all cores. CSCV: its
peer is a loop over the splits in numpy, 200 of them timed and scaled. Permutations: bars, marks and
funding permuted jointly, one moving-average crossover with every layer on, on all cores. Leak
probes: truncate, poison and fit at 24 moments, on a pipeline of 60 features. Loads are warm. Memory
of 1,600 pairs is compared with that of 400 in our own process. Explore is the kernel's part of a
move: backtest, waterfall, measures, ledger and figure. Risk: simulated GARCH-t returns; the refit
starts from yesterday's parameters; the backtest makes a forecast a day from a rolling year, GARCH
refitted every 30 days and filtered daily, and judges them, on all cores. Stream frames: recorded
ones from memory (some five levels each, and some 60) through parse, sequence check and event,
one core; the peer is pybit's handler with its merged books. Matching core: seven requests and two
fills a round, with margin checks and all events, two accounts; candles that nobody watches inside,
one symbol; one core. Start-up is the median of five fresh
processes, compiled code cached at set-up. A ratio above 1 is in our favour where there is a peer.
Server: the simulated exchange on loopback in a process of its own, limits raised, acknowledgements
at once; orders placed and cancelled in turn (by socket 16 in flight), trades of 100 symbols to one
client, and an hour of four symbols in 45 s under every kind of public topic and orders.
"""


def job(name):
    """Run one job of ``jobs.py`` in a process of its own."""
    done = subprocess.run(
        [sys.executable, str(HERE / "jobs.py"), name], capture_output=True, text=True, check=False,
        cwd=HERE.parent,
    )  # fmt: skip
    if done.returncode:
        sys.exit(f"{name} failed:\n{done.stderr[-2000:]}")
    return json.loads(done.stdout.strip().splitlines()[-1])


def start_up(*words):
    """The median time of five fresh processes, in seconds."""
    seconds = []
    for _ in range(5):
        started = time.perf_counter()
        subprocess.run([sys.executable, *words], capture_output=True, check=True, cwd=HERE.parent)
        seconds.append(time.perf_counter() - started)
    return statistics.median(seconds)


def row(name, ours, peer, unit, goal, met, ratio=None):
    """One result."""
    machine = f"{platform.machine()}, {os.cpu_count()} cores, Python {platform.python_version()}"
    return {"name": name, "ours": ours, "peer": peer, "ratio": ratio, "unit": unit, "goal": goal,
            "met": bool(met), "machine": machine}  # fmt: skip


def measure(say):
    """Yield every result."""
    say("kernel")
    ours, peer = job("kernel")["rate"] / 1e6, job("kernel_peer")["rate"] / 1e6
    yield row(
        "kernel, one core", ours, peer, "M bar-configurations/s", ">= 40", ours >= 40, ours / peer
    )
    yield row("kernel against vectorbt", ours, peer, "M bar-configurations/s", ">= 10 times",
              ours / peer >= 10, ours / peer)  # fmt: skip
    say("sweep")
    ours, peer = job("sweep"), job("sweep_peer")
    ratio = peer["seconds"] / ours["seconds"]
    yield row(
        "sweep of 400 pairs", ours["seconds"], peer["seconds"], "s", ">= 5 times", ratio >= 5, ratio
    )
    yield row(
        "sweep, peak memory",
        ours["gb"],
        peer["gb"],
        "GB",
        "< 1",
        ours["gb"] < 1,
        peer["gb"] / ours["gb"],
    )
    grown = job("growth")
    factor = grown["large"] / grown["small"]
    yield row("sweep, memory of 1,600 pairs over 400", grown["large"], grown["small"], "GB",
              "< 1.2 times", factor < 1.2, factor)  # fmt: skip
    say("start-up")
    first = start_up(str(HERE / "jobs.py"), "first_backtest")
    yield row("first backtest in a fresh process", first, None, "s", "< 3", first < 3)
    bare = start_up("-c", "pass")
    package = start_up("-c", "import workbench") - bare
    yield row("import workbench", package, None, "s", "< 0.15", package < 0.15)
    command = start_up("-m", "workbench.cli", "--help")
    yield row("workbench --help", command, None, "s", "< 0.7", command < 0.7)
    say("explore")
    redraw = job("explore")["seconds"]
    yield row("explore, one move on 20,000 bars", redraw, None, "s", "< 0.15", redraw < 0.15)
    say("lake")
    loads = job("loading")
    for name, key, goal in (
        ("5 symbols x 5 years hourly", "hourly", 0.3),
        ("3 M minutes", "minutes", 1.5),
    ):
        ours, peer = loads[key], loads[f"{key}_peer"]
        yield row(f"load {name}", ours, peer, "s", f"< {goal}", ours < goal, peer / ours)
    say("validation")
    ours, peer = job("cscv"), job("cscv_peer")
    ratio = peer["seconds"] / ours["seconds"]
    yield row("CSCV, 12,870 splits of 5,000 bars x 500", ours["seconds"], peer["seconds"], "s",
              "< 4", ours["seconds"] < 4, ratio)  # fmt: skip
    yield row("CSCV against a plain loop", ours["seconds"], peer["seconds"], "s", ">= 20 times",
              ratio >= 20, ratio)  # fmt: skip
    yield row("CSCV, peak memory", ours["gb"], None, "GB", "< 1.5", ours["gb"] < 1.5)
    ours = job("permutations")["seconds"]
    yield row("1,000 permutations of 20,000 bars, backtested", ours, None, "s", "< 20", ours < 20)
    probed = job("leaks")["seconds"]
    yield row("leak probes, 60 features x 20,000 bars", probed, None, "s", "< 30", probed < 30)
    say("risk")
    ours = job("review")
    for name, key, goal in (
        ("5 symbols", "small", 200),
        ("20 symbols x 10 strategies", "large", 1_000),
    ):
        micros = ours[key] * 1e6
        yield row(f"review, {name}", micros, None, "us", f"< {goal}", micros < goal)
    ours = job("guarded")
    yield row("backtest with risk on, 50,000 bars x 5 symbols", ours["seconds"], None, "s", "< 15",
              ours["seconds"] < 15)  # fmt: skip
    fitted = job("refit")["seconds"]
    yield row("refit of 20 GARCH-t models", fitted, None, "s", "< 1", fitted < 1)
    judged = job("coverage")["seconds"]
    yield row("VaR backtest, 20 symbols x 5 years, 12 methods", judged, None, "s", "< 60",
              judged < 60)  # fmt: skip
    say("simulator")
    rate = job("matching")["rate"] / 1e3
    yield row("matching core, order operations", rate, None, "k/s", ">= 10", rate >= 10)
    rate = job("candles")["rate"] / 1e3
    yield row("matching core, candles without orders", rate, None, "k/s", ">= 30", rate >= 30)
    say("server")
    for name, key, goal in (
        ("server, orders by pybit over REST", "rest_orders", 400),
        ("server, orders by the trade socket", "socket_orders", 2_000),
    ):
        rate = job(key)["rate"]
        yield row(name, rate, None, "round trips/s", f">= {goal:,}", rate >= goal)
    ours = job("public_messages")
    yield row("server, public messages to one client", ours["rate"], None, "messages/s",
              ">= 10,000", ours["rate"] >= 10_000)  # fmt: skip
    grown = ours["grown_ms"]
    yield row("server, growth of its queue in ten seconds", grown, None, "ms", "< 50", grown < 50)
    ours = job("flat_memory")
    factor = ours["late_mb"] / ours["early_mb"]
    yield row("server, memory over an hour of the market", ours["late_mb"], ours["early_mb"], "MB",
              "< 1.1 times", factor < 1.1, factor)  # fmt: skip
    ours = job("simulate_start")["seconds"]
    yield row("workbench simulate, to its port", ours, None, "s", "< 3", ours < 3)
    say("streams")
    ours, peer = job("streams"), job("streams_peer")
    for name, key in (("ten symbols, books and trades", "ten"), ("deltas of 500 levels", "deep")):
        rate, slow = ours[key] / 1e3, peer[key] / 1e3
        yield row(f"stream frames, {name}", rate, slow, "k frames/s", ">= 50", rate >= 50,
                  rate / slow)  # fmt: skip
    say("notebook")
    timed = job("notebook")
    overhead = timed["whole"] - timed["cells"]
    yield row("papermill over its cells", overhead, timed["cells"], "s", "printed", True)


def main():
    """Measure, print and write."""
    console = Console()
    results = list(measure(lambda name: console.print(f"{name} ...", style="dim")))
    table = Table("", "ours", "peer", "ratio", "unit", "goal", "met")
    lines = ["| | ours | peer | ratio | unit | goal | met |", "|---|---|---|---|---|---|---|"]
    for result in results:
        numbers = [result["ours"], result["peer"], result["ratio"]]
        shown = ["" if x is None else f"{x:,.3g}" for x in numbers]
        cells = [
            result["name"],
            *shown,
            result["unit"],
            result["goal"],
            "yes" if result["met"] else "NO",
        ]
        table.add_row(*cells)
        lines.append("| " + " | ".join(cells) + " |")
    console.print(table)
    (HERE / "results.json").write_text(json.dumps(results, indent=1) + "\n")
    words = f"# Benchmarks\n\n{results[0]['machine']}\n\n" + "\n".join(lines) + "\n" + METHOD
    # What other targets have written below stays.
    page = HERE / "README.md"
    _, mark, below = page.read_text().partition("\n## ") if page.exists() else ("", "", "")
    page.write_text(words + mark + below)
    return 0 if all(result["met"] for result in results) else 1


if __name__ == "__main__":
    sys.exit(main())
