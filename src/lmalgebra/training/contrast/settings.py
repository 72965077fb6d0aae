"""What decides how a model is trained by contrast; from Python, a TOML file, or the command line, by the same names."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lmalgebra.errors import TrainingError
from lmalgebra.settings_file import check_kinds, check_ranges, load

PREFERENCES = ("dpo", "simpo", "orpo")
"""Objectives that TRL computes, of pairs of a positive and a negative."""

CHOICES = {
    "objective": ("contrast", "positives", "negatives", *PREFERENCES),
    "phi": ("log-perplexity", "perplexity"),
    "loss": ("ratio", "softmax"),
    "distance": ("absolute", "signed"),
    "prototype": ("group", "batch"),
    "method": ("lora", "full", "qlora"),
    "dtype": ("auto", "float32", "bfloat16", "float16"),
}
"""The settings that are one of several names; the first is the default."""


@dataclass(frozen=True)
class ContrastSettings:
    """How a model is trained by contrast. Raises TrainingError for a value of the wrong kind or out of range.

    Data: `data` are files of JSON Lines or Parquet, or `hub:` data sets; `positives` and `negatives` name the fields
    with a text or a list of texts, `anchor` one with what they all mean, whose equal rows are one group. phi of a text
    is taken after `prompt`, a template over `anchor`; of each text the first `max_tokens` count, and its end token with
    `end_token`. The share `held_out` of the groups, at most `held_out_groups`, is only measured; or those of
    `held_out_data` are.

    Objective: see `objective.py`. `most_positives` and `most_negatives` of each side (0: all) and `random_negatives` of
    other anchors are drawn anew in each epoch. `beta` is that of DPO, SimPO and ORPO.

    Training: `method` trains LoRA updates of `rank`, scaled by `lora_scale`, in `targets`, or all weights; `merge` lays
    updates into the weights. `batch_size` groups times `accumulation` make a step; after `steps` it ends (0: after
    `epochs`). The rate rises over the share `warmup` of the steps and falls to 0. Every `evaluate_steps` the held-out
    groups are measured, and the texts of `utility`, in the field `utility_field`; training ends where the perplexity
    of these is above `utility_limit` times that at the start. `judge`, as in evaluations, scores what is said after the
    first half of held-out negatives. `trackers` are told of each step.
    """

    data: tuple[str, ...]
    model: str
    output: str
    anchor: str = "anchor"
    positives: tuple[str, ...] = ("positives",)
    negatives: tuple[str, ...] = ("negatives",)
    prompt: str = ""
    max_tokens: int = 128
    end_token: bool = False
    held_out: float = 0.1
    held_out_groups: int = 200
    held_out_data: tuple[str, ...] = ()
    objective: str = "contrast"
    phi: str = "log-perplexity"
    loss: str = "ratio"
    distance: str = "absolute"
    prototype: str = "group"
    prototype_gradient: bool = True
    tau: float = 1.0
    alpha: float = 1.0
    most_positives: int = 0
    most_negatives: int = 0
    random_negatives: int = 0
    likelihood: float = 0.0
    kl: float = 0.0
    beta: float = 0.1
    method: str = "lora"
    rank: int = 16
    lora_scale: float = 2.0
    lora_dropout: float = 0.0
    targets: tuple[str, ...] = ("all-linear",)
    merge: bool = False
    epochs: float = 3.0
    steps: int = 0
    batch_size: int = 8
    accumulation: int = 1
    learning_rate: float = 1e-4
    warmup: float = 0.1
    weight_decay: float = 0.0
    max_gradient: float = 1.0
    gradient_checkpointing: bool = False
    utility: str = ""
    utility_field: str = "text"
    utility_limit: float = 1.1
    judge: str = ""
    evaluate_steps: int = 50
    checkpoint_steps: int = 200
    trackers: tuple[str, ...] = ("none",)
    seed: int = 0
    device: str = "auto"
    dtype: str = "auto"

    def __post_init__(self) -> None:
        check_kinds(self, TrainingError)
        check_ranges(self, _RANGES, TrainingError)
        for name in ("data", "model", "output", "positives", "negatives", "targets", "trackers"):
            if not all([getattr(self, name), *getattr(self, name)]):
                raise TrainingError(f"{name} is empty.", "Give it a value.")
        for name, known in CHOICES.items():
            if getattr(self, name) not in known:
                raise TrainingError(f"There is no {name} '{getattr(self, name)}'.", f"Use {', '.join(known)}.")
        if unknown := set(self.trackers) - set(TRACKERS):
            raise TrainingError(f"There is no tracker '{min(unknown)}'.", f"Use {', '.join(TRACKERS)}.")
        self._refuse_what_would_be_ignored()

    def _refuse_what_would_be_ignored(self) -> None:
        """An option that the objective or the method does not have is an error, not nothing."""
        if self.objective != "contrast":
            self._refuse(_OF_CONTRAST, f"the objective '{self.objective}'", "the objective 'contrast'")
        if self.objective not in PREFERENCES:
            self._refuse(("beta",), f"the objective '{self.objective}'", "dpo, simpo and orpo")
        if self.objective in PREFERENCES:
            self._refuse(("end_token",), f"the objective '{self.objective}', where texts always end", "the others")
        if self.method == "full":
            self._refuse(
                ("rank", "lora_scale", "lora_dropout", "targets", "merge"), "the method 'full'", "lora and qlora"
            )
        if self.loss == "softmax" and self.distance == "signed":
            raise TrainingError("distance = 'signed' is not for loss = 'softmax'.", "Leave one of them out.")

    def _refuse(self, names: tuple[str, ...], chosen: str, owner: str) -> None:
        for name in names:
            if getattr(self, name) != getattr(ContrastSettings, name):
                raise TrainingError(f"{name} is nothing to {chosen}.", f"It is for {owner}; leave it out.")

    @property
    def needs_positives(self) -> bool:
        """Whether a group without positives teaches nothing."""
        return self.objective != "negatives"

    @property
    def needs_negatives(self) -> bool:
        """The same for negatives, of which other anchors may give some."""
        return self.objective != "positives" and not self.random_negatives


def load_settings(path: Path | None, given: Mapping[str, Any]) -> ContrastSettings:
    """The settings of a TOML file, if there is one, with those `given` in their place; see `settings_file.load`."""
    return load(ContrastSettings, path, given, TrainingError)


TRACKERS = ("none", "tensorboard", "wandb", "trackio")
"""What can hear of losses and measures on the way; each but the first is a package of its own."""

_OF_CONTRAST = (
    *("phi", "loss", "distance", "prototype", "prototype_gradient", "tau", "alpha"),
    *("random_negatives", "likelihood", "kl"),
)
"""Settings of the objective 'contrast' alone."""

_MOST = (1 << 31) - 1

_RANGES = {
    "max_tokens": (1, 1 << 20),
    "held_out": (0.001, 0.9),
    "held_out_groups": (1, _MOST),
    "tau": (1e-4, 10_000),
    "alpha": (1e-6, 10_000),
    "most_positives": (0, _MOST),
    "most_negatives": (0, _MOST),
    "random_negatives": (0, 4096),
    "likelihood": (0, 10_000),
    "kl": (0, 10_000),
    "beta": (1e-6, 10_000),
    "rank": (1, 4096),
    "lora_scale": (1e-6, 10_000),
    "lora_dropout": (0, 0.9),
    "epochs": (0.001, 10_000),
    "steps": (0, _MOST),
    "batch_size": (1, 1 << 16),
    "accumulation": (1, 1 << 16),
    "learning_rate": (0, 1),
    "warmup": (0, 0.9),
    "weight_decay": (0, 1),
    "max_gradient": (1e-6, _MOST),
    "utility_limit": (1, 10_000),
    "evaluate_steps": (1, _MOST),
    "checkpoint_steps": (1, _MOST),
    "seed": (0, _MOST),
}
