"""A real model in float32: a request's text for its seed is the same alone, among 31 others, and in little room."""

import pytest
from together import Together, alone

import lmalgebra as la
from lmalgebra.models.kv_cache import SMALLEST_CAPACITY

PROMPTS = ("The city at night", "Once upon a time", "The capital of Australia is", "hi")
CHAINS = ("off", "off", "prompt:3", "base:2")
OTHERS = 31
WATCHED = range(0, 32, 5)
"""The requests whose text is compared with what they say alone: some of each formula and chain."""


@pytest.fixture(scope="module")
def voices(smollm2):
    """Voices of different formulas over the same weights."""
    models = la.Models()
    model = la.model(str(smollm2), dtype="float32", engine="torch")
    base, formal = model.term(name="base", prefix=""), model.term(name="formal", prefix="In other words: ")
    formulas = (base, base + 0.6 * (formal - base), la.mix(0.5 * base, 0.5 * formal), base + 0.3 * formal)
    return [la.voice(formula, models=models, speculate=chain) for formula, chain in zip(formulas, CHAINS, strict=True)]


def request(number):
    """Its voice, prompt and settings."""
    settings = {
        "seed": number,
        "max_new_tokens": 4 + number % 9,
        "temperature": (1.0, 0.7, 0.0)[number % 3],
        "samples": 1 + (number % 11 == 0),
    }
    return number % 4, PROMPTS[number // 4 % 4] + " and" * (number // 16), settings


@pytest.fixture(scope="module")
def expected(voices):
    """What the watched requests say alone."""
    said = {}
    for number in WATCHED:
        index, prompt, settings = request(number)
        said[number] = alone(voices[index], prompt, **settings)
    return said


def among_others(voices, gap, **options):
    """What all say together when one joins every `gap` steps."""
    running = Together(**options)
    for number in range(OTHERS + 1):
        index, prompt, settings = request(number)
        running.add(voices[index], prompt, **settings)
        running.steps_of(gap)
    return running.finish()


@pytest.mark.parametrize("options", [{"gap": 0}, {"gap": 1, "kept_rows": 4, "read_tokens": 8}])
def test_a_request_says_the_same_alone_and_among_31_others(voices, expected, options):
    found = among_others(voices, **options)
    assert {number: found.samples[number] for number in WATCHED} == expected
    found.scheduler.close()


def test_a_request_says_the_same_when_most_must_wait_for_room(voices, expected, monkeypatch):
    cache = next(voices[0].loaded.distinct_sessions()).cache
    for voice in voices:
        assert next(voice.loaded.distinct_sessions()).cache is cache
    monkeypatch.setattr(cache, "max_tokens", 8 * SMALLEST_CAPACITY)
    cache._trim()
    running = Together()
    for number in range(OTHERS + 1):
        index, prompt, settings = request(number)
        running.add(voices[index], prompt, **settings)
    running.step()
    assert running.scheduler.waiting > 20
    while running.scheduler.busy:
        running.step()
        assert cache.allocated_tokens <= cache.max_tokens
    assert {number: running.samples[number] for number in WATCHED} == expected
    assert not running.refused


def test_a_sample_of_several_is_what_its_seed_gives_alone(voices):
    index, prompt, settings = request(11)
    together = alone(voices[index], prompt, **{**settings, "samples": 3})
    for number in range(3):
        again = alone(voices[index], prompt, **{**settings, "samples": 1, "seed": settings["seed"] + number})
        assert again[0] == together[number]
