"""A formula: an immutable value that says how terms combine into one next-token distribution.

Every formula stands for a pair: a score for each token (nats) and a mass (a number). Its distribution is
`log_softmax(score / mass)`. Nodes hold their operands and nothing else: printing, mass, simplification and
evaluation each live in one interpreter of their own.

Linear combinations, union and intersection: model arithmetic (Dekoninck et al., ICLR 2024, arXiv 2311.14479).
"""

from __future__ import annotations

import keyword
import unicodedata
from collections.abc import Iterable
from dataclasses import dataclass
from itertools import chain

from lmalgebra.algebra.base import Description, Formula, quoted
from lmalgebra.algebra.bounds import positive
from lmalgebra.algebra.weights import Weight, as_number, as_weight, number_text, shown, weight_text
from lmalgebra.errors import FormulaError

__all__ = [
    "FUNCTION_NAMES",
    "MAX_DEPTH",
    "MAX_OPERANDS",
    "Constant",
    "Description",
    "Formula",
    "Intersection",
    "Mix",
    "Power",
    "Probability",
    "Scale",
    "Sum",
    "Term",
    "Tilt",
    "Union",
    "Within",
    "settle",
]

MAX_DEPTH = 100
"""A formula nests at most this many levels; a long sum is one level, and a weight adds none."""

MAX_OPERANDS = 100_000
"""One sum, union, intersection or mixture has at most this many operands."""

FUNCTION_NAMES = (
    "union",
    "intersection",
    "tilt",
    "probability",
    "mix",
    "power",
    "within",
    "posterior",
    "follow",
    "hold",
    "ramp",
    "decay",
)
"""The words of the text syntax that cannot name a term."""


@dataclass(frozen=True, eq=False, repr=False)
class Term(Formula):
    """A leaf: a model under a prompt, or a bias. Score and mass are its description's.

    A language-model term has score: its normalised log-probabilities, and mass 1; a term without a description
    (parsed from text alone) counts as one. Raises FormulaError for a name that the text syntax cannot hold.
    """

    name: str
    description: Description | None = None

    def __post_init__(self) -> None:
        _require_name(self.name)
        _set(self, "_depth", 1)

    @property
    def operands(self) -> tuple[Formula, ...]:  # type: ignore[override]
        """None."""
        return ()

    def _own(self) -> tuple[object, ...]:
        return (self.name, self.description)


@dataclass(frozen=True, eq=False, repr=False)
class Constant(Formula):
    """Score: the weight, for every token. Mass: 0."""

    weight: Weight

    def __post_init__(self) -> None:
        _set(self, "weight", as_weight(self.weight))
        _set(self, "_depth", 1)

    @property
    def operands(self) -> tuple[Formula, ...]:  # type: ignore[override]
        """None."""
        return ()

    def _own(self) -> tuple[object, ...]:
        return (self.weight,)


@dataclass(frozen=True, eq=False, repr=False)
class Sum(Formula):
    """Score and mass: the sums of the operands'.

    A sum inside a sum is spliced in, and neighbouring constants are added up, so that `a + (b + c)` is one node.
    """

    operands: tuple[Formula, ...]

    def __post_init__(self) -> None:
        spliced = chain.from_iterable(_summands(operand) for operand in _formulas(self.operands))
        folded: list[Formula] = []
        for operand in spliced:
            if folded and isinstance(operand, Constant) and isinstance(folded[-1], Constant):
                operand = Constant(folded.pop().weight + operand.weight)  # type: ignore[attr-defined]
            folded.append(operand)
        if len(folded) < 2:
            raise FormulaError(
                f"A sum of {len(folded)} operands is no sum, once its numbers are added up.",
                "Give two or more formulas, not all of them numbers.",
            )
        _set(self, "operands", tuple(folded))
        settle(self)

    @classmethod
    def from_parts(cls, operands: tuple[Formula, ...], depth: int) -> Sum:
        """A sum of operands already spliced and folded, whose depth is known; for building step by step."""
        node = object.__new__(cls)
        _set(node, "operands", operands)
        _set(node, "_depth", depth)
        return node


