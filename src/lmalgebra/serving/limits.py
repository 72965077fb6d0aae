"""How much of a client a server takes in: bodies of a bounded size, in bounded time, from whoever is still there."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Coroutine
from typing import Any, TypeVar

from pydantic_core import from_json
from starlette.requests import ClientDisconnect, Request

from lmalgebra.serving.errors import ApiError, ClientLeft, invalid, too_slow
from lmalgebra.serving.settings import ServerSettings

Result = TypeVar("Result")


async def read_json(request: Request, settings: ServerSettings) -> Any:
    """The content of a body. Raises ApiError when it is too large or too slow, or is no JSON, and ClientLeft."""
    kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if kind != "application/json":  # a browser asks before it sends this to another origin, and CORS then decides
        raise ApiError(415, "The body must be JSON: set Content-Type: application/json.", "invalid_content_type")
    try:
        async with asyncio.timeout(settings.body_seconds):
            body = await _read(request, settings.max_body_bytes)
    except TimeoutError:
        raise ApiError(408, f"The body did not come within {settings.body_seconds:g} seconds.", "timeout") from None
    except ClientDisconnect:
        raise ClientLeft from None
    try:
        content = from_json(body, allow_inf_nan=False)
        json.loads(body, object_pairs_hook=_different)  # what it says twice, from_json says once
    except ValueError as error:
        raise invalid(f"The body is not JSON: {error}.", code="invalid_body") from None
    return content


def _different(pairs: list[tuple[str, Any]]) -> None:
    """Raise ApiError for a key that is given twice: one of its values would be ignored."""
    keys = set()
    for key, _ in pairs:
        if key in keys:
            raise invalid(f"The body gives {key[:100]} twice.", key[:100], "duplicate_parameter")
        keys.add(key)


async def _read(request: Request, most: int) -> bytes:
    declared = request.headers.get("content-length", "")
    parts, size = [], int(declared) if declared.isdecimal() else 0
    if size <= most:
        size = 0
        async for part in request.stream():
            parts.append(part)
            size += len(part)
            if size > most:
                break
    if size > most:
        headers = {"Connection": "close"}  # what is still coming is not read
        raise ApiError(413, f"The body is larger than {most:,} bytes.", "request_too_large", headers=headers)
    return b"".join(parts)


async def unless_left(request: Request, work: Coroutine[Any, Any, Result], seconds: float) -> Result:
    """What `work` returns; it is cancelled when the client leaves, or after `seconds`.

    The body must have been read. Raises ClientLeft and ApiError.
    """
    working = asyncio.ensure_future(work)
    leaving = asyncio.ensure_future(_left(request))
    try:
        done, _ = await asyncio.wait({working, leaving}, timeout=seconds, return_when=asyncio.FIRST_COMPLETED)
    finally:
        leaving.cancel()
        if not working.done():
            working.cancel()
            await asyncio.wait({working})
    if working in done:
        return working.result()
    if leaving in done:
        raise ClientLeft
    raise too_slow(seconds)


async def _left(request: Request) -> None:
    while (await request.receive())["type"] != "http.disconnect":
        pass
