"""The operations of the algebra on tensors. Scores and log-probabilities are in nats, `[rows, vocabulary]`.

Source: model arithmetic (Dekoninck et al., ICLR 2024, arXiv 2311.14479), section 3; mixtures and products of experts
are older (Hinton 2002).
"""

import math
from collections.abc import Sequence
from functools import reduce

import torch
from torch import Tensor
from torch.nn.functional import logsigmoid

from lmalgebra.distributions.truncate import keep_min_p, keep_top_k, keep_top_p


def union(scores: Sequence[Tensor]) -> Tensor:
    """Elementwise maximum: a token is likely where any operand finds it likely (arXiv 2311.14479, section 3.2)."""
    return reduce(torch.maximum, scores)


def intersection(scores: Sequence[Tensor]) -> Tensor:
    """Elementwise minimum: a token is likely where all operands find it likely."""
    return reduce(torch.minimum, scores)


def tempered(score: Tensor, mass: Tensor | float) -> Tensor:
    """The distribution of a formula, `log_softmax(score / mass)`; `mass` is a positive number or `[rows, 1]`."""
    if isinstance(mass, float) and mass == 1.0:
        return score.log_softmax(-1)
    return (score / mass).log_softmax(-1)


def mixture(weights: Sequence[float], logprobs: Sequence[Tensor]) -> Tensor:
    """Log of the weighted arithmetic mean of probabilities; the weights are divided by their sum."""
    total = sum(weights)
    parts = [part + math.log(weight / total) for weight, part in zip(weights, logprobs, strict=True) if weight > 0]
    return torch.logsumexp(torch.stack(parts), dim=0)


def log_ratio(one: Tensor, two: Tensor) -> Tensor:
    """log(x / y) of log x and log y; 0 where they are equal, even if both are -inf or both inf."""
    return torch.where(one == two, torch.zeros_like(one), one - two)


def log_posterior(ratio: Tensor, tempering: Tensor, prior: float) -> Tensor:
    """Log of a class's probability against the other's, which the log-ratio of their likelihoods, times `tempering`,
    supports, after the probability `prior`, by Bayes' rule (as in Krause et al. 2021, arXiv 2009.06367, equation 3)."""
    return logsigmoid(tempering * ratio + math.log(prior / (1 - prior)))


def plausible(logprobs: Tensor, top_k: int | None, top_p: float | None, min_p: float | None) -> Tensor:
    """0 where a token is among the most likely by every rule given, each applied by itself; -inf elsewhere.

    `min_p` is contrastive decoding's plausibility constraint (Li et al. 2023, arXiv 2210.15097, equation 3).
    """
    kept = [logprobs]
    if top_k is not None:
        kept.append(keep_top_k(logprobs, top_k))
    if top_p is not None:
        kept.append(keep_top_p(logprobs, top_p))
    if min_p is not None:
        kept.append(keep_min_p(logprobs, min_p))
    cut = intersection(kept) == float("-inf")
    return torch.zeros_like(logprobs).masked_fill_(cut, float("-inf"))
