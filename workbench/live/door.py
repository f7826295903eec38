"""The door: the kill switch over HTTP, on this machine only and behind a token.

``GET /state`` tells how the supervisor stands; ``POST /kill`` and ``POST /release`` take a JSON
object with ``by``, ``reason`` and, to kill, ``level``. The address and the token are in a file
that only its owner can read.
"""

from __future__ import annotations

import hmac
import json
import os
import threading
import urllib.error
import urllib.request
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, Final

from workbench.core.errors import ExchangeBusy, RiskRefused
from workbench.live.latch import Level, Press, read_level

PLACE: Final = "door.json"
HEADER: Final = "X-Supervisor-Token"
HOST: Final = "127.0.0.1"
MOST_BYTES: Final = 10_000
PATIENCE_S: Final = 10.0
POLL_S: Final = 0.05

State = dict[str, Any]


class Door(ThreadingHTTPServer):
    """A server in a thread; ``say`` takes a word and returns when it was taken up."""

    daemon_threads = True

    def __init__(
        self, port: int, token: str, *, say: Callable[[Press], None], state: Callable[[], State]
    ) -> None:
        super().__init__((HOST, port), _Handler)
        self.token, self.say, self.state = token, say, state
        self.url = f"http://{HOST}:{self.server_address[1]}"
        self._thread = threading.Thread(target=self.serve_forever, args=(POLL_S,), daemon=True)
        self._thread.start()

    def close(self) -> None:
        """Listen no more."""
        self.shutdown()
        self.server_close()
        self._thread.join()

    def publish(self, folder: Path) -> None:
        """Put address and token where ``knock`` finds them."""
        path, draft = folder / PLACE, folder / f".{PLACE}"
        draft.unlink(missing_ok=True)
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL
        with os.fdopen(os.open(draft, flags, 0o600), "w", encoding="utf-8") as file:
            json.dump({"url": self.url, "token": self.token}, file)
        draft.replace(path)


def knock(folder: Path, path: str, body: State | None = None) -> State:
    """Ask the supervisor of a folder; without a body the request is a GET.

    Raises
    ------
    ExchangeBusy
        If none answers.
    RiskRefused
        If it refuses.
    """
    try:
        place = json.loads((folder / PLACE).read_text("utf-8"))
        request = urllib.request.Request(  # noqa: S310 - the address is of this machine
            f"{place['url']}{path}", None if body is None else json.dumps(body).encode(),
            {HEADER: place["token"], "Content-Type": "application/json"},
        )  # fmt: skip
        opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
        with opener.open(request, timeout=PATIENCE_S) as answer:
            state: State = json.load(answer)
    except urllib.error.HTTPError as error:
        words = json.load(error).get("error", error.reason)
        raise RiskRefused(
            f"The supervisor refuses ({error.code}): {words}", "Say it anew."
        ) from error
    except (OSError, ValueError, KeyError) as error:
        raise ExchangeBusy(
            f"No supervisor answers ({type(error).__name__}).", "`workbench supervise` starts one."
        ) from error
    return state


class _Handler(BaseHTTPRequestHandler):
    server: Door
    timeout = PATIENCE_S

    def do_GET(self) -> None:
        if self._is_let_in() and self._is_at("/state"):
            self._answer(200, self.server.state())

    def do_POST(self) -> None:
        if not self._is_let_in() or not self._is_at("/kill", "/release"):
            return
        try:
            press = _read(self.path, self.rfile.read(self._length()))
        except (RiskRefused, ValueError, TypeError, KeyError, AttributeError) as error:
            words = (
                str(error) if isinstance(error, RiskRefused) else "level, by and reason, in JSON"
            )
            self._answer(422, {"error": words})
            return
        self.server.say(press)
        self._answer(200, self.server.state())

    def _is_let_in(self) -> bool:
        given = self.headers.get(HEADER, "")
        if hmac.compare_digest(given.encode(), self.server.token.encode()):
            return True
        self._answer(403, {"error": f"the token goes into {HEADER}"})
        return False

    def _is_at(self, *paths: str) -> bool:
        if self.path in paths:
            return True
        self._answer(404, {"error": "there is /state, /kill and /release"})
        return False

    def _length(self) -> int:
        return min(max(int(self.headers.get("Content-Length") or 0), 0), MOST_BYTES)

    def _answer(self, status: int, body: State) -> None:
        content = json.dumps(body).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, *args: object) -> None:
        """Stay quiet."""


def _read(path: str, content: bytes) -> Press:
    said = json.loads(content)
    level = Level.CLEAR if path == "/release" else read_level(str(said["level"]))
    press = Press(level, str(said["by"]), str(said["reason"]))
    press.check()
    return press
