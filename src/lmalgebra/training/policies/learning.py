"""Learning from what was explored: updates of the trained parameters, by Quark or by a policy gradient."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

import torch
from torch import Tensor

from lmalgebra.errors import LmalgebraError
from lmalgebra.training.policies.coefficient import Coefficient
from lmalgebra.training.policies.per_token import Loss, PerToken
from lmalgebra.training.policies.policy_gradient import GRADIENTS, Sampled, advantages, gradient_loss
from lmalgebra.training.policies.pool import Pool
from lmalgebra.training.policies.quark import quark_loss
from lmalgebra.training.policies.seeds import seed_of, turn
from lmalgebra.training.policies.settings import QUARK, AdapterSettings

if TYPE_CHECKING:
    from accelerate import Accelerator

    from lmalgebra.training.policies.explore import Explored
    from lmalgebra.training.policies.learning_settings import LearningSettings
    from lmalgebra.training.policies.policy import FormulaPolicy
    from lmalgebra.training.policies.rollouts import Rollout


class DivergedError(LmalgebraError):
    """A loss that is no number: nothing more can be learned."""


@dataclass
class Coefficients:
    """The present weights of divergence and entropy."""

    beta: Coefficient
    gamma: Coefficient

    @classmethod
    def of(cls, settings: AdapterSettings) -> Coefficients:
        """Those that a training begins with."""
        return cls(
            Coefficient(settings.beta, settings.beta_target, settings.gain),
            Coefficient(settings.gamma, settings.gamma_target, settings.gain, lifts=True),
        )


class Updates:
    """AdamW on what learns; its rate rises, then falls to 0 over `planned` updates, of which some are `done`."""

    def __init__(self, parameters: Iterable[Tensor], settings: LearningSettings, planned: int) -> None:
        self.parameters, self.planned, self.done = [each for each in parameters if each.requires_grad], planned, 0
        self._settings = settings
        self.optimizer = torch.optim.AdamW(
            self.parameters, lr=settings.learning_rate, weight_decay=settings.weight_decay
        )

    @property
    def rate(self) -> float:
        """The rate of the next update."""
        rising = max(1, round(self._settings.warmup * self.planned))
        left = max(0, self.planned - self.done) / max(1, self.planned - rising)
        return self._settings.learning_rate * min((self.done + 1) / rising, left, 1.0)

    def make(self, loss: Loss, accelerator: Accelerator) -> dict[str, float]:
        """One update; the loss and its parts. Raises DivergedError, changing nothing, where the loss or gradient is no
        number."""
        total = loss.total.item()
        if not math.isfinite(total):
            raise DivergedError(f"The loss of update {self.done + 1:,} is {total}.")
        self.optimizer.zero_grad()
        accelerator.backward(loss.total)
        length = accelerator.clip_grad_norm_(self.parameters, self._settings.max_grad_norm)
        if not math.isfinite(length):
            raise DivergedError(f"The gradient of update {self.done + 1:,} is no number.")
        for group in self.optimizer.param_groups:
            group["lr"] = self.rate
        self.optimizer.step()
        self.done += 1
        return {"loss": total, "gradient": float(length)} | loss.parts


@dataclass
class Learning:
    """What every learning changes, and what it needs."""

    settings: LearningSettings
    policy: FormulaPolicy
    accelerator: Accelerator
    updates: Updates


@dataclass
class Work(Learning):
    """The same of learning from rewards."""

    settings: AdapterSettings
    coefficients: Coefficients


class Learner(Protocol):
    """How parameters follow from what was explored."""

    def learn(self, explored: Explored, known: PerToken, step: int) -> dict[str, float]:
        """Updates after a step's exploration, `known` of its tokens; means over them. Raises DivergedError."""


class QuarkLearner:
    """Learns from a pool of all that was said."""

    def __init__(self, work: Work, pool: Pool) -> None:
        self._work, self.pool = work, pool

    def learn(self, explored: Explored, known: PerToken, step: int) -> dict[str, float]:
        work, settings = self._work, self._work.settings
        self.pool.add(explored.experiences)
        beta, gamma = work.coefficients.beta.value, work.coefficients.gamma.value
        told = []
        seed = seed_of(settings.seed, "batches", step)
        for batch in self.pool.batches(settings.batch_size, updates_of(settings, len(self.pool)), seed):
            controls = [control for _, control in batch]
            judged = work.policy.judge([each.prompt for each, _ in batch], [each.tokens for each, _ in batch], controls)
            told.append(work.updates.make(quark_loss(judged, beta, gamma), work.accelerator))
        return means(told)


class GradientLearner:
    """Learns from a step's completions alone, by one of `GRADIENTS`."""

    def __init__(self, work: Work) -> None:
        self._work, self._kind = work, GRADIENTS[work.settings.objective]

    def learn(self, explored: Explored, known: PerToken, step: int) -> dict[str, float]:
        work, settings = self._work, self._work.settings
        lengths = [len(each.tokens) for each in explored.rollouts]
        if not lengths:
            return {}
        rewards = torch.tensor(explored.rewards, dtype=known.kl.dtype, device=known.kl.device)
        groups, beta = torch.tensor(explored.groups, device=known.kl.device), work.coefficients.beta.value
        gain = advantages(self._kind, rewards, known.kl, lengths, groups, beta)
        each_gain, each_logprob = gain.split(lengths), known.logprob.split(lengths)
        told = []
        for number in range(updates_of(settings, len(lengths))):
            chosen = turn(len(lengths), settings.batch_size, number, settings.seed, "batches", step)
            before = Sampled(*(torch.cat([values[place] for place in chosen]) for values in (each_logprob, each_gain)))
            told.append(self._update([explored.rollouts[place] for place in chosen], before))
        return means(told)

    def _update(self, rollouts: Sequence[Rollout], before: Sampled) -> dict[str, float]:
        work = self._work
        judged = work.policy.judge([each.prompt for each in rollouts], [each.tokens for each in rollouts])
        beta, gamma = work.coefficients.beta.value, work.coefficients.gamma.value
        loss = gradient_loss(self._kind, judged, before, len(rollouts), beta, gamma, work.settings.clip)
        return work.updates.make(loss, work.accelerator)


def planned_updates(settings: AdapterSettings, completions: int) -> int:
    """Updates of a whole training whose steps have so many completions each."""
    if settings.objective != QUARK:
        return settings.steps * updates_of(settings, completions)
    held = (completions * step for step in range(1, settings.steps + 1))
    return sum(updates_of(settings, min(each, settings.pool or each)) for each in held)


def updates_of(settings: LearningSettings, completions: int) -> int:
    """Updates that take so many completions `epochs` times."""
    return math.ceil(settings.epochs * completions / settings.batch_size)


def means(told: Sequence[Mapping[str, float]]) -> dict[str, float]:
    """The mean of each number that every update told."""
    return {name: math.fsum(each[name] for each in told) / len(told) for name in told[0]}