@dataclass(frozen=True, eq=False, repr=False)
class Scale(Formula):
    """Score and mass: the operand's, times the weight. A scaled operand's weight is multiplied in."""

    weight: Weight
    operand: Formula

    def __post_init__(self) -> None:
        weight, (operand,) = as_weight(self.weight), _formulas((self.operand,))
        if isinstance(operand, Constant):
            raise FormulaError(f"Scale of the number {quoted(operand)} is itself a number.", "Write Constant(number).")
        if isinstance(operand, Scale):
            weight, operand = weight * operand.weight, operand.operand
        _set(self, "weight", as_weight(weight))
        _set(self, "operand", operand)
        _set(self, "_depth", operand.depth)  # scales never nest, so they need not count

    @property
    def operands(self) -> tuple[Formula, ...]:  # type: ignore[override]
        """The operand."""
        return (self.operand,)

    def _own(self) -> tuple[object, ...]:
        return (self.weight,)


@dataclass(frozen=True, eq=False, repr=False)
class Union(Formula):
    """Score: the elementwise maximum of the operands'. Mass: the operands', which must agree."""

    operands: tuple[Formula, ...]

    def __post_init__(self) -> None:
        _set(self, "operands", _at_least_one(self))
        settle(self)


@dataclass(frozen=True, eq=False, repr=False)
class Intersection(Formula):
    """Score: the elementwise minimum of the operands'. Mass: the operands', which must agree."""

    operands: tuple[Formula, ...]

    def __post_init__(self) -> None:
        _set(self, "operands", _at_least_one(self))
        settle(self)


class _Around(Formula):
    """A node around one operand."""

    operand: Formula

    def __post_init__(self) -> None:
        _formulas((self.operand,))
        settle(self)

    @property
    def operands(self) -> tuple[Formula, ...]:  # type: ignore[override]
        """The operand."""
        return (self.operand,)


@dataclass(frozen=True, eq=False, repr=False)
class Tilt(_Around):
    """Score: the operand's normalised log-probabilities. Mass: 0.

    Added to a formula it makes a product of experts, as in IPA (Lu et al. 2023, arXiv 2305.15065).
    """

    operand: Formula


@dataclass(frozen=True, eq=False, repr=False)
class Probability(_Around):
    """Score: the operand's probabilities, from 0 to 1. Mass: 0.

    For methods that compare probabilities rather than their logarithms, as Self-Debiasing does (Schick et al. 2021,
    arXiv 2103.00453).
    """

    operand: Formula


@dataclass(frozen=True, eq=False, repr=False)
class Power(_Around):
    """Score: the exponent times the operand's normalised log-probabilities. Mass: 1.

    The exponent is positive at every position and in the limit; `Power(a, 1 / T)` is a at temperature T.
    """

    operand: Formula
    exponent: Weight

    def __post_init__(self) -> None:
        _set(self, "exponent", as_weight(self.exponent))
        if not positive(self.exponent):
            raise FormulaError(
                f"The exponent {weight_text(self.exponent)} of power is not above 0 everywhere.",
                "Give a positive exponent; power(a, 1 / T) is temperature T.",
            )
        super().__post_init__()

    def _own(self) -> tuple[object, ...]:
        return (self.exponent,)


@dataclass(frozen=True, eq=False, repr=False)
class Mix(Formula):
    """Score: the log of the weighted arithmetic mean of the operands' probabilities. Mass: 1.

    The weights are numbers of at least 0, not all 0; they are kept as given and mean `weight / sum(weights)`.
    An operand is no number and is not itself scaled: its weight stands in `weights`.
    """

    weights: tuple[float, ...]
    operands: tuple[Formula, ...]

    def __post_init__(self) -> None:
        _set(self, "weights", tuple(as_number(weight, "weight in mix") for weight in self.weights))
        _set(self, "operands", _at_least_one(self))
        self._require_weights()
        for operand in self.operands:
            if isinstance(operand, Constant | Scale):
                raise FormulaError(f"{quoted(operand)} cannot be an operand of Mix.", "Write mix(0.3 * a, 0.7 * b).")
        settle(self)

    def _require_weights(self) -> None:
        if len(self.weights) != len(self.operands):
            raise FormulaError(
                f"mix has {len(self.weights)} weights for {len(self.operands)} operands.", "Give one for each."
            )
        for weight, operand in zip(self.weights, self.operands, strict=True):
            if weight < 0:
                raise FormulaError(
                    f"mix gives {quoted(operand)} the negative weight {number_text(weight)}.",
                    "Give weights of at least 0; to steer away from a formula, subtract it outside mix.",
                )
        if not 0 < sum(self.weights) < float("inf"):
            raise FormulaError(
                f"The weights {shown(self.weights)} of mix do not have a positive, finite sum.",
                "Give at least one weight above 0.",
            )

    def _own(self) -> tuple[object, ...]:
        return (self.weights,)


