"""``workbench simulate``: a Bybit V5 exchange on this machine."""

from __future__ import annotations

import secrets
from contextlib import ExitStack, suppress
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final

import typer
from rich.text import Text

from workbench.cli.terminal import out
from workbench.core.config import load_config
from workbench.core.errors import ConfigError
from workbench.core.records import Market, interval_delta

if TYPE_CHECKING:
    from workbench.exchange.server import Journal
    from workbench.exchange.server.app import Follow
    from workbench.exchange.server.roster import Account
    from workbench.exchange.simulator import Simulator

LOOPBACK: Final = ("127.0.0.1", "localhost", "::1")
PAST_BARS: Final = 2_880
"""How much of a synthetic market is history when trading begins: two days of minutes."""
COMING_BARS: Final = 10_080
LIVE_HISTORY: Final = 1_000


def simulate(
    *,
    symbols: Annotated[str, typer.Option(help="Perpetuals, with commas between.")] = "BTCUSDT",
    source: Annotated[
        str, typer.Option(help="lake, synthetic, live (the real market), or a file of candles.")
    ] = "synthetic",
    interval: Annotated[str, typer.Option(help="Bar length: minutes, D or W.")] = "1",
    start: Annotated[
        datetime | None,
        typer.Option(
            formats=["%Y-%m-%d", "%Y-%m-%dT%H:%M"],
            help="When trading begins, UTC; now for a synthetic market.",
        ),
    ] = None,
    speed: Annotated[
        float, typer.Option(min=0, help="How much faster than time; 0: only when stepped.")
    ] = 1.0,
    host: Annotated[str, typer.Option(help="Where to listen.")] = "127.0.0.1",
    allow_remote: Annotated[
        bool, typer.Option("--allow-remote", help="Let other machines reach it.")
    ] = False,
    port: Annotated[int, typer.Option(min=0, max=65_535, help="0: any that is free.")] = 8900,
    seed: Annotated[
        int | None, typer.Option(help="Of everything random; that of the set-up.")
    ] = None,
    accounts: Annotated[
        Path | None,
        typer.Option(help="TOML of accounts and keys; one is made where none is given."),
    ] = None,
    journal: Annotated[Path | None, typer.Option(help="Write every frame to this file.")] = None,
    scenario: Annotated[
        str | None, typer.Option(help="Faults to play from the start: a name or a TOML file.")
    ] = None,
    exact: Annotated[
        bool, typer.Option("--exact", help="Fill as the backtest does: no book, no latency.")
    ] = False,
) -> None:
    """Run a Bybit V5 exchange on this machine: REST and four sockets on one port.

    Any client of Bybit trades on it by a change of address. Faults, time and scenarios are steered
    under /control with the token that is printed at the start.
    """
    from workbench.exchange.server import Exchange, ServerSettings, build_server, listen, machine_ms
    from workbench.exchange.server.acts import play
    from workbench.exchange.server.roster import add_accounts, make_account, read_accounts

    if host not in LOOPBACK and not allow_remote:
        raise ConfigError(
            f"{host} can be reached from other machines, and orders are not encrypted.",
            "Listen on 127.0.0.1, or say --allow-remote if you mean it.",
        )
    config = load_config()
    chosen = config.seed if seed is None else seed
    names = [name.strip().upper() for name in symbols.split(",") if name.strip()]
    roster = [make_account()] if accounts is None else read_accounts(accounts)
    follow: Follow | None = None
    if source == "live":
        simulator, follow = _live(names, chosen)
    else:
        began = start.replace(tzinfo=UTC) if start else None
        market, began = _market(names, source, interval, began, chosen)
        simulator = _simulator(market, began, chosen, is_exact=exact)
    keys = add_accounts(simulator, roster)
    settings = ServerSettings(speed=speed, seed=chosen)
    book = _journal(journal, symbols=names, source=source, seed=chosen, speed=speed)
    exchange = Exchange(simulator, keys, wall_ms=machine_ms(), settings=settings, journal=book)
    if scenario is not None:
        play(exchange, scenario)
    token = secrets.token_urlsafe(16)
    listener = listen(host, port)
    _tell(f"{host}:{listener.getsockname()[1]}", roster, token, is_made=accounts is None)
    with ExitStack() as ending:
        ending.callback(listener.close)
        if book is not None:
            ending.callback(book.close)
        # Ctrl-C ends it in order: it is how it is meant to be stopped.
        ending.enter_context(suppress(KeyboardInterrupt))
        build_server(exchange, token, follow).run(sockets=[listener])


