"""Settings and corpora: what they take, and what each mistake is told."""

import json

import pytest

from lmalgebra.errors import DecodingError, TrainingError
from lmalgebra.training.paraphrases.attributes import ATTRIBUTES, attribute_values
from lmalgebra.training.paraphrases.corpus import read_corpus
from lmalgebra.training.paraphrases.settings import load_settings
from training.paraphrases.words import OFF, settings

GIVEN = {"corpus": "c.jsonl", "output": "o.jsonl"}


@pytest.mark.parametrize("name", ATTRIBUTES)
def test_an_attribute_is_settings_and_nothing_else(name):
    found = load_settings(None, GIVEN | {"attribute": name})
    assert found.attribute == name
    assert found.positive_examples
    assert found.negative_examples
    assert set(attribute_values(name)) < set(vars(found))


def test_a_file_and_options_replace_what_an_attribute_says(tmp_path):
    file = tmp_path / "s.toml"
    file.write_text('attribute = "sentiment"\nbelow = 0.2\ncorpus = "c.txt"\n[positive_examples]\n"a b" = "b a"\n')
    found = load_settings(file, {"output": "o.parquet", "below": 0.1})
    assert (found.judge, found.judged, found.below, found.above) == ("vader", "wanted", 0.1, 0.6)
    assert found.positive_examples == {"a b": "b a"}


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"output": "o.csv"}, "The output 'o.csv' is neither .jsonl nor .parquet."),
        ({"corpus": " "}, "corpus is empty."),
        ({"positive_template": "again"}, "positive_template does not name 'text'."),
        ({"negative_template": "{{ text"}, "negative_template: The template '{{ text' cannot be filled in"),
        ({"endpoint": "http://h/v1", "voice": "v.toml"}, "Both endpoint and voice are given."),
        ({"voice": "v.toml", "model": "m"}, "Both voice and model are given."),
        ({"served": "m"}, "served and key_env belong to an endpoint"),
        ({"below": 0.6, "above": 0.4}, "below = 0.6 is more than above = 0.4."),
        ({"shortest": 3.0}, "shortest = 3 is more than longest = 2.5."),
        ({"least": 4}, "least = 4 is more than are wanted of a side."),
        ({"judged": "both"}, "judged = 'both' is unknown."),
        ({"similarity": 1.5}, "similarity = 1.5 is out of range."),
        ({"tries": 0}, "tries = 0 is out of range. Give a number from 1 to 1000."),
        ({"positives": "many"}, "positives = 'many' is not a whole number."),
    ],
)
def test_a_mistake_is_one_sentence(tmp_path, changes, sentence):
    with pytest.raises(TrainingError) as caught:
        settings(tmp_path, **changes)
    assert str(caught.value).startswith(sentence)


def test_an_unknown_name_is_told_with_the_nearest():
    with pytest.raises(TrainingError, match=r"no attribute 'toxicty'. Did you mean 'toxicity'\?"):
        load_settings(None, GIVEN | {"attribute": "toxicty"})
    with pytest.raises(TrainingError, match=r"no setting 'tris'. Did you mean 'tries'\?"):
        load_settings(None, GIVEN | {"tris": 3})
    with pytest.raises(TrainingError, match=r"corpus is not given. Add --corpus"):
        load_settings(None, {})
    with pytest.raises(DecodingError, match="temperature"):
        load_settings(None, GIVEN | {"temperature": -1.0})


def corpus(tmp_path, content, name="c.jsonl", **changes):
    (tmp_path / name).write_bytes(content if isinstance(content, bytes) else content.encode())
    return read_corpus(settings(tmp_path, corpus=str(tmp_path / name), **changes))


def test_sentences_of_json_lines_and_of_plain_text(tmp_path):
    found = corpus(tmp_path, '{"text": "One  two.\\n", "n": 1}\n"Three."\n\n{"text": "One two."}\n{"text": ""}\n')
    assert [each.text for each in found.anchors] == ["One two.", "Three."]
    assert found.anchors[0].fields["n"] == 1
    assert [each.text for each in corpus(tmp_path, "One.\n\n Two. \nOne.", "c.txt").anchors] == ["One.", "Two."]
    assert found.anchors[0].place.endswith("c.jsonl, line 1")


def test_a_pair_set_has_a_field_for_each_side(tmp_path):
    row = {"toxic": "damn it", "neutral": ["oh no", "oh dear"]}
    fields = {"field": "neutral", "negative_field": "toxic"}
    (anchor,) = corpus(tmp_path, json.dumps(row), **fields).anchors
    assert (anchor.text, anchor.sources) == ("oh no", {"positives": "oh no", "negatives": "damn it"})


def test_some_are_drawn_by_a_seed(tmp_path):
    content = "\n".join(f"Sentence {number}." for number in range(50))
    draws = [
        [each.text for each in corpus(tmp_path, content, "c.txt", count=5, draw=draw).anchors] for draw in (0, 0, 1)
    ]
    assert draws[0] == draws[1] != draws[2]
    assert len(draws[0]) == 5


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        ("", r"c.jsonl holds no sentence. A line is an object such as \{"),
        ('{"text": " "}', "holds no sentence"),
        ('{"said": "a"}', "line 1: there is no field 'text'. Its fields are: said. Name the one with the sentence"),
        ('{"text": "a"}\n{"text": 3}', "line 2: 'text' holds what is no text"),
        ("[1]", "line 1: this is neither a text nor an object"),
        ("{", "line 1: this is not JSON"),
        (b'"\xff"', "line 1: this is not UTF-8"),
    ],
)
def test_a_corpus_that_cannot_be_used(tmp_path, content, sentence):
    with pytest.raises(TrainingError, match=sentence):
        corpus(tmp_path, content)


def test_a_corpus_that_is_not_there(tmp_path):
    with pytest.raises(TrainingError, match="There is no file of sentences"):
        read_corpus(settings(tmp_path, corpus="nowhere.txt", **OFF))
