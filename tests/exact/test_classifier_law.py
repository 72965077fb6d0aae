"""The law of texts under formulas with classifiers: all outcomes of the real engine against the rule by hand."""

import math
from collections import defaultdict

import pytest
from outcomes import Law, distance, law_of, outcomes, scores_along
from reference import evaluate_text

from lmalgebra.algebra import Model, Voice, classifier, parse
from lmalgebra.api import Models
from lmalgebra.decoding import ComposedVoice
from lmalgebra.models.table import TableModel

EXACT = 1e-6  # a classifier's scores are float32
NOTICED = 1e-2
PROMPT = "xyx"
LETTERS = ("x", "y", "z", "<end>")
TABLES = {name: TableModel(LETTERS, seed=seed) for seed, name in enumerate("ab", 1)}
LENGTH = 3


def likes_x(texts: list[str]) -> list[float]:
    """More for each x, less for each other letter."""
    return [(1 + text.count("x")) / (2 + len(text)) for text in texts]


def ends_well(texts: list[str]) -> list[float]:
    return [0.9 if text.endswith(("xy", "z")) else 0.2 for text in texts]


def voice(formula: str, speculate: str = "off", top_k: int = 2, sign: int = 1, reads: str = "answer") -> ComposedVoice:
    terms = {name: Model(source=name).term(name=name, prefix="") for name in TABLES}
    terms["c"] = classifier(likes_x, top_k=top_k, sign=sign, reads=reads, name="c")
    terms["d"] = classifier(ends_well, top_k=3, name="d")
    return ComposedVoice(
        Voice(parse(formula, terms)),
        lambda model: TABLES[model.source].language_model(model.source),
        max_samples=500,
        speculate=speculate,
        open_scorer=Models().scorer,
    )


def expected(formula: str, without: str, top_k: int = 2, sign: int = 1, before: str = "") -> Law:
    """The rule multiplied out: `without` is the formula without its classifiers, which ranks the tokens."""
    found: Law = defaultdict(float)
    growing = {"": 1.0}
    for position in range(LENGTH):
        grown: dict[str, float] = {}
        for text, probability in growing.items():
            tokens, scores = [LETTERS.index(letter) for letter in text], scores_along(TABLES, PROMPT, text)
            biases = []
            for end in range(position + 1):
                ranks = evaluate_text(without, scores, tokens[:end])
                judged = {
                    "c": by_hand(likes_x, sign, top_k, ranks, before + text[:end]),
                    "d": by_hand(ends_well, 1, 3, ranks, text[:end]),
                }
                biases.append(judged)
            law = [math.exp(each) for each in evaluate_text(formula, scores, tokens, biases)]
            for piece, share in zip(LETTERS, law, strict=True):
                if piece == "<end>":
                    found[text, "end"] += probability * share
                elif position + 1 == LENGTH:
                    found[text + piece, "length"] += probability * share
                else:
                    grown[text + piece] = probability * share
        growing = grown
    return dict(found)


def by_hand(judge, sign: int, top_k: int, ranks: list[float], text: str) -> list[float]:
    def log(which: str) -> float:
        (share,) = judge([which])
        return math.log(share if sign > 0 else 1 - share)

    best = sorted(range(len(LETTERS)), key=lambda token: -ranks[token])[:top_k]
    return [
        log(text + piece) - log(text) if token in best and piece != "<end>" else 0.0
        for token, piece in enumerate(LETTERS)
    ]


CASES = [
    ("a + 2 * c", "a"),
    ("a + 0.5 * (b - a) - 1.5 * c + d", "a + 0.5 * (b - a)"),
    ("a + ramp(0, 3, tokens=2) * c + b", "a + b"),
    ("a + union(c, d)", "a"),
    ("a + 0.5 * tilt(b + c)", "a"),
    ("a + 4 * posterior(b, a) + 2 * c", "a + 4 * posterior(b, a)"),
    ("a + 4 * posterior(b + c, a) + posterior(a, b)", "a + posterior(a, b)"),
]


@pytest.mark.parametrize("speculate", ["off", "a:1", "a:2"])
@pytest.mark.parametrize(("formula", "without"), CASES)
def test_the_law_is_the_rules(formula, without, speculate):
    law = law_of(outcomes(voice(formula, speculate), PROMPT, max_new_tokens=LENGTH))
    assert distance(law, expected(formula, without)) < EXACT


@pytest.mark.parametrize("top_k", [1, 2, 4, 50])
@pytest.mark.parametrize("sign", [1, -1])
def test_candidates_and_sign(top_k, sign):
    law = law_of(outcomes(voice("a + 2 * c", top_k=top_k, sign=sign), PROMPT, max_new_tokens=LENGTH))
    assert distance(law, expected("a + 2 * c", "a", top_k, sign)) < EXACT


def test_what_is_read():
    law = law_of(outcomes(voice("a + 2 * c", reads="all"), PROMPT, max_new_tokens=LENGTH))
    assert distance(law, expected("a + 2 * c", "a", before=PROMPT)) < EXACT
    assert distance(law, expected("a + 2 * c", "a")) > NOTICED


def test_a_wrong_rule_is_noticed():
    law = law_of(outcomes(voice("a + 2 * c", top_k=2), PROMPT, max_new_tokens=LENGTH))
    assert distance(law, expected("a + 2 * c", "a", top_k=3)) > NOTICED
    assert distance(law, expected("a + 1.9 * c", "a", top_k=2)) > EXACT * 100


@pytest.mark.parametrize(("formula", "without"), CASES[:3])
def test_scoring_agrees_with_generating(formula, without):
    law = expected(formula, without)
    for text in ("xyz", "yyx", "zxz"):
        assert voice(formula).score(PROMPT, text).total == pytest.approx(math.log(law[text, "length"]), abs=1e-5)
