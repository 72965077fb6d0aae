"""An evaluation: voices answer the prompts of a suite, and what they said is measured.

In this order: 1. the prompts are chosen; 2. each voice answers, as far as the cache does not know its answers; 3. each
measure looks at each voice's answers; 4. judges are compared with each other. The result is plain data: the same
for the same voices, prompts and settings, whether a run was stopped in between or not.
"""

import platform
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from importlib.metadata import PackageNotFoundError, version
from itertools import combinations
from pathlib import Path
from typing import Any

import numpy as np

from lmalgebra.algebra import GenerationSettings
from lmalgebra.decoding import ComposedVoice
from lmalgebra.errors import EvaluationError, LmalgebraError
from lmalgebra.evaluation.continuations import Continuations, continuations, read_samples
from lmalgebra.evaluation.cost import costs
from lmalgebra.evaluation.measures.base import Advance, Answers, Measure, Measured
from lmalgebra.evaluation.results import FORMAT
from lmalgebra.evaluation.suites import Suite
from lmalgebra.models.identity import Identity, identity_of
from lmalgebra.prompt_sets.reading import Item, PromptSet

PACKAGES = ("lmalgebra", "torch", "transformers", "numpy")

Progress = Callable[[str, int], Advance]
"""Told what begins and of how many texts; gives what is to hear of those that are done."""


def unheard(what: str, total: int) -> Advance:
    """Progress that nobody is told of."""
    return lambda done: None


@dataclass(frozen=True)
class Evaluated:
    """A voice that is evaluated: one that speaks, or a file of samples that something else has said.

    One that is a point of a curve has its `weight` and the curve's name.
    """

    name: str
    voice: ComposedVoice | Path
    curve: str = ""
    weight: float = 0.0


@dataclass(frozen=True)
class Work:
    """What is to be evaluated, and how.

    `settings` are those of generation that replace the suite's; `times` asks for what a token costs, too, which is
    never twice the same.
    """

    suite: Suite
    prompts: PromptSet
    measures: Sequence[Measure]
    cache: Path
    settings: Mapping[str, Any] = field(default_factory=dict)
    progress: Progress = unheard
    times: bool = False


def evaluate(voices: Sequence[Evaluated], work: Work) -> dict[str, Any]:
    """The result of `work` for each voice, as plain data.

    Raises EvaluationError for voices or measures of one name, and what generation and measures raise.
    """
    require_names(voices)
    _refuse_twice("measures", [measure.name for measure in work.measures])
    head = _head(work)  # first, since it asks for every judge: one that is missing is told before hours of work
    found, scores = [], []
    for voice in voices:
        about, said = _answered(voice, work)
        answers = Answers(work.prompts.items, [[each.text for each in texts] for texts in said.said])
        measured = {measure.name: _measured(measure, voice.name, answers, work.progress) for measure in work.measures}
        found.append(about | _told(work, said, measured))
        scores.append({name: each.scores for name, each in measured.items() if each.scores is not None})
    if work.times:
        cost = _costs(voices, work)
        found = [about | cost.get(about["name"], {}) for about in found]
    return head | {"voices": found, "agreement": _agreement(scores)}


def _refuse_twice(what: str, names: Sequence[str]) -> None:
    twice = next((name for name in names if names.count(name) > 1), None)
    if twice is not None:
        raise EvaluationError(f"Two {what} are named '{twice}'.", "Give each its own name, or leave one out.")


def require_names(voices: Sequence[Evaluated]) -> None:
    """Raise EvaluationError where two voices have one name."""
    _refuse_twice("voices", [voice.name for voice in voices])


def versions(packages: Sequence[str] = PACKAGES) -> dict[str, str]:
    """The versions of Python and of packages, which a result may depend on."""
    return {"python": platform.python_version()} | {name: _version(name) for name in packages}


def _head(work: Work) -> dict[str, Any]:
    """Everything that it takes to reproduce the result, but for the voices."""
    prompts = work.prompts
    return {
        "format": FORMAT,
        "suite": work.suite.name,
        "prompts": {
            "source": Path(prompts.source).name,
            "revision": prompts.revision,
            "count": len(prompts.items),
            "draw": prompts.draw,
            "template": prompts.template,
            "ids": [item.id for item in prompts.items],
        },
        "measures": {measure.name: measure.about() for measure in work.measures},
        "versions": versions(),
    }


