"""Weights that follow the text: all outcomes of the real engine against the rule by hand."""

import math
from collections import defaultdict

import pytest
from outcomes import Law, distance, law_of, outcomes
from reference import evaluate

from lmalgebra.algebra import Model, Voice, classifier, parse
from lmalgebra.api import Models
from lmalgebra.decoding import ComposedVoice
from lmalgebra.models.table import TableModel

EXACT = 1e-9
NOTICED = 1e-3
PROMPT = "xyx"
LETTERS = ("x", "y", "z", "<end>")
TABLES = {name: TableModel(LETTERS, seed=seed) for seed, name in enumerate("ab", 1)}
LENGTH = 3


def likes_x(texts: list[str]) -> list[float]:
    return [(1 + text.count("x")) / (2 + len(text)) for text in texts]


def voice(formula: str, speculate: str = "off") -> ComposedVoice:
    terms = {name: Model(source=name).term(name=name, prefix="") for name in TABLES}
    terms["c"] = classifier(likes_x, name="c")
    return ComposedVoice(
        Voice(parse(formula, terms)),
        lambda model: TABLES[model.source].language_model(model.source),
        max_samples=500,
        speculate=speculate,
        open_scorer=Models().scorer,
    )


def followed(text: str) -> float:
    return likes_x([text])[0] if text else 0.5


def held(text: str, target: float, least: float = 0.0, most: float = 2.0, gain: float = 0.1) -> float:
    """The controller as its docstring says, from the start of the text each time."""
    total = 0.0
    for length in range(len(text) + 1):
        error = target - followed(text[:length])
        total = min(max(total + gain * error, least / most), 1.0)
    return min(max(most * (total + error), least), most)


def expected(formula: str, weight) -> Law:
    """`formula` holds W where the weight of the text so far stands."""
    found: Law = defaultdict(float)
    growing = {"": 1.0}
    for position in range(LENGTH):
        grown: dict[str, float] = {}
        for text, probability in growing.items():
            context = [LETTERS.index(letter) for letter in PROMPT + text]
            scores = {name: table.logprobs(context).tolist() for name, table in TABLES.items()}
            logprobs = evaluate(formula.replace("W", repr(weight(text))), scores, position)
            for piece, share in zip(LETTERS, map(math.exp, logprobs), strict=True):
                if piece == "<end>":
                    found[text, "end"] += probability * share
                elif position + 1 == LENGTH:
                    found[text + piece, "length"] += probability * share
                else:
                    grown[text + piece] = probability * share
        growing = grown
    return dict(found)


CASES = [
    ("a + follow(b - a, c)", "a + W * (b - a)", followed),
    ("a - 0.5 * follow(tilt(b), c) + 0.2 * b", "a - 0.5 * W * tilt(b) + 0.2 * b", followed),
    ("a + hold(b - a, c, target=0.9)", "a + W * (b - a)", lambda text: held(text, 0.9)),
    ("a + hold(b, c, target=0.7, gain=0.5, most=1)", "a + W * tilt(b)", lambda t: held(t, 0.7, 0, 1, 0.5)),
    ("a + hold(b - a, c, target=0.2, least=-1)", "a + W * (b - a)", lambda text: held(text, 0.2, -1)),
    ("power(a + hold(b - a, c, target=0.9), 2)", "power(a + W * (b - a), 2)", lambda text: held(text, 0.9)),
]


@pytest.mark.parametrize("speculate", ["off", "a:1", "a:2"])
@pytest.mark.parametrize(("formula", "by_hand", "weight"), CASES)
def test_the_law_is_the_rules(formula, by_hand, weight, speculate):
    law = law_of(outcomes(voice(formula, speculate), PROMPT, max_new_tokens=LENGTH))
    assert distance(law, expected(by_hand, weight)) < EXACT


def test_a_wrong_rule_is_noticed():
    law = law_of(outcomes(voice("a + hold(b - a, c, target=0.9)"), PROMPT, max_new_tokens=LENGTH))
    assert distance(law, expected("a + W * (b - a)", lambda text: held(text, 0.9, gain=0.2))) > NOTICED
    assert distance(law, expected("a + W * (b - a)", lambda text: held(text[:-1], 0.9))) > NOTICED


@pytest.mark.parametrize(("formula", "by_hand", "weight"), CASES)
def test_scoring_agrees_with_generating(formula, by_hand, weight):
    law = expected(by_hand, weight)
    for text in ("xyz", "yyx", "zxz"):
        assert voice(formula).score(PROMPT, text).total == pytest.approx(math.log(law[text, "length"]), abs=1e-9)
