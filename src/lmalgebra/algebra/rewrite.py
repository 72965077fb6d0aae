"""Simplification: a smaller formula with the same score and mass for every value of its leaves."""

from __future__ import annotations

from dataclasses import replace

from lmalgebra.algebra.bounds import positive
from lmalgebra.algebra.formula import (
    Constant,
    Formula,
    Intersection,
    Mix,
    Power,
    Probability,
    Scale,
    Sum,
    Term,
    Tilt,
    Union,
    Within,
)
from lmalgebra.algebra.mass import forbids
from lmalgebra.algebra.posterior import Posterior
from lmalgebra.algebra.steer import Steered
from lmalgebra.algebra.weights import Weight
from lmalgebra.errors import FormulaError


def simplify(formula: Formula) -> Formula:
    """A formula of the same score and mass with fewer parts. Simplifying twice changes nothing more.

    1. A weight on a sum is distributed, equal operands of a sum become one, numbers are added up and stand last:
       `base + 0.5 * (formal - base)` is `0.5 * base + 0.5 * formal`.
    2. What has weight 0 is dropped; a sum of nothing is the number 0, and so is a steered 0.
    3. Unions inside unions and intersections inside intersections are spliced in, equal operands become one,
       and a single operand stands alone.
    4. What is normalised (by tilt, probability, mix, power, within and posterior) loses a positive weight, which has
       no effect.
    5. `power(a, 1)` and `mix(a)` are `a` where a is normalised already: a language-model term or a mixture.
    6. In mix, equal operands become one and those of weight 0 are dropped.

    What forbids tokens keeps a weight that is not positive as it is, so that `check` still refuses it.
    """
    return _Simplifier().of(formula)


class _Simplifier:
    """Simplified parts of one formula, each computed once however often it is shared."""

    def __init__(self) -> None:
        self.known: dict[Formula, Formula] = {}

    def of(self, node: Formula) -> Formula:
        if node not in self.known:
            self.known[node] = self._compute(node)
        return self.known[node]

    def _compute(self, node: Formula) -> Formula:
        if isinstance(node, Sum | Scale):
            return self._linear(node)
        if isinstance(node, Union):
            return self._splice(node, Union)
        if isinstance(node, Intersection):
            return self._splice(node, Intersection)
        if isinstance(node, Mix):
            return self._mix(node)
        if isinstance(node, Tilt | Probability):
            return type(node)(_unscaled(self.of(node.operand)))
        if isinstance(node, Within):
            return Within(_unscaled(self.of(node.operand)), node.top_k, node.top_p, node.min_p)
        if isinstance(node, Posterior):
            desired, undesired = (_unscaled(self.of(operand)) for operand in node.operands)
            return replace(node, desired=desired, undesired=undesired)
        if isinstance(node, Steered):
            operand = self.of(node.operand)
            return operand if operand == Constant(0.0) else replace(node, operand=operand)
        if isinstance(node, Power):
            operand = _unscaled(self.of(node.operand))
            return operand if node.exponent == 1 and _is_normalised(operand) else Power(operand, node.exponent)
        return node

    def _linear(self, node: Sum | Scale) -> Formula:
        combination = _Combination()
        for weight, operand in _summands(node):
            combination.add(weight, self.of(operand))
        return combination.formula()

    def _splice(self, node: Union | Intersection, kind: type[Union] | type[Intersection]) -> Formula:
        parts: dict[Formula, None] = {}
        for operand in node.operands:
            simple = self.of(operand)
            parts.update(dict.fromkeys(simple.operands if isinstance(simple, kind) else (simple,)))
        return next(iter(parts)) if len(parts) == 1 else kind(tuple(parts))

    def _mix(self, node: Mix) -> Formula:
        weights: dict[Formula, float] = {}
        for weight, operand in zip(node.weights, node.operands, strict=True):
            simple = _unscaled(self.of(operand))
            if isinstance(simple, Constant | Scale):  # has no mass: left for `check` to refuse
                simple = operand
            if weight > 0:
                weights[simple] = weights.get(simple, 0.0) + weight
        if len(weights) == 1:
            (only,) = weights
            return only if _is_normalised(only) else Mix((1.0,), (only,))
        return Mix(tuple(weights.values()), tuple(weights))


class _Combination:
    """A linear combination of different formulas, none of them a sum, a scale or a number."""

    def __init__(self) -> None:
        self.weights: dict[Formula, Weight] = {}
        self.number: Weight = 0.0
        self.kept: list[Formula] = []

    def add(self, weight: Weight, simple: Formula) -> None:
        """Add `weight * simple`; `simple` is simplified already."""
        if isinstance(simple, Constant):
            self.number = self.number + weight * simple.weight
        elif isinstance(simple, Sum | Scale):
            self._distribute(weight, simple)
        elif not positive(weight) and forbids(simple):
            self.kept.append(Scale(weight, simple))
        else:
            self.weights[simple] = self.weights.get(simple, 0.0) + weight

    def _distribute(self, weight: Weight, simple: Sum | Scale) -> None:
        try:
            pieces = [(weight * inner, operand) for inner, operand in _summands(simple)]
        except FormulaError:  # the schedules would multiply out too far
            self.kept.append(Scale(weight, simple))
            return
        for inner, operand in pieces:
            self.add(inner, operand)

    def formula(self) -> Formula:
        parts = [operand if weight == 1 else Scale(weight, operand) for operand, weight in self._nonzero()]
        parts += self.kept
        if self.number != 0 or not parts:
            parts.append(Constant(self.number))
        return parts[0] if len(parts) == 1 else Sum(tuple(parts))

    def _nonzero(self) -> list[tuple[Formula, Weight]]:
        return [(operand, weight) for operand, weight in self.weights.items() if weight != 0]


def _summands(node: Sum | Scale) -> list[tuple[Weight, Formula]]:
    parts = node.operands if isinstance(node, Sum) else (node,)
    return [(part.weight, part.operand) if isinstance(part, Scale) else (1.0, part) for part in parts]


def _unscaled(operand: Formula) -> Formula:
    """Without a positive weight, which cancels when the operand is normalised."""
    return operand.operand if isinstance(operand, Scale) and positive(operand.weight) else operand


def _is_normalised(formula: Formula) -> bool:
    """Whether the score is already normalised log-probabilities with mass 1."""
    if isinstance(formula, Term):
        return formula.description is None or formula.description.mass == 1
    return isinstance(formula, Mix)
