"""What measures by judges share: scores that are kept, one for each text."""

from abc import abstractmethod
from collections.abc import Sequence
from pathlib import Path
from typing import Any, ClassVar

from lmalgebra.evaluation.kept import Kept
from lmalgebra.evaluation.measures.base import Advance, Answers, Measure, Measured
from lmalgebra.evaluation.statistics import Quantity
from lmalgebra.judges import THRESHOLD, Judge
from lmalgebra.prompt_sets.reading import Item, text_of


class JudgedMeasure(Measure):
    """Something to measure by what `judge` says of each answer; its scores are kept in `cache`.

    From `threshold` on an answer has what the judge looks for. `kind` is what the measure is called, before the judge.
    """

    kind: ClassVar[str]

    def __init__(self, judge: Judge, cache: Path, threshold: float = THRESHOLD) -> None:
        self.name, self.judge, self.threshold = f"{self.kind} by {judge.name}", judge, threshold
        self._cache = cache

    def about(self) -> dict[str, Any]:
        return {"judge": self.judge.about(), "threshold": self.threshold}

    @abstractmethod
    def quantities(self, known: Sequence[Sequence[float]], items: Sequence[Item]) -> dict[str, Quantity]:
        """What there is to say of the scores of each prompt's answers, those left out that could not be judged."""

    def numbers(self, items: Sequence[Item]) -> dict[str, float]:
        """What there is to say besides the answers."""
        return {}

    def measure(self, answers: Answers, advance: Advance = lambda done: None) -> Measured:
        texts = [(item, text) for item, each in zip(answers.items, answers.texts, strict=True) for text in each]
        scores, notes = self.scores(texts, advance)
        known = [[score for score in each if score is not None] for each in answers.folded(scores)]
        quantities = self.quantities(known, answers.items)
        return Measured(quantities, self.numbers(answers.items), scores, notes)

    def scores(
        self, texts: Sequence[tuple[Item, str]], advance: Advance = lambda done: None
    ) -> tuple[list[float | None], list[str]]:
        """The score of each text after its item, None where there is none, and why not."""
        kept = Kept(self._cache / "scores", self.judge.about(), self.judge.scores, self.judge.block)
        return kept([self.read(item, text) for item, text in texts], advance), kept.troubles

    def read(self, item: Item, text: str) -> str | list[str]:
        """What the judge reads of an answer: the text, after its prompt if it asks for that."""
        return [text_of(item.prompt), text] if self.judge.reads_prompt else text
