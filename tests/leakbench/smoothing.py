"""Filters that see both sides of a bar."""

from functools import cache

import numpy as np
import pandas as pd
from scipy.interpolate import make_smoothing_spline
from scipy.ndimage import gaussian_filter1d
from scipy.signal import butter, filtfilt, lfilter, savgol_filter
from statsmodels.nonparametric.smoothers_lowess import lowess
from statsmodels.tsa.filters.hp_filter import hpfilter
from statsmodels.tsa.seasonal import seasonal_decompose


def _logs(market):
    return np.log(market.close.ffill()).fillna(0.0)


def _like(values, frame):
    return pd.DataFrame(np.asarray(values), frame.index, frame.columns)


def _weighted(frame, kernel):
    # The weighted sum of the last bars, the newest one last; the first sums are not whole.
    sums = lfilter(kernel[::-1], 1.0, frame, axis=0)
    sums[: len(kernel) - 1] = np.nan
    if frame.ndim == 1:
        return pd.Series(sums, frame.index)
    return _like(sums, frame)


def savgol_leak(market):
    """Savitzky and Golay fit a polynomial around each bar."""
    logs = _logs(market)
    return _like(savgol_filter(logs, 21, 3, axis=0), logs).diff()


def savgol_clean(market):
    logs = _logs(market)
    # The same polynomial, at the end of the window.
    powers = np.vander(np.arange(-20, 1), 4)
    kernel = np.linalg.pinv(powers)[-1]
    return _weighted(logs, kernel).diff()


def butterworth_leak(market):
    """filtfilt runs the filter back again."""
    logs = _logs(market)
    return _like(filtfilt(*butter(2, 0.1), logs, axis=0), logs).diff()


def butterworth_clean(market):
    logs = _logs(market)
    return _like(lfilter(*butter(2, 0.1), logs, axis=0), logs).diff()


def fourier_leak(market):
    """The fast waves of the whole sample are taken out."""
    logs = _logs(market)
    waves = np.fft.rfft(logs, axis=0)
    waves[len(waves) // 20 :] = 0.0
    return logs - np.fft.irfft(waves, n=len(logs), axis=0)


def fourier_clean(market):
    # The same filter over the last 64 bars: its newest value is a fixed weighted sum.
    logs, unit = _logs(market), np.eye(64)
    waves = np.fft.rfft(unit, axis=0)
    waves[4:] = 0.0
    kernel = np.fft.irfft(waves, n=64, axis=0)[-1]
    return logs - _weighted(logs, kernel)


def hodrick_prescott_leak(market):
    """The trend of Hodrick and Prescott bends towards what comes."""
    logs = _logs(market)
    return logs.apply(lambda column: hpfilter(column, lamb=1e5)[0])


@cache
def _end_of_trend(n):
    second = np.diff(np.eye(n), 2, axis=0)
    return np.linalg.inv(np.eye(n) + 1e5 * second.T @ second)[-1]


def hodrick_prescott_clean(market):
    # One-sided: the same penalty over the last 120 bars, of which the end is kept.
    logs, kernel = _logs(market), _end_of_trend(120)
    return logs - _weighted(logs, kernel)


def _kalman(logs, is_smoothed):
    # A local level: the filter, and the pass back of Rauch, Tung and Striebel.
    level, spread = np.zeros_like(logs), np.zeros(len(logs))
    at, p = logs[0], 1.0
    for i, seen in enumerate(logs):
        prior = p + 1e-5
        gain = prior / (prior + 1e-3)
        at, p = at + gain * (seen - at), (1 - gain) * prior
        level[i], spread[i] = at, p
    if is_smoothed:
        for i in range(len(logs) - 2, -1, -1):
            back = spread[i] / (spread[i] + 1e-5)
            level[i] += back * (level[i + 1] - level[i])
    return level


def kalman_leak(market):
    """The smoother goes back over what the filter has seen."""
    logs = _logs(market)
    return logs - _like(_kalman(logs.to_numpy(), is_smoothed=True), logs)


def kalman_clean(market):
    logs = _logs(market)
    return logs - _like(_kalman(logs.to_numpy(), is_smoothed=False), logs)


def _haar(values, levels):
    means = values
    for _ in range(levels):
        means = (means[0::2] + means[1::2]) / 2
    return np.repeat(means, 2**levels, axis=0)


def _blocks(market):
    logs = _logs(market)
    even = len(logs) // 8 * 8
    means = _haar(logs.to_numpy()[:even], 3)
    return logs, pd.DataFrame(means, logs.index[:even], logs.columns).reindex(logs.index)


def wavelet_leak(market):
    """Haar wavelets average over blocks of eight bars, and every bar takes its block's mean."""
    logs, means = _blocks(market)
    return logs - means


def wavelet_clean(market):
    logs, means = _blocks(market)
    # A block's mean is known at its last bar.
    return logs - means.shift(7)


def lowess_leak(market):
    """A local regression through the bars on both sides."""
    close = _logs(market).iloc[:, 0]
    smooth = lowess(close, np.arange(len(close)), frac=0.05, it=0, return_sorted=False)
    return (close - smooth).to_frame("gap")


def lowess_clean(market):
    close = _logs(market).iloc[:, 0]
    # A regression over the last bars, at its end.
    powers = np.vander(np.arange(-24, 1), 2)
    kernel = np.linalg.pinv(powers)[-1]
    return (close - _weighted(close, kernel)).to_frame("gap")


def gaussian_leak(market):
    """An image filter: the bell lies on both sides."""
    logs = _logs(market)
    return logs - _like(gaussian_filter1d(logs, 6, axis=0), logs)


def gaussian_clean(market):
    logs = _logs(market)
    return logs - logs.ewm(com=6).mean()


def seasonal_leak(market):
    """The decomposition centres its trend and averages the season over the sample."""
    close = _logs(market).iloc[:, 0]
    return seasonal_decompose(close, period=24).seasonal.to_frame("season")


def seasonal_clean(market):
    close = _logs(market).iloc[:, 0]
    return (
        close.diff()
        .groupby(close.index.hour)
        .transform(lambda c: c.expanding().mean())
        .to_frame("season")
    )


def spline_leak(market):
    """A smoothing spline through all bars."""
    close = _logs(market).iloc[:, 0]
    at = np.arange(len(close), dtype=float)
    return pd.Series(make_smoothing_spline(at, close, lam=1e3)(at), close.index).to_frame("curve")


def spline_clean(market):
    close = _logs(market).iloc[:, 0]
    return close.ewm(com=8).mean().to_frame("curve")
