"""Hedge: what to hold against a book, when to change it, and whether it is worth its funding.

A ratio is the value that is sold of an instrument for each USDT of the book. Values are signed
USDT. A proposal is a set of targets like a strategy's own: it passes the same review before
anything is traded.

References
----------
.. [1] Johnson (1960), "The theory of hedging and speculation in commodity futures", Review of
   Economic Studies 27(3), 139-151.
.. [2] Ederington (1979), "The hedging performance of the new futures markets", Journal of Finance
   34(1), 157-170: effectiveness is one minus the ratio of variances.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final, NamedTuple

import numpy as np
import pandas as pd

from workbench.core.errors import DataError
from workbench.core.measures import DAYS_A_YEAR
from workbench.risk.dependence import beta, check_covariance, ewma_covariance, rolling_beta
from workbench.risk.volatility import DECAY

_BOOK: Final = "book"
_HEDGE: Final = "hedge"


def hedge_ratio(book: pd.Series, instrument: pd.Series, *, min_bars: int = 30) -> float:
    """Return the minimum-variance ratio by least squares [1]_: the book's beta to the instrument.

    Parameters
    ----------
    book, instrument : Series of shape (n_bars,)
        Returns as fractions, indexed by ``known_at``; bars that one lacks are left out.
    min_bars : int, default=30

    Raises
    ------
    DataError
        If the instrument does not move, or they share fewer than ``min_bars`` bars.
    """
    return float(beta(_pair(book, instrument), to=_HEDGE, min_bars=min_bars)[_BOOK])


def rolling_ratio(
    book: pd.Series, instrument: pd.Series, *, window: int, min_bars: int = 30
) -> pd.Series:
    """Return the ratio over the last ``window`` bars at each bar; NaN with too few of them."""
    pair = _pair(book, instrument)
    return rolling_beta(pair, to=_HEDGE, window=window, min_bars=min_bars)[_BOOK].rename(None)


def weighted_ratio(
    book: pd.Series, instrument: pd.Series, *, decay: float = DECAY, min_bars: int = 30
) -> pd.Series:
    """Return the ratio by the exponentially weighted covariance at each bar."""
    pair = _pair(book, instrument)
    # What one lacks must not count in the variance of the other.
    seen = ewma_covariance(pair.where(pair.notna().all(axis=1)), decay=decay)[1:]
    with np.errstate(divide="ignore", invalid="ignore"):
        ratio = pd.Series(seen[:, 0, 1] / seen[:, 1, 1], pair.index)
    shared = pair.notna().all(axis=1).cumsum()
    return ratio.where(np.isfinite(ratio) & (shared >= min_bars))


def keep_within(ratios: pd.Series, *, band: float) -> pd.Series:
    """Return the ratios that are held: each stays until the wanted one is over ``band`` away.

    A missing ratio leaves what is held; before the first there is no hedge, NaN.
    """
    held, answer = float("nan"), []
    for wanted in ratios.to_numpy(dtype=np.float64).tolist():
        # Not (near) is also true of the first one, where nothing is held.
        if not np.isnan(wanted) and not abs(wanted - held) <= band:
            held = wanted
        answer.append(held)
    return pd.Series(answer, ratios.index, dtype=np.float64)


def hedged_returns(book: pd.Series, instrument: pd.Series, ratios: pd.Series | float) -> pd.Series:
    """Return the book's returns with a hedge beside it.

    A series of ratios is as known at each bar, and earns in the bar after it; a number was known
    before the first.
    """
    known = ratios.reindex(book.index).shift(1) if isinstance(ratios, pd.Series) else ratios
    return book - known * instrument.reindex(book.index)


def hedge_effectiveness(book: pd.Series, hedged: pd.Series) -> float:
    """Return the share of the variance that a hedge takes away [2]_, over the bars both have.

    Below zero where it adds some.
    """
    pair = _pair(book, hedged).dropna()
    if len(pair) < 2 or not pair[_BOOK].var() > 0.0:
        raise DataError(
            f"The book does not move in {len(pair)} bars.", "Give returns of a book that does."
        )
    return float(1.0 - pair[_HEDGE].var() / pair[_BOOK].var())


def minimum_variance(
    covariance: pd.DataFrame, exposure: pd.Series, instruments: Sequence[str]
) -> pd.Series:
    """Return the values of some instruments beside a book at which the variance is least.

    Parameters
    ----------
    covariance : DataFrame of shape (n_symbols, n_symbols)
        Of returns: shrunk, exponentially weighted or plain.
    exposure : Series of shape (n_held,)
        Signed USDT of what is to be hedged.
    instruments : sequence of str

    Returns
    -------
    Series of shape (n_instruments,)
        Signed USDT: -inv(C_hh) C_hx x.

    Raises
    ------
    DataError
        If nothing is held, the covariance lacks a value that is needed, or that of the instruments
        has no inverse.
    """
    held, names = exposure[exposure != 0], list(instruments)
    missing = sorted({str(n) for n in [*held.index, *names] if n not in covariance.index})
    across = covariance.reindex(index=names, columns=held.index).to_numpy(dtype=np.float64)
    cross = across @ held.to_numpy(dtype=np.float64)
    if missing or not len(held) or not np.isfinite(cross).all():
        lacks = f"The covariance lacks {', '.join(missing) or 'values'}."
        raise DataError(
            lacks if len(held) else "Nothing is to be hedged.",
            "Give finite values of symbols that the covariance holds, one of them not zero.",
        )
    own = check_covariance(covariance.loc[names, names])
    return pd.Series(-np.linalg.solve(own, cross), names, dtype=np.float64)


def expected_funding(settled: pd.DataFrame, *, days: int = 30) -> pd.Series:
    """Return the funding that a long is expected to pay a year: the last days', spread over it.

    ``settled`` is a market's ``funding_settled``; NaN where a symbol settled nothing in them.
    """
    recent = settled[settled.index > settled.index[-1] - pd.Timedelta(days=days)]
    total: pd.Series = recent.sum(min_count=1)
    return total * (DAYS_A_YEAR / days)


@dataclass(frozen=True, slots=True)
class HedgeProposal:
    """Targets that would hedge a book, and why.

    Attributes
    ----------
    targets : mapping of str to float
        Signed USDT for every instrument that was compared; at most one is not zero.
    symbol : str
        The best of them, whether or not it is worth it.
    ratio : float
        Value that the minimum-variance hedge sells of it for each USDT of the book's gross value;
        below zero where it buys.
    effectiveness : float
        Share of the book's variance that this takes away.
    funding_usdt : float
        Funding that it is expected to pay a year; below zero it earns.
    worth_usdt : float
        What the variance that it saves is worth a year, less the funding.
    why : str
    """

    targets: Mapping[str, float]
    symbol: str
    ratio: float
    effectiveness: float
    funding_usdt: float
    worth_usdt: float
    why: str

    def weights(self, allotted_usdt: float) -> dict[str, float]:
        """Return the targets as weights of what the hedge is allotted, as a strategy's are.

        Raises
        ------
        DataError
            If a target is larger than that.
        """
        largest = max(map(abs, self.targets.values()))
        if not largest <= allotted_usdt:
            raise DataError(
                f"The hedge needs {largest:,.0f} USDT and is allotted {allotted_usdt:,.0f}.",
                "Allot more, or hedge a smaller part of the book.",
            )
        return {symbol: value / allotted_usdt for symbol, value in self.targets.items()}


def propose_hedge(
    covariance: pd.DataFrame,
    exposure: pd.Series,
    instruments: Sequence[str],
    *,
    funding: Mapping[str, float],
    equity_usdt: float,
    aversion: float = 2.0,
    held: Mapping[str, float] | None = None,
    band: float = 0.1,
) -> HedgeProposal:
    """Compare instruments and propose the hedge that is worth most, if one is worth its funding.

    Parameters
    ----------
    covariance : DataFrame of shape (n_symbols, n_symbols)
        Of returns over a year: what a variance is worth depends on the horizon.
    exposure : Series of shape (n_held,)
        Signed USDT of the book without its hedge.
    instruments : sequence of str
        One of them is chosen.
    funding : mapping of str to float
        What a long is expected to pay a year, as a fraction: ``expected_funding``.
    equity_usdt : float
    aversion : float, default=2.0
        Relative risk aversion: half of it, times the variance of the equity's return, is what a
        year of risk costs. 1 is the growth rate's own price, 2 that of who bets half of Kelly.
    held : mapping of str to float, optional
        Signed USDT of the hedge that there is.
    band : float, default=0.1
        What is held stays while the wanted value is within this share of it away, and while no
        other instrument is worth so much more.

    Returns
    -------
    HedgeProposal
        With targets of zero where the variance that is saved is worth less than the funding.

    Raises
    ------
    DataError
        If the funding of an instrument is missing, the covariance lacks what is needed, or the book
        has no risk.
    """
    missing = [s for s in instruments if not np.isfinite(funding.get(s, float("nan")))]
    if missing or not instruments or not (equity_usdt > 0 and aversion > 0 and band >= 0):
        raise DataError(
            f"The funding of {', '.join(missing) or 'any instrument'} is missing, or the equity, "
            "the aversion or the band is out of range.",
            "Give the funding of one instrument or more, and an equity and aversion above zero.",
        )
    there = {} if held is None else held
    price = 0.5 * aversion / equity_usdt
    hedges = [_weigh(covariance, exposure, s, funding[s], price) for s in instruments]
    best = max(hedges, key=lambda h: h.worth * (1.0 + band * (there.get(h.symbol, 0.0) != 0.0)))
    book = exposure[exposure != 0]
    w = book.to_numpy(dtype=np.float64)
    before = float(w @ covariance.loc[book.index, book.index].to_numpy() @ w)
    if not before > 0.0:
        raise DataError("The book has no risk to hedge.", "Look at its covariance.")
    is_worth, now = best.worth > 0.0, there.get(best.symbol, 0.0)
    stays = now != 0.0 and abs(best.value - now) <= band * abs(best.value)
    target = (now if stays else best.value) if is_worth else 0.0
    share = best.saved / before
    pays = f"{'pays' if best.funding >= 0 else 'earns'} {abs(best.funding):,.0f} USDT of funding"
    verb = ("stays at" if stays else "to") if is_worth else "is not worth holding against"
    amount = f"{target:,.0f} USDT" if is_worth else "the book"
    why = (
        f"{best.symbol} {verb} {amount}: {best.value:,.0f} USDT would take away {share:.0%} of the "
        f"variance, worth {best.saved * price:,.0f} USDT a year, and {pays}."
    )
    return HedgeProposal(
        targets={s: target if s == best.symbol else 0.0 for s in instruments},
        symbol=best.symbol,
        ratio=-best.value / float(book.abs().sum()),
        effectiveness=share,
        funding_usdt=best.funding,
        worth_usdt=best.worth,
        why=why,
    )


class _Hedge(NamedTuple):
    symbol: str
    value: float
    saved: float
    funding: float
    worth: float


def _weigh(
    covariance: pd.DataFrame, exposure: pd.Series, symbol: str, rate: float, price: float
) -> _Hedge:
    value = float(minimum_variance(covariance, exposure, [symbol])[symbol])
    # Of the best value, what it takes away is its own variance.
    saved = value**2 * float(np.asarray(covariance.loc[[symbol], [symbol]], dtype=np.float64)[0, 0])
    funding = value * rate
    return _Hedge(symbol, value, saved, funding, price * saved - funding)


def _pair(book: pd.Series, hedge: pd.Series) -> pd.DataFrame:
    return pd.DataFrame({_BOOK: book, _HEDGE: hedge})
