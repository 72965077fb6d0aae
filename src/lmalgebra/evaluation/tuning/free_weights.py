"""Formulas with weights that are still open: `base - {strength} * union(toxic, base)`."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from lmalgebra.algebra import Formula, Term, parse
from lmalgebra.algebra.weights import number_text
from lmalgebra.errors import EvaluationError

_PLACE = re.compile(r"\{\s*(\w+)\s*\}")


@dataclass(frozen=True)
class OpenFormula:
    """A formula as text, with a name in braces for each open weight."""

    text: str

    @property
    def names(self) -> tuple[str, ...]:
        """The open weights, in order of appearance."""
        return tuple(dict.fromkeys(_PLACE.findall(self.text)))

    def at(self, weights: Mapping[str, float]) -> str:
        """The formula's text with these weights."""
        return _PLACE.sub(lambda place: f"({number_text(weights[place[1]])})", self.text)

    def formula(self, weights: Mapping[str, float], terms: Mapping[str, Term]) -> Formula:
        """The formula with these weights over `terms`. Raises FormulaError."""
        return parse(self.at(weights), terms)


@dataclass(frozen=True)
class Span:
    """Where the value of an open weight is looked for."""

    name: str
    least: float
    most: float


def parse_spans(texts: Sequence[str], formula: OpenFormula) -> tuple[Span, ...]:
    """Spans written as `name=0:1.5`, one for each open weight of the formula. Raises EvaluationError."""
    spans = {span.name: span for span in map(_span, texts)}
    for name in spans:
        if name not in formula.names:
            raise EvaluationError(
                f"The formula '{formula.text}' has no open weight '{name}'.", f"Write {{{name}}} where it stands."
            )
    if not formula.names:
        raise EvaluationError(
            f"The formula '{formula.text}' has no open weight.", "Write a name in braces, as in base + {w} * a."
        )
    for name in formula.names:
        if name not in spans:
            raise EvaluationError(f"Nothing says where {{{name}}} is looked for.", f"Add --weight {name}=0:1.")
    return tuple(spans[name] for name in formula.names)


def _span(text: str) -> Span:
    name, _, span = text.partition("=")
    least, _, most = span.partition(":")
    try:
        found = Span(name.strip(), float(least), float(most))
    except ValueError:
        raise EvaluationError(f"'{text}' is no span of a weight.", "Write name=0:1.5.") from None
    if not found.least < found.most:
        raise EvaluationError(f"The span '{text}' is empty.", f"Write {found.name}=0:1.5.")
    return found
