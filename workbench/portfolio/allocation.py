"""Allocation: nine ways to divide capital among symbols, as one table over skfolio.

Only research and the worker import this module. A method that finds no weights, or weights that
break a constraint, is an error; equal weights or yesterday's never stand in.

References
----------
.. [1] Markowitz (1952), "Portfolio selection", Journal of Finance 7(1), 77-91.
.. [2] Maillard, Roncalli and Teiletche (2010), "The properties of equally weighted risk
   contribution portfolios", Journal of Portfolio Management 36(4), 60-70.
.. [3] Choueifaty and Coignard (2008), "Toward maximum diversification", Journal of Portfolio
   Management 35(1), 40-51.
.. [4] Christoffersen, Errunza, Jacobs and Jin (2010), "Is the potential for international
   diversification disappearing?", SSRN 1573345: the least variance of standardised returns.
.. [5] Lopez de Prado (2016), "Building diversified portfolios that outperform out of sample",
   Journal of Portfolio Management 42(4), 59-69: single linkage of the distance of distances.
.. [6] Black and Litterman (1992), "Global portfolio optimization", Financial Analysts Journal
   48(5), 28-43.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from math import inf, sqrt
from typing import Any, Final, NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy.spatial.distance import pdist, squareform
from skfolio.cluster import HierarchicalClustering, LinkageMethod
from skfolio.distance import CovarianceDistance
from skfolio.exceptions import SkfolioError
from skfolio.optimization import (
    HierarchicalRiskParity,
    MaximumDiversification,
    MeanRisk,
    ObjectiveFunction,
    RiskBudgeting,
)
from skfolio.prior import BasePrior, BlackLitterman, ReturnDistribution
from skfolio.seriation import HierarchicalSeriation

from workbench.core.errors import ConfigError, DataError, ModelError
from workbench.risk.dependence import to_correlation
from workbench.risk.regime import Regime
from workbench.risk.shrinkage import shrink_covariance
from workbench.risk.sizing import risk_shares

Floats = NDArray[np.float64]

SLACK: Final = 1e-6
"""How far a solver may miss a constraint."""

CALM_SHARE: Final = {
    Regime.LOW: 1.0,
    Regime.NORMAL: 1.0,
    Regime.HIGH: 0.5,
    Regime.CRISIS: 0.0,
    Regime.UNKNOWN: 0.5,
}
"""What ``regime_aware`` leaves to risk parity; the rest is the least variance. How much is held in
all is for risk to say (``risk.sizing.regime_multiplier``), not for the allocation."""


class Moments(NamedTuple):
    """Expected return and covariance of each symbol a bar, as fractions."""

    mean: pd.Series
    covariance: pd.DataFrame


def estimate_moments(
    returns: pd.DataFrame, *, estimator: str = "ledoit_wolf", mean: pd.Series | None = None
) -> Moments:
    """Return the moments of the bars that all symbols have.

    Parameters
    ----------
    returns : DataFrame of shape (n_bars, n_symbols)
        Simple returns; the caller ends them at the decision. Bars that a symbol lacks are left out.
    estimator : str
        Of the covariance, a name of ``risk.shrinkage.ESTIMATORS``.
    mean : Series of shape (n_symbols,), optional
        Expected return a bar, of a model; the mean of the bars otherwise, which is mostly noise.

    Raises
    ------
    DataError
        If there is one symbol, a return is infinite, fewer than 30 bars are common, a price stands
        still, or the mean is not one number for each symbol.
    """
    if returns.shape[1] < 2 or np.isinf(returns.to_numpy()).any():
        raise DataError(
            f"The returns are of {returns.shape[1]} symbols, or not all finite.",
            "Give two symbols or more, NaN where a bar is missing.",
        )
    covariance = shrink_covariance(returns, estimator=estimator)
    expected = returns.dropna().mean() if mean is None else mean.reindex(returns.columns)
    if not np.isfinite(expected).all():
        raise DataError(
            f"There is no expected return of {', '.join(expected.index[~np.isfinite(expected)])}.",
            "Give one for each symbol.",
        )
    return Moments(expected, covariance)


@dataclass(frozen=True, slots=True)
class Constraints:
    """What weights must keep to.

    Attributes
    ----------
    min_weight, max_weight : float, or mapping of symbol to float
        A symbol that a mapping leaves out is bounded by 0 and ``budget``. Below zero is short.
    budget : float
        Sum of the weights.
    max_gross : float
        Sum of their absolute values.
    groups : mapping of symbol to group
    group_limits : mapping of group to (lowest, highest)
        Of the sum of its weights.
    """

    min_weight: float | Mapping[str, float] = 0.0
    max_weight: float | Mapping[str, float] = 1.0
    budget: float = 1.0
    max_gross: float = inf
    groups: Mapping[str, str] = field(default_factory=dict)
    group_limits: Mapping[str, tuple[float, float]] = field(default_factory=dict)

    def bounds(self, symbols: pd.Index) -> tuple[Floats, Floats]:
        """Return the lowest and the highest weight of each symbol."""
        low = pd.Series(self.min_weight, symbols, dtype=np.float64).fillna(0.0)
        high = pd.Series(self.max_weight, symbols, dtype=np.float64).fillna(self.budget)
        return low.to_numpy(), high.to_numpy()

    def rows(self, symbols: pd.Index) -> list[tuple[str, Floats, float]]:
        """Return the groups' limits, each as a name, a row and a bound: ``row @ w <= bound``."""
        answer = []
        for group, (low, high) in self.group_limits.items():
            is_in = np.array([float(self.groups.get(str(symbol)) == group) for symbol in symbols])
            answer += [(f"group {group}", is_in, high), (f"group {group}", -is_in, -low)]
        return [row for row in answer if np.isfinite(row[2])]

    def violations(self, weights: pd.Series) -> list[str]:
        """Return what a set of weights breaks, in words."""
        w, (low, high) = weights.to_numpy(), self.bounds(weights.index)
        excess = {
            str(s): x for s, x in zip(weights.index, np.maximum(low - w, w - high), strict=True)
        }
        excess |= {name: row @ w - bound for name, row, bound in self.rows(weights.index)}
        excess["the sum"] = abs(w.sum() - self.budget)
        excess["the gross"] = np.abs(w).sum() - self.max_gross
        return [f"{name} by {x:.2g}" for name, x in excess.items() if not x <= SLACK]


