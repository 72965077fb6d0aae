"""Policy gradients over groups of completions of one prompt: RLOO, GRPO, and PPO's clipped ratio.

All make  mean over completions of  sum_t [ -A_t * r_t + beta * KL_t - gamma * H_t ]  small, where r_t is the token's
probability over what it was when it was sampled, and KL_t and H_t are exact sums over the vocabulary.

| name | advantage A_t of a token of completion i | ratio | tokens |
|---|---|---|---|
| `rloo` (Ahmadian et al. 2024, arXiv 2402.14740) | G_t less the mean G_t of the others | as it is | summed |
| `ppo` (Schulman et al. 2017, arXiv 1707.06347, equation 7) | the same | clipped | summed |
| `grpo` (Shao et al. 2024, arXiv 2402.03300, equation 3) | R, standardised in its group | clipped | averaged |

G_t = R - beta * sum_(s>t) KL_s is what follows a token: its completion's reward, less the divergence still to come.
With it the gradient of `rloo` is that of E[R] - beta * KL(policy || reference) over whole texts, without bias: the loss
has KL_t's own derivative, G_t that of which contexts are reached. Its optimum is p_reference(x) exp(R(x) / beta) / Z.

Where this differs from the papers:
- `rloo` there puts -beta log(p / p_reference) of the sample into the reward; exact sums have the same mean, less noise.
- `ppo` has no value network: its baseline is the group's, as in `rloo`. What is PPO's is the clipped ratio, by which
  one batch may be learned from several times.
- `grpo` there estimates KL_t from the sampled token; here it is exact. Its penalty does not know which contexts are
  reached, and dividing by the deviation changes what beta means, so that its optimum is not the closed form above.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence

from lmalgebra.errors import TrainingError
from lmalgebra.training.policies.per_token import Loss, per_token, summed

if TYPE_CHECKING:
    from lmalgebra.training.policies.policy import Judged

TINY = 1e-6
"""Keeps a group of equal rewards from dividing by 0; their advantages are 0."""


@dataclass(frozen=True)
class Gradient:
    """One way: whether rewards are standardised in their group, the ratio is clipped, and tokens are averaged."""

    standardises: bool
    clips: bool
    averages: bool


GRADIENTS = {
    "rloo": Gradient(standardises=False, clips=False, averages=False),
    "ppo": Gradient(standardises=False, clips=True, averages=False),
    "grpo": Gradient(standardises=True, clips=True, averages=True),
}


@dataclass(frozen=True)
class Sampled:
    """What is known of each token of the completions since they were sampled, `[tokens]`: no gradient."""

    logprob: Tensor
    advantage: Tensor


def advantages(
    kind: Gradient, rewards: Tensor, kl: Tensor, lengths: Sequence[int], groups: Tensor, beta: float
) -> Tensor:
    """The advantage of each token, `[tokens]`, for `rewards` and `groups`, `[completions]`, and `kl`, `[tokens]`.

    `lengths` are the completions' counts of tokens, and equal numbers in `groups` one prompt's. Raises TrainingError
    for a prompt with a single completion.
    """
    _, groups, sizes = groups.unique(return_inverse=True, return_counts=True)
    if sizes.min() < 2:
        raise TrainingError(
            "A prompt has a single completion, which can be compared with no other.", "Raise samples to 2 or more."
        )
    if kind.standardises:
        return torch.cat(
            [value.expand(length) for value, length in zip(_standardised(rewards, groups, sizes), lengths, strict=True)]
        )
    # Beyond its end a completion has no divergence to come: there G is its reward, and still the others' baseline.
    divergence = pad_sequence(list(kl.split(list(lengths))), batch_first=True)
    to_come = divergence.flip(1).cumsum(1).flip(1) - divergence
    follows = rewards[:, None] - beta * to_come
    mean_of_others = (_totals(follows, groups, len(sizes))[groups] - follows) / (sizes[groups][:, None] - 1)
    less = follows - mean_of_others
    return torch.cat([row[:length] for row, length in zip(less, lengths, strict=True)])


def gradient_loss(
    kind: Gradient, judged: Judged, sampled: Sampled, completions: int, beta: float, gamma: float, clip: float
) -> Loss:
    """The loss of completions that were judged anew, and its parts. The ratio counts from 1 - `clip` to 1 + `clip`."""
    each = per_token(judged)
    ratio = (each.logprob - sampled.logprob).exp()
    gain = ratio * sampled.advantage
    if kind.clips:
        gain = torch.minimum(gain, ratio.clamp(1 - clip, 1 + clip) * sampled.advantage)
    loss = summed(-gain + beta * each.kl - gamma * each.entropy, judged.owner, completions)
    if kind.averages:
        loss = loss / summed(torch.ones_like(gain), judged.owner, completions)
    parts = {"gain": gain.mean().item(), "kl": each.kl.mean().item(), "entropy": each.entropy.mean().item()}
    return Loss(loss.mean(), parts, completions, len(gain))


def _standardised(rewards: Tensor, groups: Tensor, sizes: Tensor) -> Tensor:
    mean = (_totals(rewards, groups, len(sizes)) / sizes)[groups]
    variance = (_totals((rewards - mean) ** 2, groups, len(sizes)) / sizes)[groups]
    return (rewards - mean) / (variance.sqrt() + TINY)


def _totals(values: Tensor, groups: Tensor, count: int) -> Tensor:
    """The sum over each group, `[groups, ...]`, of `values`, `[completions, ...]`."""
    return values.new_zeros(count, *values.shape[1:]).index_add(0, groups, values)
