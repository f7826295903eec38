"""The client through every scenario of faults: ``chaos.json``, and its table in ``README.md``.

``make chaos`` runs each scenario 200 times (``ARGS="--runs 3"`` for less) and takes up where it
was interrupted: each run is kept as soon as it is done, under the digest of all that it runs.
"""

import argparse
import hashlib
import json
import logging
import os
import platform
import sys
import time
from concurrent.futures import ProcessPoolExecutor, as_completed
from pathlib import Path

from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

HERE = Path(__file__).resolve().parent
ROOT = HERE.parent
sys.path[:0] = [str(ROOT), str(HERE)]

from drills import put  # noqa: E402

from tests.exchange import chaos  # noqa: E402
from workbench.exchange.server.faults import list_scenarios  # noqa: E402

TITLE = "## Chaos"
ROOMS = ("core", "data", "exchange", "execution", "live", "portfolio", "risk")
METHOD = """
Made by `make chaos`. Exchange and client are whole (REST client, sockets, order manager); between
them is no network but calls, on a virtual clock. Each run has a seed: its moment of the market, its
orders (market and limit, two strategies on two symbols, cancels, exits) and the way of its orders:
even seeds by REST, odd ones by the trade socket. Trading goes on while a scenario does its harm and
stops when that is over; from then on it takes the time to recover until the stream is whole, every
execution is in the books, positions, open orders and stops agree, and no order is in doubt.
Duplicates are orders of one name placed twice, orders that nobody here knows, and strategies with
more under way than was decided. At the end everything is closed, and the residual is the change of
the wallet less that of the books.
"""


def store():
    """The file of the runs that were made by exactly this code."""
    files = [path for room in ROOMS for path in (ROOT / "workbench" / room).rglob("*")]
    files += [Path(chaos.__file__)]
    kept = sorted(path for path in files if path.suffix in (".py", ".toml"))
    digest = hashlib.sha256(b"".join(path.read_bytes() for path in kept))
    return ROOT / "data" / f"chaos-{digest.hexdigest()[:12]}.jsonl"


def read(path):
    """The runs that are done; a line cut short by an interruption is left out."""
    done = {}
    for line in path.read_text().splitlines() if path.is_file() else ():
        try:
            row = json.loads(line)
        except json.JSONDecodeError:
            continue
        done[row["scenario"], row["seed"]] = row
    return done


def quiet():
    """Keep what the client tells of its troubles to itself: there are many."""
    logging.disable(logging.CRITICAL)


def run(names, runs, minutes):
    """Do what is not done yet, for so many minutes at most; the rows of all runs by scenario."""
    path = store()
    path.parent.mkdir(exist_ok=True)
    done = read(path)
    # Every scenario in turn, so that an interrupted job has seen all of them alike.
    missing = [(name, k) for k in range(runs) for name in names if (name, k) not in done]
    columns = TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn()
    until, workers = time.monotonic() + 60 * minutes, os.cpu_count() or 1
    with (
        path.open("a") as file,
        Progress(*columns, TimeRemainingColumn()) as bar,
        ProcessPoolExecutor(workers, initializer=quiet) as pool,
    ):
        task = bar.add_task("runs", total=len(names) * runs)
        bar.update(task, completed=len(names) * runs - len(missing))
        left, flying = iter(missing), set()
        while True:
            while len(flying) < 2 * workers and time.monotonic() < until:
                unit = next(left, None)
                if unit is None:
                    break
                flying.add(pool.submit(chaos.run, *unit))
            if not flying:
                break
            future = next(as_completed(flying))
            flying.remove(future)
            row = future.result()
            done[row["scenario"], row["seed"]] = row
            file.write(json.dumps(row) + "\n")
            file.flush()
            bar.update(task, advance=1, description=row["scenario"])
    return {name: [done[name, k] for k in range(runs) if (name, k) in done] for name in names}


def table(rows):
    """The section of the scenarios."""
    lines = ["| scenario | runs | duplicates | lost fills | residual, USDT | without stop "
             "| recovery p50, s | p99, s |", "|---|---|---|---|---|---|---|---|"]  # fmt: skip
    for row in rows:
        cells = [row["scenario"], row["runs"], row["duplicates"], row["lost_fills"],
                 f"{row['residual']:g}", row["without_stop"], f"{row['recovery_p50_s']:.2f}",
                 f"{row['recovery_p99_s']:.2f}"]  # fmt: skip
        lines.append("| " + " | ".join(map(str, cells)) + " |")
    machine = f"{platform.machine()}, Python {platform.python_version()}"
    return f"{TITLE}\n\n{machine}\n\n" + "\n".join(lines) + "\n" + METHOD


def main():
    """Run, tell and write."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--runs", type=int, default=200, help="of each scenario")
    parser.add_argument("--minutes", type=float, default=float("inf"), help="then stop and write")
    parser.add_argument("--only", nargs="*", help="scenarios; nothing is written then")
    options = parser.parse_args()
    found = run(options.only or list_scenarios(), options.runs, options.minutes)
    rows = [chaos.summarise(name, own) for name, own in found.items() if own]
    section = table(rows)
    print(section)
    bad = [row for own in found.values() for row in own if not chaos.is_clean(row)]
    spared = [row for own in found.values() for row in own if not row["is_struck"]]
    print(f"In {len(spared)} runs what the scenario waits for (an order, a position) never came.")
    for row in bad:
        print("NOT CLEAN:", json.dumps(row))
    if not options.only:
        lines = ",\n ".join(json.dumps(row) for row in rows)
        (HERE / "chaos.json").write_text(f"[{lines}]\n")
        page = HERE / "README.md"
        page.write_text(put(section, page.read_text()))
    is_complete = all(len(own) == options.runs for own in found.values())
    return 0 if is_complete and not bad else 1


if __name__ == "__main__":
    sys.exit(main())
