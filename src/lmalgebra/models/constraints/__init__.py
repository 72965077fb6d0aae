"""Constraints as scorers: 0 for the tokens that may come next, `-inf` for all others.

A constraint is a set of texts. Where it stands in a formula, a token is drawn from the formula's distribution without
it, renormalised over the tokens that it allows; drafts included, since what is allowed depends on the text alone.
"""

from lmalgebra.algebra import Constraint, Forbidden, Required
from lmalgebra.errors import VoiceError
from lmalgebra.models.base import LanguageModel, Scorer

__all__ = ["open_constraint"]


def open_constraint(description: Constraint, model: LanguageModel, ends: frozenset[int]) -> Scorer:
    """The constraint of a description over the tokens of `model`; a text ends with one of `ends`.

    Raises VoiceError when it cannot be followed.
    """
    if isinstance(description, Forbidden | Required):
        raise VoiceError(f"A {type(description).__name__} cannot be used yet.", "Use another constraint.")
    from lmalgebra.models.constraints.grammar import GrammarScorer

    return GrammarScorer(description, model, ends)
