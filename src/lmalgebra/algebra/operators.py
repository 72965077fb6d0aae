"""What `+ - * / | &` do with formulas, numbers and schedules; the text syntax uses the same functions."""

from __future__ import annotations

from lmalgebra.algebra.base import Formula, quoted
from lmalgebra.algebra.formula import MAX_DEPTH, MAX_OPERANDS, Constant, Intersection, Scale, Sum, Union
from lmalgebra.algebra.weights import Weight, as_weight, inverse, shown
from lmalgebra.errors import FormulaError


def as_formula(value: object) -> Formula:
    """A formula as it is, a number or a schedule as a Constant; raises FormulaError for anything else."""
    return value if isinstance(value, Formula) else Constant(as_weight(value))


def add(left: object, right: object) -> Formula:
    """`left + right`, spliced into one sum. Looks only at the seam, so a long sum built step by step stays fast."""
    one, two = as_formula(left), as_formula(right)
    head, tail = _summands(one), _summands(two)
    if isinstance(head[-1], Constant) and isinstance(tail[0], Constant):
        head, tail = (*head[:-1], Constant(head[-1].weight + tail[0].weight)), tail[1:]
    joined = (*head, *tail)
    if len(joined) == 1:
        return joined[0]
    if len(joined) > MAX_OPERANDS or max(one.depth, two.depth) >= MAX_DEPTH:
        return Sum(joined)  # refuses what is too long or too deep
    return Sum.from_parts(joined, max(part.depth + (not isinstance(part, Sum)) for part in (one, two)))


def subtract(left: object, right: object) -> Formula:
    """`left - right`."""
    return add(left, scaled(-1.0, as_formula(right)))


def multiply(left: object, right: object) -> Formula:
    """`left * right`, of which one is a number or a schedule."""
    if isinstance(left, Formula) and isinstance(right, Formula):
        raise FormulaError(
            f"{quoted(left)} * {quoted(right)} multiplies two formulas, which has no meaning here.",
            "Only numbers and schedules multiply; add the formulas, or take their intersection(...).",
        )
    formula, weight = (left, right) if isinstance(left, Formula) else (right, left)
    return scaled(as_weight(weight), as_formula(formula))


def divide(left: object, right: object) -> Formula:
    """`left / right`, of which the right is a number."""
    if isinstance(right, Formula):
        above = quoted(left) if isinstance(left, Formula) else shown(left)
        raise FormulaError(
            f"{above} / {quoted(right)} divides by a formula, which has no meaning here.",
            "Divide by a number; to steer away from a formula, subtract it.",
        )
    return scaled(inverse(as_weight(right)), as_formula(left))


def scaled(weight: Weight, formula: Formula) -> Formula:
    """The formula times a weight; a number times a number is a number."""
    return Constant(weight * formula.weight) if isinstance(formula, Constant) else Scale(weight, formula)


def unite(left: object, right: object) -> Formula:
    """`left | right`, with `a | b | c` as one union."""
    one, two = as_formula(left), as_formula(right)
    return Union((*one.operands, two) if isinstance(one, Union) else (one, two))


def intersect(left: object, right: object) -> Formula:
    """`left & right`, with `a & b & c` as one intersection."""
    one, two = as_formula(left), as_formula(right)
    return Intersection((*one.operands, two) if isinstance(one, Intersection) else (one, two))


def _summands(formula: Formula) -> tuple[Formula, ...]:
    return formula.operands if isinstance(formula, Sum) else (formula,)
