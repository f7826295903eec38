"""Who may trade on a simulated exchange: accounts and their keys, from a file or made up."""

from __future__ import annotations

import secrets
import tomllib
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from pathlib import Path
from typing import Annotated, Final

from pydantic import AwareDatetime, BaseModel, ConfigDict, Field, ValidationError

from workbench.core.errors import ConfigError
from workbench.exchange.server.auth import TRADING, ApiKey
from workbench.exchange.simulator.simulator import Simulator
from workbench.exchange.words import MarginMode

DEMO_UID: Final = "1000001"
DEMO_USDT: Final = Decimal(10_000)


class _Part(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class _Key(_Part):
    key: Annotated[str, Field(min_length=4)]
    secret: str = ""
    rsa_public: str = ""
    permissions: dict[str, list[str]] | None = None
    read_only: bool = False
    addresses: list[str] = ["*"]
    expires: AwareDatetime | None = None


class _Account(_Part):
    uid: Annotated[str, Field(pattern=r"^\d{1,18}$")]
    wallet_usdt: Annotated[Decimal, Field(ge=0)] = DEMO_USDT
    margin_mode: MarginMode = MarginMode.CROSS
    fee_tier: str = "VIP0"
    keys: Annotated[list[_Key], Field(min_length=1)]


class _File(_Part):
    account: Annotated[list[_Account], Field(min_length=1)]


@dataclass(frozen=True, slots=True)
class Account:
    """An account as it is opened, and the keys to it."""

    uid: str
    keys: tuple[ApiKey, ...]
    wallet_usdt: Decimal = DEMO_USDT
    margin_mode: MarginMode = MarginMode.CROSS
    fee_tier: str = "VIP0"


def make_account(uid: str = DEMO_UID, *, wallet_usdt: Decimal = DEMO_USDT) -> Account:
    """Return an account with one key that nobody else can know."""
    key = ApiKey(secrets.token_urlsafe(12), secrets.token_urlsafe(27), uid)
    return Account(uid, (key,), wallet_usdt)


def read_accounts(path: Path) -> list[Account]:
    """Read accounts and keys from a TOML file.

    Raises
    ------
    ConfigError
        If the file is missing, or something in it is not understood.
    """
    try:
        table = _File.model_validate(tomllib.loads(path.read_text()))
    except OSError as error:
        raise ConfigError(f"{path} cannot be read: {error.strerror}.", "Give a file.") from error
    except tomllib.TOMLDecodeError as error:
        raise ConfigError(f"{path} is no TOML: {error}.", "Correct it.") from error
    except ValidationError as error:
        first = error.errors()[0]
        place = ".".join(map(str, first["loc"]))
        raise ConfigError(
            f"{path}: {place}: {first['msg']}.",
            "Each [[account]] has a uid, and [[account.keys]] with key and secret or rsa_public.",
        ) from error
    return [_read(row) for row in table.account]


def add_accounts(simulator: Simulator, accounts: Iterable[Account]) -> list[ApiKey]:
    """Open accounts at an exchange and return their keys."""
    keys: list[ApiKey] = []
    for account in accounts:
        simulator.add_account(
            account.uid, wallet_usdt=account.wallet_usdt, margin_mode=account.margin_mode,
            fee_tier=account.fee_tier,
        )  # fmt: skip
        keys += account.keys
    return keys


def _read(row: _Account) -> Account:
    keys = tuple(
        ApiKey(
            key.key, key.secret, row.uid, key.permissions or TRADING, key.read_only,
            tuple(key.addresses), _millis(key.expires), key.rsa_public,
        )
        for key in row.keys
    )  # fmt: skip
    if any(not (key.secret or key.rsa_public) for key in keys):
        raise ConfigError(f"A key of {row.uid} has no secret.", "Give secret or rsa_public.")
    return Account(row.uid, keys, row.wallet_usdt, row.margin_mode, row.fee_tier)


def _millis(moment: datetime | None) -> int | None:
    return None if moment is None else int(moment.timestamp() * 1_000)
