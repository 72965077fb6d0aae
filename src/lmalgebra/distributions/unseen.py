"""A distribution of which only the likeliest tokens are known.

The unseen tokens' probability is not known one by one, only its sum: what the known ones leave of 1. Each unseen token
takes an equal share of that, but no more than the least likely of the top tokens has, which no other exceeds. This is
an approximation: it is exact only where nothing is left.
"""

from collections.abc import Mapping
from math import exp, inf, log

import torch
from torch import Tensor

ROUNDING = 1e-6
"""Probability that log-probabilities in float32 cannot tell from nothing; so much is always left for unseen tokens."""


def share_of_unseen(seen: float, least: float, unseen: int) -> float:
    """The probability that each of `unseen` tokens takes where the others have `seen` in all.

    It is min(max(1 - seen, ROUNDING) / unseen, least), where `least` is the smallest of the top probabilities: where
    that is 0, so is the share.
    """
    return min(max(1 - seen, ROUNDING) / unseen, least) if unseen else 0.0


def fill_unseen(known: Mapping[int, float], least: float, size: int) -> Tensor:
    """Log-probabilities `[size]` in float32: those of `known`, and the share of the unseen for all other tokens.

    They sum to 1 unless `least` bounds the share; where they enter a formula, it normalises them.
    """
    share = share_of_unseen(sum(map(exp, known.values())), least, size - len(known))
    logprobs = torch.full((size,), log(share) if share else -inf, dtype=torch.float32)
    if known:
        logprobs[list(known)] = torch.tensor(list(known.values()), dtype=torch.float32)
    return logprobs
