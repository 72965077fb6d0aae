"""Classifiers of texts as terms: a candidate's score is log C(text + token) - log C(text).

Source: FUDGE (Yang and Klein 2021, arXiv 2104.05218); as terms of formulas, Dekoninck et al. 2024, arXiv 2311.14479,
section 3.3. What it costs is the classifier's passes, so probabilities of texts are remembered. A decoder-only
classifier of the formula's own vocabulary reads tokens instead: see `causal_classifier`.
"""

from collections.abc import Callable, Mapping, Sequence
from math import log, log1p

import torch
from torch import Tensor

from lmalgebra.algebra import Classifier
from lmalgebra.errors import ModelError
from lmalgebra.models.base import Asked, Message, Scorer, Tokenizer
from lmalgebra.models.remembered import Remembered

LEAST = 1e-9
"""Probabilities that a function gives below this count as this, so that scores stay finite."""

LogProbabilities = Callable[[list[str]], Mapping[str, float]]
"""Texts to the log-probability (nats) of what is wanted of each."""


def of_function(description: Classifier) -> LogProbabilities:
    """The function of a description, with what it gives checked."""
    function = description.source

    def logprobs(texts: list[str]) -> list[float]:
        try:
            found = [float(each) for each in function(texts)]  # type: ignore[operator]
        except Exception as error:
            raise ModelError(f"The classifier '{description.place}' fails: {error}.", "Mend the function.") from error
        if len(found) != len(texts) or not all(0 <= each <= 1 for each in found):
            raise ModelError(
                f"The classifier '{description.place}' does not give a probability from 0 to 1 for each text.",
                "Return as many numbers as there are texts.",
            )
        if description.sign < 0:
            return [log1p(-min(each, 1 - LEAST)) for each in found]
        return [log(max(each, LEAST)) for each in found]

    return Remembered(logprobs)


class TextClassifier(Scorer):
    """Any classifier of texts; its tokens need not be the language model's."""

    def __init__(
        self, logprobs: LogProbabilities, tokenizer: Tokenizer, ends: frozenset[int], reads_all: bool = False
    ) -> None:
        self._logprobs, self._tokenizer, self._ends = logprobs, tokenizer, ends
        self._reads_all = reads_all

    def begin(self, messages: Sequence[Message], most: int | None = None) -> str:
        """What is read before the answer."""
        return "\n".join(message["content"] for message in messages) if self._reads_all else ""

    def scores(self, asked: Sequence[Asked]) -> list[Tensor]:
        before = [self._texts_so_far(each) for each in asked]
        after = [self._texts_of_candidates(each) for each in asked]
        texts = [text for texts in before for text in texts]
        texts += [text for lists in after for texts in lists for text in texts if text is not None]
        known = self._logprobs(list(dict.fromkeys(texts)))
        return [_scores(known, *pair) for pair in zip(before, after, strict=True)]

    def levels(self, asked: Sequence[Asked]) -> list[Tensor]:
        texts = [self._texts_so_far(each) for each in asked]
        known = self._logprobs(list(dict.fromkeys(text for each in texts for text in each)))
        return [torch.tensor([known[text] for text in each], dtype=torch.float64) for each in texts]

    def _texts_so_far(self, asked: Asked) -> list[str]:
        """The text at each position."""
        ends = range(asked.first, len(asked.tokens) + 1)
        return [asked.state + self._tokenizer.decode(asked.tokens[:end]) for end in ends]

    def _texts_of_candidates(self, asked: Asked) -> list[list[str | None]]:
        """The text with each candidate added, at each position; None where a candidate adds nothing to weigh."""
        assert asked.candidates is not None
        found: list[list[str | None]] = []
        for end, candidates in enumerate(asked.candidates.tolist(), asked.first):
            weighed = [token for token in candidates if token >= 0 and token not in self._ends]
            texts = dict(zip(weighed, self._tokenizer.continuations(asked.tokens[:end], weighed), strict=True))
            found.append([asked.state + texts[token] if token in texts else None for token in candidates])
        return found


def _scores(known: Mapping[str, float], before: Sequence[str], after: Sequence[Sequence[str | None]]) -> Tensor:
    """How much each candidate adds, `[positions, candidates]`."""
    return torch.tensor(
        [
            [0.0 if text is None else known[text] - known[so_far] for text in texts]
            for so_far, texts in zip(before, after, strict=True)
        ]
    )
