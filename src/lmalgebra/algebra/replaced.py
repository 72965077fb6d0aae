"""A formula in which other terms stand for some."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields, replace
from typing import Any

from lmalgebra.algebra.formula import Formula, Term


def replaced(formula: Formula, terms: Mapping[Term, Term]) -> Formula:
    """`formula` with each of `terms`, wherever it stands, replaced by the other; what steers a weight stays."""
    return _Replaced(terms).of(formula)


class _Replaced:
    """What one formula's parts become, each computed once."""

    def __init__(self, terms: Mapping[Term, Term]) -> None:
        self.known = dict[Formula, Formula](terms.items())

    def of(self, node: Formula) -> Formula:
        if node not in self.known:
            self.known[node] = self._rebuilt(node)
        return self.known[node]

    def _rebuilt(self, node: Formula) -> Formula:
        if isinstance(node, Term):
            return node
        changes: dict[str, Any] = {}
        for field in fields(node):  # type: ignore[arg-type]
            value = getattr(node, field.name)
            if field.name == "operands":
                changes["operands"] = tuple(self.of(operand) for operand in value)
            elif isinstance(value, Formula) and value in node.operands:
                changes[field.name] = self.of(value)
        return replace(node, **changes) if changes else node  # type: ignore[type-var]
