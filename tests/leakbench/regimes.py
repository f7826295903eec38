"""Regimes that are decided with hindsight."""

import numpy as np
import pandas as pd
from hmmlearn.hmm import GaussianHMM
from sklearn.cluster import KMeans
from sklearn.mixture import GaussianMixture

from tests.leakbench.forms import Rule, log_returns

TRAIN = 480
"""Bars that a regime model is fitted on."""


def _returns(market):
    return log_returns(market).fillna(0.0).iloc[:, [0]] * 100


def _hmm(returns):
    if len(returns) < TRAIN:
        raise ValueError(f"{len(returns)} bars are too few to fit on")
    model = GaussianHMM(2, random_state=0, n_iter=10, tol=1.0)
    return model.fit(returns.to_numpy()[:TRAIN])


def _calm_first(model, states):
    order = np.argsort(model.covars_.ravel())
    return states[:, order] if states.ndim == 2 else np.argsort(order)[states]


def viterbi_leak(market):
    """predict decodes the whole sequence: a state is chosen with what came after it."""
    returns = _returns(market)
    model = _hmm(returns)
    states = model.predict(returns.to_numpy())
    return pd.DataFrame({"regime": _calm_first(model, states)}, returns.index)


def viterbi_clean(market):
    returns = _returns(market)
    model = _hmm(returns)
    states = _filtered(model, returns.to_numpy()).argmax(axis=1)
    return pd.DataFrame({"regime": _calm_first(model, states)}, returns.index).iloc[TRAIN:]


def _filtered(model, returns):
    # The forward pass alone: the probability of each state given the bars so far.
    spread = model.covars_.ravel()
    density = np.exp(-((returns - model.means_.ravel()) ** 2) / (2 * spread)) / np.sqrt(spread)
    states = np.empty_like(density)
    belief = model.startprob_
    for i, seen in enumerate(density):
        belief = (belief @ model.transmat_ if i else belief) * seen + 1e-300
        belief = belief / belief.sum()
        states[i] = belief
    return states


def smoothed_states_leak(market):
    """predict_proba runs forwards and backwards."""
    returns = _returns(market)
    model = _hmm(returns)
    states = _calm_first(model, model.predict_proba(returns.to_numpy()))
    return pd.DataFrame({"calm": states[:, 0]}, returns.index).iloc[TRAIN:]


def smoothed_states_clean(market):
    returns = _returns(market)
    model = _hmm(returns)
    states = _calm_first(model, _filtered(model, returns.to_numpy()))
    return pd.DataFrame({"calm": states[:, 0]}, returns.index).iloc[TRAIN:]


def mixture_leak(market):
    """The mixture of calm and wild bars is fitted on all of them."""
    return _mixture(market, slice(None))


def mixture_clean(market):
    return _mixture(market, slice(TRAIN)).iloc[TRAIN:]


def _mixture(market, rows):
    volatility = _returns(market).rolling(24, min_periods=1).std().fillna(0.0)
    model = GaussianMixture(2, random_state=0, max_iter=20).fit(volatility.to_numpy()[rows])
    wild = model.predict_proba(volatility.to_numpy())[:, model.means_.ravel().argmax()]
    return pd.DataFrame({"wild": wild}, volatility.index)


def clusters_leak(market):
    """Market states are the clusters of the sample."""
    return _clusters(market, slice(None))


def clusters_clean(market):
    return _clusters(market, slice(TRAIN)).iloc[TRAIN:]


def _clusters(market, rows):
    returns = log_returns(market).fillna(0.0)
    states = pd.DataFrame({"move": returns.mean(axis=1), "spread": returns.std(axis=1)})
    scale = states.iloc[:TRAIN].std()
    model = KMeans(3, n_init=1, random_state=0).fit((states / scale).to_numpy()[rows])
    order = np.argsort(np.argsort(model.cluster_centers_[:, 0]))
    return pd.DataFrame({"state": order[model.predict((states / scale).to_numpy())]}, states.index)


class CutoffOfTodayLeak(Rule):
    """Calm is what is below the newest volatility: the last row decides about all of them."""

    def weights(self, market):
        volatility = log_returns(market).rolling(self.window).std()
        calm = volatility < volatility.ffill().iloc[-1]
        return calm.astype(float) / len(market.symbols)


class CutoffOfTodayClean(Rule):
    def weights(self, market):
        volatility = log_returns(market).rolling(self.window).std()
        calm = volatility < volatility.shift(1).expanding().median()
        return calm.astype(float) / len(market.symbols)


def change_point_leak(market):
    """The one break of the sample is where its cumulative sum lies farthest out."""
    returns = _returns(market).iloc[:, 0]
    path = (returns - returns.mean()).cumsum().abs()
    return pd.DataFrame({"is_after": path.index >= path.idxmax()}, path.index)


def change_point_clean(market):
    returns = _returns(market).iloc[:, 0]
    path = (returns - returns.expanding().mean()).cumsum().abs()
    return pd.DataFrame({"is_farthest": path >= path.cummax()}, path.index)
