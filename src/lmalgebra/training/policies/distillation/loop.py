"""Distilling step by step: texts after some prompts, updates that bring the student nearer to its teacher on them.

All draws follow from the seed and the step, so on a CPU a distillation that was stopped and goes on ends with the same
parameters, bit for bit, as one that was not.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import torch

from lmalgebra.errors import LmalgebraError
from lmalgebra.training.policies.distillation.divergence import distillation_loss, likeness
from lmalgebra.training.policies.distillation.settings import DistillSettings
from lmalgebra.training.policies.distillation.texts import Texts
from lmalgebra.training.policies.learning import means, updates_of
from lmalgebra.training.policies.rollouts import Rollout
from lmalgebra.training.policies.seeds import seed_of, turn
from lmalgebra.training.policies.state import Progress, restore_learned, save_learned
from lmalgebra.training.policies.stepping import Stepping, prompts_per_step

SAMPLES = 2
"""Texts of each step that are told and kept."""


@dataclass(kw_only=True)
class Distillation(Stepping):
    """All that the steps need. `run` changes `progress` and what `work` holds."""

    settings: DistillSettings
    texts: Texts
    _held_out: list[Rollout] = field(init=False, default_factory=list)

    def run(self) -> str:
        """All steps, from the last checkpoint where there is one. Returns why it ended early, or "".

        Raises Stopped when `stop` said so, and LmalgebraError; what was done until then is in a checkpoint.
        """
        checkpoint = self.place.last_checkpoint()
        if checkpoint is not None:
            steps, numbers = self.processes.first_then_others(lambda: restore_learned(checkpoint, self.work))
            self.progress = Progress(steps=steps, **numbers)
        else:
            self._validate(0)
        ended = self._steps()
        if self.progress.validation[-1]["step"] < self.progress.step:
            self._validate(self.progress.step)
        return ended

    def _step(self, step: int) -> str:
        began, settings = time.monotonic(), self.settings
        texts = self._texts(step)
        torch.manual_seed(seed_of(settings.seed, "learning", step))  # for what draws while it learns, such as dropout
        rate, told = self.work.updates.rate, []
        for number in range(updates_of(settings, len(texts))):
            chosen = turn(len(texts), settings.batch_size, number, settings.seed, "batches", step)
            told.append(self._update([texts[place] for place in chosen]))
        samples = [{"prompt": each.prompt, "text": each.text} for each in texts[:SAMPLES]]
        tokens = sum(len(each.tokens) for each in texts) / max(1, len(texts))
        measured = {"step": step, "tokens": tokens, "learning_rate": rate, "samples": samples}
        measured |= means(told) if told else {}
        self.progress.steps.append(measured | {"seconds": round(time.monotonic() - began, 3)})
        self.progress.step = step
        return ""

    def _texts(self, step: int) -> list[Rollout]:
        """What is learned from. What is done so far is kept should there be none."""
        items = self.prompts.batch(step - 1, prompts_per_step(self.settings, self.prompts), self.settings.seed)
        try:
            return self.texts.of(items, step)
        except (LmalgebraError, KeyboardInterrupt):
            if self.progress.step:
                self._keep()
            raise

    def _update(self, texts: Sequence[Rollout]) -> dict[str, float]:
        return self.work.update(self.processes.mine(texts), distillation_loss)

    def _validate(self, at: int) -> None:
        if not self._held_out:
            self._held_out = self.texts.held_out(self.prompts.held_out.items)
        policy, size = self.work.policy, self.settings.batch_size
        found: dict[str, Any] = asdict(likeness(policy, self._held_out, size, self.processes))
        self.progress.validation.append({"step": at} | found)
        self._track({f"validation/{name}": each for name, each in found.items()}, at)

    def _save(self, folder: Path) -> None:
        progress = self.progress
        numbers = {"step": progress.step, "validation": progress.validation}
        save_learned(folder, self.work, progress.steps, numbers)
