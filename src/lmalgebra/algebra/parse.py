"""Text to formula: a subset of Python expressions, read through `ast` with a whitelist.

Names, numbers, `+ - * / | &` and the functions of `lmalgebra.algebra.build`; nothing is ever evaluated as Python.
"""

from __future__ import annotations

import ast
import difflib
import operator
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from threading import RLock
from typing import Any, TypeAlias

from lmalgebra.algebra import build
from lmalgebra.algebra.formula import FUNCTION_NAMES, Constant, Formula, Term
from lmalgebra.algebra.operators import as_formula
from lmalgebra.algebra.source import Source
from lmalgebra.algebra.weights import Schedule, as_number, decay, ramp
from lmalgebra.errors import FormulaError

Value: TypeAlias = int | float | Schedule | Formula

_OPERATORS: dict[type[ast.operator], Callable[[Any, Any], Any]] = {
    ast.Add: operator.add,
    ast.Sub: operator.sub,
    ast.Mult: operator.mul,
    ast.Div: operator.truediv,
    ast.BitOr: operator.or_,
    ast.BitAnd: operator.and_,
}
_OPERATORS_HINT = "Operators: + - * / | &."

_PARSING = RLock()
"""Held while `ast` parses: its threads share a count of how deep they are, and may raise SystemError for each other's
(Python 3.11)."""


@dataclass(frozen=True)
class _Function:
    """A function of the text syntax: how it is built, and what it takes."""

    make: Callable[..., Any]
    usage: str
    positional: tuple[str, ...] | None  # None: any number
    keywords: tuple[str, ...] = ()


_FUNCTIONS = {
    "union": _Function(build.union, "union(a, b, ...)", None),
    "intersection": _Function(build.intersection, "intersection(a, b, ...)", None),
    "tilt": _Function(build.tilt, "tilt(a)", ("operand",)),
    "probability": _Function(build.probability, "probability(a)", ("operand",)),
    "mix": _Function(build.mix, "mix(0.3 * a, 0.7 * b)", None),
    "power": _Function(build.power, "power(a, exponent)", ("operand", "exponent"), ("exponent",)),
    "within": _Function(
        build.within, "within(a, top_k=50, top_p=0.95, min_p=0.1)", ("operand",), ("top_k", "top_p", "min_p")
    ),
    "posterior": _Function(
        build.posterior,
        "posterior(desired, undesired, scale=1, prior=0.5, length_power=1)",
        ("desired", "undesired"),
        ("desired", "undesired", "scale", "prior", "length_power"),
    ),
    "follow": _Function(build.follow, "follow(formal - base, classifier)", ("operand", "gauge"), ("gauge",)),
    "hold": _Function(
        build.hold,
        "hold(formal - base, classifier, target=0.8)",
        ("operand", "gauge", "target"),
        ("gauge", "target", "least", "most", "gain"),
    ),
    "ramp": _Function(ramp, "ramp(start, end, tokens=20)", ("start", "end"), ("start", "end", "tokens")),
    "decay": _Function(decay, "decay(start, half_life=16)", ("start",), ("start", "half_life")),
}
_REQUIRED = {
    "tilt": 1,
    "probability": 1,
    "power": 2,
    "within": 1,
    "posterior": 2,
    "follow": 2,
    "hold": 3,
    "ramp": 3,
    "decay": 2,
}


def parse(text: str, terms: Mapping[str, Term] | None = None) -> Formula:
    """The formula that a text stands for.

    With `terms`, a name must be one of them; without, every name becomes a term without description.
    Raises FormulaError, showing the text with carets under the mistake.
    """
    source = Source.read(text)
    value = _Reader(source, terms).value(syntax(source))
    return value if isinstance(value, Formula) else Constant(value)


def syntax(source: Source) -> ast.expr:
    """The syntax tree of a formula's text. Raises FormulaError for what is no expression of Python."""
    # In brackets, leading space is no indentation and the whole is one expression. They shift places by one.
    wrapped = f"({source.line})"
    try:
        with _PARSING:
            return ast.parse(wrapped, mode="eval").body
    except SyntaxError as error:
        place = max(0, (error.offset or 1) - 2)
        last = max(0, len(source.line.rstrip()) - 1)
        raise source.error(
            "The formula cannot be read here.", min(place, last), min(place, last) + 1, "Is something missing?"
        ) from None
    except (RecursionError, MemoryError, ValueError):
        raise FormulaError("The formula nests too deeply to be read.", "Write it with fewer levels.") from None


