"""Where a training's numbers go, and what it computes on: Accelerate, with TensorBoard, wandb, trackio ... by name."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from lmalgebra.errors import MissingExtraError, TrainingError
from lmalgebra.models.loading import choose_device
from lmalgebra.models.store import Report
from lmalgebra.training.checkpoints import Workplace
from lmalgebra.training.policies.learning_settings import LearningSettings
from lmalgebra.training.processes import Processes

if TYPE_CHECKING:
    from accelerate import Accelerator

TENSORBOARD = "tensorboard"
NONE = "none"

PROJECT = "lmalgebra"
"""What the runs are filed under where a tracker asks."""


def open_accelerator(
    trackers: Sequence[str], logs: Path, device: str, config: dict[str, int | float | str | bool], report: Report
) -> Accelerator:
    """What places tensors and tells the trackers, which are begun with `config`. `logs` is where files of theirs go.

    TensorBoard, the default, is passed over with a sentence where it is missing. Raises TrainingError for an unknown
    tracker, MissingExtraError for another tracker that is not installed.
    """
    from accelerate import Accelerator
    from accelerate.state import AcceleratorState

    chosen = _installed(trackers, report)
    AcceleratorState._reset_state(reset_partial_state=True)  # as Transformers' Trainer does: each run is its own
    accelerator = Accelerator(
        mixed_precision="no", cpu=device == "cpu", log_with=list(chosen) or None, project_dir=str(logs)
    )  # in what is computed, settings say, not the launcher's
    if chosen:
        Processes.of(accelerator).first(lambda: _begin(accelerator, logs, config))
    return accelerator


def _begin(accelerator: Accelerator, logs: Path, config: dict[str, int | float | str | bool]) -> None:
    logs.mkdir(parents=True, exist_ok=True)
    accelerator.init_trackers(PROJECT, config)


def accelerator_of(settings: LearningSettings, place: Workplace, report: Report) -> Accelerator:
    """What places tensors and tells the trackers of a training, whose trackers write beside its output."""
    numbers = {name: each for name, each in settings.decisive.items() if isinstance(each, int | float | str)}
    return open_accelerator(settings.trackers, place.tracked, choose_device(settings.device), numbers, report)


def end_trackers(accelerator: Accelerator) -> None:
    """Let the trackers write what is left. Unlike Accelerate's `end_training` this keeps what joins several processes,
    which cannot be joined again for a next training."""
    Processes.of(accelerator).first(lambda: [tracker.finish() for tracker in accelerator.trackers])


def _installed(trackers: Sequence[str], report: Report) -> list[str]:
    """Those of `trackers` that can be told."""
    from accelerate.tracking import LOGGER_TYPE_TO_CLASS, get_available_trackers

    available = {str(getattr(each, "value", each)) for each in get_available_trackers()}
    chosen = []
    for name in trackers:
        if name == NONE:
            continue
        if name not in LOGGER_TYPE_TO_CLASS:
            raise TrainingError(
                f"'{name}' is no tracker.", f"Known: {', '.join(sorted(LOGGER_TYPE_TO_CLASS))}, {NONE}."
            )
        if name in available:
            chosen.append(name)
        elif name == TENSORBOARD:
            report("Nothing is written for TensorBoard: pip install 'lmalgebra[train]' brings what writes it.")
        else:
            raise MissingExtraError(f"The tracker '{name}' is not installed.", f"Install it with: pip install {name}")
    return chosen
