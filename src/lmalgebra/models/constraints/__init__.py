"""Constraints as scorers: 0 for the tokens that may come next, `-inf` for all others.

A constraint is a set of texts. Where it stands in a formula, a token is drawn from the formula's distribution without
it, renormalised over the tokens that it allows; drafts included, since what is allowed depends on the text alone.
"""

from lmalgebra.algebra import Constraint, Forbidden, Required
from lmalgebra.models.base import LanguageModel, Scorer

__all__ = ["open_constraint"]


def open_constraint(description: Constraint, model: LanguageModel, ends: frozenset[int]) -> Scorer:
    """The constraint of a description over the tokens of `model`; a text ends with one of `ends`.

    Raises ModelError or VoiceError when it cannot be followed with these tokens, MissingExtraError when what it needs
    is not installed.
    """
    if isinstance(description, Forbidden):
        from lmalgebra.models.constraints.forbid import ForbidScorer

        return ForbidScorer(description, model, ends)
    if isinstance(description, Required):
        from lmalgebra.models.constraints.require import RequireScorer

        return RequireScorer(description, model, ends)
    from lmalgebra.models.constraints.grammar import GrammarScorer

    return GrammarScorer(description, model, ends)
