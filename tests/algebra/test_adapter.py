"""An adapter as a value: one form however it was given, in Python and in voice files."""

import os
import tomllib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lmalgebra.algebra import Model, ModelTerm, Voice, dump_voice, load_voice, parse_voice, save_voice
from lmalgebra.algebra.adapter import adapter_text, as_adapter, summands
from lmalgebra.errors import LmalgebraError, VoiceError

small = Model("smollm2-135m", name="small")
BOTH = {"./formal": 0.7, "./short": 0.3}
FILE = 'formula = "base"\n[models.small]\nsource = "smollm2-135m"\n[terms.base]\n'


def adapter_of(**keys):
    return small.term(name="t", **keys).description.adapter


def test_a_place_stays_what_it_is():
    assert adapter_of(adapter="org/formal") == "org/formal"
    assert adapter_of() is None


@pytest.mark.parametrize(
    "same",
    [
        BOTH,
        {"./short": 0.3, "./formal": 0.7},
        (("./short", 0.3), ("./formal", 0.7)),
        (("./formal", 0.7), ("./short", 0.3)),
    ],
)
def test_a_weighted_sum_is_one_value_however_it_was_given(same):
    term = small.term(name="t", adapter=BOTH)
    assert small.term(name="t", adapter=same) == term
    assert hash(small.term(name="t", adapter=same)) == hash(term)
    assert ModelTerm(small, adapter=same).adapter == (("./formal", 0.7), ("./short", 0.3))


def test_one_place_of_weight_one_is_that_place():
    assert adapter_of(adapter={"./formal": 1}) == "./formal"
    assert adapter_of(adapter={"./formal": 0.5}) == (("./formal", 0.5),)


def test_a_whole_number_is_the_weight_that_its_float_is():
    assert adapter_of(adapter={"a": 2, "b": -1}) == adapter_of(adapter={"a": 2.0, "b": -1.0})


def test_the_summands_of_an_adapter():
    assert summands(None) == ()
    assert summands("a") == (("a", 1.0),)
    assert summands(as_adapter(BOTH)) == (("./formal", 0.7), ("./short", 0.3))


def test_adapters_as_text():
    assert adapter_text("./formal") == "'./formal'"
    assert adapter_text(as_adapter(BOTH)) == "0.7 * './formal' + 0.3 * './short'"


def test_terms_are_named_after_their_adapters_too():
    names = {small.term(adapter=adapter).name for adapter in (None, "a", "b", {"a": 0.5}, {"a": 0.5, "b": 0.5})}
    assert len(names) == 5
    assert small.term(adapter={"a": 0.5, "b": 1}).name == small.term(adapter={"b": 1.0, "a": 0.5}).name


@pytest.mark.parametrize(
    ("adapter", "message"),
    [
        ("", "The adapter of a term is empty."),
        ({}, "The adapter of a term is empty."),
        ({" ": 1}, "The adapter of a term is empty."),
        (3, "adapter=3 of a term is neither text nor a table of weights."),
        (["a"], "adapter=['a'] of a term is neither text nor a table of weights."),
        ({3: 1}, "adapter=3 of a term is not text."),
        ({"a": "much"}, "'much' is not a number, so it cannot be the weight of the adapter 'a'."),
        ({"a": True}, "True is not a number, so it cannot be the weight of the adapter 'a'."),
        ({"a": float("nan")}, "nan is not finite, so it cannot be the weight of the adapter 'a'."),
        ({"a": -float("inf")}, "-inf is not finite, so it cannot be the weight of the adapter 'a'."),
        ((("a", 1), ("a", 2)), "The adapter 'a' of a term is named twice."),
    ],
)
def test_what_is_no_adapter(adapter, message):
    for make in (small.term, lambda adapter: ModelTerm(small, adapter=adapter)):
        with pytest.raises(VoiceError) as caught:
            make(adapter=adapter)
        assert caught.value.message == message
        assert caught.value.hint


places = st.text(st.characters(codec="utf-8"), min_size=1, max_size=12).filter(
    lambda place: place.strip() and not place.startswith(("./", "../"))
)
weights = st.floats(allow_nan=False, allow_infinity=False)


@given(st.one_of(places, st.dictionaries(places, weights, min_size=1, max_size=3)))
def test_voices_with_adapters_read_back(adapter):
    voice = Voice(small.term(name="t", adapter=adapter))
    assert parse_voice(dump_voice(voice)) == voice


def test_a_voice_file_holds_a_weighted_sum(tmp_path):
    place = tmp_path / "sub" / "voice.toml"
    (place.parent / "formal").mkdir(parents=True)
    place.write_text(FILE + 'adapter = { "./formal" = 0.7, "../short" = 0.3, "org/name" = 1 }\n')
    voice = load_voice(place)
    expected = {str(place.parent / "formal"): 0.7, str(tmp_path / "short"): 0.3, "org/name": 1}
    assert voice.terms[0].description.adapter == as_adapter(expected)
    save_voice(voice, tmp_path / "moved.toml")
    assert load_voice(tmp_path / "moved.toml") == voice


def test_relative_places_of_a_sum_are_saved_absolute():
    text = dump_voice(Voice(small.term(name="t", adapter=BOTH)))
    assert tomllib.loads(text)["terms"]["t"]["adapter"] == {
        os.path.abspath("formal"): 0.7,
        os.path.abspath("short"): 0.3,
    }


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("adapter = 3", "[terms.base]: adapter=3 of a term is neither text nor a table of weights."),
        ("adapter = ['a']", "[terms.base]: adapter=['a'] of a term is neither text nor a table of weights."),
        ("adapter = ''", "[terms.base]: The adapter of a term is empty."),
        ("adapter = {}", "[terms.base]: The adapter of a term is empty."),
        (
            "adapter = { a = 'much' }",
            "[terms.base]: 'much' is not a number, so it cannot be the weight of the adapter 'a'.",
        ),
        ("adapter = { a = inf }", "[terms.base]: inf is not finite, so it cannot be the weight of the adapter 'a'."),
    ],
)
def test_voice_files_with_what_is_no_adapter(line, message):
    with pytest.raises(LmalgebraError) as caught:
        parse_voice(FILE + line)
    assert caught.value.message == f"the voice: {message}"
    assert caught.value.hint
