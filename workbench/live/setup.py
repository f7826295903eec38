"""The set-up: from a configuration to an engine that is ready to run, or a reason why not.

Nothing here starts anything; what asks the exchange is called in a thread by ``live.run``.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import TYPE_CHECKING, Final

import numpy as np

from workbench.core.config import Config
from workbench.core.errors import ConfigError, EvidenceError
from workbench.core.layers import find_root
from workbench.core.records import Instrument, interval_delta
from workbench.evidence.stages import PROFILES, Venue
from workbench.exchange.client import BybitClient
from workbench.exchange.preflight import Finding, preflight
from workbench.exchange.words import MarginMode
from workbench.lifecycle.book import Book
from workbench.live.engine import Engine, World
from workbench.live.history import fetch_rows, load_rows
from workbench.live.rights import Rights
from workbench.live.roster import Roster, Runner
from workbench.live.window import CLOSE, MARK, Row, Window
from workbench.monitor.limits import LimitBook
from workbench.portfolio.rounds import Rounds
from workbench.risk.diversity import find_sectors
from workbench.risk.outlook import Forecaster
from workbench.risk.sizer import Sizing
from workbench.risk.system import RiskSystem
from workbench.strategies.identity import strategy_hash
from workbench.strategies.registry import load_strategy

if TYPE_CHECKING:
    from workbench.core.vault import PublicKey
    from workbench.store import Store

PLACES: Final = {
    "paper": "http://127.0.0.1:8900",
    "demo": "https://api-demo.bybit.com",
    "testnet": "https://api-testnet.bybit.com",
}
"""Where a profile trades unless ``exchange.rest_url`` is set."""
OF_MARKET: Final = {
    # A synthetic market goes on as a live one does; evidence from it counts on it alone.
    "recorded": Venue.SIMULATOR,
    "synthetic": Venue.SIMULATOR_LIVE,
    "live": Venue.SIMULATOR_LIVE,
}
LOCK: Final = "requirements.lock"


@dataclass(slots=True)
class Parts:
    """What a run is made of before it has an engine."""

    config: Config
    store: Store
    client: BybitClient
    venue: Venue
    rights: Rights
    runners: list[Runner]
    capital: dict[str, Decimal]
    refused: list[EvidenceError] = field(default_factory=list)
    instruments: dict[str, Instrument] = field(default_factory=dict)

    @property
    def symbols(self) -> tuple[str, ...]:
        """What is traded."""
        return self.config.trade.symbols

    @property
    def names(self) -> list[str]:
        """The strategies that trade."""
        return [runner.name for runner in self.runners]


def gather(
    config: Config,
    store: Store,
    client: BybitClient,
    public_keys: Sequence[PublicKey],
    *,
    names: Sequence[str] = (),
) -> Parts:
    """Load the strategies that may trade here; those that may not are named with the reason.

    Raises
    ------
    ConfigError
        If the endpoint is not that of the profile, or no strategy is named.
    EvidenceError
        If none may trade.
    """
    venue = find_place(config, client)
    is_synthetic = client.venue.name == "simulator" and config.trade.market == "synthetic"
    is_paper = PROFILES[venue] == "paper"
    rights = Rights(
        read=lambda: Book(store, clock=client.clock),
        public_keys=public_keys,
        venue=venue,
        is_synthetic=is_synthetic,
        lock_hash=None if is_paper else find_lock(),
        book=Book(store, clock=client.clock),
    )
    parts = Parts(config, store, client, venue, rights, [], {})
    for runner in _load(config, names):
        try:
            permit = rights.permit(runner.strategy_hash)
        except EvidenceError as error:
            parts.refused.append(
                EvidenceError(
                    f"{runner.name} does not trade: {error.what}",
                    f"{error.fix} A new strategy: `workbench stage promote {runner.name}`.",
                )
            )
            continue
        parts.runners.append(runner)
        parts.capital[runner.name] = permit.capital_usdt
    if not parts.runners:
        raise parts.refused[0]
    return parts


def find_place(config: Config, client: BybitClient) -> Venue:
    """Return the venue of a configuration, if it is that of its profile.

    Raises
    ------
    ConfigError
        If orders would go elsewhere than the profile says.
    """
    name = client.venue.name
    venue = OF_MARKET[config.trade.market] if name == "simulator" else Venue(name)
    if PROFILES[venue] != config.profile:
        raise ConfigError(
            f"The profile {config.profile} does not trade on {config.exchange.rest_url} ({name}).",
            f"Use --profile {PROFILES[venue]}, or set exchange.rest_url.",
        )
    return venue


def find_lock() -> str | None:
    """Return the hash of the locked packages of the project."""
    root = find_root().resolve()
    locks = (place / LOCK for place in (root, *root.parents))
    lock = next((path for path in locks if path.is_file()), None)
    return None if lock is None else hashlib.sha256(lock.read_bytes()).hexdigest()


def check_account(parts: Parts) -> list[Finding]:
    """Look at clock, key, account and symbols, and set the leverage where that costs nothing.

    Raises
    ------
    ConfigError
        Naming everything that must not be traded with.
    """
    config, client = parts.config, parts.client
    leverage = Decimal(repr(config.account.margin_leverage))
    mode = MarginMode.ISOLATED if config.account.is_isolated else MarginMode.CROSS
    parts.instruments = {own.symbol: own for own in client.instruments(parts.symbols)}
    if not client.venue.is_real:
        held = {position.symbol for position in client.positions()}
        for symbol in parts.symbols:
            if symbol not in held:
                most = min(leverage, parts.instruments[symbol].max_leverage)
                client.set_leverage(symbol, most)
    found = preflight(client, parts.symbols, leverage=leverage, margin_mode=mode)
    reds = [own for own in found if own.level == "red"]
    if reds:
        raise ConfigError(
            "; ".join(f"{own.name}: {own.seen}" for own in reds) + ".",
            " ".join(dict.fromkeys(own.fix for own in reds)),
        )
    return found


def fetch(parts: Parts) -> Callable[[datetime, datetime], list[Row]]:
    """Return what asks REST for closed bars."""
    client, interval = parts.client, parts.config.trade.interval
    return lambda first, last: fetch_rows(client, parts.symbols, interval, first, last)


def warm(parts: Parts, bars: int) -> list[Row]:
    """Return the bars of before: what forecasts need, from the lake and, after it, from REST."""
    trade = parts.config.trade
    length = interval_delta(trade.interval)
    wanted = max(bars, int(timedelta(days=trade.warm_days) / length))
    now = parts.client.time.now()
    last = datetime.fromtimestamp(
        now.timestamp() // length.total_seconds() * length.total_seconds(), tz=now.tzinfo
    )
    first = last - (wanted - 1) * length
    rows: list[Row] = []
    # Only the mainnet's own market is in the lake: demo and a live simulator have it as well.
    is_real = parts.venue in (Venue.MAINNET, Venue.DEMO)
    if is_real or (parts.venue is Venue.SIMULATOR_LIVE and trade.market == "live"):
        rows = load_rows(parts.config.lake_dir, "bybit", parts.symbols, trade.interval, first, last)
        rows = _without_gap(rows, length)
    since = rows[-1].known_at + length if rows else first
    return rows + fetch(parts)(since, last)


def build(parts: Parts, rows: Sequence[Row], world: World, *, is_inline: bool = False) -> Engine:
    """Return the engine, its forecasts warm."""
    config, trade = parts.config, parts.config.trade
    book = LimitBook(
        parts.store, clock=parts.client.clock, cooldown_hours=config.risk.cooldown_hours
    )
    limits = book.in_force().limits
    length, n = interval_delta(trade.interval), len(parts.symbols)
    roster = Roster(parts.runners, timeout_s=trade.timeout_s, is_inline=is_inline)
    a_day = max(2, round(timedelta(days=1) / length))
    window = Window(
        parts.symbols, trade.interval, parts.instruments, bars=max(roster.lookback, a_day),
        is_synthetic=parts.rights.is_synthetic,
    )  # fmt: skip
    window.extend(rows)
    forecaster = Forecaster(n, bar_length=length, level=limits.value_at_risk_level)
    for row in rows:
        forecaster.update(row.values[CLOSE], row.values[MARK])
    system = RiskSystem(
        limits,
        symbols=parts.symbols,
        strategies=parts.names,
        instruments=parts.instruments,
        sectors=find_sectors(parts.symbols),
        leverage=config.account.leverage,
        margin_leverage=config.account.margin_leverage,
    )
    sizing = Sizing(
        [None] * len(parts.runners), n_symbols=n, leverage=config.account.leverage,
        seed=config.seed,
    )  # fmt: skip
    bands = np.array([runner.strategy.rebalance_band for runner in parts.runners])
    rounds = Rounds(system, forecaster, sizing, bands=bands)
    return Engine(world, window, roster, rounds, capital=parts.capital)


def journal_path(config: Config) -> Path:
    """Return where the engine of a profile writes."""
    return config.live_dir / f"{config.profile}.jsonl"


def _load(config: Config, names: Sequence[str]) -> list[Runner]:
    trade, runners = config.trade, []
    for name in names or list(trade.strategies):
        own = trade.strategies.get(name)
        use, params = (name, {}) if own is None else (own.use, own.params)
        symbols = own.symbols if own is not None and own.symbols else trade.symbols
        strange = set(symbols) - set(trade.symbols)
        if strange:
            raise ConfigError(
                f"{name} is to trade {', '.join(sorted(strange))}, which the engine does not.",
                "Add them to trade.symbols.",
            )
        strategy = load_strategy(use, params, registered=config.strategies)
        runners.append(Runner(name, strategy, strategy_hash(strategy), symbols))
    if not runners:
        raise ConfigError(
            "No strategy is to be traded.",
            "Name one with --strategy, or in [trade.strategies.<name>] of workbench.toml.",
        )
    return runners


def _without_gap(rows: list[Row], length: timedelta) -> list[Row]:
    # After a hole everything is asked for again.
    for i in range(len(rows) - 1, 0, -1):
        if rows[i].known_at - rows[i - 1].known_at != length:
            return rows[i:]
    return rows
