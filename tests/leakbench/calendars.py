"""Days, weeks and months that are known before they end."""

import numpy as np
import pandas as pd

from tests.leakbench.forms import Rule
from workbench.core.records import to_bar_start


def _day(market):
    # A bar that closes at midnight belongs to the day that ends there.
    return (market.index - pd.Timedelta("1us")).floor("D")


def day_high_leak(market):
    """The day's high is known at its open."""
    high = market.high.groupby(_day(market)).transform("max")
    return market.close / high - 1


def day_high_clean(market):
    high = market.high.groupby(_day(market)).cummax()
    return market.close / high - 1


def daily_close_leak(market):
    """resample("1D") labels a day by its start."""
    daily = market.close.resample("1D").last()
    return {"trend": daily.pct_change(3, fill_method=None).reindex(market.index, method="ffill")}


def daily_close_clean(market):
    daily = market.resample("D").close
    return {"trend": daily.pct_change(3, fill_method=None).reindex(market.index, method="ffill")}


class FourHourChannelLeak(Rule):
    """Four-hour bars by pandas: closed and labelled on the left."""

    def weights(self, market):
        coarse = market.close.resample("4h").last()
        fast = coarse.rolling(3).mean() > coarse.rolling(9).mean()
        is_up = fast.astype(float).reindex(market.index, method="ffill")
        return is_up / len(market.symbols)


class FourHourChannelClean(Rule):
    def weights(self, market):
        coarse = market.close.resample("4h", closed="right", label="right").last()
        # The last one may be under way: it becomes known at its label.
        coarse = coarse[coarse.index <= market.index[-1]]
        fast = coarse.rolling(3).mean() > coarse.rolling(9).mean()
        is_up = fast.astype(float).reindex(market.index, method="ffill")
        return is_up / len(market.symbols)


def higher_timeframe_leak(market):
    """The daily frame is labelled by its start, as exchanges and charts do, before the merge."""
    daily = to_bar_start(market.others["D"].close, "D")
    mean = daily.rolling(5).mean().reindex(market.index, method="ffill")
    return market.close / mean - 1


def higher_timeframe_clean(market):
    daily = market.others["D"].close
    mean = daily.rolling(5).mean().reindex(market.index, method="ffill")
    return market.close / mean - 1


def week_pivot_leak(market):
    """The pivot of the week under way, high and low included."""
    week = market.index.tz_localize(None).to_period("W")
    grouped = [frame.groupby(week) for frame in (market.high, market.low, market.close)]
    high, low, close = (
        each.transform(how) for each, how in zip(grouped, ("max", "min", "last"), strict=True)
    )
    return market.close / ((high + low + close) / 3) - 1


def week_pivot_clean(market):
    week = pd.Series(market.index.tz_localize(None).to_period("W"), market.index)
    parts = [
        frame.groupby(week.to_numpy()).agg(how).shift(1)
        for frame, how in ((market.high, "max"), (market.low, "min"), (market.close, "last"))
    ]
    pivot = sum(parts) / 3
    return market.close / pivot.reindex(week.to_numpy()).set_axis(market.index) - 1


class MonthEndLeak(Rule):
    """On one day a month it trades in the direction in which that day will have gone."""

    def weights(self, market):
        day = _day(market)
        gone = market.close.groupby(day).transform("last") / market.close.groupby(day).transform(
            "first"
        )
        is_last = (day + pd.Timedelta("1D")).day == 1
        return np.sign(gone - 1).mul(is_last.astype(float), axis=0) / len(market.symbols)


class MonthEndClean(Rule):
    def weights(self, market):
        day = _day(market)
        gone = market.close / market.close.groupby(day).transform("first")
        is_last = (day + pd.Timedelta("1D")).day == 1
        return np.sign(gone - 1).mul(is_last.astype(float), axis=0) / len(market.symbols)


class WeekAheadLeak(Rule):
    """Decides once a week, by the return of the week that begins."""

    def weights(self, market):
        coming = market.close.shift(-120) / market.close - 1
        is_due = (market.index.dayofweek == 0) & (market.index.hour == 1)
        return np.sign(coming)[is_due].reindex(market.index) / len(market.symbols)


class WeekAheadClean(Rule):
    def weights(self, market):
        past = market.close / market.close.shift(120) - 1
        is_due = (market.index.dayofweek == 0) & (market.index.hour == 1)
        return np.sign(past)[is_due].reindex(market.index) / len(market.symbols)


def last_bar_of_day_leak(market):
    """Whether the day ends is read off the next row: the newest row always ends one."""
    day = pd.Series(_day(market), market.index)
    return (day != day.shift(-1)).astype(float)


def last_bar_of_day_clean(market):
    day = pd.Series(_day(market), market.index)
    after = pd.Series(
        (market.index + market.bar_length - pd.Timedelta("1us")).floor("D"), day.index
    )
    return (day != after).astype(float)


def upsampled_leak(market):
    """Daily values are joined by straight lines: each hour knows the next day."""
    daily = market.others["D"].open_interest
    hourly = daily.reindex(daily.index.union(market.index)).interpolate(method="time")
    return hourly.reindex(market.index)


def upsampled_clean(market):
    daily = market.others["D"].open_interest
    hourly = daily.reindex(daily.index.union(market.index)).ffill()
    return hourly.reindex(market.index)
