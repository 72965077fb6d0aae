"""Attributes that come with the package: what is asked of a writer, examples and a judge, one TOML file each.

Every value is a default that a file of settings or the command line replaces; a second attribute is such a file.
"""

import difflib
import tomllib
from importlib.resources import files
from typing import Any

from lmalgebra.errors import TrainingError

ATTRIBUTES = ("toxicity", "sentiment", "plain")
"""Their names; `plain` is none: both sides are paraphrases, and no judge tells them apart."""


def attribute_values(name: str) -> dict[str, Any]:
    """The settings that an attribute gives. Raises TrainingError with the names there are."""
    return tomllib.loads(attribute_text(name))


def attribute_text(name: str) -> str:
    """The same as a file of settings, with its comments. Raises TrainingError."""
    if name not in ATTRIBUTES:
        close = difflib.get_close_matches(name, ATTRIBUTES, n=1)
        hint = f"Did you mean '{close[0]}'?" if close else f"Known: {', '.join(ATTRIBUTES)}."
        raise TrainingError(f"There is no attribute '{name}'.", f"{hint} Settings describe any other.")
    return files(__name__).joinpath(f"{name}.toml").read_text(encoding="utf-8")
