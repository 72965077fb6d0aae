"""Faithfulness: how far answers say nothing beyond the knowledge that they were given.

The task is that of FaithDial (Dziri et al., TACL 2022, arXiv 2204.10757). By a judge of pairs: a
classifier of entailment, which reads the knowledge and then the answer.
"""

from collections.abc import Sequence
from pathlib import Path

from lmalgebra.errors import EvaluationError
from lmalgebra.evaluation.measures.judged import JudgedMeasure
from lmalgebra.evaluation.statistics import Quantity, mean_of
from lmalgebra.judges import THRESHOLD, Judge
from lmalgebra.prompt_sets import Item


class Faithfulness(JudgedMeasure):
    """The mean score of answers after each item's `knowledge`, and the share that the judge finds faithful.

    Raises EvaluationError for a judge that cannot read pairs.
    """

    kind = "faithfulness"

    def __init__(self, judge: Judge, cache: Path, threshold: float = THRESHOLD) -> None:
        super().__init__(judge, cache, threshold)
        if not judge.reads_pairs:
            raise EvaluationError(
                f"The judge '{judge.name}' reads answers alone, and not the knowledge before them.",
                "Name a classifier of entailment, or a language model whose template has {{ prompt }} in it.",
            )

    def quantities(self, known: Sequence[Sequence[float]], items: Sequence[Item]) -> dict[str, Quantity]:
        faithful = [[score >= self.threshold for score in each] for each in known]
        return {
            name: mean_of([sum(each) / len(each) if each else None for each in scores], lower_is_better=False)
            for name, scores in (("mean", known), ("faithful", faithful))
        }

    def read(self, item: Item, text: str) -> str | list[str]:
        return [item.fields["knowledge"], text]
