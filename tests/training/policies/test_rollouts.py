"""Rollouts: the engine samples from the policy as it is now, the same for the same seed, and keeps nothing."""

import gc

import pytest
import torch

import lmalgebra as la
from lmalgebra.errors import PromptError
from lmalgebra.models.table import TableModel
from lmalgebra.training.policies.own_model import open_own_model
from lmalgebra.training.policies.rollouts import Rollouts
from lmalgebra.training.policies.toy_network import ToyNetwork
from tiny_classifiers import llama, save_language_model
from training.policies.learning import disturb, letters_voice, lora, policy_of, toy_policy

FORMULA = "base + 0.8 * tilt(adapter)"


@pytest.fixture(scope="module")
def letters(tmp_path_factory):
    return save_language_model(tmp_path_factory.mktemp("letters"), llama())


@pytest.fixture(params=["lora", "own", "toy"])
def policy(request, letters):
    if request.param == "toy":
        return toy_policy(FORMULA)
    models, voice = la.Models(), letters_voice(letters, FORMULA)
    trainee = lora(voice, models) if request.param == "lora" else open_own_model(str(letters), layers=1, device="cpu")
    return policy_of(voice, trainee, models)


def test_samples_are_a_function_of_the_seed(policy):
    rollouts, prompts = Rollouts(policy), ["abc", "bed", "abc"]
    found = rollouts.sample(prompts, samples=2, seed=3)
    assert found == rollouts.sample(prompts, samples=2, seed=3)
    assert found != rollouts.sample(prompts, samples=2, seed=30)
    assert [each.prompt for each in found] == ["abc", "abc", "bed", "bed", "abc", "abc"]
    assert len({each.tokens for each in (*found[:2], *found[4:])}) == 4
    alone = rollouts.sample(["bed"], samples=2, seed=3)
    assert alone == found[2:4]


def test_samples_follow_what_is_learned(policy):
    rollouts = Rollouts(policy)
    before = rollouts.sample(["abc"], samples=4, seed=0)
    disturb(policy.trainee, 0.5)
    assert rollouts.sample(["abc"], samples=4, seed=0) != before


def test_tokens_hold_the_end_where_a_sample_ends_by_itself():
    network = ToyNetwork(TableModel())
    with torch.no_grad():
        network.table_logits[:, -1] = 8.0
    found = Rollouts(toy_policy("mix(0.99 * adapter, 0.01 * base)", network)).sample(["a"], samples=20, seed=0)
    ended = [each for each in found if each.finish_reason == "end"]
    assert len(ended) > 10
    assert all(each.tokens[-1] == len(network.table.pieces) - 1 for each in ended)


def test_rollouts_have_the_law_of_the_policy():
    """Counts of the first token against its probabilities; a true sampler fails once in about a million."""
    policy = toy_policy(FORMULA)
    draws = 4000
    found = Rollouts(policy).sample(["abc"], samples=draws, seed=1, control="d", max_new_tokens=1)
    counts = torch.zeros(policy.config.vocab_size, dtype=torch.float64)
    for each in found:
        counts[each.tokens[0]] += 1

    def statistic(control):
        law = policy.judge(["abc"], [[0]], [control]).policy[0].detach().exp()
        likely = law * draws >= 5
        expected = torch.cat([law[likely], law[~likely].sum()[None]]) * draws
        seen = torch.cat([counts[likely], counts[~likely].sum()[None]])
        freedom = len(expected) - 1
        return float(((seen - expected) ** 2 / expected).sum() - freedom) / (2 * freedom) ** 0.5

    assert statistic("d") < 6
    assert statistic("") > 20  # the control text matters


def test_a_prompt_that_is_too_long_is_named(letters):
    models, voice = la.Models(), letters_voice(letters, FORMULA)
    rollouts = Rollouts(policy_of(voice, lora(voice, models), models))
    with pytest.raises(PromptError, match="Prompt 2 was left out: The prompt of term `base` has 200 tokens"):
        rollouts.sample(["a", "a" * 200], samples=1, seed=0)


def test_fifty_updates_leave_nothing_behind(letters):
    models, voice = la.Models(), letters_voice(letters, FORMULA)
    trainee = lora(voice, models)
    policy, session = policy_of(voice, trainee, models), trainee.language_model.session
    rollouts, optimizer = Rollouts(policy), torch.optim.AdamW(policy.parameters(), lr=1e-3)
    sizes = []
    for step in range(50):
        found = rollouts.sample(["abc"], samples=2, seed=step, control="good ", max_new_tokens=3)
        optimizer.zero_grad()
        judged = policy.judge([each.prompt for each in found], [each.tokens for each in found], ["good "] * 2)
        (-judged.chosen.mean()).backward()
        optimizer.step()
        del judged
        if step in (10, 49):
            gc.collect()
            sizes.append(sum(issubclass(type(each), torch.Tensor) for each in gc.get_objects()))
    assert sizes[0] == sizes[1]
    assert len(session.adapters._places) == 1
    assert sum(len(module._forward_hooks) for module in session.network.modules()) == len(session.adapters._hooked)
    assert len(session._rows) == 0
    policy.close()
    assert not session.adapters._places
