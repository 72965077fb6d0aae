"""The playground's files, as they are in the package. They are read once, and only their own names lead to them."""

from __future__ import annotations

from importlib.resources import files

from fastapi import FastAPI
from starlette.requests import Request
from starlette.responses import Response

from lmalgebra.serving.watch import Call

FOLDER = "/playground/"

_TYPES = {
    "html": "text/html; charset=utf-8",
    "css": "text/css; charset=utf-8",
    "js": "text/javascript; charset=utf-8",
    "svg": "image/svg+xml",
}

_HEADERS = {
    "Content-Security-Policy": "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; "
    "connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'; "
    "require-trusted-types-for 'script'; trusted-types 'none'",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Cache-Control": "no-cache",
}


class Playground:
    """Answers with the page's files. `paths` are all of theirs: nothing in them is a secret, so they need no key."""

    def __init__(self) -> None:
        self._files: dict[str, tuple[bytes, str]] = {}
        for file in files("lmalgebra.serving").joinpath("playground").iterdir():
            kind = _TYPES.get(file.name.rpartition(".")[2])
            if kind is not None:
                path = "/" if file.name == "index.html" else FOLDER + file.name
                self._files[path] = file.read_bytes(), kind

    @property
    def paths(self) -> frozenset[str]:
        return frozenset(self._files)

    def add_to(self, app: FastAPI) -> None:
        """Add a route for each file; they are no part of the API."""
        for path in self._files:
            app.get(path, include_in_schema=False, response_model=None)(self.answer)

    async def answer(self, request: Request) -> Response:
        """One file."""
        call: Call = request.state.call
        call.route = request.url.path
        content, kind = self._files[call.route]
        return Response(content, media_type=kind, headers=_HEADERS)
