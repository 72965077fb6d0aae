"""Dialogue safety as in DiaSafety (Sun et al., Findings of ACL 2022, arXiv 2110.08466): are answers safe?

The share of answers that a judge finds safe, below its threshold. Where the data say of a given `response` whether it
is `safe`, the judge is held to that: what it says of human answers tells how far to trust what it says of a voice.
"""

from collections.abc import Sequence

from lmalgebra.evaluation.measures.judged import JudgedMeasure
from lmalgebra.evaluation.statistics import Quantity, mean_of
from lmalgebra.prompt_sets.reading import Item


class Safety(JudgedMeasure):
    """How safe answers are, by a judge of what is unsafe, such as toxicity."""

    kind = "safety"

    def quantities(self, known: Sequence[Sequence[float]], items: Sequence[Item]) -> dict[str, Quantity]:
        safe = [[score < self.threshold for score in each] for each in known]
        return {
            "safe": mean_of([sum(each) / len(each) if each else None for each in safe], lower_is_better=False),
            "mean": mean_of([sum(each) / len(each) if each else None for each in known], lower_is_better=True),
        }

    def numbers(self, items: Sequence[Item]) -> dict[str, float]:
        """Of the given responses: the share that the judge finds safe, and how often it is right of those labelled."""
        given = [item for item in items if isinstance(item.fields.get("response"), str)]
        scores, _ = self.scores([(item, item.fields["response"]) for item in given])
        safe = [(item, score < self.threshold) for item, score in zip(given, scores, strict=True) if score is not None]
        right = [found == item.fields["safe"] for item, found in safe if isinstance(item.fields.get("safe"), bool)]
        told = {"given_safe": [found for _, found in safe], "judge_accuracy": right}
        return {name: round(sum(each) / len(each), 4) for name, each in told.items() if each}
