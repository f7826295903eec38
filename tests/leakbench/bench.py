"""Probe the whole corpus, and count what is found, missed and wrongly accused."""

from __future__ import annotations

import json
import re
import time
from dataclasses import dataclass
from pathlib import Path

from threadpoolctl import threadpool_limits

from workbench.cli.leaks import find_subjects, load_market
from workbench.validation.leaks import LeakReport, probe_leaks

HERE = Path(__file__).resolve().parent
RESULTS = HERE.parents[1] / "benchmarks" / "leakbench.json"
KINDS = (
    "windows", "calendars", "merges", "scaling", "filling", "smoothing", "regimes", "learning",
    "universe", "funding", "fills", "steps", "labels", "hidden",
)  # fmt: skip
SYMBOLS = ("BTCUSDT", "ETHUSDT", "SOLUSDT", "XRPUSDT")
BARS, SEED = 1_000, 7


@dataclass(frozen=True)
class Case:
    """One piece of the corpus and what the probes say of it."""

    kind: str
    name: str
    is_leak: bool
    report: LeakReport
    seconds: float

    @property
    def is_wrong(self):
        """A leak that was not found, or a clean twin that was accused or not judged."""
        return self.is_leak == self.report.is_clean if self.report.is_judged else not self.is_leak


def market_of(seed=SEED, bars=BARS):
    """The market of the corpus: synthetic, hourly, with gaps, listings, funding and others."""
    return load_market(SYMBOLS, source="synthetic", interval="60", bars=bars, seed=seed)


def subjects():
    """Every piece of the corpus: kind, name, whether it is a leak, and itself."""
    for kind in KINDS:
        for name, subject in find_subjects(str(HERE / f"{kind}.py"), registered={}).items():
            words = re.sub(r"(?<=[a-z])(?=[A-Z])", "_", name).lower()
            case, _, verdict = words.rpartition("_")
            yield kind, f"{kind}.{case}", verdict == "leak", subject


def bench(market, *, seed=SEED, cuts=24):
    """Yield every case, probed on a market."""
    loaded = list(subjects())
    # Threads of the linear algebra cost more than they bring on a thousand rows.
    with threadpool_limits(1):
        for kind, name, is_leak, subject in loaded:
            started = time.process_time()
            report = probe_leaks(subject, market, name=name, cuts=cuts, seed=seed)
            yield Case(kind, name, is_leak, report, time.process_time() - started)


def summary(cases):
    """What is published: counts, recall, false alarms, and the leaks that were missed."""
    leaks = [case for case in cases if case.is_leak]
    clean = [case for case in cases if not case.is_leak]
    missed = [case.name for case in leaks if not case.report.findings]
    return {
        "leaks": len(leaks),
        "clean": len(clean),
        "recall": round(1 - len(missed) / len(leaks), 4),
        "false_alarms": sum(bool(case.report.findings) for case in clean),
        "missed": missed,
    }


def write(found):
    """Write what is published."""
    RESULTS.write_text(json.dumps(found, indent=1) + "\n")
