"""From the description of a classifier or a constraint to what scores tokens."""

from collections.abc import Callable

from lmalgebra.algebra import Bias, Classifier, Constraint
from lmalgebra.errors import VoiceError
from lmalgebra.models.base import LanguageModel, Scorer
from lmalgebra.models.loaded_classifiers import LoadedClassifiers
from lmalgebra.models.store import silent


class Scorers:
    """Opens the terms that are no language models; what they load is loaded once. `report` hears of what takes time."""

    def __init__(self, report: Callable[[str], None] = silent) -> None:
        self.classifiers = LoadedClassifiers(report)

    def __call__(self, description: Bias, model: LanguageModel, ends: frozenset[int]) -> Scorer:
        """What scores the tokens of `model` as `description` says; a text ends with one of `ends`.

        Raises ModelError when it cannot be loaded.
        """
        if isinstance(description, Classifier):
            return self.classifiers.open(description, model, ends)
        if isinstance(description, Constraint):
            from lmalgebra.models.constraints import open_constraint

            return open_constraint(description, model, ends)
        kind = type(description).__name__
        raise VoiceError(f"A term of the kind {kind} cannot be used here.", "Use a classifier or a constraint.")

    def clear(self) -> None:
        """Let go of what is loaded; terms that use it keep it."""
        self.classifiers.clear()
