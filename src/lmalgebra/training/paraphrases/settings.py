"""What decides how paraphrases are written and kept; from Python, a TOML file, or the command line, all alike."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from lmalgebra.algebra import GenerationSettings
from lmalgebra.errors import EvaluationError, TrainingError
from lmalgebra.judges.template import Template
from lmalgebra.rewriting.cleaning import REFUSALS
from lmalgebra.settings_file import check_kinds, check_ranges, load, read_toml
from lmalgebra.training.paraphrases.attributes import attribute_values

POSITIVE, NEGATIVE = "positives", "negatives"
SIDES = (POSITIVE, NEGATIVE)
"""The sides of a group, as its line calls them."""

NONE = "none"
"""Written where a judge, an encoder or a model of likelihood is not to be had."""

WANTED, UNWANTED = "wanted", "unwanted"

LINES, PARQUET = ".jsonl", ".parquet"

RUNNING = ("output", "count", "patience", "block")
"""Settings that do not decide what comes of a sentence. A larger draw by the same number holds the smaller one."""


@dataclasses.dataclass(frozen=True)
class ParaphraseSettings:
    """How paraphrases are written and kept. Raises TrainingError for a value of the wrong kind or out of range.

    **Sentences.** `corpus` is a file of JSON Lines, `hub:owner/name@revision:split`, or a file of plain text, line by
    line; a row has its sentence in `field`. Positives paraphrase `positive_field` and negatives `negative_field` where
    those are given. `count` sentences are drawn by `draw`, all without a count.

    **Writing.** The writer is `voice`, a voice file, or the built-in one (the term `base` over `model`), by
    `positive_formula` and `negative_formula`, or the model `served` at `endpoint`, an address of OpenAI's chat
    protocol, whose key is in the environment variable `key_env`. It is asked `positive_template` and
    `negative_template`: Jinja over `text` and the row's fields; each pair of the examples, a sentence and its
    paraphrase, is shown as a turn before. `max_new_tokens`, `temperature`, `top_p`, `stop` and `seed` are those of
    generation.

    **How many.** So many `positives` and `negatives` are wanted of each sentence; what is still missing is asked for
    again, at most `tries` times. A group with less than `least` on a side is left out. After `patience` sentences in a
    row of which nothing was accepted, it ends. `block` sentences are worked on together.

    **Filters.** `judge` scores from 0 to 1 what is unwanted (or, `judged` says so, what is wanted), written as in
    `judges`; language models are asked `judge_template` and answer up to `judge_scale`. The side with less of what it
    scores stays below `below`, the other at or above `above`. `embedder` encodes meaning: a paraphrase's `similarity`
    to its sentence is a cosine. Its words are `shortest` to `longest` times as many as the sentence's. Under the model
    `fluency` its mean token loss differs by at most `likelihood_gap` nats from the sentence's. "none" switches a filter
    off. What holds one of the phrases `refusals` is refused.
    """

    corpus: str
    output: str
    field: str = "text"
    positive_field: str = ""
    negative_field: str = ""
    count: int | None = None
    draw: int = 0
    attribute: str = "plain"
    voice: str = ""
    model: str = ""
    positive_formula: str = ""
    negative_formula: str = ""
    endpoint: str = ""
    served: str = ""
    key_env: str = ""
    positive_template: str = "Say it in other words and keep the meaning: {{ text }}"
    negative_template: str = "Say it in other words and keep the meaning: {{ text }}"
    positive_examples: Mapping[str, str] = dataclasses.field(default_factory=dict)
    negative_examples: Mapping[str, str] = dataclasses.field(default_factory=dict)
    max_new_tokens: int = 64
    temperature: float = 0.6
    top_p: float = 0.95
    stop: tuple[str, ...] = ()
    seed: int = 0
    positives: int = 3
    negatives: int = 3
    least: int = 1
    tries: int = 4
    patience: int = 25
    block: int = 8
    judge: str = NONE
    judge_template: str = ""
    judge_scale: float = 10.0
    judge_key_env: str = ""
    judged: str = UNWANTED
    below: float = 0.5
    above: float = 0.5
    embedder: str = "sentence-transformers/all-MiniLM-L6-v2"
    similarity: float = 0.5
    shortest: float = 0.4
    longest: float = 2.5
    fluency: str = "smollm2-135m"
    likelihood_gap: float = 4.0
    refusals: tuple[str, ...] = REFUSALS

    def __post_init__(self) -> None:
        check_kinds(self, TrainingError)
        check_ranges(self, _RANGES, TrainingError)
        for name in ("corpus", "output", "field", "positive_template", "negative_template"):
            if not getattr(self, name).strip():
                raise TrainingError(f"{name} is empty.", "Give it a value.")
        if Path(self.output).suffix not in (LINES, PARQUET):
            raise TrainingError(f"The output '{self.output}' is neither .jsonl nor .parquet.", "Name it so.")
        self._check_writer()
        self._check_filters()
        for name in ("positive_template", "negative_template"):
            _check_template(name, getattr(self, name))
        _ = self.generation  # which says what is wrong with a temperature

    def _check_writer(self) -> None:
        spoken = [name for name in ("voice", "model", "positive_formula", "negative_formula") if getattr(self, name)]
        if self.endpoint and spoken:
            raise TrainingError(f"Both endpoint and {spoken[0]} are given.", "Keep one writer.")
        if self.voice and self.model:
            raise TrainingError("Both voice and model are given.", "Name the model in the voice file.")
        if (self.served or self.key_env) and not self.endpoint:
            raise TrainingError("served and key_env belong to an endpoint, which is not given.", "Add endpoint.")

    def _check_filters(self) -> None:
        if self.judged not in (WANTED, UNWANTED):
            raise TrainingError(f"judged = {self.judged!r} is unknown.", f"Write {WANTED!r} or {UNWANTED!r}.")
        if self.below > self.above:
            raise TrainingError(f"below = {self.below:g} is more than above = {self.above:g}.", "Exchange them.")
        if self.shortest > self.longest:
            raise TrainingError(f"shortest = {self.shortest:g} is more than longest = {self.longest:g}.", "Mend it.")
        if self.least > min(self.positives, self.negatives):
            raise TrainingError(f"least = {self.least} is more than are wanted of a side.", "Lower it.")

    @property
    def generation(self) -> GenerationSettings:
        """How texts are drawn. Raises DecodingError for a value out of range."""
        names = ("max_new_tokens", "temperature", "top_p", "stop", "seed")
        return GenerationSettings(**{name: getattr(self, name) for name in names})

    @property
    def deciding(self) -> dict[str, Any]:
        """Those that decide what comes of a sentence, so that nothing goes on with others."""
        return {name: value for name, value in dataclasses.asdict(self).items() if name not in RUNNING}

    def wanted(self, side: str) -> int:
        """How many paraphrases of a side a sentence should have."""
        return self.positives if side == POSITIVE else self.negatives

    def template(self, side: str) -> str:
        return self.positive_template if side == POSITIVE else self.negative_template

    def examples(self, side: str) -> Mapping[str, str]:
        return self.positive_examples if side == POSITIVE else self.negative_examples

    def formula(self, side: str) -> str:
        return self.positive_formula if side == POSITIVE else self.negative_formula

    def source_field(self, side: str) -> str:
        """The field that a side paraphrases."""
        return (self.positive_field if side == POSITIVE else self.negative_field) or self.field


def load_settings(path: Path | None, given: Mapping[str, Any], attribute: str = "toxicity") -> ParaphraseSettings:
    """The settings of a TOML file, if there is one, with those `given` in their place; see `settings_file.load`.

    What neither says is as the attribute has it which they name, or else `attribute`. Examples are replaced as a whole.
    """
    told = (read_toml(path, TrainingError) if path is not None else {}) | dict(given)
    name = told.get("attribute", attribute)
    values = attribute_values(name) if isinstance(name, str) else {}
    return load(ParaphraseSettings, path, values | told, TrainingError)


def _check_template(name: str, text: str) -> None:
    try:
        names = Template(text).names
    except EvaluationError as error:
        raise TrainingError(f"{name}: {error.message}", error.hint) from None
    if "text" not in names:
        raise TrainingError(f"{name} does not name 'text'.", "Write {{ text }} where the sentence stands.")


_RANGES = {
    "count": (1, 1 << 40),
    "draw": (0, 1 << 31),
    "positives": (1, 4096),
    "negatives": (1, 4096),
    "least": (1, 4096),
    "tries": (1, 1000),
    "patience": (1, 1 << 30),
    "block": (1, 4096),
    "judge_scale": (0.001, 1 << 30),
    "below": (0, 1),
    "above": (0, 1),
    "similarity": (-1, 1),
    "shortest": (0, 1000),
    "longest": (0, 1000),
    "likelihood_gap": (0, 1000),
}
