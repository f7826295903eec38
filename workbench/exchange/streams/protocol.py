"""The words of V5 sockets: logins, questions and what answers them, refusals."""

from __future__ import annotations

import asyncio
import hashlib
import hmac
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any, Final

from workbench.core.vault.secret import Secret

TOPICS_PER_FRAME: Final = 10

Login = Secret[Mapping[str, str]]
"""A key as the vault keeps it: ``api_key`` and ``api_secret``."""


class Questions:
    """What was asked and is not answered yet."""

    def __init__(self) -> None:
        self._open: dict[str, tuple[str, asyncio.Future[dict[str, Any]]]] = {}

    @contextmanager
    def ask(self, op: str, key: str) -> Iterator[asyncio.Future[dict[str, Any]]]:
        """Give the answer's place, which must be made before the question leaves."""
        answer: asyncio.Future[dict[str, Any]] = asyncio.get_running_loop().create_future()
        self._open[key] = op, answer
        try:
            yield answer
        finally:
            del self._open[key]

    def answer(self, frame: Mapping[str, Any]) -> bool:
        """Give a reply to its question; return whether there is one."""
        op = "ping" if frame.get("op") == "pong" else frame.get("op")
        key = frame.get("req_id") or frame.get("reqId")
        # Logins, pongs and private subscriptions carry no id: the oldest of its kind it is.
        for own, (asked, answer) in self._open.items():
            if own == key if key else asked == op:
                if answer.done():
                    return False
                answer.set_result(dict(frame))
                return True
        return False

    def fail(self, error: Exception) -> None:
        """Answer every question with an error."""
        for _, answer in self._open.values():
            if not answer.done():
                answer.set_exception(error)


def sign_login(login: Login, expires_ms: int) -> list[str | int]:
    """Return the arguments of a login that is good until then; the secret may be an RSA key."""
    words = f"GET/realtime{expires_ms}".encode()
    secret = Secret(login.reveal()["api_secret"])
    if "PRIVATE KEY" in secret.reveal():
        from workbench.core.vault.rsa import sign_rsa

        sign = sign_rsa(secret, words)
    else:
        sign = hmac.new(secret.reveal().encode(), words, hashlib.sha256).hexdigest()
    return [login.reveal()["api_key"], expires_ms, sign]


def refusal(reply: Mapping[str, Any]) -> str:
    """Return why a reply refuses, in either of the exchange's forms; empty where it does not."""
    code = reply.get("retCode") or 0
    if reply.get("success", True) and not code:
        return ""
    words = reply.get("ret_msg") or reply.get("retMsg") or "no reason given"
    return f"{code} {words}" if code else str(words)


def batches(topics: list[str]) -> Iterator[list[str]]:
    """Yield topics as many to a frame as the exchange takes."""
    for start in range(0, len(topics), TOPICS_PER_FRAME):
        yield topics[start : start + TOPICS_PER_FRAME]
