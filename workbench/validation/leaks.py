"""Leak probes: change the future of a market, and see whether an answer of the past moves.

Strategies, feature sets, research functions and pipelines are asked on the market as it is, on the
market cut off at a moment, and on markets that lie after it. Whatever was known by that moment must
come out the same.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, Final, cast

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike

from workbench.core.errors import DataError
from workbench.core.records import Market
from workbench.strategies.base import Strategy
from workbench.validation.finding import Finding
from workbench.validation.futures import fields_of
from workbench.validation.inquiry import Inquiry
from workbench.validation.pipeline import Function, Labels, Pipeline
from workbench.validation.splits import Split

__all__ = ["Finding", "Labels", "LeakReport", "Pipeline", "label_overlap", "probe_leaks"]

MIN_BARS: Final = 50
JUDGED_SHARE: Final = 0.5
"""A probe that the subject's own errors stop more often than this has seen too little."""


@dataclass(frozen=True, slots=True)
class LeakReport:
    """What the probes found.

    Attributes
    ----------
    subject : str
    findings : tuple of Finding
    n_probes : int
        How many changes of the future were judged.
    is_judged : bool
        False where nothing can be said: the subject is random, or its own errors stopped a probe.
    notes : tuple of str
        What could not be asked, and why.
    """

    subject: str
    findings: tuple[Finding, ...]
    n_probes: int
    is_judged: bool = True
    notes: tuple[str, ...] = ()

    @property
    def is_clean(self) -> bool:
        """Whether the subject was judged and nothing of the past moved."""
        return self.is_judged and not self.findings

    @property
    def leak(self) -> str:
        """The sentence of the first finding; empty where there is none."""
        return self.findings[0].sentence if self.findings else ""

    @property
    def measures(self) -> dict[str, float | str]:
        """What a gate reads: ``leaks`` is NaN, unknown, where nothing was found nor judged."""
        is_known = self.is_judged or bool(self.findings)
        leaks = float(len(self.findings)) if is_known else float("nan")
        return {"leaks": leaks, "probes": float(self.n_probes), "leak": self.leak}

    @property
    def table(self) -> pd.DataFrame:
        """A row for each finding."""
        columns = list(Finding.__dataclass_fields__)
        rows = [[getattr(finding, name) for name in columns] for finding in self.findings]
        return pd.DataFrame(rows, columns=columns)


def probe_leaks(
    subject: Strategy | Function | Pipeline,
    market: Market | None = None,
    *,
    name: str = "",
    cuts: int = 24,
    seed: int = 0,
) -> LeakReport:
    """Probe anything that answers about a market for the future in its answers.

    Parameters
    ----------
    subject : Strategy, callable or Pipeline
        A callable takes a market and returns a frame or series indexed by ``known_at``, a mapping
        of these, a ``Pipeline`` or ``Labels``. An answer named ``returns`` is read as the profit
        made in each bar.
    market : Market, optional
        Longer than the lookback; none for a ``Pipeline``, whose features are changed themselves.
    name : str, optional
        Of the subject, in the report.
    cuts : int, default=24
        Moments after which the future is changed: at each it is cut off once and poisoned twice.
    seed : int, default=0

    Returns
    -------
    LeakReport

    Raises
    ------
    DataError
        If the market is missing or too short.
    ModelError
        If the subject cannot answer on the market as it is, or answers in another form.

    Notes
    -----
    What an answer at t may read is what was known at t. *Truncate*: on ``market.until(t)`` no row
    up to t differs. *Poison*: nor does it where everything after t is a lie; each field then lies
    alone, to name the one that is read. *Fit*: a strategy or model is fitted on the first half and
    asked about all of it; one that was fitted on other data before must answer the same. *Fill
    timing*: on bars tossed by a fair coin no position taken before a bar can earn in it. A subject
    that answers twice differently is random, and is not judged.
    """
    if isinstance(subject, Pipeline):
        market, function = _as_market(subject)
        fields = {"funding_predicted": "features"}
        name = name or type(subject.model).__name__
        subject = function
    elif market is None:
        raise DataError("There is no market to probe on.", "Give the market that it reads.")
    else:
        fields = {each: each for each in fields_of(market)}
    lookback = subject.lookback if isinstance(subject, Strategy) else 1
    if market.n_bars < lookback + MIN_BARS or cuts < 1:
        raise DataError(
            f"{market.n_bars} bars and {cuts} cuts cannot probe a lookback of {lookback} bars.",
            f"Take {lookback + MIN_BARS} bars at least, and one cut.",
        )
    name = name or getattr(subject, "__name__", type(subject).__name__)
    inquiry = Inquiry(name, market, fields, cuts, seed)
    if isinstance(subject, Strategy):
        inquiry.ask_strategy(subject)
        return _report(inquiry)
    labels = inquiry.ask_function(subject)
    return _report(inquiry) if labels is None else label_overlap(*labels, name=name)


