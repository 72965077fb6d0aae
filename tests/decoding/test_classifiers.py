"""Classifiers in the engine: asked once for all texts of a step, never twice for one, and failing alone."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import islice
from typing import Any

import pytest
import torch
from torch import Tensor
from voices import toys

from lmalgebra.algebra import Bias, GenerationSettings, Model, Term, Voice, classifier, parse
from lmalgebra.api import Models
from lmalgebra.decoding import ComposedVoice
from lmalgebra.errors import ModelError
from lmalgebra.models.base import Asked, Message, Scorer

MODELS = toys()
TERMS = {name: Model(name).term(name=name, prefix="") for name in MODELS}


def voice(formula: str, judge: Any, speculate: str = "off", open_scorer=None, **settings: Any) -> ComposedVoice:
    terms = TERMS | {"judge": judge if isinstance(judge, Term) else classifier(judge, top_k=5, name="judge")}
    return ComposedVoice(
        Voice(parse(formula, terms), GenerationSettings(**{"max_new_tokens": 6} | settings)),
        lambda model: MODELS[model.source],
        speculate=speculate,
        open_scorer=open_scorer or Models().scorer,
    )


@dataclass
class Counting:
    """A classifier that remembers what it was asked."""

    calls: list[list[str]] = field(default_factory=list)
    __name__ = "counting"
    __hash__ = object.__hash__

    def __call__(self, texts: list[str]) -> list[float]:
        self.calls.append(list(texts))
        return [1 / (1 + len(text)) for text in texts]


def test_one_call_a_step_for_all_texts_and_none_twice():
    judge = Counting()
    samples = voice("base + judge", judge, min_new_tokens=6).generate("hello", samples=4).samples
    assert len(samples) == 4
    assert len(judge.calls) <= 6
    asked = [text for call in judge.calls for text in call]
    assert len(asked) == len(set(asked))


def test_a_text_is_the_same_alone_and_among_others():
    judge = Counting()
    many = list(voice("base + 3 * judge", judge).generate_many(["hello", "you", "well"], samples=3))
    for sample in many:
        alone = voice("base + 3 * judge", judge).generate(sample.prompt, seed=sample.seed)
        assert alone.text == sample.text


@pytest.mark.parametrize("speculate", ["base:2", "formal:3", "auto"])
def test_greedy_texts_do_not_depend_on_speculation(speculate):
    formula, judge = "base + 0.4 * (formal - base) + 3 * judge", Counting()
    plain = voice(formula, judge, temperature=0).generate("hello").text
    assert voice(formula, judge, speculate, temperature=0).generate("hello").text == plain


def test_a_classifier_moves_the_text():
    def likes_a(texts: list[str]) -> list[float]:
        return [(1 + text.count("a")) / (2 + len(text)) for text in texts]

    def count(formula: str) -> int:
        samples = voice(formula, likes_a, max_new_tokens=12).generate("hello", samples=40).samples
        return sum(sample.text.count("a") for sample in samples)

    assert count("base + 8 * judge") > 1.5 * count("base + 0 * judge")


def failing(texts: list[str]) -> list[float]:
    if any("o" in text for text in texts):
        raise RuntimeError("no o, please")
    return [0.5] * len(texts)


@pytest.mark.parametrize(
    ("judge", "sentence"),
    [
        (failing, "The classifier 'failing' fails: no o, please."),
        (lambda texts: [0.5], "The classifier '<lambda>' does not give a probability from 0 to 1 for each text."),
        (lambda texts: [2.0] * len(texts), "does not give a probability from 0 to 1 for each text."),
        (lambda texts: [float("nan")] * len(texts), "does not give a probability from 0 to 1 for each text."),
    ],
)
def test_a_bad_function_is_one_sentence(judge, sentence):
    with pytest.raises(ModelError) as caught:
        voice("base + judge", judge, min_new_tokens=6, max_new_tokens=30).generate("hello", samples=5)
    assert sentence in caught.value.message


class Fleeting(Scorer):
    """Remembers which texts it follows; fails where a text is longer than `longest`."""

    def __init__(self, longest: int = 100) -> None:
        self.followed: set[int] = set()
        self.begun, self.longest = 0, longest

    def begin(self, messages: Sequence[Message], most: int | None = None) -> int:
        self.begun += 1
        self.followed.add(self.begun)
        return self.begun

    def scores(self, asked: Sequence[Asked]) -> list[Tensor]:
        assert all(each.state in self.followed for each in asked)
        if any(len(each.tokens) >= self.longest and each.state == 2 for each in asked):
            raise ModelError("The second text is too long.")
        return [torch.zeros(each.candidates.shape) for each in asked]

    def end(self, state: int) -> None:
        self.followed.remove(state)


def scored_by(scorer: Scorer, speculate: str = "off") -> ComposedVoice:
    def open_scorer(description: Bias, *_: Any) -> Scorer:
        return scorer

    return voice("base + judge", lambda texts: [], speculate, open_scorer, min_new_tokens=6)


@pytest.mark.parametrize("speculate", ["off", "base:2"])
def test_finished_texts_are_forgotten(speculate):
    scorer = Fleeting()
    speaker = scored_by(scorer, speculate)
    assert len(list(speaker.generate_many(["hello", "you"], samples=3))) == 6
    speaker.score("hello", "you")
    assert (scorer.begun, scorer.followed) == (7, set())


def test_texts_that_are_given_up_are_forgotten():
    scorer = Fleeting()
    stream = scored_by(scorer).stream("hello")
    next(stream)
    assert scorer.followed
    stream.close()
    assert not scorer.followed


def test_one_text_that_cannot_be_scored_fails_alone():
    scorer = Fleeting(longest=3)
    said = scored_by(scorer).generate_many(["hello", "you", "well"])
    assert sorted(sample.index for sample in islice(said, 2)) == [0, 2]
    with pytest.raises(ModelError, match="Prompt 2 was left out: The second text is too long"):
        next(said)
    assert not scorer.followed
