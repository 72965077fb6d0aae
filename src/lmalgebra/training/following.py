"""What trainings with Transformers' Trainer have in common: they tell of each step, and stop after any if asked to."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from transformers import Trainer, TrainerCallback, TrainerControl, TrainerState, TrainingArguments

from lmalgebra.training.checkpoints import Stop, Stopped

Advance = Callable[[int, int, float | None], None]
"""Hears of each step: how many are done, of how many, and the loss (nats) where it was taken."""

LOGGED = 50
"""Times in a training at which the loss is taken, which is the mean since the time before."""


class Follower(TrainerCallback):
    """Tells of each step, and saves and stops after one when asked to."""

    def __init__(self, advance: Advance, stop: Stop) -> None:
        self._advance, self._stop = advance, stop
        self._loss: float | None = None

    def on_train_begin(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **_: Any) -> None:
        self._advance(state.global_step, state.max_steps, None)

    def on_log(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **given: Any) -> None:
        self._loss = (given.get("logs") or {}).get("loss", self._loss)

    def on_step_end(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **_: Any) -> None:
        self._advance(state.global_step, state.max_steps, self._loss)
        if state.global_step < state.max_steps and self._stop():
            control.should_save = control.should_training_stop = True


def refuse_if_stopped(trainer: Trainer) -> None:
    """Raise Stopped where the training has not come to its end."""
    state = trainer.state
    if state.global_step < state.max_steps:
        raise Stopped.after(state.global_step, state.max_steps)


def losses(trainer: Trainer) -> list[dict[str, Any]]:
    """The losses on the way, each with its step."""
    return [
        {"step": each["step"], "loss": round(each["loss"], 4)} for each in trainer.state.log_history if "loss" in each
    ]
