"""GARCH: the variance of the bars to come from that of the bars gone by, fitted by ``arch``.

Only research and the worker import this module. Returns are fractions and are scaled by 100 for
the fit: parameters and log-likelihoods are those of per cent returns, variances those of fractions.

References
----------
.. [1] Fiorentini, Calzolari and Panattoni (1996), "Analytic derivatives and the computation of
   GARCH estimates", Journal of Applied Econometrics 11(4), 399-417.
"""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from dataclasses import replace
from typing import Any, Final, Literal

import numpy as np
from arch.univariate import EGARCH, GARCH, ConstantMean, Normal, StudentsT
from numpy.typing import NDArray
from scipy.optimize import OptimizeResult

from workbench.risk.forecast import INTEGRATED, PER_CENT, Errors, VolatilityFit, persistence
from workbench.risk.tails import sample
from workbench.risk.volatility import DECAY, ewma

Floats = NDArray[np.float64]
Model = Literal["garch", "gjr", "egarch"]
Presample = Literal["smoothed", "residuals"]

LEAST_BARS: Final = 100
"""Fewer bars than this do not tell the parameters of a GARCH apart."""

SMOOTHED: Final = 75
"""Bars that the variance before the first bar is taken from, by ``arch`` and here."""

_NAMES: Final[Mapping[str, tuple[str, ...]]] = {
    "garch": ("omega", "alpha", "beta"),
    "gjr": ("omega", "alpha", "gamma", "beta"),
    "egarch": ("omega", "alpha", "gamma", "beta"),
}


def fit_garch(
    returns: NDArray[np.floating],
    *,
    model: Model = "garch",
    errors: Errors = "student",
    start: VolatilityFit | None = None,
    presample: Presample = "smoothed",
) -> VolatilityFit:
    """Fit a model with a constant mean by maximum likelihood.

    Parameters
    ----------
    returns : ndarray of shape (n_bars,)
        As fractions, oldest first, 100 bars or more.
    model : {"garch", "gjr", "egarch"}
    errors : {"student", "normal"}
        Student errors have unit variance.
    start : VolatilityFit, optional
        An earlier fit of the same model, whose parameters are the first to start from.
    presample : {"smoothed", "residuals"}
        Variance before the first bar: an exponentially weighted mean of the first 75 squared
        residuals, as in ``arch``, or the mean of all of them, as in most published benchmarks [1]_.

    Returns
    -------
    VolatilityFit
        Where the optimiser does not converge, from any start, or ends where a parameter is not
        finite, the EWMA with RiskMetrics' decay answers instead; ``is_fallback`` and ``note`` say
        so.

    Raises
    ------
    DataError
        If a return is missing, all are equal, or there are fewer than 100.
    """
    x = sample(returns, least=LEAST_BARS, moving=True)
    names = ("mu", *_NAMES[model], *(("nu",) if errors == "student" else ()))
    starts: list[Floats | None] = [None]
    if start is not None and set(start.parameters) == set(names):
        starts = [np.array([start.parameters[name] for name in names]), None]
    problem = ""
    for begin in starts:
        result = _optimise(x, model, errors, begin, presample)
        parameters = dict(zip(names, result.x.tolist(), strict=True))
        problem = _problem(result, model, parameters)
        if not problem:
            break
    else:
        parameters = {"mu": PER_CENT * float(x.mean()), "decay": DECAY}
    answers = "ewma" if problem else model
    fit = apply_garch(x, parameters=parameters, model=answers, errors=errors, presample=presample)
    note = f"EWMA stands in: {problem}" if problem else fit.note
    return replace(fit, asked=model, note=note)


