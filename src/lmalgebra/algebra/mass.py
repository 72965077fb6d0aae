"""The mass of a formula, and whether the formula has a distribution at all.

A formula's distribution is `log_softmax(score / mass)`, so its mass must be positive at every position. What forbids
tokens scores them `-inf`, so its weight must stay positive: subtracting it, or scaling it by 0, gives no number.
"""

from __future__ import annotations

import math

from lmalgebra.algebra.base import Formula, quoted
from lmalgebra.algebra.bounds import agree, first_not_positive, positive
from lmalgebra.algebra.formula import Constant, Mix, Power, Probability, Scale, Sum, Term, Tilt, Union, Within
from lmalgebra.algebra.posterior import Posterior
from lmalgebra.algebra.printing import brief
from lmalgebra.algebra.steer import Steered
from lmalgebra.algebra.weights import Weight, weight_text
from lmalgebra.errors import FormulaError


def mass(formula: Formula) -> Weight:
    """The formula's mass, a number or a schedule.

    Raises FormulaError when the operands of a union or an intersection inside differ in mass.
    """
    return _Masses().of(formula)


def forbids(formula: Formula) -> bool:
    """Whether some token can have the score `-inf` in a formula whose leaves forbid only what they say."""
    return _Forbidders().of(formula)


def check(formula: Formula) -> None:
    """Raise FormulaError unless the formula has a distribution at every position.

    1. Every part is sound: equal masses in a union or an intersection, a positive mass in what is normalised, none in
       what is steered, and a positive weight on what forbids tokens.
    2. The formula's own mass is positive.
    3. No two different terms share a name, since the text could not tell them apart.
    """
    masses, forbidders = _Masses(), _Forbidders()
    for node in _distinct_nodes(formula):
        masses.of(node)
        if isinstance(node, Tilt | Probability | Power | Within | Mix | Posterior):
            for operand in node.operands:
                _require_positive(operand, masses.of(operand), type(node).__name__.lower())
        if isinstance(node, Steered):
            _require_steerable(node, masses.of(node.operand), forbidders.of(node.operand))
        if isinstance(node, Scale) and forbidders.of(node.operand) and not positive(node.weight):
            raise _forbidding(node)
    _require_positive(formula, masses.of(formula))
    _require_distinct_names(formula)


class _Masses:
    """Masses of one formula's parts, each computed once however often it is shared."""

    def __init__(self) -> None:
        self.known: dict[int, Weight] = {}

    def of(self, node: Formula) -> Weight:
        if id(node) not in self.known:
            self.known[id(node)] = self._compute(node)
        return self.known[id(node)]

    def _compute(self, node: Formula) -> Weight:
        if isinstance(node, Term):
            return 1.0 if node.description is None else node.description.mass
        if isinstance(node, Constant | Tilt | Probability | Within | Posterior | Steered):
            return 0.0
        if isinstance(node, Mix | Power):
            return 1.0
        if isinstance(node, Scale):
            return node.weight * self.of(node.operand)
        if isinstance(node, Sum):
            total: Weight = 0.0
            for operand in node.operands:
                total = total + self.of(operand)
            return total
        return self._common(node)

    def _common(self, node: Formula) -> Weight:
        first = self.of(node.operands[0])
        for operand in node.operands[1:]:
            if not agree(first, self.of(operand)):
                name = type(node).__name__.lower()
                listed = ", ".join(f"{quoted(part)} has {weight_text(self.of(part))}" for part in node.operands[:8])
                raise FormulaError(
                    f"The operands of {name} must have one mass, but {listed}.",
                    "Scale them to the same mass, or take the larger one apart.",
                )
        return first


