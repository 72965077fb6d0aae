"""What tokens take of which a server tells nothing, worked by hand."""

from math import exp, inf, log

import pytest
import torch

from lmalgebra.distributions import fill_unseen
from lmalgebra.distributions.unseen import ROUNDING, share_of_unseen


def test_the_rest_is_shared_evenly():
    """1 - 0.5 - 0.3 = 0.2, for tokens 0, 2, 3 and 5."""
    logprobs = fill_unseen({1: log(0.5), 4: log(0.3)}, 0.3, 6)
    torch.testing.assert_close(logprobs.exp(), torch.tensor([0.05, 0.5, 0.05, 0.05, 0.3, 0.05]))
    assert float(logprobs.exp().sum()) == pytest.approx(1)


def test_no_unseen_token_is_likelier_than_the_least_likely_of_the_top_ones():
    """0.9 is left for two tokens; what the top ones' least has is 0.04, so that is what each takes."""
    logprobs = fill_unseen({0: log(0.06), 1: log(0.04)}, 0.04, 4)
    torch.testing.assert_close(logprobs.exp(), torch.tensor([0.06, 0.04, 0.04, 0.04]))


def test_the_bound_holds_for_every_token_of_a_distribution_that_was_cut():
    full = torch.randn(500, generator=torch.Generator().manual_seed(0)).mul(3).log_softmax(-1)
    top = full.topk(20)
    least = exp(float(top.values[-1]))
    cut = fill_unseen(dict(zip(top.indices.tolist(), top.values.tolist(), strict=True)), least, 500)
    assert cut[top.indices].equal(top.values)
    assert float(cut.exp().sum()) == pytest.approx(1, abs=1e-5)
    unseen = [token for token in range(500) if token not in top.indices.tolist()]
    assert cut[unseen].max() <= log(least)
    assert cut[unseen].exp().mean() == pytest.approx(float(full[unseen].exp().mean()), rel=1e-3)


def test_where_all_is_seen_nothing_is_left():
    assert fill_unseen({0: log(0.25), 1: log(0.75)}, 0.25, 2).tolist() == pytest.approx([log(0.25), log(0.75)])
    assert share_of_unseen(1.0, 0.25, 0) == 0


def test_rounding_does_not_make_unseen_tokens_impossible():
    """They would be infinitely likely where the term is subtracted."""
    assert share_of_unseen(1.0000002, 0.1, 10) == ROUNDING / 10
    assert fill_unseen({0: 0.0}, 1.0, 11)[5] == pytest.approx(log(ROUNDING / 10))


def test_a_server_that_tells_of_tokens_without_probability_has_told_all():
    assert fill_unseen({0: 0.0, 1: -inf}, 0.0, 3).tolist() == [0.0, -inf, -inf]


def test_nothing_known_is_uniform():
    torch.testing.assert_close(fill_unseen({}, 1.0, 4), torch.full((4,), log(0.25)))
