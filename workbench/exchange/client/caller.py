"""How a request goes out once, and what its answer means.

A read is asked again where that helps. A write never is: its caller gets an error that says
whether it had no effect and never will (``OrderRejected``), had none and may be sent again
(``ExchangeBusy``), or may have had it (``OrderUnknown``: ask for it, and do not send it again).
Every wait goes through the clock.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator, Mapping
from datetime import datetime, timedelta
from random import Random
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from workbench.core.clock import Clock, SystemClock
from workbench.core.errors import (
    ConfigError,
    ExchangeBusy,
    ExchangeError,
    OrderRejected,
    OrderUnknown,
    SecretError,
    WorkbenchError,
)
from workbench.exchange import codes
from workbench.exchange.client.offset import ServerClock
from workbench.exchange.client.routes import MARKET, REPEATABLE, ROUTES, Route
from workbench.exchange.codes import Outcome
from workbench.exchange.pace import TokenBucket
from workbench.exchange.records import parse_key
from workbench.exchange.venues import find_venue
from workbench.exchange.wire import from_millis, to_millis

if TYPE_CHECKING:
    import requests

    from workbench.exchange.client.session import Login, Session
    from workbench.exchange.optin import OptIn

TRIES: Final = 6
FIRST_WAIT_S: Final = 0.2
LAST_WAIT_S: Final = 30.0
BAN_S: Final = 600.0
"""After 403 the address is banned for ten minutes; asking on makes it longer."""
ADDRESS_LIMIT: Final = 600
ADDRESS_WINDOW_S: Final = 5.0
RESERVE: Final = 0.2
"""The share of the address's requests that only what lessens risk may use."""
WEEK: Final = timedelta(days=7)
"""How much history one request may ask for."""


class Reply(NamedTuple):
    """What came back: the result, the code of each item of a batch, and the code of all."""

    result: dict[str, Any]
    items: list[dict[str, Any]]
    code: int = 0


