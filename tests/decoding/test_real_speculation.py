"""Speculation with a real model in float32: greedy text is the same token for token."""

import pytest

import lmalgebra as la

ASKED = ("Describe", "Write two sentences about", "What do you know about", "Give me some facts about", "Who likes")
THINGS = (
    "the sea at night",
    "old bicycles",
    "bread",
    "the number seven",
    "Portugal",
    "chess",
    "rain",
    "tall trees",
    "silence",
    "cats that sleep all day",
)
PROMPTS = [f"{ask} {thing}." for ask in ASKED for thing in THINGS]
NEW_TOKENS = 24


NAMES = {"base": "", "formal": "In formal English: ", "other": "Hm. "}


@pytest.fixture(scope="module")
def terms(smollm2):
    """Three prompts of the same weights, all plain completions, which keeps them short."""
    model = la.model(str(smollm2), dtype="float32")
    return [model.term(name=name, prefix=prefix) for name, prefix in NAMES.items()]


@pytest.fixture(scope="module")
def models():
    return la.Models()


def told(terms, models, **options):
    """The tokens said after each of the 50 prompts, and the voice."""
    base, formal, _ = terms
    voice = la.voice(base + 0.6 * (formal - base), models=models, temperature=0, **options)
    return {each.index: each.tokens for each in voice.generate_many(PROMPTS, max_new_tokens=NEW_TOKENS)}, voice


@pytest.fixture(scope="module")
def expected(terms, models):
    return told(terms, models)[0]


@pytest.mark.slow
@pytest.mark.parametrize("speculate", ["prompt:6", "base:3", "draft:4", "base:2 > formal:3", "auto"])
def test_greedy_text_is_the_text_without_drafts(speculate, terms, models, expected):
    draft = terms[2] if speculate in ("draft:4", "auto") else None
    found, voice = told(terms, models, speculate=speculate, draft=draft)
    assert found == expected
    assert sum(map(len, found.values())) > 1000
    if speculate != "auto":
        assert len(voice.speculation.acceptance) == speculate.count(">") + 1
        assert all(0.1 < rate < 1 for rate in voice.speculation.acceptance.values())
