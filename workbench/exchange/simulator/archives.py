"""Markets from the exchange's public archives: trades, and frames of order books."""

from __future__ import annotations

import csv
import gzip
import json
import zipfile
from collections.abc import Iterable, Iterator
from decimal import Decimal
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

from workbench.core.errors import DataError
from workbench.exchange.simulator.orders import BUY_SELL

if TYPE_CHECKING:
    from workbench.exchange.simulator.simulator import Simulator


class TradeSource:
    """Trades of the public archive: ``timestamp,symbol,side,size,price,...`` as CSV, oldest first.

    Files may be compressed (``.gz``); those of one symbol follow each other. The mark is the last
    price: an archive of trades has no other.
    """

    def __init__(self, *paths: Path | str, makes_book: bool = True) -> None:
        self.paths = [Path(path) for path in paths]
        self.makes_book = makes_book
        self.next_ms: int | None = None

    def bind(self, sim: Simulator) -> None:
        """Open the first file."""
        self._rows = self._read()
        self._next()

    def step(self, sim: Simulator, until_ms: int) -> None:
        """Publish one trade."""
        row, moment = self._row, self.next_ms
        assert moment is not None  # noqa: S101 - a source that has ended is not asked
        market = sim.markets.get(row["symbol"])
        if market is not None:
            price, contract = Decimal(row["price"]), market.contract
            ticks, lots = round(price / contract.tick), round(Decimal(row["size"]) / contract.step)
            sign = BUY_SELL[row["side"]]
            if self.makes_book:
                market.value(moment, price, price)
            sim.feed_trade(market, ticks, lots, sign, row.get("trdMatchID", ""))
            if self.makes_book:
                sim.feed_made(market, ticks, sign, lots=50 * lots, salt=moment // 60_000)
            sim.feed_done(market)
        self._next()

    def _next(self) -> None:
        self._row: dict[str, str] = next(self._rows, {})
        before, self.next_ms = self.next_ms, None
        if self._row:
            self.next_ms = int(Decimal(self._row["timestamp"]) * 1000)
            if before is not None and self.next_ms < before:
                raise DataError(
                    f"The trades of {self.paths} go back in time.", "Sort them, oldest first."
                )

    def _read(self) -> Iterator[dict[str, str]]:
        for path in self.paths:
            with gzip.open(path, "rt") if path.suffix == ".gz" else path.open() as file:
                yield from csv.DictReader(file)


class BookSource:
    """Frames of an order book as the archive keeps them: NDJSON, plain or in a zip.

    A gap in the update ids ends the book until the next snapshot, as a stream would.
    """

    def __init__(self, path: Path | str) -> None:
        self.path = Path(path)
        self.next_ms: int | None = None

    def bind(self, sim: Simulator) -> None:
        """Open the file."""
        self._frames = self._read()
        self._known: dict[str, int] = {}
        self._next()

    def step(self, sim: Simulator, until_ms: int) -> None:
        """Publish one frame."""
        frame = self._frame
        data = frame["data"]
        symbol, update = data["s"], int(data["u"])
        is_snapshot = frame["type"] == "snapshot" or update == 1
        if symbol in sim.markets and (is_snapshot or self._known.get(symbol) == update - 1):
            self._known[symbol] = update
            sim.feed_book(
                sim.markets[symbol], data["b"], data["a"], int(frame["ts"]), is_snapshot=is_snapshot
            )
        else:
            self._known.pop(symbol, None)
        self._next()

    def _next(self) -> None:
        self._frame: Any = next(self._frames, None)
        self.next_ms = None if self._frame is None else int(self._frame["ts"])

    def _read(self) -> Iterator[Any]:
        if self.path.suffix != ".zip":
            with self.path.open("rb") as file:
                yield from _frames(file)
            return
        with zipfile.ZipFile(self.path) as archive:
            for name in archive.namelist():
                with archive.open(name) as file:
                    yield from _frames(file)


def _frames(file: IO[bytes]) -> Iterable[Any]:
    return (json.loads(line) for line in file if line.strip())
