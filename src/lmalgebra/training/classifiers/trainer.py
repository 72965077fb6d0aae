"""Transformers' Trainer as it is used here: quiet, repeatable, and stoppable after any step."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from transformers import (
    DataCollatorWithPadding,
    PreTrainedModel,
    PreTrainedTokenizerBase,
    PrinterCallback,
    Trainer,
    TrainerCallback,
    TrainerControl,
    TrainerState,
    TrainingArguments,
)

from lmalgebra.models.loading import choose_device
from lmalgebra.models.sequence_classifier import read
from lmalgebra.training.checkpoints import KEPT, Stop, Stopped, Workplace
from lmalgebra.training.classifiers.data import Examples
from lmalgebra.training.classifiers.settings import ClassifierSettings

Advance = Callable[[int, int, float | None], None]
"""Hears of each step: how many are done, of how many, and the loss (nats) where it was taken."""

LOGGED = 50
"""Times in a training at which the loss is taken, which is the mean since the time before."""


def fit(
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase,
    kept: Examples,
    settings: ClassifierSettings,
    place: Workplace,
    advance: Advance,
    stop: Stop,
) -> list[dict[str, Any]]:
    """Train `model` in place, from the last checkpoint where there is one. Returns the losses on the way.

    Raises Stopped when `stop` said so, and whatever the disk raises.
    """
    trainer = Trainer(
        model=model,
        args=_arguments(settings, place),
        train_dataset=_encoded(kept, tokenizer, settings.max_tokens),  # type: ignore[arg-type]
        data_collator=DataCollatorWithPadding(tokenizer),
        callbacks=[_Follower(advance, stop)],
    )
    trainer.remove_callback(PrinterCallback)
    checkpoint = place.last_checkpoint()
    trainer.train(resume_from_checkpoint=None if checkpoint is None else str(checkpoint))
    state = trainer.state
    if state.global_step < state.max_steps:
        raise Stopped.after(state.global_step, state.max_steps)
    return [{"step": each["step"], "loss": round(each["loss"], 4)} for each in state.log_history if "loss" in each]


def _arguments(settings: ClassifierSettings, place: Workplace) -> TrainingArguments:
    return TrainingArguments(
        output_dir=str(place.unfinished),
        per_device_train_batch_size=settings.batch_size,
        num_train_epochs=settings.epochs,
        learning_rate=settings.learning_rate,
        warmup_steps=settings.warmup,
        weight_decay=settings.weight_decay,
        save_steps=settings.checkpoint_steps,
        save_total_limit=KEPT,
        logging_steps=1 / LOGGED,
        seed=settings.seed,
        data_seed=settings.seed,
        use_cpu=choose_device(settings.device) == "cpu",
        dataloader_pin_memory=False,
        disable_tqdm=True,
        report_to="none",
    )


def _encoded(examples: Examples, tokenizer: PreTrainedTokenizerBase, max_tokens: int) -> list[dict[str, Any]]:
    """What the network reads of each example, and what it should answer. Control tokens in texts are plain text."""
    found = read(tokenizer, examples.texts, max_tokens)
    targets = [[each] if examples.has_scores else int(each) for each in examples.targets]
    names = [name for name in ("input_ids", "token_type_ids", "attention_mask") if name in found]
    return [{name: found[name][place] for name in names} | {"labels": target} for place, target in enumerate(targets)]


class _Follower(TrainerCallback):
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
