"""A formula in which some terms say nothing, for asking what difference they make."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import replace
from functools import reduce

from lmalgebra.algebra import operators
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
from lmalgebra.algebra.mass import mass
from lmalgebra.algebra.posterior import Posterior
from lmalgebra.algebra.steer import Steered


def without(formula: Formula, absent: Collection[Term], reference: Term) -> Formula:
    """`formula` as if the terms in `absent` said nothing that `reference`, a language model, does not say.

    What is left out is replaced with what has its mass and says nothing new, so that the formula's mass, and with it
    its temperature, stays as it is at every position:

    1. a language model by `reference`;
    2. a bias by 0;
    3. a tilt, a probability, a posterior or a constraint by within by 0, when any term in it is absent.

    So `base + 2 * (expert - antiexpert)` without `antiexpert` is `base + 2 * (expert - base)`, and without both it is
    `base`, up to simplification. A formula that has a distribution keeps having one.
    """
    return _Replacement(absent, reference).of(formula)


class _Replacement:
    """What one formula's parts become, each computed once; a part that lacks nothing is left as it is."""

    def __init__(self, absent: Collection[Term], reference: Term) -> None:
        self.absent = frozenset(absent)
        self.reference = reference
        self.known: dict[int, Formula] = {}

    def of(self, node: Formula) -> Formula:
        if id(node) not in self.known:
            self.known[id(node)] = self._compute(node)
        return self.known[id(node)]

    def _compute(self, node: Formula) -> Formula:
        if isinstance(node, Term):
            return self._term(node)
        parts = tuple(self.of(operand) for operand in node.operands)
        if all(part is operand for part, operand in zip(parts, node.operands, strict=True)):
            return node
        if isinstance(node, Tilt | Probability | Posterior | Within):
            return Constant(0.0)
        if isinstance(node, Sum):
            return reduce(operators.add, parts)
        if isinstance(node, Scale):
            return operators.scaled(node.weight, parts[0])
        if isinstance(node, Power):
            return Power(parts[0], node.exponent)
        if isinstance(node, Steered):
            return replace(node, operand=parts[0])
        if isinstance(node, Mix):
            return Mix(node.weights, parts)
        assert isinstance(node, Union | Intersection)
        return type(node)(parts)

    def _term(self, node: Term) -> Formula:
        if node not in self.absent:
            return node
        return self.reference if mass(node) else Constant(0.0)
