"""The questions that make a leak show: asked again and again, each time before another future."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from copy import deepcopy
from dataclasses import dataclass, field, replace
from math import sqrt
from typing import Any, Final

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray

from workbench.backtest.inputs import Realism
from workbench.backtest.run import run
from workbench.core.errors import ModelError, WorkbenchError
from workbench.core.records import Market
from workbench.strategies.base import SteppedStrategy, Strategy
from workbench.validation.answers import (
    Answers,
    Change,
    ask,
    changes,
    guarded,
    intent_answers,
    strategy_answers,
)
from workbench.validation.finding import Finding, Probe, describe_moment, in_order, name_change
from workbench.validation.futures import (
    EXTREME,
    PLAUSIBLE,
    Poison,
    cut_points,
    fair_coin,
    fields_of,
    poison,
    roughen,
)
from workbench.validation.pipeline import Function, Labels, Pipeline, read_answers, relearn

Question = Callable[[Market], Answers]

FIT_SHARE: Final = 0.5
"""The part of a market that is fitted on."""
HOLES_SHARE: Final = 0.005
ROUGH_SHARE: Final = 2
"""A market with fewer holes is probed once more with some punched into it, at half of the cuts."""
CUTS_A_SCAN: Final = 6
"""The scan of a stepped strategy takes long: it is probed at one cut in so many."""
WORLDS, FEW_WORLDS, BLOCKS = 6, 2, 20
"""Worlds of fair coins for a profit that is stated, and for one that the kernel computes."""
TOO_LUCKY: Final = 5.0
"""Standard errors, over 40 blocks of time and more, that luck reaches once in 100,000."""
_GROSS: Final = Realism(
    fees=False, spread=False, latency=False, funding=False, rounding=False, liquidation=False
)


@dataclass
class Inquiry:
    """Everything that has been asked of one subject, and what came out.

    ``fields`` maps those that may lie to the names that findings give them.
    """

    name: str
    market: Market
    fields: dict[str, str]
    cuts: int
    seed: int
    n_probes: int = 0
    is_random: bool = False
    findings: list[Finding] = field(default_factory=list)
    tried: dict[str, int] = field(default_factory=dict)
    errors: dict[str, list[str]] = field(default_factory=dict)
    remarks: list[str] = field(default_factory=list)

    @property
    def fit_until(self) -> pd.Timestamp:
        """The last bar that is fitted on."""
        return self.market.index[int(FIT_SHARE * self.market.n_bars)]

    def ask_strategy(self, strategy: Strategy) -> None:
        """Probe a strategy: its answers, its scan, its fit and its fills."""
        refit = _Refit(strategy, self.market.until(self.fit_until))
        fitted = self._first(lambda _: refit.after(None))
        self._search_all(lambda market: strategy_answers(deepcopy(fitted), market))
        if isinstance(strategy, SteppedStrategy) and not self.is_random:
            self._search(
                lambda market: intent_answers(deepcopy(fitted), market),
                cuts=max(1, self.cuts // CUTS_A_SCAN),
            )
        if refit.is_needed:
            self._compare_fits(lambda liar: strategy_answers(refit.after(liar), self.market))
        if not self.findings:
            self._toss(
                lambda market: run(deepcopy(fitted), market, realism=_GROSS).returns,
                worlds=FEW_WORLDS,
            )

    def ask_function(self, function: Function) -> Labels | None:
        """Probe a function of the market: its answers, its pipeline's fit, its profit.

        Labels are not probed but handed back.
        """
        returned = self._first(function)
        if isinstance(returned, Labels):
            return returned

        def question(market: Market) -> Answers:
            return read_answers(function(market), self.name, fit_until=self.fit_until)

        base = self._search_all(question)
        if isinstance(returned, Pipeline):
            self._compare_fits(
                lambda liar: relearn(
                    returned, None if liar is None else function(liar), until=self.fit_until
                )
            )
        if "returns" in base and not self.findings:
            self._toss(lambda market: _sum_of(question(market)["returns"].values), worlds=WORLDS)
        return None

    def _first(self, question: Callable[[Market], Any]) -> Any:
        answer = _try(question, guarded(self.market))
        if isinstance(answer, WorkbenchError):
            raise answer
        if isinstance(answer, Exception):
            raise ModelError(
                f"{self.name} cannot answer on the market as it is: {_words(answer)}.",
                "A probe can only begin where the subject works; run it by itself.",
            ) from answer
        return answer

    def _search_all(self, question: Question) -> Answers:
        base = self._search(question, cuts=self.cuts)
        is_whole = len(_holes(self.market.close)) < HOLES_SHARE * self.market.n_bars
        if not self.is_random and "close" in self.fields:
            rough = roughen(self.market, seed=self.seed)
            fields = fields_of(rough)
            if is_whole or len(fields) > len(self.fields):
                self._search_rough(question, rough, fields)
        return base

    def _search_rough(self, question: Question, rough: Market, fields: list[str]) -> None:
        # What fills gaps, and what reads a field that this market lacks, shows only here.
        twin = Inquiry(self.name, rough, {each: each for each in fields}, self.cuts, self.seed)
        try:
            twin._search(question, cuts=max(1, self.cuts // ROUGH_SHARE))
        except WorkbenchError as error:
            self.remarks.append(f"how it fills gaps was not probed: {error.what}")
            return
        known = {(finding.probe, finding.answer) for finding in self.findings}
        self.findings += [
            replace(each, sentence=f"with bars missing and every field there, {each.sentence}")
            for each in twin.findings
            if (each.probe, each.answer) not in known
        ]
        self.n_probes += twin.n_probes
        self.is_random |= twin.is_random
        failed = sum(len(errors) for errors in twin.errors.values())
        if failed:
            self.remarks.append(f"with bars missing it could not be judged in {failed} futures")

    def _search(self, question: Question, *, cuts: int) -> Answers:
        base: Answers = self._first(question)
        if changes(base, self._first(question)):
            self._note_random()
            return {}
        events = _events(base, self.market.index)
        if not len(events):
            self.remarks.append("its answers never change on this market: there is little to see")
        rows = cut_points(
            self.market.index, events=events, holes=_holes(self.market.close), cuts=cuts,
            seed=self.seed,
        )  # fmt: skip
        found: dict[tuple[Probe, str], Finding] = {}
        for turn, row in enumerate(rows):
            moment = self.market.index[row]
            for probe, kind in _pair(turn, self.market.n_bars - 1 - row):
                moved = self._moved(question, base, moment, probe, kind)
                new = {name: change for name, change in moved.items() if (probe, name) not in found}
                fields = self._carriers(question, base, moment, kind, new)
                for name, change in new.items():
                    found[probe, name] = name_change(
                        probe, name, change, fields.get(name, []), moment
                    )
            if {name for probe, name in found if probe == "poison"} >= set(base):
                break
        if found and changes(base, self._first(question)):
            self._note_random()
        else:
            self.findings += in_order(found)
        return base

    def _moved(
        self,
        question: Question,
        base: Answers,
        moment: pd.Timestamp,
        probe: Probe,
        kind: Poison | None,
        fields: Sequence[str] | None = None,
    ) -> dict[str, Change]:
        if kind is None:
            future = self.market.until(moment)
        else:
            # Frames that do not lie are the market's own.
            given = self.market if fields is None else guarded(self.market)
            lying = list(self.fields) if fields is None else fields
            future = poison(given, moment, kind=kind, seed=self.seed, fields=lying)
        answer = self._ask(probe, question, future)
        return {} if answer is None else changes(base, answer, moment)

    def _carriers(
        self,
        question: Question,
        base: Answers,
        moment: pd.Timestamp,
        kind: Poison | None,
        new: dict[str, Change],
    ) -> dict[str, list[str]]:
        carriers: dict[str, list[str]] = {}
        if kind is None or not new:
            return carriers
        for name, title in self.fields.items():
            for answer in self._moved(question, base, moment, "poison", kind, [name]):
                carriers.setdefault(answer, []).append(title)
        return carriers

    def _compare_fits(self, answer: Callable[[Market | None], Answers]) -> None:
        liar = poison(self.market, self.fit_until, kind="mirror", seed=self.seed)
        fresh = self._first(lambda _: answer(None))
        if changes(fresh, self._first(lambda _: answer(None))):
            self._note_random()
            return
        worn = self._ask("fit", lambda _: answer(liar), self.market)
        for name, change in ({} if worn is None else changes(fresh, worn)).items():
            words = (
                f"{name} of {change.column} at {describe_moment(change.known_at)} depends on what "
                "was fitted on before: a fit remembers data that come later"
            )
            self.findings.append(
                Finding("fit", name, "fit", change.column, change.known_at, change.size, words)
            )

    def _toss(self, earn: Callable[[Market], ArrayLike], *, worlds: int) -> None:
        if self.is_random:
            return
        means: list[float] = []
        for world in range(worlds):
            tossed = fair_coin(self.market, seed=self.seed + world)
            returns = self._ask("fill_timing", earn, tossed)
            if returns is not None:
                parts = np.array_split(np.nan_to_num(np.asarray(returns)), BLOCKS)
                means += [float(part.mean()) for part in parts]
        spread = float(np.std(means, ddof=1)) if len(means) > 1 else 0.0
        score = float(np.mean(means)) * sqrt(len(means)) / spread if spread > 0 else 0.0
        if score > TOO_LUCKY:
            words = (
                "it earns on bars tossed by a fair coin, "
                f"{score:.0f} standard errors above nothing: it trades at prices that were gone "
                "when it decided"
            )
            self.findings.append(
                Finding("fill_timing", "returns", "fill", "", self.market.index[0], score, words)
            )

    def _ask(self, probe: Probe, question: Callable[[Market], Any], market: Market) -> Any:
        self.tried[probe] = self.tried.get(probe, 0) + 1
        answer = _try(question, market)
        if isinstance(answer, Exception):
            self.errors.setdefault(probe, []).append(_words(answer))
            return None
        self.n_probes += 1
        return answer

    def _note_random(self) -> None:
        self.is_random = True
        self.remarks.append("two runs on the same market differ: seed what is random in it")


@dataclass(frozen=True, slots=True)
class _Refit:
    strategy: Strategy
    train: Market

    @property
    def is_needed(self) -> bool:
        return self.strategy.learns

    def after(self, earlier: Market | None) -> Strategy:
        strategy = deepcopy(self.strategy)
        if not self.is_needed:
            return strategy
        if earlier is not None:
            strategy = strategy.fit(earlier)
        return strategy.fit(self.train)


def _try(question: Callable[[Market], Any], market: Market) -> Any:
    try:
        return ask(question, market)
    except Exception as error:
        return error


def _words(error: Exception) -> str:
    return f"{type(error).__name__}: {' '.join(str(error).split())[:160]}"


def _pair(turn: int, n_future: int) -> list[tuple[Probe, Poison | None]]:
    # In another order one or two bars are what they were.
    plausible = PLAUSIBLE[turn % len(PLAUSIBLE)] if n_future > 2 else "mirror"
    extreme = EXTREME[turn % len(EXTREME)]
    return [("truncate", None), ("poison", extreme), ("poison", plausible)]


def _events(answers: Answers, index: pd.DatetimeIndex) -> NDArray[np.int64]:
    stamps = index.as_unit("us").asi8
    rows = [np.empty(0, dtype=np.int64)]
    for answer in answers.values():
        one, other = answer.values[:-1], answer.values[1:]
        is_moved = (one != other) & ~(np.isnan(one) & np.isnan(other))
        at = answer.known[1:][is_moved.any(axis=1)]
        rows.append(np.searchsorted(stamps, at))
    found = np.unique(np.concatenate(rows))
    return found[found < len(index)]


def _holes(close: pd.DataFrame) -> NDArray[np.int64]:
    is_hole = close.isna() & close.ffill().notna() & close.bfill().notna()
    return np.flatnonzero(is_hole.any(axis=1))


def _sum_of(values: NDArray[np.float64]) -> NDArray[np.float64]:
    return np.asarray(np.nan_to_num(values).sum(axis=1))
