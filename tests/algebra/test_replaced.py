"""Other terms in a formula: everything else stays as it is."""

import pytest
from hypothesis import given

from lmalgebra.algebra import Model, Term, parse, replaced

from .strategies import sound_formulas

A, B, C = (Model(source=name).term(name=name) for name in "abc")
TERMS = {"a": A, "b": B, "c": C}


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ("a", "c"),
        ("a + 0.5 * (b - a)", "c + 0.5 * (b - c)"),
        ("b - 0.9 * union(a, b) + tilt(a)", "b - 0.9 * union(c, b) + tilt(c)"),
        ("mix(0.3 * a, 0.7 * b)", "mix(0.3 * c, 0.7 * b)"),
        ("power(a, 2) + within(a, top_k=3)", "power(c, 2) + within(c, top_k=3)"),
        (
            "b + ramp(0, 1, tokens=4) * posterior(a, b, prior=0.2)",
            "b + ramp(0, 1, tokens=4) * posterior(c, b, prior=0.2)",
        ),
        ("b + hold(a - b, c, target=0.3)", "b + hold(c - b, c, target=0.3)"),
        ("b", "b"),
    ],
)
def test_a_term_is_replaced_wherever_it_stands(before, after):
    terms = TERMS if "hold" not in before else TERMS | {"c": Term("c")}
    formula = parse(before, terms)
    assert replaced(formula, {A: terms["c"]}) == parse(after, terms)


@given(sound_formulas())
def test_nothing_else_changes(formula):
    assert replaced(formula, {}) == formula
    assert replaced(formula, {leaf: leaf for leaf in formula.leaves()}) == formula
