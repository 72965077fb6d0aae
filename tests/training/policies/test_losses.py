"""Losses worked by hand, and the gradient of RLOO summed over every pair of texts."""

import math

import pytest
import torch

from lmalgebra.errors import TrainingError
from lmalgebra.training.policies.per_token import per_token
from lmalgebra.training.policies.policy_gradient import GRADIENTS, Sampled, advantages, gradient_loss
from lmalgebra.training.policies.quark import quark_loss
from training.policies.exact_policy import ALL, REWARDS, Seen, TabularPolicy, divergence, of_texts


def seen(policy, reference, tokens, owner):
    rows = [torch.tensor(each, dtype=torch.float64).log() for each in (policy, reference)]
    return Seen(rows[0].requires_grad_(), rows[1], torch.tensor(tokens), torch.tensor(owner))


TWO = seen([[0.5, 0.5], [0.9, 0.1], [0.2, 0.8]], [[0.5, 0.5], [0.5, 0.5], [0.4, 0.6]], [0, 1, 1], [0, 0, 1])
KLS = (0.0, 0.9 * math.log(1.8) + 0.1 * math.log(0.2), 0.2 * math.log(0.5) + 0.8 * math.log(4 / 3))
ENTROPIES = (math.log(2), -0.9 * math.log(0.9) - 0.1 * math.log(0.1), -0.2 * math.log(0.2) - 0.8 * math.log(0.8))


def test_each_token_has_its_logprob_divergence_and_entropy():
    each = per_token(TWO)
    assert each.logprob.exp().tolist() == pytest.approx([0.5, 0.1, 0.8])
    assert each.kl.tolist() == pytest.approx(KLS)
    assert each.entropy.tolist() == pytest.approx(ENTROPIES)


def test_forbidden_tokens_count_nothing_and_pass_no_nan():
    judged = seen([[1.0, 0.0], [0.5, 0.5]], [[1.0, 0.0], [0.25, 0.75]], [0, 1], [0, 1])
    each = per_token(judged)
    assert each.kl.tolist() == pytest.approx([0, 0.5 * math.log(2) + 0.5 * math.log(2 / 3)])
    (each.kl.sum() + each.entropy.sum()).backward()
    assert judged.policy.grad.isfinite().all()
    only_the_reference = seen([[0.5, 0.5]], [[1.0, 0.0]], [0], [0])
    assert per_token(only_the_reference).kl.item() == math.inf


def test_quarks_loss_is_the_mean_over_all_tokens():
    loss = quark_loss(TWO, beta=2.0, gamma=0.5)
    nll = -(math.log(0.5) + math.log(0.1) + math.log(0.8)) / 3
    assert loss.parts == pytest.approx({"nll": nll, "kl": sum(KLS) / 3, "entropy": sum(ENTROPIES) / 3})
    assert loss.total.item() == pytest.approx(nll + 2 * sum(KLS) / 3 - 0.5 * sum(ENTROPIES) / 3)


def advantage(name, rewards, kl, lengths, groups, beta):
    given = torch.tensor(rewards, dtype=torch.float64), torch.tensor(kl, dtype=torch.float64)
    return advantages(GRADIENTS[name], *given, lengths, torch.tensor(groups), beta).tolist()


@pytest.mark.parametrize("name", ["rloo", "ppo"])
def test_the_baseline_is_the_others_reward_less_their_divergence_to_come(name):
    # G of the first: 3 - 2 * (0.2 + 0.1), 3 - 2 * 0.1, 3; of the second: 1 at once, and still 1 beyond its end.
    found = advantage(name, [3, 1], [0.5, 0.2, 0.1, 0.7], [3, 1], [4, 4], 2.0)
    assert found == pytest.approx([2.4 - 1, 2.8 - 1, 3 - 1, 1 - 2.4])


def test_groups_are_compared_within_themselves():
    found = advantage("rloo", [1, 10, 2, 20, 6], [0] * 5, [1] * 5, [7, 3, 7, 3, 7], 1.0)
    assert found == pytest.approx([1 - 4, 10 - 20, 2 - 3.5, 20 - 10, 6 - 1.5])
    found = advantage("grpo", [1, 10, 3, 10], [0] * 5, [1, 1, 2, 1], [0, 1, 0, 1], 1.0)
    assert found == pytest.approx([-1, 0, 1, 1, 0], abs=1e-5)


def test_one_completion_of_a_prompt_has_nothing_to_be_compared_with():
    with pytest.raises(TrainingError, match=r"A prompt has a single completion, .* Raise samples to 2 or more"):
        advantage("rloo", [1, 2, 3], [0] * 3, [1] * 3, [0, 0, 1], 1.0)


def test_the_ratio_is_clipped_where_it_would_gain():
    judged = seen([[0.5, 0.5], [0.9, 0.1], [0.2, 0.8]], [[0.5, 0.5], [0.9, 0.1], [0.2, 0.8]], [0, 1, 1], [0, 0, 1])
    before = torch.tensor([0.4, 0.2, 0.8], dtype=torch.float64).log()  # ratios 1.25, 0.5, 1
    sampled = Sampled(before, torch.tensor([2.0, 2.0, -1.0], dtype=torch.float64))

    def loss(name):
        return gradient_loss(GRADIENTS[name], judged, sampled, 2, 0.0, 0.0, 0.2).total.item()

    assert loss("rloo") == pytest.approx(-(2.5 + 1.0 - 1.0) / 2)
    assert loss("ppo") == pytest.approx(-(2.4 + 1.0 - 1.0) / 2)
    assert loss("grpo") == pytest.approx(-((2.4 + 1.0) / 2 - 1.0) / 2)


@pytest.mark.parametrize("name", ["rloo", "ppo"])
def test_the_expected_gradient_is_that_of_the_regularised_reward(name):
    """All pairs of texts that a group of two can be, each with its probability: equal to 1e-12."""
    beta, policy = 0.7, TabularPolicy()
    policy.adapter.data.normal_(generator=torch.Generator().manual_seed(1))
    law, reference = policy.law(), of_texts(policy.reference, policy.place).detach()
    wanted = torch.autograd.grad(
        (law.exp() * REWARDS).sum() - beta * divergence_with_gradient(law, reference), policy.adapter
    )
    pairs = [(first, second) for first in range(len(ALL)) for second in range(len(ALL))]
    flat = [place for pair in pairs for place in pair]
    texts = [ALL[place] for place in flat]
    chance = torch.stack([law[first] + law[second] for first, second in pairs]).exp().detach()
    judged, lengths = policy.judge(texts), [len(text) for text in texts]
    each = per_token(judged)
    groups = torch.arange(len(pairs)).repeat_interleave(2)
    gain = advantages(GRADIENTS[name], REWARDS[flat], each.kl.detach(), lengths, groups, beta)
    share = (chance[groups] / 2)[judged.owner]
    found = torch.autograd.grad((share * (gain * each.logprob - beta * each.kl)).sum(), policy.adapter)
    torch.testing.assert_close(found, wanted, rtol=0, atol=1e-12)
    assert divergence(law.detach(), reference) > 0.1


def divergence_with_gradient(law, reference):
    return (law.exp() * (law - reference)).sum()
