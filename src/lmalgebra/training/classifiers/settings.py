"""What decides how a classifier is trained; from Python, a TOML file, or the command line, all under the same names."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lmalgebra.errors import TrainingError
from lmalgebra.settings_file import check_kinds, check_ranges, load


@dataclass(frozen=True)
class ClassifierSettings:
    """How a classifier is trained. Raises TrainingError for a value of the wrong kind or out of range.

    `data` are files of JSON Lines; `model` is an encoder or a causal model (a folder, hub id or catalogue name), of
    which the first `layers` are kept (0: all). Each field of `text` goes with the field in the same place of `label`
    (text, whole numbers, true or false) or of `score` (0 to 1, for the label `name`). With `pair`, each is read after
    the text in that field, as a pair: an answer after its context, a claim after its premise. All weights are trained,
    or with `head_only` those of the head, or with `lora` updates of that rank. The rate rises to `learning_rate` over
    the `warmup` share of the steps and falls to 0. Texts keep their last `max_tokens` tokens. The share `held_out` of
    the lines is only judged. `checkpoint_steps` lie between checkpoints.
    """

    data: tuple[str, ...]
    model: str
    output: str
    text: tuple[str, ...] = ("text",)
    label: tuple[str, ...] = ()
    score: tuple[str, ...] = ()
    name: str = "yes"
    pair: str = ""
    layers: int = 0
    head_only: bool = False
    lora: int = 0
    epochs: float = 3.0
    batch_size: int = 32
    learning_rate: float = 5e-5
    warmup: float = 0.1
    weight_decay: float = 0.01
    max_tokens: int = 128
    held_out: float = 0.1
    checkpoint_steps: int = 200
    seed: int = 0
    device: str = "auto"

    def __post_init__(self) -> None:
        check_kinds(self, TrainingError)
        check_ranges(self, _RANGES, TrainingError)
        for name in ("data", "model", "output", "text", "name"):
            if not all([getattr(self, name), *getattr(self, name)]):
                raise TrainingError(f"{name} is empty.", "Give it a value.")
        if bool(self.label) == bool(self.score):
            what = "Both label and score are" if self.label else "Neither label nor score is"
            raise TrainingError(f"{what} given.", "Name the field of the labels, or that of the scores.")
        if len(self.text) != len(self.target_fields):
            raise TrainingError(
                f"{len(self.text)} text fields go with {len(self.target_fields)} of {self.target}.",
                f"Give as many as there are texts: text, {self.target}, text, {self.target} ...",
            )
        if self.head_only and self.lora:
            raise TrainingError("head_only and lora exclude each other.", "Keep one of them.")

    @property
    def target(self) -> str:
        """What is learned: "label" or "score"."""
        return "label" if self.label else "score"

    @property
    def target_fields(self) -> tuple[str, ...]:
        """The fields that hold it, one for each text field."""
        return self.label or self.score


def load_settings(path: Path | None, given: Mapping[str, Any]) -> ClassifierSettings:
    """The settings of a TOML file, if there is one, with those `given` in their place; see `settings_file.load`."""
    return load(ClassifierSettings, path, given, TrainingError)


_RANGES = {
    "layers": (0, 10_000),
    "lora": (0, 4096),
    "epochs": (0.001, 10_000),
    "batch_size": (1, 1 << 16),
    "learning_rate": (0, 1),
    "warmup": (0, 0.9),
    "weight_decay": (0, 1),
    "max_tokens": (1, 1 << 20),
    "held_out": (0.001, 0.9),
    "checkpoint_steps": (1, 1 << 30),
    "seed": (0, (1 << 31) - 1),
}
