"""Schedules: how many lots of a parent should be filled by a moment.

Time is cut into slices. A schedule answers for the slice of the moment: what should have been
filled before it is overdue, and what should be filled by its end is due.

References
----------
.. [1] Almgren and Chriss (2001), "Optimal execution of portfolio transactions", Journal of Risk
   3(2), 5-39: the trajectory of section 2.2, the calibration of impact of section 3.4.
.. [2] Gould and Bonart (2016), "Queue imbalance as a one-tick-ahead price predictor in a limit
   order book", Market Microstructure and Liquidity 2(2), 1650006.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import lru_cache
from math import ceil, exp, expm1, inf, sqrt
from typing import Final, NamedTuple

import numpy as np

from workbench.core.errors import DataError
from workbench.core.lots import LOT_SLACK
from workbench.core.records import to_float
from workbench.execution.condition import assess, curve_share
from workbench.execution.parents import Parent, Urgency, View

DAY_S: Final = 86_400.0
FINISH_S: Final = 30.0
"""How long before the deadline, at most, everything is overdue."""
FINISH_SHARE: Final = 0.05
"""The same as a share of the time that there is, for short orders."""

RISK_AVERSION: Final[Mapping[Urgency, float]] = {
    Urgency.LOW: 1e-7,
    Urgency.NORMAL: 1e-6,
    Urgency.HIGH: 1e-5,
}
"""Cost in USDT that is taken on to be rid of a variance of 1 USDT squared [1]_."""


class Due(NamedTuple):
    """Lots that should be filled by now: those that are overdue, and those of this slice too."""

    late: int
    now: int


Schedule = Callable[[Parent, View, float, float], Due]
"""From the ends of a slice, as shares of the time that there is, to what is due in it."""


def lots_due(parent: Parent, view: View, schedule: Schedule) -> Due:
    """Return what is due now; shortly before the deadline everything is overdue."""
    elapsed = (view.now - parent.start).total_seconds() / parent.duration_s
    if elapsed >= 1.0 - min(FINISH_SHARE, FINISH_S / parent.duration_s):
        return Due(parent.lots, parent.lots)
    edges = _edges(max(1, ceil(parent.duration_s / parent.slice_s)), parent.seed)
    after = int(np.searchsorted(edges, elapsed, side="right"))
    return schedule(parent, view, edges[after - 1], edges[after])


def at_once(parent: Parent, view: View, since: float, until: float) -> Due:
    """Return everything as due from the start."""
    return Due(0, parent.lots)


def evenly(parent: Parent, view: View, since: float, until: float) -> Due:
    """Return the same in each slice of time."""
    return Due(_lots(parent, since), _lots(parent, until))


def by_curve(parent: Parent, view: View, since: float, until: float) -> Due:
    """Return what is due as the volume of the day is usually spread."""
    time = parent.deadline - parent.start
    before, now, all_ = (
        curve_share(parent.curve, parent.start, parent.start + time * share)
        for share in (since, until, 1.0)
    )
    return Due(_lots(parent, before / all_), _lots(parent, now / all_))


def by_volume(parent: Parent, view: View, since: float, until: float) -> Due:
    """Return the cap's share of what was traded; half of it is overdue."""
    now = min(parent.lots, int(parent.participation_cap * view.traded_lots))
    return Due(now // 2, now)


def by_market(parent: Parent, view: View, since: float, until: float) -> Due:
    """Return a share of what was traded, which moves with the market and up to the cap.

    Where more stands on its own side the price tends to leave [2]_: it hurries. From half time on
    an even pace is the least.
    """
    seen = assess(view.book, volatility=view.volatility)
    pace = min(1.0, max(0.25, seen.score + parent.side.sign * seen.imbalance / 2.0))
    volume = int(pace * to_float(parent.participation_cap) * view.traded_lots)
    late, least = (_lots(parent, max(0.0, 2.0 * share - 1.0)) for share in (since, until))
    return Due(late, min(parent.lots, max(volume, least)))


def by_risk(parent: Parent, view: View, since: float, until: float) -> Due:
    """Return what is due early, as far as the risk of waiting is dearer than the impact [1]_."""
    k = parent.duration_s / parent.decay_s
    return Due(*(_lots(parent, 1.0 - _undone(k, share)) for share in (since, until)))


def decay_time(
    urgency: Urgency, *, volatility: float, spread: float, price: float, day_qty: float
) -> float:
    """Return the time in seconds in which the arrival-price schedule leaves 1 / e undone [1]_.

    Parameters
    ----------
    urgency : Urgency
    volatility, spread : float
        Of a day, and the full bid-ask spread; fractions of the price.
    price, day_qty : float
        In USDT, and the quantity traded in a day.

    Notes
    -----
    1 / kappa with kappa^2 = lambda sigma^2 / eta. As in section 3.4, trading one per cent of a
    day's volume costs a spread, so that eta = spread / (0.01 day_qty).
    """
    if not (volatility >= 0.0 and min(spread, price, day_qty) > 0.0):
        raise DataError(
            f"A decay cannot be had from volatility {volatility}, spread {spread}, price {price} "
            f"and volume {day_qty}.",
            "Give what was measured, above 0.",
        )
    eta = spread * price / (0.01 * day_qty)
    kappa = sqrt(RISK_AVERSION[urgency] * (volatility * price) ** 2 / eta)
    return DAY_S / kappa if kappa > 0.0 else inf


@lru_cache(maxsize=256)
def _edges(n: int, seed: int | None) -> tuple[float, ...]:
    # Slices of equal length, or each inner edge moved by less than half of it.
    edges = np.arange(n + 1) / n
    if seed is not None:
        edges[1:-1] += np.random.default_rng(seed).uniform(-0.4, 0.4, n - 1) / n
    return tuple(edges.tolist())


def _lots(parent: Parent, share: float) -> int:
    return min(parent.lots, int(share * parent.lots + LOT_SLACK))


def _undone(k: float, share: float) -> float:
    # sinh(k (1 - share)) / sinh(k), in a form that neither overflows nor loses digits.
    if k < 1e-8:
        return 1.0 - share
    return exp(-k * share) * expm1(-2.0 * k * (1.0 - share)) / expm1(-2.0 * k)
