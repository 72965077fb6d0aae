"""A prompt that cannot be read is left out; the others are answered."""

import pytest

import lmalgebra as la
from lmalgebra.errors import DecodingError, PromptError

TOO_LONG = "a" * 5000


@pytest.fixture
def voice():
    return la.voice(la.model("toy").term(name="base", prefix=""), max_new_tokens=4)


def test_the_others_are_answered_before_the_error_comes(voice):
    samples = voice.generate_many(["hi.", TOO_LONG, "yo."], samples=2)
    done = [(sample.index, sample.number) for _, sample in zip(range(4), samples, strict=False)]
    with pytest.raises(PromptError, match=r"^Prompt 2 was left out: The prompt of term `base` has 5,000 tokens"):
        next(samples)
    assert sorted(done) == [(0, 0), (0, 1), (2, 0), (2, 1)]


def test_several_are_counted(voice):
    with pytest.raises(PromptError, match=r"^Prompt 1 \(and 1 more\) was left out"):
        list(voice.generate_many([TOO_LONG, TOO_LONG]))


def test_a_single_prompt_raises_its_own_error(voice):
    with pytest.raises(PromptError, match=r"^The prompt of term `base`"):
        voice.generate(TOO_LONG)


def test_several_samples_cannot_be_streamed(voice):
    with pytest.raises(DecodingError, match="samples=2 cannot be spoken at once"):
        voice.stream("hi.", samples=2)
    with pytest.raises(DecodingError, match="samples=3"):
        voice.chat(samples=3)
