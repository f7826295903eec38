"""Scenarios: days that were, shocks that were not, and what each would do to prices.

The lists of both are data, with a version, and stand here once: ``validation`` replays a strategy
through them bar by bar, ``risk.stress`` revalues the book of this moment.
"""

from __future__ import annotations

import tomllib
from collections.abc import Mapping, Sequence
from datetime import timedelta
from importlib.resources import files
from importlib.resources.abc import Traversable
from math import log1p
from pathlib import Path
from typing import Annotated, Final, Literal, Self, TypeVar

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from pydantic import (
    AwareDatetime,
    BaseModel,
    ConfigDict,
    Field,
    TypeAdapter,
    ValidationError,
    model_validator,
)

from workbench.core.errors import ConfigError, DataError
from workbench.core.records import Market

Floats = NDArray[np.float64]
Move = Annotated[float, Field(gt=-1)]
Scenario = TypeVar("Scenario", bound=BaseModel)

PLACE: Final = files("workbench.risk") / "cases"
EVERY: Final = "*"
MIN_ROWS: Final = 30
BETA_DAYS: Final = 90
_DAY: Final = timedelta(days=1)


class Episode(BaseModel):
    """Days with a name: the bars in (start, end], what happened, and how bad it was."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str = Field(min_length=1)
    start: AwareDatetime
    end: AwareDatetime
    kind: Literal["crypto", "macro"]
    severity: Literal["moderate", "severe", "extreme"]
    what: str = Field(min_length=1)

    @model_validator(mode="after")
    def _check(self) -> Self:
        if self.end <= self.start:
            raise ValueError(f"it ends at {self.end}, not after its start")
        return self


class Shock(BaseModel):
    """What a shock does; everything that is not named stays as it is.

    Attributes
    ----------
    factors : mapping of symbol to float
        Return of symbols that all others follow by their joint betas (-0.2 is a fall of a fifth).
    moves : mapping of symbol to float
        Return of single symbols on top; ``"*"`` is every symbol that is not named.
    slide_hours : float
        Time in which the move happens, in equal gaps from bar to bar; 0 is a single gap.
    recovery, recovery_hours : float
        Share of the move, in logs, that comes back afterwards, and the time that it takes.
    correlation : float
        Share of the way from the correlations there were to 1 (above 0) or to 0 (below 0).
    spread_scale, slippage_scale, fee_scale : float
        Multiples of the costs, over the whole window.
    turnover_scale : float
        Multiple of volume and turnover, on which market impact rests.
    funding_scale, funding_add : float
        Settled and predicted rates are multiplied, then this fraction is added to each.
    latency_s : float
        Seconds added between decision and fill.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str = Field(min_length=1)
    what: str = ""
    factors: dict[str, Move] = {}
    moves: dict[str, Move] = {}
    slide_hours: float = Field(default=0.0, ge=0)
    recovery: float = Field(default=0.0, ge=0, le=1)
    recovery_hours: float = Field(default=0.0, ge=0)
    correlation: float = Field(default=0.0, ge=-1, le=1)
    spread_scale: float = Field(default=1.0, ge=0)
    slippage_scale: float = Field(default=1.0, ge=0)
    fee_scale: float = Field(default=1.0, ge=0)
    turnover_scale: float = Field(default=1.0, gt=0)
    funding_scale: float = Field(default=1.0, ge=0)
    funding_add: float = 0.0
    latency_s: float = Field(default=0.0, ge=0)


def load_episodes(path: str | Path | None = None) -> tuple[Episode, ...]:
    """Return the episodes of the package, or of a TOML file of one's own, in time.

    Raises
    ------
    ConfigError
        If the file does not describe episodes.
    """
    found = read_scenarios(path or PLACE / "episodes.toml", Episode, key="episodes")
    return tuple(sorted(found, key=lambda episode: episode.start))


def load_shocks(path: str | Path | None = None) -> tuple[Shock, ...]:
    """Return the shocks of the package, or of a TOML file of one's own.

    Raises
    ------
    ConfigError
        If the file does not describe shocks.
    """
    return tuple(read_scenarios(path or PLACE / "shocks.toml", Shock, key="shocks"))


