"""Caps: what a target book may be under a limit, without ever growing or turning a position.

Values are signed USDT of shape (n_strategies, n_symbols); ``asked`` marks the positions that a
strategy has set a target for, the others stand as they are held. A cap scales what is asked by one
factor, so that its answer depends on the targets and not on the way they were reached. Where what
stands is beyond the limit by itself, nothing is added, and where it is beyond by more than
``band`` of the limit everything is cut back to it. Strategies do not net: the sums are bounds of
what the exchange sees; ``cap_net`` and ``cap_risk`` look at the net positions.
"""

from __future__ import annotations

from math import sqrt
from typing import Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Mask = NDArray[np.bool_]

ROUNDING: Final = 1e-9
"""A load beyond its limit by this share of it is at the limit."""


class Capped(NamedTuple):
    """A target book under a limit, and what was measured before; ``load`` is NaN if it fitted."""

    target: Floats
    load: float
    limit: float


def overlap(target: Floats, held: Floats) -> Floats:
    """Return the part of a target that is held already: what a reduction leaves."""
    same = np.where(target * held > 0.0, np.minimum(np.abs(target), np.abs(held)), 0.0)
    return np.copysign(same, target)


def cap_loads(
    target: Floats,
    held: Floats,
    asked: Mask,
    *,
    members: Floats,
    limits: Floats,
    band: float,
    unit: Floats | None = None,
) -> Capped:
    """Hold sums of absolute values to limits.

    Parameters
    ----------
    target, held : ndarray of shape (n_strategies, n_symbols)
    asked : ndarray of bool of shape (n_strategies, n_symbols)
    members : ndarray of shape (n_groups, n_symbols)
        What a symbol counts for in each group, 0 where it does not belong to it.
    limits : ndarray of shape (n_groups,)
    band : float
    unit : ndarray of shape (n_strategies, n_symbols), optional
        What each position counts for, such as the distance of its stop.
    """
    weigh = 1.0 if unit is None else unit
    size = np.abs(target) * weigh
    load = members @ size.sum(axis=0)
    over = load > limits * (1.0 + ROUNDING)
    if not over.any():
        return Capped(target, np.nan, np.nan)
    standing = members @ (size * ~asked).sum(axis=0)
    with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
        share = np.where(over, (limits - standing) / (load - standing), 1.0)
    share = np.clip(share, 0.0, 1.0)
    is_full = over & (standing > limits)
    kept = target if not is_full.any() else np.where(asked, overlap(target, held), target)
    kept_load = load if not is_full.any() else members @ (np.abs(kept) * weigh).sum(axis=0)
    is_beyond = is_full & (kept_load > limits * (1.0 + band))
    back = np.where(is_beyond, limits / np.where(is_beyond, kept_load, 1.0), 1.0)
    belongs = members > 0.0
    ask = np.where(belongs & ~is_full[:, None], share[:, None], 1.0).min(axis=0)
    cut = np.where(belongs & is_full[:, None], back[:, None], 1.0).min(axis=0)
    in_full = (belongs & is_full[:, None]).any(axis=0)
    answer = np.where(in_full, kept * np.minimum(cut, np.where(asked, ask, 1.0)), target)
    answer = np.where(asked & ~in_full, target * ask, answer)
    worst = int(np.argmax(np.where(over, load / limits, 0.0)))
    return Capped(answer, float(load[worst]), float(limits[worst]))


def cap_net(target: Floats, held: Floats, asked: Mask, *, limit: float, band: float) -> Capped:
    """Hold the absolute sum of signed values to a limit, by scaling the side that is too large."""
    net = float(target.sum())
    if abs(net) <= limit * (1.0 + ROUNDING):
        return Capped(target, np.nan, np.nan)
    side = np.sign(net)
    long_side = target * side > 0.0
    free = float(np.abs(target[asked & long_side]).sum())
    room = limit - (abs(net) - free)
    if room >= 0.0:
        return Capped(np.where(asked & long_side, target * (room / free), target), abs(net), limit)
    kept = np.where(asked & long_side, overlap(target, held), target)
    beyond = float(kept.sum()) * side
    if beyond > limit * (1.0 + band):
        gross = float(np.abs(kept[long_side]).sum())
        kept = np.where(long_side, kept * (1.0 - (beyond - limit) / gross), kept)
    return Capped(kept, abs(net), limit)


def cap_risk(
    target: Floats, held: Floats, asked: Mask, *, covariance: Floats, limit: float, band: float
) -> Capped:
    """Hold the standard deviation of the net positions' profit to a limit.

    Parameters
    ----------
    covariance : ndarray of shape (n_symbols, n_symbols)
        Of returns over the horizon of the limit.
    limit : float
        In USDT.

    Notes
    -----
    With what stands at a and what is asked at b, the variance at a share g of what is asked is
    a'Ca + 2g a'Cb + g^2 b'Cb; the largest g in [0, 1] that fits is a root of it.
    """
    net = target.sum(axis=0)
    risk = sqrt(max(float(net @ covariance @ net), 0.0))
    if risk <= limit * (1.0 + ROUNDING):
        return Capped(target, np.nan, np.nan)
    fixed = np.where(asked, 0.0, target)
    a = fixed.sum(axis=0)
    b = net - a
    standing = float(a @ covariance @ a)
    if standing <= limit**2:
        cross, own = float(a @ covariance @ b), float(b @ covariance @ b)
        root = sqrt(max(cross**2 + own * (limit**2 - standing), 0.0))
        share = min(max((root - cross) / own, 0.0), 1.0)
        return Capped(np.where(asked, target * share, target), risk, limit)
    kept = np.where(asked, overlap(target, held), target)
    net = kept.sum(axis=0)
    left = sqrt(max(float(net @ covariance @ net), 0.0))
    if left > limit * (1.0 + band):
        kept = kept * (limit / left)
    return Capped(kept, risk, limit)
