"""Processes: models of past returns that paths of returns are drawn from.

Returns are simple, per bar, of one thing or of several together, as fractions of equity.

References
----------
.. [1] Barone-Adesi, Giannopoulos and Vosper (1999), "VaR without correlations for portfolios of
   derivative securities", Journal of Futures Markets 19(5): filtered historical simulation.
.. [2] Hamilton (1989), "A new approach to the economic analysis of nonstationary time series and
   the business cycle", Econometrica 57(2).
.. [3] Merton (1976), "Option pricing when underlying stock returns are discontinuous", Journal of
   Financial Economics 3(1-2).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Final, Literal, NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from workbench.core.bootstrap import bootstrap_indices
from workbench.core.errors import DataError
from workbench.validation.resample import cluster_block

Floats = NDArray[np.float64]
Draw = Callable[[int, int, np.random.Generator], Floats]
"""Draws ``n_paths`` paths of ``horizon`` bars, of shape (n_paths, horizon, n_assets)."""
Model = Literal["parametric", "bootstrap", "block", "garch", "regimes"]

CHUNK: Final = 2_000_000
DISTRIBUTIONS: Final = ("norm", "t", "johnsonsu")
"""Of scipy: thin tails, heavy tails, heavy tails with skew."""


class Jumps(NamedTuple):
    """Shocks on top of a model [3]_: chance per bar, mean and deviation of their size."""

    rate: float
    mean: float
    deviation: float = 0.0


def simulate_returns(
    returns: NDArray[np.floating],
    *,
    model: Model = "block",
    horizon: int,
    weights: NDArray[np.floating] | None = None,
    jumps: Jumps | None = None,
    n_paths: int = 10_000,
    seed: int = 0,
) -> Floats:
    """Draw paths of returns from a model of past ones, for ``montecarlo.follow``.

    Parameters
    ----------
    returns : ndarray of shape (n_bars,) or (n_bars, n_assets)
        Past returns, of one thing or of several together.
    model : {"parametric", "bootstrap", "block", "garch", "regimes"}, default="block"
        Independent bars from the distribution that Akaike's criterion chooses for each asset,
        tied by a Gaussian copula; independent rows; stationary blocks of rows, long enough for
        clusters of volatility; GARCH(1,1) with resampled rows of its residuals [1]_, from the
        volatility of today; two Gaussian regimes of a Markov chain [2]_, from that of today.
    horizon : int
        Bars of each path.
    weights : ndarray of shape (n_assets,), optional
        Held all along; needed for several assets.
    jumps : Jumps, optional
        Of what is held.
    n_paths, seed : int

    Returns
    -------
    ndarray of shape (n_paths, horizon)
        Never below -1.
    """
    past = check_rows(returns)
    if (np.ptp(past, axis=0) == 0).any():
        raise DataError("Some returns never move.", "Leave out what has nothing to be modelled.")
    held = np.ones(1) if weights is None else np.asarray(weights, dtype=np.float64)
    if held.shape != past.shape[1:]:
        raise DataError(
            f"Returns of {past.shape[1]} assets and weights of shape {held.shape} differ.",
            "Give one weight for each asset.",
        )
    rng, draw = np.random.default_rng(seed), MODELS[model](past)
    answer = np.empty((n_paths, horizon))
    step = max(CHUNK // (horizon * past.shape[1]), 1)
    for first in range(0, n_paths, step):
        size = min(step, n_paths - first)
        answer[first : first + size] = draw(size, horizon, rng) @ held
    if jumps is not None:
        count = rng.poisson(jumps.rate, answer.shape)
        noise = rng.standard_normal(answer.shape) * np.sqrt(count)
        answer += jumps.mean * count + jumps.deviation * noise
    return np.maximum(answer, -1.0, out=answer)


def fit_distribution(returns: NDArray[np.floating]) -> tuple[str, tuple[float, ...], pd.Series]:
    """Return the distribution with the least Akaike criterion, its parameters, and all criteria.

    One of ``DISTRIBUTIONS``, fitted by maximum likelihood with scipy.
    """
    from scipy import stats

    x = check_rows(returns)[:, 0]
    centre, spread = x.mean(), x.std()
    z = (x - centre) / spread
    fits, criteria = {}, {}
    for name in DISTRIBUTIONS:
        law = getattr(stats, name)
        *shape, place, scale = law.fit(z)
        fits[name] = (*shape, centre + spread * place, spread * scale)
        criteria[name] = 2 * len(fits[name]) - 2 * law.logpdf(x, *fits[name]).sum()
    table = pd.Series(criteria, name="aic").sort_values()
    best = str(table.index[0])
    return best, tuple(float(p) for p in fits[best]), table


def check_rows(returns: NDArray[np.floating]) -> Floats:
    """Return past returns as float64 of shape (n_rows, n_assets), or say why they will not do."""
    x = np.asarray(returns, dtype=np.float64)
    x = x[:, None] if x.ndim == 1 else x
    if x.ndim != 2 or len(x) < 2 or not np.isfinite(x).all():
        raise DataError(
            f"Returns of shape {x.shape} cannot be drawn from: too few, or some are missing.",
            "Give two rows or more of shape (n_bars, n_assets), whole.",
        )
    return x


def _parametric(past: Floats) -> Draw:
    from scipy import stats

    laws = [fit_distribution(column)[:2] for column in past.T]
    ranks = stats.rankdata(past, axis=0) / (len(past) + 1)
    ties = np.linalg.cholesky(np.atleast_2d(np.corrcoef(stats.norm.ppf(ranks), rowvar=False)))

    def draw(n_paths: int, horizon: int, rng: np.random.Generator) -> Floats:
        chances = stats.norm.cdf(rng.standard_normal((n_paths, horizon, len(laws))) @ ties.T)
        columns = [getattr(stats, law).ppf(chances[..., k], *p) for k, (law, p) in enumerate(laws)]
        return np.stack(columns, axis=-1)

    return draw


def _resampled(past: Floats, *, is_blocked: bool) -> Draw:
    block = cluster_block(past) if is_blocked else 1.0

    def draw(n_paths: int, horizon: int, rng: np.random.Generator) -> Floats:
        seed = int(rng.integers(2**63))
        rows = bootstrap_indices(len(past), block=block, size=horizon, reps=n_paths, seed=seed)
        return np.asarray(past[rows])

    return draw


def _garch(past: Floats) -> Draw:
    from arch import arch_model

    fits = [arch_model(100.0 * column, dist="t").fit(disp="off") for column in past.T]
    terms = ("mu", "omega", "alpha[1]", "beta[1]")
    mu, omega, alpha, beta = np.array([[fit.params[name] for name in terms] for fit in fits]).T
    residuals = np.column_stack([fit.std_resid for fit in fits])
    today = np.array([fit.forecast(horizon=1).variance.to_numpy()[-1, 0] for fit in fits])

    def draw(n_paths: int, horizon: int, rng: np.random.Generator) -> Floats:
        shocks = residuals[rng.integers(0, len(residuals), (n_paths, horizon))]
        variance = np.tile(today, (n_paths, 1))
        for bar in range(horizon):
            shocks[:, bar] *= np.sqrt(variance)
            variance = omega + alpha * shocks[:, bar] ** 2 + beta * variance
        return np.asarray((mu + shocks) / 100.0)

    return draw


def _regimes(past: Floats) -> Draw:
    from hmmlearn.hmm import GaussianHMM

    spread = past.std(axis=0)
    chain = GaussianHMM(2, covariance_type="full", random_state=0, n_iter=200).fit(past / spread)
    ways, today = chain.transmat_.cumsum(axis=1), chain.predict_proba(past / spread)[-1]
    roots = np.linalg.cholesky(chain.covars_)

    def draw(n_paths: int, horizon: int, rng: np.random.Generator) -> Floats:
        answer = rng.standard_normal((n_paths, horizon, past.shape[1]))
        state = (rng.random(n_paths) > today[0]).astype(np.int64)
        for bar in range(horizon):
            state = (rng.random(n_paths) > ways[state, 0]).astype(np.int64)
            moved = np.einsum("pij,pj->pi", roots[state], answer[:, bar])
            answer[:, bar] = chain.means_[state] + moved
        return np.asarray(answer * spread)

    return draw


MODELS: Final[Mapping[str, Callable[[Floats], Draw]]] = {
    "parametric": _parametric,
    "bootstrap": lambda past: _resampled(past, is_blocked=False),
    "block": lambda past: _resampled(past, is_blocked=True),
    "garch": _garch,
    "regimes": _regimes,
}
"""What ``simulate_returns`` can draw from: each is fitted to past returns once."""