def read_scenarios(
    place: str | Path | Traversable, model: type[Scenario], *, key: str
) -> list[Scenario]:
    """Return the validated scenarios of a versioned TOML file.

    Raises
    ------
    ConfigError
        If the file is missing, is not TOML, has no version, or describes something else.
    """
    source = Path(place) if isinstance(place, str) else place
    if not source.is_file():
        raise ConfigError(f"There is no file {source}.", "Give the path of a .toml file.")
    try:
        told = tomllib.loads(source.read_text(encoding="utf-8"))
        if not isinstance(told.get("version"), int) or set(told) != {"version", key}:
            raise ConfigError(
                f"{source} holds {', '.join(sorted(told)) or 'nothing'}.",
                f"It needs a whole number `version` and [[{key}]], nothing else.",
            )
        found = TypeAdapter(list[model]).validate_python(told[key])  # type: ignore[valid-type]
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ConfigError(f"{source} is not valid TOML: {error}.", "Correct that line.") from error
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"])
        raise ConfigError(
            f"{source} does not describe {key}: {where}: {first['msg']}.",
            f"Compare it with {key}.toml of the package.",
        ) from error
    names = [getattr(scenario, "name", "") for scenario in found]
    doubled = sorted({name for name in names if names.count(name) > 1})
    if doubled or not names:
        raise ConfigError(
            f"{source} names {', '.join(doubled) or 'nothing'}" + (" twice." if doubled else "."),
            "Give every scenario a name of its own, and at least one.",
        )
    return found


def betas(
    market: Market, factors: Sequence[str], *, until: pd.Timestamp, days: int = BETA_DAYS
) -> pd.DataFrame:
    """Return how symbols moved with factors, jointly, by least squares on log returns per bar.

    Parameters
    ----------
    market : Market
    factors : sequence of str
        Symbols of the market.
    until : Timestamp
        The last bar that counts.
    days : int, default=90
        How far back.

    Returns
    -------
    DataFrame of shape (n_symbols, n_factors)
        A factor has a beta of 1 to itself and 0 to the others; NaN where a symbol shares fewer
        than 30 bars with the factors.

    Raises
    ------
    DataError
        If a factor is not in the market.
    """
    market.select(factors)
    bars = round(days * _DAY / market.bar_length)
    close = market.until(until, bars=bars + 1).close
    logs = pd.DataFrame(np.diff(np.log(close.to_numpy()), axis=0), columns=close.columns)
    table = pd.DataFrame(np.nan, index=market.symbols, columns=list(factors))
    for symbol in market.symbols:
        if symbol in factors:
            table.loc[symbol] = [float(symbol == factor) for factor in factors]
            continue
        both = logs[[*factors, symbol]].dropna().to_numpy()
        if len(both) >= MIN_ROWS:
            x, y = both[:, :-1], both[:, -1]
            table.loc[symbol] = np.linalg.lstsq(x - x.mean(axis=0), y - y.mean(), rcond=None)[0]
    return table


def shock_sizes(market: Market, shock: Shock, *, until: pd.Timestamp) -> Floats:
    """Return the whole move of every symbol in a shock, in logs, of shape (n_symbols,).

    Betas are those of the days up to ``until``; a symbol that is too new to have one follows like
    the others on average.
    """
    rest = shock.moves.get(EVERY, 0.0)
    sizes = np.array([log1p(shock.moves.get(symbol, rest)) for symbol in market.symbols])
    if shock.factors:
        sensitivity = betas(market, list(shock.factors), until=until)
        sensitivity = sensitivity.fillna(sensitivity.mean())
        sizes += sensitivity.to_numpy() @ [log1p(move) for move in shock.factors.values()]
    return sizes


