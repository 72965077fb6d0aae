"""What happens around every request: keys, hosts, a number for it, one line in the log, and metrics."""

from __future__ import annotations

import logging
import time
from collections.abc import Collection
from dataclasses import dataclass, field
from typing import Any
from uuid import uuid4

from starlette.datastructures import Headers, MutableHeaders
from starlette.responses import JSONResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from lmalgebra.serving.errors import ApiError
from lmalgebra.serving.keys import Keys
from lmalgebra.serving.metrics import Metrics

log = logging.getLogger("lmalgebra.serving")

OPEN = ("/health", "/ready")
"""What needs no key: it says nothing but that the server is there."""

LOCAL_HOSTS = ("localhost", "127.0.0.1", "::1")

CLIENT_LEFT = 499
"""The status in logs and metrics of a request whose client has left."""


@dataclass
class Call:
    """What is known of a request while it is answered."""

    route: str = ""
    voice: str = ""
    key: str = ""
    status: int = CLIENT_LEFT
    left: bool = False
    id: str = field(default_factory=lambda: f"req_{uuid4().hex}")
    started: float = field(default_factory=time.perf_counter)
    told: dict[str, Any] = field(default_factory=dict)

    @property
    def seconds(self) -> float:
        """Since the request came."""
        return time.perf_counter() - self.started


class Watch:
    """Wraps the application. `only_local` refuses other names for this machine, which a web page could have made up.
    `open_paths` need no key, and are not logged.
    """

    def __init__(
        self, app: ASGIApp, keys: Keys, metrics: Metrics, only_local: bool, open_paths: Collection[str] = OPEN
    ) -> None:
        self._app, self._keys, self._metrics, self._only_local = app, keys, metrics, only_local
        self._open = open_paths

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        call = Call()
        scope.setdefault("state", {})["call"] = call
        sending = _sender(send, call)
        try:
            self._let_in(scope, call)
        except ApiError as error:
            await JSONResponse(error.body, error.status, error.headers)(scope, receive, sending)
        else:
            await self._app(scope, receive, sending)
        finally:
            self._close(scope, call)

    def _let_in(self, scope: Scope, call: Call) -> None:
        headers = Headers(scope=scope)
        if self._only_local and _host(headers.get("host", "")) not in LOCAL_HOSTS:
            raise ApiError(403, "This server answers only to this machine's own names.", "wrong_host")
        if not self._keys or scope["path"] in self._open:
            return
        if scope["method"] == "OPTIONS" and "access-control-request-method" in headers:
            return  # a browser asks what it may do, which it cannot do with a key
        owner = self._keys.owner(headers.get("authorization", ""))
        if owner is None:
            self._metrics.key_refused()
            raise ApiError(
                401,
                "The API key is missing or wrong. Send it as Authorization: Bearer KEY.",
                "invalid_api_key",
                headers={"WWW-Authenticate": "Bearer"},
            )
        call.key = owner

    def _close(self, scope: Scope, call: Call) -> None:
        status = CLIENT_LEFT if call.left else call.status
        self._metrics.answered(call.route, call.voice, status, call.seconds, call.left)
        if call.route in self._open:
            return
        log.info(
            "request",
            extra={
                "request": call.id,
                "method": scope["method"],
                "route": call.route,
                "voice": call.voice,
                "key": call.key,
                "status": status,
                "seconds": round(call.seconds, 4),
                **call.told,
            },
        )


def _sender(send: Send, call: Call) -> Send:
    """Sends on, remembering the status and naming the request."""

    async def sending(message: Message) -> None:
        if message["type"] == "http.response.start":
            call.status = message["status"]
            MutableHeaders(scope=message)["X-Request-Id"] = call.id
        await send(message)

    return sending


def _host(header: str) -> str:
    """The name in a Host header, without a port."""
    name = header.strip().lower()
    if name.startswith("["):
        return name[1:].partition("]")[0]
    return name.partition(":")[0]
