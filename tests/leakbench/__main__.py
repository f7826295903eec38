"""``make leakbench``: probe the corpus, print what was found and write it down."""

import time

from rich.console import Console
from rich.table import Table

from tests.leakbench.bench import KINDS, bench, market_of, summary, write


def main():
    """Probe, print a row for each kind, and write the results."""
    console, started, cases = Console(), time.process_time(), []
    with console.status("Probing the corpus ..."):
        cases += bench(market_of())
    table = Table("kind", "leaks", "found", "clean", "false alarms", "missed")
    for kind in (*KINDS, ""):
        rows = [case for case in cases if kind in ("", case.kind)]
        found = summary(rows)
        names = ", ".join(name.partition(".")[2] for name in found["missed"]) if kind else ""
        counts = [found["leaks"], found["leaks"] - len(found["missed"]), found["clean"]]
        if not kind:
            table.add_section()
        shown = [str(count) for count in (*counts, found["false_alarms"])]
        table.add_row(kind or "all", *shown, names)
    console.print(table)
    found = summary(cases)
    n_probes = sum(case.report.n_probes for case in cases)
    console.print(
        f"Recall {found['recall']:.1%}, {found['false_alarms']} false alarms: {n_probes:,} changed "
        f"futures judged in {time.process_time() - started:.0f} s of one core."
    )
    write(found)


if __name__ == "__main__":
    main()
