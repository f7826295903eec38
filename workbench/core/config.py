"""The configuration: what can be set, within which bounds, and what the live profile demands.

``load_config`` reads it in layers (``core/layers``), lowest first: defaults, ``workbench.toml``,
``workbench.<profile>.toml``, environment variables (``WORKBENCH_DATA_DIR``; two underscores lead
into a section: ``WORKBENCH_STORE__URL``), arguments. Sections merge key by key.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from math import isfinite
from pathlib import Path
from typing import Annotated, Any, Final, Literal, NamedTuple, Self
from urllib.parse import urlsplit

from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    Field,
    PrivateAttr,
    SecretStr,
    ValidationError,
    WrapValidator,
    model_validator,
)
from pydantic_core import ErrorDetails, PydanticCustomError
from pydantic_settings import BaseSettings, PydanticBaseSettingsSource, SettingsConfigDict

from workbench.core.costs import Costs
from workbench.core.errors import ConfigError, WorkbenchError
from workbench.core.layers import DEFAULT, Layers, find_root, leaves, read_layers, variable_name
from workbench.core.records import Account

Profile = Literal["dev", "test", "paper", "demo", "testnet", "live"]

LIVE_CHOICES: Final = (
    "data_dir",
    "store.url",
    "exchange.rest_url",
    "costs.maker_fee_bps",
    "costs.taker_fee_bps",
    "account.capital_usdt",
    "account.leverage",
    "panels.token",
)
"""What the live profile takes from nobody but the user: no default is good enough for money."""

_LOOPBACK: Final = ("127.0.0.1", "localhost", "::1")
_SENTENCE: Final = "sentence"


class Setting(NamedTuple):
    """One value of the configuration as it may be shown, and the layer it came from."""

    value: str
    origin: str


def _rest_url(url: str) -> str:
    parts = urlsplit(url)
    if parts.password or parts.username:
        raise ValueError("an address without a name or password in it")
    if not parts.hostname or parts.scheme not in ("http", "https"):
        raise ValueError("an address such as https://api.bybit.com")
    if parts.scheme == "http" and parts.hostname not in _LOOPBACK:
        raise ValueError("an https address (plain http only to this machine)")
    return url.rstrip("/")


def _store_url(url: str) -> str:
    parts = urlsplit(url)
    if parts.password:
        raise ValueError(
            "an address without a password in it (WORKBENCH_STORE__PASSWORD takes the password)"
        )
    if parts.scheme.split("+")[0] not in ("sqlite", "postgresql"):
        raise ValueError("an address such as sqlite:///data/workbench.db or postgresql://host/name")
    return url


def _reference(ref: str) -> str:
    place, _, name = ref.rpartition(":")
    if not place or not name.isidentifier():
        raise ValueError("a place such as module:Class or file.py:Class")
    return ref


def _token(secret: SecretStr | None) -> SecretStr | None:
    if secret is not None and len(secret.get_secret_value()) < 16:
        raise ValueError("a secret of at least 16 characters")
    return secret


def _checked(value: Any, build: Callable[[Any], Any]) -> Any:
    try:
        section = build(value)
    except WorkbenchError as error:
        raise PydanticCustomError(_SENTENCE, "{text}", {"text": str(error)}) from error
    endless = [key for key, number in leaves(section) if _is_endless(number)]
    if endless:
        raise ValueError(f"finite numbers ({', '.join(endless)})")
    return section


def _is_endless(value: object) -> bool:
    return isinstance(value, float) and not isfinite(value)


class _Section(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True)


class StoreSettings(_Section):
    """Where runs, trials, snapshots and events are kept."""

    url: Annotated[str, AfterValidator(_store_url)]
    password: SecretStr | None = None
    busy_timeout_s: float = Field(default=30.0, gt=0, le=600)


class ExchangeSettings(_Section):
    """Which exchange data come from and orders go to, and how politely it is asked.

    ``mainnet`` is the first of the two opt-ins to trade real money; the second is recorded by
    ``workbench keys enable``.
    """

    rest_url: Annotated[str, AfterValidator(_rest_url)] = "https://api.bybit.com"
    requests_per_s: float = Field(default=10.0, gt=0, le=100)
    timeout_s: float = Field(default=10.0, gt=0, le=120)
    mainnet: bool = False


class PanelsSettings(_Section):
    """Where the panels listen, and the token that opens them (None: a new one at each start)."""

    host: str = Field(default="127.0.0.1", min_length=1)
    port: int = Field(default=8866, ge=1, le=65535)
    token: Annotated[SecretStr | None, AfterValidator(_token)] = None


class GraduationSettings(_Section):
    """Which set of gates leads from stage to stage, and how long a permit lasts."""

    gates: Literal["default", "classic"] = "default"
    permit_days: int = Field(default=30, ge=1, le=90)


class RiskSettings(_Section):
    """How long a loosening of the limits waits after a person has confirmed it."""

    cooldown_hours: float = Field(default=24.0, ge=1, le=720)


class SupervisorSettings(_Section):
    """When the supervisor steps in, how, and on which port of this machine it listens.

    An engine that is silent for ``silent_s`` loses its entries, after ``grace_s`` more everything.
    The limits lie beyond those of risk: they are for the day on which risk itself has failed.
    """

    silent_s: float = Field(default=10.0, gt=0, le=600)
    grace_s: float = Field(default=60.0, ge=0, le=3_600)
    max_drawdown: float = Field(default=0.3, gt=0, lt=1)
    max_daily_loss: float = Field(default=0.1, gt=0, lt=1)
    bare_s: float = Field(default=30.0, gt=0, le=600)
    stop_distance: float = Field(default=0.1, gt=0, lt=1)
    collar: float = Field(default=0.01, gt=0, le=0.2)
    poll_s: float = Field(default=1.0, ge=0.02, le=10)
    watchdog_s: float = Field(default=30.0, ge=1, le=600)
    port: int = Field(default=8871, ge=0, le=65535)


class TradedSettings(_Section):
    """A strategy that the engine trades: a name or place, its parameters, and its own symbols."""

    use: str = Field(min_length=1)
    params: dict[str, Any] = Field(default_factory=dict)
    symbols: tuple[str, ...] = ()


class TradeSettings(_Section):
    """What the engine trades and how.

    ``market`` says what stands behind a simulator: a recorded market, a synthetic or the live one;
    ``foreign`` what is done about orders and positions that others brought about.
    """

    symbols: Annotated[tuple[str, ...], Field(min_length=1)] = ("BTCUSDT",)
    interval: str = "60"
    market: Literal["recorded", "synthetic", "live"] = "recorded"
    foreign: Literal["adopt", "halt"] = "adopt"
    timeout_s: float = Field(default=10.0, gt=0, le=300)
    reconcile_s: float = Field(default=60.0, ge=1, le=3_600)
    warm_days: float = Field(default=120.0, ge=1, le=1_000)
    strategies: dict[str, TradedSettings] = Field(default_factory=dict)


class AlertsSettings(_Section):
    """Where alerts go (addresses of apprise, with spaces between), and how often the same one."""

    targets: SecretStr | None = None
    cooldown_s: float = Field(default=300.0, ge=0, le=86_400)
    escalate_s: float = Field(default=900.0, gt=0, le=86_400)


class Config(BaseSettings):
    """Every setting of the workbench; made by ``load_config``, never changed afterwards."""

    model_config = SettingsConfigDict(
        env_prefix="WORKBENCH_",
        env_nested_delimiter="__",
        frozen=True,
        extra="forbid",
        hide_input_in_errors=True,
    )

    profile: Profile = "dev"
    data_dir: Path
    seed: int = Field(default=7, ge=0, lt=2**32)
    store: StoreSettings
    exchange: ExchangeSettings = ExchangeSettings()
    costs: Annotated[Costs, WrapValidator(_checked)] = Costs()
    account: Annotated[Account, WrapValidator(_checked)] = Account()
    panels: PanelsSettings = PanelsSettings()
    graduation: GraduationSettings = GraduationSettings()
    risk: RiskSettings = RiskSettings()
    supervisor: SupervisorSettings = SupervisorSettings()
    alerts: AlertsSettings = AlertsSettings()
    trade: TradeSettings = TradeSettings()
    strategies: dict[str, Annotated[str, AfterValidator(_reference)]] = Field(default_factory=dict)

    _origins: dict[str, str] = PrivateAttr(default_factory=dict)

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """Take the merged layers only: ``load_config`` reads them, to know each origin."""
        return (init_settings,)

    @model_validator(mode="before")
    @classmethod
    def _place(cls, values: dict[str, Any]) -> dict[str, Any]:
        """Put relative places under the project and the store under the data."""
        root = find_root()
        data_dir = values.get("data_dir", "data")
        if not isinstance(data_dir, str | Path):
            return {**values, "store": values.get("store", {"url": "sqlite://"})}
        data_dir = root / Path(data_dir).expanduser()
        store = values.get("store", {})
        if isinstance(store, Mapping):
            url = store.get("url", f"sqlite:///{data_dir / 'workbench.db'}")
            store = {**store, "url": _under(root, url) if isinstance(url, str) else url}
        return {**values, "data_dir": data_dir, "store": store}

    @model_validator(mode="after")
    def _agree(self) -> Self:
        account = self.account
        if account.leverage > account.margin_leverage:
            raise PydanticCustomError(
                _SENTENCE,
                "account.leverage ({asked}) needs an account.margin_leverage as high ({held} now): "
                "margin for a full weight could never be held.",
                {"asked": account.leverage, "held": account.margin_leverage},
            )
        host = urlsplit(self.exchange.rest_url).hostname or ""
        if self.profile == "live" and (host in _LOOPBACK or "testnet" in host or "demo" in host):
            raise PydanticCustomError(
                _SENTENCE,
                "The live profile trades on the real exchange, not {host}: set exchange.rest_url.",
                {"host": host},
            )
        return self

    @property
    def lake_dir(self) -> Path:
        """Where the Parquet files of market data are."""
        return self.data_dir / "lake"

    @property
    def runs_dir(self) -> Path:
        """Where executed notebooks and their reports are."""
        return self.data_dir / "runs"

    @property
    def supervisor_dir(self) -> Path:
        """Where heartbeats, the latch and the file STOP are."""
        return self.data_dir / "supervisor"

    @property
    def live_dir(self) -> Path:
        """Where the journals of trading are."""
        return self.data_dir / "live"

    @property
    def vault_path(self) -> Path:
        """Where the encrypted secrets are."""
        return self.data_dir / "vault.json"


def load_config(
    *, profile: str | None = None, overrides: Mapping[str, object] | None = None
) -> Config:
    """Read, check and merge every layer; ``overrides`` may be nested or have dotted keys.

    Raises
    ------
    ConfigError
        If a key is unknown, a value does not fit, or the live profile would run on a default.
    """
    arguments = {**(overrides or {}), **({"profile": profile} if profile else {})}
    layers = read_layers(Config, arguments)
    try:
        config = Config(**layers.values)
    except ValidationError as error:
        # Its text and its chain hold what was given, which may be a secret.
        raise _explain(error, layers) from None
    origins = {key: layers.origin(key) for key, _ in leaves(config)}
    if config.profile == "live":
        _refuse_defaults(origins)
    object.__setattr__(config, "_origins", origins)
    return config


def config_origins(config: Config) -> dict[str, str]:
    """Return where each value came from: a file, a variable, ``argument`` or ``default``."""
    return dict(config._origins)


def config_settings(config: Config) -> dict[str, Setting]:
    """Return each value as text with its origin; secrets are masked."""
    return {
        key: Setting("" if value is None else str(value), config._origins.get(key, DEFAULT))
        for key, value in leaves(config)
    }


def _under(root: Path, url: str) -> str:
    prefix = "sqlite:///"
    path = url.removeprefix(prefix)
    is_relative = (
        url.startswith(prefix) and path not in ("", ":memory:") and not path.startswith("/")
    )
    return f"{prefix}{root / path}" if is_relative else url


def _refuse_defaults(origins: Mapping[str, str]) -> None:
    missing = [key for key in LIVE_CHOICES if origins[key] == DEFAULT]
    if missing:
        raise ConfigError(
            f"The live profile has no value of your own for {', '.join(missing)}.",
            "Choose each in workbench.live.toml, or by a variable such as "
            f"{variable_name(missing[0])}; defaults are never used for money.",
        )


def _explain(error: ValidationError, layers: Layers) -> ConfigError:
    seen, wanted = [], []
    for problem in error.errors(include_url=False, include_context=False):
        key = ".".join(str(part) for part in problem["loc"])
        given = [
            f"{name} = {layers.show(name)} from {layers.origin(name)}" for name in layers.given(key)
        ]
        seen.append(f"The configuration has {', '.join(given) or f'no {key}'}.")
        wanted.append(_wanted(key, problem))
    return ConfigError(" ".join(dict.fromkeys(seen)), " ".join(wanted))


def _wanted(key: str, problem: ErrorDetails) -> str:
    if problem["type"] == _SENTENCE:
        return problem["msg"]
    message = problem["msg"].removeprefix("Value error, ").removeprefix("Input should be ")
    return f"{key} should be {message.partition(', unable')[0]}."
