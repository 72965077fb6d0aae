"""Which voice a command speaks with: a file's or the built-in one, with the changes that options ask for."""

from dataclasses import replace
from typing import TYPE_CHECKING

from lmalgebra.cli.console import say
from lmalgebra.cli.option_groups import PlaceOptions, VoiceOptions
from lmalgebra.cli.recipes import RecipeChoice, with_recipe
from lmalgebra.errors import DecodingError, VoiceError

if TYPE_CHECKING:
    from lmalgebra.algebra import Voice
    from lmalgebra.api import Models
    from lmalgebra.decoding import ComposedVoice

DEFAULT_MODEL = "smollm2-135m"
DEFAULT_FORMULA = "base"
SYSTEM_PROMPTS = {
    "base": "You are a helpful assistant.",
    "formal": "You answer in formal, objective language.",
    "pirate": "You are a pirate. You speak like a pirate, with 'Arr', 'matey' and the sea in every sentence.",
    "poet": "You are a poet. You answer in rhyming verse full of images.",
    "child": "You are a five-year-old child. You speak in very short, simple, excited sentences.",
}
"""The terms of the built-in voice: what each system prompt does is visible even in a small model."""


def chosen_voice(given: VoiceOptions, recipe: RecipeChoice, places: PlaceOptions) -> "Voice":
    """The voice of a file, or the built-in one, over the model and with the formula or by the recipe that were given.

    `places` are those of every model that runs here, where any does. Raises VoiceError and FormulaError.
    """
    from lmalgebra.algebra import load_voice

    voice = default_voice() if given.file is None else load_voice(given.file)
    if recipe.is_made:
        if given.formula is not None:
            raise VoiceError("Both --formula and --recipe were given.", "Keep one of them.")
        voice = with_recipe(voice, recipe, is_built_in=given.file is None)
    if given.model is not None:
        voice = _over_model(voice, given.model)
    if moved := places.given:
        here = [each for each in voice.models if not each.is_remote] or voice.models  # which refuse, if all are remotes
        voice = voice.with_models([replace(each, **moved) if each in here else each for each in voice.models])
    return voice if given.formula is None else with_formula(voice, given.formula)


def default_voice(source: str = DEFAULT_MODEL) -> "Voice":
    """The built-in voice: some ways to speak, all on one model."""
    from lmalgebra.algebra import Model, Voice

    model = Model(source, name="small")
    terms = tuple(model.term(name=name, system=system) for name, system in SYSTEM_PROMPTS.items())
    return Voice(terms[0], terms=terms)


def with_formula(voice: "Voice", text: str) -> "Voice":
    """The voice speaking by another formula over its terms. Raises FormulaError."""
    from lmalgebra.algebra import parse

    return replace(voice, formula=parse(text, {term.name: term for term in voice.terms}))


def _over_model(voice: "Voice", source: str) -> "Voice":
    if len(voice.models) != 1:
        names = ", ".join(model.name for model in voice.models)
        raise VoiceError(
            f"--model {source} cannot say which of the voice's models it replaces: {names}.",
            "Change the source in the voice file.",
        )
    return voice.with_models([replace(voice.models[0], source=source)])


def model_registry() -> "Models":
    """Where the command's voices get their weights from, each set once; says on standard error what takes time."""
    from lmalgebra.api import Models

    return Models(say)


def open_voice(
    voice: "Voice",
    models: "Models",
    batch: int | None = None,
    speculate: str | None = None,
    draft: str | None = None,
) -> "ComposedVoice":
    """The voice ready to load its weights; `batch` limits its samples in progress, and `draft` is a formula over its
    terms, as text. Raises LmalgebraError.
    """
    from lmalgebra.algebra import parse
    from lmalgebra.decoding import ComposedVoice
    from lmalgebra.decoding.scheduler import MAX_SAMPLES

    if batch is not None and batch < 1:
        raise DecodingError(f"--batch {batch} leaves no sample in progress.", "Give a whole number of at least 1.")
    drafting = None if draft is None else parse(draft, {term.name: term for term in voice.terms})
    return ComposedVoice(voice, models, batch or MAX_SAMPLES, speculate, drafting, models.scorer)


def say_afterwards(composed: "ComposedVoice") -> None:
    """What a user should know of how a voice spoke: what speculation did, if it was asked for, and how much of the
    probability remotes have told so far.
    """
    if composed.speculates:
        say(str(composed.speculation))
    for address, seen in composed.seen.items():
        if seen.positions:
            say(f"{address} {seen}")
