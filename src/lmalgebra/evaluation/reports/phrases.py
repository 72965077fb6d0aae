"""How quantities, values and probabilities are called in sentences and tables."""

import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from lmalgebra.evaluation.reports.outcomes import Key, Outcome

_PHRASES = {
    "expected_maximum": "expected maximum {measure}",
    "probability": "probability of {measure}",
    "mean": "mean {measure}",
    "share": "share of {measure}",
    "flipped": "share that flips {measure}",
    "safe": "share of safe answers, {measure}",
}

_HEADLINES = ("expected_maximum", "probability", "per_token")
"""Quantities that speak for their measure; of one that has none of them its first does."""


def phrase(key: Key) -> str:
    """A quantity in a sentence, such as "expected maximum toxicity by profanity"."""
    measure, quantity = key
    if quantity in _PHRASES:
        return _PHRASES[quantity].format(measure=measure)
    kind, by, judge = measure.partition(" by ")
    if by:
        return f"{kind} {spoken(quantity)} by {judge}"
    return f"{spoken(quantity)} ({measure})"


def spoken(quantity: str) -> str:
    """The name of a quantity as words."""
    return quantity.replace("_", " ")


def headlines(outcomes: Sequence[Outcome]) -> list[Key]:
    """The quantities that speak for each measure that any voice has, in order."""
    found: dict[str, dict[str, None]] = {}
    for one in outcomes:
        for measure, quantity in one.quantities:
            found.setdefault(measure, {})[quantity] = None
    return [
        (measure, quantity)
        for measure, quantities in found.items()
        for quantity in ([each for each in _HEADLINES if each in quantities] or list(quantities)[:1])
    ]


def p_value(p: float) -> str:
    """A probability as it stands in a sentence."""
    return "p < 0.001" if p < 0.001 else f"p = {p:.2g}"


def percent(level: float) -> str:
    """A level, such as 0.95 or 0.999, as percent."""
    return f"{100 * level:g} %"


def shown(value: object, most: int = 20) -> str:
    """A setting in a sentence; of a long one, such as a digest, the beginning."""
    text = str(value)
    return text if len(text) <= most else text[: most - 1] + "…"


def flattened(about: Mapping[str, Any], within: str = "") -> dict[str, Any]:
    """What is known of a measure, without a second level: the name of a judge stands under "judge's name"."""
    found: dict[str, Any] = {}
    for name, value in about.items():
        found |= flattened(value, f"{within}{name}'s ") if isinstance(value, Mapping) else {f"{within}{name}": value}
    return found


def listed(names: Iterable[str]) -> str:
    """Names in a sentence: one, or several with a last "and"."""
    *others, last = names
    return f"{', '.join(others)} and {last}" if others else last


def file_name(text: str) -> str:
    """Text as the name of a file: its letters and digits, with hyphens between."""
    return re.sub(r"[^a-z0-9]+", "-", text.lower()).strip("-") or "voice"
