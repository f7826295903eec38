"""The control interface under ``/control``: time, faults and scenarios, behind a token."""

from __future__ import annotations

import hmac
from collections.abc import Callable
from typing import Annotated, Any

from fastapi import Body, Depends, FastAPI, Header, HTTPException, Request
from fastapi.responses import JSONResponse

from workbench.core.errors import WorkbenchError
from workbench.exchange.server.exchange import Exchange

Json = dict[str, Any]
LOOPBACK = frozenset({"127.0.0.1", "::1"})


def build_control(exchange: Exchange, token: str, now_ms: Callable[[], int]) -> FastAPI:
    """Return the application that steers an exchange; it answers loopback only."""

    def admit(request: Request, x_control_token: Annotated[str, Header()] = "") -> None:
        is_near = request.client is not None and request.client.host in LOOPBACK
        if not is_near or not hmac.compare_digest(x_control_token.encode(), token.encode()):
            raise HTTPException(403, "The token printed at the start goes into X-Control-Token.")

    app = FastAPI(title="Simulated exchange, control", dependencies=[Depends(admit)])

    @app.exception_handler(WorkbenchError)
    async def refuse(_: Request, error: WorkbenchError) -> JSONResponse:
        return JSONResponse({"what": error.what, "fix": error.fix}, 422)

    @app.get("/control/state")
    async def state() -> Json:
        """Tell time, symbols, accounts, sockets, and the faults in force."""
        return exchange.control("state", {}, now_ms())

    @app.post("/control/step")
    async def step(ms: int = Body(0, ge=0), to_ms: int = Body(0, ge=0)) -> Json:
        """Move a standing market on: by so much, or to a moment."""
        return exchange.control("step", {"ms": ms, "to_ms": to_ms}, now_ms())

    @app.post("/control/faults")
    async def fault(body: Json) -> Json:
        """Let something go wrong."""
        return exchange.control("fault", body, now_ms())

    @app.delete("/control/faults")
    async def clear() -> Json:
        """Let nothing go wrong any more."""
        return exchange.control("clear", {}, now_ms())

    @app.post("/control/scenarios/{name}")
    async def scenario(name: str) -> Json:
        """Play a scenario that comes with the package."""
        return exchange.control("scenario", {"name": name}, now_ms())

    @app.post("/control/deposits")
    async def deposit(uid: str = Body(), amount: str = Body(pattern=r"^\d{1,12}(\.\d+)?$")) -> Json:
        """Put money into an account."""
        return exchange.control("deposit", {"uid": uid, "amount": amount}, now_ms())

    return app