@dataclass(frozen=True, slots=True)
class Allocation:
    """Weights, and what they amount to.

    Attributes
    ----------
    method : str
    weights : Series of shape (n_symbols,)
        As fractions of the capital; negative is short.
    risk_shares : Series of shape (n_symbols,)
        Of the variance; they add up to 1.
    mean, sd : float
        Expected return and standard deviation of the portfolio a bar.
    """

    method: str
    weights: pd.Series
    risk_shares: pd.Series
    mean: float
    sd: float


class _Ask(NamedTuple):
    moments: Moments
    constraints: Constraints
    risk_aversion: float
    budgets: Mapping[str, float] | None
    views: Mapping[str, float]
    regime: Regime | None


def allocate(
    moments: Moments,
    *,
    method: str,
    constraints: Constraints | None = None,
    risk_aversion: float = 1.0,
    budgets: Mapping[str, float] | None = None,
    views: Mapping[str, float] | None = None,
    regime: Regime | None = None,
) -> Allocation:
    """Return the weights of a method under constraints.

    Parameters
    ----------
    moments : Moments
    method : str
        A name of ``METHODS``.
    constraints : Constraints, optional
        Long only and fully invested by default.
    risk_aversion : float, default=1.0
        ``mean_variance`` maximises mean less this times variance [1]_; the equilibrium of
        ``black_litterman`` is this times the covariance with equal weights.
    budgets : mapping of symbol to float, optional
        Shares of the risk for ``risk_parity``; equal by default [2]_.
    views : mapping of text to float
        For ``black_litterman`` [6]_: expected return a bar of a symbol, or of a difference
        (``"BTCUSDT - ETHUSDT"``).
    regime : Regime
        For ``regime_aware``; see ``CALM_SHARE``.

    Raises
    ------
    ConfigError
        If the method is unknown, cannot keep a constraint, or lacks what it needs.
    ModelError
        If no weights are found, or those found break a constraint.
    """
    constraints = constraints or Constraints()
    # In units of the mean variance, in which the solvers' tolerances mean something.
    unit = float(np.diag(moments.covariance).mean())
    scaled = Moments(moments.mean / unit, moments.covariance / unit)
    given = {what: value / unit for what, value in (views or {}).items()}
    ask = _Ask(scaled, constraints, risk_aversion, budgets, given, regime)
    _check(method, ask)
    weights = pd.Series(_solve(method, ask), index=moments.covariance.columns)
    broken = constraints.violations(weights)
    if broken:
        raise ModelError(
            f"{method} broke its constraints: {'; '.join(broken)}.",
            "Loosen them, or choose a method that optimises under them (minimum_variance).",
        )
    w, sigma = weights.to_numpy(), moments.covariance.to_numpy()
    shares = pd.Series(risk_shares(w, sigma), index=weights.index)
    mean = float(moments.mean.to_numpy() @ w)
    return Allocation(method, weights, shares, mean, sqrt(w @ sigma @ w))


