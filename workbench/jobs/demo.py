"""The main job in one go: real data where it can be had, the research notebook, a verdict."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Final
from urllib.error import URLError
from urllib.request import urlopen

from workbench.core.config import Config, load_config
from workbench.core.errors import DataError, ExchangeError, JobError
from workbench.core.layers import find_root
from workbench.evidence.verdicts import Verdict
from workbench.jobs.graduate import put_before_gate
from workbench.jobs.run import JobResult, Progress, run_notebook
from workbench.jobs.verify import Verification, verify_run

SYMBOLS: Final = ("BTCUSDT", "ETHUSDT")
SEED: Final = 7
NOTEBOOK: Final = Path("notebooks/research/20_research_strategy.ipynb")
GRID: Final = {"fast": [6, 12, 24, 36, 48, 72, 96], "slow": [120, 168, 240, 336, 504, 672]}
PROBE_S: Final = 4.0
CHOICE: Final = {"fast": list(range(4, 104, 4)), "slow": list(range(110, 510, 20))}
"""Five hundred configurations, of which the best is put before the gate."""
EFFECT: Final = 0.05
TREND: Final = {
    "STRATEGY": "momentum",
    "PARAMS": {"horizon": 240, "volatility_bars": 168, "rebalance_every": 12},
    "GRID": {"horizon": [168, 240, 336], "volatility_bars": [120, 168, 240]},
}
"""A modest strategy, and what it was chosen from."""
PLANTED: Final = {
    "SOURCE": "synthetic", "SYMBOLS": ["BTCUSDT", "ETHUSDT", "SOLUSDT"], "START": "2020-01-01",
    "END": "2024-01-01", "EFFECT": EFFECT,
}  # fmt: skip
"""Four years of a market that carries what the modest strategy looks for."""
PERMUTATIONS: Final = 20


@dataclass(frozen=True, slots=True)
class Source:
    """Where the demo's market comes from, and why."""

    name: str
    params: Mapping[str, object]
    reason: str

    @property
    def is_synthetic(self) -> bool:
        """Whether the market is made, not traded."""
        return self.name != "lake"


@dataclass(frozen=True, slots=True)
class Summary:
    """What the demo showed: the run, its measures beside buy-and-hold, and the verdict so far."""

    source: Source
    job: JobResult
    table: Mapping[str, tuple[float | None, float | None]]
    verdict: str


def choose_source(
    config: Config,
    *,
    pull: Callable[[datetime], object],
    simulate: Callable[[], object] | None = None,
    is_reachable: Callable[[str], bool] | None = None,
    now: datetime | None = None,
) -> Source:
    """Pull a year of real data where the exchange can be reached, else a year of a simulated one.

    ``pull`` is called with the first moment wanted; ``simulate`` brings the other into the lake.
    Without it the synthetic market is taken as it is made.
    """
    url = config.exchange.rest_url
    now = now or datetime.now(UTC)
    start = (now - timedelta(days=365)).replace(hour=0, minute=0, second=0, microsecond=0)
    made = {"SOURCE": "synthetic", "START": "2023-01-01", "END": "2024-01-01"}
    if not (is_reachable or reaches)(url):
        reason = f"{url} cannot be reached from here"
        if simulate is None:
            return Source("synthetic", made, reason)
        simulate()
        served = {**made, "SOURCE": "lake:simulator"}
        return Source("simulator", served, f"{reason}; pulled from a simulated exchange instead")
    try:
        pull(start)
    except (ExchangeError, DataError) as error:
        return Source("synthetic", made, f"the download ended early: {error.what}")
    real = {"SOURCE": "lake", "START": f"{start:%Y-%m-%d}"}
    return Source("lake", real, f"a year of hourly bars from {url}")


def pull_simulated(lake: Path) -> None:
    """Serve a synthetic year as a Bybit exchange on this machine, and pull it like any other."""
    from workbench import data
    from workbench.exchange.client import BybitClient
    from workbench.exchange.server import Exchange, ServerSettings, serving
    from workbench.exchange.server.limits import LimitRules
    from workbench.exchange.simulator import CandleSource, Settings, Simulator

    first, last = datetime(2023, 1, 1, tzinfo=UTC), datetime(2024, 1, 1, tzinfo=UTC)
    market = data.synthesise(
        SYMBOLS, interval="60", start=first, end=last + timedelta(hours=1), seed=SEED
    )
    stop = int(last.timestamp() * 1_000)
    simulator = Simulator(
        [market.instruments[symbol] for symbol in SYMBOLS],
        source=CandleSource(market, start=last), settings=Settings(), seed=SEED, start_ms=stop,
    )  # fmt: skip
    settings = ServerSettings(
        speed=0, seed=SEED, limits=LimitRules(scale=100, requests_per_5s=100_000)
    )
    with serving(Exchange(simulator, [], wall_ms=stop, settings=settings)) as place:
        client = BybitClient(f"http://{place}", requests_per_s=1_000)
        data.pull(SYMBOLS, interval="60", start=first, lake=lake, client=client)


def reaches(url: str, *, timeout_s: float = PROBE_S) -> bool:
    """Return whether a Bybit endpoint tells its time before the time-out, name look-up included."""
    answers: list[bool] = []
    # A look-up of names has no time-out of its own: a thread that may be left behind has.
    asking = threading.Thread(
        target=lambda: answers.append(_ask(f"{url}/v5/market/time", timeout_s)), daemon=True
    )
    asking.start()
    asking.join(timeout_s)
    return bool(answers) and answers[0]


