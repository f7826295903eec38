"""What a search may try: ranges and choices of a strategy's parameters."""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from math import floor, isfinite, prod
from typing import TYPE_CHECKING, Any, Final, Literal, get_args, get_origin

from workbench.core.errors import ModelError
from workbench.strategies.base import Strategy

if TYPE_CHECKING:
    from optuna.distributions import BaseDistribution
    from optuna.samplers import BaseSampler
    from optuna.study import Study
    from optuna.trial import FrozenTrial, Trial
    from pydantic.fields import FieldInfo

Method = Literal["tpe", "grid", "random", "genetic"]
Space = Mapping[str, Sequence[Any]] | Sequence[str]
"""Of each parameter a range ``(low, high)`` or ``(low, high, step)`` or a list of values; or only
the names of parameters whose own bounds are the range."""

GRID_LIMIT: Final = 100_000
POPULATION: Final = 20
"""Trials in a generation; fixed, so that a study can go on with more trials than it began with."""
OPEN_END: Final = 1e-3
"""How far inside a bound that is itself not allowed a range ends, as a share of the range."""
_PLAIN: Final = (bool, int, float, str, type(None))


def read_space(
    strategy: Strategy, space: Space | None, *, method: Method
) -> dict[str, BaseDistribution]:
    """Return what may be tried of each parameter.

    Parameters
    ----------
    strategy : Strategy
    space : mapping or sequence of str, optional
        By default every number and flag among the strategy's own parameters, within its bounds.
    method : {"tpe", "grid", "random", "genetic"}
        A grid needs every range to have steps.

    Raises
    ------
    ModelError
        If a parameter is unknown or has no bounds, a range is empty, or a value cannot be kept.
    """
    fields = type(strategy).model_fields
    given = _own_names(strategy) if space is None else space
    unknown = [name for name in given if name not in fields]
    if unknown:
        raise ModelError(
            f"{type(strategy).__name__} has no parameter {', '.join(unknown)}.",
            f"It has {', '.join(fields)}.",
        )
    if not given:
        raise ModelError(
            f"{type(strategy).__name__} has no parameter to search.",
            "Name some: space={'fast': (5, 50), 'slow': [100, 200]}.",
        )
    ranges = given if isinstance(given, Mapping) else {n: _bounds(n, fields[n]) for n in given}
    found = {name: _distribution(strategy, name, given) for name, given in ranges.items()}
    return (
        {name: _listed(name, each) for name, each in found.items()} if method == "grid" else found
    )


def grid_size(distributions: Mapping[str, BaseDistribution]) -> int:
    """Return how many combinations a grid has.

    Raises
    ------
    ModelError
        If there are too many to list.
    """
    size = prod(len(_choices(each)) for each in distributions.values())
    if size > GRID_LIMIT:
        raise ModelError(
            f"The grid has {size:,} combinations.",
            f"Take longer steps: it may have {GRID_LIMIT:,}. Or search it: method='tpe'.",
        )
    return size


def make_sampler(
    method: Method, distributions: Mapping[str, BaseDistribution], *, seed: int
) -> BaseSampler:
    """Return Optuna's sampler of a method."""
    from optuna import samplers
    from optuna.exceptions import ExperimentalWarning

    if method == "tpe":
        return samplers.TPESampler(seed=seed)
    if method == "random":
        return samplers.RandomSampler(seed=seed)
    if method == "grid":
        values = {name: _choices(each) for name, each in distributions.items()}
        return samplers.GridSampler(values, seed=seed)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ExperimentalWarning)
        return samplers.NSGAIISampler(
            population_size=POPULATION, seed=seed, elite_population_selection_strategy=_fittest
        )


def suggest(trial: Trial, name: str, each: BaseDistribution) -> Any:
    """Return what a trial is to try of a parameter."""
    from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution

    if isinstance(each, CategoricalDistribution):
        return trial.suggest_categorical(name, each.choices)
    if isinstance(each, IntDistribution):
        return trial.suggest_int(name, each.low, each.high, step=each.step)
    assert isinstance(each, FloatDistribution)  # noqa: S101 - read_space makes no other
    return trial.suggest_float(name, each.low, each.high, step=each.step)


