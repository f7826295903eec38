"""What must be in order before anything is traded with an account: looked at, never changed."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import timedelta
from decimal import Decimal
from typing import TYPE_CHECKING, Final, Literal

from workbench.core.errors import DataError
from workbench.exchange.records import AccountInfo, KeyInfo, Position
from workbench.exchange.wire import from_millis
from workbench.exchange.words import MarginMode, PositionIdx

if TYPE_CHECKING:
    from workbench.core.records import Instrument
    from workbench.exchange.client import BybitClient

Level = Literal["green", "yellow", "red"]

DRIFT: Final = timedelta(milliseconds=250)
SLOW: Final = timedelta(seconds=1)
"""A stamp more than a second ahead is refused: no offset is known better than half a round trip."""
EXPIRES_DAYS: Final = 7
DELISTING: Final = timedelta(days=3)


@dataclass(frozen=True, slots=True)
class Finding:
    """What one look saw; ``fix`` says what to do unless it is green."""

    name: str
    level: Level
    seen: str
    fix: str = ""


def preflight(
    client: BybitClient,
    symbols: Sequence[str] = (),
    *,
    leverage: Decimal | None = None,
    margin_mode: MarginMode = MarginMode.CROSS,
) -> list[Finding]:
    """Look at clock, key, account and symbols; red is what must not be traded with.

    Parameters
    ----------
    client : BybitClient
        With a key.
    symbols : sequence of str
        What is to be traded; by default what is held.
    leverage : Decimal, optional
        What the exchange should charge margin by; by default it is only shown.
    margin_mode : MarginMode

    Raises
    ------
    SecretError
        If the key is not valid at all.
    ExchangeError
        If the exchange does not answer.
    """
    found = [_clock(client), *_key(client)]
    if any(own.level == "red" for own in found):
        return found
    found += [*_account(client.account_info(), margin_mode), *_maintenance(client)]
    held = client.positions()
    wanted = list(symbols) or sorted({own.symbol for own in held})
    for symbol in wanted:
        found += _symbol(client, symbol, leverage)
    if not wanted:
        found.append(Finding("symbols", "green", "none held, none asked for"))
    return found


def _clock(client: BybitClient) -> Finding:
    client.time.resync()
    offset, trip = client.time.offset, client.time.trip or timedelta(0)
    seen = f"off by {offset.total_seconds():+.3f} s, round trip {trip.total_seconds():.3f} s"
    if trip > SLOW:
        return Finding("clock", "red", seen, "The way to the exchange is too slow to trade over.")
    # A simulator keeps the time of its market, which may be years away.
    if abs(offset) > DRIFT and client.venue.name != "simulator":
        fix = "It is made up for, but set the clock of this machine (NTP)."
        return Finding("clock", "yellow", seen, fix)
    return Finding("clock", "green", seen)


def _key(client: BybitClient) -> Iterator[Finding]:
    if client.venue.name == "demo":
        yield Finding("key", "green", "demo does not tell; it cannot withdraw")
        return
    info = client.key_info()
    if info.can_withdraw:
        yield Finding(
            "key", "red", "it may withdraw money",
            f"Make one without that, and `workbench keys rotate {client.venue.key_name}`.",
        )  # fmt: skip
    elif not info.can_trade:
        yield Finding(
            "key", "red", "it may not trade derivatives",
            "Give it Orders and Positions of contracts, for reading and writing.",
        )  # fmt: skip
    else:
        yield from _key_terms(info, is_real=client.venue.is_real)
    if info.is_master and client.venue.is_real:
        yield Finding(
            "sub-account", "yellow", "the key is the main account's",
            "Trade on a sub-account: what goes wrong there ends there.",
        )  # fmt: skip
    else:
        seen = "main account" if info.is_master else f"under {info.parent_uid}"
        yield Finding("sub-account", "green", seen)


def _key_terms(info: KeyInfo, *, is_real: bool) -> Iterator[Finding]:
    # Days below 0 say that it has no end.
    if 0 <= info.deadline_day <= EXPIRES_DAYS:
        yield Finding(
            "key", "yellow", f"ends in {info.deadline_day} days", "Renew it at the exchange."
        )
    elif info.ips in ((), ("*",)):
        yield Finding(
            "key", "yellow" if is_real else "green", "may trade, bound to no address",
            "Bind it to the address of this machine: others cannot use it then." if is_real else "",
        )  # fmt: skip
    else:
        yield Finding("key", "green", f"may trade, bound to {len(info.ips)} addresses")


def _account(info: AccountInfo, margin_mode: MarginMode) -> Iterator[Finding]:
    if info.is_unified:
        yield Finding("account", "green", "unified")
    else:
        yield Finding(
            "account", "red", f"not unified (status {info.unified_margin_status})",
            "Upgrade it to a unified account at the exchange.",
        )  # fmt: skip
    if info.margin_mode == margin_mode:
        yield Finding("margin mode", "green", str(info.margin_mode))
    else:
        yield Finding(
            "margin mode", "red", f"{info.margin_mode}, expected {margin_mode}",
            "Set it at the exchange, or account.is_isolated here.",
        )  # fmt: skip


def _maintenance(client: BybitClient) -> Iterator[Finding]:
    now = client.time.now()
    for notice in client.maintenance():
        if from_millis(notice.end_ms) > now and notice.state != "completed":
            begin = from_millis(notice.begin_ms)
            yield Finding(
                "maintenance", "yellow", f"{notice.title}, from {begin:%Y-%m-%d %H:%M} UTC",
                "Hold no risk then that needs watching.",
            )  # fmt: skip


def _symbol(client: BybitClient, symbol: str, leverage: Decimal | None) -> Iterator[Finding]:
    try:
        (instrument,) = client.instruments([symbol])
    except DataError as error:
        yield Finding(symbol, "red", error.what, error.fix)
        return
    yield _listing(instrument, client)
    yield from _setting(symbol, client.positions(symbol), leverage)


def _listing(instrument: Instrument, client: BybitClient) -> Finding:
    name, end = instrument.symbol, instrument.delisting
    if instrument.status != "Trading":
        return Finding(name, "red", f"its status is {instrument.status}", "Leave it out.")
    if end is None:
        return Finding(name, "green", "traded")
    level: Level = "red" if end - client.time.now() <= DELISTING else "yellow"
    return Finding(
        name, level, f"delisted on {end:%Y-%m-%d %H:%M} UTC", "Close it and leave it out."
    )


def _setting(
    symbol: str, positions: Sequence[Position], leverage: Decimal | None
) -> Iterator[Finding]:
    name = f"{symbol} mode"
    if any(own.position_idx != PositionIdx.ONE_WAY for own in positions):
        yield Finding(
            name, "red", "hedge: a long and a short beside each other",
            "Close both, then switch the symbol to one-way at the exchange.",
        )  # fmt: skip
    else:
        yield Finding(name, "green", "one-way")
    for own in positions:
        if own.is_reduce_only:
            yield Finding(
                symbol, "red", "the exchange lets it only be reduced", "Close it or add margin."
            )
        seen = f"{own.leverage}x" if own.leverage else "not told"
        if leverage is not None and own.leverage != leverage:
            yield Finding(
                f"{symbol} leverage", "red", f"{seen}, expected {leverage}x",
                "Set it at the exchange, or account.margin_leverage here.",
            )  # fmt: skip
        else:
            yield Finding(f"{symbol} leverage", "green", seen)
