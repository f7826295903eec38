"""What a probed function of a market may return: frames, a pipeline with its data, or labels."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from copy import deepcopy
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import pandas as pd

from workbench.core.errors import ModelError
from workbench.core.records import Market
from workbench.validation.answers import Answers, table_of
from workbench.validation.splits import Split


@dataclass(frozen=True, slots=True)
class Pipeline:
    """A model in the way of scikit-learn, with what it is given.

    Attributes
    ----------
    model : object
        With ``fit`` and any of ``predict_proba``, ``predict`` and ``transform``.
    features : DataFrame of shape (n_rows, n_features)
        Indexed by ``known_at``.
    labels : Series of shape (n_rows,), optional
        On the same index.
    ends : Series of shape (n_rows,), optional
        When each label is known; by default at its own row.
    """

    model: Any
    features: pd.DataFrame
    labels: pd.Series | None = None
    ends: pd.Series | None = None


class Labels(NamedTuple):
    """Labelled observations and the splits that a model is judged on.

    Observation i is known at ``starts[i]``, its label at ``ends[i]``; a split is a pair of the rows
    to learn from and the rows to judge on.
    """

    starts: pd.DatetimeIndex
    ends: pd.DatetimeIndex
    splits: Iterable[Split | tuple[Any, Any]]


Returned = pd.DataFrame | pd.Series | Pipeline | Labels | Mapping[str, pd.DataFrame | pd.Series]
Function = Callable[[Market], Returned]


def read_answers(returned: Any, name: str, *, fit_until: pd.Timestamp) -> Answers:
    """Return the answers in what a function returned.

    Raises
    ------
    ModelError
        If it is no frame, series, mapping of these, or ``Pipeline``, or not indexed by time.
    """
    if isinstance(returned, Pipeline):
        return _learned(returned, fit_until)
    if isinstance(returned, Mapping) and returned:
        return {str(key): table_of(value, str(key)) for key, value in returned.items()}
    return {name: table_of(returned, name)}


def _learned(pipeline: Pipeline, fit_until: pd.Timestamp) -> Answers:
    features, labels = pipeline.features, pipeline.labels
    answers = {"features": table_of(features, "features")}
    if labels is not None:
        answers["labels"] = table_of(labels, "labels", _ends(pipeline))
    if len(features) and features.index[-1] > fit_until:
        answers |= _predictions(_fit(pipeline, fit_until), features, fit_until)
    return answers


def relearn(pipeline: Pipeline, earlier: Any, *, until: pd.Timestamp) -> Answers:
    """Return what a pipeline's model predicts after it was fitted on another one's data before."""
    model = None if earlier is None else _fit(earlier, None)
    return _predictions(_fit(pipeline, until, again=model), pipeline.features, until)


def _ends(pipeline: Pipeline) -> pd.DatetimeIndex:
    return pd.DatetimeIndex(pipeline.features.index if pipeline.ends is None else pipeline.ends)


def _fit(pipeline: Pipeline, until: pd.Timestamp | None, *, again: Any = None) -> Any:
    model = deepcopy(pipeline.model) if again is None else again
    features, labels = pipeline.features, pipeline.labels
    rows = np.ones(len(features), dtype=bool)
    if until is not None:
        rows = np.asarray((_ends(pipeline) <= until) & (features.index <= until))
    if labels is None:
        model.fit(features[rows])
        return model
    # A label that is missing, or known only later, cannot be learnt from.
    rows &= labels.notna().to_numpy()
    model.fit(features[rows], labels[rows])
    return model


def _predictions(model: Any, features: pd.DataFrame, after: pd.Timestamp) -> Answers:
    has = [name for name in ("predict_proba", "predict", "transform") if hasattr(model, name)]
    if not has:
        raise ModelError(
            f"{type(model).__name__} has neither predict nor transform.",
            "Give a model in the way of scikit-learn.",
        )
    asked = features[features.index > after]
    answers = {}
    # What is transformed on the way to a prediction shows in the prediction.
    for name in [each for each in has if each != "transform"] or has:
        table = np.asarray(getattr(model, name)(asked)).reshape(len(asked), -1)
        answers[name] = table_of(pd.DataFrame(table, index=asked.index), name)
    return answers
