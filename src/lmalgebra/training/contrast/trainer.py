"""Transformers' Trainer with the loss of contrastive perplexity, and what goes on while it trains."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from importlib.util import find_spec
from typing import Any

import torch
from torch import Tensor
from transformers import (
    PreTrainedModel,
    PrinterCallback,
    Trainer,
    TrainerCallback,
    TrainerControl,
    TrainerState,
    TrainingArguments,
)

from lmalgebra.errors import MissingExtraError, TrainingError
from lmalgebra.models.loading import choose_device
from lmalgebra.training.checkpoints import KEPT, Workplace
from lmalgebra.training.contrast.encoding import Drawn, GroupSet
from lmalgebra.training.contrast.measuring import HeldOut
from lmalgebra.training.contrast.objective import Contrast, Phis, divergence, phi_of
from lmalgebra.training.contrast.packing import Batch, packed, padded, scored_logits, sequence_means, token_losses
from lmalgebra.training.contrast.settings import ContrastSettings
from lmalgebra.training.following import LOGGED

POSITIVE, NEGATIVE, RANDOM = range(3)
"""The sides of a sequence."""

Start = Callable[[], Any]
"""Opens, as a context, the network as it was before training."""


class Collator:
    """The sequences of a step's groups as one batch: with `side` and `group` of each sequence, `[sequences]`."""

    def __init__(self, pack: bool) -> None:
        self._lay_out = packed if pack else padded

    def __call__(self, groups: Sequence[Drawn]) -> Batch:
        sequences, sides, places = [], [], []
        for place, group in enumerate(groups):
            for side, several in enumerate((group.positives, group.negatives, group.random)):
                sequences += several
                sides += [side] * len(several)
                places += [place] * len(several)
        return self._lay_out(sequences) | {"side": torch.tensor(sides), "group": torch.tensor(places)}


class ContrastTrainer(Trainer):
    """The Trainer, with a loss over groups in place of the model's own. `start` is needed for a divergence alone."""

    def __init__(self, settings: ContrastSettings, start: Start | None, **given: Any) -> None:
        super().__init__(**given)
        self.model_accepts_loss_kwargs = False  # it is a mean over groups, to be divided by accumulated batches
        self._settings, self._start = settings, start
        self._contrast = Contrast(
            settings.loss,
            settings.distance,
            settings.prototype,
            settings.prototype_gradient,
            settings.tau,
            settings.alpha,
        )

    def compute_loss(
        self,
        model: PreTrainedModel,
        inputs: Batch,
        return_outputs: bool = False,
        num_items_in_batch: Tensor | int | None = None,
    ) -> Tensor:
        """The mean over the groups of the batch, in nats. Raises TrainingError where it is no number."""
        logits = scored_logits(model, inputs)
        means = sequence_means(token_losses(logits, inputs), inputs, len(inputs["side"]))
        loss = self._objective(means, inputs)
        if self._start is not None:
            loss = loss + self._settings.kl * self._kl(self._start, logits, inputs)
        if not torch.isfinite(loss):
            raise no_number(self.state.global_step)
        return loss

    def _objective(self, means: Tensor, inputs: Batch) -> Tensor:
        side = inputs["side"]
        if self._settings.objective == "positives":
            return _mean_of_groups(means, inputs, side == POSITIVE)
        if self._settings.objective == "negatives":
            return -_mean_of_groups(means, inputs, side == NEGATIVE)
        phis = phi_of(means, self._settings.phi)
        anchors = [
            Phis(*(phis[(inputs["group"] == place) & (side == each)] for each in (POSITIVE, NEGATIVE, RANDOM)))
            for place in range(int(inputs["group"].max()) + 1)
        ]
        loss = self._contrast(anchors)
        if self._settings.likelihood:
            loss = loss + self._settings.likelihood * _mean_of_groups(means, inputs, side == POSITIVE)
        return loss

    def _kl(self, start: Start, logits: Tensor, inputs: Batch) -> Tensor:
        """The mean over the positives' tokens of KL(start || model)."""
        with torch.no_grad(), start() as network:
            before = scored_logits(network, inputs)
        of_positives = inputs["side"][inputs["owner"][inputs["scored"]]] == POSITIVE
        return divergence(before[of_positives], logits[of_positives]).mean()


def _mean_of_groups(means: Tensor, inputs: Batch, chosen: Tensor) -> Tensor:
    """The mean over groups of the mean over their chosen sequences."""
    return torch.stack(
        [means[chosen & (inputs["group"] == place)].mean() for place in inputs["group"][chosen].unique()]
    ).mean()


def no_number(step: int) -> TrainingError:
    """What to say of a loss or a gradient that is infinite or none."""
    return TrainingError(
        f"The loss is no number any more after step {step:,}.",
        "Lower learning_rate, or raise tau; the last checkpoint is kept.",
    )


