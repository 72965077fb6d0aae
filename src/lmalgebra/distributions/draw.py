"""Drawing tokens. The randomness comes from outside, one number per row, so that a row never depends on another."""

from collections.abc import Sequence

import torch
from torch import Tensor

BLOCK = 256
"""Tokens whose probabilities are summed first: cumulative sums of a whole vocabulary took half the time of a step."""


def draw(logprobs: Tensor, uniforms: Sequence[float]) -> Tensor:
    """One token per row, `[rows]`: the first whose cumulative probability exceeds the row's number in [0, 1).

    `logprobs` are `[rows, vocabulary]`, normalised or not; a token at -inf is never drawn. Cumulative sums are in
    float64, first over blocks of tokens, each summed in the type of `logprobs`, then within the block that is met.
    """
    probabilities = logprobs.exp()
    blocks = _block_sums(probabilities).double()
    aim = torch.tensor(uniforms, dtype=torch.float64, device=logprobs.device)[:, None]
    block, aim = _first_beyond(blocks, aim * blocks.sum(-1, keepdim=True))
    tokens = block * BLOCK + torch.arange(BLOCK, device=logprobs.device)
    inside = tokens < logprobs.shape[-1]
    mine = probabilities.gather(-1, tokens.clamp(max=logprobs.shape[-1] - 1)).double().where(inside, 0.0)
    return (block * BLOCK + _first_beyond(mine, aim)[0]).squeeze(-1)


def _block_sums(probabilities: Tensor) -> Tensor:
    """`[rows, blocks]`; the last block may be shorter."""
    whole = probabilities.shape[-1] // BLOCK * BLOCK
    sums = probabilities[:, :whole].view(len(probabilities), -1, BLOCK).sum(-1)
    if whole == probabilities.shape[-1]:
        return sums
    return torch.cat([sums, probabilities[:, whole:].sum(-1, keepdim=True)], dim=-1)


def _first_beyond(shares: Tensor, aim: Tensor) -> tuple[Tensor, Tensor]:
    """The first place of each row at which the sum of shares exceeds `aim`, and what of `aim` is left there.

    Rounding may put the aim on the total itself or beyond: then the last place that has any share is meant.
    """
    cumulative = shares.cumsum(-1)
    last = torch.searchsorted(cumulative, cumulative[:, -1:].contiguous())
    place = torch.minimum(torch.searchsorted(cumulative, aim, right=True), last)
    return place, (aim - (cumulative - shares).gather(-1, place)).clamp(min=0)
