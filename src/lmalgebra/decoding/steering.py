"""The weights of `follow` and `hold`, which depend on what a classifier says of the text so far."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

from lmalgebra.algebra import Hold, Steered
from lmalgebra.alike import common_length
from lmalgebra.models.base import Asked, Message, Scorer


@dataclass(eq=False)
class Course:
    """How a text's weight went: after each of `tokens`, from none on, `weights` and the sums of errors.

    `state` is what the gauge remembers of the text.
    """

    state: Any
    tokens: list[int] = field(default_factory=list)
    weights: list[float] = field(default_factory=list)
    sums: list[float] = field(default_factory=list)

    def forget_after(self, tokens: Sequence[int]) -> None:
        """Keep only what is true of a text that begins with `tokens`: drafts come and go."""
        listed = list(tokens)
        kept = common_length(self.tokens, listed) + 1
        del self.weights[kept:], self.sums[kept:]
        self.tokens = listed


class Steering:
    """Decides the weight of the parts of a formula that share a rule; `gauge` reads the text."""

    def __init__(self, rule: Steered, gauge: Scorer) -> None:
        self._rule, self._gauge = rule, gauge

    def begin(self, messages: Sequence[Message], most: int | None = None) -> Course:
        """The course of a text that answers `messages`; `most` is as in `Scorer.begin`."""
        return Course(self._gauge.begin(messages, most))

    def end(self, course: Course) -> None:
        """The text is finished or given up."""
        self._gauge.end(course.state)

    def weights(self, texts: Iterable[tuple[Course, Sequence[int], int]]) -> list[float]:
        """The weights at each text's positions from a first one on, those of all texts in a row."""
        listed = list(texts)
        asked = []
        for course, tokens, _ in listed:
            course.forget_after(tokens)
            asked.append(Asked(course.state, tokens, len(course.weights)))
        levels = self._gauge.levels([each for each in asked if each.first <= len(each.tokens)])
        found = iter(levels)
        for (course, tokens, _), question in zip(listed, asked, strict=True):
            if question.first <= len(tokens):
                for level in next(found).exp().tolist():
                    self._go_on(course, level)
        return [weight for course, _, first in listed for weight in course.weights[first:]]

    def _go_on(self, course: Course, level: float) -> None:
        """Add the weight after one more token; before any, nothing is known of the text."""
        rule = self._rule
        level = level if course.weights else 0.5
        if not isinstance(rule, Hold):
            course.weights.append(level)
            return
        error = rule.target - level
        total = (course.sums[-1] if course.sums else 0.0) + rule.gain * error
        course.sums.append(min(max(total, rule.least / rule.most), 1.0))
        course.weights.append(min(max(rule.most * (course.sums[-1] + error), rule.least), rule.most))
