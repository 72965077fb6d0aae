"""Coefficients: fixed, or after the rule of Ziegler et al. 2019."""

import pytest

from lmalgebra.training.policies.coefficient import Coefficient


def test_without_a_target_it_stays():
    fixed = Coefficient(0.3)
    fixed.follow(100.0)
    assert fixed.value == 0.3


@pytest.mark.parametrize(
    ("measured", "lifts", "value"),
    [
        (2.2, False, 1.01),
        (1.9, False, 0.995),
        (9.0, False, 1.02),
        (0.0, False, 0.98),
        (0.0, True, 1.02),
        (2.2, True, 0.99),
    ],
)
def test_it_follows_by_a_tenth_of_the_error_which_is_a_fifth_at_most(measured, lifts, value):
    coefficient = Coefficient(1.0, target=2.0, lifts=lifts)
    coefficient.follow(measured)
    assert coefficient.value == pytest.approx(value)


def test_it_finds_the_value_that_holds_the_target():
    coefficient = Coefficient(0.01, target=0.5, gain=0.5)
    for _ in range(300):
        coefficient.follow(1 / (1 + coefficient.value))  # what is measured falls as the coefficient grows
    assert coefficient.value == pytest.approx(1.0, rel=1e-3)
