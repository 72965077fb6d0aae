"""Formulas in which terms say nothing: worked examples, and that mass and soundness stay for every formula."""

import pytest
from hypothesis import given

from lmalgebra.algebra import at, check, parse, without

from .strategies import TERMS, a, b, bias, c, rule, sound_formulas


@pytest.mark.parametrize(
    ("text", "absent", "left"),
    [
        ("a", "b", "a"),
        ("a + 0.6 * (b - a)", "b", "a"),
        ("a + 1.5 * (b - a)", "b", "a"),
        ("a + 2 * (b - c)", "c", "-a + 2 * b"),
        ("a + 2 * (b - c)", "b c", "a"),
        ("a - 0.75 * union(b, a)", "b", "0.25 * a"),
        ("a - 0.5 * union(b, c)", "b", "a - 0.5 * union(a, c)"),
        ("a - tilt(b) + within(a, min_p=0.1)", "b", "a + within(a, min_p=0.1)"),
        ("a + within(b, top_k=5)", "b", "a"),
        ("a + tilt(union(b, c))", "c", "a"),
        (
            "a + intersection(0, 50 * (probability(a) - probability(b)))",
            "b",
            "a + intersection(0, 50 * probability(a))",
        ),
        ("a + 30 * posterior(b, c)", "b", "a"),
        ("a + 30 * posterior(a, c) + b", "b", "2 * a + 30 * posterior(a, c)"),
        ("mix(0.3 * a, 0.7 * b)", "b", "a"),
        ("power(a + 0.5 * (b - a), 2)", "b", "power(a, 2)"),
        ("a + 2 * bias + rule", "bias rule", "a"),
        ("a + union(bias, rule)", "rule", "a + union(bias, 0)"),
        ("(1 - ramp(0, 1, tokens=4)) * b + ramp(0, 1, tokens=4) * a", "b", "a"),
    ],
)
def test_what_is_left(text, absent, left):
    found = without(parse(text, TERMS), [TERMS[name] for name in absent.split()], a)
    assert str(found.simplify()) == left


def test_nothing_absent_changes_nothing():
    formula = parse("a + 0.5 * union(b, c) - bias", TERMS)
    assert without(formula, [], a) is formula


@given(sound_formulas())
def test_the_mass_stays_and_so_does_the_distribution(formula):
    for absent in ([b], [c, bias], [b, c, bias, rule]):
        left = without(formula, absent, a)
        check(left)
        assert not set(left.leaves()) & set(absent)
        for position in (0, 1, 3, 50):
            assert at(left.mass(), position) == pytest.approx(at(formula.mass(), position))
