"""Ways to cut the tail of a distribution before drawing from it.

Every function takes and returns log-weights `[rows, vocabulary]`, -inf where a token is cut, not normalised again.
Ties at a border are all kept, so that the result does not depend on an order of sorting.
"""

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

_CUT = float("-inf")
_COLDEST = 1e-30
"""The smallest temperature that log-probabilities can be divided by without leaving the range of float32."""

_NUCLEUS_SIZES = (128, 4096)
"""Tokens looked at for a nucleus before all are: sorting a whole vocabulary costs more than the rest of a step."""


def keep_top_k(weights: Tensor, k: int) -> Tensor:
    """Keep the `k` likeliest tokens, and those as likely as the last of them."""
    if k >= weights.shape[-1]:
        return weights
    border = weights.topk(k, dim=-1).values[..., -1:]
    return weights.masked_fill(weights < border, _CUT)


def keep_top_p(weights: Tensor, p: float) -> Tensor:
    """Keep the nucleus: the fewest likeliest tokens that have at least the share `p` (Holtzman et al. 2020)."""
    if p >= 1:
        return weights
    logprobs = weights.log_softmax(-1)
    likeliest = _enough(logprobs, p)
    probabilities = likeliest.exp()
    before = probabilities.cumsum(-1) - probabilities  # the share of what is likelier
    last = (before < p).sum(-1, keepdim=True) - 1
    border = likeliest.gather(-1, last)
    return weights.masked_fill(logprobs < border, _CUT)


def _enough(logprobs: Tensor, p: float) -> Tensor:
    """The likeliest tokens' log-probabilities in order, so many that in each row they have the share `p`."""
    for size in _NUCLEUS_SIZES:
        if size < logprobs.shape[-1]:
            likeliest = logprobs.topk(size, dim=-1).values
            if bool((likeliest.exp().sum(-1) >= p).all()):
                return likeliest
    return logprobs.sort(dim=-1, descending=True).values


def keep_min_p(weights: Tensor, p: float) -> Tensor:
    """Keep tokens at least `p` times as likely as the likeliest (Nguyen et al. 2024, arXiv 2407.01082)."""
    if p <= 0:
        return weights
    border = weights.max(-1, keepdim=True).values + torch.tensor(p, dtype=weights.dtype).log().to(weights.device)
    return weights.masked_fill(weights < border, _CUT)


def penalise_repeats(weights: Tensor, seen: Sequence[Iterable[int]], penalty: float) -> Tensor:
    """Multiply the log-probability of each row's `seen` tokens by `penalty` (CTRL, Keskar et al. 2019, section 4.1).

    A penalty above 1 makes repeats less likely. The paper divides positive logits; log-probabilities never are.
    """
    if penalty == 1:
        return weights
    weights = weights.clone()
    for row, tokens in enumerate(seen):
        index = torch.tensor(sorted(set(tokens)), dtype=torch.long, device=weights.device)
        weights[row, index] *= penalty
    return weights


def penalise_counts(
    weights: Tensor, said: Sequence[Iterable[int]], presence: float = 0.0, frequency: float = 0.0
) -> Tensor:
    """Take `presence` nats from each token that a row has `said`, and `frequency` nats for each time that it did.

    These are OpenAI's presence and frequency penalties; they subtract from logits, which is the same.
    """
    if not presence and not frequency:
        return weights
    weights = weights.clone()
    for row, tokens in enumerate(said):
        counts = Counter(tokens)
        index = torch.tensor(list(counts), dtype=torch.long, device=weights.device)
        times = torch.tensor(list(counts.values()), dtype=weights.dtype, device=weights.device)
        weights[row, index] -= presence + frequency * times
    return weights


def add_to_tokens(weights: Tensor, biases: Sequence[tuple[int, float]]) -> Tensor:
    """Add nats to single tokens of every row; `biases` are their ids, each once, and the nats."""
    if not biases:
        return weights
    weights = weights.clone()
    tokens, nats = zip(*biases, strict=True)
    index = torch.tensor(tokens, dtype=torch.long, device=weights.device)
    weights[:, index] += torch.tensor(nats, dtype=weights.dtype, device=weights.device)
    return weights


def forbid(weights: Tensor, rows: Sequence[bool], tokens: Iterable[int]) -> Tensor:
    """Cut `tokens` in the rows that are True."""
    if not any(rows):
        return weights
    weights = weights.clone()
    chosen = torch.tensor([row for row, cut in enumerate(rows) if cut], device=weights.device)
    weights[chosen[:, None], torch.tensor(sorted(tokens), dtype=torch.long, device=weights.device)] = _CUT
    return weights


@dataclass(frozen=True)
class Truncation:
    """Temperature and truncation, applied in this order: 1. temperature, 2. top-k, 3. top-p, 4. min-p.

    `temperature` divides log-weights and is positive; `top_k` counts tokens; `top_p` and `min_p` are shares.
    """

    temperature: float = 1.0
    top_k: int | None = None
    top_p: float = 1.0
    min_p: float = 0.0

    def __call__(self, weights: Tensor) -> Tensor:
        """Normalised log-probabilities to draw from, `[rows, vocabulary]`."""
        if self.temperature != 1:
            weights = weights / max(self.temperature, _COLDEST)
        if self.top_k is not None:
            weights = keep_top_k(weights, self.top_k)
        if self.top_p < 1:
            weights = keep_top_p(weights, self.top_p)
        if self.min_p > 0:
            weights = keep_min_p(weights, self.min_p)
        return weights.log_softmax(-1)
