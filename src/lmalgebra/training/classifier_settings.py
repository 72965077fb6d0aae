"""What decides how a classifier is trained; from Python, a TOML file, or the command line, all under the same names."""

from __future__ import annotations

import difflib
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

from lmalgebra.errors import TrainingError


@dataclass(frozen=True)
class ClassifierSettings:
    """How a classifier is trained. Raises TrainingError for a value of the wrong kind or out of range.

    `data` are files of JSON Lines; `model` is an encoder or a causal model (a folder, hub id or catalogue name), of
    which the first `layers` are kept (0: all). Each field of `text` goes with the field in the same place of `label`
    (text, whole numbers, true or false) or of `score` (0 to 1, for the label `name`). All weights are trained, or with
    `head_only` those of the head, or with `lora` updates of that rank. The rate rises to `learning_rate` over the
    `warmup` share of the steps and falls to 0. Texts keep their last `max_tokens` tokens. The share `held_out` of the
    lines is only judged. `checkpoint_steps` lie between checkpoints.
    """

    data: tuple[str, ...]
    model: str
    output: str
    text: tuple[str, ...] = ("text",)
    label: tuple[str, ...] = ()
    score: tuple[str, ...] = ()
    name: str = "yes"
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
        for field in fields(self):
            value = _of_kind(field.name, str(field.type), getattr(self, field.name))
            object.__setattr__(self, field.name, value)
        for name, (least, most) in _RANGES.items():
            if not least <= getattr(self, name) <= most:
                raise TrainingError(f"{name} = {getattr(self, name)} is out of range.", f"Give {_range(least, most)}.")
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
    """The settings of a TOML file, if there is one, with those `given` in their place.

    Paths in the file start where the command is run. Raises TrainingError for a file that cannot be read, an unknown
    key, or a value that is missing.
    """
    values = (_read(path) if path is not None else {}) | dict(given)
    known = [field.name for field in fields(ClassifierSettings)]
    for key in values:
        if key not in known:
            close = difflib.get_close_matches(key, known, n=1)
            hint = f"Did you mean '{close[0]}'?" if close else f"Known: {', '.join(known)}."
            raise TrainingError(f"{path} has no setting '{key}'.", hint)
    missing = [key for key in ("data", "model", "output") if key not in values]
    if missing:
        raise TrainingError(
            f"{missing[0]} is not given.", f"Add --{missing[0]} on the command line, or {missing[0]} = ... in a file."
        )
    return ClassifierSettings(**values)


def _read(path: Path) -> dict[str, Any]:
    try:
        return tomllib.loads(path.read_bytes().decode())
    except FileNotFoundError:
        raise TrainingError(f"There is no file of settings '{path}'.", "Check the path.") from None
    except OSError as error:
        raise TrainingError(f"The settings '{path}' cannot be read: {error.strerror}.", "Check the path.") from None
    except ValueError as error:
        raise TrainingError(f"{path} is not valid TOML: {error}.", "Mend it there; text needs quotes.") from None


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


def _range(least: float, most: float) -> str:
    return f"at least {least}" if most > 4096 else f"a number from {least} to {most}"


def _of_kind(name: str, kind: str, value: Any) -> Any:
    """`value` as the field wants it: one text where several may stand is a list of one, a whole number is a number."""
    if kind.startswith("tuple"):
        several = (value,) if isinstance(value, str) else value
        if isinstance(several, list | tuple) and all(isinstance(each, str) for each in several):
            return tuple(several)
        raise TrainingError(f"{name} = {value!r} is neither text nor a list of texts.", "Put it in quotes.")
    kinds = {"str": str, "int": int, "bool": bool, "float": (int, float)}
    names = {"str": "text", "int": "a whole number", "bool": "true or false", "float": "a number"}
    if not isinstance(value, kinds[kind]) or (isinstance(value, bool) and kind != "bool"):
        raise TrainingError(f"{name} = {value!r} is not {names[kind]}.", f"Give {names[kind]}.")
    return float(value) if kind == "float" else value
