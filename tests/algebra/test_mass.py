import pytest
from hypothesis import given

from lmalgebra.algebra import (
    Term,
    at,
    check,
    decay,
    forbids,
    intersection,
    limit,
    mix,
    parse,
    power,
    ramp,
    tilt,
    union,
    within,
)
from lmalgebra.errors import FormulaError

from .strategies import TERMS, a, b, bias, rule, sound_formulas

base, formal = Term("base"), Term("formal")
r = ramp(0, 1, tokens=20)


@pytest.mark.parametrize(
    ("text", "mass"),
    [
        ("a", 1),
        ("bias", 0),
        ("rule", 0),
        ("3", 0),
        ("a - b", 0),
        ("a + 0.6 * (b - a)", 1),
        ("2 * a - 0.5 * b", 1.5),
        ("union(2 * a, 2 * b)", 2),
        ("intersection(a, b)", 1),
        ("tilt(a)", 0),
        ("50 * probability(a)", 0),
        ("a + intersection(0, 50 * (probability(a) - probability(b)))", 1),
        ("a + 5 * tilt(b) + bias + 3", 1),
        ("a + 30 * posterior(2 * b, a)", 1),
        ("mix(3 * a, 7 * b)", 1),
        ("power(2 * a, 0.5)", 1),
        ("within(a, top_k=2)", 0),
    ],
)
def test_mass_by_hand(text, mass):
    assert parse(text, TERMS).mass() == pytest.approx(mass)


def test_mass_is_a_schedule_where_a_weight_is():
    assert (r * a + (1 - r) * b).mass() == 1
    assert (r * a + b).mass() == 1 + r


@pytest.mark.parametrize(
    "text",
    [
        "base + 0.6 * (formal - base)",
        "base - 0.96 * union(toxic, base)",
        "base + tilt(adapter)",
        "base + decay(1, half_life=16) * (formal - base)",
        "ramp(0, 1, tokens=20) * base + ramp(1, 0.1, tokens=20) * formal",
        "expert - 0.5 * amateur + within(expert, min_p=0.1)",
        "base - 0.5 * (union(base, base + 2 * within(formal, top_k=3)))",
    ],
)
def test_sound_formulas_pass(text):
    check(parse(text))


@given(sound_formulas())
def test_random_sound_formulas_pass(formula):
    check(formula)
    assert at(formula.mass(), 3) == pytest.approx(1)
    assert limit(formula.mass()) == pytest.approx(1)


