"""Drawing tokens such that a small change of their probabilities seldom changes the token.

A token is drawn in two races: of blocks of tokens by their probabilities, then of the tokens in the block that has won.
In a race, each runner's log-probability and a Gumbel number of its own are added, and the largest sum wins: each runner
with exactly its share of the probability (Maddison, Tarlow and Minka 2014, arXiv 1411.0030, section 2). With the same
numbers, two laws that differ by d in total variation give different winners with a chance of 2 d / (1 + d) at most
(Daliri, Musco and Suresh, arXiv 2408.07978), where the first token beyond a number, in the order of the vocabulary,
would change with nearly every rounding. One race of all tokens would need a number for each.
"""

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import pad

BLOCK = 256


def draw(logprobs: Tensor, sources: Sequence[np.random.Generator]) -> Tensor:
    """One token per row, `[rows]`, by numbers of the row's own source, so that a row never depends on another.

    `logprobs` are `[rows, vocabulary]`, normalised or not; a token at -inf is never drawn.
    """
    vocabulary = logprobs.shape[-1]
    blocks = pad(logprobs, (0, -vocabulary % BLOCK), value=-torch.inf).view(len(logprobs), -1, BLOCK)
    numbers = _gumbel(sources, blocks.shape[1] + BLOCK).to(logprobs.device)
    block = (blocks.logsumexp(-1) + numbers[:, :-BLOCK]).argmax(-1)
    inside = blocks[torch.arange(len(blocks), device=block.device), block]
    token: Tensor = block * BLOCK + (inside + numbers[:, -BLOCK:]).argmax(-1)
    return token


def _gumbel(sources: Sequence[np.random.Generator], count: int) -> Tensor:
    """Standard Gumbel numbers, float64 `[sources, count]`; all are finite, as -inf means impossible."""
    uniforms = torch.from_numpy(np.stack([source.random(count) for source in sources])).clamp_(min=2**-54)
    return uniforms.log_().neg_().log_().neg_()
