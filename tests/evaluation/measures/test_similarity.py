"""Meaning by sentence embeddings: vectors worked out by hand, and a network against Transformers' own pass."""

from math import sqrt

import pytest
import torch
from transformers import AutoModel, AutoTokenizer

from evaluation.conftest import answers, values
from lmalgebra.errors import ModelError
from lmalgebra.evaluation.measures.similarity import Similarity
from lmalgebra.models.text_encoder import load_encoder
from tiny_classifiers import bert, letters


class Letters:
    """A text's vector says how often a, b and c occur, at length 1."""

    def __init__(self):
        self.asked = []

    def vectors(self, texts):
        self.asked += texts
        counts = torch.tensor([[float(text.count(letter)) for letter in "abc"] for text in texts])
        return counts / counts.norm(dim=-1, keepdim=True)


def test_by_hand(cache):
    letters = Letters()
    similarity = Similarity("toy", cache, lambda *_: letters)
    told = answers(["a", "b"], ["ab"], source=["a", "a"], references=[["b", "ab"], ["c"]])
    found = values(similarity.measure(told).quantities)
    # a to a is 1, b to a 0; ab to a is 1 / sqrt 2. Nearest reference: of a ab, of b b, of ab only c.
    assert found["to_source"] == pytest.approx(((1 + 0) / 2 + sqrt(0.5)) / 2, abs=1e-5)
    assert found["to_reference"] == pytest.approx(((sqrt(0.5) + 1) / 2 + 0) / 2, abs=1e-5)
    asked = len(letters.asked)
    again = Similarity("toy", cache, lambda *_: letters).measure(told)
    assert (values(again.quantities), len(letters.asked)) == (found, asked)


def test_without_references_there_is_only_the_source(cache):
    similarity = Similarity("toy", cache, lambda *_: Letters())
    assert set(similarity.measure(answers(["a"], [], source=["a", "b"])).quantities) == {"to_source"}


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    place = tmp_path_factory.mktemp("encoder")
    torch.manual_seed(3)
    AutoModel.from_config(bert()).save_pretrained(place)
    letters(start=True, end=True).save_pretrained(place)
    return str(place)


TEXTS = ["abc", "a", "", "hgfe dcba abcdefg", "bad cab"]


def test_an_encoder_is_the_mean_of_its_tokens_whatever_it_is_read_with(folder):
    model, tokenizer = AutoModel.from_pretrained(folder).eval(), AutoTokenizer.from_pretrained(folder)
    with torch.inference_mode():
        states = [model(**tokenizer(text, return_tensors="pt")).last_hidden_state[0] for text in TEXTS]
    expected = torch.stack([torch.nn.functional.normalize(each.mean(0), dim=0) for each in states])
    torch.testing.assert_close(load_encoder(folder, "mean").vectors(TEXTS), expected, atol=1e-5, rtol=1e-4)
    last = torch.stack([each[-1] for each in states])
    torch.testing.assert_close(load_encoder(folder, "last").vectors(TEXTS), last, atol=1e-5, rtol=1e-4)


def test_of_no_texts_there_are_no_vectors(folder):
    assert load_encoder(folder, "mean").vectors([]).numel() == 0


def test_a_text_longer_than_the_network_loses_its_end(folder):
    encoder = load_encoder(folder, "mean")
    long, longer = "ab" * 60, "ab" * 60 + "hhhh"
    one, other = encoder.vectors([long, longer])
    torch.testing.assert_close(one, other)


def test_a_folder_without_weights_is_refused(tmp_path):
    with pytest.raises(ModelError, match="holds no weights"):
        load_encoder(str(tmp_path), "mean")