class _Given(BasePrior):  # type: ignore[misc]
    # Moments that were estimated elsewhere, in the form in which skfolio's optimisers ask for them.

    def __init__(self, mean: Any, covariance: Any) -> None:
        self.mean = mean
        self.covariance = covariance

    def fit(self, X: Any, y: Any = None) -> _Given:  # noqa: N803
        self.return_distribution_ = ReturnDistribution(
            mu=np.asarray(self.mean), covariance=np.asarray(self.covariance), returns=np.asarray(X)
        )
        return self


class _DistanceOfDistances(CovarianceDistance):  # type: ignore[misc]
    def fit(self, X: Any, y: Any = None) -> _DistanceOfDistances:  # noqa: N803
        super().fit(X)
        self.distance_: Floats = squareform(pdist(self.distance_))
        return self


def _as_given(ask: _Ask) -> _Given:
    return _Given(ask.moments.mean, ask.moments.covariance)


def _standardised(ask: _Ask) -> _Given:
    return _Given(ask.moments.mean, to_correlation(ask.moments.covariance.to_numpy()))


def _with_views(ask: _Ask) -> BlackLitterman:
    covariance = ask.moments.covariance
    equilibrium = ask.risk_aversion * covariance.mean(axis=1)
    views = [f"{what} == {value!r}" for what, value in ask.views.items()]
    return BlackLitterman(views, prior_estimator=_Given(equilibrium, covariance))


def _mean_risk(
    objective: ObjectiveFunction, prior: Callable[[_Ask], Any] = _as_given
) -> Callable[[_Ask], Any]:
    return lambda ask: MeanRisk(
        objective, risk_aversion=ask.risk_aversion, prior_estimator=prior(ask), save_problem=True,
        **_bounds(ask), **_groups(ask), **_sums(ask),
    )  # fmt: skip


def _diversify(ask: _Ask) -> Any:
    prior, options = _as_given(ask), _bounds(ask) | _groups(ask) | _sums(ask)
    return MaximumDiversification(prior_estimator=prior, save_problem=True, **options)


def _parity(ask: _Ask) -> Any:
    budgets = None if ask.budgets is None else dict(ask.budgets)
    return RiskBudgeting(
        risk_budget=budgets, prior_estimator=_as_given(ask), save_problem=True,
        solver_params={"tol_gap_abs": 1e-8, "tol_gap_rel": 1e-8},  # skfolio's 1e-9 is often missed
        **_bounds(ask), **_groups(ask),
    )  # fmt: skip


def _hierarchy(ask: _Ask) -> Any:
    single = HierarchicalClustering(linkage_method=LinkageMethod.SINGLE)
    return HierarchicalRiskParity(
        prior_estimator=_as_given(ask),
        distance_estimator=_DistanceOfDistances(covariance_estimator="precomputed"),
        seriation_estimator=HierarchicalSeriation(
            hierarchical_clustering_estimator=single, optimal_ordering=False
        ),
        **_bounds(ask),
    )


class Method(NamedTuple):
    """How a method is built, and which constraints it can keep (``is_whole``: a budget of 1)."""

    build: Callable[[_Ask], Any]
    may_short: bool = True
    has_groups: bool = True
    is_whole: bool = False


