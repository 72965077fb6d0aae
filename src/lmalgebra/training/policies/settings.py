"""What decides how a policy is trained; from Python, a TOML file, or the command line, all under the same names."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lmalgebra.errors import TrainingError
from lmalgebra.settings_file import check_ranges, load
from lmalgebra.training.policies.policy_gradient import GRADIENTS
from lmalgebra.training.policies.tasks import TASKS, TaskSettings, task_values

QUARK = "quark"
OBJECTIVES = (QUARK, *GRADIENTS)
KINDS = ("lora", "model")
PRECISIONS = ("auto", "float32", "bfloat16")

FORMULA = "base + tilt(adapter)"
"""IPA's policy, which is trained where no voice is given."""

CONTROLS = tuple(f"Quality {number} of 5.\n" for number in range(1, 6))


@dataclass(frozen=True, kw_only=True)
class AdapterSettings(TaskSettings):
    """How a term of a formula learns a task (see TaskSettings). Raises TrainingError for a value of the wrong kind or
    out of range.

    What learns: the term `train` of a voice file `voice`, or of `formula` over its terms; without a voice, of terms
    `base` of `model` and `adapter` of `adapter_model` (empty: the same), which continue texts. `kind` "lora" trains
    low-rank changes of the term's model (`rank`, `alpha`, on linear layers whose names end in `targets`; none: all),
    "model" all of its weights, or with `layers` or `hidden_size` those of a new one like it. In `precision` frozen
    models compute; with `gradient_checkpointing` layers are computed again instead of remembered.

    How: in each of `steps`, `samples` completions of `prompts_per_step` prompts; then updates of `batch_size`
    completions each, `epochs` times over the pool (Quark; it keeps the last `pool` completions, 0: all) or over the
    step's completions (the others). The rate rises to `learning_rate` over the `warmup` share of the updates and falls
    to 0; gradients longer than `max_grad_norm` are shortened. `objective` is quark, rloo, ppo or grpo. `beta` weighs
    the divergence from the reference, in nats, and `gamma` entropy; with `beta_target` or `gamma_target`, nats per
    token, they follow it by `gain`. `clip` bounds the ratio of ppo and grpo. `controls` are Quark's, the worst first;
    the others learn and speak without any.

    It ends early beyond `max_kl` nats per token, or `max_drop` standard deviations of reward lost (0: never). The
    held-out prompts are judged at the start, at the end, and after every `validation_steps` (0: never). Checkpoints
    lie `checkpoint_steps` apart; `trackers` are told of each step; the result goes to `output`.
    """

    output: str
    voice: str = ""
    formula: str = ""
    model: str = ""
    adapter_model: str = ""
    train: str = "adapter"
    kind: str = "lora"
    rank: int = 8
    alpha: float = 16.0
    targets: tuple[str, ...] = ()
    layers: int = 0
    hidden_size: int = 0
    validation_steps: int = 0
    objective: str = QUARK
    steps: int = 100
    prompts_per_step: int = 16
    samples: int = 4
    batch_size: int = 8
    epochs: float = 1.0
    pool: int = 1024
    learning_rate: float = 2e-4
    warmup: float = 0.05
    weight_decay: float = 0.0
    max_grad_norm: float = 1.0
    beta: float = 0.05
    beta_target: float | None = None
    gamma: float = 0.0
    gamma_target: float | None = None
    gain: float = 0.1
    clip: float = 0.2
    controls: tuple[str, ...] = CONTROLS
    max_kl: float = 5.0
    max_drop: float = 3.0
    precision: str = "auto"
    gradient_checkpointing: bool = False
    checkpoint_steps: int = 10
    trackers: tuple[str, ...] = ("tensorboard",)
    seed: int = 0
    device: str = "auto"

    def __post_init__(self) -> None:
        super().__post_init__()
        check_ranges(self, _RANGES, TrainingError)
        self._what_learns()
        for name, known in (("objective", OBJECTIVES), ("kind", KINDS), ("precision", PRECISIONS)):
            if getattr(self, name) not in known:
                raise TrainingError(f"{name} = '{getattr(self, name)}' is unknown.", f"Known: {', '.join(known)}.")
        for name in ("beta", "gamma"):
            if getattr(self, f"{name}_target") is not None and getattr(self, name) == 0:
                raise TrainingError(f"{name} = 0 cannot follow {name}_target.", f"Begin with a small {name}.")
        self._quark() if self.objective == QUARK else self._gradient()

    def _what_learns(self) -> None:
        for name in ("output", "train"):
            if not getattr(self, name):
                raise TrainingError(f"{name} is empty.", "Give it a value.")
        if bool(self.voice) == bool(self.model):
            what = "Both voice and model are" if self.voice else "Neither voice nor model is"
            raise TrainingError(f"{what} given.", "Name the voice file, or the model of base and adapter.")
        if self.adapter_model and self.voice:
            raise TrainingError("adapter_model means nothing beside a voice.", "Name it in the voice file.")
        if (self.layers or self.hidden_size) and self.kind != "model":
            raise TrainingError("layers and hidden_size are of new models.", 'Leave them out, or use kind = "model".')

    def _quark(self) -> None:
        if len(self.controls) < 2 or len(set(self.controls)) < len(self.controls):
            raise TrainingError(
                "controls must be two or more, all different.", "Leave them out, or name every quantile's."
            )

    def _gradient(self) -> None:
        """Policy gradients are those of the policy that samples, and compare completions of one prompt."""
        if self.temperature != 1 or self.top_p != 1:
            name = "temperature" if self.temperature != 1 else "top_p"
            raise TrainingError(
                f"'{self.objective}' learns from what the policy itself says, not at {name} = {getattr(self, name):g}.",
                f"Leave {name} out, or use quark.",
            )
        if self.samples < 2:
            raise TrainingError(
                f"'{self.objective}' compares completions of one prompt.", "Raise samples to 2 or more."
            )

    @property
    def best_control(self) -> str:
        """What the trained term reads first when it speaks: Quark's best control."""
        return self.controls[-1] if self.objective == QUARK else ""

    @property
    def decisive(self) -> dict[str, Any]:
        """What decides the trajectory: going on with other values is refused."""
        free = ("output", "trackers", "checkpoint_steps", "evaluate_suite", "evaluate_judges", "evaluate_count")
        return {name: value for name, value in vars(self).items() if name not in free}