class _Reader:
    """Walks the syntax tree, allowing only what formulas use."""

    def __init__(self, source: Source, terms: Mapping[str, Term] | None) -> None:
        self.source = source
        self.terms = terms

    def value(self, node: ast.expr) -> Value:
        if isinstance(node, ast.BinOp):
            return self._binary(node)
        if isinstance(node, ast.UnaryOp):
            return self._unary(node)
        if isinstance(node, ast.Name):
            return self._name(node)
        if isinstance(node, ast.Constant):
            return self._number(node)
        if isinstance(node, ast.Call):
            return self._call(node)
        raise self._refused(node)

    def _binary(self, node: ast.BinOp) -> Value:
        """A chain such as `a + b - c` leans left and may be long, so it is walked in a loop."""
        chain: list[ast.BinOp] = []
        left: ast.expr = node
        while isinstance(left, ast.BinOp):
            chain.append(left)
            left = left.left
        value = self.value(left)
        for link in reversed(chain):
            apply = _OPERATORS.get(type(link.op))
            if apply is None:
                raise self._error("This operator is not part of formulas.", link, _OPERATORS_HINT)
            right = self.value(link.right)
            if isinstance(link.op, ast.BitOr | ast.BitAnd):
                value = as_formula(value)  # Python would combine the bits of two whole numbers
            value = self._built(link, apply, value, right)
        return value

    def _unary(self, node: ast.UnaryOp) -> Value:
        signs: list[ast.UnaryOp] = []
        inner: ast.expr = node
        while isinstance(inner, ast.UnaryOp):
            if not isinstance(inner.op, ast.USub | ast.UAdd):
                raise self._error("This operator is not part of formulas.", inner, _OPERATORS_HINT)
            signs.append(inner)
            inner = inner.operand
        value = self.value(inner)
        for sign in reversed(signs):
            if isinstance(sign.op, ast.USub):
                value = self._built(sign, operator.neg, value)
        return value

    def _name(self, node: ast.Name) -> Value:
        name = node.id
        if name in FUNCTION_NAMES:
            raise self._error(f"`{name}` is a function.", node, f"Write {_FUNCTIONS[name].usage}.")
        if self.terms is None:
            return self._built(node, Term, name)
        if name not in self.terms:
            known = f"Known terms: {', '.join(self.terms)}." if self.terms else "No terms are known."
            raise self._error(f"`{name}` is not a term.", node, _closest(name, self.terms) + known)
        return self.terms[name]

    def _number(self, node: ast.Constant) -> Value:
        number = node.value
        if isinstance(number, bool) or not isinstance(number, int | float):
            raise self._error("This is not a number.", node, "Write one such as 2, 0.5 or 1e-3.")
        return self._finite(node, number)

    def _call(self, node: ast.Call) -> Value:
        if not isinstance(node.func, ast.Name):
            raise self._error("Only a function's name can stand before brackets.", node.func, _known_functions())
        name = node.func.id
        function = _FUNCTIONS.get(name)
        if function is None:
            hint = _closest(name, _FUNCTIONS) + _known_functions()
            raise self._error(f"`{name}` is not a function.", node.func, hint)
        self._check_arguments(node, name, function)
        positional = [self.value(argument) for argument in node.args]
        keywords = {str(argument.arg): self.value(argument.value) for argument in node.keywords}
        return self._built(node, function.make, *positional, **keywords)

    def _check_arguments(self, node: ast.Call, name: str, function: _Function) -> None:
        usage = f"Write {function.usage}."
        for argument in node.keywords:
            if argument.arg not in function.keywords:
                given = f"`{argument.arg}=`" if argument.arg else "`**`"
                closest = _closest(argument.arg or "", function.keywords)
                raise self._error(f"`{name}` has no argument {given}.", argument, closest + usage)
        if function.positional is None:
            return
        if len(node.args) > len(function.positional):
            extra = node.args[len(function.positional)]
            raise self._error(f"`{name}` takes no argument here.", extra, usage)
        given_names = [*function.positional[: len(node.args)], *(str(argument.arg) for argument in node.keywords)]
        if len(set(given_names)) < len(given_names):
            raise self._error(f"`{name}` is given one argument twice.", node, usage)
        if len(given_names) < _REQUIRED[name]:
            raise self._error(f"`{name}` lacks an argument.", node, usage)

    def _built(self, node: ast.expr, make: Callable[..., Any], *arguments: Any, **keywords: Any) -> Value:
        """What `make` returns; its error gets the place."""
        try:
            value = make(*arguments, **keywords)
        except FormulaError as error:
            raise self._error(error.message, node, error.hint) from None
        except ZeroDivisionError:
            raise self._error("This divides by 0.", node, "Divide by another number.") from None
        except OverflowError:
            raise self._error("This number is too large.", node, "Write a smaller one.") from None
        return self._finite(node, value) if isinstance(value, int | float) else value

    def _finite(self, node: ast.expr, number: int | float) -> int | float:
        try:
            as_number(number)
        except FormulaError:
            raise self._error("This number is too large.", node, "Write a smaller one.") from None
        return number

    def _refused(self, node: ast.expr) -> FormulaError:
        if isinstance(node, ast.Tuple):
            return self._error("A comma belongs inside a function.", node, "Write union(a, b), or a + b.")
        if isinstance(node, ast.Attribute):
            return self._error("A dot is part of a number only.", node, "Name a term without dots.")
        return self._error("This is not part of formulas.", node, _known_functions())

    def _error(self, message: str, node: ast.expr | ast.keyword, hint: str = "") -> FormulaError:
        start, end = place(self.source, node)
        return self.source.error(message, start, max(end, start + 1), hint)


def place(source: Source, node: ast.expr | ast.keyword) -> tuple[int, int]:
    """Where a node of `syntax(source)` stands in the text: from its first character to after its last."""
    encoded = f"({source.line})".encode()  # Python counts bytes of UTF-8, with our opening bracket
    ends = (node.col_offset, node.end_col_offset or node.col_offset + 1)
    start, end = (max(0, len(encoded[:offset].decode()) - 1) for offset in ends)
    return start, end


def usages() -> dict[str, str]:
    """The functions of the text syntax by name, each with how it is written."""
    return {name: function.usage for name, function in _FUNCTIONS.items()}


def arguments(name: str) -> tuple[str, ...]:
    """What the function `name` calls its first arguments; nothing where it takes any number of formulas."""
    function = _FUNCTIONS.get(name)
    return () if function is None else function.positional or ()


def _closest(name: str, known: Mapping[str, object] | tuple[str, ...]) -> str:
    found = difflib.get_close_matches(name, list(known), n=1)
    return f"Did you mean `{found[0]}`? " if found else ""


def _known_functions() -> str:
    return f"Functions: {', '.join(_FUNCTIONS)}."
