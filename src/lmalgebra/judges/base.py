"""The interface that all judges share."""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Any

from lmalgebra.errors import EvaluationError

THRESHOLD = 0.5
"""From this score on a text has what a judge looks for."""

Score = float | EvaluationError
"""From 0 to 1, or why there is none."""


class Judge(ABC):
    """Gives texts scores from 0 to 1. `name` is what reports call it.

    One that `reads_prompt` is given pairs of a prompt and a text; one that `reads_pairs` can be given any pairs. So
    many texts as `block` says are judged before their scores are kept.
    """

    name: str
    reads_prompt: bool = False
    reads_pairs: bool = False
    block: int = 256

    @abstractmethod
    def about(self) -> dict[str, Any]:
        """What decides its scores: its source and revision. Raises ModelError where there is no such judge."""

    @abstractmethod
    def scores(self, texts: Sequence[Any]) -> list[Score]:
        """The score of each text. Raises EvaluationError where a text keeps it from judging the others too, any other
        LmalgebraError where it cannot judge at all."""
