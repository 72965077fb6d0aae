"""Transformers' Trainer as it is used here: quiet, repeatable, and stoppable after any step."""

from __future__ import annotations

from typing import Any

from transformers import (
    DataCollatorWithPadding,
    PreTrainedModel,
    PreTrainedTokenizerBase,
    PrinterCallback,
    Trainer,
    TrainingArguments,
)

from lmalgebra.models.loading import choose_device
from lmalgebra.models.sequence_classifier import read
from lmalgebra.training.checkpoints import KEPT, Stop, Workplace
from lmalgebra.training.classifiers.data import Examples
from lmalgebra.training.classifiers.settings import ClassifierSettings
from lmalgebra.training.following import LOGGED, Advance, Follower, losses, refuse_if_stopped


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
        callbacks=[Follower(advance, stop)],
    )
    trainer.remove_callback(PrinterCallback)
    checkpoint = place.last_checkpoint()
    trainer.train(resume_from_checkpoint=None if checkpoint is None else str(checkpoint))
    refuse_if_stopped(trainer)
    return losses(trainer)


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
