"""A real model in float32: what we generate is what Transformers generates."""

import pytest
import torch
from prompts import PROMPTS
from transformers import AutoModelForCausalLM, AutoTokenizer

import lmalgebra as la
from lmalgebra.models.loading import load
from lmalgebra.models.transformers import plain_logits

FEW = [PROMPTS[index] for index in (0, 4, 10, 16, 19)]
"""A plain prompt, code, one word, Spanish, an emoji: every run reads these, and `slow` all."""
NEW_TOKENS = 24


@pytest.fixture(scope="module")
def theirs(smollm2):
    """The model as Transformers alone has it."""
    return AutoModelForCausalLM.from_pretrained(smollm2, dtype=torch.float32).eval()


@pytest.fixture(scope="module")
def models() -> la.Models:
    return la.Models()


@pytest.fixture(scope="module")
def described(smollm2) -> la.Model:
    return la.model(str(smollm2), dtype="float32")


@pytest.fixture(scope="module")
def said(models, described):
    """What a formula of one term says after each of some prompts, greedily and all prompts at once."""

    def tell(prompts, new_tokens=NEW_TOKENS) -> list[tuple[int, ...]]:
        voice = la.voice(described.term(name="base"), models=models, temperature=0, max_new_tokens=new_tokens)
        tokens = {sample.index: sample.tokens for sample in voice.generate_many(prompts)}
        return [tokens[index] for index in range(len(prompts))]

    return tell


def generated(theirs, smollm2, prompts, new_tokens=NEW_TOKENS) -> list[tuple[int, ...]]:
    """What Transformers' own greedy `generate` says, the end token included; several prompts are padded on the left."""
    tokenizer = AutoTokenizer.from_pretrained(smollm2, padding_side="left")
    told = tokenizer.apply_chat_template(
        [[{"role": "user", "content": prompt}] for prompt in prompts],
        add_generation_prompt=True,
        padding=True,
        return_tensors="pt",
        return_dict=True,
    )
    whole = theirs.generate(**told, do_sample=False, max_new_tokens=new_tokens)
    return [_up_to(tokenizer.eos_token_id, tokens) for tokens in whole[:, told["input_ids"].shape[1] :].tolist()]


def _up_to(end: int, tokens: list[int]) -> tuple[int, ...]:
    return tuple(tokens[: tokens.index(end) + 1] if end in tokens else tokens)


@pytest.mark.parametrize(
    ("prompts", "new_tokens", "least"), [(FEW, NEW_TOKENS, 80), pytest.param(PROMPTS, 64, 1000, marks=pytest.mark.slow)]
)
def test_greedy_text_of_one_term_is_transformers_own_token_for_token(said, theirs, smollm2, prompts, new_tokens, least):
    expected = generated(theirs, smollm2, prompts, new_tokens)
    assert said(prompts, new_tokens) == expected
    assert any(len(tokens) < new_tokens for tokens in expected)  # some end by themselves
    assert sum(map(len, expected)) > least


def test_greedy_text_is_transformers_own_for_a_prompt_alone_without_padding(said, theirs, smollm2):
    assert said(FEW[-1:]) == generated(theirs, smollm2, FEW[-1:])


def test_ragged_forked_and_rewound_rows_give_the_logits_of_fresh_single_rows(smollm2, theirs):
    model = load(str(smollm2), dtype="float32")
    session, texts = model.session, [model.tokenizer.encode([prompt]) for prompt in PROMPTS[:5]]
    rows = {session.open(): text for text in texts}
    session.extend(rows)
    forked = {session.fork(row): list(text) for row, text in rows.items()}
    for row, text in list(forked.items())[::2]:
        session.rewind(row, len(text) // 2)
        del text[len(text) // 2 :]
    for row in list(rows)[1:3]:
        session.close(row)
        del rows[row]
    both = {**rows, **forked}
    added = {row: texts[number % 5][: 1 + 3 * number % 7] for number, row in enumerate(both)}
    for row, found in session.extend(added).items():
        expected = plain_logits(theirs, [*both[row], *added[row]])[-len(added[row]) :]
        torch.testing.assert_close(found, expected, rtol=0, atol=1e-4)


def test_terms_that_name_the_same_weights_load_them_once(described, models, smollm2):
    base, formal = (described.term(name=name, system=name) for name in ("base", "formal"))
    again = la.model(str(smollm2), name="another", dtype="float32").term(name="third")
    one = la.voice(base + 0.5 * (formal - base), models=models)
    two = la.voice(0.5 * base + 0.5 * again, models=models)
    assert len({id(session) for session in (*one.loaded.sessions.values(), *two.loaded.sessions.values())}) == 1


def test_the_score_of_a_sample_is_its_logprobs(described, models):
    voice = la.voice(described.term(name="base"), models=models, max_new_tokens=16, seed=1)
    sample = voice.generate(PROMPTS[0]).samples[0]
    score = voice.score(PROMPTS[0], sample.text)
    assert score.tokens == sample.tokens
    assert score.logprobs == pytest.approx(sample.logprobs, abs=1e-4)