def load_settings(config: str | None, given: Mapping[str, Any]) -> AdapterSettings:
    """The settings of a TOML file or of a packaged task, if there is one, with those `given` in their place.

    What is both is the task; ./NAME is the file. See `settings_file.load`.
    """
    if config in TASKS:
        return load(AdapterSettings, None, task_values(config) | dict(given), TrainingError)
    return load(AdapterSettings, None if config is None else Path(config), given, TrainingError)


_MOST = 1 << 30
_RANGES: dict[str, tuple[float, float]] = {
    "rank": (1, 4096),
    "alpha": (0, 1 << 16),
    "layers": (0, 1 << 16),
    "hidden_size": (0, 1 << 20),
    "validation_steps": (0, _MOST),
    "steps": (1, _MOST),
    "prompts_per_step": (1, 1 << 20),
    "samples": (1, 1 << 16),
    "batch_size": (1, 1 << 16),
    "epochs": (0.001, 10_000),
    "pool": (0, _MOST),
    "learning_rate": (0, 1),
    "warmup": (0, 0.9),
    "weight_decay": (0, 1),
    "max_grad_norm": (1e-9, _MOST),
    "beta": (0, _MOST),
    "beta_target": (1e-9, _MOST),
    "gamma": (0, _MOST),
    "gamma_target": (1e-9, _MOST),
    "gain": (0, 1),
    "clip": (0, 1),
    "max_kl": (0, _MOST),
    "max_drop": (0, _MOST),
    "checkpoint_steps": (1, _MOST),
    "seed": (0, (1 << 31) - 1),
}
