"""Constraints in the engine: samples and requests side by side, drafts, cancelling, errors; and on a real model."""

import json
import re

import pytest
from jsonschema import Draft202012Validator

import lmalgebra as la
from lmalgebra.algebra import Constraint
from lmalgebra.api import Models
from lmalgebra.decoding.context import conversation
from lmalgebra.decoding.request import Request
from lmalgebra.decoding.scheduler import Scheduler
from lmalgebra.errors import DecodingError, PromptError, VoiceError
from lmalgebra.models.base import Scorer

TOY = la.model("toy")
BASE = TOY.term(name="base", prefix="")
OTHER = la.model("toy:7").term(name="other", prefix="")
STEERED = BASE + 0.5 * (OTHER - BASE)
SHAPE = la.regex("([a-z]{2}-)*[0-9]{3}", name="shape")
CHAINS = ["off", "base:3", "prompt:3", "prompt:2 > base:4", "auto"]


class Counted(Scorer):
    """Passes on to a scorer, and counts the texts that have begun and not ended."""

    def __init__(self, inner: Scorer) -> None:
        self.inner = inner
        self.texts = 0

    def begin(self, messages, most=None):
        self.texts += 1
        return self.inner.begin(messages, most)

    def scores(self, asked):
        return self.inner.scores(asked)

    def end(self, state):
        self.texts -= 1
        self.inner.end(state)


class Watching(Models):
    """Models whose scorers are counted."""

    def scorer(self, description, model, ends):
        self.counted = Counted(super().scorer(description, model, ends))
        return self.counted


@pytest.mark.parametrize("speculate", CHAINS)
def test_every_sample_of_every_request_has_a_text_of_its_own(speculate):
    models = Watching()
    voice = la.voice(STEERED + SHAPE, models=models, speculate=speculate, max_new_tokens=12)
    samples = list(voice.generate_many(["ab", "hello", "ab ab ab"], samples=8))
    assert len(samples) == 24
    for sample in samples:
        if sample.finish_reason == "end":
            assert re.fullmatch(SHAPE.description.pattern, sample.text)
        else:
            assert re.fullmatch("([a-z]{2}-)*([a-z]{1,2}|[0-9]{1,2})?|.*[0-9]{3}", sample.text)
    assert models.counted.texts == 0


@pytest.mark.parametrize("speculate", CHAINS[:4])
def test_neighbours_do_not_change_a_text(speculate):
    voice = la.voice(STEERED + SHAPE, models=Models(), speculate=speculate, max_new_tokens=12, seed=3)
    together = voice.generate("hello", samples=5).samples
    assert [sample.text for sample in together] == [
        voice.generate("hello", seed=3 + number).text for number in range(5)
    ]


def test_a_request_that_is_cancelled_is_forgotten():
    models = Watching()
    voice = la.voice(STEERED + la.require(["dog"], name="shape"), models=models, speculate="base:3", max_new_tokens=40)
    scheduler = Scheduler()
    for index in range(2):
        scheduler.add(voice.loaded, Request(index, conversation("hi"), voice.settings.replace(samples=3)))
    for _ in range(4):
        scheduler.step()
    assert models.counted.texts == 6
    scheduler.cancel(0)
    assert models.counted.texts == 3
    scheduler.close()
    assert models.counted.texts == 0


def test_a_request_that_fails_leaves_the_others_alone():
    models = Watching()
    voice = la.voice(STEERED + la.require(["zebra", "dog"], name="shape"), models=models)
    with la.Service() as service:
        short = service.submit(voice, "hi", max_new_tokens=5, samples=3)
        long = service.submit(voice, "hi", max_new_tokens=30, samples=3)
        with pytest.raises(DecodingError, match=r"The required words 'zebra', 'dog' need 9 tokens, but .* only 5\."):
            short.result(timeout=60)
        for sample in long.result(timeout=60).samples:
            assert re.search(r"\bzebra", sample.text)
    assert models.counted.texts == 0


def test_a_length_that_the_context_cuts_counts_too():
    voice = la.voice(BASE + la.require(["dog"], name="shape"), max_new_tokens=5000)
    text = voice.generate("a" * 4090).text
    assert re.search(r"\bdog", text)
    with pytest.raises(DecodingError, match="need 3 tokens, but the text may have only 2"):
        voice.generate("a" * 4095)
    with pytest.raises(PromptError):
        voice.generate("a" * 4097)


