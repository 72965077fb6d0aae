"""Result files: plain JSON, written whole or not at all, and read back with a sentence for what is none."""

import json
import os
import re
from pathlib import Path
from typing import Any

from lmalgebra.errors import EvaluationError

FORMAT = 1
"""Raised when result files change."""


def write_json(content: dict[str, Any], path: Path) -> None:
    """Write a file of JSON: to a new one beside it, which then takes its place. Raises EvaluationError."""
    beside = path.with_name(f".{path.name}.{os.getpid()}.new")
    try:
        beside.write_text(_compact(json.dumps(content, indent=1, ensure_ascii=False)) + "\n", encoding="utf-8")
        os.replace(beside, path)
    except OSError as error:
        beside.unlink(missing_ok=True)
        raise EvaluationError(
            f"The result '{path}' cannot be written: {error.strerror}.", "Name another file with --output."
        ) from None


def read_result(path: Path) -> dict[str, Any]:
    """A result file. Raises EvaluationError for one that is missing, damaged, or of another format."""
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise EvaluationError(f"There is no result '{path}'.", "Make one with lmalgebra evaluate.") from None
    except (OSError, ValueError) as error:
        raise EvaluationError(f"'{path}' is no result: {error}.", "Name what lmalgebra evaluate wrote.") from None
    if not isinstance(found, dict) or found.get("format") != FORMAT or not isinstance(found.get("voices"), list):
        raise EvaluationError(
            f"'{path}' is no result of this version of evaluation.", "Name what lmalgebra evaluate wrote."
        )
    return found


def _compact(text: str) -> str:
    """JSON with each list of numbers or names on one line."""
    return re.sub(r"\[([^\[\]{}]*)\]", lambda found: f"[{' '.join(found[1].split())}]", text)
