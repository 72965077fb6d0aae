"""Published methods of steering, each as the formula that it is.

Where a default is the paper's own, the docstring says so. Weights may be schedules. Every function raises FormulaError
for what the formula cannot hold.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TypeAlias

from lmalgebra.algebra.bias import Bias
from lmalgebra.algebra.build import intersection, posterior, power, probability, tilt, union, within
from lmalgebra.algebra.formula import Formula
from lmalgebra.algebra.weights import Schedule, Weight, as_number, shown
from lmalgebra.errors import FormulaError

Several: TypeAlias = Formula | Sequence[Formula]
"""One formula, or a list of them."""


def cfg(prompted: Several, plain: Several, gamma: Weight = 1.5) -> Formula:
    """Classifier-free guidance: go from what is said without the prompt towards, and past, what is said with it.

    Sanchez et al., ICML 2024, arXiv 2306.17806: log p(w | plain) + gamma (log p(w | prompted) - log p(w | plain)),
    where `plain` lacks the prompt or has a negative one; gamma 1.5 is the paper's for most tasks. The paper has one
    prompt on each side; here several are averaged, as log-probabilities.
    """
    positive, negative = _mean(prompted, "prompted"), _mean(plain, "plain")
    return negative + gamma * (positive - negative)


def dexperts(base: Formula, expert: Formula, antiexpert: Formula, alpha: Weight = 2.0, top_p: float = 0.9) -> Formula:
    """DExperts: towards an expert and away from an anti-expert, among the tokens that the base finds plausible.

    Liu et al., ACL 2021, arXiv 2105.03023, equation 2: softmax(z + alpha (z+ - z-)), with z cut to the base's nucleus
    `top_p` first; alpha 2.0 is the paper's against toxicity. `top_p=1` cuts nothing.
    """
    steered = base + alpha * (expert - antiexpert)
    return steered if top_p == 1 else steered + within(base, top_p=top_p)


def preadd(base: Formula, prefixed: Formula, alpha: Weight = -1.0) -> Formula:
    """PreADD: scale the difference that a prefix makes, with a negative weight to do the contrary of what it asks.

    Pei et al., Findings of ACL 2023, arXiv 2307.03214: log p(x) + alpha d, where d = log p(x | prefix) - log p(x).
    alpha -1 is the paper's against toxicity.
    """
    return base + alpha * (prefixed - base)


def self_debias(base: Formula, biased: Several, decay: Weight = 50.0, floor: float = 0.01) -> Formula:
    """Self-Debiasing: tokens that grow likelier under a description of what is unwanted lose probability.

    Schick et al., TACL 2021, arXiv 2103.00453: p(w) alpha(D(w)), where D(w) = p(w) - p(w | biased), the least over
    several descriptions, and alpha(x) is 1 for x >= 0 and exp(decay x) below. decay 50 is the paper's; as in the
    authors' code no factor falls below `floor`, and 0 sets no floor.
    """
    differences = [decay * (probability(base) - probability(each)) for each in _listed(biased, "biased")]
    factor: Formula = intersection(0, *differences)
    least = as_number(floor, "floor of self_debias")
    if not 0 <= least < 1:
        raise FormulaError(f"floor={shown(floor)} of self_debias is not from 0 to below 1.", "Write floor=0.01.")
    return base + (union(math.log(least), factor) if least else factor)


def gedi(
    base: Formula,
    desired: Formula,
    undesired: Formula,
    omega: Weight = 30.0,
    scale: float = 1.0,
    prior: float = 0.5,
) -> Formula:
    """GeDi: weigh each token by the probability that the desired class, and not the other, says the text with it.

    Krause et al., Findings of EMNLP 2021, arXiv 2009.06367: p(x) P(desired | text and x)^omega, by Bayes' rule over two
    class-conditional language models whose likelihoods have the exponent scale / length; omega 30 is the paper's. It
    learns `scale` and `prior` together with the class-conditional model. It also drops tokens of a low posterior, which
    is not part of this formula.
    """
    return base + omega * posterior(desired, undesired, scale=scale, prior=prior)


def contrastive(expert: Formula, amateur: Formula, alpha: float = 0.1, temperature: float = 1.0) -> Formula:
    """Contrastive decoding: what an expert finds likelier than an amateur does, where the expert finds it plausible.

    Li et al., ACL 2023, arXiv 2210.15097: log p(x | expert) - log p(x | amateur) for tokens at least `alpha` times as
    likely as the expert's likeliest; alpha 0.1 is the paper's. `temperature` is the amateur's; the authors also use
    0.5. The paper searches for the best text (greedy: temperature=0 of the voice); this is its score as a distribution.
    """
    if not 0 <= as_number(alpha, "alpha of contrastive decoding") <= 1:
        raise FormulaError(f"alpha={shown(alpha)} of contrastive decoding is not from 0 to 1.", "Write alpha=0.1.")
    cooled = amateur if temperature == 1 else power(amateur, 1 / _positive(temperature))
    return expert - tilt(cooled) + within(expert, min_p=alpha)


def proxy_tuning(base: Formula, tuned: Formula, untuned: Formula, alpha: Weight = 1.0) -> Formula:
    """Proxy-tuning: give a large model the difference that tuning made to a small one.

    Liu et al., COLM 2024, arXiv 2401.08565: softmax(s(base) + s(tuned) - s(untuned)); `alpha` weighs the difference,
    and 1 is the paper's.
    """
    return base + alpha * (tuned - untuned)


def context_aware(informed: Formula, uninformed: Formula, alpha: Weight = 0.5) -> Formula:
    """Context-aware decoding: strengthen what the context says against what the model believes without it.

    Shi et al., NAACL 2024, arXiv 2305.14739: softmax((1 + alpha) logit(y | context, x) - alpha logit(y | x)). alpha 0.5
    is the paper's for summaries; it uses 1 where the context contradicts what the model knows.
    """
    return informed + alpha * (informed - uninformed)


def fudge(base: Formula, classifier: Formula, weight: Weight = 1.0, top_k: int = 200) -> Formula:
    """FUDGE: weigh each of the base's likeliest tokens by how probable a classifier then finds the attribute.

    Yang and Klein, NAACL 2021, arXiv 2104.05218: p(x | a, text) is proportional to P(a | text and x) p(x | text), over
    the 200 likeliest tokens, which is the paper's number. The classifier must score as many.
    """
    for leaf in classifier.leaves():
        scored = leaf.description.candidates if isinstance(leaf.description, Bias) else 0
        if 0 < scored < top_k:
            raise FormulaError(
                f"The classifier `{leaf.name}` scores {scored} tokens, and top_k={shown(top_k)} of fudge leaves more.",
                f"Give the classifier top_k={shown(top_k)}, or fudge top_k={scored}.",
            )
    return base + weight * classifier + within(base, top_k=top_k)


def union_detox(base: Formula, toxic: Formula, strength: Weight = 0.96) -> Formula:
    """Detoxification by a union: away from what a toxic context makes likelier, and from that only.

    Dekoninck et al., ICLR 2024, arXiv 2311.14479: M - 0.96 union(M_toxic, M), with the paper's weight; it is below 1.
    """
    if not isinstance(strength, Schedule) and as_number(strength, "strength of the union") >= 1:
        raise FormulaError(
            f"strength={shown(strength)} of the union is not below 1, so it takes away all that the base says.",
            "Write strength=0.96.",
        )
    return base - strength * union(toxic, base)


def union_detox_classifier(
    base: Formula, toxic: Formula, classifier: Formula, strength: Weight = 0.96, weight: Weight = 0.04
) -> Formula:
    """Detoxification by a union and a classifier of what is not toxic.

    Dekoninck et al., ICLR 2024, arXiv 2311.14479: M - 0.96 union(M_toxic, M) + 0.04 C, with the paper's weights.
    """
    return union_detox(base, toxic, strength) + weight * classifier


def product_of_experts(base: Formula, adapter: Formula, weight: Weight = 1.0) -> Formula:
    """A product of experts: a small policy in front of a base that stays as it is.

    Inference-time policy adapters, Lu et al., EMNLP 2023, arXiv 2305.15065: p(y) is proportional to the base's
    probability times the adapter's; `weight` is the adapter's exponent, and 1 is the paper's.
    """
    return base + weight * tilt(adapter)


def _listed(given: Several, name: str) -> list[Formula]:
    found = [given] if isinstance(given, Formula) else list(given)
    if not found:
        raise FormulaError(f"{name} names no formula.", "Give one, or a list of them.")
    return found


def _mean(given: Several, name: str) -> Formula:
    """The mean of the log-probabilities of one formula or several."""
    first, *others = _listed(given, name)
    total = first
    for each in others:
        total = total + each
    return total / (1 + len(others)) if others else first


def _positive(temperature: float) -> float:
    if as_number(temperature, "temperature of the amateur") <= 0:
        raise FormulaError(f"temperature={shown(temperature)} of the amateur is not above 0.", "Write temperature=0.5.")
    return temperature
