"""A study of Optuna: in memory while it runs, and brought on record in batches."""

from __future__ import annotations

import hashlib
import json
import time
from collections import defaultdict
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

import numpy as np
from numpy.typing import NDArray
from pydantic import ValidationError

from workbench.backtest.sweep import Progress
from workbench.core.config import Config, load_config
from workbench.core.errors import ModelError
from workbench.research.market import identify
from workbench.research.space import Method, grid_size, make_sampler, suggest
from workbench.research.trials import record_trials, setting_hash
from workbench.research.walk import Walk
from workbench.store import Store
from workbench.store.studies import Studies, open_studies
from workbench.strategies.base import Strategy
from workbench.strategies.identity import strategy_hash

if TYPE_CHECKING:
    import optuna
    from optuna.distributions import BaseDistribution
    from optuna.trial import FrozenTrial

FLUSH_TRIALS: Final = 50
FLUSH_S: Final = 2.0
"""What was evaluated goes on record when there is so much of it, or so long after the last time."""
REFUSED_LIMIT: Final = 20
"""A search ends where it meets so many invalid combinations for each valid one that it wants."""
PRUNE_AFTER_TRIALS: Final = 10
PRUNE_AFTER_WINDOWS: Final = 2
REFUSED: Final = "refused"
REPEATS: Final = "repeats"

Returns = NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class Tried:
    """One combination that was tried.

    ``state`` is ``complete``, ``pruned``, ``repeated`` (one before looked the same) or ``refused``
    (by the strategy's own validation). Only the first two looked at a result: they have a strategy
    and the daily returns of ``n_windows`` windows.
    """

    params: Mapping[str, Any]
    state: str
    value: float
    n_windows: int = 0
    strategy: Strategy | None = None
    daily: Returns | None = None


