"""How near each objective comes to the best law, p_reference(x) exp(reward(x) / beta) / Z, summed over all texts.

Every number that is asserted is exact for the weights reached; the seeds are fixed, so nothing here is left to chance.
"""

import pytest
import torch

from lmalgebra.training.policies.per_token import per_token
from lmalgebra.training.policies.policy_gradient import GRADIENTS, Sampled, advantages, gradient_loss
from lmalgebra.training.policies.pool import Experience, Pool
from lmalgebra.training.policies.quark import quark_loss
from training.policies.exact_policy import (
    TabularPolicy,
    best_at,
    distance,
    divergence,
    expected,
    of_texts,
    optimum,
    reward,
)

RATE = 0.05


def follow_gradient(name, beta, steps=200, samples=64, epochs=1):
    """The law of all texts after so many steps, and the reference's."""
    policy, generator, kind = TabularPolicy(), torch.Generator().manual_seed(0), GRADIENTS[name]
    optimizer = torch.optim.Adam([policy.adapter])
    for step in range(steps):
        optimizer.param_groups[0]["lr"] = RATE * (1 - step / steps)
        said = policy.sample(samples, generator)
        with torch.no_grad():
            before = per_token(policy.judge(said))
        rewards = torch.tensor([reward(text) for text in said], dtype=torch.float64)
        one_prompt = torch.zeros(samples, dtype=torch.long)
        gain = advantages(kind, rewards, before.kl, [len(text) for text in said], one_prompt, beta)
        for _ in range(epochs):
            optimizer.zero_grad()
            sampled = Sampled(before.logprob, gain)
            gradient_loss(kind, policy.judge(said), sampled, samples, beta, 0.0, 0.2).total.backward()
            optimizer.step()
    return laws(policy)


def imitate(beta, steps=20, samples=256, updates=20):
    """The same for Quark with five controls."""
    policy, generator = TabularPolicy(tuple("12345")), torch.Generator().manual_seed(0)
    optimizer, pool = torch.optim.Adam([policy.adapter]), Pool(policy.controls)
    for step in range(steps):
        optimizer.param_groups[0]["lr"] = RATE * (1 - step / steps)
        pool.add(Experience("", text, reward(text)) for text in policy.sample(samples, generator))
        for batch in pool.batches(64, updates, step):
            optimizer.zero_grad()
            controls = [policy.controls.index(control) for _, control in batch]
            quark_loss(policy.judge([each.tokens for each, _ in batch], controls), beta, 0.0).total.backward()
            optimizer.step()
    return laws(policy)


def laws(policy):
    with torch.no_grad():
        return policy.law(), of_texts(policy.reference, policy.place)


@pytest.mark.parametrize(("name", "steps", "epochs", "within"), [("rloo", 200, 1, 0.02), ("ppo", 100, 4, 0.035)])
def test_the_closed_form_is_reached(name, steps, epochs, within):
    law, reference = follow_gradient(name, 0.5, steps=steps, epochs=epochs)
    best = optimum(reference, 0.5)
    assert distance(reference, best) > 0.3  # total variation, before
    assert distance(law, best) < within
    assert divergence(law, best) < 0.012  # nats
    assert expected(law) == pytest.approx(expected(best), abs=0.02)


@pytest.mark.parametrize("beta", [0.5, 2.0])
def test_grpo_is_as_good_as_its_divergence_allows_but_elsewhere(beta):
    law, reference = follow_gradient("grpo", beta)
    nats = divergence(law, reference)
    gain, most = expected(law) - expected(reference), best_at(reference, nats) - expected(reference)
    assert gain > 0.9 * most
    assert distance(law, optimum(reference, beta)) > 0.1


@pytest.mark.parametrize("beta", [0.3, 1.0])
def test_quark_moves_towards_it(beta):
    law, reference = imitate(beta)
    nats = divergence(law, reference)
    gain, most = expected(law) - expected(reference), best_at(reference, nats) - expected(reference)
    assert 0.75 * most < gain <= most
