"""The papers' equations once more, each over plain lists of probabilities and in the paper's own letters.

Nothing here knows of formulas, scores or masses.
"""

import math
from collections.abc import Sequence

Probabilities = Sequence[float]


def normalised(weights: Sequence[float]) -> list[float]:
    total = math.fsum(weights)
    return [weight / total for weight in weights]


def softmax(z: Sequence[float]) -> list[float]:
    return normalised([math.exp(each - max(z)) for each in z])


def cfg(c: Probabilities, c_bar: Probabilities, gamma: float) -> list[float]:
    """Sanchez et al.: P(w) is proportional to P(w | c)^gamma / P(w | c_bar)^(gamma - 1)."""
    return normalised([p**gamma / q ** (gamma - 1) for p, q in zip(c, c_bar, strict=True)])


def cfg_of_many(cs: Sequence[Probabilities], c_bars: Sequence[Probabilities], gamma: float) -> list[float]:
    """The same with geometric means on both sides."""
    means = [[math.prod(column) ** (1 / len(side)) for column in zip(*side, strict=True)] for side in (cs, c_bars)]
    return cfg(means[0], means[1], gamma)


def nucleus(p: Probabilities, top_p: float) -> set[int]:
    """The smallest set of likeliest tokens that holds top_p."""
    held, kept = 0.0, set()
    for token in sorted(range(len(p)), key=lambda token: -p[token]):
        kept.add(token)
        held += p[token]
        if held >= top_p:
            break
    return kept


def dexperts(base: Probabilities, plus: Probabilities, minus: Probabilities, alpha: float, top_p: float) -> list[float]:
    """Liu et al., equation 2: softmax(z' + alpha (z+ - z-)), where z' is z inside the base's nucleus."""
    kept = nucleus(base, top_p)
    rows = enumerate(zip(base, plus, minus, strict=True))
    return softmax(
        [math.log(z) + alpha * (math.log(p) - math.log(m)) if v in kept else -math.inf for v, (z, p, m) in rows]
    )


def preadd(p: Probabilities, p_prefix: Probabilities, alpha: float) -> list[float]:
    """Pei et al.: P(x) is proportional to p(x)^(1 - alpha) p(x | r)^alpha."""
    return normalised([a ** (1 - alpha) * b**alpha for a, b in zip(p, p_prefix, strict=True)])


def self_debias(p: Probabilities, biased: Sequence[Probabilities], decay: float, floor: float) -> list[float]:
    """Schick et al.: p~(w) is proportional to alpha(min over y of p(w) - p(w | sdb(x, y))) p(w)."""

    def alpha(x: float) -> float:
        return 1.0 if x >= 0 else max(math.exp(decay * x), floor)

    return normalised([alpha(min(p_w - q[w] for q in biased)) * p_w for w, p_w in enumerate(p)])


def gedi(
    p: Probabilities,
    c: Sequence[Probabilities],
    c_bar: Sequence[Probabilities],
    said: Sequence[int],
    omega: float,
    alpha: float = 1.0,
    prior: float = 0.5,
) -> list[float]:
    """Krause et al.: p(x_t | x_<t) P(c | x_1:t)^omega, where P(c | x_1:t) ~ P(c) P(x_1:t | c)^(alpha / t).

    `c` and `c_bar` are the classes' probabilities of each token, those of x_t the last; `said` is x_<t.
    """
    t = len(said) + 1

    def of_text(law: Sequence[Probabilities], x: int) -> float:
        return math.prod(law[i][token] for i, token in enumerate([*said, x])) ** (alpha / t)

    def posterior(x: int) -> float:
        desired, other = prior * of_text(c, x), (1 - prior) * of_text(c_bar, x)
        return desired / (desired + other)

    return normalised([p_x * posterior(x) ** omega for x, p_x in enumerate(p)])


def contrastive(exp: Probabilities, ama: Probabilities, alpha: float, tau: float) -> list[float]:
    """Li et al.: log p_EXP - log p_AMA inside V_head, as the score of a softmax; the amateur has temperature tau."""
    cooled = softmax([math.log(a) / tau for a in ama])
    return normalised([e / a if e >= alpha * max(exp) else 0.0 for e, a in zip(exp, cooled, strict=True)])


def proxy_tuning(base: Probabilities, plus: Probabilities, minus: Probabilities) -> list[float]:
    """Liu et al. 2024: softmax(s_M + s_M+ - s_M-)."""
    return softmax([math.log(a) + math.log(b) - math.log(c) for a, b, c in zip(base, plus, minus, strict=True)])


def context_aware(with_context: Probabilities, without: Probabilities, alpha: float) -> list[float]:
    """Shi et al.: softmax((1 + alpha) logit(y | c, x) - alpha logit(y | x))."""
    pairs = zip(with_context, without, strict=True)
    return softmax([(1 + alpha) * math.log(p) - alpha * math.log(q) for p, q in pairs])


def fudge(p: Probabilities, attribute: Probabilities, top_k: int) -> list[float]:
    """Yang and Klein: P(a | x) p(x) over the top_k likeliest tokens."""
    kept = sorted(range(len(p)), key=lambda token: -p[token])[:top_k]
    return normalised([p[x] * attribute[x] if x in kept else 0.0 for x in range(len(p))])


def union_detox(
    m: Probabilities, toxic: Probabilities, strength: float, c: Probabilities | None = None, weight: float = 0.0
) -> list[float]:
    """Dekoninck et al.: softmax of the weighted sum of log-probabilities over the sum of the models' weights."""
    judged = c or [1.0] * len(m)
    return softmax(
        [
            (math.log(a) - strength * max(math.log(b), math.log(a)) + weight * math.log(d)) / (1 - strength)
            for a, b, d in zip(m, toxic, judged, strict=True)
        ]
    )


def product_of_experts(p: Probabilities, q: Probabilities, weight: float) -> list[float]:
    """Lu et al.: p(y) q(y)^weight."""
    return normalised([a * b**weight for a, b in zip(p, q, strict=True)])
