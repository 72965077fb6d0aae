"""Names for models and terms that are given none."""

from __future__ import annotations

import hashlib
import json
import keyword
import re
from collections.abc import Sequence

from lmalgebra.algebra.formula import FUNCTION_NAMES

_LONGEST_SLUG = 24


def model_name(source: str) -> str:
    """An identifier from the last part of a path or hub id, without suffix."""
    last = re.split(r"[/\\]", source.rstrip("/\\"))[-1]
    stem = re.sub(r"\.(gguf|safetensors|bin)$", "", last)
    name = re.sub(r"\W", "_", stem, flags=re.ASCII).strip("_") or "model"
    if name[0].isdigit() or keyword.iskeyword(name) or name in FUNCTION_NAMES:
        name = f"model_{name}"
    return name


def term_name(spoken: str, content: Sequence[object]) -> str:
    """A readable name that the content decides: the first words of `spoken` and four digits of the content's hash."""
    digest = hashlib.sha256(json.dumps(content).encode()).hexdigest()[:4]
    return f"{_slug(spoken)}_{digest}"


def _slug(text: str) -> str:
    words = re.findall(r"[a-z0-9]+", text.lower())
    slug = ""
    for word in words:
        longer = f"{slug}_{word}" if slug else word[:_LONGEST_SLUG]
        if len(longer) > _LONGEST_SLUG:
            break
        slug = longer
    return f"t_{slug}" if slug[:1].isdigit() else slug or "term"
