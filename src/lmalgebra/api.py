"""Puts the layers together: from descriptions to a voice that speaks."""

from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from threading import Lock
from typing import TYPE_CHECKING, Any

from lmalgebra.algebra import Bias, Formula, GenerationSettings, Model, Voice, load_voice
from lmalgebra.decoding.composed import ComposedVoice
from lmalgebra.models.base import LanguageModel, Scorer
from lmalgebra.models.scorers import Scorers

if TYPE_CHECKING:
    from lmalgebra.judges import Judge
    from lmalgebra.rewriting.rewrite import Rewriter, RewriteSettings, Rewritten


class Models:
    """Loads each set of weights once, however many terms and voices name it. `report` hears of what takes time."""

    def __init__(self, report: Callable[[str], None] = lambda sentence: None) -> None:
        self._loaded: dict[tuple[str | int, ...], LanguageModel] = {}
        self._loading = Lock()  # several threads may ask at once
        self._scorers = Scorers(report)
        self.report = report

    def __call__(self, model: Model) -> LanguageModel:
        """The loaded model of a description. Raises ModelError."""
        with self._loading:
            if model.weights not in self._loaded:
                self._loaded[model.weights] = _opened(model, self.report)
            return self._loaded[model.weights]

    def scorer(self, description: Bias, model: LanguageModel, ends: frozenset[int]) -> Scorer:
        """The classifier or constraint of a description, over the tokens of `model`; see `models.scorers`."""
        with self._loading:
            return self._scorers(description, model, ends)

    def unload(self) -> None:
        """Let go of all weights; voices that use them keep them."""
        self._loaded.clear()
        self._scorers.clear()


shared_models = Models()
"""The weights that voices share unless they are given others."""


def voice(
    formula: Formula | Voice,
    *,
    models: Models = shared_models,
    speculate: str | None = None,
    draft: Formula | None = None,
    **settings: Any,
) -> ComposedVoice:
    """A voice that speaks by `formula`, with generation `settings` as its defaults (see GenerationSettings).

    `speculate` ("off", "auto" or stages such as "small:4") and `draft` let a part of the formula, or another one, draft
    for it: see ComposedVoice. Nothing loads until it first speaks. Raises FormulaError when the formula has no
    distribution.
    """
    if isinstance(formula, Voice):
        described = Voice(formula.formula, formula.settings.replace(**settings), formula.terms, formula.models)
    else:
        described = Voice(formula, GenerationSettings().replace(**settings))
    return ComposedVoice(described, models, speculate=speculate, draft=draft, open_scorer=models.scorer)


def load(
    path: str | Path, *, models: Models = shared_models, speculate: str | None = None, **settings: Any
) -> ComposedVoice:
    """The voice of a voice file. Raises VoiceError for a file that is missing or not as it should be."""
    return voice(load_voice(Path(path)), models=models, speculate=speculate, **settings)


def evaluate(
    voices: Mapping[str, ComposedVoice | str | Path],
    prompts: str = "",
    *,
    models: Models = shared_models,
    **settings: Any,
) -> dict[str, Any]:
    """What voices say after `prompts`, measured: the result that `lmalgebra evaluate` writes, as plain data.

    `voices` speak, or are paths of files with samples that anything has said, by name. `settings` are those of
    `evaluation.EvaluationSettings`: suite, judges, count ... Raises EvaluationError, and what generation raises.
    """
    from lmalgebra.evaluation import EvaluationSettings
    from lmalgebra.evaluation.evaluate import Evaluated
    from lmalgebra.evaluation.run import run

    asked = EvaluationSettings(voices=tuple(voices), prompts=prompts, **settings)
    listed = [Evaluated(name, each if isinstance(each, ComposedVoice) else Path(each)) for name, each in voices.items()]
    return run(asked, listed, models)


def rewrite(
    voice: ComposedVoice,
    answers: Iterable[str | Mapping[str, Any]],
    *,
    judge: "Judge | str | None" = None,
    embedder: str | None = None,
    field: str = "text",
    generation: Mapping[str, Any] | None = None,
    **settings: Any,
) -> "Iterator[Rewritten]":
    """What other models have said, rewritten by `voice`: each answer before and after, in order.

    An answer is a text, or an object with one in `field`; `prompt` is what it answers. `judge` scores what is unwanted,
    and `embedder` is an encoder of meaning. `settings` are those of `rewriting.rewrite.RewriteSettings` (template,
    above, similarity, better ...), and `generation` replaces the voice's own. Raises LmalgebraError.
    """
    from lmalgebra.rewriting.rewrite import RewriteSettings

    asked = RewriteSettings(**settings)
    return rewriter_of(voice, asked, judge=judge, embedder=embedder, **generation or {})(answers, field)


def rewriter_of(
    voice: ComposedVoice,
    settings: "RewriteSettings",
    *,
    judge: "Judge | str | None" = None,
    embedder: str | None = None,
    report: Callable[[str], None] = lambda sentence: None,
    **generation: Any,
) -> "Rewriter":
    """What rewrites by `voice`, with generation settings in place of its own. Raises LmalgebraError."""
    from lmalgebra.judges import judge_of
    from lmalgebra.models.text_encoder import load_encoder
    from lmalgebra.rewriting.rewrite import DEFAULT_EMBEDDER, Rewriter
    from lmalgebra.rewriting.writers import VoiceWriter

    writer = VoiceWriter(voice, voice.settings.replace(**generation))
    judged = judge_of(judge) if isinstance(judge, str) else judge
    encoder = embedder or ("" if settings.similarity is None else DEFAULT_EMBEDDER)
    return Rewriter(writer, settings, judged, (lambda: load_encoder(encoder, "mean", report)) if encoder else None)


def _opened(model: Model, report: Callable[[str], None]) -> LanguageModel:
    """The model of a description, loaded here or served elsewhere."""
    if model.is_remote:
        from lmalgebra.models.remote import open_remote

        return open_remote(model, report)
    from lmalgebra.models.loading import load as load_weights

    return load_weights(
        model.source,
        engine=model.engine,
        dtype=model.dtype,
        device=model.device,
        quantization=model.quantization,
        report=report,
    )
