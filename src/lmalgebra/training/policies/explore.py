"""Exploring: completions of prompts under the policy as it is, and their rewards."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from lmalgebra.training.policies.per_token import PerToken, per_token
from lmalgebra.training.policies.pool import Experience
from lmalgebra.training.policies.rewards import Combined, Rewarded, Said
from lmalgebra.training.policies.rewards.combined import Scored
from lmalgebra.training.processes import ALONE, Processes, flat

if TYPE_CHECKING:
    from lmalgebra.prompt_sets import Item
    from lmalgebra.training.policies.policy import FormulaPolicy
    from lmalgebra.training.policies.rollouts import Rollout


@dataclass(frozen=True)
class Explored:
    """Completions that have a reward; `groups` tells which were of one prompt. `rewarded` is of all that were said."""

    rollouts: list[Rollout]
    rewards: list[float]
    groups: list[int]
    rewarded: Rewarded

    @property
    def mean(self) -> float:
        """The mean reward; NaN without any."""
        return math.fsum(self.rewards) / len(self.rewards) if self.rewards else math.nan

    @property
    def deviation(self) -> float:
        """The standard deviation of the rewards."""
        return math.sqrt(math.fsum((each - self.mean) ** 2 for each in self.rewards) / max(1, len(self.rewards)))

    @property
    def experiences(self) -> list[Experience]:
        """What the pool takes in."""
        pairs = zip(self.rollouts, self.rewards, strict=True)
        return [Experience(each.prompt, each.tokens, reward) for each, reward in pairs]

    def samples(self, count: int) -> list[dict[str, Any]]:
        """The first completions with their rewards, as plain data."""
        pairs = list(zip(self.rollouts, self.rewards, strict=True))[:count]
        return [{"prompt": each.prompt, "text": each.text, "reward": reward} for each, reward in pairs]

    def comparable(self) -> Explored:
        """Without the completions whose prompt has no other that could be scored."""
        sizes = Counter(self.groups)
        kept = [place for place, group in enumerate(self.groups) if sizes[group] > 1]
        return Explored(
            [self.rollouts[place] for place in kept],
            [self.rewards[place] for place in kept],
            [self.groups[place] for place in kept],
            self.rewarded,
        )


def explored_of(
    say: Callable[[slice], list[Rollout]],
    reward: Combined,
    items: Sequence[Item],
    samples: int,
    processes: Processes = ALONE,
) -> Explored:
    """Completions, `samples` of each prompt in turn, with their rewards. `say` gives those of a slice of the prompts;
    of several `processes` each does its share. Raises LmalgebraError."""

    def work() -> tuple[list[Rollout], dict[str, Scored]]:
        share = processes.share(len(items))
        said, fields = say(share), [item.fields for item in items[share] for _ in range(samples)]
        pairs = zip(said, fields, strict=True)
        return said, reward.scores([Said(each.prompt, each.text, known) for each, known in pairs])

    shares = processes.gathered(work)
    rollouts, rewarded = flat([said for said, _ in shares]), reward.rewarded([scores for _, scores in shares])
    groups, known = [place for place in range(len(items)) for _ in range(samples)], rewarded.known
    return Explored(
        [rollouts[place] for place in known],
        [rewarded.total[place] for place in known],
        [groups[place] for place in known],
        rewarded,
    )


@torch.no_grad()
def survey(
    policy: FormulaPolicy,
    rollouts: Sequence[Rollout],
    control: str,
    batch_size: int,
    processes: Processes = ALONE,
) -> PerToken:
    """What the policy says of each token of its completions, one after another, without gradient. Of several
    `processes` each judges its share."""
    mine = processes.mine(rollouts)

    def work() -> Tensor:
        found = []
        for first in range(0, len(mine), batch_size):
            batch = mine[first : first + batch_size]
            prompts, tokens = [each.prompt for each in batch], [each.tokens for each in batch]
            each = per_token(policy.judge(prompts, tokens, [control] * len(batch)))
            found.append(torch.stack([each.logprob, each.kl, each.entropy]))
        return torch.cat(found, 1) if found else torch.empty(3, 0, device=policy.device)

    return PerToken(*processes.joined(work))
