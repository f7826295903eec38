"""The risk of a book at the end of a market: every measure of ``workbench.risk``, in one report."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from datetime import timedelta
from typing import Any, Final

import pandas as pd

from workbench.backtest.guarded import RiskLog
from workbench.core.config import load_config
from workbench.core.records import Account, Market, to_moment
from workbench.monitor.limits import LimitBook
from workbench.monitor.reports import record_report
from workbench.risk import climate, perils, sections
from workbench.risk.coverage import ALL
from workbench.risk.decision import Level
from workbench.risk.diversity import find_sectors
from workbench.risk.limits import Limits, load_limits
from workbench.risk.regime import Regime
from workbench.risk.report import RiskReport
from workbench.risk.scenarios import Shock
from workbench.risk.sections import DAY, METHOD, Sight, Tables
from workbench.store import Store

REFUSED: Final = timedelta(days=30)
"""How far back a report counts what risk refused."""


def risk_report(
    market: Market,
    positions: pd.DataFrame,
    equity: pd.Series,
    *,
    limits: Limits | None = None,
    account: Account | None = None,
    sectors: Mapping[str, str] | None = None,
    shocks: Sequence[Shock] | None = None,
    log: RiskLog | None = None,
    window_days: int = 365,
    at: str | pd.Timestamp | None = None,
) -> RiskReport:
    """Measure what a book risks, and what of it changed within a day.

    Parameters
    ----------
    market : Market
        With bars of a day or shorter.
    positions : DataFrame of shape (n_bars, n_symbols)
        Signed quantities at each close, as ``Result.positions``.
    equity : Series of shape (n_bars,)
        In USDT, as ``Result.equity``.
    limits : Limits, optional
        By default those of the log, or of the mode ``conservative``.
    account : Account, optional
        How margin is charged; by default the configuration's.
    sectors : mapping of symbol to sector, optional
        By default those of ``risk.diversity.find_sectors``.
    shocks : sequence of Shock, optional
        Those of the package by default.
    log : RiskLog, optional
        Of a run with risk on (``Result.risk``): its limits, breakers and refusals are told too.
    window_days : int, default=365
        Days that tails, volatilities and correlations are estimated from; fewer where the market
        holds fewer, which the report says.
    at : str or Timestamp, optional
        By default the last bar.

    Returns
    -------
    RiskReport
        What the data cannot tell is left out, with its reason among the notes.

    Raises
    ------
    DataError
        If the account has no equity left, a held symbol has no mark, or the bars are longer than a
        day.
    """
    sectors = find_sectors(market.symbols) if sectors is None else sectors
    limits = limits or (load_limits() if log is None else log.limits)
    account = account or load_config().account
    market = market.until(market.index[-1] if at is None else to_moment(at))
    book = sections.look(market, positions, equity, window=window_days)
    tables: Tables = {}
    now = _measure(book, tables, limits, sectors, ALL)
    now |= climate.regimes(book, tables)
    now |= perils.liquidations(book, tables, account=account)
    now |= perils.stresses(book, tables, account=account, shocks=shocks)
    climate.volatilities(book, tables)
    climate.dependences(book, tables)
    if log is not None:
        now |= _reviews(log, market.index[-1], tables)
    tables["limits"] = perils.limit_use(now, limits)
    then = market.index[-1] - DAY
    before: dict[str, Any] = {}
    if market.index[0] + 2 * DAY <= then and then in market.index:
        earlier = sections.look(market.until(then), positions, equity, window=window_days)
        before = _measure(earlier, {}, limits, sectors, (METHOD,))
        if "history" in tables:
            before["regime"] = Regime(int(tables["history"]["regime"].loc[then])).name.lower()
    return RiskReport(
        at=market.index[-1],
        watermark=market.watermark,
        snapshot_id=market.snapshot_id,
        mode=limits.title,
        headlines=now,
        before=before,
        tables=tables,
        notes=tuple(book.notes),
    )


def _measure(
    book: Sight,
    tables: Tables,
    limits: Limits,
    sectors: Mapping[str, str] | None,
    methods: Sequence[str],
) -> dict[str, Any]:
    return {
        **sections.exposures(book, tables, sectors=sectors),
        **sections.losses_so_far(book, tables),
        **sections.losses_ahead(book, tables, level=limits.value_at_risk_level, methods=methods),
    }


def _reviews(log: RiskLog, at: pd.Timestamp, tables: Tables) -> dict[str, Any]:
    known = [change for change in log.changes if change.at <= at]
    tables["breakers"] = perils.breakers_after(known)
    refusals = log.refusals
    recent = perils.refused_since(refusals[refusals["known_at"] <= at], at - REFUSED)
    if len(recent):
        tables["refusals"] = recent
    (reading,) = log.readings[log.readings.index == at].to_dict("records")
    return {
        "value_at_risk_reviewed": reading["value_at_risk"],
        "risk_level": Level(reading["level"]).name.lower(),
    }


def risk_limits(mode: str | None = None) -> Limits:
    """Return the limits of a mode or a TOML file; by default those in force, as they are on record.

    Raises
    ------
    ConfigError
        If there is no such mode, or the file does not hold limits.
    """
    if mode is not None:
        return load_limits(mode)
    with Store.open() as store:
        return LimitBook(store).in_force().limits


def record_risk(report: RiskReport) -> int:
    """Put a report on record, where the risk panel finds it, and return its number."""
    with Store.open() as store:
        return record_report(store, report, run_id=os.environ.get("WORKBENCH_RUN_ID"))
