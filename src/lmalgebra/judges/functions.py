"""Functions as judges: a user's own, and those of packages that bring their weights or words along."""

import inspect
import math
from collections.abc import Callable, Sequence
from importlib import import_module
from importlib.metadata import version
from typing import Any

from lmalgebra.errors import EvaluationError, MissingExtraError
from lmalgebra.judges.base import Judge, Score
from lmalgebra.models.fingerprint import digest


class CountError(EvaluationError):
    """Another number of scores than there are texts: no text is to blame, and leaving some out mends nothing."""


class FunctionJudge(Judge):
    """A function from texts to scores; `revision` tells one version of it from another.

    A user's own may be given pairs, as lists of two texts, where those are judged.
    """

    def __init__(
        self, name: str, function: Callable[[list[Any]], Sequence[float]], revision: str = "", reads_pairs: bool = False
    ) -> None:
        self.name, self._function, self._revision, self.reads_pairs = name, function, revision, reads_pairs

    def about(self) -> dict[str, Any]:
        return {"kind": "function", "name": self.name, "revision": self._revision}

    def scores(self, texts: Sequence[Any]) -> list[Score]:
        try:
            found = [float(each) for each in self._function(list(texts))]
        except Exception as error:
            raise EvaluationError(f"The judge '{self.name}' fails: {error}.", "Mend the function.") from error
        if len(found) != len(texts):
            raise CountError(
                f"The judge '{self.name}' gives {len(found)} scores for {len(texts)} texts.",
                "Return as many numbers as there are texts.",
            )
        return [self._score(each) for each in found]

    def _score(self, value: float) -> Score:
        if not (math.isfinite(value) and 0 <= value <= 1):
            return EvaluationError(f"The judge '{self.name}' gives {value:g}, which is no score from 0 to 1.")
        return round(value, 5)


def imported(place: str) -> Judge:
    """The function at `module:function`. Its revision is the content of its file, so that it judges anew when that
    changes. Raises EvaluationError.
    """
    return FunctionJudge(place, imported_function(place), source_digest(place.partition(":")[0]), reads_pairs=True)


def imported_function(place: str) -> Callable[[list[Any]], Sequence[float]]:
    """The function at `module:function`. Raises EvaluationError."""
    module, _, function = place.partition(":")
    try:
        found = getattr(import_module(module), function)
    except (ImportError, AttributeError, ValueError) as error:
        raise EvaluationError(
            f"The judge '{place}' cannot be imported: {error}.", "Write module:function, as Python imports them."
        ) from None
    if not callable(found):
        raise EvaluationError(f"The judge '{place}' is no function.", "Name one that takes a list of texts.")
    return found  # type: ignore[no-any-return]


def source_digest(module: str) -> str:
    """The same for equal files; nothing for a module that has none."""
    try:
        return digest(inspect.getsource(import_module(module)))
    except (OSError, TypeError):
        return ""


def _profanity() -> Judge:
    predict = _packaged("profanity", "profanity_check", "alt-profanity-check").predict_prob
    return FunctionJudge("profanity", predict, version("alt-profanity-check"))


def _vader() -> Judge:
    analyzer = _packaged("vader", "vaderSentiment.vaderSentiment", "vaderSentiment").SentimentIntensityAnalyzer()

    def positive(texts: list[str]) -> list[float]:
        return [(analyzer.polarity_scores(text)["compound"] + 1) / 2 for text in texts]

    return FunctionJudge("vader", positive, version("vaderSentiment"))


def _packaged(judge: str, module: str, package: str) -> Any:
    try:
        return import_module(module)
    except ImportError:
        raise MissingExtraError(
            f"The judge '{judge}' needs the package '{package}'.", "Install it: pip install 'lmalgebra[evaluate]'."
        ) from None


PACKAGED: dict[str, Callable[[], Judge]] = {"profanity": _profanity, "vader": _vader}
"""Judges that travel in packages, by name."""
