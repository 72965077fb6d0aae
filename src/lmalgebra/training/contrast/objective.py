"""The objective of contrastive perplexity, as functions of tensors (Klein and Nabi, ACL 2025, arXiv 2401.08491).

Of an anchor with positives P and negatives N, where l(x) is the mean token loss of a text in nats:

    phi(x) = l(x), or exp l(x)                                                  equation 1, which is the latter
    c      = mean of phi over P                                                 equation 5
    s(x)   = exp(-|phi(x) - c| / tau)                                           equation 4, which has tau outside
    loss   = -log( sum_P s / (sum_P s + alpha sum_N s + sum_R s) )              equations 2, 3 and 6

R are negatives of other anchors, which the paper's published code has. That code computes another loss from the same
similarities, `softmax_loss` here. docs/contrastive.md says where text and code differ, and which is the default.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True)
class Phis:
    """phi of an anchor's sequences, `[positives]`, `[negatives]`, and `[random]` of other anchors' negatives."""

    positives: Tensor
    negatives: Tensor
    random: Tensor


@dataclass(frozen=True)
class Contrast:
    """How anchors are contrasted; the names are those of the settings."""

    loss: str = "ratio"
    distance: str = "absolute"
    prototype: str = "group"
    prototype_gradient: bool = True
    tau: float = 1.0
    alpha: float = 1.0

    def __call__(self, anchors: Sequence[Phis]) -> Tensor:
        """The mean loss of the anchors that have positives and something to tell them from; 0 where none has."""
        fit = [each for each in anchors if len(each.positives) and len(each.negatives) + len(each.random)]
        if not fit:
            return torch.stack([each.positives.sum() for each in anchors]).sum() * 0.0
        shared = torch.cat([each.positives for each in fit]).mean()
        losses = [self._of(each, shared if self.prototype == "batch" else each.positives.mean()) for each in fit]
        return torch.stack(losses).mean()

    def _of(self, phis: Phis, prototype: Tensor) -> Tensor:
        prototype = prototype if self.prototype_gradient else prototype.detach()
        return LOSSES[self.loss](phis, prototype, self)


def ratio_loss(phis: Phis, prototype: Tensor, how: Contrast) -> Tensor:
    """-log( sum_P s / (sum_P s + alpha sum_N s + sum_R s) ), of log s, so that nothing under- or overflows."""
    positives = -(phis.positives - prototype).abs() / how.tau
    far = DISTANCES[how.distance]
    negatives = math.log(how.alpha) - far(phis.negatives - prototype) / how.tau
    random = -far(phis.random - prototype) / how.tau
    return torch.logsumexp(torch.cat([positives, negatives, random]), 0) - torch.logsumexp(positives, 0)


def softmax_loss(phis: Phis, prototype: Tensor, how: Contrast) -> Tensor:
    """The published code's: -sum_P log softmax(z) / (|P| + |R| + 1), z = exp(-|phi - c|) / tau, alpha more for N."""
    similarities = [
        torch.exp(-(each - prototype).abs()) / how.tau for each in (phis.positives, phis.negatives, phis.random)
    ]
    logits = torch.cat([similarities[0], similarities[1] + how.alpha, similarities[2]])
    losses = torch.logsumexp(logits, 0) - similarities[0]
    return losses.sum() / (len(phis.positives) + len(phis.random) + 1)


DISTANCES: dict[str, Callable[[Tensor], Tensor]] = {"absolute": torch.abs, "signed": torch.positive}
"""How far phi is from the prototype. By the absolute distance a negative that is likelier than the positives is made
likelier still; by the signed one every negative is made less likely."""

LOSSES: dict[str, Callable[[Phis, Tensor, Contrast], Tensor]] = {"ratio": ratio_loss, "softmax": softmax_loss}


def phi_of(losses: Tensor, phi: str) -> Tensor:
    """phi of mean token losses: these, or the perplexity."""
    return losses if phi == "log-perplexity" else losses.exp()


def divergence(start: Tensor, now: Tensor) -> Tensor:
    """KL(start || now) of each row of logits, `[rows, vocabulary]`, in nats, `[rows]`."""
    before, after = torch.log_softmax(start, -1), torch.log_softmax(now, -1)
    return (before.exp() * (before - after)).sum(-1)
