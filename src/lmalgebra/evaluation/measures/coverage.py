"""Constraint coverage as in CommonGen (Lin et al., Findings of EMNLP 2020, arXiv 1911.03705): are all words used?

A word counts in any of its inflections, as the constraint `require` has them, and only as a whole word.
"""

from collections.abc import Sequence
from typing import Any

from lmalgebra.evaluation.measures.base import Advance, Answers, Measure, Measured
from lmalgebra.evaluation.statistics import Quantity, mean_of
from lmalgebra.judges.counting import used, used_in_order


class Coverage(Measure):
    """The share of each item's `concepts` that a text uses, whether it uses all, and whether in their order."""

    name = "coverage"

    def about(self) -> dict[str, Any]:
        return {"kind": "coverage", "inflections": True}

    def measure(self, answers: Answers, advance: Advance = lambda done: None) -> Measured:
        found = [
            [_found(item.fields["concepts"], text) for text in texts]
            for item, texts in zip(answers.items, answers.texts, strict=True)
        ]
        advance(len(answers.flat))
        return Measured(
            {
                "covered": _mean([[covered for covered, _ in each] for each in found]),
                "all": _mean([[float(covered == 1) for covered, _ in each] for each in found]),
                "in_order": _mean([[float(ordered) for _, ordered in each] for each in found]),
            }
        )


def _found(concepts: Sequence[str], text: str) -> tuple[float, bool]:
    """The share of the concepts that a text uses, and whether it uses all of them in their order."""
    return used(concepts, text) / len(concepts), used_in_order(concepts, text) == len(concepts)


def _mean(values: Sequence[Sequence[float]]) -> Quantity:
    return mean_of([sum(each) / len(each) if each else None for each in values], lower_is_better=False)