def label_overlap(
    starts: ArrayLike | pd.DatetimeIndex,
    ends: ArrayLike | pd.DatetimeIndex,
    splits: Iterable[Split | tuple[Any, Any]],
    *,
    name: str = "splits",
) -> LeakReport:
    """Report training observations whose labels reach into the span that a split judges on.

    Parameters
    ----------
    starts, ends : array-like of shape (n,)
        When each observation is known, and when its label is.
    splits : iterable of Split, or of pairs of rows to learn from and rows to judge on
    name : str, default="splits"

    Returns
    -------
    LeakReport
        A finding for each split that overlaps; its ``size`` is the number of observations.

    Raises
    ------
    DataError
        If starts and ends differ in number, or there is no split.

    Notes
    -----
    Test rows that are not neighbours make several spans, each from its first start to its last
    label end; a training observation overlaps one if their intervals share more than an end [1]_.
    A label that is known just when the test starts could be learnt from.

    References
    ----------
    .. [1] Lopez de Prado (2018), "Advances in Financial Machine Learning", Wiley, section 7.4.1.
    """
    first: pd.Index[Any] = pd.Index(cast("Any", starts))
    last: pd.Index[Any] = pd.Index(cast("Any", ends))
    pairs = list(splits)
    if len(first) != len(last) or not pairs:
        raise DataError(
            f"{len(first)} starts, {len(last)} ends and {len(pairs)} splits cannot be checked.",
            "Give one label end for each observation, and at least one split.",
        )
    findings = []
    for number, split in enumerate(pairs, start=1):
        train, test = (split.train, split.test) if isinstance(split, Split) else split
        rows = np.sort(np.asarray(test, dtype=np.int64))
        learnt = np.setdiff1d(np.asarray(train, dtype=np.int64), rows)
        is_over = np.zeros(len(learnt), dtype=bool)
        for span in np.split(rows, np.flatnonzero(np.diff(rows) > 1) + 1):
            begin, end = first[span].min(), last[span].max()
            is_over |= np.asarray((first[learnt] < end) & (last[learnt] > begin))
        if is_over.any():
            at: Any = first[learnt[is_over]].min()
            words = (
                f"split {number} learns from {int(is_over.sum())} observations whose labels reach "
                f"into its test, the first of them known at {at}"
            )
            findings.append(
                Finding("label_overlap", f"split {number}", "labels", "", at,
                        float(is_over.sum()), words)
            )  # fmt: skip
    return LeakReport(name, tuple(findings), len(pairs))


def _as_market(pipeline: Pipeline) -> tuple[Market, Function]:
    # Features have any sign and size, as funding rates do: in their place poisons fit them.
    market = Market.from_frames(
        {"close": pipeline.features, "funding_predicted": pipeline.features}, interval="60"
    )

    def rebuild(seen: Market) -> Pipeline:
        rows = slice(seen.n_bars)
        labels = None if pipeline.labels is None else pipeline.labels.iloc[rows]
        ends = None if pipeline.ends is None else pipeline.ends.iloc[rows]
        return Pipeline(pipeline.model, seen.funding_predicted, labels, ends)

    return market, rebuild


def _report(inquiry: Inquiry) -> LeakReport:
    failed = {probe: len(errors) / inquiry.tried[probe] for probe, errors in inquiry.errors.items()}
    is_blind = any(failed.get(probe, 0.0) > JUDGED_SHARE for probe in ("truncate", "poison"))
    notes = [
        f"{probe}: {len(errors)} of {inquiry.tried[probe]} could not be judged, first {errors[0]}"
        for probe, errors in inquiry.errors.items()
    ]
    return LeakReport(
        inquiry.name, tuple(inquiry.findings), inquiry.n_probes,
        not (inquiry.is_random or is_blind), (*inquiry.remarks, *notes),
    )  # fmt: skip
