"""Speculative sampling: a drafted token is kept or redrawn such that the target's law holds exactly.

A token is drawn from the draft and kept with `accept_probability`; otherwise another is drawn from `residual`. Then
`draft * accept + (1 - sum(draft * accept)) * residual == target`, token by token. Laws are normalised
log-probabilities `[rows, vocabulary]`, -inf for what is impossible; all arithmetic is in float64. No input is changed.

Sources: Leviathan, Kalman and Matias 2023, arXiv 2211.17192, section 2.3; Chen et al. 2023, arXiv 2302.01318. With one
formula's parts as drafts: model arithmetic (Dekoninck et al., ICLR 2024, arXiv 2311.14479).
"""

import torch
from torch import Tensor

_IMPOSSIBLE = float("-inf")
_ROUNDING = 1e-14
"""A difference between two laws, summed over all tokens, that may be rounding alone."""


def accept_probability(target: Tensor, draft: Tensor, tokens: Tensor) -> Tensor:
    """min(1, target / draft) of each row's token, float64 `[rows]`; `tokens` are whole numbers, `[rows]`.

    0 where the target is -inf, and 1 where only the draft is.
    """
    wanted, drafted = (law.gather(-1, tokens[:, None]).squeeze(-1).double() for law in (target, draft))
    ratio = (wanted - drafted).clamp(max=0).exp()
    return ratio.masked_fill(wanted == _IMPOSSIBLE, 0.0)  # -inf minus -inf is no number


def residual(target: Tensor, draft: Tensor) -> Tensor:
    """What to redraw a refused token from: the positive part of target - draft, normalised.

    Log-probabilities `[rows, vocabulary]` in the target's type. A row in which nothing positive is left, up to
    rounding, is the target itself: there the laws are equal, and no token is refused but by rounding.
    """
    lacking = (target.double().exp() - draft.double().exp()).clamp(min=0)
    total = lacking.sum(-1, keepdim=True)
    equal = total <= _ROUNDING
    shares = (lacking / total.masked_fill(equal, 1.0)).log()
    return torch.where(equal, target, shares.to(target.dtype))


def overlap(target: Tensor, draft: Tensor) -> Tensor:
    """The probability that a token of the draft is kept: the sum of min(target, draft), float64 `[rows]`, at most 1.

    Source: Leviathan et al. 2023, arXiv 2211.17192, definition 3.1 and theorem 3.5.
    """
    return torch.minimum(target.double(), draft.double()).exp().sum(-1).clamp(max=1)
