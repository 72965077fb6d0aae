"""What every node of a formula shares: operators, equality and hash by content, depth and leaves."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, fields
from types import ModuleType
from typing import TYPE_CHECKING, Any

from lmalgebra.algebra.weights import Weight, is_weight_like

if TYPE_CHECKING:
    from lmalgebra.algebra.formula import Term


@dataclass(frozen=True)
class Description:
    """What a term stands for, as data; nothing is loaded.

    `mass` is 1 for a language model and 0 for a bias (a classifier or a constraint).
    `forbids` says whether the score can be `-inf` for some tokens.
    """

    @property
    def mass(self) -> float:
        """The term's mass."""
        return 1.0

    @property
    def forbids(self) -> bool:
        """Whether the term can forbid tokens."""
        return False


class Formula:
    """Base of all nodes. Equal by content, hashable, and closed under `+ - * / | &` with numbers and schedules."""

    operands: tuple[Formula, ...]
    _depth: int
    _hash: int
    __array_ufunc__ = None  # a NumPy scalar on the left leaves the operator to us

    @property
    def depth(self) -> int:
        """How many levels the formula nests; a term has 1."""
        return self._depth

    def leaves(self) -> tuple[Term, ...]:
        """The distinct terms, in order of first appearance."""
        from lmalgebra.algebra.formula import Term

        return tuple(dict.fromkeys(node for node in self._nodes() if isinstance(node, Term)))

    def gauges(self) -> tuple[Term, ...]:
        """The distinct classifiers that steer weights in it, in order of first appearance; they are no leaves."""
        from lmalgebra.algebra.steer import Steered

        return tuple(dict.fromkeys(node.gauge for node in self._nodes() if isinstance(node, Steered)))

    def _nodes(self) -> Iterator[Formula]:
        """Itself and what it is made of, each object once, from left to right; deep formulas need no deep stack."""
        seen: set[int] = set()
        waiting: list[Formula] = [self]
        while waiting:
            node = waiting.pop()
            if id(node) not in seen:
                seen.add(id(node))
                yield node
                waiting.extend(reversed(node.operands))

    def mass(self) -> Weight:
        """The number that the score is divided by; see `lmalgebra.algebra.mass`."""
        from lmalgebra.algebra.mass import mass

        return mass(self)

    def simplify(self) -> Formula:
        """A smaller formula of the same score and mass; see `lmalgebra.algebra.rewrite`."""
        from lmalgebra.algebra.rewrite import simplify

        return simplify(self)

    def tree(self) -> str:
        """One line for each node, indented under its parent."""
        from lmalgebra.algebra.printing import tree

        return tree(self)

    def to_json(self) -> dict[str, Any]:
        """Plain dictionaries and lists; `formula_from_json` reads them back."""
        from lmalgebra.algebra.json_form import to_json

        return to_json(self)

    def __str__(self) -> str:
        from lmalgebra.algebra.printing import text

        return text(self)

    def __repr__(self) -> str:
        from lmalgebra.algebra.printing import brief

        return f"{type(self).__name__}({brief(self)!r})"

    def __eq__(self, other: object) -> bool:
        return _same(self, other) if isinstance(other, Formula) else NotImplemented

    def __hash__(self) -> int:
        if "_hash" not in self.__dict__:
            object.__setattr__(self, "_hash", hash((type(self).__name__, self._own(), self.operands)))
        return self._hash

    def __reduce__(self) -> tuple[Any, ...]:
        # Rebuilt from its fields: a cached hash does not hold in another process.
        return type(self), tuple(getattr(self, field.name) for field in fields(self))  # type: ignore[arg-type]

    def _own(self) -> tuple[object, ...]:
        """What equality compares besides the operands."""
        return ()

    def __add__(self, other: object) -> Formula:
        return _operators().add(self, other) if _is_value(other) else NotImplemented

    def __radd__(self, other: object) -> Formula:
        return _operators().add(other, self) if _is_value(other) else NotImplemented

    def __sub__(self, other: object) -> Formula:
        return _operators().subtract(self, other) if _is_value(other) else NotImplemented

    def __rsub__(self, other: object) -> Formula:
        return _operators().subtract(other, self) if _is_value(other) else NotImplemented

    def __mul__(self, other: object) -> Formula:
        return _operators().multiply(self, other) if _is_value(other) else NotImplemented

    def __rmul__(self, other: object) -> Formula:
        return _operators().multiply(self, other) if _is_value(other) else NotImplemented

    def __truediv__(self, other: object) -> Formula:
        return _operators().divide(self, other) if _is_value(other) else NotImplemented

    def __rtruediv__(self, other: object) -> Formula:
        return _operators().divide(other, self) if _is_value(other) else NotImplemented

    def __or__(self, other: object) -> Formula:
        return _operators().unite(self, other) if _is_value(other) else NotImplemented

    def __ror__(self, other: object) -> Formula:
        return _operators().unite(other, self) if _is_value(other) else NotImplemented

    def __and__(self, other: object) -> Formula:
        return _operators().intersect(self, other) if _is_value(other) else NotImplemented

    def __rand__(self, other: object) -> Formula:
        return _operators().intersect(other, self) if _is_value(other) else NotImplemented

    def __neg__(self) -> Formula:
        negated: Formula = _operators().scaled(-1.0, self)
        return negated

    def __pos__(self) -> Formula:
        return self


def quoted(formula: Formula) -> str:
    """The formula for an error message, cut when it is long."""
    from lmalgebra.algebra.printing import brief

    return f"`{brief(formula)}`"


def _operators() -> ModuleType:
    # Imported late: the operators build nodes, and nodes are made from this base.
    from lmalgebra.algebra import operators

    return operators


def _is_value(value: object) -> bool:
    return isinstance(value, Formula) or is_weight_like(value)


def _same(one: Formula, two: Formula) -> bool:
    """Equality without recursion, each pair of shared nodes once."""
    waiting, seen = [(one, two)], set()
    while waiting:
        left, right = waiting.pop()
        if left is right or (id(left), id(right)) in seen:
            continue
        if type(left) is not type(right) or hash(left) != hash(right) or left._own() != right._own():
            return False
        if len(left.operands) != len(right.operands):
            return False
        seen.add((id(left), id(right)))
        waiting.extend(zip(left.operands, right.operands, strict=True))
    return True