@dataclass(frozen=True, eq=False, repr=False)
class Within(_Around):
    """Score: 0 on the operand's plausible tokens, `-inf` elsewhere. Mass: 0.

    Plausible under every limit given: among the `top_k` likeliest; in the smallest set that holds the probability
    `top_p`; at least `min_p` times as likely as the likeliest (contrastive decoding's plausibility, Li et al. 2023,
    arXiv 2210.15097). Raises FormulaError when no limit is given or one is out of range.
    """

    operand: Formula
    top_k: int | None = None
    top_p: float | None = None
    min_p: float | None = None

    def __post_init__(self) -> None:
        if self.top_k is None and self.top_p is None and self.min_p is None:
            raise FormulaError("within has no limit.", "Give at least one of top_k=50, top_p=0.95, min_p=0.1.")
        if self.top_k is not None and (
            isinstance(self.top_k, bool) or not isinstance(self.top_k, int) or self.top_k < 1
        ):
            raise FormulaError(
                f"top_k={shown(self.top_k)} of within is not a whole number of at least 1.", "Write top_k=50."
            )
        if self.top_p is not None:
            _set(self, "top_p", as_number(self.top_p, "top_p of within"))
            if not 0 < self.top_p <= 1:
                raise FormulaError(f"top_p={self.top_p} of within is not above 0 and at most 1.", "Write top_p=0.95.")
        if self.min_p is not None:
            _set(self, "min_p", as_number(self.min_p, "min_p of within"))
            if not 0 <= self.min_p <= 1:
                raise FormulaError(f"min_p={self.min_p} of within is not from 0 to 1.", "Write min_p=0.1.")
        super().__post_init__()

    def _own(self) -> tuple[object, ...]:
        return (self.top_k, self.top_p, self.min_p)


def _set(node: Formula, name: str, value: object) -> None:
    object.__setattr__(node, name, value)


def settle(node: Formula) -> None:
    """Set the depth, refusing more levels or operands than any use of formulas needs."""
    if len(node.operands) > MAX_OPERANDS:
        raise FormulaError(
            f"A {type(node).__name__.lower()} of {len(node.operands)} operands is too long; at most {MAX_OPERANDS}.",
            "Call simplify() as you build it, so that equal operands become one.",
        )
    depth = 1 + max(operand.depth for operand in node.operands)
    if depth > MAX_DEPTH:
        raise FormulaError(
            f"The formula nests {depth} levels deep; at most {MAX_DEPTH} are allowed.",
            "Call simplify() as you build it, or write it with fewer levels.",
        )
    _set(node, "_depth", depth)


def _summands(formula: Formula) -> tuple[Formula, ...]:
    return formula.operands if isinstance(formula, Sum) else (formula,)


def _formulas(operands: Iterable[object]) -> tuple[Formula, ...]:
    found: list[Formula] = []
    for operand in operands:
        if not isinstance(operand, Formula):
            raise FormulaError(f"{shown(operand)} is not a formula.", "Give a term, or a formula built from terms.")
        found.append(operand)
    return tuple(found)


def _at_least_one(node: Formula) -> tuple[Formula, ...]:
    operands = _formulas(node.operands)
    if not operands:
        name = type(node).__name__.lower()
        raise FormulaError(f"{name}() has no operands.", f"Give at least one, such as {name}(a, b).")
    return operands


def _require_name(name: object) -> None:
    hint = "Use letters, digits and underscores, starting with a letter, such as formal_2."
    if not isinstance(name, str) or not name.isidentifier() or unicodedata.normalize("NFKC", name) != name:
        raise FormulaError(f"{shown(name)} cannot name a term.", hint)
    if keyword.iskeyword(name):
        raise FormulaError(f"{name!r} cannot name a term: it is a word of Python.", hint)
    if name in FUNCTION_NAMES:
        raise FormulaError(f"{name!r} cannot name a term: it is a function of formulas.", hint)
