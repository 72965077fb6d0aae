"""Stop strings: found across tokens, never shown, and nothing else is lost."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from voices import STEERED, recital, toys, voice

from lmalgebra.decoding.text import GrowingText
from lmalgebra.models.table import TableModel, TableTokenizer


def said(pieces, stop, ends=True):
    """The sample and the pieces streamed when a model says `pieces` under the stop strings."""
    speaker = voice("it", {"it": recital(pieces, prompt="p", ends=ends)}, stop=stop, max_new_tokens=len(pieces) + 1)
    return speaker.generate("p").samples[0], list(speaker.stream("p"))


@pytest.mark.parametrize(
    ("pieces", "stop", "text"),
    [
        (["he", "llo wo", "rld", "!"], ["o worl"], "hell"),
        (["a", "b", "c", "d"], ["bc"], "a"),
        (["a", "b", "c", "d"], ["d"], "abc"),
        (["a", "b", "c", "d"], ["abcd"], ""),
        (["ab", "cd"], ["a"], ""),
        (["a", "a ", "b", " aab"], ["aab"], "aa b "),
        (["x", "aa", "a", "aab ", "c"], ["aaab"], "xaa"),
        (["abc", "d"], ["bcd", "c"], "ab"),
        (["ab", "cd"], ["cd", "bcd"], "a"),
        (["one", "two "], ["twice", "e"], "on"),
    ],
)
def test_the_text_ends_before_the_first_stop_string(pieces, stop, text):
    sample, streamed = said(pieces, stop)
    assert (sample.text, sample.finish_reason) == (text, "stop")
    assert "".join(streamed) == text


@pytest.mark.parametrize("ends", [True, False])
@pytest.mark.parametrize(
    ("pieces", "stop"), [(["a", "b", "c"], ["cd"]), (["a", "b"], ["abc", "bb"]), (["ab", "ba"], ["aba!"])]
)
def test_what_was_held_back_is_shown_when_no_stop_string_comes(pieces, stop, ends):
    sample, streamed = said(pieces, stop, ends)
    assert sample.text == "".join(pieces) + ("" if ends else "p")
    assert sample.finish_reason == ("end" if ends else "length")
    assert "".join(streamed) == sample.text


def test_text_that_cannot_become_a_stop_string_is_shown_at_once():
    _, streamed = said(["a", "b ", "c", "e"], ["cd"])
    assert streamed == ["a", "b ", "ce"]


def test_a_stop_string_ends_only_its_own_sample():
    free = voice(STEERED, toys(), max_new_tokens=30, samples=30)
    plain = {sample.seed: sample.text for sample in free.generate("hello").samples}
    for sample in free.generate("hello", stop=["e"]).samples:
        whole = plain[sample.seed]
        assert sample.text == whole.partition("e")[0]
        assert (sample.finish_reason == "stop") == ("e" in whole)


SPELLER = TableTokenizer(TableModel((*(x + y for x in "ab" for y in "ab"), "a", "b", "c", "<end>")))


@settings(deadline=None, max_examples=400)
@given(
    st.lists(st.integers(0, 6), max_size=12),
    st.lists(st.text("abc", min_size=1, max_size=4), max_size=3),
)
def test_streamed_text_is_the_text_up_to_a_stop_string_whatever_the_tokens(tokens, stop):
    whole, growing, shown = SPELLER.decode(tokens), GrowingText(SPELLER.stream(), stop), []
    for token in tokens:
        shown.append(growing.push(token))
        assert not any(text in "".join(shown) for text in stop)
        if growing.stopped:
            break
    else:
        shown.append(growing.finish())
    assert "".join(shown) == growing.text
    assert whole.startswith(growing.text)
    assert growing.stopped == any(text in whole for text in stop)
    if growing.stopped:
        assert any(whole[len(growing.text) :].startswith(text) for text in stop)
    else:
        assert growing.text == whole
