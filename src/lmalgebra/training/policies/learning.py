"""Learning from what was explored: updates of the trained parameters, by Quark or by a policy gradient."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

import torch
from torch import Tensor

from lmalgebra.errors import LmalgebraError, TrainingError
from lmalgebra.training.policies.coefficient import Coefficient
from lmalgebra.training.policies.per_token import Loss, LossNumbers, PerToken
from lmalgebra.training.policies.policy_gradient import GRADIENTS, Sampled, advantages, gradient_loss
from lmalgebra.training.policies.pool import Experience, Pool
from lmalgebra.training.policies.quark import quark_loss
from lmalgebra.training.policies.seeds import seed_of, turn
from lmalgebra.training.policies.settings import QUARK, AdapterSettings
from lmalgebra.training.processes import Processes

if TYPE_CHECKING:
    from accelerate import Accelerator

    from lmalgebra.training.policies.explore import Explored
    from lmalgebra.training.policies.learning_settings import LearningSettings
    from lmalgebra.training.policies.policy import FormulaPolicy, Judged
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

    def make(self, judge: Callable[[], Loss | None], accelerator: Accelerator) -> dict[str, float]:
        """One update by the loss that `judge` finds, and that loss with its parts. Of several processes each judges a
        share of the batch, None if there is nothing in it; the gradient is that of the whole. Raises DivergedError,
        changing nothing, where the loss or gradient is no number, and what any `judge` raises."""
        processes = Processes.of(accelerator)
        own, told = processes.shared(judge, lambda loss: None if loss is None else loss.numbers)
        shares = [each for each in told if each is not None]
        if not shares:
            raise TrainingError("The completions have no tokens.", "Give some that have.")
        loss = LossNumbers.joined(shares)
        if not math.isfinite(loss.total):
            raise DivergedError(f"The loss of update {self.done + 1:,} is {loss.total}.")
        self.optimizer.zero_grad()
        if own is not None:
            accelerator.backward(own.total * (own.count / loss.count))
        if processes.count > 1:
            self._add_gradients(accelerator)
        length = accelerator.clip_grad_norm_(self.parameters, self._settings.max_grad_norm)
        if not math.isfinite(length):
            raise DivergedError(f"The gradient of update {self.done + 1:,} is no number.")
        for group in self.optimizer.param_groups:
            group["lr"] = self.rate
        self.optimizer.step()
        self.done += 1
        return {"loss": loss.total, "gradient": float(length)} | loss.parts

    def _add_gradients(self, accelerator: Accelerator) -> None:
        """Let each gradient be the sum over all processes."""
        for each in self.parameters:
            own = torch.zeros_like(each) if each.grad is None else each.grad
            each.grad = accelerator.reduce(own, "sum")


@dataclass
class Learning:
    """What every learning changes, and what it needs."""

    settings: LearningSettings
    policy: FormulaPolicy
    accelerator: Accelerator
    updates: Updates

    @property
    def processes(self) -> Processes:
        """Those that share the work."""
        return Processes.of(self.accelerator)

    def update(
        self,
        texts: Sequence[Rollout | Experience],
        loss_of: Callable[[Judged], Loss],
        controls: Sequence[str] | None = None,
    ) -> dict[str, float]:
        """One update by the loss of a batch, of which `texts` are this process's share, each under its control. Raises
        as `Updates.make` does."""

        def judge() -> Loss | None:
            if self.processes.count > 1 and not any(each.tokens for each in texts):
                return None
            prompts, completions = [each.prompt for each in texts], [each.tokens for each in texts]
            return loss_of(self.policy.judge(prompts, completions, controls))

        return self.updates.make(judge, self.accelerator)


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

        def loss_of(judged: Judged) -> Loss:
            return quark_loss(judged, beta, gamma)

        told = []
        seed = seed_of(settings.seed, "batches", step)
        for batch in self.pool.batches(settings.batch_size, updates_of(settings, len(self.pool)), seed):
            mine = work.processes.mine(batch)
            told.append(work.update([each for each, _ in mine], loss_of, [control for _, control in mine]))
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
        known_of = [Sampled(*each) for each in zip(known.logprob.split(lengths), gain.split(lengths), strict=True)]
        told = []
        for number in range(updates_of(settings, len(lengths))):
            chosen = turn(len(lengths), settings.batch_size, number, settings.seed, "batches", step)
            mine = work.processes.mine(chosen)
            told.append(self._update([explored.rollouts[place] for place in mine], [known_of[place] for place in mine]))
        return means(told)

    def _update(self, rollouts: Sequence[Rollout], each: Sequence[Sampled]) -> dict[str, float]:
        """One update by this process's share of a batch, and what is known of each completion in it."""
        work = self._work
        beta, gamma = work.coefficients.beta.value, work.coefficients.gamma.value

        def loss_of(judged: Judged) -> Loss:
            before = Sampled(torch.cat([of.logprob for of in each]), torch.cat([of.advantage for of in each]))
            return gradient_loss(self._kind, judged, before, len(rollouts), beta, gamma, work.settings.clip)

        return work.update(rollouts, loss_of)


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
