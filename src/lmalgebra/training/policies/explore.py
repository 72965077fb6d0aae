"""Exploring: completions of prompts under the policy as it is, and their rewards."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch

from lmalgebra.training.policies.per_token import PerToken, per_token
from lmalgebra.training.policies.pool import Experience
from lmalgebra.training.policies.rewards import Combined, Rewarded, Said

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


def explored_of(rollouts: Sequence[Rollout], reward: Combined, items: Sequence[Item], samples: int) -> Explored:
    """Completions, `samples` of each prompt in turn, with their rewards. Raises LmalgebraError."""
    groups = [place for place in range(len(items)) for _ in range(samples)]
    pairs = zip(rollouts, groups, strict=True)
    rewarded = reward([Said(each.prompt, each.text, items[group].fields) for each, group in pairs])
    known = rewarded.known
    return Explored(
        [rollouts[place] for place in known],
        [rewarded.total[place] for place in known],
        [groups[place] for place in known],
        rewarded,
    )


@torch.no_grad()
def survey(policy: FormulaPolicy, rollouts: Sequence[Rollout], control: str, batch_size: int) -> PerToken:
    """What the policy says of each token of its completions, one after another, without gradient."""
    found = []
    for first in range(0, len(rollouts), batch_size):
        batch = rollouts[first : first + batch_size]
        judged = policy.judge([each.prompt for each in batch], [each.tokens for each in batch], [control] * len(batch))
        found.append(per_token(judged))
    return PerToken(*(torch.cat([getattr(each, name) for each in found]) for name in ("logprob", "kl", "entropy")))