class _Forbidders:
    """Which parts of one formula can score a token `-inf`."""

    def __init__(self) -> None:
        self.known: dict[int, bool] = {}

    def of(self, node: Formula) -> bool:
        if id(node) not in self.known:
            self.known[id(node)] = self._compute(node)
        return self.known[id(node)]

    def _compute(self, node: Formula) -> bool:
        if isinstance(node, Term):
            return node.description is not None and node.description.forbids
        if isinstance(node, Within):
            return True
        if isinstance(node, Probability):
            return False
        if isinstance(node, Posterior):
            return self.of(node.desired)
        if isinstance(node, Union | Mix):  # one operand that allows a token is enough
            return all(self.of(operand) for operand in _that_count(node))
        return any(self.of(operand) for operand in node.operands)


def _that_count(node: Formula) -> tuple[Formula, ...]:
    if isinstance(node, Mix):
        return tuple(part for weight, part in zip(node.weights, node.operands, strict=True) if weight > 0)
    return node.operands


def _distinct_nodes(formula: Formula) -> list[Formula]:
    """Every node once, operands before what they stand in."""
    ordered: list[Formula] = []
    seen: set[int] = set()
    waiting = [formula]
    while waiting:
        node = waiting.pop()
        if id(node) not in seen:
            seen.add(id(node))
            ordered.append(node)
            waiting.extend(node.operands)
    return ordered[::-1]


def _require_positive(formula: Formula, its_mass: Weight, operand_of: str = "") -> None:
    position = first_not_positive(its_mass)
    if position is None:
        return
    subject = f"The operand {quoted(formula)} of {operand_of}" if operand_of else quoted(formula)
    if isinstance(its_mass, float | int):
        shown = "0" if abs(its_mass) < 1e-9 else weight_text(its_mass)
        raise FormulaError(f"{subject} has mass {shown} and so no distribution.", _mend(formula))
    where = "falls to 0 in the limit" if math.isinf(position) else f"is not positive at position {int(position)}"
    raise FormulaError(
        f"{subject} has the mass {weight_text(its_mass)}, which {where}, and so no distribution there.",
        "Change the schedule, or add a language model whose weight stays positive.",
    )


def _mend(formula: Formula) -> str:
    """What to write instead of a formula without mass."""
    text = brief(formula)
    models = [leaf.name for leaf in formula.leaves() if _Masses().of(leaf) == 1]
    if text.endswith("…") or not models:
        return "Add a language model to it, such as `base + 0.8 * tilt(expert)`."
    subtracted = _subtracted(formula)
    if subtracted is not None:
        return f"A difference says only what changes; write `{subtracted} + ({text})`."
    bracketed = f"({text})" if isinstance(formula, Sum | Scale) else text
    return f"Add a language model to it, such as `{models[0]} + {bracketed}`."


def _subtracted(formula: Formula) -> str | None:
    """The name of the term that a difference takes away, as `base` in `formal - base`."""
    for operand in formula.operands if isinstance(formula, Sum) else ():
        if isinstance(operand, Scale) and operand.weight == -1 and isinstance(operand.operand, Term):
            return operand.operand.name
    return None


def _forbidding(node: Scale) -> FormulaError:
    return FormulaError(
        f"{quoted(node.operand)} forbids tokens, so its weight must stay above 0; it is {weight_text(node.weight)}.",
        "Give it a positive weight; what forbids tokens cannot be subtracted or faded out.",
    )


def _require_steerable(node: Steered, its_mass: Weight, forbids: bool) -> None:
    if forbids:
        raise FormulaError(
            f"{quoted(node.operand)} forbids tokens, so {node.verb} cannot steer its weight, which may become 0.",
            "Add it to the formula by itself.",
        )
    if its_mass != 0:
        raise FormulaError(
            f"{quoted(node.operand)} has the mass {weight_text(its_mass)}, and {node.verb} steers what has mass 0.",
            f"Write {node.verb}(formal - base, ...), or {node.verb}(tilt(formal), ...).",
        )


def _require_distinct_names(formula: Formula) -> None:
    names: set[str] = set()
    for leaf in dict.fromkeys((*formula.leaves(), *formula.gauges())):
        if leaf.name in names:
            raise FormulaError(f"Two different terms are both named '{leaf.name}'.", "Give each term its own name.")
        names.add(leaf.name)