@pytest.mark.parametrize(
    ("formula", "message"),
    [
        (
            formal - base,
            "`formal - base` has mass 0 and so no distribution. "
            "A difference says only what changes; write `base + (formal - base)`.",
        ),
        (
            0.5 * (formal - base),
            "`0.5 * (formal - base)` has mass 0 and so no distribution. "
            "Add a language model to it, such as `formal + (0.5 * (formal - base))`.",
        ),
        (
            tilt(a),
            "`tilt(a)` has mass 0 and so no distribution. Add a language model to it, such as `a + tilt(a)`.",
        ),
        (
            bias + 1,
            "`bias + 1` has mass 0 and so no distribution. "
            "Add a language model to it, such as `base + 0.8 * tilt(expert)`.",
        ),
        (
            a - 1.5 * b,
            "`a - 1.5 * b` has mass -0.5 and so no distribution. "
            "Add a language model to it, such as `a + (a - 1.5 * b)`.",
        ),
        (
            ramp(1, -1, tokens=20) * a,
            "`ramp(1, -1, tokens=20) * a` has the mass ramp(1, -1, tokens=20), which is not positive at position 10, "
            "and so no distribution there. "
            "Change the schedule, or add a language model whose weight stays positive.",
        ),
        (
            decay(1, half_life=16) * a,
            "`decay(1, half_life=16) * a` has the mass decay(1, half_life=16), which falls to 0 in the limit, "
            "and so no distribution there. "
            "Change the schedule, or add a language model whose weight stays positive.",
        ),
        (
            a + union(a, 2 * b),
            "The operands of union must have one mass, but `a` has 1, `2 * b` has 2. "
            "Scale them to the same mass, or take the larger one apart.",
        ),
        (
            a + intersection(bias, b),
            "The operands of intersection must have one mass, but `bias` has 0, `b` has 1. "
            "Scale them to the same mass, or take the larger one apart.",
        ),
        (
            a + tilt(formal - base),
            "The operand `formal - base` of tilt has mass 0 and so no distribution. "
            "A difference says only what changes; write `base + (formal - base)`.",
        ),
        (
            mix(a, 0.5 * tilt(b)),
            "The operand `tilt(b)` of mix has mass 0 and so no distribution. "
            "Add a language model to it, such as `b + tilt(b)`.",
        ),
        (
            power(bias, 2),
            "The operand `bias` of power has mass 0 and so no distribution. "
            "Add a language model to it, such as `base + 0.8 * tilt(expert)`.",
        ),
        (
            a + within(r * a, top_k=2),
            "The operand `ramp(0, 1, tokens=20) * a` of within has the mass ramp(0, 1, tokens=20), "
            "which is not positive at position 0, and so no distribution there. "
            "Change the schedule, or add a language model whose weight stays positive.",
        ),
        (
            a - within(a, top_k=3),
            "`within(a, top_k=3)` forbids tokens, so its weight must stay above 0; it is -1. "
            "Give it a positive weight; what forbids tokens cannot be subtracted or faded out.",
        ),
        (
            a + 0 * rule,
            "`rule` forbids tokens, so its weight must stay above 0; it is 0. "
            "Give it a positive weight; what forbids tokens cannot be subtracted or faded out.",
        ),
        (
            a + decay(1, half_life=2) * rule,
            "`rule` forbids tokens, so its weight must stay above 0; it is decay(1, half_life=2). "
            "Give it a positive weight; what forbids tokens cannot be subtracted or faded out.",
        ),
        (
            2 * a - (b + rule),
            "`b + rule` forbids tokens, so its weight must stay above 0; it is -1. "
            "Give it a positive weight; what forbids tokens cannot be subtracted or faded out.",
        ),
        (
            Term("a") + Term("a", bias.description),
            "Two different terms are both named 'a'. Give each term its own name.",
        ),
    ],
)
def test_unsound_formulas_are_refused(formula, message):
    with pytest.raises(FormulaError) as caught:
        check(formula)
    assert str(caught.value) == message


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("a + rule", True),
        ("tilt(a + rule)", True),
        ("probability(a + rule)", False),
        ("posterior(a + rule, b)", True),
        ("posterior(a, b + rule)", False),
        ("power(a + rule, 2)", True),
        ("intersection(a, a + rule)", True),
        ("union(a, a + rule)", False),
        ("union(b + rule, a + rule)", True),
        ("mix(a, b + rule)", False),
        ("mix(0 * a, b + rule)", True),
        ("a + bias", False),
    ],
)
def test_what_forbids(text, expected):
    assert forbids(parse(text, TERMS)) is expected


def test_a_mass_that_differs_only_by_rounding_agrees():
    check(union((0.1 + 0.2) * a, 0.3 * b))
    with pytest.raises(FormulaError, match="has mass 0"):
        check(0.1 * a + 0.2 * a - 0.3 * b)


def test_a_long_unsound_formula_is_cut_in_the_message():
    with pytest.raises(FormulaError) as caught:
        check(tilt(sum([a] * 200, b)))
    assert len(str(caught.value)) < 300


def test_an_unsound_formula_too_long_to_write_is_refused():
    formula = a
    for _ in range(60):
        formula = union(formula, formula)
    with pytest.raises(FormulaError, match=r"`a formula of .* nodes` has mass 0"):
        check(tilt(formula))
