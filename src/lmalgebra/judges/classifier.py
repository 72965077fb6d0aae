"""Sequence classifiers as judges."""

from collections.abc import Sequence
from dataclasses import replace
from functools import cached_property
from pathlib import Path
from typing import Any

from lmalgebra.errors import EvaluationError, ModelError
from lmalgebra.judges.base import Judge, Score
from lmalgebra.models.fingerprint import weights_of
from lmalgebra.models.labels import labels_of
from lmalgebra.models.loading import resolve
from lmalgebra.models.store import silent

DETOXIFY = {
    "original": ("unitary/toxic-bert", "main", "toxic"),
    "unbiased": ("unitary/unbiased-toxic-roberta", "refs/pr/2", "toxicity"),
    "multilingual": ("unitary/multilingual-toxic-xlm-roberta", "main", "toxic"),
}
"""Each of Detoxify's networks (Hanu and Unitary 2020): hub id, revision and label. The package of that name would load
pickles, so these are the same weights as safetensors; of "unbiased" the hub has those as a proposed change only."""


class ClassifierJudge(Judge):
    """The probability of a label by a sequence classifier, which is loaded when it first judges.

    It computes in float32, so that scores are the same on every machine and among any other texts. One that was trained
    on pairs (`lmalgebra train classifier --pair`) reads the prompt; any other can be given pairs in place of texts.
    With `several` each label is a question of its own, whatever the classifier says of that.
    """

    reads_pairs = True

    def __init__(
        self, source: str, label: str = "", *, revision: str = "main", name: str = "", several: bool = False
    ) -> None:
        self.name = name or source.rstrip("/").rpartition("/")[2]
        self.source, self.label, self.revision, self._several = source, label, revision, several
        self._classifier: Any = None

    @cached_property
    def reads_prompt(self) -> bool:  # type: ignore[override]
        from lmalgebra.models.sequence_classifier import pair_field

        return bool(pair_field(self.source))

    def about(self) -> dict[str, Any]:
        self._require_label()
        about = {"kind": "classifier", "label": self.label, "revision": weights_of(self.source, self.revision)}
        return about if Path(self.source).expanduser().exists() else about | {"source": self.source}

    def _require_label(self) -> None:
        """Raise ModelError for a label that the classifier lacks, before it is loaded."""
        from transformers import AutoConfig

        weights_of(self.source, self.revision)  # which says what is wrong with a name
        try:
            config = AutoConfig.from_pretrained(
                resolve(self.source, silent), revision=self.revision, trust_remote_code=False
            )
        except (OSError, ValueError) as error:
            reason = " ".join(str(error).split())[:200]
            raise ModelError(f"The classifier '{self.source}' cannot be read: {reason}.", "Check its files.") from None
        labels_of(config, config.num_labels).index(self.label, self.source)

    def scores(self, texts: Sequence[Any]) -> list[Score]:
        if self._classifier is None:
            self._classifier = self._loaded()
        read = [each if isinstance(each, str) else tuple(each) for each in texts]
        return [round(each, 5) for each in self._classifier.probabilities(read, self.label)]

    def _loaded(self) -> Any:
        from lmalgebra.models.sequence_classifier import load_classifier

        classifier = load_classifier(self.source, revision=self.revision, dtype="float32")
        if self._several:
            classifier.labels = replace(classifier.labels, exclusive=False)
        return classifier


def detoxify(name: str, label: str = "") -> Judge:
    """One of Detoxify's networks. Raises EvaluationError with the names there are."""
    if name not in DETOXIFY:
        raise EvaluationError(f"Detoxify has no network '{name}'.", f"It has: {', '.join(DETOXIFY)}.")
    source, revision, usual = DETOXIFY[name]
    return ClassifierJudge(source, label or usual, revision=revision, name=f"detoxify:{name}", several=True)
