"""A formula that learns says what the decoder says, and only the term that is to learn has a gradient."""

import pytest
import torch

import lmalgebra as la
from lmalgebra.algebra import parse
from lmalgebra.errors import TrainingError, VocabularyError
from lmalgebra.training.policies.own_model import open_own_model
from tiny_classifiers import llama, save_language_model
from training.policies.learning import (
    FORMULAS,
    PROMPTS,
    SAID,
    disturb,
    letters_voice,
    lora,
    policy_of,
    tokens_of,
    toy_policy,
    toy_terms,
)


@pytest.fixture(scope="module")
def letters(tmp_path_factory):
    return save_language_model(tmp_path_factory.mktemp("letters"), llama())


@pytest.fixture(scope="module")
def models():
    return la.Models()


def rounding(formula):
    """What float32 may move: the mass of one formula is 0.04, by which scores and their errors are divided."""
    return 1e-5 / (0.04 if "0.96" in formula else 1)


def decoder_scores(policy, prompts=PROMPTS, said=SAID, control=""):
    found = policy.voice(control).score_many(list(zip(prompts, said, strict=True)))
    return torch.tensor([each for score in found for each in score.logprobs], dtype=torch.float64)


def judged(policy, controls=None):
    return policy.judge(PROMPTS, tokens_of(policy, SAID), controls)


@pytest.mark.parametrize("formula", FORMULAS)
def test_toys_have_the_log_probabilities_of_the_decoder(formula):
    reference = parse("adapter", toy_terms()) if formula == "adapter" or "power" in formula else None
    policy = toy_policy(formula, reference=reference)
    found = judged(policy)
    assert found.policy.dtype == torch.float64
    torch.testing.assert_close(found.chosen.detach(), decoder_scores(policy), rtol=0, atol=1e-9)
    assert found.owner.tolist() == [0] * 3 + [1] * 5 + [2]


@pytest.mark.parametrize("formula", FORMULAS)
def test_a_lora_on_the_base_has_the_log_probabilities_of_the_decoder(letters, models, formula):
    voice = letters_voice(letters, formula)
    policy = policy_of(voice, lora(voice, models), models)
    found = judged(policy)
    torch.testing.assert_close(found.chosen.detach().double(), decoder_scores(policy), rtol=0, atol=rounding(formula))
    assert found.policy.exp().sum(-1).sub(1).abs().max() < 1e-5


@pytest.mark.parametrize("sizes", [{}, {"layers": 1}, {"layers": 1, "hidden_size": 16}])
@pytest.mark.parametrize("formula", FORMULAS[:3])
def test_an_own_model_has_the_log_probabilities_of_the_decoder(letters, models, formula, sizes):
    trainee = open_own_model(str(letters), device="cpu", **sizes)
    disturb(trainee, 0.02)
    policy = policy_of(letters_voice(letters, formula), trainee, models)
    found = judged(policy)
    torch.testing.assert_close(found.chosen.detach().double(), decoder_scores(policy), rtol=0, atol=rounding(formula))


@pytest.mark.parametrize("formula", FORMULAS)
def test_the_gradient_is_that_of_finite_differences(formula):
    reference = toy_terms()["base"]
    policy = toy_policy(formula, reference=reference)
    completions = tokens_of(policy, SAID)
    weights = torch.randn(9, 50, dtype=torch.float64, generator=torch.Generator().manual_seed(3))

    def loss():
        return (weights[:, : policy.config.vocab_size] * policy.judge(PROMPTS, completions).policy.exp()).sum()

    loss().backward()
    parameter = policy.trainee.table_logits
    places = parameter.grad.abs().flatten().topk(5).indices.tolist()
    assert parameter.grad.abs().max() > 0
    for place in places:
        values = []
        for step in (1e-5, -1e-5):
            with torch.no_grad():
                parameter.view(-1)[place] += step
                values.append(float(loss()))
                parameter.view(-1)[place] -= step
        assert (values[0] - values[1]) / 2e-5 == pytest.approx(float(parameter.grad.view(-1)[place]), rel=1e-4)


def test_only_what_learns_has_parameters_gradients_and_state_of_an_optimizer(letters, models):
    voice = letters_voice(letters, FORMULAS[1])
    policy = policy_of(voice, lora(voice, models), models)
    assert {id(each) for each in policy.parameters()} == {id(each) for each in policy.trainee.parameters()}
    optimizer = torch.optim.AdamW(policy.parameters())
    found = judged(policy)
    assert not found.reference.requires_grad
    (-found.chosen.mean()).backward()
    optimizer.step()
    assert all(each.grad is not None and each.grad.abs().max() > 0 for each in policy.parameters())
    frozen = list(models(voice.models[0]).session.network.parameters())
    assert frozen
    assert all(each.grad is None and not each.requires_grad for each in frozen)
    assert len(optimizer.state) == len(list(policy.trainee.parameters()))


