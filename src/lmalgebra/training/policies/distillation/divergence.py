"""How far a student is from its teacher at each token.

Sources: Hinton et al. 2015 (arXiv 1503.02531), section 2, at temperature 1: what a student learns from is all that its
teacher finds likely, not the one token that was said. Kim and Rush 2016 (arXiv 1606.07947), section 3: texts are the
teacher's own. Of such texts the mean over samples of the sum over tokens is KL(teacher || student) over whole texts, so
what they call word level and sequence level have one gradient here in expectation, and this one varies less.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from lmalgebra.training.policies.per_token import Loss
from lmalgebra.training.processes import ALONE, Processes

if TYPE_CHECKING:
    from collections.abc import Sequence

    from lmalgebra.training.policies.policy import FormulaPolicy, Judged
    from lmalgebra.training.policies.rollouts import Rollout


def divergence(judged: Judged) -> Tensor:
    """KL(teacher || student) before each token in nats, `[tokens]`, summed over the whole vocabulary, with gradient
    into the student. Infinite where the student forbids what its teacher allows."""
    allowed = judged.reference > -torch.inf
    teacher = judged.reference.masked_fill(~allowed, 0.0)  # 0 in place of -inf, for 0 * inf is NaN
    student = judged.policy.masked_fill(~allowed, 0.0)
    return (teacher.exp() * allowed * (teacher - student)).sum(-1)


def distillation_loss(judged: Judged) -> Loss:
    """The mean of it over the tokens."""
    each = divergence(judged)
    mean = each.mean()
    return Loss(mean, {"kl": mean.item()}, len(each), len(each))


@dataclass(frozen=True)
class Likeness:
    """How like its teacher a student is on texts, means over their tokens: `kl` from teacher to student, nats;
    `agreement`, the share at which both find the same token likeliest; and what each needs for the texts, nats."""

    kl: float
    agreement: float
    student: float
    teacher: float


@torch.no_grad()
def likeness(
    policy: FormulaPolicy, texts: Sequence[Rollout], batch_size: int, processes: Processes = ALONE
) -> Likeness:
    """Measured on texts that have tokens. Of several `processes` each judges its share."""
    mine = processes.mine([each for each in texts if each.tokens])

    def work() -> Tensor:
        found = []
        for first in range(0, len(mine), batch_size):
            batch = mine[first : first + batch_size]
            judged = policy.judge([each.prompt for each in batch], [each.tokens for each in batch])
            same = judged.policy.argmax(-1) == judged.reference.argmax(-1)
            told = judged.reference.gather(1, judged.tokens[:, None])[:, 0]
            found.append(torch.stack([divergence(judged), same.to(told.dtype), -judged.chosen, -told]))
        return torch.cat(found, 1) if found else torch.empty(4, 0, device=policy.device)

    return Likeness(*processes.joined(work).double().mean(1).tolist())
