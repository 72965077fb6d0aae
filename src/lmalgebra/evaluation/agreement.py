"""How well two judges of the same texts agree. By NumPy alone, since SciPy comes only with extras; tests compare."""

from typing import Any

import numpy as np

from lmalgebra.evaluation.statistics import Numbers
from lmalgebra.judges import THRESHOLD


def agreement(pairs: Numbers) -> dict[str, Any]:
    """Of two scores for each text, `[texts, 2]`: their correlations, of values and of ranks, and Cohen's kappa of
    yes and no (Cohen 1960), which chance alone would make 0; None where one of them never changes."""
    return {
        "texts": len(pairs),
        "pearson": _correlation(pairs),
        "spearman": _correlation(np.stack([_ranks(column) for column in pairs.T], axis=1)) if len(pairs) else None,
        "kappa": _kappa(pairs >= THRESHOLD),
    }


def _correlation(pairs: Numbers) -> float | None:
    if len(pairs) < 2 or (pairs.std(axis=0) == 0).any():
        return None
    return round(float(np.asarray(np.corrcoef(pairs.T))[0, 1]), 4)


def _ranks(values: Numbers) -> Numbers:
    """Ranks from 0 on; equal values share the mean of theirs."""
    _, places, counts = np.unique(values, return_inverse=True, return_counts=True)
    ranks: Any = np.cumsum(counts) - (counts + 1) / 2
    return np.asarray(ranks[places])


def _kappa(votes: Any) -> float | None:
    if not len(votes):
        return None
    shares = votes.mean(axis=0)
    by_chance = float(shares.prod() + (1 - shares).prod())
    if by_chance == 1:
        return None
    return round((float((votes[:, 0] == votes[:, 1]).mean()) - by_chance) / (1 - by_chance), 4)
