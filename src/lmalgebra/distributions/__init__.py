"""Next-token distributions as tensors: combining, truncating, drawing, judging drafts. Shapes: `[rows, vocabulary]`."""

from lmalgebra.distributions.combine import intersection, log_posterior, log_ratio, mixture, plausible, tempered, union
from lmalgebra.distributions.draw import draw
from lmalgebra.distributions.speculate import accept_probability, overlap, residual
from lmalgebra.distributions.truncate import (
    Truncation,
    add_to_tokens,
    forbid,
    keep_min_p,
    keep_top_k,
    keep_top_p,
    penalise_counts,
    penalise_repeats,
)
from lmalgebra.distributions.unseen import fill_unseen

__all__ = [
    "Truncation",
    "accept_probability",
    "add_to_tokens",
    "draw",
    "fill_unseen",
    "forbid",
    "intersection",
    "keep_min_p",
    "keep_top_k",
    "keep_top_p",
    "log_posterior",
    "log_ratio",
    "mixture",
    "overlap",
    "penalise_counts",
    "penalise_repeats",
    "plausible",
    "residual",
    "tempered",
    "union",
]
