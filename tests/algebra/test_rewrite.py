import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lmalgebra.algebra import check, forbids, parse
from lmalgebra.errors import FormulaError

from .strategies import TERMS, any_formulas, evaluate, random_leaves, sound_formulas


@pytest.mark.parametrize(
    ("text", "simple"),
    [
        ("a + a", "2 * a"),
        ("a + 0.5 * (b - a)", "0.5 * a + 0.5 * b"),
        ("a - a", "0"),
        ("a - a + b", "b"),
        ("1 * a", "a"),
        ("0 * a", "0"),
        ("1 + a + 2", "a + 3"),
        ("2 * (a + 3)", "2 * a + 6"),
        ("a + ramp(0, 1, tokens=5) * (b - a)", "(1 - ramp(0, 1, tokens=5)) * a + ramp(0, 1, tokens=5) * b"),
        ("union(a)", "a"),
        ("union(a, a)", "a"),
        ("union(a, union(b, a), intersection(c))", "union(a, b, c)"),
        ("intersection(a, intersection(b, union(a, c)))", "intersection(a, b, union(a, c))"),
        ("2 * union(a, b)", "2 * union(a, b)"),
        ("-union(a, b) + 2 * a", "-union(a, b) + 2 * a"),
        ("union(a + a, 2 * a)", "2 * a"),
        ("a + tilt(3 * b)", "a + tilt(b)"),
        ("a + tilt(-b)", "a + tilt(-b)"),
        ("a + 2 * probability(3 * b)", "a + 2 * probability(b)"),
        ("power(2 * a, 1)", "a"),
        ("power(a + a, 0.5)", "power(a, 0.5)"),
        ("power(a + bias, 1)", "power(a + bias, 1)"),
        ("power(power(a, 2), 1)", "power(power(a, 2), 1)"),
        ("a + within(0.5 * b, top_k=3)", "a + within(b, top_k=3)"),
        ("a + posterior(2 * b, 0.5 * (b + c), scale=2)", "a + posterior(b, 0.5 * b + 0.5 * c, scale=2)"),
        ("mix(a, 0 * b)", "a"),
        ("mix(a, b, a)", "mix(2 * a, b)"),
        ("mix(3 * (a + bias))", "mix(a + bias)"),
        ("mix(a + a, b)", "mix(a, b)"),
        ("tilt(tilt(a))", "tilt(tilt(a))"),
        ("a + rule + rule", "a + 2 * rule"),
        ("2 * (a + rule) - a", "a + 2 * rule"),
    ],
)
def test_simplified_by_hand(text, simple):
    assert str(parse(text, TERMS).simplify()) == simple


@pytest.mark.parametrize("text", ["a + 0 * rule", "a + rule - rule", "a - 0.5 * (b + within(a, top_k=2))"])
def test_what_forbids_is_never_dropped(text):
    formula = parse(text, TERMS).simplify()
    assert forbids(formula)
    with pytest.raises(FormulaError, match="its weight must stay above 0"):
        check(formula)


@given(sound_formulas(), st.integers(0, 6), st.randoms(use_true_random=False))
def test_score_and_mass_are_kept(formula, position, randomness):
    leaves = random_leaves(randomness)
    score, mass = evaluate(formula, leaves, position)
    simple_score, simple_mass = evaluate(formula.simplify(), leaves, position)
    assert simple_score == pytest.approx(score, abs=1e-9, rel=1e-9, nan_ok=True)
    assert simple_mass == pytest.approx(mass, abs=1e-9)


@given(any_formulas())
def test_simplifying_twice_changes_nothing_more(formula):
    simple = formula.simplify()
    assert simple.simplify() == simple
    assert simple.depth <= formula.depth


@given(sound_formulas())
def test_a_sound_formula_stays_sound(formula):
    check(formula.simplify())


def test_the_reference_interpreter_by_hand():
    leaves = random_leaves(random.Random(0))
    score, mass = evaluate(parse("2 * a - b + 1", TERMS), leaves, 0)
    assert mass == 1
    assert score[0] == pytest.approx(2 * leaves["a"][0] - leaves["b"][0] + 1)
