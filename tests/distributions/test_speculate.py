"""Keeping and redrawing drafted tokens: tables worked by hand, then the law that must come out, for random laws."""

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from lmalgebra.distributions import Truncation, accept_probability, overlap, residual

TARGET = [0.5, 0.25, 0.25, 0.0]
DRAFT = [0.25, 0.5, 0.0, 0.25]

relaxed = settings(deadline=None, max_examples=200)


def log(*rows: list[float], dtype: torch.dtype = torch.float64) -> torch.Tensor:
    return torch.tensor(rows, dtype=torch.float64).log().to(dtype)


def accepts(target: torch.Tensor, draft: torch.Tensor) -> torch.Tensor:
    """The probability of keeping each token of the vocabulary, `[rows, vocabulary]`."""
    rows, vocabulary = target.shape
    columns = [accept_probability(target, draft, torch.full((rows,), token)) for token in range(vocabulary)]
    return torch.stack(columns, dim=-1)


def emitted(target: torch.Tensor, draft: torch.Tensor) -> torch.Tensor:
    """The law of the token that is kept or redrawn, summed over every drafted token."""
    kept = draft.double().exp() * accepts(target, draft)
    return kept + (1 - kept.sum(-1, keepdim=True)) * residual(target, draft).double().exp()


@st.composite
def laws(draw, vocabulary=6):
    """Log-probabilities, many of them -inf or equal, some truncated, some of a single token."""
    share = st.sampled_from([0.0, 0.0, 1.0, 2.0, 1e-9, 1e-30]) | st.floats(0, 10)
    drawn = draw(st.lists(share, min_size=vocabulary, max_size=vocabulary).filter(lambda row: sum(row) > 0))
    truncation = draw(st.sampled_from([Truncation(), Truncation(0.7, top_k=2), Truncation(top_p=0.6, min_p=0.2)]))
    return truncation(log(drawn))


def test_a_token_is_kept_as_often_as_the_target_has_it_for_each_time_it_is_drafted():
    assert accepts(log(TARGET), log(DRAFT)).tolist() == [pytest.approx([1, 0.5, 1, 0], abs=1e-15)]


def test_the_residual_is_what_the_draft_lacks():
    assert residual(log(TARGET), log(DRAFT)).exp().tolist() == [pytest.approx([0.5, 0, 0.5, 0], abs=1e-15)]
    assert residual(log(TARGET), log(DRAFT)).tolist()[0][1::2] == [-math.inf, -math.inf]


def test_the_overlap_is_the_sum_of_what_both_have():
    assert overlap(log(TARGET, TARGET), log(DRAFT, TARGET)).tolist() == pytest.approx([0.5, 1], abs=1e-15)


def test_each_row_has_its_own_token():
    target, draft = log(TARGET, TARGET, DRAFT), log(DRAFT, DRAFT, TARGET)
    assert accept_probability(target, draft, torch.tensor([1, 3, 0])).tolist() == pytest.approx([0.5, 0, 0.5])


def test_a_greedy_target_keeps_its_token_alone_and_redraws_nothing_else():
    target, draft = log([0.0, 1.0, 0.0, 0.0]), log([0.5, 0.25, 0.25, 0.0])
    assert accepts(target, draft).tolist() == [[0, 1, 0, 0]]
    assert residual(target, draft).tolist() == [[-math.inf, 0, -math.inf, -math.inf]]
    assert overlap(target, draft).tolist() == pytest.approx([0.25])


def test_a_copied_token_is_kept_with_the_target_probability():
    target, draft = log([0.5, 0.3, 0.2]), log([0.0, 1.0, 0.0])
    assert accept_probability(target, draft, torch.tensor([1])).tolist() == pytest.approx([0.3])
    assert residual(target, draft).exp().tolist() == [pytest.approx([5 / 7, 0, 2 / 7])]


def test_two_greedy_laws_agree_or_do_not():
    one, two = log([0.0, 1.0]), log([1.0, 0.0])
    assert (accept_probability(one, one, torch.tensor([1])), accept_probability(one, two, torch.tensor([0]))) == (1, 0)
    assert torch.equal(residual(one, one), one)
    assert torch.equal(residual(one, two), one)


def test_laws_without_a_common_token_keep_nothing():
    target, draft = log([0.5, 0.5, 0.0, 0.0]), log([0.0, 0.0, 0.5, 0.5])
    assert accepts(target, draft).tolist() == [[1, 1, 0, 0]]  # the first two are never drafted
    torch.testing.assert_close(residual(target, draft), target)
    assert overlap(target, draft).tolist() == [0]


def test_equal_laws_keep_everything_and_leave_the_target():
    target = log(TARGET, DRAFT)
    assert torch.equal(residual(target, target.clone()), target)
    assert overlap(target, target).tolist() == pytest.approx([1, 1])


def test_laws_that_differ_by_rounding_leave_the_target():
    shares = [0.1, 0.2, 0.3, 0.4]
    target = log(shares)
    assert torch.equal(residual(target, target - 1e-15), target)
    assert torch.equal(residual(target, target + 1e-7), target)  # a draft that sums to more than 1


