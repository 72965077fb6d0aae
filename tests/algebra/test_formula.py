import copy
import math
import pickle
import time
from functools import reduce

import pytest

from lmalgebra.algebra import (
    MAX_DEPTH,
    Constant,
    Intersection,
    Mix,
    Power,
    Scale,
    Sum,
    Term,
    Tilt,
    Union,
    Within,
    intersection,
    mix,
    power,
    ramp,
    tilt,
    union,
    within,
)
from lmalgebra.errors import FormulaError

from .strategies import a, b, c, rule

r = ramp(0, 1, tokens=20)


def test_operators_build_these_nodes():
    assert a + b == Sum((a, b))
    assert a - b == Sum((a, Scale(-1, b)))
    assert a - 0.5 * b == Sum((a, Scale(-0.5, b)))
    assert a / 4 == Scale(0.25, a)
    assert a * 2 == 2 * a == Scale(2, a)
    assert 1 - a == Sum((Constant(1), Scale(-1, a)))
    assert a + 1 == Sum((a, Constant(1)))
    assert r * a == a * r == Scale(r, a)
    assert a + r == Sum((a, Constant(r)))
    assert a | b | c == Union((a, b, c))
    assert a & b & 2 == Intersection((a, b, Constant(2)))
    assert +a == a


def test_functions_build_these_nodes():
    assert union(a, b) == Union((a, b))
    assert intersection(a, 1) == Intersection((a, Constant(1)))
    assert tilt(a) == Tilt(a)
    assert mix(0.3 * a, b) == Mix((0.3, 1.0), (a, b))
    assert power(a, 2) == Power(a, 2.0)
    assert within(a, top_k=5) == Within(a, 5, None, None)


def test_sums_are_spliced_and_neighbouring_numbers_added():
    assert a + (b + c) == Sum((a, b, c)) == Sum((Sum((a, b)), c))
    assert a + 1 + 2 == a + 3
    assert Constant(1) + Constant(2) == Constant(3)
    assert 2 * (3 * a) == Scale(6, a) == Scale(2, Scale(3, a))


def test_equality_and_hash_are_by_content():
    assert len({a + b, Term("a") + Term("b"), b + a}) == 2
    assert a != "a"
    assert Term("a") != Term("a", rule.description)
    assert union(a, b) != intersection(a, b)


def test_formulas_survive_pickling_and_copying():
    formula = a + 0.6 * (b - a) + within(c, min_p=0.1) + r * mix(a, 2 * b)
    hash(formula)
    assert pickle.loads(pickle.dumps(formula)) == formula
    assert copy.deepcopy(formula) == formula


def test_leaves_in_order_of_first_appearance():
    assert (b + union(a, b) - 2 * c).leaves() == (b, a, c)


def test_depth_counts_levels_and_not_weights():
    assert a.depth == 1
    assert (-a).depth == 1
    assert (a + 0.6 * (b - a)).depth == 3
    assert (a + b + c).depth == 2


def test_a_long_sum_is_one_level():
    started = time.perf_counter()
    formula = a
    for _ in range(10_000):
        formula = formula + a
    assert formula.depth == 2
    assert formula.mass() == 10_001
    assert str(formula.simplify()) == "10001 * a"
    assert time.perf_counter() - started < 5


@pytest.mark.parametrize("wrap", [tilt, lambda f: union(f, a), lambda f: 0.5 * (f + a) - tilt(f), lambda f: f | f & a])
def test_deep_nesting_is_refused_in_one_sentence(wrap):
    with pytest.raises(FormulaError) as caught:
        reduce(lambda formula, _: wrap(formula), range(10_000), a)
    assert caught.value.message == f"The formula nests {MAX_DEPTH + 1} levels deep; at most {MAX_DEPTH} are allowed."


def test_the_deepest_formula_can_be_used():
    formula = a
    while formula.depth < MAX_DEPTH - 1:
        formula = a - 0.5 * (b + tilt(formula))
    assert hash(formula) == hash(copy.deepcopy(formula))
    assert formula.mass() == 0.5
    assert formula.simplify() == formula.simplify().simplify()
    assert formula.tree().count("tilt") == str(formula).count("tilt")