def _market(
    symbols: list[str], source: str, interval: str, start: datetime | None, seed: int
) -> tuple[Market, datetime]:
    from workbench import data

    length = interval_delta(interval)
    if source == "synthetic":
        now = datetime.now(UTC)
        since = datetime(1970, 1, 1, tzinfo=UTC)
        began = start or now
        first = since + (began - since) // length * length - PAST_BARS * length
        made: Market = data.synthesise(
            symbols, interval=interval, start=first, n_bars=PAST_BARS + COMING_BARS, seed=seed
        )
        return made, began
    lake, venue = load_config().lake_dir, source.partition(":")[2] or "bybit"
    if not source.startswith("lake"):
        report = data.import_file(Path(source), lake=lake)
        data.seal_import(report)
        venue = report.venues[0]
    market = data.load(symbols, interval=interval, lake=lake, venue=venue)
    began = start or market.index[0].to_pydatetime()
    return market, began


def _simulator(market: Market, start: datetime, seed: int, *, is_exact: bool) -> Simulator:
    from workbench.exchange.simulator import CandleSource, Settings, Simulator

    missing = [symbol for symbol in market.symbols if symbol not in market.instruments]
    instruments = dict(market.instruments)
    if missing:
        from workbench.data import synthesise

        instruments |= synthesise(missing, n_bars=2).instruments
        words = f"{', '.join(missing)}: the rules are not known; typical ones stand in."
        out.print(Text(words, style="yellow"), soft_wrap=True)
    return Simulator(
        [instruments[symbol] for symbol in market.symbols],
        source=CandleSource(market, start=start), settings=Settings(is_exact=is_exact), seed=seed,
        start_ms=int(start.timestamp() * 1_000),
    )  # fmt: skip


def _live(symbols: list[str], seed: int) -> tuple[Simulator, Follow]:
    from workbench.exchange.client import BybitClient
    from workbench.exchange.server.live import follow
    from workbench.exchange.simulator import Simulator
    from workbench.exchange.venues import find_venue

    config = load_config()
    venue = find_venue(config.exchange.rest_url)
    now = datetime.now(UTC)
    client = BybitClient(venue.rest_url)
    simulator = Simulator(
        client.instruments(symbols), seed=seed, start_ms=int(now.timestamp() * 1_000)
    )
    for symbol in symbols:
        first = now - LIVE_HISTORY * interval_delta("1")
        pages = client.klines(symbol, "1", first, now)
        simulator.push_candles(symbol, "1", [row for page in pages for row in page])
    return simulator, partial(follow, venue.public_url, symbols)


def _journal(path: Path | None, **header: Any) -> Journal | None:
    from workbench.exchange.server import Journal

    return None if path is None else Journal(path, **header)


def _tell(place: str, accounts: list[Account], token: str, *, is_made: bool) -> None:
    lines = [
        ("REST", f"http://{place}"),
        ("sockets", f"ws://{place}/v5/..."),
        ("control", f"http://{place}/control/state   X-Control-Token: {token}"),
    ]
    for account in accounts:
        lines.append(("account", f"{account.uid} with {account.wallet_usdt:,} USDT"))
        if is_made:
            lines += [("key", key.key) for key in account.keys]
            lines += [("secret", key.secret) for key in account.keys]
    for name, value in lines:
        out.print(Text(f"{name:8} {value}"), soft_wrap=True)
