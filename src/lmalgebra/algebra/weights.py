"""A weight: a number, or a schedule of the position at which the next token is drawn.

The position counts the tokens generated so far: 0 for the first new token.
A schedule is kept as a sum of products of curves, in one canonical order, so that `2 * r + 3 * r == 5 * r`.
"""

from __future__ import annotations

import math
import numbers
from collections.abc import Iterable
from dataclasses import dataclass
from typing import TypeAlias

from lmalgebra.errors import FormulaError

MAX_PRODUCTS = 64
"""A schedule has at most this many products of curves."""

MAX_CURVES = 16
"""A product has at most this many curves."""

LARGEST_SPAN = 10**9
"""Most tokens of a ramp or of a half-life."""


@dataclass(frozen=True)
class Ramp:
    """From `start` at position 0 in a straight line to `end` at position `tokens`, and constant from there on."""

    start: float
    end: float
    tokens: int

    def at(self, position: int) -> float:
        """The value at a position."""
        share = min(position / self.tokens, 1.0)
        return self.start * (1.0 - share) + self.end * share

    @property
    def limit(self) -> float:
        """The value at every late position."""
        return self.end

    def __str__(self) -> str:
        return f"ramp({number_text(self.start)}, {number_text(self.end)}, tokens={self.tokens})"


@dataclass(frozen=True)
class Decay:
    """From `start` at position 0, halved every `half_life` tokens, towards 0."""

    start: float
    half_life: float

    def at(self, position: int) -> float:
        """The value at a position."""
        return float(self.start * 0.5 ** (position / self.half_life))

    @property
    def limit(self) -> float:
        """The value that late positions approach."""
        return 0.0

    def __str__(self) -> str:
        return f"decay({number_text(self.start)}, half_life={number_text(self.half_life)})"


Curve: TypeAlias = Ramp | Decay
Curves: TypeAlias = tuple[Curve, ...]


@dataclass(frozen=True)
class Schedule:
    """A weight that changes with the position. Build it with `ramp`, `decay` and arithmetic, not directly.

    `products` holds pairs of a coefficient and the curves it multiplies (none for a constant), in canonical order.
    """

    products: tuple[tuple[float, Curves], ...]

    def at(self, position: int) -> float:
        """The value at a position."""
        return math.fsum(c * math.prod(curve.at(position) for curve in curves) for c, curves in self.products)

    @property
    def limit(self) -> float:
        """The value that late positions approach."""
        return math.fsum(c * math.prod(curve.limit for curve in curves) for c, curves in self.products)

    @property
    def curves(self) -> tuple[Curve, ...]:
        """Every curve that occurs."""
        return tuple(curve for _, curves in self.products for curve in curves)

    def __add__(self, other: object) -> Weight:
        if not is_weight_like(other):
            return NotImplemented
        return _collect((*self.products, *_products(as_weight(other))))

    __radd__ = __add__

    def __sub__(self, other: object) -> Weight:
        if not is_weight_like(other):
            return NotImplemented
        return self + -1.0 * as_weight(other)

    def __rsub__(self, other: object) -> Weight:
        if not is_weight_like(other):
            return NotImplemented
        return -self + as_weight(other)

    def __mul__(self, other: object) -> Weight:
        if not is_weight_like(other):
            return NotImplemented
        factors = _products(as_weight(other))
        if len(self.products) * len(factors) > MAX_PRODUCTS**2:
            raise _too_many_products()
        return _collect(
            (one * two, tuple(sorted((*left, *right), key=_curve_key)))
            for one, left in self.products
            for two, right in factors
        )

    __rmul__ = __mul__

    def __truediv__(self, other: object) -> Weight:
        if not is_weight_like(other):
            return NotImplemented
        return self * inverse(as_weight(other))

    def __rtruediv__(self, other: object) -> Weight:
        if not is_weight_like(other):
            return NotImplemented
        return as_weight(other) * inverse(self)

    def __neg__(self) -> Weight:
        return self * -1.0

    def __pos__(self) -> Weight:
        return self

    def __str__(self) -> str:
        first, *rest = self.products
        return _product_text(*first) + "".join(_signed_product_text(*product) for product in rest)

    def __repr__(self) -> str:
        return f"Schedule({str(self)!r})"


Weight: TypeAlias = float | Schedule


def ramp(start: float, end: float, *, tokens: int) -> Weight:
    """A weight that goes in a straight line from `start` at position 0 to `end` at position `tokens`, then stays.

    Raises FormulaError for a number that is not finite, or `tokens` that is not a whole number of at least 1.
    """
    first, last = as_number(start, "start of ramp"), as_number(end, "end of ramp")
    if isinstance(tokens, bool) or not isinstance(tokens, int) or not 1 <= tokens <= LARGEST_SPAN:
        raise FormulaError(
            f"tokens={shown(tokens)} of ramp is not a whole number from 1 to {LARGEST_SPAN}.",
            "Say after how many tokens the ramp ends, such as ramp(0, 1, tokens=20).",
        )
    if first == last:
        return first
    return Schedule(((1.0, (Ramp(first, last, tokens),)),))