@dataclass(slots=True)
class StudyRun:
    """A study that goes on where an earlier call stopped.

    One commit for each trial would cost several times what a trial does. So the trials wait in
    memory; a batch goes into the ledger first and into the study then. A trial follows from the
    seed and the trials before it: whatever the study lacks after a crash, or while the same study
    runs in another process, is evaluated again, comes out the same and counts once.
    """

    walk: Walk
    space: Mapping[str, BaseDistribution]
    method: Method
    seed: int
    is_pruned: bool
    family: str
    study: optuna.Study = field(init=False)
    trials: list[FrozenTrial] = field(default_factory=list)
    seen: dict[str, FrozenTrial] = field(default_factory=dict)
    earned: dict[str, Returns] = field(default_factory=dict)
    waiting: list[FrozenTrial] = field(default_factory=list)
    n_refused: int = 0

    @property
    def name(self) -> str:
        """The study's name: whatever decides its trials is in it."""
        from optuna.distributions import distribution_to_json

        walk = self.walk
        parts = {
            "strategy": strategy_hash(walk.strategy),
            "data": identify(walk.market),
            "setting": setting_hash(walk.market, walk.costs, walk.account),
            "windows": walk.plan,
            "space": {name: distribution_to_json(each) for name, each in self.space.items()},
            "method": self.method,
            "seed": self.seed,
            "is_pruned": self.is_pruned,
        }
        digest = hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()
        return f"{type(walk.strategy).__name__}-{self.method}-{digest[:16]}"

    def search(self, wanted: int, progress: Progress | None) -> list[Tried]:
        """Try combinations until so many valid ones have been, and return all up to there.

        Raises
        ------
        ModelError
            If hardly any combination is valid.
        """
        config = load_config()
        with _quiet(), open_studies(config.store) as studies, self._open(studies) as kept:
            flushed = time.monotonic()
            try:
                while not self._is_enough(wanted):
                    self._try_one()
                    if progress is not None:
                        progress(len(self.trials) - self.n_refused, wanted)
                    if len(self.waiting) >= FLUSH_TRIALS or time.monotonic() > flushed + FLUSH_S:
                        self._flush(config, studies, kept)
                        flushed = time.monotonic()
                # What an earlier call has evaluated may be in a study whose ledger is another one.
                self._recall()
            finally:
                self._flush(config, studies, kept)
        return self._first(wanted)

    @contextmanager
    def _open(self, studies: Studies) -> Iterator[optuna.Study]:
        import optuna

        # Braces of a path would be taken for a template.
        url = studies.url.replace("{", "{{").replace("}", "}}")
        with studies.alone():
            storage = optuna.storages.RDBStorage(url, engine_kwargs=dict(studies.engine_kwargs))
            kept = optuna.create_study(
                study_name=self.name, storage=storage, direction="maximize", load_if_exists=True
            )
        pruner = optuna.pruners.MedianPruner(PRUNE_AFTER_TRIALS, PRUNE_AFTER_WINDOWS)
        self.study = optuna.create_study(direction="maximize", pruner=pruner)
        try:
            for trial in kept.get_trials(deepcopy=False):
                self.study.add_trial(trial)
                self._note(trial)
            yield kept
        finally:
            storage.remove_session()
            storage.engine.dispose()

    def _is_enough(self, wanted: int) -> bool:
        if self.method == "grid":
            return len(self.trials) >= min(wanted, grid_size(self.space))
        if self.n_refused > REFUSED_LIMIT * wanted:
            reason = next(t for t in self.trials if REFUSED in t.user_attrs).user_attrs[REFUSED]
            raise ModelError(
                f"{self.n_refused:,} combinations are not valid, one of them since {reason}.",
                "Give a space in which more of them are.",
            )
        return len(self.trials) - self.n_refused >= wanted

    def _try_one(self) -> None:
        number = len(self.trials)
        # A grid is laid out once; the other samplers are seeded anew, so that a study which is
        # taken up again goes on as it would have.
        if self.method != "grid" or not self.earned:
            entropy = [self.seed, 0 if self.method == "grid" else number]
            seed = int(np.random.SeedSequence(entropy).generate_state(1)[0])
            self.study.sampler = make_sampler(self.method, self.space, seed=seed)

        def note(_: optuna.Study, trial: FrozenTrial) -> None:
            self._note(trial)
            if not trial.user_attrs:
                self.waiting.append(trial)

        self.study.optimize(self._evaluate, n_trials=1, callbacks=[note])

    def _evaluate(self, trial: optuna.Trial) -> float:
        import optuna

        params = {name: suggest(trial, name, each) for name, each in self.space.items()}
        try:
            strategy = self.walk.configure(params)
        except ValidationError as error:
            # Told as the worst there is, so that the search keeps away from it.
            reason = str(error.errors()[0]["msg"]).removeprefix("Value error, ")
            trial.set_user_attr(REFUSED, reason)
            raise optuna.TrialPruned from error
        before = self.seen.get(_key(params))
        if before is not None:
            trial.set_user_attr(REPEATS, before.number)
            if before.state == optuna.trial.TrialState.PRUNED:
                raise optuna.TrialPruned
            return float(before.values[0])
        value = 0.0
        for n_windows, daily in self.walk.earn(strategy):
            self.earned[_key(params)] = daily.astype(np.float32)
            value = self.walk.value(daily, n_windows)
            trial.report(value, step=n_windows)
            is_last = n_windows == len(self.walk.splits)
            if self.is_pruned and not is_last and trial.should_prune():
                raise optuna.TrialPruned
        return value

    def _note(self, trial: FrozenTrial) -> None:
        self.trials.append(trial)
        self.n_refused += REFUSED in trial.user_attrs
        if not trial.user_attrs:
            self.seen[_key(trial.params)] = trial

    def _flush(self, config: Config, studies: Studies, kept: optuna.Study) -> None:
        walk, groups = self.walk, defaultdict(list)
        for trial in self.waiting:
            groups[_n_windows(trial)].append(trial)
        for n_windows, group in groups.items():
            record_trials(
                config, [walk.configure(trial.params) for trial in group], walk.market, walk.costs,
                walk.account, np.stack([self.earned[_key(trial.params)] for trial in group]),
                family=self.family, kind="sweep", scheme=walk.scheme(n_windows),
                measures=[{"study": self.name, "value": trial.value} for trial in group],
                first_day=walk.days[walk.first_day].date(),
            )  # fmt: skip
        self.waiting.clear()
        with studies.alone():
            # Of a study that runs twice at once, each brings what the other has not yet.
            kept.add_trials(self.trials[len(kept.get_trials(deepcopy=False)) :])

    def _recall(self) -> None:
        lacking = {key: trial for key, trial in self.seen.items() if key not in self.earned}
        if not lacking:
            return
        walk = self.walk
        with Store.open() as store:
            rows = store.trials()
            rows = rows[rows["snapshot_id"] == identify(walk.market)]
            places = {
                (row.strategy_hash, row.costs_hash): row.trial_id for row in rows.itertuples()
            }
            for key, trial in lacking.items():
                n_windows = _n_windows(trial)
                strategy, scheme = walk.configure(trial.params), walk.scheme(n_windows)
                setting = setting_hash(walk.market, walk.costs, walk.account, scheme=scheme)
                place = places.get((strategy_hash(strategy), setting))
                if place is not None:
                    self.earned[key] = store.trial_returns([place])[0]
                    continue
                self.earned[key] = next(
                    daily.astype(np.float32) for n, daily in walk.earn(strategy) if n == n_windows
                )
                self.waiting.append(trial)

    def _first(self, wanted: int) -> list[Tried]:
        answer: list[Tried] = []
        n_valid = 0
        for trial in self.trials:
            if n_valid == wanted:
                break
            n_valid += REFUSED not in trial.user_attrs or self.method == "grid"
            answer.append(self._read(trial))
        return answer

    def _read(self, trial: FrozenTrial) -> Tried:
        if REFUSED in trial.user_attrs:
            return Tried(trial.params, "refused", float("nan"))
        value = float("nan") if trial.value is None else trial.value
        if REPEATS in trial.user_attrs:
            return Tried(trial.params, "repeated", value)
        return Tried(
            trial.params, trial.state.name.lower(), value, _n_windows(trial),
            self.walk.configure(trial.params), self.earned[_key(trial.params)],
        )  # fmt: skip


def _key(params: Mapping[str, Any]) -> str:
    return json.dumps(params, sort_keys=True)


def _n_windows(trial: FrozenTrial) -> int:
    return max(trial.intermediate_values)


@contextmanager
def _quiet() -> Iterator[None]:
    import optuna

    before = optuna.logging.get_verbosity()
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    try:
        yield
    finally:
        optuna.logging.set_verbosity(before)
