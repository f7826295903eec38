"""Orders that fill before they are decided."""

import numpy as np

from tests.leakbench.forms import Rule


def signal_close_leak(market):
    """The bar that gives the signal is earned as well: it fills at its own open."""
    side = np.sign(market.close / market.close.shift(12) - 1).fillna(0.0)
    returns = side * market.close.pct_change(fill_method=None)
    return {"weights": side, "returns": returns}


def signal_close_clean(market):
    side = np.sign(market.close / market.close.shift(12) - 1).fillna(0.0)
    returns = side.shift(1) * market.close.pct_change(fill_method=None)
    return {"weights": side, "returns": returns}


def limit_at_the_low_leak(market):
    """The limit lies a little above a low that is not known before the bar ends."""
    limit = 1.001 * market.low
    returns = market.close / limit - 1
    return {"returns": returns.where(market.low <= limit, 0.0).fillna(0.0)}


def limit_at_the_low_clean(market):
    limit = 1.001 * market.low.shift(1)
    price = np.minimum(market.open, limit)
    returns = market.close / price - 1
    return {"returns": returns.where(market.low <= limit, 0.0).fillna(0.0)}


def best_of_both_leak(market):
    """Target and stop inside one bar: the target counts first, whichever was touched first."""
    return {"returns": _bracketed(market, is_target_first=True)}


def best_of_both_clean(market):
    return {"returns": _bracketed(market, is_target_first=False)}


def _bracketed(market, is_target_first):
    # Long from open to close, a target and a stop four tenths of a per cent away.
    reach = 0.004
    up, down = market.high / market.open - 1 >= reach, market.low / market.open - 1 <= -reach
    held = market.close / market.open - 1
    first, then = (up, down) if is_target_first else (down, up)
    sign = 1.0 if is_target_first else -1.0
    returns = held.mask(then, -sign * reach).mask(first, sign * reach)
    return returns.fillna(0.0)


class ShiftedWeightsLeak(Rule):
    """Weights are moved back by a bar, so that a backtest without its own delay lines up."""

    def weights(self, market):
        side = np.sign(market.close.diff(self.window)) / len(market.symbols)
        return side.shift(-1)


class ShiftedWeightsClean(Rule):
    def weights(self, market):
        return np.sign(market.close.diff(self.window)) / len(market.symbols)


def open_to_close_leak(market):
    """The gap over the mean of the bar decides about that bar, from its open to its close."""
    side = np.sign(market.close / market.close.rolling(6).mean() - 1).fillna(0.0)
    returns = (side * (market.close / market.open - 1)).fillna(0.0).mean(axis=1)
    return {"returns": returns}


def open_to_close_clean(market):
    side = np.sign(market.close / market.close.rolling(6).mean() - 1).fillna(0.0)
    returns = (side.shift(1) * (market.close / market.open - 1)).fillna(0.0).mean(axis=1)
    return {"returns": returns}
