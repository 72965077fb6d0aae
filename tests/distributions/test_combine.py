"""The algebra's operations on tensors, on tables small enough to work out by hand."""

import math

import torch

from lmalgebra.distributions import intersection, log_posterior, log_ratio, mixture, plausible, tempered, union

ONE = torch.tensor([[0.5, 0.25, 0.25, 0.0]], dtype=torch.float64).log()
TWO = torch.tensor([[0.25, 0.25, 0.0, 0.5]], dtype=torch.float64).log()


def shares(logprobs: torch.Tensor) -> list[float]:
    return [round(share, 12) for share in logprobs.exp()[0].tolist()]


def test_a_union_is_the_larger_of_each():
    assert shares(union([ONE, TWO])) == [0.5, 0.25, 0.25, 0.5]


def test_an_intersection_is_the_smaller_of_each():
    assert shares(intersection([ONE, TWO])) == [0.25, 0.25, 0.0, 0.0]


def test_a_mixture_is_the_mean_of_probabilities():
    assert shares(mixture([1, 3], [ONE, TWO])) == [0.3125, 0.25, 0.0625, 0.375]


def test_a_mixture_is_as_exact_as_its_operands():
    expected = math.log(0.3 * 0.5 + 0.7 * 0.25)
    assert abs(mixture([0.3, 0.7], [ONE, TWO])[0, 0].item() - expected) < 1e-15


def test_an_operand_of_weight_0_does_not_count():
    assert torch.equal(mixture([1, 0], [ONE, torch.full_like(ONE, math.nan)]), ONE)


def test_a_score_is_divided_by_its_mass_and_normalised():
    assert shares(tempered(2 * ONE, 2.0)) == [0.5, 0.25, 0.25, 0.0]
    assert shares(tempered(ONE + 3, 1.0)) == [0.5, 0.25, 0.25, 0.0]


def test_each_row_can_have_a_mass_of_its_own():
    scores = torch.cat([2 * ONE, 0.5 * ONE])
    found = tempered(scores, torch.tensor([[2.0], [0.5]], dtype=torch.float64))
    torch.testing.assert_close(found, torch.cat([ONE, ONE]))


def test_plausible_tokens_score_0_and_others_are_forbidden():
    assert plausible(ONE, top_k=1, top_p=None, min_p=None).tolist() == [[0.0, -math.inf, -math.inf, -math.inf]]
    assert plausible(ONE, top_k=None, top_p=None, min_p=0.0).tolist() == [[0.0, 0.0, 0.0, -math.inf]]


def test_each_limit_of_plausible_tokens_is_applied_to_the_whole_distribution():
    steps = torch.tensor([[0.4, 0.3, 0.2, 0.1]], dtype=torch.float64).log()
    # The first two hold 0.7 of all, which is not yet 0.75; among the first two alone, they hold everything.
    assert plausible(steps, top_k=2, top_p=0.65, min_p=None).exp().tolist() == [[1, 1, 0, 0]]
    assert plausible(steps, top_k=3, top_p=0.42, min_p=None).exp().tolist() == [[1, 1, 0, 0]]
    assert plausible(steps, top_k=3, top_p=None, min_p=0.6).exp().tolist() == [[1, 1, 0, 0]]


def test_the_log_ratio_is_0_where_both_are_impossible():
    inf = math.inf
    one, two = torch.tensor([[0.0, -1.0, -inf, -inf, -2.0]]), torch.tensor([[-3.0, -1.0, -inf, -2.0, -inf]])
    assert log_ratio(one, two).tolist() == [[3.0, 0.0, 0.0, -inf, inf]]


def test_the_posterior_of_certain_evidence_is_certain():
    ratio = torch.tensor([[-math.inf, math.log(4), 0.0, math.inf]], dtype=torch.float64)
    found = log_posterior(ratio, torch.tensor([[0.5]], dtype=torch.float64), prior=0.25).exp()
    torch.testing.assert_close(found, torch.tensor([[0.0, 2 / (2 + 3), 0.25, 1.0]], dtype=torch.float64))
