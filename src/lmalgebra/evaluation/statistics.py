"""Quantities over prompts, how sure they are, and how two of them differ.

Intervals are percentile bootstraps over prompts (Efron 1979): the prompts are what was drawn, all samples of one prompt
stay together. Two voices that answered the same prompts are compared on the same draws, which is the paired bootstrap.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

Numbers = NDArray[np.float64]

LEVEL = 0.95
"""Share of the draws that an interval holds."""

DRAWS = 2000
"""Draws of a bootstrap."""


@dataclass(frozen=True, eq=False)
class Quantity:
    """A sum over prompts divided by another: `numerators` and `denominators`, `[prompts]`.

    A mean over prompts has ones for denominators; a prompt that could not be measured has 0 for both. With
    `is_exponent` the value is e to that ratio, as of perplexities. `lower_is_better` is None where neither is.
    """

    numerators: Numbers
    denominators: Numbers
    is_exponent: bool = False
    lower_is_better: bool | None = None

    @property
    def value(self) -> float:
        """What is reported; NaN where no prompt was measured."""
        return float(self._ratio(self.numerators.sum(), self.denominators.sum()))

    def draws(self, count: int = DRAWS, seed: int = 0) -> Numbers:
        """The value over prompts drawn with replacement, `[count]`; one seed draws the same prompts for each."""
        weights = _weights(len(self.numerators), count, seed)
        return self._ratio(weights @ self.numerators, weights @ self.denominators)

    def interval(self, level: float = LEVEL) -> tuple[float, float]:
        """Between which values the share `level` of the draws lies."""
        draws = self.draws()
        draws = draws[~np.isnan(draws)]
        if not len(draws):
            return float("nan"), float("nan")
        low, high = np.quantile(draws, [(1 - level) / 2, (1 + level) / 2])
        return float(low), float(high)

    def of(self, places: Sequence[int]) -> "Quantity":
        """The same over some of the prompts."""
        chosen = list(places)
        return Quantity(self.numerators[chosen], self.denominators[chosen], self.is_exponent, self.lower_is_better)

    def _ratio(self, above: Any, below: Any) -> Numbers:
        with np.errstate(invalid="ignore", divide="ignore"):
            ratio = np.asarray(above, dtype=float) / np.where(np.asarray(below) > 0, below, np.nan)
        return np.exp(ratio) if self.is_exponent else ratio

    def to_dict(self) -> dict[str, Any]:
        """As in a result file: the value, its interval, and what they rest on."""
        low, high = self.interval()
        found: dict[str, Any] = {"value": _rounded(self.value), "low": _rounded(low), "high": _rounded(high)}
        if self.is_exponent:
            found["is_exponent"] = True
        if self.lower_is_better is not None:
            found["lower_is_better"] = self.lower_is_better
        found["numerators"] = [_rounded(each) for each in self.numerators]
        if not (self.denominators == 1).all():
            found["denominators"] = [_rounded(each) for each in self.denominators]
        return found

    @staticmethod
    def from_dict(found: dict[str, Any]) -> "Quantity":
        """What `to_dict` gave. Raises KeyError, TypeError or ValueError for anything else."""
        above = np.array(found["numerators"], dtype=float)
        below = np.array(found.get("denominators", np.ones(len(above))), dtype=float)
        if above.shape != below.shape or above.ndim != 1:
            raise ValueError("numerators and denominators are not lists of one length")
        return Quantity(above, below, bool(found.get("is_exponent", False)), found.get("lower_is_better"))


def mean_of(values: Sequence[float | None], lower_is_better: bool | None = None) -> Quantity:
    """The mean of what each prompt gave; None where it could not be measured."""
    return Quantity(
        np.array([0.0 if value is None else value for value in values], dtype=float),
        np.array([value is not None for value in values], dtype=float),
        lower_is_better=lower_is_better,
    )


@dataclass(frozen=True)
class Difference:
    """How `second` differs from `first` on the same prompts; of exponents, by which factor.

    `p` is how often the paired bootstrap contradicts the sign, doubled: the probability of as large a difference
    where there is none.
    """

    first: float
    second: float
    difference: float
    low: float
    high: float
    p: float
    is_factor: bool = field(default=False)


def compared(first: Quantity, second: Quantity, level: float = LEVEL) -> Difference:
    """The difference of two quantities of the same prompts, by draws they share.

    Only prompts that both could measure count.
    """
    both = [
        place
        for place, (one, other) in enumerate(zip(first.denominators, second.denominators, strict=True))
        if one > 0 and other > 0
    ]
    first, second = first.of(both), second.of(both)
    is_factor = first.is_exponent
    ours, theirs = (np.log(each.draws()) if is_factor else each.draws() for each in (first, second))
    draws = theirs - ours
    low, high = np.quantile(draws, [(1 - level) / 2, (1 + level) / 2])
    against = min((draws <= 0).sum(), (draws >= 0).sum())
    found = [low, high]
    if is_factor:
        found = [float(np.exp(each)) for each in found]
    difference = second.value / first.value if is_factor else second.value - first.value
    p = min(1.0, 2 * (against + 1) / (len(draws) + 1))
    return Difference(first.value, second.value, difference, float(found[0]), float(found[1]), p, is_factor)


def holm(ps: Sequence[float]) -> list[float]:
    """Probabilities corrected for how many were looked at (Holm 1979)."""
    corrected = [0.0] * len(ps)
    least = 0.0
    for rank, place in enumerate(sorted(range(len(ps)), key=lambda place: ps[place])):
        least = max(least, min(1.0, ps[place] * (len(ps) - rank)))
        corrected[place] = least
    return corrected


def _weights(prompts: int, count: int, seed: int) -> Numbers:
    """How often each prompt is drawn, `[count, prompts]`."""
    if not prompts:
        return np.zeros((count, 0))
    generator = np.random.default_rng(seed)
    return generator.multinomial(prompts, np.full(prompts, 1 / prompts), size=count).astype(float)


def _rounded(value: float, digits: int = 6) -> float | None:
    """Six significant digits, which is more than any interval is worth; None for what is no number, as JSON has it."""
    return float(f"{value:.{digits}g}") if np.isfinite(value) else None
