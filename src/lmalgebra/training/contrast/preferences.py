"""Baselines that prefer a positive to a negative of the same anchor, by TRL's trainers (the extra `trl`).

DPO (Rafailov et al. 2023, arXiv 2305.18290), SimPO (Meng et al. 2024, arXiv 2405.14734) and ORPO (Hong et al. 2024,
arXiv 2403.07691). TRL ends every text with the end token, and pads.
"""

from __future__ import annotations

import logging
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from importlib.util import find_spec
from itertools import cycle, islice
from typing import TYPE_CHECKING, Any

from lmalgebra.errors import MissingExtraError
from lmalgebra.judges.template import Template
from lmalgebra.training.checkpoints import Workplace
from lmalgebra.training.contrast.groups import Group
from lmalgebra.training.contrast.settings import ContrastSettings
from lmalgebra.training.contrast.trainer import common_arguments

if TYPE_CHECKING:
    from transformers import PreTrainedModel, PreTrainedTokenizerBase, Trainer, TrainerCallback


def require_trl(settings: ContrastSettings) -> None:
    """Raise MissingExtraError where TRL is not installed."""
    if find_spec("trl") is None:
        raise MissingExtraError(
            f"The objective '{settings.objective}' needs TRL, which is not installed.",
            "Install it with: pip install 'lmalgebra[trl]'",
        )


def pairs(groups: Sequence[Group], settings: ContrastSettings) -> list[tuple[Group, str, str]]:
    """Each positive of a group with one of its negatives, and the other way round, so that all texts take part.

    At most `most_positives` and `most_negatives` of a group do, the first ones.
    """
    found = []
    for group in groups:
        positives = group.positives[: settings.most_positives or None]
        negatives = group.negatives[: settings.most_negatives or None]
        if positives and negatives:
            count = max(len(positives), len(negatives))
            both = zip(islice(cycle(positives), count), islice(cycle(negatives), count), strict=True)
            found += [(group, positive, negative) for positive, negative in both]
    return found


def preference_trainer(
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase,
    groups: Sequence[Group],
    settings: ContrastSettings,
    place: Workplace,
    callbacks: list[TrainerCallback],
) -> Trainer:
    """TRL's trainer of the objective over pairs of the groups' texts. Its batches are of pairs, not of groups."""
    from datasets import Dataset

    start = "" if tokenizer("").input_ids else tokenizer.bos_token or tokenizer.eos_token
    template = Template(settings.prompt) if settings.prompt else None
    rows = [
        {
            "prompt": start + (template.fill({"anchor": group.anchor}) if template else ""),
            "chosen": positive,
            "rejected": negative,
        }
        for group, positive, negative in pairs(groups, settings)
    ]
    if tokenizer.pad_token is None:
        tokenizer.pad_token = tokenizer.eos_token
    kind, arguments = _kind(settings, place)
    with quietly():
        return kind(
            model=model,
            args=arguments,
            train_dataset=Dataset.from_list(rows),
            processing_class=tokenizer,
            callbacks=callbacks,
        )


def _kind(settings: ContrastSettings, place: Workplace) -> tuple[type[Trainer], Any]:
    """The trainer's class, and its arguments."""
    common: dict[str, Any] = common_arguments(settings, place) | {
        "remove_unused_columns": True,
        "beta": settings.beta,
        "max_length": settings.max_tokens,
        "gradient_checkpointing": settings.gradient_checkpointing,
        "disable_dropout": False,
        "bf16": False,
    }
    with quietly():
        if settings.objective == "dpo":
            from trl import DPOConfig, DPOTrainer

            return DPOTrainer, DPOConfig(**common)
        if settings.objective == "simpo":
            from trl.experimental.cpo import CPOConfig, CPOTrainer

            return CPOTrainer, CPOConfig(**common, loss_type="simpo", cpo_alpha=0.0)
        from trl.experimental.orpo import ORPOConfig, ORPOTrainer

        return ORPOTrainer, ORPOConfig(**common)


@contextmanager
def quietly() -> Iterator[None]:
    """Keep TRL's advice and the bars of `datasets` off the terminal."""
    import datasets

    log = logging.getLogger("trl")
    level, bars = log.level, datasets.are_progress_bars_disabled()
    log.setLevel(logging.ERROR)
    datasets.disable_progress_bars()
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        log.setLevel(level)
        if not bars:
            datasets.enable_progress_bars()