class Caller:
    """The sending half of the client; safe to share between threads."""

    def __init__(
        self,
        rest_url: str = "https://api.bybit.com",
        *,
        login: Login | None = None,
        opt_in: OptIn | None = None,
        clock: Clock | None = None,
        timeout_s: float = 10.0,
        requests_per_s: float = 10.0,
        tries: int = TRIES,
    ) -> None:
        self.venue = find_venue(rest_url)
        self.clock = clock or SystemClock()
        self.time = ServerClock(self.clock, self._ask_time)
        self.timeout_s, self.tries = timeout_s, tries
        self._login, self._opt_in = login, opt_in
        self._key_is_checked = False
        self._seen: dict[tuple[str, str], tuple[datetime, Any]] = {}
        self._address = TokenBucket(
            limit=ADDRESS_LIMIT, window_s=ADDRESS_WINDOW_S, clock=self.clock, reserve=RESERVE
        )
        self._buckets = {
            "": TokenBucket(limit=requests_per_s, clock=self.clock, most=requests_per_s)
        }
        self._jitter = Random(0)  # noqa: S311 - spreads retries, guards nothing
        self._lock = threading.Lock()
        self._threads = threading.local()

    def server_time(self) -> datetime:
        """Return the exchange's time, UTC-aware."""
        return _moment(self._read("get_server_time"))

    def _ask_time(self) -> datetime:
        return _moment(self._send("get_server_time", {}).result)

    def _read(self, name: str, **query: Any) -> dict[str, Any]:
        wait = FIRST_WAIT_S
        for attempt in range(1, self.tries + 1):
            try:
                return self._send(name, query).result
            except ExchangeBusy:
                if attempt == self.tries:
                    raise
            self.clock.sleep(wait * self._jitter.uniform(0.75, 1.25))
            wait = min(2 * wait, LAST_WAIT_S)
        raise AssertionError("the last attempt returns or raises")

    def _raw_pages(self, name: str, **query: Any) -> Iterator[list[dict[str, Any]]]:
        cursor = ""
        while True:
            more = {"cursor": cursor} if cursor else {}
            result = self._read(name, **query, **more)
            yield result["list"]
            following = result.get("nextPageCursor") or ""
            if not following or following == cursor or not result["list"]:
                return
            cursor = following

    def _pages(self, name: str, **query: Any) -> list[dict[str, Any]]:
        return [row for page in self._raw_pages(name, **query) for row in page]

    def _history(
        self, name: str, start: datetime, end: datetime, **query: Any
    ) -> Iterator[dict[str, Any]]:
        for low, high in windows(start, end, WEEK):
            span = {"startTime": to_millis(low), "endTime": to_millis(high) - 1}
            yield from self._pages(name, **query, **span)

    def _send(
        self,
        name: str,
        query: Mapping[str, Any],
        *,
        units: int = 1,
        is_urgent: bool = False,
        action: str = "",
    ) -> Reply:
        route = ROUTES.get(name, MARKET)
        if route.action:
            self._require_rights(name, route)
            self.time.keep_fresh()
        bucket = self._bucket(route)
        urgent = is_urgent or route.is_urgent
        # An order that waits in a queue for long is not the order that was decided on.
        patience = self.timeout_s if route.is_write else float("inf")
        for own, count in ((bucket, units), (self._address, 1)):
            own.take(count, is_urgent=urgent, patience_s=patience)
        response = self._carry(name, query, route)
        bucket.learn(response.headers, now=self.time.now())
        return self._judge(response, route._replace(action=action or route.action), bucket)

    def _carry(self, name: str, query: Mapping[str, Any], route: Route) -> requests.Response:
        import requests

        try:
            answer: requests.Response = getattr(self._session(), name)(**query)
        except requests.exceptions.RequestException as error:
            what = f"No answer from {self.venue.rest_url}: {type(error).__name__}."
            if _is_unsent(error) or not route.is_write:
                raise ExchangeBusy(
                    what, "Check the network and exchange.rest_url (`workbench doctor`)."
                ) from error
            raise uncertain(what, route) from error
        return answer

    def _judge(self, response: requests.Response, route: Route, bucket: TokenBucket) -> Reply:
        status = response.status_code
        if status != 200:
            raise self._refused_by_status(status, route, bucket)
        try:
            answer = response.json()
            code, result = int(answer["retCode"]), dict(answer.get("result") or {})
        except (ValueError, TypeError, KeyError) as error:
            raise uncertain("The exchange's answer cannot be read.", route) from error
        if code == 0:
            return Reply(result, (answer.get("retExtInfo") or {}).get("list") or [])
        outcome = codes.find_outcome(code, route.action)
        what = f"The exchange refuses with {codes.describe(code, answer.get('retMsg', ''))}"
        if outcome is Outcome.DONE:
            return Reply(result, [], code)
        if outcome is Outcome.UNKNOWN:
            raise uncertain(what, route)
        if outcome is Outcome.CLOCK:
            self.time.resync()
            raise ExchangeBusy(
                what,
                f"The clock is set right now (it is off by {self.time.offset.total_seconds():+.3f} "
                "s): send it again.",
            )
        if outcome is Outcome.RETRY_LATER:
            if code != 110079:
                bucket.block(1.0)
            raise ExchangeBusy(what, "Nothing was done; ask less often, and send it again.")
        raise _refusal(code, what, result, route)

    def _refused_by_status(self, status: int, route: Route, bucket: TokenBucket) -> WorkbenchError:
        if status == 403:
            self._address.block(BAN_S)
            return ExchangeError(
                "The exchange has banned this address for asking too often (403).",
                "Everything stops for ten minutes; lower exchange.requests_per_s.",
            )
        what = f"The exchange answered {status}."
        if status == 429:
            bucket.block(1.0)
            return ExchangeBusy(what, "Nothing was done; ask less often, and send it again.")
        if status == 401:
            return SecretError(what, "The key is missing or not valid (`workbench keys test`).")
        if status < 500:
            return ExchangeError(what, "Check exchange.rest_url: it does not speak V5 there.")
        return uncertain(what, route)

    def _require_rights(self, name: str, route: Route) -> None:
        if self._login is None:
            raise SecretError(
                f"A private call to {self.venue.rest_url} has no key.",
                f"`workbench keys add {self.venue.key_name} --kind exchange`.",
            )
        if route.is_write and self.venue.is_real and self._opt_in is None:
            raise ConfigError(
                "Orders on the mainnet need two opt-ins, and this client has not both.",
                "Set exchange.mainnet = true in workbench.live.toml, and "
                f"`workbench keys enable {self.venue.key_name}`.",
            )
        # Demo has no such call, and no way to withdraw either.
        if self._key_is_checked or name == "get_api_key_information" or self.venue.name == "demo":
            return
        self._check_key()
        self._key_is_checked = True

    def _check_key(self) -> None:
        if parse_key(self._read("get_api_key_information")).can_withdraw:
            raise SecretError(
                f"The key {self.venue.key_name} may withdraw money: it is not used.",
                "Make one at the exchange without the permission Withdraw, and "
                f"`workbench keys rotate {self.venue.key_name}`.",
            )

    def _bucket(self, route: Route) -> TokenBucket:
        with self._lock:
            if route.action not in self._buckets:
                self._buckets[route.action] = TokenBucket(limit=route.per_s, clock=self.clock)
            return self._buckets[route.action]

    def _session(self) -> Session:
        # A connection is no thing to share, and one a thread lets a cancel pass a slow create.
        from workbench.exchange.client.session import Session

        if not hasattr(self._threads, "session"):
            self._threads.session = Session(
                self.venue.rest_url,
                login=self._login,
                now_ms=self.time.now_ms,
                timeout_s=self.timeout_s,
            )
        session: Session = self._threads.session
        return session


