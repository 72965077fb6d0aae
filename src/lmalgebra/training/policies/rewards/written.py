"""The text of a reward: numbers and components with + - * /, read through `ast` with a whitelist, never evaluated.

    nontoxic(profanity) + 0.2 * length(20)
    coverage * fluent('textattack/roberta-base-CoLA@refs/pr/37#1')

A component is a name, with arguments in brackets where it has any. An argument is a number or a text; a text that is
one plain word needs no quotes. One text serves a TOML file and the command line alike.
"""

from __future__ import annotations

import ast
import difflib
import warnings
from collections.abc import Mapping
from dataclasses import MISSING, fields
from typing import Any

import numpy as np

from lmalgebra.algebra.source import Source
from lmalgebra.errors import LmalgebraError, TrainingError
from lmalgebra.training.policies.rewards.base import Reward
from lmalgebra.training.policies.rewards.combined import Combine, Combined
from lmalgebra.training.policies.rewards.kinds import KINDS

_OPERATORS: dict[type[ast.operator], Any] = {
    ast.Add: np.add,
    ast.Sub: np.subtract,
    ast.Mult: np.multiply,
    ast.Div: np.divide,
}
_EXAMPLE = 'Write one such as "nontoxic(profanity) + 0.2 * length(20)".'


def reward_of(text: str, own: Mapping[str, Reward] | None = None) -> Combined:
    """The reward that a text stands for; `own` are components of the caller's, by the names that they have in the text.

    Raises TrainingError, showing the text with carets under the mistake, MissingExtraError for a judge whose package is
    not installed.
    """
    line = " ".join(str(text).split("\n")).strip()
    if not line:
        raise TrainingError("The reward is empty.", _EXAMPLE)
    reader = _Reader(Source(line), own or {})
    try:
        combine = reader.value(reader.syntax())
    except RecursionError:
        raise TrainingError("The reward nests too deeply to be read.", "Write it with fewer operators.") from None
    if not reader.components:
        raise TrainingError(f"The reward `{line}` is the same for every text.", _EXAMPLE)
    return Combined(line, reader.components, combine)