def test_shared_parts_are_visited_once():
    one, two = a, a
    for _ in range(90):
        one, two = union(one, one), union(two, two)
    assert one == two
    assert one.mass() == 1
    assert one.leaves() == (a,)
    assert one.simplify() == a
    assert repr(one).startswith("Union('a formula of 2475880078570760549798248447 nodes')")
    with pytest.raises(FormulaError, match="at most 200000 are written"):
        str(one)


def test_a_sum_that_doubles_is_refused_before_memory_runs_out():
    with pytest.raises(FormulaError, match="A sum of 131072 operands is too long; at most 100000"):
        reduce(lambda formula, _: formula + formula, range(40), a + b)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Term("2a"), "'2a' cannot name a term."),
        (lambda: Term("for"), "'for' cannot name a term: it is a word of Python."),
        (lambda: Term("union"), "'union' cannot name a term: it is a function of formulas."),
        (lambda: Term("\ufb01"), "'\ufb01' cannot name a term."),
        (lambda: Term(3), "3 cannot name a term."),
        (lambda: a * b, "`a` * `b` multiplies two formulas, which has no meaning here."),
        (lambda: a / b, "`a` / `b` divides by a formula, which has no meaning here."),
        (lambda: 2 / a, "2 / `a` divides by a formula, which has no meaning here."),
        (lambda: a / 0, "A formula cannot be divided by 0."),
        (lambda: a / r, "A formula cannot be divided by the schedule `ramp(0, 1, tokens=20)`."),
        (lambda: math.nan * a, "nan is not finite, so it cannot be the weight."),
        (lambda: a + math.inf, "inf is not finite, so it cannot be the weight."),
        (lambda: True * a, "True is not a number, so it cannot be the weight."),
        (lambda: Sum((a, "b")), "'b' is not a formula."),
        (lambda: Sum((a,)), "A sum of 1 operands is no sum, once its numbers are added up."),
        (lambda: Scale(2, Constant(3)), "Scale of the number `3` is itself a number."),
        (lambda: union(), "union() has no operands."),
        (lambda: Intersection(()), "intersection() has no operands."),
        (lambda: mix(a, -0.5 * b), "mix gives `b` the negative weight -0.5."),
        (lambda: mix(0 * a), "The weights (0.0,) of mix do not have a positive, finite sum."),
        (lambda: mix(2, a), "The number 2 cannot be mixed."),
        (lambda: mix(r * a), "mix takes numbers as weights, not the schedule `ramp(0, 1, tokens=20)`."),
        (lambda: Mix((1.0,), (2 * a,)), "`2 * a` cannot be an operand of Mix."),
        (lambda: Mix((1.0,), (a, b)), "mix has 1 weights for 2 operands."),
        (lambda: power(a, 0), "The exponent 0 of power is not above 0 everywhere."),
        (lambda: power(a, r), "The exponent ramp(0, 1, tokens=20) of power is not above 0 everywhere."),
        (lambda: within(a), "within has no limit."),
        (lambda: within(a, top_k=0), "top_k=0 of within is not a whole number of at least 1."),
        (lambda: within(a, top_k=True), "top_k=True of within is not a whole number of at least 1."),
        (lambda: within(a, top_k=2.0), "top_k=2.0 of within is not a whole number of at least 1."),
        (lambda: within(a, top_p=0), "top_p=0.0 of within is not above 0 and at most 1."),
        (lambda: within(a, min_p=1.5), "min_p=1.5 of within is not from 0 to 1."),
    ],
)
def test_refused_formulas(make, message):
    with pytest.raises(FormulaError) as caught:
        make()
    assert caught.value.message == message
    assert caught.value.hint


def test_what_is_no_value_is_left_to_python():
    with pytest.raises(TypeError):
        a + "b"
    with pytest.raises(TypeError):
        a | None
