"""The published schema: bodies are read by hand, within limits, so their schemas are added by hand, too."""

from __future__ import annotations

from typing import Any

from fastapi import FastAPI
from fastapi.openapi.utils import get_openapi
from pydantic import BaseModel

from lmalgebra.serving.answer_schemas import ANSWERS
from lmalgebra.serving.schema import (
    ChatRequest,
    CompletionRequest,
    FormulaRequest,
    MeasureRequest,
    RewriteRequest,
    Sampling,
    ScoreRequest,
)

REQUESTS = (ChatRequest, CompletionRequest, ScoreRequest, RewriteRequest, MeasureRequest, FormulaRequest)

_REFERENCE = "#/components/schemas/{model}"

METRICS_TYPE = "text/plain; version=0.0.4; charset=utf-8"
"""How Prometheus calls what it reads."""

_STATUSES = {
    400: "What cannot be honoured, and why.",
    401: "The key is missing or wrong.",
    403: "The operator does not allow it.",
    404: "There is no such voice.",
    408: "The body came too slowly.",
    413: "The body is too large.",
    415: "The body is not JSON.",
    429: "Too much is asked at once; Retry-After says when to come again.",
    500: "A bug.",
    503: "The server starts or ends.",
    504: "The request took too long.",
}


def gives(name: str, *refusals: int) -> dict[str, Any]:
    """The part of a route's description that says what it answers, and with which statuses it refuses, in OpenAI's
    shape.
    """
    return {"responses": {"200": _told("The answer.", name)} | {str(each): _refused(each) for each in refusals}}


def metrics() -> dict[str, Any]:
    """The part of the description of the route of metrics."""
    found = gives("Error", 401, 403)
    found["responses"]["200"] = {"description": "For Prometheus.", "content": {"text/plain": {}}}
    return found


def takes(kind: type[BaseModel], answer: str) -> dict[str, Any]:
    """The part of a route's description that says what its body is, and its answer."""
    found = {"requestBody": {"required": True, "content": _json(kind.__name__)}} | gives(answer, *_STATUSES)
    if issubclass(kind, Sampling):
        found["responses"]["200"]["description"] = "The answer; events with `stream`."
        found["responses"]["200"]["content"]["text/event-stream"] = {}
    return found


def _refused(status: int) -> dict[str, Any]:
    return _told(_STATUSES[status], "Error")


def health(*others: int) -> dict[str, Any]:
    """The part of the description of a route about the server, whose status is its answer."""
    answers = {str(each): _told("Whether it is so.", "Status") for each in (200, *others)}
    return {"responses": answers | {"403": _refused(403)}}


def _told(description: str, name: str) -> dict[str, Any]:
    return {"description": description, "content": _json(name)}


def _json(name: str) -> dict[str, Any]:
    return {"application/json": {"schema": {"$ref": _REFERENCE.format(model=name)}}}


def described(app: FastAPI) -> dict[str, Any]:
    """The whole schema."""
    if app.openapi_schema is None:
        found = get_openapi(title=app.title, version=app.version, routes=app.routes)
        for route in found["paths"].values():
            for operation in route.values():
                operation["responses"].pop("422", None)  # FastAPI's own refusal, which no route here gives
        schemas = found.setdefault("components", {}).setdefault("schemas", {})
        schemas.clear()
        schemas |= ANSWERS
        for kind in REQUESTS:
            own = kind.model_json_schema(ref_template=_REFERENCE)
            schemas |= own.pop("$defs", {})
            schemas[kind.__name__] = own
        app.openapi_schema = found
    return app.openapi_schema
