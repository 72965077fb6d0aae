"""A seed gives the same text whatever else is said at the same time."""

import pytest
from voices import STEERED, prompted_network, toys, voice

PROMPTS = ("hello there. ", "a", "what is it? ", "the city at night", "tell me more")
SETTINGS = {"max_new_tokens": 16, "min_new_tokens": 8, "samples": 3, "seed": 40}


@pytest.fixture(params=["toy", "network"])
def make(request):
    """Makes a fresh voice with room for so many samples at once."""
    if request.param == "toy":
        return lambda max_samples=32: voice(STEERED, toys(), max_samples)
    return lambda max_samples=32: prompted_network(max_samples=max_samples)


def told(voice, prompts=PROMPTS, **changes):
    """What each prompt's samples say, by prompt and seed."""
    samples = voice.generate_many(prompts, **{**SETTINGS, **changes})
    return {(sample.prompt[-1]["content"], sample.seed): sample.tokens for sample in samples}


def test_a_voice_says_the_same_twice(make):
    once = make()
    assert told(once) == told(once) == told(make())


def test_samples_of_different_seeds_and_prompts_differ(make):
    said = told(make())
    assert len(set(said.values())) == len(said) == 15


def test_the_order_of_prompts_does_not_matter(make):
    assert told(make(), PROMPTS[::-1]) == told(make())


@pytest.mark.parametrize("max_samples", [1, 2, 4])
def test_how_many_run_at_once_does_not_matter(make, max_samples):
    assert told(make(max_samples)) == told(make())


def test_a_prompt_alone_gives_what_it_gives_among_others(make):
    said = told(make())
    for prompt in PROMPTS:
        alone = told(make(), [prompt])
        assert alone == {key: said[key] for key in alone}


def test_a_samples_own_seed_gives_it_again_alone(make):
    fresh = make()
    for sample in fresh.generate(PROMPTS[0], **SETTINGS).samples:
        again = fresh.generate(PROMPTS[0], **{**SETTINGS, "samples": 1, "seed": sample.seed}).samples[0]
        assert (again.text, again.tokens, again.seed) == (sample.text, sample.tokens, sample.seed)


def test_a_stream_says_what_generating_says(make):
    fresh = make()
    settings = {key: value for key, value in SETTINGS.items() if key != "samples"}
    assert "".join(fresh.stream("hello", **settings)) == fresh.generate("hello", **settings).text
