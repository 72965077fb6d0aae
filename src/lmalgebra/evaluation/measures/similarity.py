"""Meaning: how near a paraphrase is to its source, by the cosine of their sentence embeddings.

Beside toxicity, so that neither silence nor another sentence passes for detoxification (ParaDetox, Logacheva et al.,
ACL 2022).
"""

from collections.abc import Callable, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

from lmalgebra.evaluation.kept import Kept
from lmalgebra.evaluation.measures.base import Advance, Answers, Measure, Measured
from lmalgebra.evaluation.statistics import Quantity, mean_of
from lmalgebra.models.fingerprint import weights_of
from lmalgebra.models.text_encoder import TextEncoder, load_encoder, similarities


class Similarity(Measure):
    """The similarity of answers to each item's `source`, and to the nearest of its `references`, by a text encoder."""

    def __init__(self, source: str, cache: Path, load: Callable[..., TextEncoder] = load_encoder) -> None:
        self.name = f"similarity by {source.rstrip('/').rpartition('/')[2]}"
        self._source, self._cache, self._load = source, cache, load

    def about(self) -> dict[str, Any]:
        return {"kind": "similarity", "pooling": "mean", "revision": weights_of(self._source)}

    def measure(self, answers: Answers, advance: Advance = lambda done: None) -> Measured:
        kept = Kept(self._cache / "similarities", self.about(), self._similarities)
        sources = [[item.fields["source"]] for item in answers.items]
        references = [list(item.fields.get("references", ())) for item in answers.items]
        quantities = {"to_source": self._nearest(kept, sources, answers)}
        advance(len(answers.flat))
        if any(references):
            quantities["to_reference"] = self._nearest(kept, references, answers)
        return Measured(quantities, notes=kept.troubles)

    def _nearest(self, kept: Kept, others: Sequence[Sequence[str]], answers: Answers) -> Quantity:
        """The mean over each prompt's answers of their similarity to the nearest of the `others` of that prompt."""
        pairs = [
            [(other, text) for text in texts for other in each]
            for each, texts in zip(others, answers.texts, strict=True)
        ]
        found = iter(kept([list(pair) for each in pairs for pair in each]))
        means = []
        for each, texts in zip(others, answers.texts, strict=True):
            values = [max((next(found) for _ in each), default=None) for _ in texts]
            known = [value for value in values if value is not None]
            means.append(sum(known) / len(known) if known else None)
        return mean_of(means, lower_is_better=False)

    @cached_property
    def _encoder(self) -> TextEncoder:
        return self._load(self._source, "mean")

    def _similarities(self, pairs: Sequence[Sequence[str]]) -> list[float]:
        return similarities(self._encoder, pairs)
