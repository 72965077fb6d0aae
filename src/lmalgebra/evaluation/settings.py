"""What decides an evaluation; from Python, a TOML file, or the command line, all under the same names."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any

from lmalgebra.algebra import GenerationSettings
from lmalgebra.errors import EvaluationError
from lmalgebra.evaluation.tuning.free_weights import OpenFormula
from lmalgebra.settings_file import check_kinds, check_ranges, load

WEIGHT = "weight"
"""The name in braces that stands in a formula for each of the weights."""

GENERATION = ("samples", "max_new_tokens", "temperature", "top_p", "top_k", "seed")
"""Settings of generation that an evaluation may change; those that it leaves are the suite's."""

UTILITY = "utility"
"""The suite whose prompts are those of tasks."""

OF_TASKS = ("tasks", "limit", "shots", "tasks_from")
"""Settings of that suite alone."""

JUDGING = ("judges", "judge_template", "judge_scale", "judge_key_env", "fluency", "embedder", "mauve")
"""Settings of measures of what was said."""

OF_PROMPTS = ("prompts", "template", "count", "draw", "times", *JUDGING, *GENERATION)
"""Settings of all other suites."""


@dataclass(frozen=True)
class EvaluationSettings:
    """What is evaluated, and how.

    Raises EvaluationError or DecodingError for a value of the wrong kind or out of range.

    `voices` are voice files, or files of samples (.jsonl) that anything has said. `formulas`, by name, are formulas
    over the terms of the only voice file, each a voice; one with {weight} in it is a voice for each of `weights`.
    `prompts` is a file or `hub:` data set, of which `count` are drawn by `draw`; `template` makes what is asked of the
    fields of a row, and the suite's is used if it is empty.

    `judges` are as in `judges`; language models among them are asked what `judge_template` says, on a scale from 0 to
    `judge_scale`, with the key that the environment variable `judge_key_env` holds. `fluency` is the model of
    perplexities, `embedder` the encoder of meaning, and `mauve` the model of MAUVE's features ("none": none).
    What is generated and judged is kept in `cache`; `batch` samples are said at once; `times` asks what a token costs.
    Results go to `output`.

    The suite `utility` has `tasks` instead of prompts, over the first `limit` documents of each, after `shots`
    examples, with data from the folder `tasks_from` or a hub.
    """

    voices: tuple[str, ...]
    prompts: str = ""
    suite: str = "toxicity"
    formulas: Mapping[str, str] = field(default_factory=dict)
    weights: tuple[float, ...] = ()
    template: str = ""
    count: int | None = None
    draw: int = 0
    judges: tuple[str, ...] = ("s-nlp/roberta_toxicity_classifier#toxic",)
    judge_template: str = ""
    judge_scale: float = 10.0
    judge_key_env: str = ""
    fluency: str = "gemma3-270m"
    embedder: str = "sentence-transformers/all-MiniLM-L6-v2"
    mauve: str = "none"
    samples: int | None = None
    max_new_tokens: int | None = None
    temperature: float | None = None
    top_p: float | None = None
    top_k: int | None = None
    seed: int | None = None
    output: str = "evaluation.json"
    cache: str = ""
    batch: int = 64
    times: bool = False
    tasks: tuple[str, ...] = ()
    limit: int | None = None
    shots: int | None = None
    tasks_from: str = ""

    def __post_init__(self) -> None:
        check_kinds(self, EvaluationError)
        most = 1 << 30
        ranges = {"count": (1, most), "draw": (0, most), "batch": (1, 1 << 16), "judge_scale": (1e-6, most)}
        ranges |= {"limit": (1, most), "shots": (0, most)}
        check_ranges(self, ranges, EvaluationError)
        GenerationSettings().replace(**self.generation)
        needed, foreign = ("tasks", OF_PROMPTS) if self.suite == UTILITY else ("prompts", OF_TASKS)
        self._refuse(foreign)
        if not getattr(self, needed):
            raise EvaluationError(
                f"{needed} is not given.", f"Add --{needed} on the command line, or {needed} = ... in a file."
            )
        for name in ("voices", needed, "output"):
            if not all([getattr(self, name), *getattr(self, name)]):
                raise EvaluationError(f"{name} is empty.", "Give it a value.")
        if self.formulas and len(self.voices) > 1:
            raise EvaluationError(
                f"formulas are over the terms of one voice file, and {len(self.voices)} are given.", "Keep one."
            )
        names = {name for formula in self.formulas.values() for name in OpenFormula(formula).names}
        if names != ({WEIGHT} if self.weights else set()):
            raise EvaluationError(
                "weights and a formula with {weight} belong together.",
                "Write --formula 'name = base + {weight} * (formal - base)' --weights 0,0.5,1.",
            )

    def _refuse(self, names: tuple[str, ...]) -> None:
        """Raise EvaluationError for a setting that would change nothing."""
        given = [each.name for each in fields(self) if each.name in names and getattr(self, each.name) != each.default]
        if given:
            raise EvaluationError(f"{given[0]} means nothing to the suite '{self.suite}'.", "Leave it out.")

    @property
    def generation(self) -> dict[str, Any]:
        """The settings of generation that are given."""
        return {key: value for key in GENERATION if (value := getattr(self, key)) is not None}

    def source(self, name: str) -> str | None:
        """The model of the setting `name`, if there is to be one."""
        value: str = getattr(self, name)
        return None if value in ("", "none") else value


def load_settings(path: Path | None, given: Mapping[str, Any]) -> EvaluationSettings:
    """The settings of a TOML file, if there is one, with those `given` in their place; see `settings_file.load`."""
    if path is None and "voices" not in given:
        raise EvaluationError("There is no voice to evaluate.", "Name a file: lmalgebra evaluate voice.toml ...")
    return load(EvaluationSettings, path, given, EvaluationError)
