"""Whether counts could have come from a distribution.

A test that asks for a p-value above FALSE_ALARM fails by chance once in a million seeds; all seeds here are fixed, so
a test that passes once passes always.
"""

from collections import Counter
from collections.abc import Hashable, Mapping

import torch

FALSE_ALARM = 1e-6
_FEWEST = 5
"""Outcomes expected more rarely are counted together: the statistic is chi-squared only for common ones."""


def p_value(counts: Counter[Hashable], law: Mapping[Hashable, float]) -> float:
    """Pearson's: the probability that draws from `law` stray at least as far from it as `counts` do."""
    total = counts.total()
    if any(law.get(outcome, 0.0) == 0 for outcome in counts):
        return 0.0
    common = {outcome: p for outcome, p in law.items() if p * total >= _FEWEST}
    cells = [(counts[outcome], p * total) for outcome, p in common.items()]
    cells.append((total - sum(found for found, _ in cells), total - sum(expected for _, expected in cells)))
    cells = [(found, expected) for found, expected in cells if expected >= _FEWEST]
    statistic = sum((found - expected) ** 2 / expected for found, expected in cells)
    half = torch.tensor([(len(cells) - 1) / 2, statistic / 2], dtype=torch.float64)
    return float(torch.special.gammaincc(half[0], half[1]))
