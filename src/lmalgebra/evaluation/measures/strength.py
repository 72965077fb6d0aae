"""How strongly answers have an attribute: sentiment, formality, or whatever a judge looks for.

Against the weight of a term it is the curve that shows how finely the term steers. Where prompts are labelled, the
share of answers on the other side is the sentiment flip of DExperts (Liu et al., ACL 2021, arXiv 2105.03023).
"""

from collections.abc import Sequence

from lmalgebra.evaluation.measures.judged import JudgedMeasure
from lmalgebra.evaluation.statistics import Quantity, mean_of
from lmalgebra.prompt_sets.reading import Item

LABELS = {"positive": True, "pos": True, "1": True, "negative": False, "neg": False, "0": False}
"""Whether a prompt's `label` or `sentiment`, as data sets write it, means that it has the attribute."""


class Strength(JudgedMeasure):
    """The mean score of answers, the share that has the attribute, and of labelled prompts the share that is turned."""

    kind = "strength"

    def quantities(self, known: Sequence[Sequence[float]], items: Sequence[Item]) -> dict[str, Quantity]:
        has = [[score >= self.threshold for score in each] for each in known]
        found = {
            "mean": mean_of([sum(each) / len(each) if each else None for each in known]),
            "share": mean_of([sum(each) / len(each) if each else None for each in has]),
        }
        labels = [_label(item) for item in items]
        if any(label is not None for label in labels):
            found["flipped"] = mean_of([_turned(each, label) for each, label in zip(has, labels, strict=True)])
        return found


def _label(item: Item) -> bool | None:
    value = item.fields.get("sentiment", item.fields.get("label"))
    return LABELS.get(str(int(value) if isinstance(value, bool) else value).lower())


def _turned(has: Sequence[bool], label: bool | None) -> float | None:
    return sum(each != label for each in has) / len(has) if has and label is not None else None