def _fittest(_: Study, population: list[FrozenTrial]) -> list[FrozenTrial]:
    # In the order of their numbers: the library's own order changes when a study is taken up again.
    ranked = sorted(population, key=lambda trial: trial.value or 0.0, reverse=True)
    return sorted(ranked[:POPULATION], key=lambda trial: trial.number)


def _own_names(strategy: Strategy) -> list[str]:
    own = [name for name in type(strategy).model_fields if name not in Strategy.model_fields]
    return [
        name
        for name in own
        if isinstance(getattr(strategy, name), int | float)
        or get_origin(type(strategy).model_fields[name].annotation) is Literal
    ]


def _bounds(name: str, field: FieldInfo) -> Sequence[Any]:
    if field.annotation is bool:
        return [False, True]
    if get_origin(field.annotation) is Literal:
        return list(get_args(field.annotation))
    limits = {
        key: float(getattr(limit, key))
        for limit in field.metadata
        for key in ("ge", "gt", "le", "lt")
        if getattr(limit, key, None) is not None
    }
    low, high = limits.get("ge", limits.get("gt")), limits.get("le", limits.get("lt"))
    if low is None or high is None or not (isfinite(low) and isfinite(high)):
        raise ModelError(
            f"The parameter {name} has no bounds on both sides.",
            f"Give its range, space={{{name!r}: (low, high)}}, or bounds: Field(ge=..., le=...).",
        )
    extra = field.json_schema_extra if isinstance(field.json_schema_extra, dict) else {}
    step: Any = extra.get("step")
    if field.annotation is int:
        return (floor(low) + 1 if "gt" in limits else low, high - 1 if "lt" in limits else high)
    inside = step or (high - low) * OPEN_END
    low, high = low + inside * ("gt" in limits), high - inside * ("lt" in limits)
    return (low, high, step) if step else (low, high)


def _distribution(strategy: Strategy, name: str, given: Sequence[Any]) -> BaseDistribution:
    from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution

    if not isinstance(given, tuple):
        values = [getattr(value, "item", lambda v=value: v)() for value in given]
        if not values or not all(isinstance(value, _PLAIN) for value in values):
            raise ModelError(
                f"The choices of {name}, {list(given)!r:.80}, cannot be tried.",
                "List numbers, words or flags, one at least.",
            )
        return CategoricalDistribution(values)
    if len(given) not in (2, 3) or not all(isinstance(x, int | float) for x in given):
        raise ModelError(
            f"The range of {name}, {given!r:.80}, cannot be read.",
            "Write (low, high) or (low, high, step), or a list of values in brackets.",
        )
    is_whole = type(getattr(strategy, name)) is int
    low, high = given[0], given[1]
    step = given[2] if len(given) == 3 else (1 if is_whole else None)
    is_bad = is_whole and any(float(x) != int(x) for x in given)
    if is_bad or not low < high or (step is not None and not 0 < step <= high - low):
        raise ModelError(
            f"The range of {name}, {given!r:.80}, holds nothing to search.",
            "Write low below high and a step that fits between them"
            + (", in whole numbers." if is_whole else "."),
        )
    if step is not None:
        # The library warns where the steps do not end on the upper bound.
        high = round(low + floor((high - low) / step + 1e-9) * step, 12)
    if is_whole:
        return IntDistribution(int(low), int(high), step=int(step or 1))
    return FloatDistribution(float(low), float(high), step=step)


def _listed(name: str, each: BaseDistribution) -> BaseDistribution:
    from optuna.distributions import CategoricalDistribution

    if isinstance(each, CategoricalDistribution):
        return each
    low, high, step = (getattr(each, key) for key in ("low", "high", "step"))
    if step is None:
        raise ModelError(
            f"A grid needs the steps of {name}.",
            f"Write ({low:g}, {high:g}, step), or list its values.",
        )
    count = round((high - low) / step) + 1
    if count > GRID_LIMIT:
        raise ModelError(f"{name} has {count:,} values.", "Take longer steps.")
    return CategoricalDistribution([type(low)(round(low + k * step, 12)) for k in range(count)])


def _choices(each: BaseDistribution) -> Sequence[Any]:
    choices: Sequence[Any] = getattr(each, "choices")  # noqa: B009 - of a categorical one
    return choices
