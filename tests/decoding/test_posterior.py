"""Posteriors in the engine: each sample has a text of its own to judge, whatever else is said or drafted."""

import pytest
from voices import TOYS, network, open_rows, toys

from lmalgebra.algebra import GenerationSettings, Model, Voice, parse
from lmalgebra.decoding import ComposedVoice
from lmalgebra.errors import DecodingError
from lmalgebra.models.table import TableModel

FORMULA = "base + 4 * posterior(formal, other, scale=2)"
NESTED = "base + 2 * posterior(base + posterior(formal, other), other, length_power=0)"
PROMPTS = ("hello there. ", "a", "what is it? what is it? ")
SETTINGS = {"max_new_tokens": 14, "min_new_tokens": 8, "samples": 3, "seed": 40}
CHAINS = ("base:3", "prompt:3", "base:1 > base,formal:3", "prompt:2 > base:3", "auto")


@pytest.fixture(params=["toy", "network"])
def models(request):
    """Three terms: over three exact toys, or two over one random Llama and the third over another one."""
    if request.param == "toy":
        return toys(TOYS | {"other": TableModel(seed=3)})
    return dict.fromkeys(("base", "formal"), network()) | {"other": network(seed=1)}


def speaking(models, formula=FORMULA, speculate="off", max_samples=32) -> ComposedVoice:
    prefixes = {"formal": "dear sir, "} if "," in models["base"].tokenizer.vocabulary else {}
    terms = {name: Model(source=name).term(name=name, prefix=prefixes.get(name, "")) for name in models}
    described = Voice(parse(formula, terms), GenerationSettings(**SETTINGS))
    return ComposedVoice(described, lambda model: models[model.source], max_samples, speculate)


def told(voice, prompts=PROMPTS, **settings):
    """What each prompt's samples say, by prompt and seed; nothing stays open."""
    samples = voice.generate_many(prompts, **settings)
    found = {(each.prompt[-1]["content"], each.seed): each.tokens for each in samples}
    assert open_rows(voice) == 0
    return found


@pytest.mark.parametrize("formula", [FORMULA, NESTED])
def test_a_sample_says_the_same_alone_and_among_others(models, formula):
    together = told(speaking(models, formula))
    assert len(set(together.values())) == len(together) == 9
    assert told(speaking(models, formula, max_samples=2)) == together
    one = next(iter(speaking(models, formula).generate(PROMPTS[1], seed=41, samples=1).samples))
    assert one.tokens == together[PROMPTS[1], 41]


@pytest.mark.parametrize("speculate", CHAINS)
@pytest.mark.parametrize("formula", [FORMULA, NESTED])
def test_drafts_leave_the_greedy_text_as_it_is(models, formula, speculate):
    plain = told(speaking(models, formula), temperature=0)
    assert told(speaking(models, formula, speculate), temperature=0) == plain


@pytest.mark.parametrize("speculate", ["off", *CHAINS])
def test_what_a_sample_tells_of_its_tokens_is_their_score(models, speculate):
    voice = speaking(models, NESTED, speculate)
    for sample in voice.generate(PROMPTS[0], min_new_tokens=14).samples:
        score = voice.score(PROMPTS[0], sample.text)
        assert tuple(score.tokens) == sample.tokens
        assert score.logprobs == pytest.approx(sample.logprobs, abs=1e-4)


def test_a_stream_is_the_text(models):
    voice = speaking(models)
    (sample,) = voice.generate(PROMPTS[0], samples=1).samples
    assert "".join(voice.stream(PROMPTS[0], samples=1)) == sample.text


def test_an_explanation_counts_what_was_said_before(models):
    voice = speaking(models)
    explained, score = voice.explain(PROMPTS[0], "a day"), voice.score(PROMPTS[0], "a day")
    assert [token.logprob for token in explained.tokens] == pytest.approx(score.logprobs, abs=1e-5)
    for token in explained.tokens:
        assert sum(token.parts.values()) == pytest.approx(token.logprob - token.reference_logprob, abs=1e-5)


def test_an_operand_without_any_token_is_named(models):
    nothing = "formal + within(formal, top_k=1) + within(base, top_k=1) + within(other, top_k=1)"
    with pytest.raises(DecodingError, match="No token is possible: `within"):
        speaking(models, f"base + posterior({nothing}, other)").generate(PROMPTS[0], samples=8)
