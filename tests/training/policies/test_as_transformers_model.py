"""A formula for those who expect a model of Transformers: tokens in, logits out, and `generate` on top."""

import pytest
import torch

import lmalgebra as la
from lmalgebra.algebra import Voice, parse
from lmalgebra.errors import TrainingError
from tiny_classifiers import llama, save_language_model
from training.policies.learning import letters_voice, lora, policy_of, tokens_of, toy_policy

FORMULA = "base + 0.8 * tilt(adapter) + 0.3 * (base - toxic)"
TEXTS = ["abc cab", "d. h", "hag"]


@pytest.fixture(scope="module")
def letters(tmp_path_factory):
    return save_language_model(tmp_path_factory.mktemp("letters"), llama())


@pytest.fixture(scope="module")
def models():
    return la.Models()


@pytest.fixture
def policy(letters, models):
    voice = letters_voice(letters, FORMULA)
    return policy_of(voice, lora(voice, models), models)


def batch(policy, side="left"):
    rows = tokens_of(policy, TEXTS)
    width = max(map(len, rows))
    fill = [[2] * (width - len(row)) for row in rows]
    ids = [[*pad, *row] if side == "left" else [*row, *pad] for pad, row in zip(fill, rows, strict=True)]
    mask = [[0] * len(pad) + [1] * len(row) for pad, row in zip(fill, rows, strict=True)]
    mask = mask if side == "left" else [each[::-1] for each in mask]
    return torch.tensor(ids), torch.tensor(mask)


@pytest.mark.parametrize("side", ["left", "right"])
def test_the_logits_are_the_log_probabilities_of_the_decoder(policy, side):
    ids, mask = batch(policy, side)
    out = policy(ids, attention_mask=mask)
    assert out.logits.shape == (3, 7, policy.config.vocab_size)
    for row, shown, text in zip(out.logits, mask.bool(), TEXTS, strict=True):
        mine = row[shown]
        tokens = policy.tokenizer.encode([text], start=False)
        for end in (1, len(text) - 1):
            expected = policy.voice().score(text[:end], text[end:]).logprobs
            found = mine[end - 1 : -1].gather(1, torch.tensor(tokens[end:])[:, None]).squeeze(1)
            torch.testing.assert_close(found, torch.tensor(expected), rtol=0, atol=1e-5)


def test_prefixes_stand_after_the_token_that_begins_texts(models, tmp_path):
    folder = save_language_model(tmp_path, llama(), start=True)
    voice = letters_voice(folder, FORMULA)
    policy = policy_of(voice, lora(voice, models), models)
    tokens = policy.tokenizer.encode(["abc cab"])
    assert tokens[0] == 1
    found = policy(torch.tensor([tokens])).logits[0, 3:-1].gather(1, torch.tensor(tokens[4:])[:, None]).squeeze(1)
    expected = policy.voice().score("abc", " cab").logprobs
    torch.testing.assert_close(found, torch.tensor(expected), rtol=0, atol=1e-5)


def test_labels_give_the_usual_loss_with_gradient_into_what_learns(policy):
    ids, mask = batch(policy)
    labels = ids.masked_fill(mask == 0, -100)
    out = policy(ids, attention_mask=mask, labels=labels)
    shifted = labels[:, 1:].masked_fill(mask[:, :-1] == 0, -100)
    chosen = out.logits[:, :-1].gather(2, shifted.clamp(min=0)[..., None]).squeeze(2)[shifted >= 0]
    torch.testing.assert_close(out.loss, -chosen.mean())
    out.loss.backward()
    assert all(each.grad is not None for each in policy.parameters())


def test_transformers_generates_from_it_what_the_engine_says(policy):
    prompts = ["abc", "d. h", "ha"]
    policy.generation_config.pad_token_id = 2
    rows = tokens_of(policy, prompts)
    width = max(map(len, rows))
    ids = torch.tensor([[2] * (width - len(row)) + row for row in rows])
    mask = torch.tensor([[0] * (width - len(row)) + [1] * len(row) for row in rows])
    said = policy.generate(
        input_ids=ids, attention_mask=mask, do_sample=False, max_new_tokens=5, min_new_tokens=5, use_cache=False
    )
    voice = policy.voice()
    for prompt, row in zip(prompts, said, strict=True):
        expected = voice.generate(prompt, temperature=0, max_new_tokens=5).samples[0].tokens
        assert tuple(row[width:].tolist())[: len(expected)] == expected


@pytest.mark.parametrize("formula", ["base + ramp(0, 1, tokens=3) * tilt(adapter)", "base + tilt(adapter) + quiet"])
def test_what_needs_to_know_the_prompt_is_refused(formula):
    policy = toy_policy(formula, quiet=la.forbid(["bad"], name="quiet"))
    with pytest.raises(TrainingError, match="depends on where the prompt ends, which Transformers does not say"):
        policy(torch.tensor([[4, 5]]))


def test_terms_that_tell_a_prompt_by_a_template_are_refused(letters, models):
    model = letters_voice(letters, FORMULA).models[0]
    terms = {"base": model.term(name="base", template="{{ prompt }}."), "adapter": model.term(name="adapter")}
    voice = Voice(parse("base + tilt(adapter)", terms))
    policy = policy_of(voice, lora(voice, models), models)
    with pytest.raises(TrainingError, match="The term `base` tells a prompt by a template"):
        policy(torch.tensor([[4, 5]]))
    assert policy.judge(["a"], [[4, 5]]).policy.shape == (2, policy.config.vocab_size)


def test_its_layers_can_be_computed_again_as_trainers_ask(policy):
    policy.gradient_checkpointing_enable(gradient_checkpointing_kwargs={"use_reentrant": False})
    assert policy.trainee.checkpointing
    policy.gradient_checkpointing_disable()
    assert not policy.trainee.checkpointing
