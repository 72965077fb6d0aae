"""Training a model by contrast: groups, a network, Transformers' Trainer (or one of TRL's), and a folder.

In this order: 1. groups are read and some held out; 2. the network is loaded and measured; 3. it is trained, with
checkpoints and measurements; 4. the folder appears, whole: an adapter as PEFT saves it, or a model.

The same settings and data give the same weights on the same machine, whether it was stopped in between or not.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lmalgebra.models.loading import quiet
from lmalgebra.models.store import Report, silent
from lmalgebra.training.checkpoints import Stop, Workplace
from lmalgebra.training.contrast.card import write_card
from lmalgebra.training.contrast.encoding import Drawn, Encoder, GroupSet
from lmalgebra.training.contrast.groups import Group, read_groups, read_texts, split
from lmalgebra.training.contrast.network import merged, open_network, quiet_peft, save_updates, start_of
from lmalgebra.training.contrast.settings import PREFERENCES, ContrastSettings

if TYPE_CHECKING:
    from transformers import PreTrainedModel, PreTrainedTokenizerBase, Trainer

    from lmalgebra.training.contrast.continuing import Continued
    from lmalgebra.training.contrast.trainer import Watcher
    from lmalgebra.training.following import Advance


@dataclass(frozen=True)
class Trained:
    """What came of a training: its folder, and the measures of the held-out groups before and after.

    `ended` says why it ended before its last step, where it did.
    """

    folder: Path
    before: dict[str, float]
    after: dict[str, float]
    ended: str


def train_contrast(
    settings: ContrastSettings,
    *,
    resume: bool = False,
    report: Report = silent,
    advance: Advance = lambda step, steps, loss: None,
    stop: Stop = lambda: False,
) -> Trained:
    """Train a model by contrast and put it into `settings.output`; `resume` goes on with a training that was stopped.

    Raises TrainingError for data or settings that cannot be used, a loss that is no number and a disk that is full,
    ModelError for a model that cannot be loaded, MissingExtraError for a library that is missing, Stopped when `stop`
    said so.
    """
    from lmalgebra.training.contrast.trainer import require_trackers, tracked_beside
    from lmalgebra.training.following import losses, refuse_if_stopped

    if settings.objective in PREFERENCES:
        from lmalgebra.training.contrast.preferences import require_trl

        require_trl(settings)
    require_trackers(settings)
    kept, held, utility = _data(settings, report)
    with Workplace(settings.output, asdict(settings) | {"groups": _digest(kept, held, utility)}, resume) as place:
        model, tokenizer = open_network(settings, report)
        with tracked_beside(place):  # trackers begin with the trainer
            trainer, watcher = _prepared(model, tokenizer, (kept, held, utility), settings, place, report)
        follow(trainer, advance, stop)
        with place.disk_errors(), quiet(), quiet_peft():
            checkpoint = place.last_checkpoint()
            trainer.train(resume_from_checkpoint=None if checkpoint is None else str(checkpoint))
            if not watcher.ended:
                refuse_if_stopped(trainer)
        found = {
            "groups": {"train": len(kept), "held_out": len(held)},
            "ended": watcher.ended,
            "measured": watcher.measured,
            "losses": losses(trainer),
        }
        place.finish(lambda folder: _write(folder, model, tokenizer, settings, found))
    before, after = (
        {name: each[name] for name in each if name != "step"} for each in (watcher.measured[0], watcher.result)
    )
    return Trained(place.output, before, after, watcher.ended)


def follow(trainer: Trainer, advance: Advance, stop: Stop) -> None:
    """Let `advance` hear of each step of the trainer, and `stop` end it."""
    from lmalgebra.training.following import Follower

    trainer.add_callback(Follower(advance, stop))


def _data(settings: ContrastSettings, report: Report) -> tuple[list[Group], list[Group], tuple[str, ...]]:
    """The groups to train on and to hold out, and the utility texts."""
    groups = read_groups(settings)
    utility = read_texts(settings.utility, settings.utility_field) if settings.utility else ()
    kept, held = split(groups.groups, settings)
    same = f"; {groups.left_out:,} that say the same on both sides are left out" if groups.left_out else ""
    report(f"{len(kept):,} groups to train on, {len(held):,} held out{same}.")
    return kept, held, utility


def _prepared(
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase,
    data: tuple[list[Group], list[Group], Sequence[str]],
    settings: ContrastSettings,
    place: Workplace,
    report: Report,
) -> tuple[Trainer, Watcher]:
    """The trainer of the objective, and what measures meanwhile; the network is measured before any step."""
    from lmalgebra.training.contrast.measuring import HeldOut
    from lmalgebra.training.contrast.packing import packs_exactly
    from lmalgebra.training.contrast.trainer import Watcher, quiet_trainer

    kept, held, utility = data
    encoder = Encoder(tokenizer, settings)
    groups = [encoder.whole(group) for group in held]
    held_out = HeldOut(groups, encoder.plain(utility), _continued(groups, tokenizer, settings))
    with quiet():
        pack = packs_exactly(model)
        if not pack:
            report(f"'{settings.model}' reads a sequence otherwise in company, so each gets a row of its own, padded.")
        report("Measuring the held-out groups ...")
        before = held_out.measure(model, pack)
        if advice := _advice(settings, before):
            report(advice)
        watcher = Watcher(held_out, settings, pack, before)
        if settings.objective in PREFERENCES:
            from lmalgebra.training.contrast.preferences import preference_trainer

            trainer = preference_trainer(model, tokenizer, kept, settings, place, [watcher])
        else:
            trainer = _contrast_trainer(model, GroupSet(kept, encoder, settings), settings, place, watcher, pack)
    return quiet_trainer(trainer, watcher), watcher


def _continued(
    groups: Sequence[Drawn], tokenizer: PreTrainedTokenizerBase, settings: ContrastSettings
) -> Continued | None:
    """What is continued and judged, if a judge is named. Raises LmalgebraError where there is no such judge."""
    from lmalgebra.judges import judge_of
    from lmalgebra.training.contrast.continuing import Continued, openings_of

    openings = openings_of(groups)
    if not settings.judge or not openings:
        return None
    judge = judge_of(settings.judge)
    judge.about()
    return Continued(openings, tokenizer, judge)


def _advice(settings: ContrastSettings, before: dict[str, float]) -> str:
    """What to tell of groups that the absolute distance would move the wrong way, or nothing."""
    wrong = 1 - before.get("separated", 1.0)
    if settings.objective != "contrast" or settings.distance == "signed" or wrong < 0.1:
        return ""
    more = "" if settings.loss == "softmax" else " (distance = 'signed' makes them less likely)"
    return (
        f"In {wrong:.0%} of the held-out groups negatives are likelier; training makes such ones likelier still{more}."
    )


def _contrast_trainer(
    model: PreTrainedModel, groups: GroupSet, settings: ContrastSettings, place: Workplace, watcher: Watcher, pack: bool
) -> Trainer:
    from transformers import TrainingArguments

    from lmalgebra.training.contrast.trainer import Collator, ContrastTrainer, Epochs, common_arguments

    return ContrastTrainer(
        settings,
        start_of(model, settings) if settings.kl else None,  # which may be a second copy of all weights
        model=model,
        args=TrainingArguments(**common_arguments(settings, place)),
        train_dataset=groups,  # type: ignore[arg-type]
        data_collator=Collator(pack),
        callbacks=[watcher, Epochs(groups)],
    )


def _write(
    folder: Path,
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase,
    settings: ContrastSettings,
    found: dict[str, Any],
) -> None:
    """Fill the folder of the result: the adapter, or the model, with the adapter in it where updates were merged."""
    with quiet():
        if settings.method == "full":
            model.save_pretrained(folder)
            tokenizer.save_pretrained(folder)
        elif settings.merge:
            save_updates(model, settings, folder / "adapter")
            merged(model, settings, str(folder / "adapter")).save_pretrained(folder)
            tokenizer.save_pretrained(folder)
        else:
            save_updates(model, settings, folder)
    write_card(folder, settings, found)


def _digest(*data: Sequence[Any]) -> str:
    """Tells data apart, so that nothing goes on with others."""
    plain = [[asdict(each) if isinstance(each, Group) else each for each in part] for part in data]
    return hashlib.sha256(json.dumps(plain).encode()).hexdigest()[:16]
