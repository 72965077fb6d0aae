"""What a trained folder says of itself: `lmalgebra.json` for programs, `README.md` for people."""

from __future__ import annotations

import json
import platform
from collections.abc import Mapping
from importlib.metadata import version
from pathlib import Path
from typing import Any

from lmalgebra.models.sequence_classifier import CARD

PAGE = "README.md"

LIBRARIES = ("lmalgebra", "torch", "transformers")


def with_versions(card: Mapping[str, Any]) -> dict[str, Any]:
    """The card, and the versions of what computed."""
    return {**card, "versions": {name: version(name) for name in LIBRARIES} | {"python": platform.python_version()}}


def write_both(folder: Path, card: Mapping[str, Any], page: str) -> None:
    """Write both files. Raises OSError."""
    (folder / CARD).write_text(json.dumps(card, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
    (folder / PAGE).write_text(page, encoding="utf-8")


def metric_table(title: str, rows: list[tuple[str, str]]) -> str:
    """Names and values in Markdown."""
    return "\n".join([f"| {title} | |", "|---|---|", *(f"| {name} | {value} |" for name, value in rows)])


def number(value: float) -> str:
    """A count with commas, or four digits after the point."""
    return f"{value:,}" if isinstance(value, int) else f"{value:.4f}"
