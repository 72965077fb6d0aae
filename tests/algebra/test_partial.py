"""The part of a formula that some of its terms say alone."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lmalgebra.algebra import (
    Formula,
    Mix,
    Power,
    Term,
    check,
    intersection,
    mix,
    parse,
    partial,
    power,
    ramp,
    tilt,
    union,
    within,
)
from lmalgebra.errors import FormulaError

from .strategies import TERMS, a, any_formulas, b, c, exponents, sound_formulas

other = Term("other")
subsets = st.sets(st.sampled_from(tuple(TERMS.values())))


def drafted(text: str, names: str) -> str | None:
    """The text of the part over the terms named, or None."""
    part = partial(parse(text, TERMS), [TERMS[name] for name in names.split()])
    return None if part is None else str(part)


@pytest.mark.parametrize(
    ("text", "parts"),
    [
        ("a", {"": None, "b": None, "a": "a", "a b": "a"}),
        ("2 * a", {"b": None, "a": "2 * a"}),
        ("a + b + c", {"": None, "b": "b", "a c": "a + c", "a b c": "a + b + c"}),
        ("a + 0.6 * (b - a)", {"a": "0.4 * a", "b": "0.6 * b", "a b": "0.4 * a + 0.6 * b"}),
        ("2 * a - b", {"a": "2 * a", "b": None, "a b": "2 * a - b"}),
        ("a + 1.5 * (b - a)", {"a": None, "b": "1.5 * b", "a b": "-0.5 * a + 1.5 * b"}),
        ("a + b + 3", {"": None, "a": "a + 3", "a b": "a + b + 3"}),
        ("3 - (-a)", {"": None, "a": "a + 3"}),
        ("a + bias", {"a": "a", "bias": None, "a bias": "a + bias"}),
        ("a + b + rule", {"a": "a", "b rule": "b + rule", "rule": None}),
        ("union(a, b)", {"a": None, "b": None, "a b": "union(a, b)"}),
        ("a - 0.96 * union(b, a)", {"a": "a", "b": None, "a b": "a - 0.96 * union(b, a)"}),
        ("c + (a | b)", {"a": None, "c": "c", "a c": "c", "a b": "union(a, b)", "a b c": "c + union(a, b)"}),
        ("intersection(a, b)", {"a": None, "a b": "intersection(a, b)"}),
        ("c + (a & b)", {"c": "c", "b c": "c", "a b": "intersection(a, b)", "a b c": "c + intersection(a, b)"}),
        ("a + 0.8 * tilt(b)", {"a": "a", "b": None, "a b": "a + 0.8 * tilt(b)"}),
        ("a - probability(b + c)", {"a": "a", "a b": "a", "a b c": "a - probability(b + c)"}),
        ("a + tilt(b + c)", {"a": "a", "a b": "a", "a b c": "a + tilt(b + c)"}),
        ("mix(0.2 * a, 0.3 * b, 0.5 * c)", {"": None, "b": "b", "a c": "mix(0.2 * a, 0.5 * c)"}),
        ("mix(2 * a, a + b)", {"a": "a", "b": "b", "a b": "mix(2 * a, a + b)"}),
        ("mix(a, 0.5 * b + 0.5 * c)", {"b": "b", "a c": "mix(a, c)", "b c": "mix(0.5 * b + 0.5 * c)"}),
        ("mix(a, 2 * b - c)", {"a": "a", "c": None, "a c": "a", "b": "b"}),
        ("mix(a, b + union(b, c))", {"b": "b", "a b": "mix(a, b)", "a c": "a"}),
        ("a + 0.5 * mix(b, c)", {"b": "0.5 * b", "a b": "a + 0.5 * b", "a b c": "a + 0.5 * mix(b, c)"}),
        ("2 * power(a + b, 3) - c", {"a": "2 * power(a, 3)", "a c": "2 * power(a, 3) - c", "c": None}),
        ("power(a, 2)", {"b": None, "a": "power(a, 2)"}),
        ("power(a + b, 0.25)", {"": None, "a": "power(a, 0.25)", "a b": "power(a + b, 0.25)"}),
        ("power(0.5 * a + 0.5 * b, 2)", {"a": "power(a, 2)", "b": "power(b, 2)"}),
        ("power(a + mix(a, b), 2)", {"a": "power(a, 2)", "b": "power(b, 2)"}),
        ("mix(a + mix(a, b), c)", {"a": "a", "a c": "mix(a, c)"}),
        ("c + power(2 * a - b, 2)", {"a": "power(a, 2)", "b": None, "b c": "c"}),
        ("power(union(a, b) + c, 2)", {"a": None, "a c": "power(c, 2)", "a b": "power(union(a, b), 2)"}),
        ("a + within(b, top_k=5)", {"a": "a", "b": None, "a b": "a + within(b, top_k=5)"}),
        ("a + posterior(b, c)", {"a": "a", "a b": "a", "b c": None, "a b c": "a + posterior(b, c)"}),
        ("a + b + within(a, min_p=0.1)", {"a": "a + within(a, min_p=0.1)", "b": "b"}),
        ("a + within(b + c, top_k=5)", {"a": "a", "a b": "a", "a c": "a"}),
        ("a + ramp(0, 1, tokens=5) * b", {"a": "a", "b": None, "a b": "a + ramp(0, 1, tokens=5) * b"}),
        ("ramp(1, 2, tokens=5) * a + b", {"a": "ramp(1, 2, tokens=5) * a", "b": "b"}),
        ("a + ramp(0, 1, tokens=5) * (b - a)", {"a": None, "b": None}),
        ("a + ramp(0, 0.5, tokens=5) * (b - a)", {"a": "(1 - ramp(0, 0.5, tokens=5)) * a", "b": None}),
        ("a + decay(2, half_life=3) * tilt(c)", {"a": "a", "c": None}),
        ("decay(1, half_life=3) * a + b", {"a": None, "b": "b"}),
        ("power(a + b, ramp(1, 2, tokens=10))", {"b": "power(b, ramp(1, 2, tokens=10))"}),
        ("a + 0 * b + (c - c)", {"a": "a", "b": None, "c": None}),
    ],
)
def test_worked_by_hand(text, parts):
    assert {names: drafted(text, names) for names in parts} == parts


def test_a_constant_under_a_weight_that_cannot_be_multiplied_out_is_nothing_either():
    long = 1.0
    for tokens in range(1, 17):
        long = long * ramp(1, 2, tokens=tokens)
    formula = (a + long * (long * (tilt(b) + 3) + tilt(c))).simplify()
    assert any(str(part).endswith(")") for part in formula.operands)  # a weighted sum is left
    assert partial(formula, [a]) == a
    assert partial(formula, [a, b, c]) == formula


@given(sound_formulas())
def test_all_terms_leave_the_simplified_formula(formula):
    simple = formula.simplify()
    assert partial(formula, formula.leaves()) == simple
    assert partial(formula, set(simple.leaves())) == simple
    assert partial(simple, TERMS.values()) == simple


@given(sound_formulas() | any_formulas(), subsets)
def test_what_is_left_is_sound_simple_and_of_known_terms(formula, known):
    part = partial(formula, known)
    if part is not None:
        check(part)
        assert part.simplify() == part
        assert set(part.leaves()) <= known & set(formula.leaves())
        assert part.leaves()
        assert part.depth <= formula.depth


@given(any_formulas(), subsets)
def test_a_formula_without_distribution_has_no_whole_part(formula, known):
    try:
        check(formula.simplify())
    except FormulaError:
        assert partial(formula, TERMS.values()) is None


@given(sound_formulas(), subsets)
def test_taking_a_part_twice_changes_nothing_more(formula, known):
    part = partial(formula, known)
    if part is not None:
        assert partial(part, known) == part


@given(sound_formulas(), exponents)
def test_a_term_that_is_not_known_takes_nothing_else_along(formula, exponent):
    known, simple = formula.leaves(), formula.simplify()
    assert partial(formula + other - 0.5 * tilt(other), known) == simple
    assert partial(mix(2 * other, power(formula, 0.5)), known) == mix(power(formula, 0.5)).simplify()
    assert partial(power(other + formula, exponent), known) == power(formula, exponent).simplify()
    assert partial(union(formula, other), known) is None
    assert partial(intersection(other, formula), known) is None
    assert partial(formula + tilt(other + formula), known) == simple
    assert partial(formula + within(mix(formula, other), top_k=3), known) == simple


def test_shared_parts_are_worked_out_once():
    formula: Formula = a + b
    for _ in range(45):
        formula = Mix((0.5, 0.5), (formula + c, Power(formula, 2.0)))
    assert partial(formula, []) is None  # 2**45 visits if each were worked out anew


def test_a_part_can_be_smaller_than_what_is_known():
    assert partial(a + (b | c), [a, b]) == a
    assert partial(a, [a, b, c]) == a
