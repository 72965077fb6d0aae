"""Judges: what gives a text a score from 0 to 1, such as its toxicity. Several can judge at once.

| written | is |
|---|---|
| `s-nlp/roberta_toxicity_classifier` | a sequence classifier on a hub, or in a folder, in safetensors |
| `./folder#toxic` | the same, and which of its labels |
| `profanity` | alt-profanity-check, a linear model of words |
| `module:function` | a function from a list of texts to a list of scores |
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from importlib import import_module
from importlib.metadata import version
from typing import Any

from lmalgebra.errors import EvaluationError, MissingExtraError
from lmalgebra.models.fingerprint import fingerprint

DEFAULT = "s-nlp/roberta_toxicity_classifier#toxic"

THRESHOLD = 0.5
"""From this score on a text has what a judge looks for."""


class Judge(ABC):
    """Gives texts scores from 0 to 1. `name` is what reports call it."""

    name: str

    @abstractmethod
    def about(self) -> dict[str, Any]:
        """What decides its scores: its source and revision."""

    @abstractmethod
    def scores(self, texts: Sequence[str]) -> list[float]:
        """The score of each text. Raises LmalgebraError where it cannot judge."""


class ClassifierJudge(Judge):
    """The probability of a label by a sequence classifier; loaded when it first judges."""

    def __init__(self, source: str, label: str = "", name: str = "") -> None:
        self.name = name or source.rstrip("/").rpartition("/")[2]
        self.source, self.label = source, label
        self._classifier: Any = None

    def about(self) -> dict[str, Any]:
        revision = fingerprint(self.source)
        return {"kind": "classifier", "name": self.name, "label": self.label, "revision": revision}

    def scores(self, texts: Sequence[str]) -> list[float]:
        if self._classifier is None:
            from lmalgebra.models.sequence_classifier import load_classifier

            self._classifier = load_classifier(self.source)
        found: list[float] = self._classifier.probabilities(texts, self.label)
        return [round(each, 5) for each in found]


class FunctionJudge(Judge):
    """A function from texts to scores, `module:function`."""

    def __init__(self, place: str, function: Callable[[list[str]], Sequence[float]], revision: str = "") -> None:
        self.name, self._function, self._revision = place, function, revision

    def about(self) -> dict[str, Any]:
        return {"kind": "function", "name": self.name, "revision": self._revision}

    def scores(self, texts: Sequence[str]) -> list[float]:
        try:
            found = [float(each) for each in self._function(list(texts))]
        except Exception as error:
            raise EvaluationError(f"The judge '{self.name}' fails: {error}.", "Mend the function.") from error
        if len(found) != len(texts) or not all(math.isfinite(each) and 0 <= each <= 1 for each in found):
            raise EvaluationError(
                f"The judge '{self.name}' does not give a score from 0 to 1 for each text.",
                "Return as many numbers as there are texts.",
            )
        return [round(each, 5) for each in found]


def judge_of(written: str) -> Judge:
    """The judge that is written so; see the table above. Raises LmalgebraError."""
    if written == "profanity":
        return _profanity()
    source, _, label = written.partition("#")
    if not source:
        raise EvaluationError(f"'{written}' is no judge.", "Write a folder, a hub id, 'profanity' or module:function.")
    module, _, function = source.partition(":")
    if function and not set("/\\") & set(source):
        return _function(source, module, function)
    return ClassifierJudge(source, label)


def _profanity() -> Judge:
    try:
        from profanity_check import predict_prob
    except ImportError:
        raise MissingExtraError(
            "The judge 'profanity' needs the package 'alt-profanity-check'.",
            "Install it: pip install 'lmalgebra[evaluate]'.",
        ) from None
    return FunctionJudge("profanity", predict_prob, version("alt-profanity-check"))


def _function(place: str, module: str, function: str) -> Judge:
    try:
        found = getattr(import_module(module), function)
    except (ImportError, AttributeError, ValueError) as error:
        raise EvaluationError(
            f"The judge '{place}' cannot be imported: {error}.", "Write module:function, as Python imports them."
        ) from None
    if not callable(found):
        raise EvaluationError(f"The judge '{place}' is no function.", "Name one that takes a list of texts.")
    return FunctionJudge(place, found, str(getattr(found, "__version__", "")))
