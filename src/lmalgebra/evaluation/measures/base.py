"""What is measured of answers: the interface that toxicity, fluency and the others share."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from lmalgebra.evaluation.statistics import Quantity
from lmalgebra.prompt_sets.reading import Item

Advance = Callable[[int], None]
"""Hears how many texts are done."""


@dataclass(frozen=True)
class Answers:
    """Prompts, and the texts of one voice's answers to each."""

    items: Sequence[Item]
    texts: Sequence[Sequence[str]]

    @property
    def flat(self) -> list[str]:
        """All texts in a row."""
        return [text for texts in self.texts for text in texts]

    def folded(self, values: Sequence[Any]) -> list[list[Any]]:
        """What belongs to `flat`, one list for each prompt."""
        each = iter(values)
        return [[next(each) for _ in texts] for texts in self.texts]


@dataclass(frozen=True)
class Measured:
    """What a measure found.

    `quantities` are over prompts; `numbers` are of all texts together and have no interval; `scores` are of each text,
    where judges can be compared by them; `notes` are sentences on what could not be measured.
    """

    quantities: Mapping[str, Quantity]
    numbers: Mapping[str, float] = field(default_factory=dict)
    scores: Sequence[float | None] | None = None
    notes: Sequence[str] = ()


class Measure(ABC):
    """Something to measure of answers. `name` is unique within an evaluation."""

    name: str

    @abstractmethod
    def about(self) -> dict[str, Any]:
        """What it takes to measure the same again: sources, revisions, thresholds."""

    @abstractmethod
    def measure(self, answers: Answers, advance: Advance = lambda done: None) -> Measured:
        """What there is to say of `answers`. Raises LmalgebraError where nothing is."""
