"""A server as a process: it listens, heeds signals, and ends when what runs is done."""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
import signal
import socket
from collections.abc import Callable
from typing import Any

import uvicorn
from uvicorn.protocols.http.h11_impl import H11Protocol

from lmalgebra.errors import ServingError
from lmalgebra.serving.app import create_app
from lmalgebra.serving.errors import unavailable
from lmalgebra.serving.logs import logging_to
from lmalgebra.serving.server import Server
from lmalgebra.serving.settings import ServerSettings
from lmalgebra.serving.voices import OpenVoice

log = logging.getLogger("lmalgebra.serving")

_REFUSAL = json.dumps(unavailable("Too many connections are open.").body).encode()
_TOO_MANY = (
    b"HTTP/1.1 503 Service Unavailable\r\nContent-Type: application/json\r\nRetry-After: 5\r\nConnection: close\r\n"
    b"Content-Length: %d\r\n\r\n%s" % (len(_REFUSAL), _REFUSAL)
)

SECONDS_TO_PART = 5
"""For clients to take what they are told when the server gives up on their requests."""


def serve(settings: ServerSettings, open_voice: OpenVoice, said: Callable[[str], None]) -> None:
    """Serve until a signal comes: SIGTERM and SIGINT end the server when what runs is answered, SIGHUP reloads.

    `said` hears one sentence, with the address. Raises LmalgebraError when it cannot begin.
    """
    server = Server(settings, open_voice)
    try:
        with _listen(settings) as listening, logging_to(with_texts=settings.log_prompts), _quiet_signals():
            said(f"Serving {', '.join(settings.voices)} at {_address(listening)} ({_places(listening, settings)}).")
            _Process(server, settings).run(sockets=[listening])
    finally:
        server.engine.close(finish=False)
    if server.failure is not None:
        raise server.failure


class _Process(uvicorn.Server):
    """Uvicorn, with our application, patience and signals."""

    def __init__(self, server: Server, settings: ServerSettings) -> None:
        self._ours = server
        app = create_app(server, self._fail)
        super().__init__(
            uvicorn.Config(
                app,
                http=patient(settings),
                ws="none",
                loop="asyncio",
                log_config=None,
                access_log=False,
                server_header=False,
                proxy_headers=False,
                timeout_graceful_shutdown=round(settings.shutdown_seconds) + SECONDS_TO_PART,
            )
        )

    def _fail(self) -> None:
        self.should_exit = True

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        with contextlib.suppress(NotImplementedError, AttributeError):  # where there is no SIGHUP
            asyncio.get_running_loop().add_signal_handler(signal.SIGHUP, self._ours.reload_soon)

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        self._ours.engine.is_closing = True
        log.info("ending", extra={"in_hand": self._ours.engine.in_hand})
        asyncio.get_running_loop().call_later(self._ours.settings.shutdown_seconds, self._ours.engine.give_up)
        await super().shutdown(sockets)


def patient(settings: ServerSettings) -> type[H11Protocol]:
    """The protocol that closes connections whose request takes too long to say what it is, or whose client takes
    nothing of an answer for too long, and new ones where too many are open: those that are there go on.
    """

    class Patient(H11Protocol):
        def connection_made(self, transport: Any) -> None:
            super().connection_made(transport)
            self._is_refused = len(self.connections) > settings.max_connections
            self._late: asyncio.TimerHandle | None = None
            self._stuck: asyncio.TimerHandle | None = None
            self._look()
            if self._is_refused:
                transport.write(_TOO_MANY)
                transport.close()

        def data_received(self, data: bytes) -> None:
            if self._is_refused:
                return
            super().data_received(data)
            self._look()

        def connection_lost(self, exc: Exception | None) -> None:
            super().connection_lost(exc)
            self._forget()
            self._taken()

        def pause_writing(self) -> None:
            super().pause_writing()
            self._stuck = self.loop.call_later(settings.body_seconds, self.transport.abort)

        def resume_writing(self) -> None:
            super().resume_writing()
            self._taken()

        def _taken(self) -> None:
            if self._stuck is not None:
                self._stuck.cancel()
                self._stuck = None

        def _is_waiting(self) -> bool:
            return self.cycle is None or self.cycle.response_complete

        def _look(self) -> None:
            if not self._is_waiting():
                self._forget()
            elif self._late is None:
                self._late = self.loop.call_later(settings.header_seconds, self._give_up)

        def _forget(self) -> None:
            if self._late is not None:
                self._late.cancel()
                self._late = None

        def _give_up(self) -> None:
            self._late = None
            if self._is_waiting() and not self.transport.is_closing():
                self.transport.close()

    return Patient


def _listen(settings: ServerSettings) -> socket.socket:
    """The socket. Raises ServingError when the place is taken or there is no such place."""
    family = socket.AF_INET6 if ":" in settings.host else socket.AF_INET
    try:
        listening = socket.socket(family)
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listening.bind((settings.host, settings.port))
        listening.listen()  # so that who is told the address can connect at once
    except OSError as error:
        raise ServingError(
            f"Nothing can listen at {settings.host}, port {settings.port}: {error.strerror or error}.",
            "Choose another --port or --host.",
        ) from None
    return listening


def _places(listening: socket.socket, settings: ServerSettings) -> str:
    """What is where."""
    places = {"API": "/v1"} | ({"playground": "/"} if settings.playground else {})
    return ", ".join(f"{what}: {_address(listening)}{path}" for what, path in places.items())


def _address(listening: socket.socket) -> str:
    host, port = listening.getsockname()[:2]
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"


@contextlib.contextmanager
def _quiet_signals() -> Any:
    """Uvicorn repeats the signals that ended it; here they have done what they should."""
    before = {each: signal.signal(each, lambda number, frame: None) for each in (signal.SIGTERM, signal.SIGINT)}
    try:
        yield
    finally:
        for each, handler in before.items():
            signal.signal(each, handler)
