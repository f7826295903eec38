"""Judge families of noise and of one true edge, and write ``noise.json`` and the figure of it.

``python benchmarks/noise.py`` takes up where it was interrupted: each family is kept as soon as it
is judged, under the digest of everything that judges it.
"""

import argparse
import hashlib
import json
import os
import platform
import shutil
import sys
import time
from concurrent.futures import ProcessPoolExecutor, as_completed
from pathlib import Path

# One thread for each process: threads of several would wait for one another.
os.environ.update(dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS"), "1"))

import numpy as np
import pandas as pd
from plotly.subplots import make_subplots
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from scipy.stats import binomtest

from workbench.core import drawing
from workbench.validation import deflation, maxstat, power, resample

ROOT = Path(__file__).resolve().parents[1]
RESULT = ROOT / "benchmarks" / "noise.json"
FIGURE = ROOT / "docs" / "images" / "noise.png"
TRIALS = (10, 100, 1_000, 10_000)
EDGES = (0.0, 0.5, 1.0, 2.0)
ALPHA, YEARS, SEED = 0.05, 3, 2026
ENOUGH = 100
"""Families of a size from which on the title speaks of it."""
RULES = (
    power.whole_ledger(),
    power.per_call(),
    power.deflated(is_clustered=True),
    power.deflated(is_clustered=False),
)
GATE, CALL, CLUSTERED, RAW = (rule.name for rule in RULES)
CHROMIUM = ["--headless=new", "--no-sandbox", "--disable-gpu", "--disable-background-networking"]


def judge(n_trials, repetition):
    """Judge one family, as rows that JSON holds."""
    seed = power.family_seed(SEED, n_trials, repetition)
    days = YEARS * power.DAYS_A_YEAR
    table = power.judge_family(n_trials, edges=EDGES, rules=RULES, n_days=days, seed=seed)
    return n_trials, repetition, table.to_dict("records")


def store():
    """The file of the families that were judged by exactly this code."""
    sources = [Path(module.__file__) for module in (deflation, maxstat, power, resample)]
    text = b"".join(path.read_bytes() for path in sources) + repr((EDGES, YEARS, SEED)).encode()
    return ROOT / "data" / f"noise-{hashlib.sha256(text).hexdigest()[:12]}.jsonl"


def read(path):
    """The families that are judged already; a line cut short by an interruption is left out."""
    done = {}
    for line in path.read_text().splitlines() if path.is_file() else ():
        try:
            n_trials, repetition, rows = json.loads(line)
        except json.JSONDecodeError:
            continue
        done[n_trials, repetition] = rows
    return done


def run(families, minutes):
    """Judge what is not judged yet, for so many minutes at most; the rows of all families."""
    path = store()
    path.parent.mkdir(exist_ok=True)
    done = read(path)
    missing = [(n, k) for n in TRIALS for k in range(families) if (n, k) not in done]
    columns = TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn()
    until = time.monotonic() + 60 * minutes
    workers = os.cpu_count() or 1
    with (
        path.open("a") as file,
        Progress(*columns, TimeRemainingColumn()) as bar,
        ProcessPoolExecutor(workers) as pool,
    ):
        task = bar.add_task("families", total=len(TRIALS) * families, completed=len(done))
        left, flying = iter(missing), set()
        while True:
            while len(flying) < 2 * workers and time.monotonic() < until:
                unit = next(left, None)
                if unit is None:
                    break
                flying.add(pool.submit(judge, *unit))
            if not flying:
                break
            future = next(as_completed(flying))
            flying.remove(future)
            n_trials, repetition, rows = future.result()
            done[n_trials, repetition] = rows
            file.write(json.dumps([n_trials, repetition, rows]) + "\n")
            file.flush()
            bar.update(task, advance=1, description=f"families of {n_trials:,}")
    return pd.DataFrame([row for rows in done.values() for row in rows])


def tabulate(outcomes):
    """Rates with their exact binomial intervals of 95 %."""
    table = power.pass_rates(outcomes, alpha=ALPHA).reset_index()
    for name in ("passed", "found"):
        counts = (table[name] * table["families"]).round().astype(int)
        bounds = [
            binomtest(k, n).proportion_ci() for k, n in zip(counts, table["families"], strict=True)
        ]
        table[f"{name}_low"] = [bound.low for bound in bounds]
        table[f"{name}_high"] = [bound.high for bound in bounds]
    return table


def draw(table):
    """False passes and power by the number of trials."""
    noise = table[table["edge"] == 0].set_index("rule")
    gate, call = (noise.loc[[rule]].set_index("n_trials") for rule in (GATE, CALL))
    figure = make_subplots(
        1, 2, horizontal_spacing=0.08,
        subplot_titles=("Pure noise: how often the best of N passes",
                        f"One true edge among N: how often it is found ({GATE})"),
    )  # fmt: skip
    figure.update_annotations(font_size=13)
    styles = (
        (GATE, drawing.ACCENT, "solid", "circle"), (CALL, drawing.DOWN, "dash", "x"),
        (CLUSTERED, drawing.LINES[1], "dot", "diamond"), (RAW, drawing.QUIET, "dot", "square"),
    )  # fmt: skip
    for k, (rule, colour, dash, symbol) in enumerate(styles):
        rows = noise.loc[[rule]].assign(n_trials=lambda t, k=k: t["n_trials"] * 1.05 ** (k - 1.5))
        add(figure, rows, "passed", rule, colour, dash, symbol, 1)
    figure.add_hline(ALPHA, line={"color": "#1c2530", "width": 1, "dash": "dash"}, row=1, col=1)
    shades = ("#7fa3ff", 0.5, "triangle-up"), ("#3f72f5", 1.0, "diamond"), ("#1740b0", 2.0, "star")
    for colour, edge, symbol in shades:
        rows = table[(table["edge"] == edge) & (table["rule"] == GATE)].sort_values("n_trials")
        add(figure, rows, "found", f"Sharpe {edge:g}", colour, "solid", symbol, 2)
        figure.add_annotation(
            x=np.log10(rows["n_trials"].iloc[0]) + 0.06, y=rows["found"].iloc[0], row=1, col=2,
            text=f"Sharpe {edge:g}", showarrow=False, xanchor="left", yanchor="bottom",
            font={"size": 12, "color": colour},
        )  # fmt: skip
    known = int(gate.index[gate["families"] >= ENOUGH].max())
    few = gate[gate["families"] < gate["families"].max()]["families"]
    sizes = [f"{gate['families'].max()} families of each size"]
    sizes += [f"{k} of {n:,}" for n, k in few.items()]
    drawing.titled(
        figure,
        f"The best of {known:,} noise strategies passes in {gate.loc[known, 'passed']:.1%} of "
        f"families if every trial counts, in {call.loc[known, 'passed']:.0%} if one call does",
        "",
        note=f"{YEARS} years of daily returns, correlated trials on one market; "
        f"{', '.join(sizes)}; bars: 95 %",
        height=470,
    )
    ticks = {"type": "log", "tickvals": TRIALS, "ticktext": [f"{n:,}" for n in TRIALS]}
    figure.update_xaxes(title_text="N, trials on record", range=[0.85, 4.15], **ticks)
    figure.update_yaxes(tickformat=".0%", range=[-0.02, 1.04])
    figure.update_yaxes(tickvals=[ALPHA, 0.2, 0.4, 0.6, 0.8, 1.0], col=1)
    figure.update_layout(
        width=1_000, margin={"t": 112, "b": 104}, hovermode=False,
        legend={"x": 0, "xanchor": "left", "y": -0.22, "yanchor": "top", "font": {"size": 12}},
    )  # fmt: skip
    return figure


def add(figure, rows, name, title, colour, dash, symbol, column):
    """One line with its error bars."""
    rows = rows.sort_values("n_trials")
    figure.add_scatter(
        x=rows["n_trials"], y=rows[name], name=title, mode="lines+markers", showlegend=column == 1,
        line={"color": colour, "dash": dash, "width": 2.5}, marker={"symbol": symbol, "size": 9},
        error_y={"array": rows[f"{name}_high"] - rows[name], "thickness": 1.2, "width": 4,
                 "arrayminus": rows[name] - rows[f"{name}_low"]}, row=1, col=column,
    )  # fmt: skip


def photograph(figure, path):
    """Write a figure as PNG, by headless Chromium."""
    from playwright.sync_api import sync_playwright

    program = shutil.which("chromium")
    if program is None:
        sys.exit(f"{path.name} needs chromium (apt-get install chromium); the numbers are written.")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=program, args=CHROMIUM)
        size = {"width": figure.layout.width, "height": figure.layout.height}
        page = browser.new_page(viewport=size, device_scale_factor=2)
        style = "<style>body{margin:0}</style>"
        page.set_content(style + figure.to_html(config={"displayModeBar": False}))
        page.wait_for_selector(".legend")
        page.screenshot(path=path)
        browser.close()


def main():
    """Judge, tabulate, draw and write."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--families", type=int, default=200, help="of each size")
    parser.add_argument("--minutes", type=float, default=float("inf"), help="then stop and draw")
    options = parser.parse_args()
    table = tabulate(run(options.families, options.minutes))
    machine = f"{platform.machine()}, {os.cpu_count()} cores, Python {platform.python_version()}"
    settings = {
        "alpha": ALPHA, "years": YEARS, "seed": SEED, "machine": machine,
        "is_complete": bool((table["families"] == options.families).all()),
    }  # fmt: skip
    rows = table.round(4).to_dict("records")
    lines = ",\n  ".join(json.dumps(row) for row in rows)
    RESULT.write_text(f'{{"settings": {json.dumps(settings)},\n "rows": [\n  {lines}\n ]}}\n')
    photograph(draw(table), FIGURE)


if __name__ == "__main__":
    main()