_UTILITY, _RISK, _RATIO = (
    ObjectiveFunction.MAXIMIZE_UTILITY,
    ObjectiveFunction.MINIMIZE_RISK,
    ObjectiveFunction.MAXIMIZE_RATIO,
)

METHODS: Final[Mapping[str, Method]] = {
    "mean_variance": Method(_mean_risk(_UTILITY)),
    "minimum_variance": Method(_mean_risk(_RISK)),
    "maximum_sharpe": Method(_mean_risk(_RATIO)),
    "risk_parity": Method(_parity, may_short=False, is_whole=True),
    "maximum_diversification": Method(_diversify, may_short=False),
    "minimum_correlation": Method(_mean_risk(_RISK, _standardised)),
    "hrp": Method(_hierarchy, may_short=False, has_groups=False, is_whole=True),
    "black_litterman": Method(_mean_risk(_RATIO, _with_views)),
    "regime_aware": Method(_parity, may_short=False, is_whole=True),
}
"""Every method by name: [1]_ for the first three, [2]_ to [6]_ for the next five in this order; the
last is risk parity in calm and the least variance in a crisis."""


def _solve(method: str, ask: _Ask) -> Floats:
    if method == "regime_aware":
        calm = CALM_SHARE[Regime.UNKNOWN if ask.regime is None else ask.regime]
        parts = {"risk_parity": calm, "minimum_variance": 1.0 - calm}
        shares = [share * _solve(part, ask) for part, share in parts.items() if share > 0.0]
        return np.asarray(sum(shares))
    model = METHODS[method].build(ask)
    symbols = [str(symbol) for symbol in ask.moments.covariance]
    try:
        with warnings.catch_warnings():
            # skfolio warns of weights that its solver is not sure of.
            warnings.simplefilter("error", UserWarning)
            model.fit(pd.DataFrame(0.0, index=range(2), columns=symbols))
    except (SkfolioError, ValueError, UserWarning) as error:
        problem = getattr(model, "problem_", None)
        status = str(error) if problem is None else f"the solver says {problem.status}."
        raise ModelError(
            f"{method} found no weights: {status}",
            "Loosen constraints that contradict each other, give a mean that some weights can make "
            "positive, shrink the covariance, or leave out symbols that nearly double another.",
        ) from error
    return np.asarray(model.weights_)


def _bounds(ask: _Ask) -> dict[str, Any]:
    low, high = ask.constraints.bounds(ask.moments.covariance.columns)
    return {"min_weights": low, "max_weights": high}


def _groups(ask: _Ask) -> dict[str, Any]:
    rows = ask.constraints.rows(ask.moments.covariance.columns)
    sides = {"left_inequality": [r[1] for r in rows], "right_inequality": [r[2] for r in rows]}
    return {name: np.array(values) for name, values in sides.items()} if rows else {}


def _sums(ask: _Ask) -> dict[str, Any]:
    budget, gross = ask.constraints.budget, ask.constraints.max_gross
    sides = {"max_long": (gross + budget) / 2.0, "max_short": (gross - budget) / 2.0}
    return {"budget": budget} | (sides if gross < inf else {})


def _check(method: str, ask: _Ask) -> None:
    if method not in METHODS:
        raise ConfigError(f"There is no method {method!r}.", f"Choose one of {', '.join(METHODS)}.")
    own, kind = ask.constraints, METHODS[method]
    low, high = own.bounds(ask.moments.covariance.columns)
    faults = {
        "min_weight is above max_weight": not (low <= high).all(),
        "it is long only, of a budget above 0": not kind.may_short
        and (low.min() < 0.0 or own.budget <= 0.0),
        "it divides a budget of 1: scale its weights": kind.is_whole and own.budget != 1.0,
        "it keeps no group limits": not kind.has_groups and bool(own.group_limits),
        "a group limit names a group without symbols": not set(own.group_limits)
        <= set(own.groups.values()),
        "it needs views": method == "black_litterman" and not ask.views,
        "it needs the regime": method == "regime_aware" and ask.regime is None,
    }
    seen = [what for what, is_so in faults.items() if is_so]
    if seen:
        raise ConfigError(
            f"{method} cannot answer: {'; '.join(seen)}.",
            "Put that right, or choose minimum_variance, which keeps every constraint.",
        )