def test_the_engine_speaks_as_the_policy_after_each_update(letters, models):
    voice = letters_voice(letters, FORMULAS[0])
    policy = policy_of(voice, lora(voice, models), models)
    optimizer = torch.optim.SGD(policy.parameters(), lr=5.0)
    before = decoder_scores(policy)
    for _ in range(3):
        optimizer.zero_grad()
        (-judged(policy).chosen.mean()).backward()
        optimizer.step()
        torch.testing.assert_close(judged(policy).chosen.detach().double(), decoder_scores(policy), rtol=0, atol=1e-5)
    assert decoder_scores(policy).sum() > before.sum() + 0.5


@pytest.mark.parametrize("kind", ["lora", "own"])
def test_layers_computed_again_give_the_same_loss_and_gradient(letters, models, kind):
    voice = letters_voice(letters, FORMULAS[0])
    trainee = lora(voice, models) if kind == "lora" else open_own_model(str(letters), device="cpu")
    policy = policy_of(voice, trainee, models)
    found = []
    for switch in (policy.gradient_checkpointing_disable, policy.gradient_checkpointing_enable):
        switch()
        policy.zero_grad()
        loss = -judged(policy).chosen.mean()
        loss.backward()
        found.append((loss.detach(), [each.grad.clone() for each in policy.parameters()]))
    assert trainee.checkpointing
    torch.testing.assert_close(found[0], found[1])


def test_half_precision_gives_nearly_the_same_loss(letters):
    """bfloat16 has 8 bits, so a probability is known to about 1%, and the loss to a few hundredths of a nat."""
    losses = []
    for dtype in ("float32", "bfloat16"):
        models, voice = la.Models(), letters_voice(letters, FORMULAS[0], dtype)
        policy = policy_of(voice, lora(voice, models), models)
        assert all(each.dtype == torch.float32 for each in policy.parameters())
        loss = -judged(policy).chosen.mean()
        loss.backward()
        losses.append(loss.item())
        scores = decoder_scores(policy)
        assert loss.item() == pytest.approx(-float(scores.mean()), abs=0.03)
    assert losses[1] == pytest.approx(losses[0], abs=0.05)


def test_an_own_model_learns_in_half_precision_from_whole_parameters(letters, models):
    losses = []
    for precision in ("float32", "bfloat16"):
        policy = policy_of(
            letters_voice(letters, FORMULAS[0]), open_own_model(str(letters), device="cpu", precision=precision), models
        )
        loss = -judged(policy).chosen.mean()
        loss.backward()
        losses.append(loss.item())
        assert all(each.dtype == each.grad.dtype == torch.float32 for each in policy.parameters())
    assert losses[1] == pytest.approx(losses[0], abs=0.05)
    assert losses[0] != losses[1]


@pytest.mark.parametrize("formula", FORMULAS[:2])
def test_a_text_is_judged_alike_whatever_is_beside_it(letters, models, formula):
    voice = letters_voice(letters, formula)
    policy = policy_of(voice, lora(voice, models), models)
    together = judged(policy)
    for place, (prompt, tokens) in enumerate(zip(PROMPTS, tokens_of(policy, SAID), strict=True)):
        alone = policy.judge([prompt], [tokens])
        mine = together.owner == place
        torch.testing.assert_close(together.policy[mine], alone.policy, rtol=0, atol=rounding(formula))
        torch.testing.assert_close(together.reference[mine], alone.reference, rtol=0, atol=rounding(formula))


def test_completions_without_tokens_have_no_rows(letters, models):
    voice = letters_voice(letters, FORMULAS[0])
    policy = policy_of(voice, lora(voice, models), models)
    found = policy.judge(["a", "b", "c"], [[4], [], [5, 6]])
    assert found.owner.tolist() == [0, 2, 2]
    with pytest.raises(TrainingError, match="The completions have no tokens"):
        policy.judge(["a"], [[]])
    with pytest.raises(TrainingError, match="There are 1 prompts and 2 completions"):
        policy.judge(["a"], [[1], [2]])


