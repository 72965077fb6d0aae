"""Quark: learn to imitate what was sampled, told by a control text how well each sample did.

The paper (Lu et al., NeurIPS 2022, arXiv 2205.13636, section 2) repeats three steps: 1. explore: sample from the policy
under the best reward token r_K and add to the pool; 2. quantise: sort the pool by reward into K parts; 3. learn: make

    E_k~U(1,K) E_(x,y)~D^k [ -log p(y | x, r_k) + beta * sum_t KL_t ]

small. IPA (Lu et al., EMNLP 2023, arXiv 2305.15065, section 2) does this with the tailored policy
softmax(log p_base + log p_adapter) for p, of which only the adapter sees r_k and learns, and adds an entropy bonus:

    mean over tokens of  -log p(token) + beta * KL(p || p_reference) - gamma * H(p)

which is the loss below. Where this differs:
- Quark's paper writes KL(p_reference || p); this is KL(p || p_reference), which IPA's authors compute and which the
  closed form of regularised rewards has.
- The mean is over all tokens of a batch, so that long completions count more, as in the authors' code.
- Equal rewards share a quantile (see `pool.py`), and a control is a text, not a new entry of the vocabulary.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from lmalgebra.training.policies.per_token import Loss, per_token

if TYPE_CHECKING:
    from lmalgebra.training.policies.policy import Judged


def quark_loss(judged: Judged, beta: float, gamma: float) -> Loss:
    """The loss of completions that were judged under the controls of their quantiles, and its parts, per token."""
    each = per_token(judged)
    nll, kl, entropy = -each.logprob.mean(), each.kl.mean(), each.entropy.mean()
    total = nll + beta * kl - gamma * entropy
    parts, tokens = {"nll": nll.item(), "kl": kl.item(), "entropy": entropy.item()}, len(each.kl)
    return Loss(total, parts, tokens, tokens)
