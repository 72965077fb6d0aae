"""The law of `draw`, summed exactly; then by counting, with a wrong sampler that the counting must catch."""

import math
import random
from collections import Counter

import pytest
import torch
from chi_squared import FALSE_ALARM, p_value

from lmalgebra.distributions import draw
from lmalgebra.distributions.draw import BLOCK
from lmalgebra.models.table import TableModel

LARGEST = 1 - 2**-53
"""The largest number that `random.random` gives is not above it."""

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


@pytest.fixture(params=LAWS)
def law(request) -> list[float]:
    return LAWS[request.param]


def drawn(logprobs: torch.Tensor, uniforms: list[float]) -> list[int]:
    return draw(logprobs.expand(len(uniforms), -1), uniforms).tolist()


def measures(logprobs: torch.Tensor) -> list[float]:
    """How much of [0, 1) gives each token: the borders between tokens are searched by halving, all at once."""
    count = len(logprobs)
    low, high = [0.0] * count, [1.0] * count  # the token at `low` is at most t, that at `high` is above
    for _ in range(60):
        middle = [(below + above) / 2 for below, above in zip(low, high, strict=True)]
        found = drawn(logprobs, [min(each, LARGEST) for each in middle])
        for token in range(count):
            if found[token] > token:
                high[token] = middle[token]
            else:
                low[token] = middle[token]
    first = draw(logprobs[None], [0.0]).item()
    ends = [0.0 if token < first else high[token] for token in range(count)]
    return [end - start for start, end in zip([0.0, *ends], ends, strict=False)]


def test_each_token_has_exactly_its_probability(law):
    found = measures(torch.tensor(law, dtype=torch.float64).log())
    assert max(abs(one - two) for one, two in zip(found, law, strict=True)) < 1e-12


def test_weights_need_not_be_normalised(law):
    found = measures(torch.tensor(law, dtype=torch.float64).log() - 3.5)
    assert max(abs(one - two) for one, two in zip(found, law, strict=True)) < 1e-12


def test_a_border_belongs_to_the_next_token_that_is_possible():
    logprobs = torch.tensor([0.0, 0.25, 0.0, 0.5, 0.25, 0.0], dtype=torch.float64).log()
    below = math.nextafter(0.25, 0), math.nextafter(0.75, 0)
    assert drawn(logprobs, [0.0, below[0], 0.25, below[1], 0.75, LARGEST]) == [1, 1, 3, 3, 4, 4]


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16])
def test_a_token_of_probability_0_is_never_drawn(law, dtype):
    draws = random.Random(1)
    logprobs = torch.tensor(law, dtype=torch.float64).log().to(dtype)
    uniforms = [0.0, LARGEST, *(draws.random() for _ in range(2000))]
    assert all(law[token] > 0 for token in drawn(logprobs, uniforms))


def test_what_is_drawn_from_stays_as_it_was():
    logprobs = torch.tensor([[0.25, 0.75]], dtype=torch.float64).log()
    before = logprobs.clone()
    draw(logprobs, [0.5])
    assert torch.equal(logprobs, before)


def test_each_row_has_a_law_and_a_number_of_its_own():
    certain = torch.full((3, 4), -math.inf)
    certain[[0, 1, 2], [2, 0, 3]] = 0.0
    assert draw(certain, [0.9, 0.1, 0.5]).tolist() == [2, 0, 3]


def counted(sampler, law: list[float]) -> Counter:
    """20,000 draws with numbers from a fixed seed."""
    draws = random.Random(7)
    uniforms = [draws.random() for _ in range(20_000)]
    logprobs = torch.tensor(law, dtype=torch.float64).log()
    return Counter(sampler(logprobs.expand(len(uniforms), -1), uniforms).tolist())


@pytest.mark.parametrize("name", [name for name in LAWS if name != "one token's"])
def test_draws_follow_the_law(name):
    assert p_value(counted(draw, LAWS[name]), dict(enumerate(LAWS[name]))) > FALSE_ALARM


@pytest.mark.parametrize(
    "wrong",
    [
        lambda logprobs, uniforms: draw(logprobs / 1.1, uniforms),
        lambda logprobs, uniforms: draw(logprobs, [u**1.05 for u in uniforms]),
        lambda logprobs, uniforms: draw(logprobs, uniforms).clamp(max=45),
    ],
    ids=["a temperature of 1.1", "uneven numbers", "the last tokens are never drawn"],
)
def test_a_wrong_sampler_is_caught_by_the_same_count(wrong):
    law = LAWS["a toy's"]
    assert p_value(counted(wrong, law), dict(enumerate(law))) < FALSE_ALARM
