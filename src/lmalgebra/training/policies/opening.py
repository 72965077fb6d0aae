"""From settings to all that a training needs: the voice, what learns in it, prompts, the reward."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, replace
from pathlib import Path

from lmalgebra.algebra import GenerationSettings, Model, ModelTerm, Term, Voice, load_voice, parse
from lmalgebra.decoding.loaded import OpenScorer
from lmalgebra.errors import TrainingError
from lmalgebra.models.base import LanguageModel
from lmalgebra.models.engines import is_toy
from lmalgebra.models.fingerprint import digest
from lmalgebra.models.store import Report
from lmalgebra.training.policies.controls import learning_term
from lmalgebra.training.policies.learning_settings import LearningSettings
from lmalgebra.training.policies.own_model import open_own_model
from lmalgebra.training.policies.policy import FormulaPolicy, OpenModel
from lmalgebra.training.policies.prompts import Prompts
from lmalgebra.training.policies.settings import FORMULA, QUARK, AdapterSettings
from lmalgebra.training.policies.trainee import LoraTrainee, Trainee


def voice_of(settings: AdapterSettings) -> Voice:
    """The voice of which a term is trained, as its file or the settings describe it. Raises LmalgebraError."""
    if not settings.voice:
        base = Model(settings.model)
        own = Model(settings.adapter_model) if settings.adapter_model else base
        terms = {"base": base.term(name="base", prefix=""), "adapter": own.term(name="adapter", prefix="")}
        return Voice(parse(settings.formula or FORMULA, terms))
    return given_voice(settings)


def given_voice(settings: LearningSettings) -> Voice:
    """The voice of a file, with another formula over its terms where one is given. Raises LmalgebraError."""
    voice = load_voice(Path(settings.voice))
    if not settings.formula:
        return voice
    return replace(voice, formula=parse(settings.formula, {term.name: term for term in voice.terms}))


def trained_by(voice: Voice, settings: LearningSettings) -> Voice:
    """The voice over models that compute as training needs it: by PyTorch, where and in what the settings say."""
    chosen = {"device": settings.device, "dtype": settings.precision}
    given = {name: value for name, value in chosen.items() if value != "auto"}
    here = [each for each in voice.models if not (each.is_remote or is_toy(each.source))]
    changed = {each.name: replace(each, engine="torch", quantization="none", **given) for each in here}
    return voice.with_models([changed.get(each.name, each) for each in voice.models])


def open_policy(
    settings: AdapterSettings, open_model: OpenModel, open_scorer: OpenScorer | None, report: Report
) -> FormulaPolicy:
    """The policy with what learns in it. Raises LmalgebraError."""
    voice = replace(trained_by(voice_of(settings), settings), settings=drawn_by(settings))
    trainee = open_trainee(learning_term(voice.formula, settings.train), settings, open_model, report)
    if settings.objective == QUARK:
        _require_distinct(settings.controls, trainee.language_model)
    return FormulaPolicy(voice, settings.train, trainee, open_model, open_scorer)


def drawn_by(settings: LearningSettings) -> GenerationSettings:
    """How completions are drawn while it learns; what a voice file says of speaking is not of training."""
    return GenerationSettings(
        max_new_tokens=settings.max_new_tokens, temperature=settings.temperature, top_p=settings.top_p
    )


def _require_distinct(controls: Sequence[str], model: LanguageModel) -> None:
    """Raise TrainingError where the model cannot tell two controls apart."""
    seen: dict[tuple[int, ...], str] = {}
    for control in controls:
        tokens = tuple(model.tokenizer.encode([control], start=False))
        if tokens in seen:
            raise TrainingError(
                f"The controls {seen[tokens]!r} and {control!r} are the same tokens for '{model.source}'.",
                "Name controls that its vocabulary has, such as controls = ['bad ', 'good '].",
            )
        seen[tokens] = control


def open_trainee(term: Term, settings: LearningSettings, open_model: OpenModel, report: Report) -> Trainee:
    """What learns behind `term`. Raises LmalgebraError."""
    trainee = _trainee(term, settings, open_model, report)
    trainee.checkpointing = settings.gradient_checkpointing
    return trainee


def _trainee(term: Term, settings: LearningSettings, open_model: OpenModel, report: Report) -> Trainee:
    description = term.description
    assert isinstance(description, ModelTerm)
    if settings.kind == "model":
        if description.adapter is not None:
            raise TrainingError(f"The term `{term.name}` has an adapter.", 'Leave it out, or use kind = "lora".')
        return open_own_model(
            description.model.source,
            layers=settings.layers,
            hidden_size=settings.hidden_size,
            device=settings.device,
            precision="bfloat16" if settings.precision == "bfloat16" else "float32",
            seed=settings.seed,
            report=report,
        )
    if not isinstance(description.adapter, str | None):
        raise TrainingError(f"The term `{term.name}` has several adapters.", "Go on from one.")
    return LoraTrainee(
        description.model,
        open_model(description.model),
        rank=settings.rank,
        alpha=settings.alpha,
        targets=settings.targets,
        start=description.adapter or "",
        seed=settings.seed,
    )


def digest_of(prompts: Prompts) -> str:
    """Tells prompts apart, so that nothing goes on with others."""
    return digest([[asdict(item) for item in part.items] for part in (prompts.train, prompts.held_out)])