class _Reader:
    """Walks the syntax tree; `components` are those it met, by name."""

    def __init__(self, source: Source, own: Mapping[str, Reward]) -> None:
        self.source, self.own = source, own
        self.components: dict[str, Reward] = {}

    def syntax(self) -> ast.expr:
        try:
            with warnings.catch_warnings(action="ignore"):  # of backslashes in texts
                return ast.parse(f"({self.source.line})", mode="eval").body  # in brackets, errors lie where they are
        except SyntaxError as error:
            place = min(max(0, (error.offset or 1) - 2), len(self.source.line) - 1)
            hint = "Is something missing? What is no plain word stands in quotes: judge('./folder#label')."
            raise self._shown("The reward cannot be read here.", place, place + 1, hint) from None
        except (MemoryError, ValueError):
            raise TrainingError("The reward cannot be read.", _EXAMPLE) from None

    def value(self, node: ast.expr) -> Combine:
        """How the totals of an expression come of the scores."""
        if isinstance(node, ast.BinOp):
            return self._binary(node)
        if isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.USub | ast.UAdd):
            inner, sign = self.value(node.operand), -1.0 if isinstance(node.op, ast.USub) else 1.0
            return lambda scores: sign * inner(scores)
        if isinstance(node, ast.Constant) and _is_number(node.value):
            number = np.float64(node.value)
            return lambda scores: number
        if isinstance(node, ast.Name | ast.Call):
            name = self._component(node)
            return lambda scores: scores[name]
        raise self._error("This is not part of rewards.", node, f"Kinds: {', '.join(KINDS)}.")

    def _binary(self, node: ast.BinOp) -> Combine:
        apply = _OPERATORS.get(type(node.op))
        if apply is None:
            raise self._error("This operator is not part of rewards.", node, "Operators: + - * /.")
        left, right = self.value(node.left), self.value(node.right)
        if isinstance(node.op, ast.Div) and not (isinstance(node.right, ast.Constant) and node.right.value):
            raise self._error("Only a number other than 0 may divide.", node.right, "Multiply by a component instead.")
        return lambda scores: apply(left(scores), right(scores))

    def _component(self, node: ast.Name | ast.Call) -> str:
        """The name under which the component's scores will be found."""
        called = node if isinstance(node, ast.Name) else node.func
        if not isinstance(called, ast.Name):
            raise self._error("Only a kind's name can stand before brackets.", node, f"Kinds: {', '.join(KINDS)}.")
        if called.id in self.own and isinstance(node, ast.Name):
            self.components[called.id] = self.own[called.id]
            return called.id
        kind = KINDS.get(called.id)
        if kind is None:
            known = [*self.own, *KINDS]
            raise self._error(f"`{called.id}` is no kind of reward.", called, _close(called.id, known) + _all(known))
        given = self._arguments(node, kind) if isinstance(node, ast.Call) else {}
        missing = next((each.name for each in fields(kind) if each.default is MISSING and each.name not in given), None)
        if missing is not None:
            raise self._error(f"`{called.id}` lacks its {missing}.", node, f"Write {_usage(kind)}.")
        try:
            return self._named(kind(**given))
        except TrainingError as error:
            raise self._error(error.message, node, error.hint) from None

    def _named(self, made: Reward) -> str:
        """The name of a component; an equal one is the same, another of one name gets a number."""
        name, number = made.name, 2
        while name in self.components and self.components[name] != made:
            name, number = f"{made.name} {number}", number + 1
        self.components.setdefault(name, made)
        return name

    def _arguments(self, node: ast.Call, kind: type[Any]) -> dict[str, Any]:
        names = [each.name for each in fields(kind)]
        if len(node.args) > len(names):
            raise self._error(f"`{kind.kind}` takes no argument here.", node.args[len(names)], f"Write {_usage(kind)}.")
        given = {name: self._argument(value) for name, value in zip(names, node.args, strict=False)}
        for each in node.keywords:
            if each.arg not in names:
                hint = _close(each.arg or "", names) + f"Write {_usage(kind)}."
                raise self._error(f"`{kind.kind}` has no argument `{each.arg or '**'}`.", each.value, hint)
            if each.arg in given:
                raise self._error(f"`{each.arg}` is given twice.", each.value, f"Write {_usage(kind)}.")
            given[each.arg] = self._argument(each.value)
        return given

    def _argument(self, node: ast.expr) -> Any:
        if isinstance(node, ast.Name):
            return node.id  # a text that is one plain word
        sign = -1 if isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.USub) else 1
        value = node.operand if isinstance(node, ast.UnaryOp) else node
        if isinstance(value, ast.Constant) and _is_number(value.value):
            return sign * value.value
        if isinstance(node, ast.Constant) and isinstance(node.value, str):
            return node.value
        raise self._error("This is neither a number nor a text.", node, "Put it in quotes: judge('./folder#label').")

    def _error(self, message: str, node: ast.expr, hint: str) -> TrainingError:
        encoded = f"({self.source.line})".encode()  # of which `ast` counts bytes
        start, end = (len(encoded[:place].decode()) - 1 for place in (node.col_offset, node.end_col_offset or 0))
        return self._shown(message, start, end, hint)

    def _shown(self, message: str, start: int, end: int, hint: str) -> TrainingError:
        shown: LmalgebraError = self.source.error(message, start, end, hint)
        return TrainingError(shown.message, shown.hint)


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and abs(value) < 1e300


def _usage(kind: type[Any]) -> str:
    told = [each.name if each.default is MISSING else f"{each.name}={each.default!r}" for each in fields(kind)]
    return f"{kind.kind}({', '.join(told)})" if told else kind.kind


def _close(name: str, known: list[str]) -> str:
    found = difflib.get_close_matches(name, known, n=1)
    return f"Did you mean `{found[0]}`? " if found else ""


def _all(known: list[str]) -> str:
    return f"Kinds: {', '.join(known)}."
