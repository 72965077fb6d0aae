"""The part of a formula that some of its terms say without the others, which drafts for the whole.

Source: speculative sampling with several models, model arithmetic (Dekoninck et al., ICLR 2024, arXiv 2311.14479).
"""

from __future__ import annotations

from collections.abc import Collection

from lmalgebra.algebra.bounds import positive
from lmalgebra.algebra.formula import Constant, Formula, Mix, Power, Scale, Sum, Term
from lmalgebra.algebra.mass import check, mass
from lmalgebra.algebra.rewrite import simplify
from lmalgebra.errors import FormulaError


def partial(formula: Formula, known: Collection[Term]) -> Formula | None:
    """The simplified formula of the terms in `known` alone, or None where they have no distribution.

    1. A sum keeps what is left of its summands; numbers count as known, but numbers alone are nothing.
    2. A union, an intersection, a tilt, a probability, a posterior or a constraint by within stays when all its terms
       are known.
    3. A power is taken of what is left, and a mixture mixes what is left of its operands with their weights; what has
       no distribution of its own there counts as nothing.
    4. The whole that is left must pass `check`, its mass positive at every position.

    With all terms known it is the simplified formula. Known terms that do not occur change nothing.
    """
    try:
        left = _Restriction(known).of(simplify(formula))
        if left is None:
            return None
        simple = simplify(left)
        check(simple)
    except FormulaError:
        return None
    return simple


class _Restriction:
    """What is left of one formula's parts, each computed once; a part that is wholly known is left as it is."""

    def __init__(self, known: Collection[Term]) -> None:
        self.terms = frozenset(known)
        self.left: dict[int, Formula | None] = {}

    def of(self, node: Formula) -> Formula | None:
        if id(node) not in self.left:
            self.left[id(node)] = self._compute(node)
        return self.left[id(node)]

    def _compute(self, node: Formula) -> Formula | None:
        if isinstance(node, Term):
            return node if node in self.terms else None
        if all(self.of(operand) is operand for operand in node.operands):
            return node
        if isinstance(node, Sum):
            return self._sum(node)
        if isinstance(node, Scale):
            rest = self.of(node.operand)
            return None if rest is None else Scale(node.weight, rest)
        if isinstance(node, Power):
            rest = self._distribution(node.operand)
            return None if rest is None else Power(rest, node.exponent)
        return self._mix(node) if isinstance(node, Mix) else None

    def _sum(self, node: Sum) -> Formula | None:
        left = [rest for operand in node.operands if (rest := self.of(operand)) is not None]
        if all(isinstance(rest, Constant) for rest in left):
            return None
        return left[0] if len(left) == 1 else Sum(tuple(left))

    def _mix(self, node: Mix) -> Formula | None:
        pairs = [(weight, self._distribution(part)) for weight, part in zip(node.weights, node.operands, strict=True)]
        left = [(weight, rest) for weight, rest in pairs if rest is not None]
        return Mix(tuple(weight for weight, _ in left), tuple(rest for _, rest in left)) if left else None

    def _distribution(self, node: Formula) -> Formula | None:
        """What is left of a part that is normalised, without a weight; None where that has no distribution."""
        rest = self.of(node)
        if rest is None or rest is node:
            return rest
        if not positive(mass(rest)):
            return None
        return rest.operand if isinstance(rest, Scale) and positive(rest.weight) else rest
