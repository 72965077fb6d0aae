"""Terms that are no language models beside the one that learns: constraints, classifiers, steering, evidence."""

import pytest
import torch

import lmalgebra as la
from lmalgebra.algebra import Voice, parse
from tiny_classifiers import bert, llama, save_classifier, save_language_model
from training.policies.learning import letters_voice, lora, policy_of, tokens_of, toy_policy, toy_terms

FORMULAS = (
    "base + tilt(adapter) + taste",
    "base + hold(adapter - base, taste, target=0.6, gain=0.8)",
    "base + follow(tilt(adapter), taste)",
    "mix(0.5 * base, 0.5 * adapter) + 2 * taste + posterior(base, toxic)",
)
PROMPTS, SAID = ["abc", "hag"], ["cab. e", "h.ge"]


@pytest.fixture(scope="module")
def letters(tmp_path_factory):
    return save_language_model(tmp_path_factory.mktemp("letters"), llama())


@pytest.fixture(scope="module")
def taste(tmp_path_factory):
    folder = save_classifier(tmp_path_factory.mktemp("taste"), bert(id2label={0: "good", 1: "bad"}))
    return la.classifier(str(folder), "good", name="taste")


@pytest.mark.parametrize("formula", FORMULAS)
def test_classifiers_and_what_they_steer_are_those_of_the_decoder(letters, taste, formula):
    models, plain = la.Models(), letters_voice(letters, "base + toxic + adapter")
    terms = {term.name: term for term in plain.terms} | {"taste": taste}
    voice = Voice(parse(formula, terms), plain.settings)
    policy = policy_of(voice, lora(voice, models), models)
    judged = policy.judge(PROMPTS, tokens_of(policy, SAID))
    pairs = list(zip(PROMPTS, SAID, strict=True))
    for found, spoken in ((judged.policy, policy.voice()), (judged.reference, policy._reference)):
        chosen = found.gather(1, judged.tokens[:, None]).squeeze(1).detach()
        expected = [each for score in spoken.score_many(pairs) for each in score.logprobs]
        torch.testing.assert_close(chosen, torch.tensor(expected), rtol=0, atol=1e-5)
    (-judged.chosen.mean()).backward()
    assert all(each.grad.isfinite().all() for each in policy.parameters())
    assert any(each.grad.abs().max() > 0 for each in policy.parameters())


@pytest.mark.parametrize(
    "formula", ["base + tilt(adapter) + quiet", "mix(0.5 * base, 0.5 * adapter) + quiet", "adapter + quiet"]
)
def test_what_is_forbidden_stays_so_and_leaves_finite_gradients(formula):
    policy = toy_policy(formula, quiet=la.forbid(["bad", "c"], name="quiet"), reference=toy_terms()["base"])
    judged = policy.judge(["abc"], tokens_of(policy, ["ba e"]))
    assert torch.isneginf(judged.policy).any()
    expected = policy.voice().score("abc", "ba e").logprobs
    torch.testing.assert_close(judged.chosen.detach(), torch.tensor(expected, dtype=torch.float64), rtol=0, atol=1e-9)
    (-judged.chosen.mean()).backward()
    gradient = policy.trainee.table_logits.grad
    assert gradient.isfinite().all()
    assert gradient.abs().max() > 0
