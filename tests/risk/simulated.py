"""Simulated returns and bars whose volatility is known."""

from math import sqrt

import numpy as np
import pandas as pd

from tests.markets import make_index


def garch_returns(
    seed: int, n: int, *, alpha: float = 0.08, beta: float = 0.90, gamma: float = 0.0,
    nu: float = 6.0, sd: float = 0.02, n_symbols: int = 1,
) -> np.ndarray:  # fmt: skip
    """Returns of shape (n, n_symbols) by GARCH(1,1) or GJR with Student errors."""
    rng = np.random.default_rng(seed)
    z = rng.standard_t(nu, (n + 250, n_symbols)) * sqrt((nu - 2) / nu)
    h = np.ones(n_symbols)
    x = np.empty_like(z)
    for t, shock in enumerate(z):
        x[t] = np.sqrt(h) * shock
        weight = alpha + gamma * (shock < 0)
        h = (1 - alpha - gamma / 2 - beta) + weight * x[t] ** 2 + beta * h
    return sd * x[250:]


def egarch_returns(
    seed: int, n: int, *, alpha: float, gamma: float, beta: float, sd: float = 0.02
) -> np.ndarray:
    """Returns of shape (n,) by EGARCH(1,1) with normal errors."""
    z = np.random.default_rng(seed).standard_normal(n)
    log_h, x = 0.0, np.empty(n)
    for t, shock in enumerate(z):
        x[t] = np.exp(log_h / 2) * shock
        log_h = alpha * (abs(shock) - sqrt(2 / np.pi)) + gamma * shock + beta * log_h
    return sd * x


def frame(returns: np.ndarray, interval: str = "D") -> pd.DataFrame:
    """Returns as a frame of symbols A, B, ... indexed by known_at."""
    table = returns.reshape(len(returns), -1)
    columns = [f"{chr(65 + i)}USDT" for i in range(table.shape[1])]
    return pd.DataFrame(table, index=make_index(len(table), interval), columns=columns)


def brownian_bars(
    seed: int, n: int, *, sd: float, drift: float = 0.0, gap: float = 0.0, steps: int = 32,
    is_watched: bool = True,
) -> dict[str, np.ndarray]:  # fmt: skip
    """Open, high, low and close of a geometric Brownian motion of a known deviation a bar.

    Watched without pause the extremes of each step are those of the bridge between its ends;
    otherwise they are the largest and smallest of the steps' ends, as of so many trades.
    """
    rng = np.random.default_rng(seed)
    moves = drift / steps + sd / sqrt(steps) * rng.standard_normal((n, steps))
    path = np.concatenate([np.zeros((n, 1)), moves.cumsum(axis=1)], axis=1)
    high, low = path.max(axis=1), path.min(axis=1)
    if is_watched:
        begin, end = path[:, :-1], path[:, 1:]
        reach = [
            np.sqrt((end - begin) ** 2 - 2 * sd**2 / steps * np.log(1 - rng.random(moves.shape)))
            for _ in range(2)
        ]
        high = ((begin + end + reach[0]) / 2).max(axis=1)
        low = ((begin + end - reach[1]) / 2).min(axis=1)
    gaps = gap * rng.standard_normal(n)
    start = np.concatenate([[0.0], (path[:, -1] + gaps).cumsum()[:-1]]) + gaps
    columns = {
        "open": start,
        "high": start + high,
        "low": start + low,
        "close": start + path[:, -1],
    }
    return {name: 100 * np.exp(values) for name, values in columns.items()}
