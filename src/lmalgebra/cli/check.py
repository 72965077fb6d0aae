"""`lmalgebra check`: say what a voice is made of, without loading it."""

import os
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from lmalgebra.cli.option_groups import PlaceOptions, VoiceOptions, grouped
from lmalgebra.cli.recipes import RecipeChoice
from lmalgebra.cli.voices import chosen_voice, model_registry, open_voice
from lmalgebra.errors import ModelError

if TYPE_CHECKING:
    from lmalgebra.algebra import Model, Term, Voice

SHOWN_TEXT = 90


@grouped
def check(
    *,
    voice: VoiceOptions,
    recipe: RecipeChoice,
    places: PlaceOptions,
    load: Annotated[bool, typer.Option("--load", help="Load the models too, and compare their vocabularies.")] = False,
) -> None:
    """Show the formula, terms and models of a voice; any mistake in it is an error."""
    chosen = chosen_voice(voice, recipe, places)
    states = {each: _state(each) for each in chosen.models}
    print(_described(chosen, states))
    if load:
        _load(chosen)


def _described(voice: "Voice", states: "dict[Model, str]") -> str:
    formula = voice.formula
    lines = [f"formula: {formula}", *_indented(formula.tree().splitlines())]
    lines += [f"simplified: {formula.simplify()}", f"mass: {formula.mass()}", "", "terms"]
    used = (*formula.leaves(), *formula.gauges())
    lines += _indented(f"{term.name}: {_spoken(term)}{'' if term in used else ' (not used)'}" for term in voice.terms)
    lines += ["", "models"]
    lines += _indented(f"{model.name}: {model.source}; {_run(model)}; {state}" for model, state in states.items())
    return "\n".join(lines)


def _run(model: "Model") -> str:
    """How a model is run: its engine, and why it is that one."""
    from lmalgebra.models.engines import choose_engine

    engine = choose_engine(model.source, model.engine, model.dtype, model.device, model.quantization)
    if model.is_remote:
        served = f"serves {model.served}, " if model.served else ""
        return f"engine {engine}, {served}tokenizer {model.tokenizer}, top_logprobs {model.top_logprobs}"
    quantized = "" if model.quantization == "none" else f", quantization {model.quantization}"
    return f"engine {engine}, dtype {model.dtype}, device {model.device}{quantized}"


def _spoken(term: "Term") -> str:
    """How a term is prompted, and by which model it speaks, or what else it is."""
    from lmalgebra.algebra import Bias, ModelTerm
    from lmalgebra.algebra.adapter import adapter_text

    description = term.description
    if isinstance(description, Bias):
        return ", ".join(f"{key} {_shown(value)}" for key, value in description.table().items())
    if not isinstance(description, ModelTerm):
        return type(description).__name__
    keys = ("system", "prefix", "chat_template", "template")
    given = [(key.replace("_", " "), getattr(description, key)) for key in keys]
    parts = [f"{key} {_quoted(text)}" for key, text in given if text is not None]
    if description.adapter is not None:
        parts.append(f"adapter {adapter_text(description.adapter)}")
    return f"{', '.join(parts) or 'chat without a system prompt'}, on {description.model.name}"


def _state(model: "Model") -> str:
    """Whether the weights are on this machine. Raises ModelError for a source that names nothing."""
    from lmalgebra.models import catalog
    from lmalgebra.models.engines import is_place, is_toy

    source, path = model.source, Path(model.source).expanduser()
    if model.is_remote:
        return f"asked when first used, {_key(model)}"
    if is_toy(source) and path.suffix != ".json":
        return "an exact toy, no weights"
    if source in catalog.names():
        return "ready" if catalog.is_fetched(source) else f"fetched when first used ({_download(source)})"
    if path.exists():
        return "a folder that is there" if path.is_dir() else "a file that is there"
    if path.suffix in (".gguf", ".json") or is_place(source):
        raise ModelError(f"There is no model at '{source}'.", "Give a folder of weights or a .gguf file.")
    if "/" not in source:
        catalog.entry(source)  # raises, with the nearest name there is
    return "from the hub, when first used"


def _key(model: "Model") -> str:
    """Where a remote's key comes from, and whether it is there; never the key."""
    if not model.key_env:
        return "without a key"
    return f"with the key in {model.key_env}, which is {'set' if os.environ.get(model.key_env) else 'not set'}"


def _download(name: str) -> str:
    from lmalgebra.models import catalog

    return f"{catalog.entry(name).download_megabytes:,} MB"


def _load(voice: "Voice") -> None:
    """Load what the formula needs, and say what came."""
    from lmalgebra.algebra import ModelTerm

    models = model_registry()
    composed = open_voice(voice, models)
    tokenizer = composed.loaded.tokenizer  # loads everything, and raises unless all vocabularies agree
    used = [leaf.description.model for leaf in composed.plan.leaves if isinstance(leaf.description, ModelTerm)]
    lines = ["", "loaded"]
    for model in dict.fromkeys(used):
        loaded = models(model)
        lines += _indented([f"{model.name}: {loaded.summary}", *(f"  note: {note}" for note in loaded.session.notes)])
    lines += [f"vocabulary: {len(tokenizer.vocabulary):,} tokens, the same for every term"]
    print("\n".join(lines))


def _shown(value: object) -> str:
    texts = value if isinstance(value, list) else [value]
    return ", ".join(_quoted(each) if isinstance(each, str) else str(each).lower() for each in texts)


def _quoted(text: str) -> str:
    line = " ".join(text.split())
    return repr(line if len(line) <= SHOWN_TEXT else line[: SHOWN_TEXT - 1] + "…")


def _indented(lines: "Iterable[str]") -> list[str]:
    return [f"  {line}" for line in lines]
