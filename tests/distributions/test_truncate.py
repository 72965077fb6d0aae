"""Truncations against definitions written out in plain Python, ties included."""

import math

import pytest
import torch
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from lmalgebra.distributions import (
    Truncation,
    add_to_tokens,
    forbid,
    keep_min_p,
    keep_top_k,
    keep_top_p,
    penalise_counts,
    penalise_repeats,
)

CUT = -math.inf

relaxed = settings(deadline=None, max_examples=200)
levels = st.sampled_from([0.0, 1.0, 2.0, 3.0]) | st.floats(0, 10)
weights = st.lists(levels, min_size=1, max_size=12).filter(lambda drawn: sum(drawn) > 0.01)
"""Unnormalised probabilities, many of them equal and some 0."""


def kept(cut: torch.Tensor) -> list[set[int]]:
    return [{token for token, weight in enumerate(row) if weight != CUT} for row in cut.tolist()]


def log(*rows: list[float]) -> torch.Tensor:
    return torch.tensor(rows, dtype=torch.float64).log()


def possible(drawn: list[float]) -> set[int]:
    return {token for token, weight in enumerate(drawn) if weight > 0}


@relaxed
@given(weights, st.integers(1, 14))
def test_top_k_keeps_tokens_that_fewer_than_k_are_likelier_than(drawn, k):
    expected = {token for token in possible(drawn) if sum(other > drawn[token] for other in drawn) < k}
    assert kept(keep_top_k(log(drawn), k)) == [expected]


@relaxed
@given(weights, st.floats(0.01, 1))
def test_top_p_keeps_the_fewest_likeliest_tokens_that_have_the_share(drawn, p):
    total = math.fsum(drawn)
    shares = {token: math.fsum(other for other in drawn if other > drawn[token]) / total for token in possible(drawn)}
    ordered = sorted(drawn, reverse=True)
    sums = [math.fsum(ordered[:count]) / total for count in range(len(ordered) + 1)]
    assume(all(abs(share - p) > 1e-9 for share in sums))  # on the border itself, rounding decides
    border = next((weight for weight, share in zip(ordered, sums[1:], strict=True) if share >= p), 0.0)
    expected = {token for token in shares if drawn[token] >= border}
    assert kept(keep_top_p(log(drawn), p)) == [expected]


@relaxed
@given(weights, st.floats(0, 1))
def test_min_p_keeps_tokens_that_have_the_share_of_the_likeliest(drawn, p):
    assume(all(abs(weight / max(drawn) - p) > 1e-9 for weight in drawn) or p in (0, 1))
    expected = {token for token in possible(drawn) if drawn[token] >= p * max(drawn)}
    assert kept(keep_min_p(log(drawn), p)) == [expected]


def test_tokens_as_likely_as_the_last_one_kept_are_kept():
    tied = log([0.4, 0.2, 0.2, 0.2])
    assert kept(keep_top_k(tied, 2)) == [{0, 1, 2, 3}]
    assert kept(keep_top_p(tied, 0.5)) == [{0, 1, 2, 3}]
    assert kept(keep_min_p(tied, 0.5)) == [{0, 1, 2, 3}]
    assert kept(keep_top_k(tied, 1)) == kept(keep_top_p(tied, 0.3)) == kept(keep_min_p(tied, 0.6)) == [{0}]


def test_each_row_is_cut_by_itself():
    rows = log([0.5, 0.3, 0.2], [0.1, 0.1, 0.8])
    assert kept(keep_top_k(rows, 2)) == [{0, 1}, {0, 1, 2}]
    assert kept(keep_top_p(rows, 0.7)) == [{0, 1}, {2}]
    assert kept(keep_min_p(rows, 0.5)) == [{0, 1}, {2}]


def test_what_is_kept_keeps_its_weight():
    rows = log([0.5, 0.3, 0.2]) - 7
    for cut in (keep_top_k(rows, 2), keep_top_p(rows, 0.7), keep_min_p(rows, 0.5)):
        assert torch.equal(cut[0, :2], rows[0, :2])


