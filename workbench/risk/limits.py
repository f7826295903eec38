"""Limits as data: what may be risked, in two modes, and which way of a change is tighter."""

from __future__ import annotations

import tomllib
from importlib.resources import files
from pathlib import Path
from typing import Annotated, Final, Literal, NamedTuple, Self

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from workbench.core.errors import ConfigError
from workbench.risk.breakers import Kind

PLACE: Final = files("workbench.risk") / "modes"

BEYOND: Final = 5.0
"""Trim bands beyond its limit at which the breaker of the value at risk opens."""

Way = Literal["tighter", "looser", "other"]
_DOWN, _UP = "lower is tighter", "higher is tighter"

Ceiling = Annotated[float, Field(gt=0), _DOWN]
Share = Annotated[float, Field(ge=0, le=1), _DOWN]
Floor = Annotated[float, Field(ge=0), _UP]
Free = Annotated[float, Field(gt=0)]


class Limits(BaseModel):
    """What an account may risk. Fractions are of the equity unless a field says otherwise.

    Attributes
    ----------
    mode : str
        Their name, and ``version``, which of them.
    risk_per_trade, risk_per_trade_large : float
        Loss at the stop that one entry may cost, up to ``decay_from_usdt`` of equity and from
        ``decay_to_usdt`` on; between them it falls by ``decay``, without a jump.
    max_heat : float
        Loss if every stop is hit at once.
    min_reward_risk : float
        Take-profit over stop distance, where a strategy gives both.
    max_gross, max_net : float
        Sum of absolute and of signed position values.
    max_symbol_share, max_sector_share : float
        Of ``max_gross`` that one symbol and one sector may take.
    max_turnover_share : float
        Position value over the value traded in a day.
    max_positions : int
        Positions of all strategies together.
    max_strategies, max_strategy_share : int, float
        Strategies at a time, and what one may be allotted of the equity.
    min_free_margin : float
        Share of the equity that initial margin must leave.
    min_liquidation_distance : float
        Move of every position against the account at once that it must survive.
    max_value_at_risk, value_at_risk_level : float
        Loss of a day that is not exceeded at that level, by forecast.
    max_daily_loss, max_drawdown, max_strategy_drawdown : float
        Losses at which entries stop; ``drawdown_action`` says whether positions close as well.
    max_volatility_ratio : float
        Volatility over its usual at which entries stop.
    max_age_bars, max_stale_share : float
        Bars of delay after which a symbol's data are stale, and the share of stale symbols at which
        all entries stop.
    max_reject_rate, max_orders_per_min : float
        Share of orders refused by the exchange, and orders sent in a minute.
    price_collar : float
        Distance from the mark beyond which no order is sent.
    min_sharpe, min_consistency : float
        Annual Sharpe ratio and share of days that do not lose, over ``performance_days``; below
        them the account's risk level is high.
    stop_volatilities, max_stop, take_profit : float
        The bracket of an entry that brings none: a stop at so many daily volatilities, at most
        ``max_stop`` away, and a take-profit (0 for none).
    regime_normal, regime_high, regime_crisis : float
        Share of an entry's size that a regime leaves; low is as normal, unknown as high.
    usual_correlation, correlation_floor : float
        Mean correlation up to which nothing is taken, and the share that is left at most beyond.
    trim_band : float
        How far beyond a limit prices may carry a position before it is cut back, as a share of the
        limit.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    mode: str = Field(min_length=1)
    version: int = Field(ge=1)
    risk_per_trade: Ceiling
    risk_per_trade_large: Ceiling
    decay: Literal["exponential", "linear"] = "exponential"
    decay_from_usdt: Free = 10_000.0
    decay_to_usdt: Free = 100_000.0
    max_heat: Ceiling
    min_reward_risk: Floor
    max_gross: Ceiling
    max_net: Ceiling
    max_symbol_share: Ceiling
    max_sector_share: Ceiling
    max_turnover_share: Ceiling
    max_positions: Annotated[int, Field(ge=1), _DOWN]
    max_strategies: Annotated[int, Field(ge=1), _DOWN]
    max_strategy_share: Ceiling
    min_free_margin: Annotated[float, Field(ge=0, lt=1), _UP]
    min_liquidation_distance: Annotated[float, Field(ge=0, lt=1), _UP]
    max_value_at_risk: Ceiling
    value_at_risk_level: Annotated[float, Field(gt=0.5, lt=1), _UP] = 0.95
    max_daily_loss: Ceiling
    max_drawdown: Ceiling
    max_strategy_drawdown: Ceiling
    drawdown_action: Literal["block", "close"] = "close"
    max_volatility_ratio: Ceiling
    max_age_bars: Ceiling
    max_stale_share: Ceiling
    max_reject_rate: Ceiling
    max_orders_per_min: Ceiling
    price_collar: Ceiling
    min_sharpe: Floor
    min_consistency: Floor
    performance_days: int = Field(default=90, ge=30)
    stop_volatilities: Free
    max_stop: Free
    take_profit: float = Field(ge=0)
    regime_normal: Share
    regime_high: Share
    regime_crisis: Share
    usual_correlation: Annotated[float, Field(ge=0, lt=1)] = 0.6
    correlation_floor: Share
    trim_band: Annotated[float, Field(ge=0, le=0.5), _DOWN] = 0.02

    @model_validator(mode="after")
    def _check(self) -> Self:
        falling = {
            ("risk_per_trade", "risk_per_trade_large"),
            ("max_heat", "risk_per_trade"),
            ("max_gross", "max_net"),
            ("max_sector_share", "max_symbol_share"),
            ("max_drawdown", "max_strategy_drawdown"),
            ("max_drawdown", "max_daily_loss"),
            ("decay_to_usdt", "decay_from_usdt"),
            ("regime_normal", "regime_high"),
            ("regime_high", "regime_crisis"),
        }
        for larger, smaller in sorted(falling):
            if getattr(self, larger) < getattr(self, smaller):
                raise ValueError(f"{larger} is below {smaller}")
        return self

    @property
    def title(self) -> str:
        """The name and version, as reports show them."""
        return f"{self.mode} (version {self.version})"


class Difference(NamedTuple):
    """One limit that a change would move, and which way."""

    field: str
    old: object
    new: object
    way: Way


def list_modes() -> list[str]:
    """Return the names of the modes that come with the package."""
    return sorted(entry.name[:-5] for entry in PLACE.iterdir() if entry.name.endswith(".toml"))


def load_limits(name: str = "conservative") -> Limits:
    """Return the limits of a mode, or out of a TOML file of one's own.

    A file of one's own holds every limit: one that is left out is an error, never a default.

    Raises
    ------
    ConfigError
        If there is no such mode, or the file does not hold limits.
    """
    place = Path(name) if name.endswith(".toml") else PLACE / f"{name}.toml"
    if not place.is_file():
        raise ConfigError(
            f"There is no mode {name!r}.",
            f"Take one of {', '.join(list_modes())}, or give the path of a .toml file.",
        )
    try:
        return Limits.model_validate(tomllib.loads(place.read_text(encoding="utf-8")))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ConfigError(f"{place} is not valid TOML: {error}.", "Correct that line.") from error
    except ValidationError as error:
        raise ConfigError(
            f"{place} does not hold limits: {_first(error)}.",
            "Compare it with the mode 'conservative' of the package.",
        ) from error


def change_limits(limits: Limits, **fields: object) -> Limits:
    """Return limits with some fields changed and everything checked again.

    Raises
    ------
    ConfigError
        If a field is unknown, or the limits would contradict each other.
    """
    try:
        return Limits.model_validate(limits.model_dump() | fields)
    except ValidationError as error:
        raise ConfigError(
            f"These limits cannot be: {_first(error)}.",
            f"The fields are {', '.join(Limits.model_fields)}.",
        ) from error


def breaker_limits(limits: Limits) -> dict[Kind, float]:
    """Return the readings at which each breaker opens.

    That of the value at risk lies beyond what caps hold it to: it opens where they could not.
    """
    return {
        Kind.DAILY_LOSS: limits.max_daily_loss,
        Kind.DRAWDOWN: limits.max_drawdown,
        Kind.VALUE_AT_RISK: limits.max_value_at_risk * (1.0 + BEYOND * limits.trim_band),
        Kind.VOLATILITY: limits.max_volatility_ratio,
        Kind.STALE_DATA: limits.max_stale_share,
        Kind.REJECT_RATE: limits.max_reject_rate,
        Kind.ORDER_RATE: limits.max_orders_per_min,
    }


def compare_limits(old: Limits, new: Limits) -> list[Difference]:
    """Return every field that differs; what has no tighter way is ``other``.

    A change that is ``other`` is treated as a loosening by whoever must be careful.
    """
    answer = []
    for name, info in Limits.model_fields.items():
        before, after = getattr(old, name), getattr(new, name)
        if before == after or name in ("mode", "version"):
            continue
        way: Way = "other"
        if _DOWN in info.metadata:
            way = "tighter" if after < before else "looser"
        elif _UP in info.metadata:
            way = "tighter" if after > before else "looser"
        elif name == "drawdown_action":
            way = "tighter" if after == "close" else "looser"
        answer.append(Difference(name, before, after, way))
    return answer


def _first(error: ValidationError) -> str:
    first = error.errors()[0]
    where = ".".join(str(part) for part in first["loc"])
    return f"{where}: {first['msg']}" if where else str(first["msg"])
