"""The published schema: bodies are read by hand, within limits, so their schemas are added by hand, too."""

from __future__ import annotations

from typing import Any

from fastapi import FastAPI
from fastapi.openapi.utils import get_openapi
from pydantic import BaseModel

from lmalgebra.serving.schema import (
    ChatRequest,
    CompletionRequest,
    FormulaRequest,
    MeasureRequest,
    Sampling,
    ScoreRequest,
)

_REFERENCE = "#/components/schemas/{model}"
_ERROR = {
    "type": "object",
    "required": ["error"],
    "properties": {
        "error": {
            "type": "object",
            "required": ["message", "type", "param", "code"],
            "properties": {
                "message": {"type": "string"},
                "type": {"type": "string"},
                "param": {"type": ["string", "null"]},
                "code": {"type": "string"},
            },
        }
    },
}


METRICS_TYPE = "text/plain; version=0.0.4; charset=utf-8"
"""How Prometheus calls what it reads."""

METRICS: dict[str, Any] = {"responses": {"200": {"description": "For Prometheus.", "content": {"text/plain": {}}}}}
"""The description of the route of metrics."""

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


def refuses(*statuses: int) -> dict[str, Any]:
    """The part of a route's description that says with which statuses it refuses, in OpenAI's shape."""
    errors = {"application/json": {"schema": {"$ref": _REFERENCE.format(model="Error")}}}
    return {"responses": {str(each): {"description": _STATUSES[each], "content": errors} for each in statuses}}


def takes(kind: type[BaseModel]) -> dict[str, Any]:
    """The part of a route's description that says what its body is."""
    content = {"application/json": {"schema": {"$ref": _REFERENCE.format(model=kind.__name__)}}}
    found = {"requestBody": {"required": True, "content": content}} | refuses(*_STATUSES)
    if issubclass(kind, Sampling):
        answers = {"application/json": {}, "text/event-stream": {}}
        found["responses"]["200"] = {"description": "The answer; events with `stream`.", "content": answers}
    return found


def described(app: FastAPI) -> dict[str, Any]:
    """The whole schema."""
    if app.openapi_schema is None:
        found = get_openapi(title=app.title, version=app.version, routes=app.routes)
        schemas = found.setdefault("components", {}).setdefault("schemas", {})
        schemas["Error"] = _ERROR
        for kind in (ChatRequest, CompletionRequest, ScoreRequest, MeasureRequest, FormulaRequest):
            own = kind.model_json_schema(ref_template=_REFERENCE)
            schemas |= own.pop("$defs", {})
            schemas[kind.__name__] = own
        app.openapi_schema = found
    return app.openapi_schema
