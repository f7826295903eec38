"""Lots: quantities in whole steps, one rule for the kernel, for risk and for rebalancing."""

from __future__ import annotations

from typing import Any, Final

import numpy as np

LOT_SLACK: Final = 1e-9
"""A quotient this close below a whole number of lots is that number: 0.3 / 0.1 is 3 lots."""


def whole_lots(qty: Any, step: Any) -> Any:
    """Return a signed quantity cut towards zero to whole steps, for scalars and arrays.

    ``step`` is above 0. Written so that numba compiles it for scalars.

    Examples
    --------
    >>> float(whole_lots(-0.39, 0.1)), float(whole_lots(0.3, 0.1))
    (-0.30000000000000004, 0.30000000000000004)
    """
    return np.sign(qty) * np.floor(np.abs(qty) / step + LOT_SLACK) * step
