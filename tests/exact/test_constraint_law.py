"""The law of texts under formulas with constraints: all outcomes of the real engine against the rule by hand.

By hand a token is allowed if some text begins with what there is then, by trying all ways to go on.
"""

import math
import re
from collections import defaultdict
from collections.abc import Callable
from functools import cache
from itertools import product

import pytest
from outcomes import Law, distance, law_of, outcomes
from reference import FORBIDDEN, NoTokenLeft, evaluate

from lmalgebra.algebra import Model, Term, Voice, forbid, grammar, json_schema, parse, regex, require
from lmalgebra.api import Models
from lmalgebra.decoding import ComposedVoice
from lmalgebra.errors import DecodingError
from lmalgebra.models.table import TableModel

EXACT = 1e-12
NOTICED = 1e-3
PROMPT = "yx1y"
LETTERS = ("x", "y", "1", " ", "xy", "<end>")
TABLES = {name: TableModel(LETTERS, seed=seed) for seed, name in enumerate("ab", 1)}
LENGTH = 3

Fits = Callable[[str], bool]
"""Whether a whole text is one that is allowed."""


def voice(formula: str, constraints: dict[str, Term], speculate: str = "off") -> ComposedVoice:
    terms = {name: Model(source=name).term(name=name, prefix="") for name in TABLES} | constraints
    return ComposedVoice(
        Voice(parse(formula, terms)),
        lambda model: TABLES[model.source].language_model(model.source),
        max_samples=500,
        speculate=speculate,
        open_scorer=Models().scorer,
    )


def expected(formula: str, fits: dict[str, Fits], length: int = LENGTH, most_more: int | None = None) -> Law:
    """The rule multiplied out: a token is allowed if `most_more` tokens can make a text of it that fits; unless it is
    given, as many as there is room for.
    """
    found: Law = defaultdict(float)
    growing = {"": 1.0}
    for position in range(length):
        grown: dict[str, float] = defaultdict(float)
        for text, probability in growing.items():
            context = _tokens(PROMPT) + _tokens(text)
            scores = {name: table.logprobs(context).tolist() for name, table in TABLES.items()}
            left = length - position - 1 if most_more is None else most_more
            biases = {name: by_hand(each, text, left) for name, each in fits.items()}
            law = [math.exp(each) for each in evaluate(formula, scores, position, biases)]
            for piece, share in zip(LETTERS, law, strict=True):
                if share == 0:
                    continue
                if piece == "<end>":
                    found[text, "end"] += probability * share
                elif position + 1 == length:
                    found[text + "|" + piece, "length"] += probability * share
                else:
                    grown[text + "|" + piece] += probability * share
        growing = dict(grown)
    return {(text.replace("|", ""), reason): share for (text, reason), share in _joined(found).items()}


def _tokens(marked: str) -> list[int]:
    """The prompt, letter by letter, or a text whose tokens follow a bar each."""
    return [LETTERS.index(each) for each in (marked.split("|")[1:] if "|" in marked else marked)]


def _joined(found: Law) -> Law:
    joined: Law = defaultdict(float)
    for (text, reason), share in found.items():
        joined[text.replace("|", ""), reason] += share
    return joined


def by_hand(fits: Fits, marked: str, left: int) -> list[float]:
    text = marked.replace("|", "")
    return [
        0.0 if (fits(text) if piece == "<end>" else _can_become(fits, text + piece, left)) else FORBIDDEN
        for piece in LETTERS
    ]


@cache
def _can_become(fits: Fits, text: str, left: int) -> bool:
    return any(fits(text + "".join(more)) for count in range(left + 1) for more in product(LETTERS[:-1], repeat=count))


def says(pattern: str) -> Fits:
    return lambda text: re.fullmatch(pattern, text) is not None


def lacks(*phrases: str) -> Fits:
    written = "|".join(re.sub(" ", r"\\W+", phrase) for phrase in phrases)
    return lambda text: re.search(rf"\b({written})\b", text) is None


def has(*words: str) -> Fits:
    return lambda text: all(re.search(rf"\b{word}\b", text) for word in words)


def in_order(*words: str) -> Fits:
    return lambda text: re.search(".*".join(rf"\b{word}\b" for word in words), text) is not None


LANGUAGES = [
    (regex("(xy|y)*1?", name="c"), says("(xy|y)*1?")),
    (regex("x{2}|y x| 1", name="c"), says("x{2}|y x| 1")),
    (grammar('start: pair pair?\npair: "x" "1" | "y"', name="c"), says("(x1|y){1,2}")),
    (json_schema({"enum": [1, 11]}, name="c"), says("1|11")),
]
PHRASES = [
    (forbid(["x"], exact=True, name="c"), lacks("x")),
    (forbid(["xy", "1 x", "yy"], exact=True, name="c"), lacks("xy", "1 x", "yy")),
    (forbid(["X 1", "y"], exact=True, name="c"), lacks("x 1", "y")),
    (require(["x"], name="c", inflections=False), has("x")),
    (require(["Y1"], name="c", inflections=False), has("y1")),
    (require(["x", "1"], name="c", inflections=False), has("x", "1")),
    (require(["xy", "y"], name="c", inflections=False), has("xy", "y")),
    (require(["y", "x"], name="c", ordered=True, inflections=False), in_order("y", "x")),
]
STEERED, NESTED = "a + 0.5 * (b - a) + 2 * c", "power(a + c, 0.5) + 0.3 * tilt(b + c)"
WAYS = [("a + c", "off"), ("a + c", "prompt:2"), (STEERED, "a:1"), (STEERED, "a:2"), (NESTED, "off"), (NESTED, "a:1")]


