"""The folder that a training leaves: what was learned, its card, the steps, and a voice file that speaks by it."""

from __future__ import annotations

from dataclasses import asdict, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lmalgebra.algebra import Model, ModelTerm, Voice, parse, save_voice
from lmalgebra.models.engines import is_toy
from lmalgebra.training.policies.card import Learned, write_card
from lmalgebra.training.policies.controls import controlled, learning_term
from lmalgebra.training.policies.learning_settings import LearningSettings
from lmalgebra.training.policies.opening import voice_of
from lmalgebra.training.policies.settings import QUARK, AdapterSettings
from lmalgebra.training.policies.state import STEPS, write_lines

if TYPE_CHECKING:
    from lmalgebra.models.base import Tokenizer
    from lmalgebra.training.policies.loop import Training

VOICE = "voice.toml"
HELD_OUT = "held_out.jsonl"
HERE = "."
"""The folder in its own voice file, which may be moved with it."""


def build(folder: Path, training: Training, about: dict[str, Any], ended: str) -> None:
    """Fill the folder of a training that is over; `about` is what the reward says of itself. Raises OSError."""
    settings, policy = training.settings, training.work.policy
    policy.trainee.save(folder)
    save_voice(learned_voice(settings, policy.tokenizer), folder / VOICE)
    write_lines(folder / STEPS, training.progress.steps)
    held_out = training.prompts.held_out.items
    write_lines(folder / HELD_OUT, [{**item.fields, "prompt": item.prompt} for item in held_out])
    write_card(folder, Path(settings.output).name, _learned(training, about, ended))


def learned_voice(settings: AdapterSettings, tokenizer: Tokenizer) -> Voice:
    """The voice that was trained, with what it learned, in the folder of its file, under the best control."""
    return with_learned(voice_of(settings), settings, settings.best_control, tokenizer)


def with_learned(voice: Voice, settings: LearningSettings, control: str, tokenizer: Tokenizer) -> Voice:
    """`voice` with what its term `settings.train` learned, in the folder of its file, under `control`."""
    # As it was trained, and because llama.cpp, which "auto" may choose, does not read the adapter.
    chosen = {each: replace(each, engine="torch") for each in voice.models if each.engine == "auto" and _is_here(each)}
    voice = voice.with_models([chosen.get(each, each) for each in voice.models])
    term = learning_term(voice.formula, settings.train)
    assert isinstance(term.description, ModelTerm)
    if settings.kind == "model":
        own = replace(term.description, model=Model(HERE, name=f"{settings.train}-model"), adapter=None)
    else:
        own = replace(term.description, adapter=HERE)
    spoken = controlled(replace(term, description=own), control, tokenizer)
    terms = {each.name: spoken if each == term else each for each in voice.terms}
    return replace(voice, formula=parse(str(voice.formula), terms), terms=tuple(terms.values()), models=())


def _is_here(model: Model) -> bool:
    return not (model.is_remote or is_toy(model.source))


def _learned(training: Training, about: dict[str, Any], ended: str) -> Learned:
    settings, policy = training.settings, training.work.policy
    voice = voice_of(settings)
    term = learning_term(voice.formula, settings.train)
    told = [each for each in voice.terms if isinstance(each.description, ModelTerm)]
    return Learned(
        formula=str(voice.formula),
        term=settings.train,
        base={each.name: each.description.model.source for each in told},
        objective=settings.objective,
        reward=settings.reward,
        data=settings.prompts,
        metrics=metrics_of(training.progress.validation),
        controls=settings.controls if settings.objective == QUARK else (),
        prefix=term.description.prefix,
        settings=asdict(settings)
        | {"output": Path(settings.output).name, "reference": str(policy.reference), "ended": ended}
        | {"about": about, "validation": training.progress.validation},
    )


def metrics_of(validation: list[dict[str, Any]]) -> dict[str, float]:
    """What was measured on held-out prompts, by names for people."""
    last = validation[-1]
    base = next(each["base"] for each in validation if "base" in each)
    found = {"reward of the base": base["reward"], "reward before training": validation[0]["policy"]["reward"]}
    found["reward"] = last["policy"]["reward"]
    for name, value in last["policy"]["rewards"].items():
        found |= {f"{name} of the base": base["rewards"][name], name: value}
    return found | {"nats per token from the base": last["policy"].get("kl", float("nan"))}
