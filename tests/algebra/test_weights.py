import math
from functools import reduce

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lmalgebra.algebra import Schedule, at, decay, limit, minimum, ramp
from lmalgebra.algebra.bounds import agree, first_not_positive
from lmalgebra.errors import FormulaError

from .strategies import weights

r = ramp(0, 1, tokens=20)


def test_a_ramp_is_a_straight_line_and_then_constant():
    assert [at(ramp(1, 3, tokens=4), position) for position in (0, 1, 2, 4, 9)] == [1, 1.5, 2, 3, 3]


def test_a_decay_halves_every_half_life():
    assert [at(decay(8, half_life=2), position) for position in (0, 2, 4)] == [8, 4, 2]
    assert limit(decay(8, half_life=2)) == 0


def test_schedules_have_one_canonical_form():
    d = decay(1, half_life=16)
    assert 2 * r + 3 * r == 5 * r
    assert hash(r * d + 1) == hash(1 + d * r)
    assert r - r == 0.0
    assert r * 0 == 0.0
    assert (r + 1) * (r - 1) == r * r - 1
    assert r / 2 == 0.5 * r


def test_a_schedule_that_does_not_change_is_a_number():
    assert ramp(0.5, 0.5, tokens=3) == 0.5
    assert decay(0, half_life=3) == 0.0


def test_text_of_schedules():
    assert str(r) == "ramp(0, 1, tokens=20)"
    assert str(-r) == "-ramp(0, 1, tokens=20)"
    assert str(0.5 - 2 * r * decay(1, half_life=1.5)) == "0.5 - 2 * decay(1, half_life=1.5) * ramp(0, 1, tokens=20)"
    assert repr(2 * r) == "Schedule('2 * ramp(0, 1, tokens=20)')"


@pytest.mark.parametrize(
    ("weight", "expected"),
    [
        (2.5, (2.5, 0)),
        (ramp(1, 0.25, tokens=20), (0.25, 20)),
        (ramp(0.25, 1, tokens=20), (0.25, 0)),
        (decay(1, half_life=16), (0.0, math.inf)),
        (1 - decay(1, half_life=16), (0.0, 0)),
        (ramp(0, 1, tokens=4) * ramp(-1, 0, tokens=4), (-0.25, 2)),
        (ramp(5, 1, tokens=100_000) + ramp(0, 9, tokens=300_000), (4.0, 100_000)),
    ],
)
def test_minimum_over_all_positions(weight, expected):
    assert minimum(weight) == pytest.approx(expected)


def test_minimum_of_a_long_dip_is_found():
    dip = decay(1, half_life=20_000) + ramp(0, 1, tokens=100_000)
    value, position = minimum(dip)
    exact = min(range(100_001), key=dip.at)
    assert (value, position) == (dip.at(exact), exact)


@given(weights, st.integers(0, 500))
def test_minimum_is_nowhere_undercut(weight, position):
    value, where = minimum(weight)
    assert value <= at(weight, position)
    assert value == (limit(weight) if where == math.inf else at(weight, where))


@given(weights, weights, st.integers(0, 50))
def test_arithmetic_is_that_of_the_values(x, y, position):
    u, v = at(x, position), at(y, position)
    assert at(x + y, position) == pytest.approx(u + v, abs=1e-9)
    assert at(x - y, position) == pytest.approx(u - v, abs=1e-9)
    assert at(x * y, position) == pytest.approx(u * v, abs=1e-9)


def test_first_position_that_is_not_positive():
    assert first_not_positive(ramp(1, -1, tokens=20)) == 10
    assert first_not_positive(ramp(1, -1, tokens=200_000)) == 100_000
    assert first_not_positive(decay(1, half_life=3)) == math.inf
    assert first_not_positive(1 + decay(1, half_life=3)) is None
    assert first_not_positive(0.1 + 0.2 - 0.3) == 0


def test_schedules_agree_by_value_not_by_form():
    assert agree(2 * ramp(0, 1, tokens=7), ramp(0, 2, tokens=7))
    assert not agree(ramp(0, 1, tokens=7), ramp(0, 1, tokens=8))


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: ramp(0, math.inf, tokens=3), "inf is not finite, so it cannot be the end of ramp."),
        (lambda: ramp(math.nan, 1, tokens=3), "nan is not finite, so it cannot be the start of ramp."),
        (lambda: ramp(0, True, tokens=3), "True is not a number, so it cannot be the end of ramp."),
        (lambda: ramp(0, 1, tokens=0), "tokens=0 of ramp is not a whole number from 1 to 1000000000."),
        (lambda: ramp(0, 1, tokens=2.5), "tokens=2.5 of ramp is not a whole number from 1 to 1000000000."),
        (lambda: decay(1, half_life=0), "half_life=0 of decay is not above 0 and at most 1000000000."),
        (lambda: decay("x", half_life=1), "'x' is not a number, so it cannot be the start of decay."),
        (lambda: r / 0, "A formula cannot be divided by 0."),
        (lambda: 1 / r, "A formula cannot be divided by the schedule `ramp(0, 1, tokens=20)`."),
        (lambda: 10**5000 * r, "a number of thousands of digits is not finite, so it cannot be the weight."),
        (lambda: 1e308 * r * 1e308, "inf is not finite, so it cannot be the coefficient of a schedule."),
    ],
)
def test_refused_weights(make, message):
    with pytest.raises(FormulaError) as caught:
        make()
    assert caught.value.message == message
    assert caught.value.hint


def test_a_schedule_of_too_many_products_is_refused():
    with pytest.raises(FormulaError, match="multiplies out to more than 64 products"):
        reduce(lambda weight, tokens: weight * (1 + ramp(0, 1, tokens=tokens)), range(1, 40), 1.0)


def test_a_schedule_is_a_schedule():
    assert isinstance(r, Schedule)
