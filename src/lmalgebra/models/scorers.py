"""From the description of a classifier or a constraint to what scores tokens."""

from collections.abc import Callable

from lmalgebra.algebra import Bias, Classifier, Constraint
from lmalgebra.errors import VoiceError
from lmalgebra.models.base import LanguageModel, Scorer


def open_scorer(
    description: Bias,
    model: LanguageModel,
    ends: frozenset[int],
    report: Callable[[str], None] = lambda sentence: None,
) -> Scorer:
    """What scores the tokens of `model` as `description` says; a text ends with one of `ends`.

    `report` hears of what takes time. Raises ModelError when it cannot be loaded.
    """
    if isinstance(description, Classifier):
        from lmalgebra.models.classifiers import open_classifier

        return open_classifier(description, model, ends)
    if isinstance(description, Constraint):
        from lmalgebra.models.constraints import open_constraint

        return open_constraint(description, model, ends)
    kind = type(description).__name__
    raise VoiceError(f"A term of the kind {kind} cannot be used here.", "Use a classifier or a constraint.")
