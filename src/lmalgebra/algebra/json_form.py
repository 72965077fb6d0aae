"""Formulas as plain dictionaries, lists, strings and numbers, ready for `json.dumps`.

A term is written by name; what it stands for belongs to the voice file. A schedule is written as its text.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from lmalgebra.algebra.formula import (
    MAX_DEPTH,
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
from lmalgebra.algebra.parse import parse
from lmalgebra.algebra.posterior import Posterior
from lmalgebra.algebra.printing import require_writable
from lmalgebra.algebra.steer import Follow, Hold, Steered
from lmalgebra.algebra.weights import Schedule, Weight, as_weight, shown
from lmalgebra.errors import FormulaError

Make = Callable[[tuple[Formula, ...], Mapping[str, Any]], Formula]


def to_json(formula: Formula) -> dict[str, Any]:
    """Plain data that `formula_from_json` reads back; raises FormulaError when it would be very long."""
    require_writable(formula)
    return _plain(formula)


def formula_from_json(data: object, terms: Mapping[str, Term] | None = None) -> Formula:
    """The formula that `to_json` wrote; names become the given terms, or terms without description.

    Raises FormulaError for data that `to_json` does not write.
    """
    return _formula(data, terms, 0)


def _plain(node: Formula) -> dict[str, Any]:
    plain: dict[str, Any] = {"kind": type(node).__name__.lower()}
    if isinstance(node, Term):
        return plain | {"name": node.name}
    if isinstance(node, Constant | Scale):
        plain["weight"] = _plain_weight(node.weight)
    elif isinstance(node, Power):
        plain["exponent"] = _plain_weight(node.exponent)
    elif isinstance(node, Mix):
        plain["weights"] = list(node.weights)
    elif isinstance(node, Steered):
        plain |= {"gauge": node.gauge.name} | node.settings()
    elif isinstance(node, Posterior):
        plain |= node.settings()
    elif isinstance(node, Within):
        limits = {"top_k": node.top_k, "top_p": node.top_p, "min_p": node.min_p}
        plain |= {name: value for name, value in limits.items() if value is not None}
    if node.operands:
        plain["operands"] = [_plain(operand) for operand in node.operands]
    return plain


def _plain_weight(weight: Weight) -> float | str:
    return str(weight) if isinstance(weight, Schedule) else weight


def _formula(data: object, terms: Mapping[str, Term] | None, depth: int) -> Formula:
    if depth > 2 * MAX_DEPTH:  # scales do not count as levels, so there may be twice as many
        raise FormulaError(f"The JSON formula nests more than {MAX_DEPTH} levels deep.", "Write it with fewer levels.")
    if not isinstance(data, Mapping):
        raise FormulaError(f"{shown(data)} is not a JSON formula.", 'Give an object such as {"kind": "term", ...}.')
    rest = dict(data)
    kind = rest.pop("kind", None)
    try:
        if kind == "term":
            return _term(rest.pop("name"), terms, rest)
        if not isinstance(kind, str) or kind not in _MAKERS:
            known = ", ".join(["term", *_MAKERS])
            raise FormulaError(f"A JSON formula has the unknown kind {shown(kind)}.", f"Known kinds: {known}.")
        operands = tuple(_formula(part, terms, depth + 1) for part in rest.pop("operands", ()))
        _refuse_rest(kind, {key: value for key, value in rest.items() if key not in _KEYS[kind]})
        if kind in ("follow", "hold"):
            rest["gauge"] = _term(rest["gauge"], terms, {})
        return _MAKERS[kind](operands, rest)
    except (KeyError, TypeError, ValueError) as error:
        raise FormulaError(f"The JSON formula {shown(data)} lacks a part or holds one of a wrong type.") from error


def _term(name: object, terms: Mapping[str, Term] | None, rest: Mapping[str, Any]) -> Term:
    _refuse_rest("term", rest)
    if terms is None:
        return Term(name)  # type: ignore[arg-type]  # Term refuses what is no name
    if not isinstance(name, str) or name not in terms:
        raise FormulaError(f"{shown(name)} is not a term of this formula.", f"Known: {', '.join(terms) or 'none'}.")
    return terms[name]


def _refuse_rest(kind: str, rest: Mapping[str, Any]) -> None:
    for key in rest:
        raise FormulaError(f"A JSON formula of kind {kind!r} has no key {key!r}.", "Remove it.")


def _weight(value: object) -> Weight:
    if not isinstance(value, str):
        return as_weight(value)
    formula = parse(value, {})
    if not isinstance(formula, Constant):
        raise FormulaError(f"{value!r} is not a weight.", "Write a number, or a schedule of ramp and decay.")
    return formula.weight


def _only(operands: tuple[Formula, ...]) -> Formula:
    (operand,) = operands
    return operand


def _two(operands: tuple[Formula, ...]) -> tuple[Formula, Formula]:
    one, two = operands
    return one, two


_KEYS: dict[str, set[str]] = {
    "constant": {"weight"},
    "scale": {"weight"},
    "power": {"exponent"},
    "mix": {"weights"},
    "within": {"top_k", "top_p", "min_p"},
    "posterior": {"scale", "prior", "length_power"},
    "follow": {"gauge"},
    "hold": {"gauge", "target", "least", "most", "gain"},
    "sum": set(),
    "union": set(),
    "intersection": set(),
    "tilt": set(),
    "probability": set(),
}

_MAKERS: dict[str, Make] = {
    "constant": lambda operands, rest: Constant(_weight(rest["weight"])),
    "scale": lambda operands, rest: Scale(_weight(rest["weight"]), _only(operands)),
    "power": lambda operands, rest: Power(_only(operands), _weight(rest["exponent"])),
    "mix": lambda operands, rest: Mix(tuple(rest["weights"]), operands),
    "within": lambda operands, rest: Within(_only(operands), **rest),
    "posterior": lambda operands, rest: Posterior(*_two(operands), **rest),
    "follow": lambda operands, rest: Follow(_only(operands), **rest),
    "hold": lambda operands, rest: Hold(_only(operands), **rest),
    "sum": lambda operands, rest: Sum(operands),
    "union": lambda operands, rest: Union(operands),
    "intersection": lambda operands, rest: Intersection(operands),
    "tilt": lambda operands, rest: Tilt(_only(operands)),
    "probability": lambda operands, rest: Probability(_only(operands)),
}
