"""How much texts repeat: others of the same prompt, and themselves.

Distinct-n (Li et al., NAACL 2016, arXiv 1510.03055): different n-grams over all n-grams, of the continuations of one
prompt together, then the mean over prompts, as is usual for detoxification (Liu et al., ACL 2021, arXiv 2105.03023).
Repetition: the share of a text's words that close a 4-gram which it had before. Words are what white space parts.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np

from lmalgebra.evaluation.measures.base import Advance, Answers, Measure, Measured
from lmalgebra.evaluation.statistics import Quantity, mean_of
from lmalgebra.judges.counting import grams, repeats

REPEATED = 4
"""Words that must come again to count as a repetition."""


class Diversity(Measure):
    """Distinct-1, -2 and -3 of each prompt's texts, and how much each text repeats itself."""

    name = "diversity"

    def about(self) -> dict[str, Any]:
        return {"kind": "diversity", "repeated": REPEATED}

    def measure(self, answers: Answers, advance: Advance = lambda done: None) -> Measured:
        words = [[text.split() for text in texts] for texts in answers.texts]
        quantities: dict[str, Quantity] = {
            f"distinct_{length}": mean_of([_distinct(each, length) for each in words], lower_is_better=False)
            for length in (1, 2, 3)
        }
        counts = [[repeats(text, REPEATED) for text in texts] for texts in words]
        quantities["repetition"] = Quantity(
            np.array([sum(repeated for repeated, _ in each) for each in counts], dtype=float),
            np.array([sum(total for _, total in each) for each in counts], dtype=float),
            lower_is_better=True,
        )
        quantities["words"] = mean_of([sum(map(len, texts)) / len(texts) if texts else None for texts in words])
        advance(len(answers.flat))
        return Measured(quantities)


def _distinct(texts: Sequence[Sequence[str]], length: int) -> float | None:
    found = [gram for words in texts for gram in grams(words, length)]
    return len(set(found)) / len(found) if found else None
