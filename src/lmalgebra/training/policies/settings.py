"""What decides how a policy is trained; from Python, a TOML file, or the command line, all under the same names."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lmalgebra.errors import TrainingError
from lmalgebra.settings_file import check_ranges, load
from lmalgebra.training.policies.learning_settings import LearningSettings, require_known
from lmalgebra.training.policies.policy_gradient import GRADIENTS
from lmalgebra.training.policies.tasks import TASKS, TaskSettings, task_values

QUARK = "quark"
OBJECTIVES = (QUARK, *GRADIENTS)

FORMULA = "base + tilt(adapter)"
"""IPA's policy, which is trained where no voice is given."""

CONTROLS = tuple(f"Quality {number} of 5.\n" for number in range(1, 6))


@dataclass(frozen=True, kw_only=True)
class AdapterSettings(LearningSettings, TaskSettings):
    """How a term of a formula learns a task (see TaskSettings, and LearningSettings for what all training has). Raises
    TrainingError for a value of the wrong kind or out of range.

    What learns: the term `train` of a voice file `voice`, or of `formula` over its terms; without a voice, of terms
    `base` of `model` and `adapter` of `adapter_model` (empty: the same), which continue texts.

    How: in each of `steps`, `samples` completions of `prompts_per_step` prompts; then updates of `batch_size`
    completions each, `epochs` times over the pool (Quark; it keeps the last `pool` completions, 0: all) or over the
    step's completions (the others). `objective` is quark, rloo, ppo or grpo. `beta` weighs the divergence from the
    reference, in nats, and `gamma` entropy; with `beta_target` or `gamma_target`, nats per token, they follow it by
    `gain`. `clip` bounds the ratio of ppo and grpo. `controls` are Quark's, the worst first; the others learn and speak
    without any.

    It ends early beyond `max_kl` nats per token, or `max_drop` standard deviations of reward lost (0: never).
    """

    train: str = "adapter"
    adapter_model: str = ""
    objective: str = QUARK
    pool: int = 1024
    beta: float = 0.05
    beta_target: float | None = None
    gamma: float = 0.0
    gamma_target: float | None = None
    gain: float = 0.1
    clip: float = 0.2
    controls: tuple[str, ...] = CONTROLS
    max_kl: float = 5.0
    max_drop: float = 3.0

    def __post_init__(self) -> None:
        super().__post_init__()
        check_ranges(self, _RANGES, TrainingError)
        if self.adapter_model and self.voice:
            raise TrainingError("adapter_model means nothing beside a voice.", "Name it in the voice file.")
        require_known(self, "objective", OBJECTIVES)
        for name in ("beta", "gamma"):
            if getattr(self, f"{name}_target") is not None and getattr(self, name) == 0:
                raise TrainingError(f"{name} = 0 cannot follow {name}_target.", f"Begin with a small {name}.")
        self._quark() if self.objective == QUARK else self._gradient()

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
    def free(self) -> tuple[str, ...]:
        return (*super().free, "evaluate_suite", "evaluate_judges", "evaluate_count")


def load_settings(config: str | None, given: Mapping[str, Any]) -> AdapterSettings:
    """The settings of a TOML file or of a packaged task, if there is one, with those `given` in their place.

    What is both is the task; ./NAME is the file. See `settings_file.load`.
    """
    if config in TASKS:
        return load(AdapterSettings, None, task_values(config) | dict(given), TrainingError)
    return load(AdapterSettings, None if config is None else Path(config), given, TrainingError)


_MOST = 1 << 30
_RANGES: dict[str, tuple[float, float]] = {
    "pool": (0, _MOST),
    "beta": (0, _MOST),
    "beta_target": (1e-9, _MOST),
    "gamma": (0, _MOST),
    "gamma_target": (1e-9, _MOST),
    "gain": (0, 1),
    "clip": (0, 1),
    "max_kl": (0, _MOST),
    "max_drop": (0, _MOST),
}