def decay(start: float, *, half_life: float) -> Weight:
    """A weight that is `start` at position 0 and halves every `half_life` tokens.

    Raises FormulaError for a number that is not finite, or a `half_life` that is not positive.
    """
    first, span = as_number(start, "start of decay"), as_number(half_life, "half_life of decay")
    if not 0 < span <= LARGEST_SPAN:
        raise FormulaError(
            f"half_life={number_text(span)} of decay is not above 0 and at most {LARGEST_SPAN}.",
            "Say after how many tokens the weight halves, such as decay(1, half_life=16).",
        )
    if first == 0:
        return 0.0
    return Schedule(((1.0, (Decay(first, span),)),))


def is_weight_like(value: object) -> bool:
    """Whether a value is a schedule or a real number (`as_weight` may still refuse it)."""
    return isinstance(value, Schedule | numbers.Real)


def as_number(value: object, what: str = "weight") -> float:
    """The value as a finite float; raises FormulaError for anything else, a boolean included."""
    if isinstance(value, Schedule):
        raise FormulaError(f"The schedule `{value}` cannot be the {what}.", "Give a finite number.")
    if isinstance(value, bool) or not isinstance(value, numbers.Real):
        raise FormulaError(f"{shown(value)} is not a number, so it cannot be the {what}.", "Give a finite number.")
    try:
        number = float(value)
    except OverflowError:
        number = math.inf
    if not math.isfinite(number):
        raise FormulaError(f"{shown(value)} is not finite, so it cannot be the {what}.", "Give a finite number.")
    return number + 0.0  # turns -0.0 into 0.0


def as_weight(value: object) -> Weight:
    """The value as a weight; raises FormulaError for anything but a finite number or a schedule."""
    return value if isinstance(value, Schedule) else as_number(value)


def inverse(weight: Weight) -> float:
    """One over a number; raises FormulaError for zero and for a schedule."""
    if isinstance(weight, Schedule):
        raise FormulaError(f"A formula cannot be divided by the schedule `{weight}`.", "Divide by a number.")
    if weight == 0:
        raise FormulaError("A formula cannot be divided by 0.", "Divide by another number.")
    return as_number(1.0 / weight, "result of a division")


def at(weight: Weight, position: int) -> float:
    """The weight's value at a position: the number of tokens generated so far."""
    return weight.at(position) if isinstance(weight, Schedule) else weight


def limit(weight: Weight) -> float:
    """The value that the weight approaches at late positions."""
    return weight.limit if isinstance(weight, Schedule) else weight


def number_text(number: float) -> str:
    """The shortest text that reads back as the same float: `2`, `0.5`, `1e-07`."""
    if number == int(number) and abs(number) < 1e15:
        return str(int(number))
    return repr(number)


def weight_text(weight: Weight) -> str:
    """Text that parses back to an equal weight."""
    return str(weight) if isinstance(weight, Schedule) else number_text(weight)


def shown(value: object) -> str:
    """A short form of any value for an error message."""
    try:
        text = repr(value)
    except ValueError:  # an integer of thousands of digits
        return "a number of thousands of digits"
    return text if len(text) <= 60 else text[:59] + "…"


def _products(weight: Weight) -> tuple[tuple[float, Curves], ...]:
    return weight.products if isinstance(weight, Schedule) else ((weight, ()),)


def _collect(products: Iterable[tuple[float, Curves]]) -> Weight:
    """The canonical weight: equal products added, zeros dropped, the rest in order."""
    totals: dict[Curves, float] = {}
    for coefficient, curves in products:
        totals[curves] = totals.get(curves, 0.0) + coefficient
    kept = tuple(
        (as_number(totals[curves], "coefficient of a schedule"), curves)
        for curves in sorted(totals, key=lambda curves: [_curve_key(curve) for curve in curves])
        if totals[curves] != 0
    )
    if not kept:
        return 0.0
    if len(kept) == 1 and not kept[0][1]:
        return kept[0][0]
    if len(kept) > MAX_PRODUCTS or any(len(curves) > MAX_CURVES for _, curves in kept):
        raise _too_many_products()
    return Schedule(kept)


def _too_many_products() -> FormulaError:
    return FormulaError(
        f"A schedule multiplies out to more than {MAX_PRODUCTS} products, or to more than {MAX_CURVES} curves in one.",
        "Use fewer ramps and decays in one weight.",
    )


def _curve_key(curve: Curve) -> tuple[str, float, float, float]:
    if isinstance(curve, Ramp):
        return ("ramp", curve.start, curve.end, curve.tokens)
    return ("decay", curve.start, curve.half_life, 0.0)


def _product_text(coefficient: float, curves: Curves) -> str:
    factors = [str(curve) for curve in curves]
    if not factors or abs(coefficient) != 1:
        return " * ".join([number_text(coefficient), *factors])
    return ("-" if coefficient < 0 else "") + " * ".join(factors)


def _signed_product_text(coefficient: float, curves: Curves) -> str:
    return (" - " if coefficient < 0 else " + ") + _product_text(abs(coefficient), curves)
