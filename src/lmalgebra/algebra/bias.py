"""What a term stands for that is no language model: it scores next tokens and has no distribution of its own.

Sources: classifiers as terms, model arithmetic (Dekoninck et al., ICLR 2024, arXiv 2311.14479, section 3.3), after
FUDGE (Yang and Klein, NAACL 2021, arXiv 2104.05218).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from lmalgebra.algebra.base import Description
from lmalgebra.algebra.formula import Term
from lmalgebra.algebra.naming import term_name
from lmalgebra.algebra.weights import shown
from lmalgebra.errors import VoiceError

Probabilities = Callable[[list[str]], Sequence[float]]
"""Texts to the probability, from 0 to 1, that each has an attribute."""

READS = ("answer", "all")
DEFAULT_TOP_K = 50


@dataclass(frozen=True)
class Bias(Description):
    """Scores next tokens; mass 0."""

    @property
    def mass(self) -> float:
        """0."""
        return 0.0

    @property
    def candidates(self) -> int:
        """How many of the likeliest next tokens are scored, under the formula without such terms; 0: every token."""
        return 0

    def table(self) -> dict[str, Any]:
        """The term's keys in a voice file. Raises VoiceError when a file cannot hold it."""
        raise VoiceError(f"A {type(self).__name__} cannot be written into a voice file.", "Save it in Python.")


@dataclass(frozen=True)
class Classifier(Bias):
    """The score of a token is log C(text + token) - log C(text), in nats; 0 for tokens that are not candidates.

    `source` is a folder or hub id of a sequence classifier, or a function from texts to probabilities. C is the
    probability of `label`, or with `sign` -1 that of its absence. Only the `top_k` likeliest tokens are scored.
    It reads the `"answer"` alone, or with `reads="all"` the conversation before it as well. Raises VoiceError for a
    value out of range.
    """

    source: str | Probabilities
    label: str = ""
    sign: int = 1
    top_k: int = DEFAULT_TOP_K
    reads: str = "answer"

    def __post_init__(self) -> None:
        if not callable(self.source) and not (isinstance(self.source, str) and self.source.strip()):
            raise VoiceError(
                f"source={shown(self.source)} of a classifier is no place and no function.",
                "Give a folder, a hub id, or a function of texts.",
            )
        if not isinstance(self.label, str):
            raise VoiceError(f"label={shown(self.label)} of a classifier is not text.", "Put it in quotes.")
        if isinstance(self.sign, bool) or self.sign not in (1, -1):
            raise VoiceError(
                f"sign={shown(self.sign)} of a classifier is not 1 or -1.", "Write sign=-1 for a label's absence."
            )
        if isinstance(self.top_k, bool) or not isinstance(self.top_k, int) or self.top_k < 1:
            raise VoiceError(
                f"top_k={shown(self.top_k)} of a classifier is not a whole number of at least 1.", "Write top_k=50."
            )
        if self.reads not in READS:
            raise VoiceError(f"reads={shown(self.reads)} of a classifier is not known.", f"Known: {', '.join(READS)}.")

    @property
    def candidates(self) -> int:
        """As many as `top_k` says."""
        return self.top_k

    def table(self) -> dict[str, Any]:
        """Only what differs from the defaults."""
        if not isinstance(self.source, str):
            raise VoiceError(
                f"The function '{self.place}' cannot be written into a voice file.",
                "Save the formula in Python, or train a classifier that does the same.",
            )
        plain = Classifier(self.source)
        keys = ("label", "sign", "top_k", "reads")
        changed = {key: getattr(self, key) for key in keys if getattr(self, key) != getattr(plain, key)}
        return {"classifier": self.source} | changed

    @property
    def place(self) -> str:
        """The source, or the function's name."""
        return self.source if isinstance(self.source, str) else getattr(self.source, "__name__", "function")


def classifier(
    source: str | Probabilities,
    label: str = "",
    *,
    sign: int = 1,
    top_k: int = DEFAULT_TOP_K,
    reads: str = "answer",
    name: str | None = None,
) -> Term:
    """A term that scores tokens by a classifier: see Classifier. Without a name, one is made from the content.

    Raises VoiceError for a value out of range, FormulaError for a name the text syntax cannot hold.
    """
    description = Classifier(source, label, sign, top_k, reads)
    content = [description.place, label, sign, top_k, reads]
    return Term(term_name(label or description.place, content) if name is None else name, description)