def test_a_small_difference_is_no_rounding():
    target, draft = log([0.5, 0.5 - 1e-9, 1e-9]), log([0.5, 0.5, 0.0])
    assert residual(target, draft).tolist() == [pytest.approx([-math.inf, -math.inf, 0])]


def test_a_difference_that_float32_can_just_tell_is_no_rounding_either():
    target = log([0.9, 0.1], dtype=torch.float32)
    draft = torch.nextafter(target, torch.tensor([[-1.0, 0.0]]))
    assert (target.exp() - draft.exp())[0, 0] == 0  # the difference is one of logarithms only
    assert residual(target, draft).tolist() == [[0, -math.inf]]


def test_the_overlap_of_laws_that_sum_to_more_than_1_by_rounding_is_1():
    assert overlap(log(TARGET) + 1e-9, log(TARGET) + 1e-9).tolist() == [1]


def test_a_token_that_neither_law_has_is_not_kept():
    assert accept_probability(log(TARGET), log(TARGET), torch.tensor([3])).tolist() == [0]


def test_inputs_are_left_alone_and_results_are_their_own():
    target, draft = log(TARGET, TARGET), log(DRAFT, TARGET)
    before = target.clone(), draft.clone()
    results = residual(target, draft), accepts(target, draft), overlap(target, draft)
    for result in results:
        result.zero_()
    assert torch.equal(target, before[0])
    assert torch.equal(draft, before[1])


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_redrawn_laws_have_the_type_of_the_target_and_probabilities_are_float64(dtype):
    target, draft = log(TARGET, dtype=dtype), log(DRAFT, dtype=torch.float32)
    assert residual(target, draft).dtype == dtype
    assert overlap(target, draft).dtype == torch.float64
    assert accept_probability(target, draft, torch.tensor([0])).dtype == torch.float64


@relaxed
@given(laws(), laws())
def test_what_is_kept_or_redrawn_has_the_law_of_the_target(target, draft):
    torch.testing.assert_close(emitted(target, draft), target.exp(), rtol=0, atol=1e-12)


@relaxed
@given(laws(), laws())
def test_the_overlap_is_the_probability_that_a_draft_is_kept(target, draft):
    kept = (draft.exp() * accepts(target, draft)).sum(-1)
    torch.testing.assert_close(overlap(target, draft), kept, rtol=0, atol=1e-12)
    torch.testing.assert_close(overlap(target, draft), overlap(draft, target), rtol=0, atol=0)


@relaxed
@given(laws(), laws(), st.sampled_from([torch.float32, torch.float64]))
def test_a_redrawn_token_is_one_that_the_target_has_more_often(target, draft, dtype):
    target, draft = target.to(dtype), draft.to(dtype)
    left = residual(target, draft)
    equal = (left == target).all()
    assert not left.isnan().any()
    assert bool(equal) or bool((target > draft)[left > -math.inf].all())
    torch.testing.assert_close(left.double().exp().sum(-1), torch.ones(1, dtype=torch.float64), rtol=0, atol=1e-6)


@relaxed
@given(laws(), laws())
def test_float32_keeps_the_law_to_its_own_precision(target, draft):
    found = emitted(target.float(), draft.float())
    torch.testing.assert_close(found, target.exp(), rtol=0, atol=1e-6)


@relaxed
@given(st.lists(st.tuples(laws(), laws()), min_size=2, max_size=4))
def test_a_row_does_not_depend_on_the_others(pairs):
    target, draft = (torch.cat(rows) for rows in zip(*pairs, strict=True))
    apart = [residual(one, two) for one, two in pairs], [overlap(one, two) for one, two in pairs]
    assert torch.equal(residual(target, draft), torch.cat(apart[0]))
    assert torch.equal(overlap(target, draft), torch.cat(apart[1]))


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_a_large_vocabulary_keeps_the_law(dtype):
    generator = torch.Generator().manual_seed(0)
    target, draft = (6 * torch.randn(2, 50_000, dtype=torch.float64, generator=generator)).log_softmax(-1).split(1)
    target, draft = target.to(dtype), draft.to(dtype)
    tokens = torch.arange(target.shape[-1])
    wide = [law.expand(len(tokens), -1) for law in (target, draft)]
    kept = draft.double().exp() * accept_probability(*wide, tokens)
    found = kept + (1 - kept.sum()) * residual(target, draft).double().exp()
    limit = 1e-12 if dtype == torch.float64 else 1e-6
    torch.testing.assert_close(found, target.double().exp(), rtol=0, atol=limit)
    assert abs(kept.sum().item() - overlap(target, draft).item()) < limit


def test_a_row_that_allows_nothing_gives_no_nan():
    nothing, some = log([0.0, 0.0]), log([0.5, 0.5])
    for target, draft in ((nothing, nothing), (nothing, some), (some, nothing)):
        assert torch.equal(residual(target, draft), target)
        assert overlap(target, draft).tolist() == [0]
        assert not accepts(target, draft).isnan().any()
