"""MAUVE (Pillutla et al., NeurIPS 2021, arXiv 2102.01454): how near all texts of a voice are to people's.

The package mauve-text computes it, with its own settings; the features are ours, so that nothing else is fetched: what
a decoder of any name has at the last token of each text, as in the paper, which takes GPT-2 large. Values of different
models of features, or of different numbers of texts, cannot be compared.
"""

from collections.abc import Callable
from functools import cached_property
from importlib.metadata import PackageNotFoundError, version
from typing import Any

from lmalgebra.errors import EvaluationError, MissingExtraError
from lmalgebra.evaluation.measures.base import Advance, Answers, Measure, Measured
from lmalgebra.models.fingerprint import weights_of
from lmalgebra.models.text_encoder import TextEncoder, load_encoder

PACKAGE = "mauve-text"

LEAST = 16
"""Texts without which there is nothing to tell."""

ENOUGH = 1000
"""Texts from which on the package's authors find values steady."""


class Mauve(Measure):
    """MAUVE of answers against the `references` of their items, by the features of the model `source`."""

    def __init__(self, source: str, load: Callable[..., TextEncoder] = load_encoder) -> None:
        self.name = f"mauve by {source.rstrip('/').rpartition('/')[2]}"
        self._source, self._load = source, load

    def about(self) -> dict[str, Any]:
        return {"kind": "mauve", "package": _version(), "revision": weights_of(self._source)}

    def measure(self, answers: Answers, advance: Advance = lambda done: None) -> Measured:
        pairs = [
            pair
            for item, texts in zip(answers.items, answers.texts, strict=True)
            for pair in zip(texts, item.fields.get("references", ()), strict=False)
            if all(pair)
        ]
        if len(pairs) < LEAST:
            raise EvaluationError(
                f"MAUVE needs at least {LEAST} texts with references, and there are {len(pairs)}.",
                "Give prompts with `references` or a `continuation`.",
            )
        from mauve import compute_mauve

        said, written = ([pair[side] for pair in pairs] for side in (0, 1))
        found = compute_mauve(
            p_features=self._encoder.vectors(written).numpy(), q_features=self._encoder.vectors(said).numpy()
        )
        advance(len(answers.flat))
        few = f"MAUVE of {len(pairs):,} texts is unsteady; {ENOUGH:,} and more are usual."
        return Measured({}, {"mauve": round(float(found.mauve), 4)}, notes=[few] if len(pairs) < ENOUGH else [])

    @cached_property
    def _encoder(self) -> TextEncoder:
        return self._load(self._source, "last")


def _version() -> str:
    try:
        return version(PACKAGE)
    except PackageNotFoundError:
        raise MissingExtraError(
            f"MAUVE needs the package '{PACKAGE}'.", "Install it: pip install 'lmalgebra[evaluate]'."
        ) from None
