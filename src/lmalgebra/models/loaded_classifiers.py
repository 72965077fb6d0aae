"""From the description of a classifier to what scores tokens by it, with weights that are loaded once."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from lmalgebra.algebra import Classifier
from lmalgebra.models.base import LanguageModel, Scorer, Session, Tokenizer, vocabulary_difference
from lmalgebra.models.classifiers import TextClassifier, of_function
from lmalgebra.models.store import silent

if TYPE_CHECKING:
    from torch import Tensor

    from lmalgebra.models.sequence_classifier import SequenceClassifier


class LoadedClassifiers:
    """Loads each classifier once, however many terms name it, whatever their label, sign and candidates.

    One that reads tokens and one that reads texts are networks of their own, even if they come from one folder.
    `report` hears of what takes time.
    """

    def __init__(self, report: Callable[[str], None] = silent) -> None:
        self._report = report
        self._of_texts: dict[str, SequenceClassifier] = {}
        self._of_tokens: dict[str, tuple[SequenceClassifier, Session] | None] = {}

    def open(self, description: Classifier, model: LanguageModel, ends: frozenset[int]) -> Scorer:
        """The classifier of a description over `model`'s tokens; a text ends with one of `ends`. Raises ModelError."""
        reads_all = description.reads == "all"
        if not isinstance(description.source, str):
            return TextClassifier(of_function(description), model.tokenizer, ends, reads_all)
        found = self._reading_tokens(description.source, model.tokenizer)
        classifier, session = found or (self.of_source(description.source), None)
        index = classifier.labels.index(description.label, classifier.source)

        def log_probabilities(logits: Tensor) -> Tensor:
            return classifier.labels.log_probabilities(logits, index, description.sign)

        if session is not None:
            from lmalgebra.models.causal_classifier import CausalClassifier

            return CausalClassifier(session, classifier, log_probabilities, ends, reads_all)

        def of_texts(texts: list[str]) -> dict[str, float]:
            return dict(zip(texts, log_probabilities(classifier.logits(texts)).tolist(), strict=True))

        return TextClassifier(of_texts, model.tokenizer, ends, reads_all)

    def of_source(self, source: str) -> SequenceClassifier:
        """The classifier of texts in a folder or behind a hub id. Raises ModelError."""
        if source not in self._of_texts:
            self._of_texts[source] = self._load(source)
        return self._of_texts[source]

    def clear(self) -> None:
        """Let go of all weights; terms that use them keep them."""
        self._of_texts.clear()
        self._of_tokens.clear()

    def _load(self, source: str) -> SequenceClassifier:
        from lmalgebra.models.sequence_classifier import load_classifier

        return load_classifier(source, report=self._report)

    def _reading_tokens(self, source: str, tokenizer: Tokenizer) -> tuple[SequenceClassifier, Session] | None:
        """The classifier with a session over its labels, if it can read the tokens of `tokenizer`."""
        from lmalgebra.models.label_model import label_session

        if source in self._of_tokens:
            known = self._of_tokens[source]
            return known if known is not None and _reads(known[0], tokenizer) else None
        if not _reads(self.of_source(source), tokenizer):
            return None
        classifier = self._of_texts[source]
        session = label_session(classifier.model, source)
        self._of_tokens[source] = None if session is None else (classifier, session)
        if session is not None:
            del self._of_texts[source]  # the network is the session's now
        return self._of_tokens[source]


def _reads(classifier: SequenceClassifier, tokenizer: Tokenizer) -> bool:
    """Whether the tokens of `tokenizer` mean the same to `classifier`, and it adds nothing after a text."""
    return classifier.adds_only_a_start and not vocabulary_difference(classifier.as_tokenizer, tokenizer)