def windows(start: datetime, end: datetime, span: timedelta) -> Iterator[tuple[datetime, datetime]]:
    """Yield the pieces of a stretch of time, each as long as ``span`` at most."""
    low = start
    while low < end:
        high = min(low + span, end)
        yield low, high
        low = high


def _moment(result: Mapping[str, Any]) -> datetime:
    return from_millis(0) + timedelta(microseconds=int(result["timeNano"]) // 1000)


def _is_unsent(error: Exception) -> bool:
    import requests
    from urllib3.exceptions import NewConnectionError

    if isinstance(error, requests.exceptions.ConnectTimeout):
        return True
    reason = getattr(error.args[0], "reason", None) if error.args else None
    return isinstance(reason, NewConnectionError)


def uncertain(what: str, route: Route) -> WorkbenchError:
    """Return the error for an answer that leaves open whether there was an effect."""
    if not route.is_write or route.action in REPEATABLE:
        return ExchangeBusy(
            what, "It may be asked again; if this goes on, look at the exchange's status page."
        )
    fix = "Ask for the order by its order_link_id; never send it again under another."
    if not _is_order(route):
        fix = "Read the account before it is done again."
    return OrderUnknown(f"{what} Whether {route.action} had its effect is not known.", fix)


def _is_order(route: Route) -> bool:
    return route.is_write and route.action.partition("-")[0] in (
        "create",
        "amend",
        "cancel",
        "resend",
    )


def _refusal(code: int, what: str, result: Mapping[str, Any], route: Route) -> WorkbenchError:
    if code in codes.KEY:
        return SecretError(what, "Look at the key (`workbench doctor --account`).")
    reasons = ", ".join(str(row.get("reasonMsg")) for row in result.get("reasons") or [])
    fix = f"Reasons: {reasons}." if reasons else "The code is Bybit's own."
    return OrderRejected(what, fix) if _is_order(route) else ExchangeError(what, fix)
