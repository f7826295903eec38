"""The kill drills at length: ``drills.json``, and their table in ``README.md``.

``make drills`` does each twenty times over ten positions (``ARGS="--runs 3"`` for less).
"""

import argparse
import json
import platform
import sys
import tempfile
from pathlib import Path

from rich.console import Console

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent))

from tests.live.drills import DRILLS, Stage, summarise  # noqa: E402

GOAL_S = 3.0
TITLE = "## Kill drills"
METHOD = """
Made by `make drills`. The exchange is ours on loopback with its own limits of order rates (ten a
second), the supervisor the real command in processes of its own; a stand-in beats for the engine.
Each run opens ten positions by real orders with stops, and ten entries that rest. Then the harm:
the engine is killed, stopped or frozen in its loop; no process of the supervisor can write a file;
the database is locked and the engine waits for it; the exchange drops every request for 1.2 s while
the engine is killed; its clock jumps by an hour and the file STOP is touched. The time is from the
decision to flatten (the return of the network, where it was away) until the exchange has neither a
position nor an order left: silence and grace before it are settings. Where the limit of order rates
has just been used up, by whomever, a second comes on top.
"""


def table(rows):
    """The section of the drills."""
    lines = ["| drill | runs | median, s | maximum, s | left over | goal | met |",
             "|---|---|---|---|---|---|---|"]  # fmt: skip
    for row in rows:
        met = row["flat_max_s"] < GOAL_S and not row["leftovers"]
        cells = [row["drill"], row["runs"], f"{row['flat_median_s']:.2f}",
                 f"{row['flat_max_s']:.2f}", row["leftovers"], f"< {GOAL_S:g} s",
                 "yes" if met else "NO"]  # fmt: skip
        lines.append("| " + " | ".join(map(str, cells)) + " |")
    machine = f"{platform.machine()}, Python {platform.python_version()}"
    return f"{TITLE}\n\n{machine}\n\n" + "\n".join(lines) + "\n" + METHOD


def put(section, page):
    """A page with a section in the place of the old one of its title, or at its end."""
    title = section.partition("\n")[0]
    before, mark, old = page.partition(title)
    if not mark:
        return page.rstrip() + "\n\n" + section
    _, following, rest = old.partition("\n## ")
    return before + section + (following + rest if following else "")


def main():
    """Drill and write."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--runs", type=int, default=20, help="of each drill")
    parser.add_argument("--positions", type=int, default=10)
    options = parser.parse_args()
    console, rows = Console(), []
    with tempfile.TemporaryDirectory() as folder:
        home = Path(folder) / "home"
        with Stage(home, n_positions=options.positions) as stage:
            for name in DRILLS:
                runs = [stage.run(name)[:2] for _ in range(options.runs)]
                rows.append(summarise(name, runs))
                console.print(rows[-1])
    lines = ",\n ".join(json.dumps(row) for row in rows)
    (HERE / "drills.json").write_text(f"[{lines}]\n")
    page = HERE / "README.md"
    page.write_text(put(table(rows), page.read_text()))
    return 0 if all(r["flat_max_s"] < GOAL_S and not r["leftovers"] for r in rows) else 1


if __name__ == "__main__":
    sys.exit(main())
