"""The functions of the algebra, under the names that the text syntax uses."""

from __future__ import annotations

from lmalgebra.algebra.bounds import positive
from lmalgebra.algebra.formula import (
    Constant,
    Formula,
    Intersection,
    Mix,
    Power,
    Probability,
    Scale,
    Term,
    Tilt,
    Union,
    Within,
)
from lmalgebra.algebra.mass import mass
from lmalgebra.algebra.operators import as_formula
from lmalgebra.algebra.posterior import Posterior
from lmalgebra.algebra.steer import GAIN, MOST, Follow, Hold
from lmalgebra.algebra.weights import Schedule, Weight
from lmalgebra.errors import FormulaError


def union(*operands: Formula | Weight) -> Union:
    """The elementwise maximum of formulas of equal mass: likely where any operand finds a token likely.

    Raises FormulaError without operands. Paper: Dekoninck et al., ICLR 2024, arXiv 2311.14479.
    """
    return Union(tuple(as_formula(operand) for operand in operands))


def intersection(*operands: Formula | Weight) -> Intersection:
    """The elementwise minimum of formulas of equal mass: likely where every operand finds a token likely.

    Raises FormulaError without operands. Paper: Dekoninck et al., ICLR 2024, arXiv 2311.14479.
    """
    return Intersection(tuple(as_formula(operand) for operand in operands))


def tilt(operand: Formula | Weight) -> Tilt:
    """The operand's normalised log-probabilities with mass 0: `base + 0.8 * tilt(expert)` is a product of experts.

    Paper: inference-time policy adapters, Lu et al. 2023, arXiv 2305.15065.
    """
    return Tilt(as_formula(operand))


def probability(operand: Formula | Weight) -> Probability:
    """The operand's probabilities as a score, with mass 0: 0 for what it finds impossible, 1 for what it is sure of.

    Paper: Self-Debiasing, Schick et al. 2021, arXiv 2103.00453, compares them.
    """
    return Probability(as_formula(operand))


def mix(*operands: Formula | Weight) -> Mix:
    """The weighted mean of the operands' probabilities: `mix(0.3 * a, 0.7 * b)`; a bare operand has weight 1.

    Raises FormulaError without operands, for a negative weight, a schedule as weight, or weights that are all 0.
    """
    pairs = [_weighted(as_formula(operand)) for operand in operands]
    return Mix(tuple(weight for weight, _ in pairs), tuple(formula for _, formula in pairs))


def power(operand: Formula | Weight, exponent: Weight) -> Power:
    """The operand's normalised log-probabilities times `exponent`: `power(a, 1 / T)` is a at temperature T.

    Raises FormulaError unless the exponent is positive at every position and in the limit.
    """
    return Power(as_formula(operand), exponent)


def within(
    operand: Formula | Weight, *, top_k: int | None = None, top_p: float | None = None, min_p: float | None = None
) -> Within:
    """A constraint that allows only the operand's plausible tokens, under every limit given.

    Raises FormulaError without a limit, or for one out of range. Paper: Li et al. 2023, arXiv 2210.15097 (`min_p`).
    """
    return Within(as_formula(operand), top_k, top_p, min_p)


def posterior(
    desired: Formula | Weight,
    undesired: Formula | Weight,
    *,
    scale: float = 1.0,
    prior: float = 0.5,
    length_power: float = 1.0,
) -> Posterior:
    """Log of how probably `desired`, and not `undesired`, said the text so far with the token: see Posterior.

    Raises FormulaError for numbers out of range. Paper: GeDi, Krause et al. 2021, arXiv 2009.06367.
    """
    return Posterior(as_formula(desired), as_formula(undesired), scale, prior, length_power)


def _weighted(formula: Formula) -> tuple[float, Formula]:
    if isinstance(formula, Constant):
        raise FormulaError(f"The number {formula} cannot be mixed.", "Mix formulas: mix(0.3 * a, 0.7 * b).")
    if not isinstance(formula, Scale):
        return 1.0, formula
    if isinstance(formula.weight, Schedule):
        raise FormulaError(
            f"mix takes numbers as weights, not the schedule `{formula.weight}`.",
            "Add the scheduled formulas instead: ramp(1, 0, tokens=20) * a + ramp(0, 1, tokens=20) * b.",
        )
    return formula.weight, formula.operand


def follow(operand: Formula | Weight, gauge: Term) -> Follow:
    """The operand, weighted by what a classifier says of the text so far, from 0 to 1.

    An operand that has a distribution counts as its tilt. Raises FormulaError when `gauge` is no classifier.
    """
    return Follow(_without_mass(as_formula(operand)), gauge)


def hold(
    operand: Formula | Weight,
    gauge: Term,
    target: float,
    *,
    least: float = 0.0,
    most: float = MOST,
    gain: float = GAIN,
) -> Hold:
    """The operand, under the weight from `least` to `most` that keeps what a classifier says of the text at `target`.

    An operand that has a distribution counts as its tilt: see Hold. Raises FormulaError for values out of range.
    """
    return Hold(_without_mass(as_formula(operand)), gauge, target, least, most, gain)


def _without_mass(operand: Formula) -> Formula:
    return Tilt(operand) if positive(mass(operand)) else operand
