"""The law of `draw`: who wins by what number; then by counting, with wrong samplers that the counting must catch."""

import math
from collections import Counter

import numpy as np
import pytest
import torch
from chi_squared import FALSE_ALARM, p_value

from lmalgebra.distributions import draw
from lmalgebra.distributions.draw import BLOCK
from lmalgebra.models.table import TableModel

LARGEST = 1 - 2**-53
"""The largest number that a source gives is not above it."""

LAWS = {
    "a toy's": TableModel(seed=3).logprobs([1, 2]).exp().tolist(),
    "even": [1 / 7] * 7,
    "one token's": [0.0, 1.0, 0.0],
    "with zeros at both ends": [0.0, 0.25, 0.0, 0.0, 0.5, 0.25, 0.0],
    "with rare tokens": [1e-9, 0.5, 1e-15, 0.5 - 1e-9 - 1e-15],
    "peaked": [1 - 3e-4, 1e-4, 1e-4, 1e-4],
    "of several blocks": TableModel(tuple(map(str, range(2 * BLOCK + 9))), "0", seed=5).logprobs([1]).exp().tolist(),
    "of blocks without any share": [0.0] * BLOCK + [0.0, 0.25] + [0.0] * BLOCK + [0.75] + [0.0] * (BLOCK - 3),
}


class Prescribed:
    """A source whose numbers are known."""

    def __init__(self, numbers):
        self._numbers = np.asarray(numbers, dtype=float)

    def random(self, count):
        assert count == len(self._numbers)
        return self._numbers.copy()


@pytest.fixture(params=LAWS)
def law(request) -> list[float]:
    return LAWS[request.param]


def numbers_for(law: list[float]) -> int:
    """A number for each block, and for each token of one."""
    return -(-len(law) // BLOCK) + BLOCK


def log(law: list[float]) -> torch.Tensor:
    return torch.tensor(law, dtype=torch.float64).log()


def sources(count: int, seed: int = 7) -> list[np.random.Generator]:
    return [np.random.Generator(np.random.Philox(key=seed, counter=place << 128)) for place in range(count)]


def raced(shares: list[float], numbers: list[float]) -> int:
    """Who wins: share / -log(number) is the largest, which orders as log(share) + Gumbel does."""
    return max(range(len(shares)), key=lambda i: shares[i] / -math.log(numbers[i]))


def test_a_token_wins_two_races(law):
    count = numbers_for(law)
    rows = np.random.default_rng(0).random((300, count))
    blocks = [law[first : first + BLOCK] for first in range(0, len(law), BLOCK)]
    expected = []
    for numbers in rows.tolist():
        block = raced([math.fsum(each) for each in blocks], numbers[: len(blocks)])
        expected.append(block * BLOCK + raced(blocks[block], numbers[len(blocks) :][: len(blocks[block])]))
    found = draw(log(law).expand(len(rows), -1), [Prescribed(numbers) for numbers in rows])
    assert found.tolist() == expected


@pytest.mark.parametrize("shift", [0.0, -3.5])
@pytest.mark.parametrize("token", [0, 1, 2])
def test_a_race_is_won_from_exactly_the_number_that_gives_each_its_share(token, shift):
    """Where the others' best is u ** (1 / p), in terms of p, token k wins from u ** (p_k / p) on; the integral of what
    is above it is p_k / (p_k + p), so that each wins with exactly its share. The border is found by halving."""
    shares, others = [0.2, 0.3, 0.5], [0.37, 0.81, 0.64]
    low, high = 0.0, 1.0
    for _ in range(60):
        others[token] = middle = (low + high) / 2
        numbers = [0.5, *others, *[0.5] * (BLOCK - 3)]
        if draw(log(shares)[None] + shift, [Prescribed(numbers)]).item() == token:
            high = middle
        else:
            low = middle
    best = max(others[i] ** (1 / shares[i]) for i in range(3) if i != token)
    assert high == pytest.approx(best ** shares[token], abs=1e-12)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16])
def test_a_token_of_probability_0_is_never_drawn(law, dtype):
    extreme = [Prescribed([number] * numbers_for(law)) for number in (0.0, LARGEST, 1e-300)]
    found = draw(log(law).to(dtype).expand(2003, -1), [*extreme, *sources(2000)])
    assert all(law[token] > 0 for token in found.tolist())


def test_what_is_drawn_from_stays_as_it_was():
    logprobs = log([0.25, 0.75])[None]
    before = logprobs.clone()
    draw(logprobs, sources(1))
    assert torch.equal(logprobs, before)


def test_each_row_has_a_law_and_numbers_of_its_own(law):
    certain = torch.full((3, 4), -math.inf)
    certain[[0, 1, 2], [2, 0, 3]] = 0.0
    assert draw(certain, sources(3)).tolist() == [2, 0, 3]
    together = draw(log(law).expand(20, -1), sources(20))
    alone = [draw(log(law)[None], [source]).item() for source in sources(20)]
    assert together.tolist() == alone


@pytest.mark.parametrize("size", [1e-6, 1e-3, 0.03])
def test_laws_that_are_close_give_the_same_token_but_seldom(size):
    """Over a vocabulary with a long tail; 2 d / (1 + d) for each race, and five standard deviations."""
    torch.manual_seed(1)
    one = (-1.1 * torch.arange(1, 5001, dtype=torch.float64).log())[torch.randperm(5000)].log_softmax(-1)
    two = (one + size * torch.randn(5000, dtype=torch.float64)).log_softmax(-1)
    apart = 0.5 * float((one.exp() - two.exp()).abs().sum())
    draws, bound = 4000, 2 * 2 * apart / (1 + apart)
    first, second = (draw(law.expand(draws, -1), sources(draws)) for law in (one, two))
    share = float((first != second).double().mean())
    assert share <= bound + 5 * math.sqrt(bound / draws)


def counted(sampler, law: list[float]) -> Counter:
    """20,000 draws with numbers from a fixed seed."""
    return Counter(sampler(log(law).expand(20_000, -1), sources(20_000)).tolist())


@pytest.mark.parametrize("name", [name for name in LAWS if name != "one token's"])
def test_draws_follow_the_law(name):
    assert p_value(counted(draw, LAWS[name]), dict(enumerate(LAWS[name]))) > FALSE_ALARM


@pytest.mark.parametrize(
    "wrong",
    [
        lambda logprobs, given: draw(logprobs / 1.1, given),
        lambda logprobs, given: draw(logprobs, [Prescribed(0.9 * each.random(1 + BLOCK)) for each in given]),
        lambda logprobs, given: draw(logprobs, given).clamp(max=45),
    ],
    ids=["a temperature of 1.1", "uneven numbers", "the last tokens are never drawn"],
)
def test_a_wrong_sampler_is_caught_by_the_same_count(wrong):
    law = LAWS["a toy's"]
    assert p_value(counted(wrong, law), dict(enumerate(law))) < FALSE_ALARM
