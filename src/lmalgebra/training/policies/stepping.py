"""The steps of any training of a term: each is told and kept, and what goes on after a stop meets the same ones."""

from __future__ import annotations

import json
from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lmalgebra.training.checkpoints import Stop, Stopped, Workplace
from lmalgebra.training.policies.learning import DivergedError, Learning
from lmalgebra.training.policies.learning_settings import LearningSettings
from lmalgebra.training.policies.state import Progress
from lmalgebra.training.processes import Processes

if TYPE_CHECKING:
    from lmalgebra.training.policies.prompts import Prompts

Advance = Callable[[dict[str, Any], int], None]
"""Hears of each step, in each process: what was measured, and how many steps there are."""


@dataclass(kw_only=True)
class Stepping(ABC):
    """What every training has. Its steps change `progress` and what `work` holds, in several processes alike."""

    settings: LearningSettings
    prompts: Prompts
    place: Workplace
    work: Learning
    advance: Advance
    stop: Stop
    progress: Progress = field(default_factory=Progress)

    @property
    def processes(self) -> Processes:
        """Those that share the work."""
        return self.work.processes

    @abstractmethod
    def _step(self, step: int) -> str:
        """One step. Returns why to end before its updates, or ""."""

    @abstractmethod
    def _validate(self, at: int) -> None:
        """Judge the held-out prompts under the parameters that the updates of step `at` made."""

    @abstractmethod
    def _save(self, folder: Path) -> None:
        """Write a checkpoint into `folder`."""

    def _steps(self) -> str:
        """All steps that are left. Returns why they ended early, or "". Raises Stopped."""
        while self.progress.step < self.settings.steps:
            try:
                ended = self._step(self.progress.step + 1)
            except DivergedError as error:
                ended = error.message
            if ended:
                return ended
            self._after()
        return ""

    def _after(self) -> None:
        """What follows a step: it is told, and where it is time validated and kept."""
        settings, progress = self.settings, self.progress
        self._track(_numbers(progress.steps[-1]), progress.step)
        self.advance(progress.steps[-1], settings.steps)
        if settings.validation_steps and progress.step % settings.validation_steps == 0:
            self._validate(progress.step)
        stopping = progress.step < settings.steps and any(self.processes.gathered(self.stop))
        if stopping or progress.step % settings.checkpoint_steps == 0:
            self._keep()
        if stopping:
            raise Stopped.after(progress.step, settings.steps)

    def _track(self, numbers: dict[str, Any], step: int) -> None:
        """Tell the trackers."""
        self.processes.first(lambda: self.work.accelerator.log(numbers, step=step))

    def _keep(self) -> None:
        self.place.keep(self.progress.step, self._save)


def prompts_per_step(settings: LearningSettings, prompts: Prompts) -> int:
    """Prompts of each step: as many as are asked for, or all there are."""
    return min(settings.prompts_per_step, len(prompts.train.items))


def _numbers(measured: dict[str, Any]) -> dict[str, float | str]:
    """What a tracker is told of a step: numbers, those of components under names of their own, and the samples."""
    found = {name: value for name, value in measured.items() if isinstance(value, int | float)}
    parts = {f"reward/{name}": value for name, value in measured.get("rewards", {}).items()}
    return found | parts | {"samples": json.dumps(measured["samples"], ensure_ascii=False)}
