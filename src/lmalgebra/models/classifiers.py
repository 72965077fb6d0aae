"""Classifiers of texts as terms: a candidate's score is log C(text + token) - log C(text).

Source: FUDGE (Yang and Klein 2021, arXiv 2104.05218); as terms of formulas, Dekoninck et al. 2024, arXiv 2311.14479,
section 3.3. What it costs is the classifier's passes, so probabilities of texts are remembered: the text of a step was
a candidate of the step before.
"""

from collections import OrderedDict
from collections.abc import Callable, Iterable, Mapping, Sequence
from math import log, log1p

import torch
from torch import Tensor

from lmalgebra.algebra import Classifier
from lmalgebra.errors import ModelError
from lmalgebra.models.base import Asked, LanguageModel, Message, Scorer, Tokenizer

LEAST = 1e-9
"""Probabilities below count as this, so that scores stay finite."""

REMEMBERED = 1 << 16
"""Texts whose probabilities are kept."""

LogProbabilities = Callable[[list[str]], Sequence[float]]
"""Texts to the log-probability (nats) of what is wanted of each."""


def open_classifier(description: Classifier, model: LanguageModel, ends: frozenset[int]) -> Scorer:
    """The classifier of a description over texts of `model`'s tokens. Raises ModelError."""
    if callable(description.source):
        return TextClassifier(_of_function(description), model.tokenizer, ends, reads_all=description.reads == "all")
    raise ModelError(
        f"The classifier '{description.source}' cannot be used yet.", "Give a function from texts to probabilities."
    )


def _of_function(description: Classifier) -> LogProbabilities:
    """The function of a description, with what it gives checked."""

    def logprobs(texts: list[str]) -> list[float]:
        try:
            found = [float(each) for each in description.source(texts)]  # type: ignore[operator]
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

    return logprobs


class TextClassifier(Scorer):
    """Any classifier of texts; its tokens need not be the language model's."""

    def __init__(
        self, logprobs: LogProbabilities, tokenizer: Tokenizer, ends: frozenset[int], reads_all: bool = False
    ) -> None:
        self._logprobs, self._tokenizer, self._ends = logprobs, tokenizer, ends
        self._reads_all = reads_all
        self._known: OrderedDict[str, float] = OrderedDict()

    def begin(self, messages: Sequence[Message], most: int | None = None) -> str:
        """What is read before the answer."""
        return "\n".join(message["content"] for message in messages) if self._reads_all else ""

    def scores(self, asked: Sequence[Asked]) -> list[Tensor]:
        before = [self._texts_so_far(each) for each in asked]
        after = [self._texts_of_candidates(each) for each in asked]
        texts = [text for texts in before for text in texts]
        texts += [text for lists in after for texts in lists for text in texts if text is not None]
        known = self._values(dict.fromkeys(texts))
        return [_scores(known, *pair) for pair in zip(before, after, strict=True)]

    def _texts_so_far(self, asked: Asked) -> list[str]:
        """The text at each position."""
        ends = range(asked.first, len(asked.tokens) + 1)
        return [asked.state + self._tokenizer.decode(asked.tokens[:end]) for end in ends]

    def _texts_of_candidates(self, asked: Asked) -> list[list[str | None]]:
        """The text with each candidate added, at each position; None where a candidate adds nothing to weigh."""
        assert asked.candidates is not None
        found: list[list[str | None]] = []
        for end, candidates in enumerate(asked.candidates.tolist(), asked.first):
            said = list(asked.tokens[:end])
            found.append(
                [
                    None if token < 0 or token in self._ends else asked.state + self._tokenizer.decode([*said, token])
                    for token in candidates
                ]
            )
        return found

    def _values(self, texts: Iterable[str]) -> dict[str, float]:
        """The log-probability of each text; those not remembered are asked for at once."""
        known = {text: self._known[text] for text in texts if text in self._known}
        new = [text for text in texts if text not in known]
        if new:
            known |= zip(new, self._logprobs(new), strict=True)
        for text, value in known.items():
            self._known[text] = value
            self._known.move_to_end(text)
        while len(self._known) > REMEMBERED:
            self._known.popitem(last=False)
        return known


def _scores(known: Mapping[str, float], before: Sequence[str], after: Sequence[Sequence[str | None]]) -> Tensor:
    """How much each candidate adds, `[positions, candidates]`."""
    return torch.tensor(
        [
            [0.0 if text is None else known[text] - known[so_far] for text in texts]
            for so_far, texts in zip(before, after, strict=True)
        ]
    )