@pytest.mark.parametrize(
    ("formula", "reference"),
    [
        (FORMULAS[0], "base"),
        (FORMULAS[1], "base - 0.96 * union(toxic, base)"),
        (FORMULAS[4], "base"),
        ("adapter", "adapter"),
        ("adapter - 0.5 * toxic", "adapter - 0.5 * toxic"),
    ],
)
def test_the_reference_is_the_formula_without_what_is_learned(letters, models, formula, reference):
    voice = letters_voice(letters, formula)
    trainee = lora(voice, models)
    policy = policy_of(voice, trainee, models)
    plain = la.voice(letters_voice(letters, reference), models=models)
    assert str(policy.reference) == reference
    found = judged(policy)
    tolerance = rounding(reference)
    expected = [score.logprobs for score in plain.score_many(list(zip(PROMPTS, SAID, strict=True)))]
    mine = found.reference.gather(1, found.tokens[:, None]).squeeze(1)
    torch.testing.assert_close(mine, torch.tensor([each for text in expected for each in text]), rtol=0, atol=tolerance)
    assert (found.policy - found.reference).abs().max() > 0.1


def test_a_model_that_learns_leaves_the_terms_of_its_source_alone(letters, models):
    model = la.model(str(letters))
    base = la.algebra.Voice(model.term(name="base", prefix="") + la.tilt(model.term(name="adapter", prefix="")))
    alone = la.algebra.Voice(model.term(name="adapter", prefix=""))
    for voice in (base, alone):
        trainee = open_own_model(str(letters), device="cpu")
        policy = policy_of(voice, trainee, models)
        before = judged(policy)
        disturb(trainee, 0.05)
        after = judged(policy)
        assert torch.equal(after.reference, before.reference)
        assert (after.policy - before.policy).abs().max() > 0.1


def test_a_reference_may_be_given(letters, models):
    voice = letters_voice(letters, FORMULAS[0])
    given = letters_voice(letters, "0.5 * base + 0.5 * toxic").formula
    policy = policy_of(voice, lora(voice, models), models, reference=given)
    plain = la.voice(given, models=models).score(PROMPTS[0], SAID[0]).logprobs
    found = judged(policy)
    mine = found.reference.gather(1, found.tokens[:, None]).squeeze(1)[:3]
    torch.testing.assert_close(mine, torch.tensor(plain), rtol=0, atol=1e-5)


def test_only_the_term_that_learns_reads_the_control_text(letters, models):
    voice = letters_voice(letters, FORMULAS[0])
    policy = policy_of(voice, lora(voice, models), models)
    controls = ["", "good ", "bad "]
    found = judged(policy, controls)
    plain = judged(policy)
    torch.testing.assert_close(found.reference, plain.reference, rtol=0, atol=1e-5)
    for place, control in enumerate(controls):
        mine = found.owner == place
        expected = decoder_scores(policy, [PROMPTS[place]], [SAID[place]], control)
        torch.testing.assert_close(found.chosen[mine].detach().double(), expected, rtol=0, atol=1e-5)
        assert ((found.policy[mine] - plain.policy[mine]).abs().max() > 1e-3) == bool(control)


@pytest.mark.parametrize(
    ("formula", "sentence"),
    [
        ("base", "`base` has no term `adapter` to train. Its terms are `base`."),
        ("base + adapter - adapter", "The term `adapter` cancels out of the formula, so it cannot learn. Weigh it."),
        ("base + within(adapter, top_k=3)", "stands only inside within, which says yes or no, so it cannot learn."),
        ("base + posterior(adapter, toxic)", "stands inside a posterior, whose evidence has no gradient here."),
    ],
)
def test_terms_that_cannot_learn_are_refused(letters, models, formula, sentence):
    voice = letters_voice(letters, formula)
    trainee = lora(letters_voice(letters, FORMULAS[0]), models)
    with pytest.raises(TrainingError) as refusal:
        policy_of(voice, trainee, models)
    assert sentence in str(refusal.value)


def test_a_new_model_alone_has_nothing_to_be_compared_with(letters, models):
    trainee = open_own_model(str(letters), layers=1, device="cpu")
    with pytest.raises(TrainingError, match="`adapter` has no distribution without `adapter`, which is new"):
        policy_of(letters_voice(letters, "adapter"), trainee, models)


def test_an_adapter_of_another_vocabulary_is_refused(letters, models, tmp_path):
    trainee = open_own_model(str(save_other_letters(tmp_path)), device="cpu")
    with pytest.raises(VocabularyError, match=r"`base` .* and `adapter` .* have different vocabularies"):
        policy_of(letters_voice(letters, FORMULAS[0]), trainee, models)


def save_other_letters(folder):
    save_language_model(folder, llama())
    file = folder / "tokenizer.json"
    file.write_text(file.read_text().replace('"h": 11', '"j": 11'))
    return folder