class Epochs(TrainerCallback):
    """Says to the groups which epoch begins. (Where a training goes on, accelerate tells only the sampler.)"""

    def __init__(self, groups: GroupSet) -> None:
        self._groups = groups

    def on_epoch_begin(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **_: Any) -> None:
        self._groups.begin_epoch(int(state.epoch or 0))


class Watcher(TrainerCallback):
    """Measures what is held out, ends the training where utility falls, and lets no broken step reach the weights.

    Of each measurement within the limit the trained weights are kept, so that these are the result.
    """

    def __init__(self, held_out: HeldOut, settings: ContrastSettings, pack: bool, before: dict[str, float]) -> None:
        self._held_out, self._settings, self._pack = held_out, settings, pack
        self.measured: list[dict[str, float]] = [{"step": 0, **before}]
        self.ended = ""
        self._kept: dict[str, Tensor] = {}
        self.result = before
        self.log: Callable[[dict[str, float]], None] = lambda measures: None

    def on_train_begin(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **given: Any
    ) -> None:
        self.measured += [
            {"step": each["step"]} | {key.removeprefix("eval_"): each[key] for key in each if key.startswith("eval_")}
            for each in state.log_history
            if any(key.startswith("eval_") for key in each)
        ]
        self.result = self.measured[-1]
        self._keep(given["model"])

    def on_pre_optimizer_step(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **given: Any
    ) -> None:
        norms = [torch.linalg.vector_norm(each.grad) for each in given["model"].parameters() if each.grad is not None]
        if norms and not torch.isfinite(torch.stack(norms).sum()):
            raise no_number(state.global_step)

    def on_step_end(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **given: Any) -> None:
        is_last = state.global_step >= state.max_steps
        if state.global_step % self._settings.evaluate_steps and not is_last:
            return
        found = self._held_out.measure(given["model"], self._pack)
        self.measured.append({"step": state.global_step, **found})
        self.log({f"eval_{name}": value for name, value in found.items()})
        rise = found.get("utility_perplexity", 0.0) / self.measured[0].get("utility_perplexity", 1.0)
        if rise <= self._settings.utility_limit:
            self._keep(given["model"])
            self.result = found
            return
        self._restore(given["model"])
        self.ended = (
            f"Ended at step {state.global_step:,}: the perplexity of {self._settings.utility} is {rise:.2f} times that "
            f"at the start, above {self._settings.utility_limit:g}. The weights of the measurement before are taken."
        )
        control.should_training_stop = True

    def _keep(self, model: PreTrainedModel) -> None:
        if self._settings.utility:
            self._kept = {name: each.detach().clone() for name, each in model.named_parameters() if each.requires_grad}

    def _restore(self, model: PreTrainedModel) -> None:
        with torch.no_grad():
            for name, each in model.named_parameters():
                if name in self._kept:
                    each.copy_(self._kept[name])


def common_arguments(settings: ContrastSettings, place: Workplace) -> dict[str, Any]:
    """What Transformers' TrainingArguments, and those of TRL that extend them, are given."""
    return {
        "output_dir": str(place.unfinished),
        "per_device_train_batch_size": settings.batch_size,
        "gradient_accumulation_steps": settings.accumulation,
        "num_train_epochs": settings.epochs,
        "max_steps": settings.steps or -1,
        "learning_rate": settings.learning_rate,
        "warmup_steps": settings.warmup,
        "weight_decay": settings.weight_decay,
        "max_grad_norm": settings.max_gradient,
        "save_steps": settings.checkpoint_steps,
        "save_total_limit": KEPT,
        "logging_steps": 1 / LOGGED,
        "seed": settings.seed,
        "data_seed": settings.seed,
        "use_cpu": choose_device(settings.device) == "cpu",
        "dataloader_pin_memory": False,
        "remove_unused_columns": False,
        "disable_tqdm": True,
        "report_to": list(settings.trackers),
        "run_name": place.output.name,
    }


def require_trackers(settings: ContrastSettings) -> None:
    """Raise MissingExtraError for a tracker that is not installed."""
    packages = {"tensorboard": ("tensorboard", "tensorboardX"), "wandb": ("wandb",), "trackio": ("trackio",)}
    for name in settings.trackers:
        if name in packages and not any(find_spec(each) for each in packages[name]):
            raise MissingExtraError(
                f"The tracker '{name}' needs {packages[name][0]}, which is not installed.",
                f"Install it with: pip install {packages[name][0]}",
            )


@contextmanager
def tracked_beside(place: Workplace) -> Iterator[None]:
    """Let TensorBoard's records lie in OUTPUT-tracked, unless the user has said where: what is unfinished goes away."""
    name = "TENSORBOARD_LOGGING_DIR"
    if name in os.environ:
        yield
        return
    os.environ[name] = str(place.tracked)
    try:
        yield
    finally:
        del os.environ[name]


def quiet_trainer(trainer: Trainer, watcher: Watcher) -> Trainer:
    """Let the trainer print nothing, and log what the watcher measures."""
    trainer.remove_callback(PrinterCallback)
    watcher.log = trainer.log
    return trainer