def run_demo(
    source: Source, *, root: Path | None = None, progress: Progress | None = None
) -> Summary:
    """Run the research notebook, with its sweep, on a source; return what it showed.

    Raises
    ------
    JobError
        If the notebook is not there or does not run to its end.
    """
    from workbench.store.session import Store

    notebook = (root or find_root()) / NOTEBOOK
    if not notebook.is_file():
        raise JobError(
            f"The demo's notebook {notebook} is not there.",
            "Run the demo inside a checkout of the repository.",
        )
    params = {"SYMBOLS": list(SYMBOLS), "INTERVAL": "60", "GRID": GRID, **source.params}
    job = run_notebook(notebook, params, progress=progress)
    if job.status != "done":
        raise JobError(f"The research notebook {job.status}: {job.error}", f"See {job.html}.")
    with Store.open(load_config().store.url) as store:
        n_trials = len(store.trials())
    return Summary(source, job, _beside(job.measures), judge(job.measures, n_trials=n_trials))


@dataclass(frozen=True, slots=True)
class Case:
    """A strategy that the demo puts before the gate, and what has to be said about it."""

    title: str
    words: str
    params: Mapping[str, object]


@dataclass(frozen=True, slots=True)
class Proof:
    """What became of a case: its run, the verdict, and the verdict's run executed again."""

    case: Case
    job: JobResult
    verdict: Verdict
    verification: Verification


def best_of_many(source: Source, *, grid: Mapping[str, Sequence[Any]] | None = None) -> Case:
    """Sweep five hundred configurations on the record and return the best of them as a case."""
    from workbench.research import load, sweep
    from workbench.strategies import MovingAverageCross

    grid = grid or CHOICE
    where = {"start": source.params["START"], "end": source.params.get("END")}
    place = source.params["SOURCE"]
    market = load(SYMBOLS, interval="60", source=place, seed=SEED, **where)
    swept = sweep(MovingAverageCross(), market, grid)
    row = swept.ranked().iloc[0]
    params = {name: int(row[name]) for name in grid}
    shown = ", ".join(f"{name} {value}" for name, value in params.items())
    return Case(
        f"The best of {len(swept.table)} moving-average pairs ({shown})",
        f"Its Sharpe ratio of {row['sharpe']:.2f} is the highest of {len(swept.table)}.",
        {**source.params, "SYMBOLS": list(SYMBOLS), "STRATEGY": "crossover", "PARAMS": params,
         "GRID": dict(grid)},
    )  # fmt: skip


def modest_cases(source: Source) -> list[Case]:
    """Return the modest strategy where its effect was planted, and on real data if there are any.

    On a synthetic market without the effect it would earn nothing; that case is left to the user.
    """
    planted = Case(
        "A modest trend strategy on a market that carries its effect",
        f"PLANTED: a hidden drift of {EFFECT:g} of an hour's volatility, put into a synthetic "
        f"market; who knew its sign would have a Sharpe ratio of about {75 * EFFECT:.1f}. A pass "
        "here says that the gate lets an edge through, and nothing about any real market.",
        {**PLANTED, **TREND},
    )
    if source.is_synthetic:
        return [planted]
    real = Case(
        "The same strategy on real data",
        f"Nothing is planted: {source.reason}. It gets whatever verdict it earns.",
        {**source.params, **TREND, "SYMBOLS": list(SYMBOLS)},
    )
    return [planted, real]


def prove(
    case: Case,
    *,
    root: Path | None = None,
    permutations: int = PERMUTATIONS,
    progress: Progress | None = None,
) -> Proof:
    """Put a case before the gate, seal its run, and verify the run by executing it again."""
    params = {"PERMUTATIONS": permutations, "SEED": SEED, **case.params}
    job, recorded = put_before_gate(params, root=root, progress=progress)
    return Proof(case, job, recorded.verdict, verify_run(job.run_id))


def judge(measures: Mapping[str, Any], *, n_trials: int) -> str:
    """Return what may be said so far: a comparison and a count, never more than was computed."""
    ours, held = measures.get("strategy.sharpe"), measures.get("buy_and_hold.sharpe")
    configurations = measures.get("sweep.configurations", 0)
    above = measures.get("sweep.share_above_zero") or 0.0
    if ours is None or held is None:
        compared = "A Sharpe ratio could not be computed."
    else:
        word = "above" if ours > held else "not above"
        compared = f"The strategy's Sharpe ratio {ours:.2f} is {word} buy-and-hold's {held:.2f}."
    return (
        f"{compared} {above:.0%} of {configurations} configurations of the sweep are above zero. "
        f"No evidence yet: {n_trials} trials are on the record, so the best of them owes much to "
        "luck; no gate has been passed and nothing may trade."
    )


def _ask(url: str, timeout_s: float) -> bool:
    try:
        with urlopen(url, timeout=timeout_s) as answer:  # noqa: S310 - config allows http(s) only
            return bool(json.load(answer).get("retCode") == 0)
    except (URLError, OSError, ValueError, AttributeError):
        return False


def _beside(measures: Mapping[str, Any]) -> dict[str, tuple[float | None, float | None]]:
    names = [key.removeprefix("strategy.") for key in measures if key.startswith("strategy.")]
    return {
        name: (measures[f"strategy.{name}"], measures.get(f"buy_and_hold.{name}")) for name in names
    }
