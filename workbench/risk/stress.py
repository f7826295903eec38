"""Stress of a book: the positions of this moment revalued under moves, with liquidation.

Moves come from ``risk.scenarios``: shocks, episodes, the worst day and week, or one's own. They
strike at once and in full, before any recovery, so that an account which would not live to see one
is shown as it dies. What a strategy would do meanwhile is another question: ``validation`` replays
it bar by bar.

The rules are those of the backtest. Cross: the account is liquidated whole where its equity is no
more than the maintenance margin at the moved marks, and nothing is left. Isolated: each position
alone, which costs its margin. A gap beyond that is the insurance fund's loss.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from workbench.core.errors import DataError
from workbench.core.margin import unrealised_pnl
from workbench.risk.margin import Tiers, initial, maintenance
from workbench.risk.scenarios import follow_others

Floats = NDArray[np.float64]

POSITION: Final = ("qty", "entry", "mark")


def stress_book(
    positions: pd.DataFrame,
    moves: pd.DataFrame,
    *,
    wallet_usdt: float,
    tiers: Tiers,
    margin_leverage: float | None = None,
    funding: Mapping[str, float] | None = None,
) -> pd.DataFrame:
    """Revalue positions under each of several moves of the marks.

    Parameters
    ----------
    positions : DataFrame of shape (n_symbols, 3)
        By symbol: ``qty`` (signed, base coin), ``entry`` and ``mark`` in USDT.
    moves : DataFrame of shape (n_scenarios, n_symbols)
        Moves of the marks as fractions, above -1. Where one is missing, the symbol moves as the
        others do on average; a row without any is not covered.
    wallet_usdt : float
        Balance without unrealised profit.
    tiers : Tiers
        Of ``risk.margin.stack_tiers``, for the symbols in the order of ``positions``.
    margin_leverage : float, optional
        For isolated positions, the leverage by which each was given its margin; cross by default.
    funding : mapping of str to float, optional
        By scenario: a rate that is settled once at the moved marks, paid by longs where above zero.

    Returns
    -------
    DataFrame
        By scenario: ``pnl_usdt`` and its ``share`` of the equity there is; ``funding_usdt`` in it
        (negative is paid); ``equity_usdt`` and ``margin_ratio`` after (maintenance over equity; of
        the worst position where they are isolated), 1 or more where it is due; ``is_liquidated``
        and ``liquidated``, the symbols that are; ``worst`` and ``worst_usdt``, the position that
        loses most before any liquidation; ``assumed``, the symbols whose move is the others'. NaN
        where not covered.

    Raises
    ------
    DataError
        If a position lacks a price or a move, nothing is held, a move loses more than the whole
        price, or there is no equity.
    """
    held = _held(positions, moves, wallet_usdt)
    rows = positions.index.get_indexer(held.index)
    tiers = Tiers(*(table[rows] for table in tiers))
    own = moves[held.index]
    given = own.notna()
    size = follow_others(own).to_numpy(dtype=np.float64)
    if (size <= -1.0).any():
        raise DataError("A move loses more than the whole price.", "Let moves be above -1.")
    qty, entry, mark = (held[name].to_numpy(dtype=np.float64) for name in POSITION)
    rates = pd.Series(funding or {}, dtype=np.float64).reindex(moves.index).fillna(0.0).to_numpy()
    after = mark * (1.0 + size)
    value = qty * after
    paid = -value * rates[:, None]
    profit = unrealised_pnl(entry, after, qty) + paid
    due = maintenance(value, tiers)
    so_far = unrealised_pnl(entry, mark, qty)
    before = wallet_usdt + float(so_far.sum())
    if before <= 0.0:
        raise DataError(f"The equity is {before:,.2f} USDT.", "There is nothing left to stress.")
    if margin_leverage is None:
        equity = wallet_usdt + profit.sum(axis=1)
        ratio = _ratio(due.sum(axis=1), equity)
        lost = np.repeat((ratio >= 1.0)[:, None], len(qty), axis=1)
        equity = np.where(ratio >= 1.0, 0.0, equity)
    else:
        margin = initial(qty * entry, margin_leverage, tiers)
        alone = _ratio(due, margin + profit)
        lost, ratio = alone >= 1.0, alone.max(axis=1)
        equity = np.maximum(wallet_usdt + np.where(lost, -margin, profit).sum(axis=1), 0.0)
    change = profit - so_far
    covered = given.any(axis=1).to_numpy()
    worst = np.argmin(np.where(covered[:, None], change, 0.0), axis=1)
    names = held.index.to_numpy(dtype=object)
    table = pd.DataFrame(
        {
            "pnl_usdt": equity - before,
            "share": (equity - before) / before,
            "funding_usdt": paid.sum(axis=1),
            "equity_usdt": equity,
            "margin_ratio": ratio,
            "worst_usdt": change[np.arange(len(change)), worst],
        },
        index=moves.index,
    )
    table.loc[~covered] = np.nan
    table["is_liquidated"] = lost.any(axis=1) & covered
    table["liquidated"] = _named(lost & covered[:, None], names)
    table["worst"] = np.where(covered, names[worst], "")
    table["assumed"] = _named(~given.to_numpy() & covered[:, None], names)
    return table


def _held(positions: pd.DataFrame, moves: pd.DataFrame, wallet_usdt: float) -> pd.DataFrame:
    held = positions.loc[positions["qty"] != 0, list(POSITION)]
    missing = [str(symbol) for symbol in held.index if symbol not in moves]
    is_whole = np.isfinite(held.to_numpy(dtype=np.float64)).all() and np.isfinite(wallet_usdt)
    if missing or not len(held) or not is_whole:
        raise DataError(
            f"There are no moves of {', '.join(missing)}."
            if missing
            else "Nothing is held, or a quantity, an entry, a mark or the wallet is missing.",
            "Give whole positions, and a move of each symbol (NaN where it is not known).",
        )
    return held


def _ratio(due: Floats, equity: Floats) -> Floats:
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.asarray(np.where(equity > 0.0, due / equity, np.inf))


def _named(chosen: NDArray[np.bool_], names: NDArray[np.object_]) -> list[str]:
    return [", ".join(names[row]) for row in chosen]
