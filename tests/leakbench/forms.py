"""What the corpus shares: a rule with one window, and rows that are not learnt from."""

from workbench.strategies import Strategy


class Rule(Strategy):
    """A rule with one window."""

    window: int = 24

    @property
    def lookback(self):
        return 8 * self.window


def log_returns(market, bars=1):
    """Log returns of every symbol over the last bars."""
    import numpy as np

    return np.log(market.close).diff(bars)
