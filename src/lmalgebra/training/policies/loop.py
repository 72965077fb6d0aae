"""Training a term of a formula by rewards, step by step.

Each step: 1. completions of some prompts under the policy as it is, and under the best control; 2. their rewards;
3. the policy's divergence and entropy on them, and whether to end here; 4. updates; 5. all of it is told and kept.

All draws follow from the seed and the step, so on a CPU a training that was stopped and goes on ends with the same
parameters, bit for bit, as one that was not. A step that ends the training early leaves the parameters of the best.
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from lmalgebra.errors import LmalgebraError, TrainingError
from lmalgebra.training.policies.explore import Explored, explored_of, survey
from lmalgebra.training.policies.learning import GradientLearner, Learner, QuarkLearner, Work
from lmalgebra.training.policies.limits import Limits
from lmalgebra.training.policies.pool import Pool
from lmalgebra.training.policies.rewards import Combined, constant
from lmalgebra.training.policies.seeds import seed_of
from lmalgebra.training.policies.settings import AdapterSettings
from lmalgebra.training.policies.state import copied, parameters_of, put_back, restore, save
from lmalgebra.training.policies.stepping import Stepping, prompts_per_step
from lmalgebra.training.policies.validate import validate

if TYPE_CHECKING:
    from lmalgebra.training.policies.per_token import PerToken
    from lmalgebra.training.policies.rollouts import Rollout, Rollouts

SAMPLES = 2
"""Completions of each step that are told and kept."""


@dataclass(kw_only=True)
class Training(Stepping):
    """All that the steps need. `run` changes `progress`, `pool` and what `work` holds; only Quark has a pool."""

    settings: AdapterSettings
    work: Work
    reward: Combined
    rollouts: Rollouts
    pool: Pool | None

    @property
    def learner(self) -> Learner:
        """How it learns."""
        return GradientLearner(self.work) if self.pool is None else QuarkLearner(self.work, self.pool)

    def run(self) -> str:
        """All steps, from the last checkpoint where there is one. Returns why it ended early, or "".

        Raises Stopped when `stop` said so, and TrainingError for rewards from which nothing can be learned; what was
        done until then is in a checkpoint.
        """
        checkpoint = self.place.last_checkpoint()
        if checkpoint is not None:
            self.progress = self.processes.first_then_others(lambda: restore(checkpoint, self.work, self.pool))
        else:
            self._validate(0)
        ended, at = self._steps(), self.progress.step
        if ended:
            if self.progress.best_step <= 1:
                raise TrainingError(f"{ended} Nothing was learned before.", "Lower learning_rate, or raise beta.")
            put_back(self.work, self.progress.best)
            at = self.progress.best_step - 1  # whose updates made them
        if ended or self.progress.validation[-1]["step"] < at:
            self._validate(at)
        return ended

    def _step(self, step: int) -> str:
        began, settings = time.monotonic(), self.settings
        explored = self._explored(step)
        if not explored.rollouts:
            return self._without_rewards(step, explored)
        control = self._control(step)
        known = survey(self.work.policy, explored.rollouts, control, settings.batch_size, self.processes)
        measured = self._measured(step, explored, known)
        limits = Limits(settings.max_kl, settings.max_drop)
        ended = limits.crossed([*self.progress.rewards, explored.mean], measured["kl"], self.progress.deviation)
        if ended:
            return f"Ended at step {step:,}. {ended}"
        if explored.mean > self.progress.best_reward:
            self.progress.best = copied(parameters_of(self.work))
            self.progress.best_step, self.progress.best_reward = step, explored.mean
        torch.manual_seed(seed_of(settings.seed, "learning", step))  # for what draws while it learns, such as dropout
        measured = self.learner.learn(explored, known, step) | measured
        self.work.coefficients.beta.follow(measured["kl"])
        self.work.coefficients.gamma.follow(measured["entropy"])
        measured["seconds"] = round(time.monotonic() - began, 3)
        self.progress.steps.append(measured)
        self.progress.step = step
        return ""

    def _control(self, step: int) -> str:
        """What the term that learns reads before it speaks. Quark's pool begins with what it says under no control."""
        return self.settings.best_control if step > 1 else ""

    def _without_rewards(self, step: int, explored: Explored) -> str:
        """A step whose completions could not be scored: nothing is learned, and the next one tries again."""
        left_out = sum(explored.rewarded.left_out.values())
        self.progress.steps.append({"step": step, "reward": None, "rewards": {}, "left_out": left_out, "samples": []})
        self.progress.step = step
        return ""

    def _explored(self, step: int) -> Explored:
        """A step's completions and rewards. What is done so far is kept should there be none."""
        settings = self.settings
        items = self.prompts.batch(step - 1, prompts_per_step(settings, self.prompts), settings.seed)
        seed = seed_of(settings.seed, "rollouts", step)
        drawn = {"samples": settings.samples, "seed": seed, "control": self._control(step)}
        prompts = [each.prompt for each in items]

        def say(share: slice) -> list[Rollout]:
            return self.rollouts.sample(prompts, share=share, **drawn)

        try:
            explored = explored_of(say, self.reward, items, settings.samples, self.processes)
        except (LmalgebraError, KeyboardInterrupt):
            if self.progress.step:
                self._keep()
            raise
        if step == 1:
            self._require_difference(explored)
            self.progress.deviation = explored.deviation
        return explored if self.pool else explored.comparable()

    def _require_difference(self, explored: Explored) -> None:
        same = constant(explored.rewarded)
        if same:
            raise TrainingError(same, "Choose a reward that tells completions apart, or raise samples.")

    def _measured(self, step: int, explored: Explored, known: PerToken) -> dict[str, Any]:
        coefficients = self.work.coefficients
        return {
            "step": step,
            "reward": explored.mean,
            "rewards": explored.rewarded.means(),
            "left_out": sum(explored.rewarded.left_out.values()),
            "kl": known.kl.mean().item(),
            "entropy": known.entropy.mean().item(),
            "tokens": len(known.kl) / max(1, len(explored.rollouts)),
            "beta": coefficients.beta.value,
            "gamma": coefficients.gamma.value,
            "learning_rate": self.work.updates.rate,
            "samples": explored.samples(SAMPLES),
        }

    def _save(self, folder: Path) -> None:
        save(folder, self.work, self.pool, self.progress)

    def _validate(self, at: int) -> None:
        items, is_first = self.prompts.held_out.items, not self.progress.validation
        found = validate(self.rollouts, self.reward, items, self.settings, self.processes, with_base=is_first)
        self.progress.validation.append({"step": at} | found)
        self._track({"validation/reward": found["policy"]["reward"]}, self.progress.step)
