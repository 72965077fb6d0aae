"""What a terminal and a page both show of an explanation: which tokens count as moved, by whom, in which words."""

from math import exp
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from lmalgebra.decoding import ExplainedToken, Explanation

MOVED = 0.5
"""Nats from which a token counts as moved: its probability is 1.65 times what it was, or a share of that."""

SHOWN = 12
"""The most moved tokens that are listed."""

HOW_SHARED = {
    "shapley": "A term's part is what it adds, averaged over all orders of adding the terms (its Shapley value).",
    "in order": "There are too many terms for Shapley values; each part is what a term adds to those before it.",
}


def is_moved(token: "ExplainedToken") -> bool:
    """Whether the formula changed the token's probability much."""
    return abs(token.change) >= MOVED


def mover(token: "ExplainedToken") -> str | None:
    """The term with the largest part of a token that moved."""
    return max(token.parts, key=lambda term: abs(token.parts[term])) if is_moved(token) and token.parts else None


def most_moved(explanation: "Explanation") -> "list[tuple[int, ExplainedToken]]":
    """The moved tokens with their positions, the most moved first."""
    moved = [(position, token) for position, token in enumerate(explanation.tokens) if is_moved(token)]
    return sorted(moved, key=lambda pair: -abs(pair[1].change))[:SHOWN]


def visible(text: str) -> str:
    """A token on one line, its spaces at the ends and its line breaks to be seen."""
    shown = text.replace("\n", "⏎").replace("\t", "⇥")
    start = len(shown) - len(shown.lstrip(" "))
    end = len(shown) - len(shown.rstrip(" ")) if start < len(shown) else 0
    return "␣" * start + shown[start : len(shown) - end] + "␣" * end


def nats(value: float) -> str:
    """A signed number of nats."""
    return f"{value:+.2f}".replace("-", "\N{MINUS SIGN}")  # as wide as the plus


def share(logprob: float) -> str:
    """A probability in percent, with as many digits as it needs."""
    percent = 100 * exp(logprob)
    return "<0.01 %" if percent < 0.01 else f"{percent:.2f} %" if percent < 1 else f"{percent:.0f} %"


def alternatives(token: "ExplainedToken", count: int) -> str:
    """What the reference would have said, with probabilities."""
    shown = [f"{visible(each.text)} {100 * each.probability:.0f} %" for each in token.reference_top[:count]]
    return " · ".join(shown)


def drawn_with(explanation: "Explanation") -> str:
    """What a generated text was drawn with, in words."""
    from lmalgebra.algebra import GenerationSettings

    if explanation.sampling is None:
        return "The text was given, not generated."
    defaults = GenerationSettings()
    plain = {key: getattr(defaults, key) for key in explanation.sampling if key not in ("temperature", "seed")}
    used = [
        f"{key.replace('_', '-')} {value}"
        for key, value in explanation.sampling.items()
        if key not in plain or value != plain[key]
    ]
    return f"Drawn with {', '.join(used)}. Numbers are the formula's before that."