@pytest.mark.parametrize("size", [300, 5000])
@pytest.mark.parametrize("p", [0.1, 0.5, 0.9, 0.999])
@pytest.mark.parametrize("sharpness", [0.01, 1.0, 4.0])
def test_the_nucleus_of_a_large_vocabulary_is_that_of_sorting_it_all(size, p, sharpness):
    drawn = torch.randn(4, size, generator=torch.Generator().manual_seed(size), dtype=torch.float64) * sharpness
    drawn[1] *= 10  # a row that needs few tokens beside one that needs many
    probabilities = drawn.softmax(-1)
    ordered = probabilities.sort(-1, descending=True)
    needed = (ordered.values.cumsum(-1) < p).sum(-1) + 1
    expected = [set(ordered.indices[row, :count].tolist()) for row, count in enumerate(needed.tolist())]
    assert kept(keep_top_p(drawn, p)) == expected


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_a_nucleus_whose_share_rounding_never_reaches_is_everything_possible(dtype):
    drawn = torch.zeros(1, 5000, dtype=dtype)
    drawn[0, ::2] = CUT
    assert kept(keep_top_p(drawn, 1 - 1e-9)) == [set(range(1, 5000, 2))]


@relaxed
@given(weights, st.floats(0.2, 3), st.integers(1, 14), st.floats(0.05, 1), st.floats(0, 1))
def test_a_truncation_applies_temperature_then_top_k_then_top_p_then_min_p(drawn, temperature, k, p, share):
    expected = (log(drawn).log_softmax(-1) / temperature).log_softmax(-1)
    for cut in (lambda w: keep_top_k(w, k), lambda w: keep_top_p(w, p), lambda w: keep_min_p(w, share)):
        expected = cut(expected).log_softmax(-1)
    found = Truncation(temperature, k, p, share)(log(drawn).log_softmax(-1))
    assert kept(found) == kept(expected)
    torch.testing.assert_close(found.exp(), expected.exp(), rtol=0, atol=1e-12)


def test_no_truncation_changes_nothing():
    logprobs = log([0.5, 0.3, 0.2])
    torch.testing.assert_close(Truncation()(logprobs), logprobs)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("temperature", [1e-6, 1e-30, 1e-300])
def test_a_temperature_near_0_leaves_the_likeliest_token(temperature, dtype):
    logprobs = torch.tensor([[0.2, 0.5, 0.3, 0.0]], dtype=dtype).log()
    assert Truncation(temperature)(logprobs).exp().tolist() == [[0, 1, 0, 0]]


def test_a_penalty_multiplies_the_logprobs_of_tokens_that_were_seen():
    logprobs = log([0.5, 0.25, 0.25], [0.5, 0.25, 0.25])
    found = penalise_repeats(logprobs, [[0, 2, 2], []], 1.5)
    expected = [[1.5 * math.log(0.5), math.log(0.25), 1.5 * math.log(0.25)], logprobs[1].tolist()]
    torch.testing.assert_close(found, torch.tensor(expected, dtype=torch.float64))


def test_tokens_are_forbidden_in_the_rows_that_are_named():
    found = forbid(log([0.5, 0.25, 0.25], [0.5, 0.25, 0.25]), [True, False], {1, 2})
    assert kept(found) == [{0}, {0, 1, 2}]


@pytest.mark.parametrize(
    "change",
    [
        lambda w: keep_top_k(w, 1),
        lambda w: keep_top_p(w, 0.3),
        lambda w: keep_min_p(w, 0.9),
        lambda w: penalise_repeats(w, [[0]], 2.0),
        lambda w: forbid(w, [True], {0}),
        Truncation(0.5, 2, 0.5, 0.1),
    ],
)
def test_what_is_given_is_not_changed(change):
    given_weights = log([0.5, 0.3, 0.2])
    before = given_weights.clone()
    assert not torch.equal(change(given_weights), before)
    assert torch.equal(given_weights, before)


def test_counted_penalties_take_nats_once_and_for_each_time():
    weights = torch.zeros(2, 4, dtype=torch.float64)
    found = penalise_counts(weights, [[0, 2, 2], []], presence=0.5, frequency=0.25)
    assert found.tolist() == [[-0.75, 0, -1.0, 0], [0, 0, 0, 0]]
    assert weights.tolist() == [[0] * 4] * 2
    assert penalise_counts(weights, [[0], [1]]) is weights


def test_nats_are_added_to_single_tokens_of_every_row():
    weights = torch.tensor([[0.0, CUT, 1.0], [2.0, 0.0, CUT]])
    assert add_to_tokens(weights, [(0, -1.5), (1, 3.0)]).tolist() == [[-1.5, CUT, 1.0], [0.5, 3.0, CUT]]
    assert add_to_tokens(weights, []) is weights
