"""What a client is told when a request cannot be answered, in the shape that OpenAI's clients understand."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from lmalgebra.errors import (
    BusyError,
    CacheFullError,
    DecodingError,
    FormulaError,
    LmalgebraError,
    LostError,
    ModelError,
    PromptError,
    VoiceError,
)

INVALID, SERVER = "invalid_request_error", "server_error"

_CODES: dict[type[LmalgebraError], str] = {
    FormulaError: "invalid_formula",
    VoiceError: "invalid_term",
    PromptError: "invalid_prompt",
    DecodingError: "invalid_value",
    CacheFullError: "context_length_exceeded",
}
"""Errors that a client can mend."""


class ApiError(Exception):
    """An answer of `status` other than what was asked for; `param` is the field that is wrong, if it is one."""

    def __init__(
        self,
        status: int,
        message: str,
        code: str,
        param: str | None = None,
        kind: str = INVALID,
        headers: Mapping[str, str] | None = None,
    ) -> None:
        super().__init__(message)
        self.status, self.message, self.code, self.param, self.kind = status, message, code, param, kind
        self.headers = dict(headers or {})

    @property
    def body(self) -> dict[str, Any]:
        """The answer's content."""
        return {"error": {"message": self.message, "type": self.kind, "param": self.param, "code": self.code}}


class ClientLeft(Exception):
    """Nobody waits for the answer any more."""


def invalid(message: str, param: str | None = None, code: str = "invalid_value") -> ApiError:
    """A field has a value that cannot be honoured."""
    return ApiError(400, message, code, param)


def not_allowed(message: str, param: str) -> ApiError:
    """The operator does not let requests do this."""
    return ApiError(403, message, "not_allowed", param)


def busy(message: str, retry_seconds: int) -> ApiError:
    """Too much is asked at once."""
    return ApiError(
        429, message, "rate_limit_exceeded", kind="rate_limit_error", headers={"Retry-After": str(retry_seconds)}
    )


def unavailable(message: str, retry_seconds: int = 5) -> ApiError:
    """The server starts or ends, or one that it asks does not answer."""
    return ApiError(503, message, "unavailable", kind=SERVER, headers={"Retry-After": str(retry_seconds)})


def too_slow(seconds: float) -> ApiError:
    """A request has taken as long as one may."""
    return ApiError(504, f"The request was not answered within {seconds:g} seconds.", "timeout", kind="timeout_error")


def failure() -> ApiError:
    """A bug. What it was stays in the log, since it may repeat what somebody wrote."""
    return ApiError(500, "The request was lost to a failure of the server.", "internal_error", kind=SERVER)


def as_api_error(error: Exception, retry_seconds: int = 1, param: str | None = None) -> ApiError:
    """What a client is told of `error`."""
    if isinstance(error, ApiError):
        return error
    if isinstance(error, BusyError):
        return busy(str(error), retry_seconds)
    if isinstance(error, LostError) or not isinstance(error, LmalgebraError):
        return failure()
    for kind, code in _CODES.items():
        if isinstance(error, kind):
            return invalid(str(error), param, code)
    if isinstance(error, ModelError):  # its message names places and addresses, which are the operator's
        return unavailable("A model of this voice cannot be used just now.")
    return failure()
