"""pybit, held to what it does well: it builds paths, bodies and signatures.

It is never left to wait, to send again, to widen the receive window or to read a reply, and it
never sees a key: all of that has cost somebody money.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from typing import Any, Final

import requests
from pybit._http_manager import generate_signature
from pybit.misc import Misc
from pybit.unified_trading import HTTP

from workbench.core.vault.secret import Secret

Login = Secret[Mapping[str, str]]
"""A key as the vault keeps it: ``api_key`` and ``api_secret``."""

RECV_WINDOW_MS: Final = 5_000
"""How long a stamp is good for. It is never widened: a clock that is off is set right."""


class Session(HTTP):  # type: ignore[misc]  # pybit has no types
    """One connection: what pybit prepares is signed by our clock, sent once and returned raw."""

    def __init__(
        self, rest_url: str, *, login: Login | None, now_ms: Callable[[], int], timeout_s: float
    ) -> None:
        log = logging.getLogger(generate_signature.__module__)
        before = list(log.handlers)
        super().__init__(timeout=timeout_s, recv_window=RECV_WINDOW_MS)
        # pybit adds a log handler for every session that is made.
        log.handlers[:] = before
        self.endpoint = rest_url
        self._login, self._now_ms = login, now_ms

    def apply_demo_money(self, **query: Any) -> requests.Response:
        """Ask for play money; pybit's own call sends no amounts."""
        return self._submit_request(
            "POST", f"{self.endpoint}{Misc.REQUEST_DEMO_TRADING_FUNDS}", query, auth=True
        )

    def _submit_request(
        self,
        method: str | None = None,
        path: str | None = None,
        query: dict[str, Any] | None = None,
        auth: bool = False,
    ) -> requests.Response:
        payload = self.prepare_payload(method, self._clean_query(query))
        headers = self._prepare_headers(payload, self.recv_window) if auth else {}
        request = self._prepare_request(method, path, payload, headers)
        # A redirect would send an order a second time.
        answer: requests.Response = self.client.send(
            request, timeout=self.timeout, allow_redirects=False
        )
        return answer

    def _prepare_headers(
        self, payload: str, recv_window: int, content_type: str = "application/json"
    ) -> dict[str, str]:
        if self._login is None:
            raise PermissionError("a private call without a key")
        stamp, key = str(self._now_ms()), self._login.reveal()["api_key"]
        is_rsa = "PRIVATE KEY" in self._login.reveal()["api_secret"]
        return {
            "Content-Type": content_type,
            "X-BAPI-API-KEY": key,
            "X-BAPI-SIGN": generate_signature(
                is_rsa, self._login.reveal()["api_secret"], f"{stamp}{key}{recv_window}{payload}"
            ),
            "X-BAPI-SIGN-TYPE": "2",
            "X-BAPI-TIMESTAMP": stamp,
            "X-BAPI-RECV-WINDOW": str(recv_window),
        }
