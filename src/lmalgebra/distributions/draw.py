"""Drawing tokens. The randomness comes from outside, one number per row, so that a row never depends on another."""

from collections.abc import Sequence

import torch
from torch import Tensor


def draw(logprobs: Tensor, uniforms: Sequence[float]) -> Tensor:
    """One token per row, `[rows]`: the first whose cumulative probability exceeds the row's number in [0, 1).

    Sums in float64, over normalised or unnormalised `logprobs` `[rows, vocabulary]`; a token at -inf is never drawn.
    """
    cumulative = logprobs.double().exp().cumsum(-1)
    total = cumulative[:, -1:].contiguous()
    aim = torch.tensor(uniforms, dtype=torch.float64, device=logprobs.device)[:, None] * total
    token = torch.searchsorted(cumulative, aim, right=True)
    # Rounding may put the aim on the total itself: then the last token that has any probability is meant.
    last = torch.searchsorted(cumulative, total)
    return torch.minimum(token, last).squeeze(-1)