@pytest.mark.parametrize("formula", ["base + 2 * shape", "mix(base + shape, other + shape)", "base + other + shape"])
def test_constraints_stand_in_any_formula(formula):
    terms = {term.name: term for term in (BASE, OTHER, SHAPE)}
    voice = la.voice(la.parse(formula, terms), max_new_tokens=30, models=Models())
    for sample in voice.generate("hello", samples=10).samples:
        assert sample.finish_reason == "length" or re.fullmatch(SHAPE.description.pattern, sample.text)


def test_a_complete_text_that_may_not_end_yet_is_an_error():
    voice = la.voice(BASE + la.regex("ab", name="shape"), min_new_tokens=3)
    with pytest.raises(DecodingError, match="No token is possible but the end, before min_new_tokens=3"):
        voice.generate("hi")


@pytest.mark.parametrize(("stop", "reason"), [([], "length"), (["og"], "stop")])
def test_only_a_stop_string_ends_a_text_before_its_required_words(stop, reason):
    voice = la.voice(STEERED + la.require(["dog", "cat"]), models=Models(), max_new_tokens=14, stop=stop)
    samples = voice.generate("hi. ", samples=12).samples
    assert reason in {sample.finish_reason for sample in samples}
    for sample in samples:
        assert ("dog" in sample.text and "cat" in sample.text) == (sample.finish_reason != "stop")


def test_two_constraints_that_exclude_each_other_are_named():
    voice = la.voice(BASE + la.regex("dog", name="shape") + la.forbid(["dog"], name="polite"))
    with pytest.raises(
        DecodingError, match="No token is possible: `polite` forbids every token that is left, after `shape`"
    ):
        voice.generate("hi")


def test_a_constraint_that_cannot_be_read_is_told_when_the_voice_is_loaded():
    voice = la.voice(BASE + la.regex("(", name="shape"))
    with pytest.raises(VoiceError, match=r"regex='\(' cannot be used: unclosed group"):
        voice.loaded  # noqa: B018


SCHEMA = {
    "type": "object",
    "properties": {
        "name": {"type": "string", "maxLength": 12},
        "age": {"type": "integer", "minimum": 0, "maximum": 120},
    },
    "required": ["name", "age"],
    "additionalProperties": False,
}


@pytest.fixture(scope="module")
def spoken(smollm2):
    """Two ways to speak of a real model."""
    small = la.model(str(smollm2), dtype="float32", engine="torch")
    return small.term(name="base", system="You are helpful."), small.term(name="formal", system="You are very formal.")


def said(spoken, constraint, prompt, samples=4, **settings):
    base, formal = spoken
    assert isinstance(constraint.description, Constraint)
    voice = la.voice(base + 0.6 * (formal - base) + constraint, speculate="base:4", **settings)
    return voice.generate(prompt, samples=samples).samples


def test_a_real_model_keeps_to_a_schema_under_speculation(spoken):
    samples = said(spoken, la.json_schema(SCHEMA, name="shape"), "Invent a person, as JSON.", max_new_tokens=48)
    for sample in samples:
        assert sample.finish_reason == "end"
        Draft202012Validator(SCHEMA).validate(json.loads(sample.text))


def test_a_real_model_says_the_words(spoken):
    constraint = la.require(["dog", "throw", "frisbee"], ordered=True, name="words")
    for sample in said(spoken, constraint, "Write a sentence.", max_new_tokens=16):
        assert re.search(
            r"\bdogs?\b.*\b(throw(s|n|ing)?|threw)\b.*\bfrisbees?\b", sample.text, re.DOTALL | re.IGNORECASE
        )


@pytest.mark.parametrize("exact", [False, True])
def test_a_real_model_does_not_say_what_is_forbidden(spoken, exact):
    constraint = la.forbid(["the", "city", "and a"], exact=exact, name="words")
    for sample in said(spoken, constraint, "Repeat: The city and a park.", max_new_tokens=12):
        assert not re.search(r"\b(the|city|and\W+a)\b", sample.text, re.IGNORECASE)
