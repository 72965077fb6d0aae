"""Formulas as text: one line that parses back to an equal formula, or a tree."""

from __future__ import annotations

from lmalgebra.algebra.formula import Constant, Formula, Mix, Power, Scale, Sum, Term, Within
from lmalgebra.algebra.posterior import Posterior
from lmalgebra.algebra.steer import Steered
from lmalgebra.algebra.weights import Schedule, Weight, number_text, weight_text
from lmalgebra.errors import FormulaError

MAX_WRITTEN_NODES = 200_000
"""A formula whose parts are shared can be far longer on paper than in memory; longer than this it is not written."""


def text(formula: Formula) -> str:
    """One line of canonical text with few parentheses; `parse` reads it back to an equal formula.

    Raises FormulaError when shared parts make the text longer than MAX_WRITTEN_NODES nodes.
    """
    require_writable(formula)
    return _text(formula)


def brief(formula: Formula, longest: int = 100) -> str:
    """The text for an error message, cut when it is long. Never raises."""
    count = written_nodes(formula)
    if count > MAX_WRITTEN_NODES:
        return f"a formula of {count} nodes"
    line = _text(formula)
    return line if len(line) <= longest else line[: longest - 1] + "…"


def tree(formula: Formula) -> str:
    """One line for each node, two spaces deeper than its parent."""
    require_writable(formula)
    lines: list[str] = []
    waiting = [("", formula)]
    while waiting:
        indent, node = waiting.pop()
        lines.append(indent + _label(node))
        waiting.extend((indent + "  ", operand) for operand in reversed(node.operands))
    return "\n".join(lines)


def written_nodes(formula: Formula) -> int:
    """How many nodes the formula has when every shared part is written out each time."""
    counts: dict[int, int] = {}

    def count(node: Formula) -> int:
        if id(node) not in counts:
            counts[id(node)] = 1 + sum(count(operand) for operand in node.operands)
        return counts[id(node)]

    return count(formula)


def require_writable(formula: Formula) -> None:
    """Raise FormulaError when the formula is too long to write out."""
    count = written_nodes(formula)
    if count > MAX_WRITTEN_NODES:
        raise FormulaError(
            f"The formula has {count} nodes when it is written out; at most {MAX_WRITTEN_NODES} are written.",
            "Call simplify() first, so that equal parts become one.",
        )


def _text(node: Formula) -> str:
    if isinstance(node, Term):
        return node.name
    if isinstance(node, Constant):
        return weight_text(node.weight)
    if isinstance(node, Sum):
        return _text(node.operands[0]) + "".join(_signed(operand) for operand in node.operands[1:])
    if isinstance(node, Scale):
        return _scaled_text(node.weight, node.operand)
    if isinstance(node, Mix):
        return f"mix({', '.join(_mixed(w, part) for w, part in zip(node.weights, node.operands, strict=True))})"
    arguments = [_text(operand) for operand in node.operands] + _settings(node)
    return f"{_name(node)}({', '.join(arguments)})"


def _signed(summand: Formula) -> str:
    """A summand after the first, with its sign."""
    if isinstance(summand, Constant):
        if _is_sum(summand.weight):
            return f" + ({weight_text(summand.weight)})"
        if _is_negative(summand.weight):
            return f" - {weight_text(-summand.weight)}"
    if isinstance(summand, Scale) and _is_negative(summand.weight):
        if summand.weight == -1:
            return f" - {_factor(summand.operand)}"
        return f" - {_scaled_text(-summand.weight, summand.operand)}"
    return f" + {_text(summand)}"


def _scaled_text(weight: Weight, operand: Formula) -> str:
    if weight == -1:
        return f"-{_factor(operand)}"
    shown = f"({weight})" if _is_sum(weight) else weight_text(weight)
    return f"{shown} * {_factor(operand)}"


def _mixed(weight: float, operand: Formula) -> str:
    return _text(operand) if weight == 1 else _scaled_text(weight, operand)


def _factor(operand: Formula) -> str:
    return f"({_text(operand)})" if isinstance(operand, Sum) else _text(operand)


def _is_sum(weight: Weight) -> bool:
    return isinstance(weight, Schedule) and len(weight.products) > 1


def _is_negative(weight: Weight) -> bool:
    if isinstance(weight, Schedule):
        return len(weight.products) == 1 and weight.products[0][0] < 0
    return weight < 0


def _name(node: Formula) -> str:
    return type(node).__name__.lower()


def _settings(node: Formula) -> list[str]:
    if isinstance(node, Steered):
        return [node.gauge.name, *_given(node)]
    if isinstance(node, Posterior):
        return _given(node)
    if isinstance(node, Power):
        return [weight_text(node.exponent)]
    if isinstance(node, Within):
        return [
            f"{name}={number_text(value)}"
            for name, value in (("top_k", node.top_k), ("top_p", node.top_p), ("min_p", node.min_p))
            if value is not None
        ]
    return []


def _given(node: Steered | Posterior) -> list[str]:
    return [f"{key}={number_text(value)}" for key, value in node.settings().items()]


def _label(node: Formula) -> str:
    """A node's line in the tree, without its operands."""
    if isinstance(node, Term):
        return node.name
    if isinstance(node, Constant):
        return weight_text(node.weight)
    if isinstance(node, Scale):
        return f"scale {weight_text(node.weight)}"
    if isinstance(node, Mix):
        return "mix " + ", ".join(number_text(weight) for weight in node.weights)
    return " ".join([_name(node), *_settings(node)])
