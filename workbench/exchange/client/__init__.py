"""The one client of Bybit's V5 REST interface: pybit prepares, everything else is decided here."""

from __future__ import annotations

from typing import TYPE_CHECKING, cast

from workbench.core.errors import SecretError
from workbench.exchange.client.market import OI_INTERVALS
from workbench.exchange.client.trade import BybitClient
from workbench.exchange.optin import find_opt_in
from workbench.exchange.venues import find_venue

if TYPE_CHECKING:
    from workbench.core.clock import Clock
    from workbench.core.config import Config
    from workbench.core.vault import Vault
    from workbench.exchange.client.session import Login
    from workbench.store import Store

__all__ = ["OI_INTERVALS", "BybitClient", "open_client"]


def open_client(
    config: Config,
    *,
    vault: Vault | None = None,
    store: Store | None = None,
    clock: Clock | None = None,
) -> BybitClient:
    """Return the client of the configuration's exchange.

    Without a vault it reads public data; with one it has the key of its environment, and on the
    mainnet it may send orders if the store holds the opt-in.

    Raises
    ------
    SecretError
        If the vault has no exchange key for this environment.
    """
    settings = config.exchange
    name = find_venue(settings.rest_url).key_name
    login, opt_in = None, None
    if vault is not None:
        entry = next((own for own in vault.entries() if own.name == name), None)
        if entry is None or entry.kind != "exchange":
            raise SecretError(
                f"The vault has no exchange key {name!r} for {settings.rest_url}.",
                f"`workbench keys add {name} --kind exchange`; keys of other environments do not "
                "count.",
            )
        login = cast("Login", vault.get(name))
        opt_in = None if store is None else find_opt_in(config, store, entry)
    return BybitClient(
        settings.rest_url,
        login=login,
        opt_in=opt_in,
        clock=clock,
        timeout_s=settings.timeout_s,
        requests_per_s=settings.requests_per_s,
    )
