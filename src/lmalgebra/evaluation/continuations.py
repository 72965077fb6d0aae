"""What voices say after prompts, kept so that nothing is said twice and a stop loses nothing.

A file of samples stands for one voice under one set of settings and one version of this library: its name is their
digest, and a .json beside it says what they were. Each sample's seed comes of its prompt, so that it is the same
whatever other prompts there are, and two voices get the same random numbers for the same prompt.
"""

import json
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lmalgebra.algebra import GenerationSettings
from lmalgebra.decoding import ComposedVoice
from lmalgebra.decoding.composed import Prompt
from lmalgebra.decoding.context import conversation
from lmalgebra.decoding.request import Refusal, Request, Sample
from lmalgebra.decoding.samples_file import SamplesFile, missing_parts, sample_line
from lmalgebra.errors import EvaluationError, LmalgebraError
from lmalgebra.evaluation.kept import writing
from lmalgebra.json_lines import file_lines, parsed
from lmalgebra.models.fingerprint import digest
from lmalgebra.models.identity import Identity

SEEDS = 1 << 31

SAMPLE = 'Each line is an object such as {"prompt": "...", "text": "..."}.'


@dataclass(frozen=True)
class Said:
    """One continuation: its text, how many tokens it took, and why it ended."""

    text: str
    tokens: int
    finish_reason: str


@dataclass(frozen=True)
class Continuations:
    """For each prompt what was said, in the order of the seeds; `left_out` says why, of prompts that got no answer."""

    said: tuple[tuple[Said, ...], ...]
    left_out: dict[int, str]


def continuations(
    voice: ComposedVoice,
    identity: Identity,
    prompts: Sequence[Prompt],
    folder: Path,
    advance: Callable[[int], None] = lambda samples: None,
) -> Continuations:
    """What `voice` says after each of `prompts`, under the settings of its identity; what `folder` holds is not said
    again.

    `advance` hears of samples as they are there. Raises EvaluationError when the folder cannot be written, and what
    generation raises, except of single prompts.
    """
    file = _opened(folder, identity)
    with closing(file):
        wanted = [_seeded(identity.settings, prompt) for prompt in prompts]
        left = file.finished.copy()
        requests = [
            Request(index, conversation(prompt), part)
            for index, (prompt, settings) in enumerate(zip(prompts, wanted, strict=True))
            for part in missing_parts(prompt, settings, left)
        ]
        advance(sum(each.samples for each in wanted) - sum(each.settings.samples for each in requests))
        left_out = {}
        for event in voice.run(requests) if requests else ():
            if isinstance(event, Sample):
                with writing(file.path):
                    file.add(sample_line(prompts[event.index], event))
                advance(1)
            elif isinstance(event, Refusal):
                left_out[event.index] = str(event.error)
    known = {(digest(sample["prompt"]), sample["seed"]): _said(sample) for sample in _samples(file.path)}
    said = []
    for prompt, settings in zip(prompts, wanted, strict=True):
        seeds = range(settings.seed, settings.seed + settings.samples)
        said.append(tuple(known[key] for seed in seeds if (key := (digest(prompt), seed)) in known))
    return Continuations(tuple(said), left_out)


def read_samples(path: Path, prompts: Sequence[Prompt]) -> Continuations:
    """The continuations of `prompts` in a file that any program wrote, one object of prompt and text a line.

    Raises EvaluationError, with the line, for a file that cannot be read so, or that holds none of the prompts.
    """
    by_prompt: dict[str, list[Said]] = {}
    for place, sample in parsed(file_lines(path, "samples", EvaluationError), str(path), EvaluationError, SAMPLE):
        try:
            by_prompt.setdefault(digest(sample["prompt"]), []).append(_said(sample))
        except (KeyError, TypeError, AttributeError):
            raise EvaluationError(f"{place}: this is no sample.", SAMPLE) from None
    said = tuple(tuple(by_prompt.get(digest(prompt), ())) for prompt in prompts)
    left_out = {place: f"{path} holds no sample of it." for place, each in enumerate(said) if not each}
    if len(left_out) == len(prompts):
        raise EvaluationError(
            f"{path} holds no sample of any of the {len(prompts)} prompts.", "Name the prompts that it answers."
        )
    return Continuations(said, left_out)


def _seeded(settings: GenerationSettings, prompt: Prompt) -> GenerationSettings:
    """The settings with a first seed of the prompt's own; two prompts of one seed would share their luck."""
    return settings.replace(seed=int(digest([prompt, settings.seed]), 16) % SEEDS)


def _opened(folder: Path, identity: Identity) -> SamplesFile:
    place = folder / f"{identity.name}.jsonl"
    with writing(folder):
        folder.mkdir(parents=True, exist_ok=True)
        about = json.dumps(identity.description, indent=1, ensure_ascii=False, sort_keys=True)
        place.with_suffix(".json").write_text(about + "\n", encoding="utf-8")
    try:
        return SamplesFile(place, resume=True)
    except LmalgebraError as error:
        raise EvaluationError(error.message, "Remove that file; its samples will be generated again.") from None


def _samples(path: Path) -> Iterator[dict[str, Any]]:
    with path.open(encoding="utf-8") as lines:
        for line in lines:
            if line.strip():
                yield json.loads(line)


def _said(sample: dict[str, Any]) -> Said:
    return Said(str(sample["text"]), len(sample.get("tokens", ())), str(sample.get("finish_reason", "")))
