"""Next-token distributions as tensors: combining, truncating and drawing. Shapes are `[rows, vocabulary]`."""

from lmalgebra.distributions.combine import intersection, mixture, plausible, tempered, union
from lmalgebra.distributions.draw import draw
from lmalgebra.distributions.truncate import Truncation, forbid, keep_min_p, keep_top_k, keep_top_p, penalise_repeats

__all__ = [
    "Truncation",
    "draw",
    "forbid",
    "intersection",
    "keep_min_p",
    "keep_top_k",
    "keep_top_p",
    "mixture",
    "penalise_repeats",
    "plausible",
    "tempered",
    "union",
]
