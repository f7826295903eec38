"""Tables joined on the wrong row."""

import numpy as np
import pandas as pd

from tests.leakbench.forms import Rule, log_returns


def _asof(market, direction):
    # Open interest of the day, published at midnight, joined to every hour.
    daily = market.others["D"].open_interest.rename_axis("at").reset_index()
    hours = pd.DataFrame({"at": market.index})
    joined = pd.merge_asof(hours, daily, on="at", direction=direction)
    return joined.set_index("at")


def open_interest_forward_leak(market):
    """merge_asof(direction="forward") takes the next publication."""
    return _asof(market, "forward")


def open_interest_forward_clean(market):
    return _asof(market, "backward")


def open_interest_nearest_leak(market):
    """From noon on the nearest publication is tonight's."""
    return _asof(market, "nearest").pct_change(24, fill_method=None)


def open_interest_nearest_clean(market):
    return _asof(market, "backward").pct_change(24, fill_method=None)


def merged_by_date_leak(market):
    """A table of days joined on the calendar date: today's row is complete tonight."""
    date = pd.Index((market.index - pd.Timedelta("1us")).date)
    volume = market.turnover.groupby(date).sum()
    return market.turnover / volume.reindex(date).set_axis(market.index)


def merged_by_date_clean(market):
    date = pd.Index((market.index - pd.Timedelta("1us")).date)
    volume = market.turnover.groupby(date).sum().shift(1)
    return market.turnover / volume.reindex(date).set_axis(market.index)


class DroppedRowsLeak(Rule):
    """Rows without a value are dropped, and what is left is laid on the index from its start."""

    def weights(self, market):
        signal = np.sign(market.close.pct_change(self.window, fill_method=None))
        kept = signal.dropna().to_numpy()
        table = np.zeros(market.close.shape)
        table[: len(kept)] = kept / len(market.symbols)
        return pd.DataFrame(table, market.index, market.symbols)


class DroppedRowsClean(Rule):
    def weights(self, market):
        signal = np.sign(market.close.pct_change(self.window, fill_method=None))
        kept = signal.dropna() / len(market.symbols)
        return kept.reindex(market.index, fill_value=0.0)


def by_position_leak(market):
    """Two symbols joined by row number: one begins later, so its rows lie too early."""
    returns = log_returns(market)
    one = returns[market.symbols[0]].reset_index(drop=True)
    other = returns[market.symbols[-1]].dropna().reset_index(drop=True)
    return (one - other).set_axis(market.index).to_frame("spread")


def by_position_clean(market):
    returns = log_returns(market)
    one, other = returns[market.symbols[0]], returns[market.symbols[-1]].dropna()
    return (one - other).reindex(market.index).to_frame("spread")


def nearest_quote_leak(market):
    """Missing bars take the quote that is nearest in time, before or after."""
    return pd.DataFrame(
        {s: c.dropna().reindex(c.index, method="nearest") for s, c in market.close.items()}
    ).pct_change(6)


def nearest_quote_clean(market):
    return pd.DataFrame(
        {s: c.dropna().reindex(c.index, method="ffill") for s, c in market.close.items()}
    ).pct_change(6)