def shock_moves(market: Market, shocks: Sequence[Shock] | None = None) -> pd.DataFrame:
    """Return what each shock does to each price, by betas known at the market's last bar.

    Parameters
    ----------
    market : Market
    shocks : sequence of Shock, optional
        Those of the package by default. One that moves no price and no funding (costs, liquidity,
        correlation) says nothing of a book at rest and is left out.

    Returns
    -------
    DataFrame of shape (n_shocks, n_symbols)
        Whole moves as fractions, before any recovery. NaN where the market lacks a factor.
    """
    chosen = load_shocks() if shocks is None else shocks
    moving = [s for s in chosen if s.factors or s.moves or s.funding_add]
    rows = {
        shock.name: np.expm1(shock_sizes(market, shock, until=market.index[-1]))
        if set(shock.factors) <= set(market.symbols)
        else np.full(len(market.symbols), np.nan)
        for shock in moving
    }
    return _table(rows, market.close)


def episode_moves(
    close: pd.DataFrame, value: pd.Series, episodes: Sequence[Episode] | None = None
) -> pd.DataFrame:
    """Return what each episode did to prices up to the moment that is worst for a book.

    Parameters
    ----------
    close : DataFrame of shape (n_bars, n_symbols)
        Indexed by ``known_at``; between bars nothing is seen, so shorter bars find worse moments.
    value : Series of shape (n_symbols,)
        Signed value of the book in each symbol.
    episodes : sequence of Episode, optional

    Returns
    -------
    DataFrame of shape (n_episodes, n_symbols)
        Moves since the close at the start. NaN where a symbol did not trade then; a row of NaN
        where no held one did.
    """
    chosen = load_episodes() if episodes is None else episodes
    rows = {episode.name: _worst(_since_start(close, episode), value) for episode in chosen}
    return _table(rows, close)


def worst_moves(close: pd.DataFrame, value: pd.Series, spans: Mapping[str, int]) -> pd.DataFrame:
    """Return what prices did in the stretch of history that is worst for a book.

    Parameters
    ----------
    close : DataFrame of shape (n_bars, n_symbols)
    value : Series of shape (n_symbols,)
        Signed value of the book in each symbol.
    spans : mapping of str to int
        Bars of each stretch by its name: ``{"worst day": 24, "worst week": 168}`` of hours.

    Returns
    -------
    DataFrame of shape (n_spans, n_symbols)
    """
    rows = {n: _worst(close / close.shift(bars) - 1.0, value) for n, bars in spans.items()}
    return _table(rows, close)


def follow_others(moves: pd.DataFrame) -> pd.DataFrame:
    """Return moves in which a symbol without one moves as the others do on average."""
    average = moves.mean(axis=1).to_numpy()[:, None]
    return pd.DataFrame(np.where(moves.notna(), moves, average), moves.index, moves.columns)


def _since_start(close: pd.DataFrame, episode: Episode) -> pd.DataFrame:
    start, stop = (
        int(close.index.searchsorted(pd.Timestamp(moment), side="right"))
        for moment in (episode.start, episode.end)
    )
    if start == 0 or close.index[-1] < pd.Timestamp(episode.end):
        return close.iloc[:0]
    path = close.iloc[start - 1 : stop]
    return path / path.iloc[0] - 1.0


def _worst(moves: pd.DataFrame, value: pd.Series) -> Floats:
    held = value[value != 0]
    lacking = [str(symbol) for symbol in held.index if symbol not in moves]
    if lacking or not len(held) or not np.isfinite(held).all():
        raise DataError(
            f"There are no prices of {', '.join(lacking)}."
            if lacking
            else "Nothing is held, or a value is missing.",
            "Give finite values of symbols that have prices, one of them not zero.",
        )
    profit = follow_others(moves[held.index]).to_numpy() @ held.to_numpy(dtype=np.float64)
    if not np.isfinite(profit).any():
        return np.full(moves.shape[1], np.nan)
    return moves.iloc[int(np.nanargmin(profit))].to_numpy(dtype=np.float64)


def _table(rows: Mapping[str, Floats], close: pd.DataFrame) -> pd.DataFrame:
    table = pd.DataFrame.from_dict(dict(rows), orient="index", columns=close.columns)
    return table.rename_axis("scenario")
