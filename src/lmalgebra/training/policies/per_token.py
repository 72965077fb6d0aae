"""What every objective is made of: of each token its log-probability, the policy's divergence and its entropy."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from torch import Tensor

if TYPE_CHECKING:
    from lmalgebra.training.policies.policy import Judged


@dataclass(frozen=True)
class PerToken:
    """Three numbers of each token of the completions, all in nats, `[tokens]`, with gradient where the policy has one.

    `logprob` is that of the token itself; `kl` is KL(policy || reference) before it, and `entropy` the policy's, both
    summed over the whole vocabulary, so that neither is an estimate.
    """

    logprob: Tensor
    kl: Tensor
    entropy: Tensor


@dataclass(frozen=True)
class Loss:
    """What is made less, a number with gradient, the mean over `count` tokens or completions; and its parts as plain
    numbers by name, means over `tokens`, in nats."""

    total: Tensor
    parts: dict[str, float]
    count: int
    tokens: int

    @property
    def numbers(self) -> LossNumbers:
        """The same without gradient."""
        return LossNumbers(self.total.item(), self.parts, self.count, self.tokens)


@dataclass(frozen=True)
class LossNumbers:
    """A loss as plain numbers; see `Loss`."""

    total: float
    parts: dict[str, float]
    count: int
    tokens: int

    @classmethod
    def joined(cls, shares: Sequence[LossNumbers]) -> LossNumbers:
        """Those of a batch, from those of its shares, of which there is one at least."""
        count, tokens = sum(each.count for each in shares), sum(each.tokens for each in shares)
        total = sum(each.total * (each.count / count) for each in shares)
        parts = {name: sum(each.parts[name] * (each.tokens / tokens) for each in shares) for name in shares[0].parts}
        return cls(total, parts, count, tokens)


def per_token(judged: Judged) -> PerToken:
    """The numbers of what was judged. Tokens that both forbid (-inf) count nothing; KL is infinite where only the
    reference forbids what the policy allows."""
    logprob = judged.policy.gather(-1, judged.tokens[:, None])[:, 0]
    allowed = judged.policy > -torch.inf
    # 0 in place of -inf, for 0 * inf is NaN, in the gradient too.
    policy = judged.policy.masked_fill(~allowed, 0.0)
    reference = judged.reference.masked_fill(~allowed, 0.0)
    share = policy.exp() * allowed
    return PerToken(logprob, (share * (policy - reference)).sum(-1), -(share * policy).sum(-1))


def summed(values: Tensor, owner: Tensor, completions: int) -> Tensor:
    """The sum over each completion's tokens, `[completions]`, of one number for each token, `[tokens]`."""
    return values.new_zeros(completions).index_add(0, owner, values)
