"""Fluency against what the voice of the same model says of each token."""

from math import exp

import pytest

import lmalgebra as la
from evaluation.conftest import answers
from lmalgebra.algebra import Model
from lmalgebra.api import Models
from lmalgebra.evaluation.measures import perplexity
from lmalgebra.evaluation.measures.perplexity import Perplexity
from lmalgebra.models.base import LanguageModel
from lmalgebra.models.table import TableModel, TableSession, TableTokenizer

TOY = Model("toy")


@pytest.fixture
def judge(cache):
    return Perplexity(TOY, Models(), cache)


def log_likelihood(prompt, text):
    return la.voice(la.model("toy").term(name="base", prefix="")).score(prompt, text).total


def test_token_by_token_as_a_voice_scores_it(judge):
    texts = [["and so", "b"], ["third one here"]]
    found = judge.measure(answers(*texts, prompts=["one ", "two"])).quantities["per_token"]
    nats = [
        log_likelihood("one ", "and so") + log_likelihood("one ", "b"),
        log_likelihood("two", "third one here"),
    ]
    assert found.numerators == pytest.approx([-each for each in nats], abs=1e-3)
    assert found.denominators.tolist() == [7, 14]  # the toy's tokens are characters
    assert found.value == pytest.approx(exp(-sum(nats) / 21), rel=1e-4)


def test_bytes_are_those_of_the_text(cache):
    wide = TableModel(pieces=("a", "é", "<end>"))
    judge = Perplexity(TOY, lambda _: wide.language_model(), cache)
    found = judge.measure(answers(["éa"], prompts=["a"])).quantities
    assert (found["per_token"].denominators[0], found["per_byte"].denominators[0]) == (2, 3)
    assert found["per_byte"].numerators[0] == found["per_token"].numerators[0]


def test_an_empty_text_is_left_out_with_a_note(judge):
    measured = judge.measure(answers(["", "b"], [""], prompts=["one", "two"]))
    assert measured.quantities["per_token"].denominators.tolist() == [1, 0]
    assert measured.notes == ["2 empty texts have no perplexity and were left out."]


def test_a_text_that_is_too_long_is_left_out_with_a_note(cache):
    table = TableModel()
    small = LanguageModel("small", TableSession(table, context_length=10), TableTokenizer(table))
    measured = Perplexity(TOY, lambda _: small, cache).measure(answers(["b" * 11, "b", "b" * 7], prompts=["one"]))
    assert measured.quantities["per_token"].denominators.tolist() == [8]
    (note,) = measured.notes
    assert "A text of 14 tokens is longer than the 10 that 'small' can read." in note


def test_a_text_that_the_judge_cannot_spell_is_left_out_with_a_note(judge):
    measured = judge.measure(answers(["Ω", "b"], prompts=["one"]))
    assert measured.quantities["per_token"].denominators.tolist() == [1]
    assert "cannot spell" in measured.notes[0]


def test_however_many_are_read_in_one_pass(judge, cache, monkeypatch):
    texts = [["b" * size for size in (3, 1, 9, 4, 4)]]
    whole = judge.measure(answers(*texts, prompts=["one"])).quantities["per_token"]
    monkeypatch.setattr(perplexity, "LOGITS", 5 * TableModel().language_model().session.vocabulary_size)
    pieces = Perplexity(TOY, Models(), cache / "anew").measure(answers(*texts, prompts=["one"]))
    assert pieces.quantities["per_token"].numerators == pytest.approx(whole.numerators, abs=1e-6)


def test_passes_hold_so_many_judged_tokens():
    texts = [([0] * 10, 7), ([0] * 20, 18), ([0] * 5, 1), ([0] * 50, 1)]  # 3, 2, 4 and 49 are judged
    assert list(perplexity._passes(texts, 7)) == [[2, 0], [1], [3]]


def test_a_conversation_is_read_as_its_messages(judge):
    chat = [{"role": "user", "content": "one"}, {"role": "assistant", "content": "b"}, {"role": "user", "content": "c"}]
    found = judge.measure(answers(["and"], prompts=[chat])).quantities["per_token"]
    assert found.numerators[0] == pytest.approx(-log_likelihood("one\nb\nc", "and"), abs=1e-3)


def test_a_real_tokenizer_reads_both_as_one_text(smollm2, cache):
    """Where a word is cut by the prompt's end the text is judged from the first token that the prompt lacks."""
    model = Models()(Model(str(smollm2)))
    tokens, first = perplexity._tokens(model, "The capital of Fra", "nce is Paris")
    assert model.tokenizer.decode(tokens) == "The capital of France is Paris"
    assert model.tokenizer.decode(tokens[first:]) == " France is Paris"
    tokens, _ = perplexity._tokens(model, "Say ", "<|im_end|>")
    assert not model.tokenizer.end_tokens & set(tokens)
