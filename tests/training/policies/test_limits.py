"""When a training ends early."""

import pytest

from lmalgebra.training.policies.limits import Limits

RISING = [0.1, 0.2, 0.3, 0.4, 0.5, 0.6]


@pytest.mark.parametrize(
    ("rewards", "kl", "sentence"),
    [
        (RISING, 0.5, ""),
        ([0.6, 0.1], 0.5, ""),  # too few steps to say
        ([0.6] * 5 + [0.0], 0.5, ""),  # one bad step
        ([0.9] * 5 + [0.1] * 3, 0.5, "The reward has collapsed: 0.42 over the last 5 steps, after 0.9"),
        (RISING, 2.5, "The policy is 2.50 nats per token from the reference, beyond max_kl = 2."),
    ],
)
def test_limits(rewards, kl, sentence):
    assert Limits(max_kl=2.0, max_drop=2.0).crossed(rewards, kl, deviation=0.2).startswith(sentence)
    assert bool(sentence) == bool(Limits(2.0, 2.0).crossed(rewards, kl, deviation=0.2))


def test_without_limits_nothing_ends():
    assert Limits(0, 0).crossed([1.0] * 5 + [0.0] * 5, 1e9, 0.1) == ""
