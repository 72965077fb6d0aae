"""Costs and acceptances: exact on exact measurements, steady under bad ones, and quick to follow a change."""

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lmalgebra.decoding.measurements import PRIOR, Acceptance, Cost


def cost(*passes: tuple[int, float]) -> Cost:
    measured = Cost()
    for tokens, seconds in passes:
        measured.add(tokens, seconds)
    return measured


def test_nothing_is_known_before_a_measurement():
    assert Cost().seconds(1) is None


def test_a_line_is_found():
    found = cost((1, 0.031), (5, 0.035), (17, 0.047))
    assert found.seconds(1) == pytest.approx(0.031)
    assert found.seconds(9) == pytest.approx(0.039)


def test_one_number_of_tokens_says_that_the_cost_is_flat():
    assert cost((4, 0.03), (4, 0.03)).seconds(40) == pytest.approx(0.03)


def test_neither_part_of_the_line_is_negative():
    falling = cost((1, 0.04), (8, 0.03))
    assert falling.seconds(100) == pytest.approx(falling.seconds(1))
    assert 0.03 < falling.seconds(1) < 0.04
    steep = cost((1, 0.001), (8, 0.08))
    assert steep.seconds(0) == 0
    assert steep.seconds(2) == pytest.approx(2 * steep.seconds(1))


@given(st.lists(st.tuples(st.integers(1, 200), st.floats(0, 10)), min_size=1, max_size=40))
def test_more_tokens_never_cost_less(passes):
    found = cost(*passes)
    assert 0 <= found.seconds(0) <= found.seconds(1) <= found.seconds(100)


@pytest.mark.parametrize("last", [1.0, 3.0, 8.0, 40.0])
def test_the_line_is_the_best_one_allowed(last):
    """Against a search; the unrestricted line falls in the first case, and starts below 0 in the last."""
    passes = ((1, 1.5), (8, 2.0), (64, last))
    found = cost(*passes)

    def misfit(intercept: float, slope: float) -> float:
        return sum(((intercept + slope * tokens) / seconds - 1) ** 2 for tokens, seconds in passes)

    intercept, slope = found.seconds(0), found.seconds(1) - found.seconds(0)
    least = min(misfit(first / 100, second / 1000) for first in range(300) for second in range(0, 700, 5))
    assert misfit(intercept, slope) <= 1.01 * least


def test_a_pause_of_the_machine_does_not_count():
    steady, noise = Cost(), random.Random(1)
    for step in range(60):
        pause = 5.0 if step % 10 == 3 else 0.0
        for tokens in (1, 5):
            steady.add(tokens, (0.030 + 0.001 * tokens) * noise.uniform(0.97, 1.03) + pause)
        if step:
            assert steady.seconds(1) == pytest.approx(0.031, rel=0.05)
            assert steady.seconds(5) == pytest.approx(0.035, rel=0.05)


def test_a_slow_first_pass_does_not_count():
    assert cost((1, 2.0), (1, 0.03)).seconds(1) == pytest.approx(0.03)


def test_a_lasting_change_counts_after_five_passes():
    changed = cost(*[(1, 0.03)] * 50, *[(1, 0.09)] * 4)
    assert changed.seconds(1) == pytest.approx(0.03)
    changed.add(1, 0.09)
    assert changed.seconds(1) == pytest.approx(0.09)


def test_a_number_of_tokens_that_is_not_seen_any_more_loses_weight():
    """The machine became three times slower; flat, since a longer pass cannot take less."""
    changed = cost((1, 0.03), (8, 0.035), *[(1, 0.09)] * 9)
    assert changed.seconds(1) < 0.08
    for _ in range(200):
        changed.add(1, 0.09)
    assert changed.seconds(1) == changed.seconds(8) == pytest.approx(0.09, rel=0.01)


def test_acceptance_starts_hopeful_and_learns():
    acceptance = Acceptance()
    assert acceptance.rate == PRIOR
    acceptance.add(0, 4)
    assert acceptance.rate < 0.5
    for _ in range(100):
        acceptance.add(0.3 * 4, 4)
    assert acceptance.rate == pytest.approx(0.3, abs=0.005)


def test_acceptance_forgets():
    """After 64 tested tokens the past counts 1/e; counted in tokens, not in calls."""
    for tokens in (1, 4, 64):
        acceptance = Acceptance()
        acceptance.add(900, 1000)
        for _ in range(64 // tokens):
            acceptance.add(0.1 * tokens, tokens)
        assert acceptance.rate == pytest.approx(0.1 + 0.8 * 0.37, abs=0.01)


def test_what_has_faded_gives_way_to_a_few_tokens():
    fresh, faded = Acceptance(), Acceptance()
    for acceptance in (fresh, faded):
        acceptance.add(300, 1000)
    faded.fade()
    assert faded.rate == pytest.approx(fresh.rate)
    for acceptance in (fresh, faded):
        acceptance.add(8, 8)
    assert fresh.rate == pytest.approx((0.3 * 64 + 8) / 72, abs=0.02)
    assert faded.rate == pytest.approx((0.3 * 4 + 8) / 12, abs=0.02)


@given(st.lists(st.tuples(st.floats(0, 1), st.integers(0, 500))))
def test_acceptance_stays_a_share(history):
    acceptance = Acceptance()
    for share, tested in history:
        acceptance.add(share * tested, tested)
        assert 0 <= acceptance.rate <= 1 + 1e-12