@pytest.mark.parametrize(("formula", "speculate"), WAYS)
@pytest.mark.parametrize(("term", "fits"), LANGUAGES, ids=lambda each: str(getattr(each, "description", "")))
def test_the_law_of_a_language_is_the_formulas_over_its_beginnings(formula, term, fits, speculate):
    law = law_of(outcomes(voice(formula, {"c": term}, speculate), PROMPT, max_new_tokens=LENGTH))
    assert distance(law, expected(formula, {"c": fits}, most_more=3)) < EXACT


@pytest.mark.parametrize(("formula", "speculate"), WAYS)
@pytest.mark.parametrize(("term", "fits"), PHRASES, ids=lambda each: str(getattr(each, "description", "")))
def test_the_law_of_phrases_is_the_formulas_over_what_can_still_fit(formula, term, fits, speculate):
    law = law_of(outcomes(voice(formula, {"c": term}, speculate), PROMPT, max_new_tokens=LENGTH))
    assert distance(law, expected(formula, {"c": fits})) < EXACT
    assert all(fits(text) for text, _ in law)


@pytest.mark.parametrize(("term", "fits"), [PHRASES[2], PHRASES[3]], ids=["forbid", "require"])
def test_two_stages_of_drafts(term, fits):
    law = law_of(outcomes(voice(STEERED, {"c": term}, "prompt:1 > a:2"), PROMPT, max_new_tokens=2))
    assert distance(law, expected(STEERED, {"c": fits}, length=2)) < EXACT


def test_longer_texts():
    term, fits = PHRASES[5]
    law = law_of(outcomes(voice("a + c", {"c": term}), PROMPT, max_new_tokens=4))
    assert distance(law, expected("a + c", {"c": fits}, length=4)) < EXACT


@pytest.mark.parametrize(("formula", "speculate"), WAYS)
def test_the_law_where_no_token_may_end_with_a_phrase(formula, speculate):
    """As if every token were followed by the end."""
    law = law_of(
        outcomes(voice(formula, {"c": forbid(["1 x", "y"], name="c")}, speculate), PROMPT, max_new_tokens=LENGTH)
    )
    assert distance(law, expected(formula, {"c": lacks("1 x", "y")}, most_more=0)) < EXACT


def test_one_of_two_languages():
    """A text that has left one of them stays in the other."""
    (c, fits_c), (d, fits_d) = (LANGUAGES[i] for i in (0, 1))
    d = regex(d.description.pattern, name="d")
    for speculate in ("off", "a:2"):
        law = law_of(outcomes(voice("a + union(c, d)", {"c": c, "d": d}, speculate), PROMPT, max_new_tokens=LENGTH))
        either = expected("a + union(c, d)", {"c": fits_c, "d": fits_d}, most_more=3)
        assert distance(law, either) < EXACT
        assert any(not fits_c(text) for text, reason in law if reason == "end")


def test_two_constraints_together():
    terms = {"c": forbid(["x"], name="c"), "d": regex("[xy 1]*1", name="d")}
    law = law_of(outcomes(voice("a + c + d", terms, "a:2"), PROMPT, max_new_tokens=LENGTH))
    assert {lacks("x")(text) and (reason == "length" or text.endswith("1")) for text, reason in law} == {True}


def test_a_wrong_rule_is_noticed():
    law = law_of(outcomes(voice("a + c", {"c": PHRASES[0][0]}), PROMPT, max_new_tokens=LENGTH))
    assert distance(law, expected("a + c", {"c": lacks("y")})) > NOTICED
    assert distance(law, expected("a + c", {"c": PHRASES[0][1]}, most_more=3)) > NOTICED


def test_scoring_agrees_with_generating():
    for term in (regex("[xy]*1", name="c"), forbid(["x"], name="c"), require(["y"], name="c", inflections=False)):
        speaker = voice("a + 0.5 * (b - a) + c", {"c": term})
        for sample in speaker.generate(PROMPT, max_new_tokens=LENGTH, samples=20).samples:
            if len(sample.text) == LENGTH and "xy" not in sample.text:
                logprobs = Voice(speaker.formula, speaker.settings.replace(max_new_tokens=LENGTH))
                again = ComposedVoice(logprobs, speaker._open_model, open_scorer=Models().scorer)
                assert again.score(PROMPT, sample.text).logprobs == pytest.approx(sample.logprobs, abs=1e-9)


def test_a_text_that_is_not_allowed_has_no_probability():
    speaker = voice("a + c", {"c": regex("y1*", name="c")})
    assert speaker.score(PROMPT, "y1").total > -math.inf
    assert speaker.score(PROMPT, "yx1" * 40).total == -math.inf


def test_what_leaves_no_token_names_the_constraint():
    with pytest.raises(DecodingError, match=r"No token is possible: `c` forbids every token that is left"):
        voice("a + c", {"c": regex("z", name="c")}).generate(PROMPT)
    with pytest.raises(NoTokenLeft):
        expected("a + c", {"c": says("z")}, most_more=3)
