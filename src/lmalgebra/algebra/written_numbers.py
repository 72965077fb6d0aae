"""The numbers in a formula's text: where each stands and what it says, so that it can be changed in its place."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from dataclasses import dataclass
from math import inf, isfinite
from typing import NamedTuple

from lmalgebra.algebra.parse import arguments, place, syntax
from lmalgebra.algebra.source import Source


@dataclass(frozen=True)
class WrittenNumber:
    """The number `value`, which stands from the character `start` to before `end`, with its own minus sign, if any.

    `argument` is what a function such as `within` calls it ("top_p"); empty for a weight. `of` is the text that it
    weighs, or the name of the function; empty for a number that stands alone.
    """

    start: int
    end: int
    value: float
    argument: str
    of: str


def written_numbers(text: str) -> tuple[WrittenNumber, ...]:
    """The finite numbers of a text in their order, whatever its names and values mean.

    Raises FormulaError for what is no expression, as `parse` does.
    """
    source = Source.read(text)
    tree = syntax(source)
    roles: dict[ast.AST, _Role] = {}
    found = []
    for node in ast.walk(tree):  # parents before children, and no recursion: a formula may be a long chain
        role = roles.get(node, _Role())
        number = None if role.is_told else _value(node)
        if number is None:
            roles |= dict(_roles(source, node, role))
        elif isfinite(number):
            found.append(WrittenNumber(*place(source, node), number, role.argument, role.of))  # type: ignore[arg-type]
        if number is not None and isinstance(node, ast.UnaryOp):
            roles[node.operand] = _Role(is_told=True)
    return tuple(sorted(found, key=lambda each: each.start))


class _Role(NamedTuple):
    """What a part of a formula is to what it stands in; see WrittenNumber."""

    argument: str = ""
    of: str = ""
    is_told: bool = False


def _roles(source: Source, node: ast.AST, own: _Role) -> Iterator[tuple[ast.AST, _Role]]:
    """The roles of a node's parts."""
    if isinstance(node, ast.UnaryOp):
        yield node.operand, own
    if isinstance(node, ast.BinOp) and isinstance(node.op, ast.Mult | ast.Div):
        yield node.left, _Role(of=_text(source, node.right))
        yield node.right, _Role(of=_text(source, node.left))
    if isinstance(node, ast.Call) and isinstance(node.func, ast.Name):
        names = arguments(node.func.id)
        for at, argument in enumerate(node.args):
            yield argument, _Role(names[at] if at < len(names) else "", node.func.id)
        for keyword in node.keywords:
            yield keyword.value, _Role(keyword.arg or "", node.func.id)


def _text(source: Source, node: ast.expr) -> str:
    """A node as it is written, in the brackets that the syntax tree forgets."""
    start, end = place(source, node)
    text = source.line[start:end]
    return f"({text})" if isinstance(node, ast.BinOp) else text


def _value(node: ast.AST) -> float | None:
    """The number that a node writes, a minus sign before it included; None for any other node."""
    sign = 1
    if isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.USub):
        sign, node = -1, node.operand
    number = node.value if isinstance(node, ast.Constant) else None
    if isinstance(number, bool) or not isinstance(number, int | float):
        return None
    try:
        return sign * float(number)
    except OverflowError:
        return inf