def apply_garch(
    returns: NDArray[np.floating],
    *,
    parameters: Mapping[str, float],
    model: str = "garch",
    errors: Errors = "student",
    presample: Presample = "smoothed",
) -> VolatilityFit:
    """Run a model through returns at given parameters: to filter new bars between refits.

    ``model`` and ``parameters`` are those of a ``VolatilityFit``, ``ewma`` included; the rest is as
    for ``fit_garch``. From the 75th bar on no row depends on a later one.
    """
    x = sample(returns, least=2) - parameters["mu"] / PER_CENT
    if model == "ewma":
        squares = x**2
        first = squares[:SMOOTHED].mean() if presample == "smoothed" else squares.mean()
        variance = ewma(squares, decay=parameters["decay"], start=first)
        likelihood, note = float("nan"), ""
    else:
        variance, likelihood = _run(PER_CENT * x, parameters, model, errors, presample)
        reverts = persistence(model, parameters) < INTEGRATED
        note = "" if reverts else "the variance is integrated: forecasts do not revert"
    return VolatilityFit(
        asked=model,
        model=model,
        note=note,
        errors=errors,
        parameters=dict(parameters),
        variance=variance,
        residuals=x / np.sqrt(variance[:-1]),
        loglikelihood=likelihood,
    )


def _optimise(
    x: Floats, model: Model, errors: Errors, start: Floats | None, presample: Presample
) -> OptimizeResult:
    arch_model = ConstantMean(
        PER_CENT * x,
        volatility=_process(model, presample),
        distribution=_distribution(errors),
        rescale=False,
    )
    with warnings.catch_warnings():
        # arch warns of starts outside its bounds, of scales and of steps; what counts is the
        # result, which is checked.
        warnings.simplefilter("ignore")
        fitted = arch_model.fit(
            update_freq=0, disp="off", starting_values=start, show_warning=False
        )
    return fitted.optimization_result


def _problem(result: OptimizeResult, model: Model, parameters: Mapping[str, float]) -> str:
    if result.status != 0:
        return f"{model} did not converge: {result.message}"
    if not (np.isfinite(result.x).all() and np.isfinite(result.fun)):
        return f"{model} ended at parameters that are not finite"
    if persistence(model, parameters) > 1.0 + 1e-8:
        return f"{model} ended with a variance that explodes"
    return ""


def _run(
    x: Floats, parameters: Mapping[str, float], model: str, errors: Errors, presample: Presample
) -> tuple[Floats, float]:
    process = _process(model)
    if presample == "smoothed":
        first = process.backcast(x)
    else:
        first = process.backcast_transform(float(np.mean(x**2)))
    # One residual more: the variance of the bar to come does not depend on its own.
    extended = np.append(x, 0.0)
    variance = np.empty(len(extended))
    values = np.array([parameters[name] for name in _NAMES[model]])
    process.compute_variance(values, extended, variance, first, process.variance_bounds(extended))
    shape = np.array([parameters["nu"]] if errors == "student" else [])
    likelihood = _distribution(errors).loglikelihood(shape, x, variance[:-1])
    return variance / PER_CENT**2, float(likelihood)


class _FromResiduals:
    # The variance before the first bar moves with the mean that is being fitted.
    def compute_variance(
        self, parameters: Floats, resids: Floats, sigma2: Floats, _: float, var_bounds: Floats
    ) -> Floats:
        first = self.backcast_transform(float(resids @ resids) / len(resids))  # type: ignore[attr-defined]
        return super().compute_variance(parameters, resids, sigma2, first, var_bounds)  # type: ignore[misc,no-any-return]


class _GarchFromResiduals(_FromResiduals, GARCH):  # type: ignore[misc]
    pass


class _EgarchFromResiduals(_FromResiduals, EGARCH):  # type: ignore[misc]
    pass


def _process(model: str, presample: Presample = "smoothed") -> Any:
    is_plain = presample == "smoothed"
    if model == "egarch":
        return (EGARCH if is_plain else _EgarchFromResiduals)(p=1, o=1, q=1)
    return (GARCH if is_plain else _GarchFromResiduals)(p=1, o=int(model == "gjr"), q=1)


def _distribution(errors: Errors) -> Any:
    return StudentsT() if errors == "student" else Normal()
