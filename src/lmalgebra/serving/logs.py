"""Logs as JSON, one object a line. What users and formulas say is left out, unless the operator wants it."""

from __future__ import annotations

import json
import logging
import sys
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import Any, TextIO

_OWN = set(vars(logging.makeLogRecord({}))) | {"message", "asctime", "color_message", "taskName"}


class JsonLines(logging.Formatter):
    """Time, level, event and whatever was given as `extra`. An error is told by its kind and where it happened; its
    message may repeat a prompt, and comes only `with_texts`.
    """

    def __init__(self, with_texts: bool) -> None:
        super().__init__()
        self._with_texts = with_texts

    def format(self, record: logging.LogRecord) -> str:
        content: dict[str, Any] = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname.lower(),
            "event": record.getMessage(),
        }
        content |= {key: value for key, value in vars(record).items() if key not in _OWN}
        if record.exc_info and record.exc_info[1] is not None:
            content |= self._error(record.exc_info[1])
        return json.dumps(content, ensure_ascii=False, default=str)

    def _error(self, error: BaseException) -> dict[str, Any]:
        frames = traceback.extract_tb(error.__traceback__)
        places = [f"{frame.filename.rpartition('lmalgebra/')[2]}:{frame.lineno} {frame.name}" for frame in frames]
        told: dict[str, Any] = {"error": type(error).__name__, "at": places}
        return told | ({"message": str(error)} if self._with_texts else {})


@contextmanager
def logging_to(stream: TextIO | None = None, with_texts: bool = False) -> Iterator[None]:
    """Let the server's and the library's logs go to `stream`, by default standard error, while this lasts."""
    handler = logging.StreamHandler(stream or sys.stderr)
    handler.setFormatter(JsonLines(with_texts))
    levels = {"lmalgebra": logging.INFO, "uvicorn": logging.WARNING}
    loggers = [(logging.getLogger(name), level) for name, level in levels.items()]
    before = [(logger.handlers[:], logger.level, logger.propagate) for logger, _ in loggers]
    for logger, level in loggers:
        logger.handlers[:], logger.propagate = [handler], False
        logger.setLevel(level)
    try:
        yield
    finally:
        for (logger, _), (handlers, level, propagates) in zip(loggers, before, strict=True):
            logger.handlers[:], logger.propagate = handlers, propagates
            logger.setLevel(level)