def _answered(voice: Evaluated, work: Work) -> tuple[dict[str, Any], Continuations]:
    """What is known of a voice, and what it says."""
    prompts = [item.prompt for item in work.prompts.items]
    if isinstance(voice.voice, Path):
        return {"name": voice.name, "samples": voice.voice.name}, read_samples(voice.voice, prompts)
    settings = voice.voice.settings.replace(**{**work.suite.settings, **work.settings})
    identity = identity_of(voice.voice.voice, settings)
    about = about_voice(voice, identity)
    advance = work.progress(f"{voice.name}: speaks", len(prompts) * settings.samples)
    return about, continuations(voice.voice, identity, prompts, work.cache / "continuations", advance)


def about_voice(voice: Evaluated, identity: Identity) -> dict[str, Any]:
    """What a result says of a voice that speaks, besides what was measured."""
    described = identity.description
    curve = {"curve": {"name": voice.curve, "weight": voice.weight}} if voice.curve else {}
    return curve | {
        "name": voice.name,
        "formula": described["voice"]["formula"],
        "settings": _changed(identity.settings),
        "cache": identity.name,
        **{key: described[key] for key in ("voice", "weights")},
    }


def told(measured: Mapping[str, Measured]) -> dict[str, Any]:
    """What was measured, as in a result."""
    return {
        "metrics": {
            name: {key: quantity.to_dict() for key, quantity in each.quantities.items()} | dict(each.numbers)
            for name, each in measured.items()
        },
        "notes": {name: list(each.notes) for name, each in measured.items() if each.notes},
    }


def _costs(voices: Sequence[Evaluated], work: Work) -> dict[str, dict[str, Any]]:
    speaking = {voice.name: voice.voice for voice in voices if isinstance(voice.voice, ComposedVoice)}
    settings = GenerationSettings().replace(**{**work.suite.settings, **work.settings})
    found = costs(speaking, [item.prompt for item in work.prompts.items], settings)
    return {name: {"cost": cost} for name, cost in found.items()}


def _measured(measure: Measure, name: str, answers: Answers, progress: Progress) -> Measured:
    """What a measure finds; where it fails as a whole, a note that says why, and the others go on."""
    try:
        return measure.measure(answers, progress(f"{name}: {measure.name}", len(answers.flat)))
    except LmalgebraError as error:
        if not isinstance(error, EvaluationError):
            raise
        return Measured({}, notes=[str(error)])


def _told(work: Work, said: Continuations, measured: Mapping[str, Measured]) -> dict[str, Any]:
    items = work.prompts.items
    strata = {name: [place for place, item in enumerate(items) if has(item)] for name, has in work.suite.strata.items()}
    return {
        "texts": sum(map(len, said.said)),
        "tokens": sum(each.tokens for texts in said.said for each in texts),
        "left_out": {items[place].id: reason for place, reason in said.left_out.items()},
        "strata": {name: _of_stratum(places, items, measured) for name, places in strata.items() if places},
        **told(measured),
    }


def _of_stratum(places: Sequence[int], items: Sequence[Item], measured: Mapping[str, Measured]) -> dict[str, Any]:
    """The quantities over some prompts, without what they rest on, which the whole has."""
    values: dict[str, Any] = {"prompts": len(places)}
    for name, each in measured.items():
        told = {key: quantity.of(places).to_dict() for key, quantity in each.quantities.items()}
        values[name] = {key: {part: one[part] for part in ("value", "low", "high")} for key, one in told.items()}
    return values


def _agreement(scores: Sequence[Mapping[str, Sequence[float | None] | None]]) -> dict[str, Any]:
    """How well each two judges agree on all texts: Pearson's and Spearman's correlation, and Cohen's kappa at 0.5."""
    from lmalgebra.evaluation.agreement import agreement

    together: dict[str, list[float | None]] = {}
    for voice in scores:
        for name, values in voice.items():
            together.setdefault(name, []).extend(values or ())
    found = {}
    for one, other in combinations(together, 2):
        if len(together[one]) == len(together[other]):
            pairs = [
                (ours, theirs)
                for ours, theirs in zip(together[one], together[other], strict=True)
                if ours is not None and theirs is not None
            ]
            found[f"{one} / {other}"] = agreement(np.array(pairs, dtype=float).reshape(-1, 2))
    return found


def _changed(settings: GenerationSettings) -> dict[str, Any]:
    return {key: value for key, value in asdict(settings).items() if value not in (None, ())}


def _version(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:
        return "none"
