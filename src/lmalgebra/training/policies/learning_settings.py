"""What decides every training of a term: what learns in it, how updates are made, where it runs and what it leaves."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from lmalgebra.errors import TrainingError
from lmalgebra.settings_file import check_ranges
from lmalgebra.training.policies.tasks import PromptSettings, require_text

KINDS = ("lora", "model")
PRECISIONS = ("auto", "float32", "bfloat16")


@dataclass(frozen=True, kw_only=True)
class LearningSettings(PromptSettings):
    """How a term learns after prompts (see PromptSettings). Raises TrainingError for a value of the wrong kind or out
    of range.

    The voice is that of a file `voice`, or without one what terms of `model` say; `formula` replaces its own. `kind`
    "lora" trains low-rank changes of the model of the term `train` (`rank`, `alpha`, on linear layers whose names end
    in `targets`; none: all), "model" all of its weights, or with `layers` or `hidden_size` those of a new one like it.
    In `precision` frozen models compute; with `gradient_checkpointing` layers are computed again instead of remembered.

    In each of `steps` there are `samples` completions of `prompts_per_step` prompts and updates of `batch_size`
    completions each, `epochs` times over them. The rate rises to `learning_rate` over the `warmup` share of the updates
    and falls to 0; gradients longer than `max_grad_norm` are shortened.

    The held-out prompts are judged at the start, at the end, and after every `validation_steps` (0: never). Checkpoints
    lie `checkpoint_steps` apart; `trackers` are told of each step; the result goes to `output`.
    """

    output: str
    train: str
    voice: str = ""
    formula: str = ""
    model: str = ""
    kind: str = "lora"
    rank: int = 8
    alpha: float = 16.0
    targets: tuple[str, ...] = ()
    layers: int = 0
    hidden_size: int = 0
    validation_steps: int = 0
    steps: int = 100
    prompts_per_step: int = 16
    samples: int = 4
    batch_size: int = 8
    epochs: float = 1.0
    learning_rate: float = 2e-4
    warmup: float = 0.05
    weight_decay: float = 0.0
    max_grad_norm: float = 1.0
    precision: str = "auto"
    gradient_checkpointing: bool = False
    checkpoint_steps: int = 10
    trackers: tuple[str, ...] = ("tensorboard",)
    seed: int = 0
    device: str = "auto"

    def __post_init__(self) -> None:
        super().__post_init__()
        check_ranges(self, _RANGES, TrainingError)
        require_text(self, "output", "train")
        if bool(self.voice) == bool(self.model):
            what = "Both voice and model are" if self.voice else "Neither voice nor model is"
            raise TrainingError(f"{what} given.", "Name the voice file, or the model of its terms.")
        if (self.layers or self.hidden_size) and self.kind != "model":
            raise TrainingError("layers and hidden_size are of new models.", 'Leave them out, or use kind = "model".')
        require_known(self, "kind", KINDS)
        require_known(self, "precision", PRECISIONS)

    @property
    def free(self) -> tuple[str, ...]:
        """The names of settings that do not decide the trajectory."""
        return ("output", "trackers", "checkpoint_steps")

    @property
    def decisive(self) -> dict[str, Any]:
        """What decides the trajectory: going on with other values is refused."""
        return {name: value for name, value in vars(self).items() if name not in self.free}


def require_known(settings: Any, name: str, known: Sequence[str]) -> None:
    """Raise TrainingError for a setting that is none of `known`."""
    if getattr(settings, name) not in known:
        raise TrainingError(f"{name} = '{getattr(settings, name)}' is unknown.", f"Known: {', '.join(known)}.")


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
    "learning_rate": (0, 1),
    "warmup": (0, 0.9),
    "weight_decay": (0, 1),
    "max_grad_norm": (1e-9, _MOST),
    "checkpoint_steps": (1, _MOST),
    "seed": (0, (1 << 31) - 1),
}
