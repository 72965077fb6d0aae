"""Quantities over prompts, how sure they are, and how two of them differ.

Intervals are bootstraps over prompts (Efron 1979): the prompts are what was drawn, all samples of one prompt stay
together. Two voices that answered the same prompts are compared on the same draws, which is the paired bootstrap.
Percentiles are taken as far out as few prompts need ("expanded percentiles", Hesterberg, The American Statistician
2015, arXiv 1411.5279): draws from n prompts vary too little, by the square root of (n - 1) / n, and how much they vary
is itself uncertain, as in Student's t. From some hundred prompts on that changes nothing.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from math import exp, log1p, sqrt
from statistics import NormalDist
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lmalgebra.errors import EvaluationError

Numbers = NDArray[np.float64]

LEVEL = 0.95
"""Share of the draws that an interval holds."""

DRAWS = 2000
"""Draws of a bootstrap that gives intervals."""

COMPARED_DRAWS = 10_000
"""Draws of one that gives probabilities, which stay small when they are corrected for how many there are."""

COUNTED = 10
"""Draws that contradict a sign, from which on their share is taken as it is."""

BLOCK = 1 << 22
"""Numbers that are drawn at once."""

SAME = 1e-9
"""A difference below this share of the values is rounding."""


@dataclass(frozen=True, eq=False)
class Quantity:
    """A sum over prompts divided by another: `numerators` and `denominators`, `[prompts]`.

    A mean over prompts has ones for denominators; a prompt that could not be measured, or not as a finite number, has 0
    for both. With `is_exponent` the value is e to that ratio, as of perplexities. `lower_is_better` is None where
    neither is.
    """

    numerators: Numbers
    denominators: Numbers
    is_exponent: bool = False
    lower_is_better: bool | None = None

    def __post_init__(self) -> None:
        finite = np.isfinite(self.numerators) & np.isfinite(self.denominators) & (self.denominators > 0)
        for name in ("numerators", "denominators"):
            object.__setattr__(self, name, np.where(finite, getattr(self, name), 0.0))

    @property
    def value(self) -> float:
        """What is reported; NaN where no prompt was measured."""
        return float(self._scaled(_ratio(self.numerators.sum(), self.denominators.sum())))

    @property
    def measured(self) -> int:
        """How many prompts could be measured."""
        return int((self.denominators > 0).sum())

    def draws(self, count: int = DRAWS, seed: int = 0) -> Numbers:
        """The value over prompts drawn with replacement, `[count]`; one seed draws the same prompts for each."""
        return self._scaled(_drawn_ratios([self], count, seed)[:, 0])

    def interval(self, level: float = LEVEL) -> tuple[float, float]:
        """Between which values the share `level` of the draws lies, or more if prompts are few; NaN for less than 2."""
        return percentiles(self.draws(), self.measured, level)

    def of(self, places: Sequence[int]) -> "Quantity":
        """The same over some of the prompts."""
        chosen = list(places)
        return Quantity(self.numerators[chosen], self.denominators[chosen], self.is_exponent, self.lower_is_better)

    def _scaled(self, ratio: Numbers) -> Numbers:
        with np.errstate(over="ignore"):
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
    def from_dict(found: Mapping[str, Any]) -> "Quantity":
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


def percentiles(draws: Numbers, prompts: int, level: float = LEVEL) -> tuple[float, float]:
    """The ends of the interval of draws from so many prompts; NaN for less than two, which show no variation."""
    draws = draws[~np.isnan(draws)]
    if prompts < 2 or not len(draws):
        return float("nan"), float("nan")
    beyond = NormalDist().cdf(-reach(prompts, level))
    low, high = np.quantile(draws, [beyond, 1 - beyond])
    return float(low), float(high)


def reach(prompts: int, level: float = LEVEL) -> float:
    """How many standard deviations of draws from so many prompts (2 at least) an interval reaches to each side."""
    return _student(NormalDist().inv_cdf((1 + level) / 2), prompts - 1) * sqrt(prompts / (prompts - 1))


@dataclass(frozen=True)
class Difference:
    """How `second` differs from `first` on the `prompts` that both could measure; of exponents, by which factor.

    `p` is the probability of as large a difference where there is none, by how often the paired bootstrap contradicts
    the sign.
    """

    first: float
    second: float
    difference: float
    low: float
    high: float
    p: float
    prompts: int
    is_factor: bool = field(default=False)


def compared(first: Quantity, second: Quantity, level: float = LEVEL) -> Difference:
    """The difference of two quantities of the same prompts; see `differences`."""
    return differences([(first, second)], level)[0]


def differences(pairs: Sequence[tuple[Quantity, Quantity]], level: float = LEVEL) -> list[Difference]:
    """The difference of each two quantities, all of the same prompts, by draws that all share.

    Of each two, only prompts that both could measure count. Raises EvaluationError where there are none.
    """
    if len({len(each.numerators) for pair in pairs for each in pair}) > 1:
        raise EvaluationError("These are not quantities of the same prompts.", "Take the same prompts, in one order.")
    both = [_where_both(first, second) for first, second in pairs]
    draws = _drawn_ratios([each for pair in both for each in pair], COMPARED_DRAWS) if both else np.zeros((1, 0))
    return [
        _difference(first, second, _without_rounding(draws[:, 2 * place : 2 * place + 2]), level)
        for place, (first, second) in enumerate(both)
    ]


def _where_both(first: Quantity, second: Quantity) -> tuple[Quantity, Quantity]:
    """Both as if only those prompts could be measured that could be for each."""
    if first.is_exponent != second.is_exponent:
        raise EvaluationError("These are not two values of one quantity.", "Compare a quantity with itself.")
    measured = (first.denominators > 0) & (second.denominators > 0)
    if not measured.any():
        raise EvaluationError("No prompt was measured for both.", "Compare voices that answered the same prompts.")
    one, other = (
        replace(each, numerators=each.numerators * measured, denominators=each.denominators * measured)
        for each in (first, second)
    )
    return one, other


def _difference(first: Quantity, second: Quantity, draws: Numbers, level: float) -> Difference:
    low, high = percentiles(draws, first.measured, level)
    p = _p(draws[~np.isnan(draws)], first.measured)
    ours, theirs, is_factor = first.value, second.value, first.is_exponent
    low, high = first._scaled(np.array([low, high])).tolist()
    difference = theirs / ours if is_factor else theirs - ours
    return Difference(ours, theirs, difference, low, high, p, first.measured, is_factor)


def least_p(prompts: int) -> float:
    """The probability that a difference that is none has one sign on every prompt: no comparison can give less.

    A bootstrap of four prompts that all went one way never contradicts them, though one in eight sets of four does so.
    """
    return 2.0 ** (1 - max(1, prompts))


def holm(ps: Sequence[float]) -> list[float]:
    """Probabilities corrected for how many were looked at (Holm 1979)."""
    corrected = [0.0] * len(ps)
    least = 0.0
    for rank, place in enumerate(sorted(range(len(ps)), key=lambda place: ps[place])):
        least = max(least, min(1.0, ps[place] * (len(ps) - rank)))
        corrected[place] = least
    return corrected


def _ratio(above: Any, below: Any) -> Numbers:
    return np.asarray(above, dtype=float) / np.where(np.asarray(below) > 0, below, np.nan)


def _drawn_ratios(quantities: Sequence[Quantity], count: int, seed: int = 0) -> Numbers:
    """The ratio of each over prompts that are drawn with replacement, the same for all, `[count, quantities]`."""
    above = np.stack([each.numerators for each in quantities], axis=1)
    below = np.stack([each.denominators for each in quantities], axis=1)
    return np.concatenate([_ratio(weights @ above, weights @ below) for weights in _weights(len(above), count, seed)])


def _weights(prompts: int, count: int, seed: int) -> Iterator[Numbers]:
    """How often each prompt is drawn, `[some of count, prompts]` at a time."""
    generator = np.random.default_rng(seed)
    most = max(1, BLOCK // max(1, prompts))
    for start in range(0, count, most):
        rows = min(most, count - start)
        drawn = generator.integers(prompts, size=(rows, prompts)) if prompts else np.zeros((rows, 0), dtype=int)
        cells = (drawn + np.arange(rows)[:, None] * prompts).ravel()
        yield np.bincount(cells, minlength=rows * prompts).reshape(rows, prompts).astype(float)


def _without_rounding(ratios: Numbers) -> Numbers:
    """Second less first, of `[draws, 2]`; what only rounding makes differ is the same."""
    difference: Numbers = ratios[:, 1] - ratios[:, 0]
    return np.where(np.abs(difference) <= SAME * np.abs(ratios).max(axis=1), 0.0, difference)


def _p(draws: Numbers, prompts: int) -> float:
    """Two-sided: below 1 - level where the interval of that level leaves out 0, unless prompts are few.

    By how many draws contradict the sign; where those are too few to be counted, by how many standard deviations the
    draws are away from 0.
    """
    if prompts < 2:
        return 1.0
    against = int(min((draws <= 0).sum(), (draws >= 0).sum()))
    away = -NormalDist().inv_cdf(min(0.5, (against + 1) / (len(draws) + 1)))
    if against < COUNTED:
        middle = abs(float(draws.mean()))
        away = max(away, middle / max(float(draws.std()), SAME * middle))
    deviations = _normal(away / sqrt(prompts / (prompts - 1)), prompts - 1)
    return max(2 * NormalDist().cdf(-deviations), least_p(prompts))


def _student(z: float, freedom: int) -> float:
    """The t of Student's distribution that is as probable as a normal deviation z, by Wallace (1959).

    Within 2 % from 3 degrees of freedom on, and too wide below.
    """
    scaled = z * (8 * freedom + 3) / (8 * freedom + 1)
    return sqrt(freedom * (exp(min(scaled**2 / freedom, 700)) - 1))


def _normal(t: float, freedom: int) -> float:
    """The inverse of `_student`."""
    return sqrt(freedom * log1p(t**2 / freedom)) * (8 * freedom + 1) / (8 * freedom + 3)


def _rounded(value: float, digits: int = 6) -> float | None:
    """Six significant digits, which is more than any interval is worth; None for what is no number, as JSON has it."""
    return float(f"{value:.{digits}g}") if np.isfinite(value) else None
