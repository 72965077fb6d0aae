"""Components that count: words that were to be used, their order, how long a text is, how much it repeats."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

from lmalgebra.errors import TrainingError
from lmalgebra.judges.counting import repeats, used, used_in_order
from lmalgebra.settings_file import check_ranges
from lmalgebra.training.policies.rewards.base import Said
from lmalgebra.training.policies.rewards.component import Component, field_of

MOST = 1 << 30


@dataclass(frozen=True)
class Coverage(Component):
    """The share of the words in `field` that a text uses, in any inflection (CommonGen's coverage)."""

    kind: ClassVar[str] = "coverage"
    field: str = "concepts"

    def __call__(self, said: Sequence[Said]) -> list[float]:
        return [used(words, each.text) / len(words) for each in said for words in [self._words(each)]]

    def _words(self, said: Said) -> Sequence[str]:
        words = field_of(said, self.field, self.kind)
        if not isinstance(words, list | tuple) or not words or not all(isinstance(word, str) for word in words):
            raise TrainingError(
                f"The reward '{self.kind}' finds {words!r} in the field '{self.field}', which are no words.",
                'It wants a list of texts, as in {"concepts": ["dog", "catch"]}.',
            )
        return words


@dataclass(frozen=True)
class Order(Coverage):
    """The most words of `field` that a text uses one after another in their order, as a share of all of them."""

    kind: ClassVar[str] = "order"

    def __call__(self, said: Sequence[Said]) -> list[float]:
        return [used_in_order(words, each.text) / len(words) for each in said for words in [self._words(each)]]


@dataclass(frozen=True)
class Length(Component):
    """1 for a text of `target` words, or of `least` to `most`; less, in proportion, for one that is shorter or longer.

    A text of half the words that are wanted has 1/2, as has one of twice as many; words are what white space parts.
    With `least` alone the reward is capped from there on.
    """

    kind: ClassVar[str] = "length"
    target: int | None = None
    least: int | None = None
    most: int | None = None

    def __post_init__(self) -> None:
        super().__post_init__()
        check_ranges(self, dict.fromkeys(("target", "least", "most"), (1, MOST)), TrainingError)
        if (self.target is None) == (self.least is None and self.most is None):
            raise TrainingError(
                "The reward 'length' needs either a target or bounds.",
                "Write length(20), length(least=10), length(most=30) or length(least=10, most=30).",
            )
        if self.least is not None and self.most is not None and self.least > self.most:
            raise TrainingError(
                f"length(least={self.least}, most={self.most}) holds no length.", "Exchange least and most."
            )

    def __call__(self, said: Sequence[Said]) -> list[float]:
        least, most = self.target or self.least or 0, self.target or self.most or MOST
        counts = [len(each.text.split()) for each in said]
        return [words / least if words < least else most / max(words, most) for words in counts]


@dataclass(frozen=True)
class Repetition(Component):
    """The share of a text's n-grams of `words` words that it had before; subtract it: `- 0.5 * repetition(4)`."""

    kind: ClassVar[str] = "repetition"
    words: int = 4

    def __post_init__(self) -> None:
        super().__post_init__()
        check_ranges(self, {"words": (1, 1000)}, TrainingError)

    def __call__(self, said: Sequence[Said]) -> list[float]:
        found = [repeats(each.text.split(), self.words) for each in said]
        return [again / total if total else 0.0 for again, total in found]
