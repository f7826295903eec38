"""Bootstrap: rows of a sample drawn again, in blocks that keep what ties one row to the next.

References
----------
.. [1] Politis and Romano (1994), "The stationary bootstrap", JASA 89(428).
.. [2] Politis and Romano (1992), "A circular block-resampling procedure for stationary data".
.. [3] Kunsch (1989), "The jackknife and the bootstrap for general stationary observations",
   Annals of Statistics 17(3).
"""

from __future__ import annotations

from collections.abc import Iterator
from math import ceil
from typing import Final, Literal

import numpy as np
from numpy.typing import NDArray

from workbench.core.errors import DataError

Rows = NDArray[np.integer]
Scheme = Literal["iid", "circular", "moving", "stationary"]

CHUNK_PLACES: Final = 2_000_000


def bootstrap_indices(
    n: int,
    *,
    block: float = 1.0,
    scheme: Scheme = "stationary",
    size: int | None = None,
    reps: int,
    seed: int,
) -> Rows:
    """Return resampled rows of shape (reps, size).

    Parameters
    ----------
    n : int
        Rows of the sample.
    block : float, default=1.0
        Length of the blocks: the average for ``stationary`` [1]_, rounded for ``circular`` [2]_
        and ``moving`` [3]_, without effect for ``iid``. The last block is cut to the length.
    scheme : {"iid", "circular", "moving", "stationary"}, default="stationary"
    size : int, optional
        Rows of a resample; by default as many as the sample has.
    reps, seed : int

    Raises
    ------
    DataError
        If the blocks are longer than the sample, or nothing is asked for.
    """
    return np.concatenate(list(draw_rows(n, block, scheme, reps, seed, size)))


def draw_rows(
    n: int, block: float, scheme: Scheme, reps: int, seed: int, size: int | None = None
) -> Iterator[Rows]:
    """Give the rows of ``bootstrap_indices`` in parts, so that memory does not grow with them."""
    check_block(n, block)
    size = n if size is None else size
    if reps < 1 or size < 1:
        raise DataError(f"{reps} resamples of {size} rows were asked for.", "Ask for one at least.")
    rng, length = np.random.default_rng(seed), round(block)
    places, zero = np.arange(size, dtype=np.int32), np.int32(0)
    step = max(CHUNK_PLACES // size, 1)
    for first in range(0, reps, step):
        count = min(step, reps - first)
        if scheme == "iid":
            yield rng.integers(0, n, (count, size), dtype=np.int32)
        elif scheme == "stationary":
            begins = rng.random((count, size), dtype=np.float32) < 1.0 / block
            begins[:, 0] = True
            # The place at which the block of each place began.
            since = np.maximum.accumulate(np.where(begins, places, zero), axis=1)
            starts = rng.integers(0, n, (count, size), dtype=np.int32)
            yield (np.take_along_axis(starts, since, axis=1) + places - since) % n
        else:
            last = n if scheme == "circular" else n - length + 1
            heads = rng.integers(0, last, (count, ceil(size / length)))
            yield (heads[:, places // length] + places % length) % n


def check_block(n: int, block: float) -> None:
    """Raise a DataError unless so many rows can be resampled in blocks of such a length."""
    if n < 1 or not 1 <= block <= n:
        raise DataError(
            f"{n} rows cannot be resampled in blocks of {block:g}.",
            "Take blocks from one row to all of them.",
        )
