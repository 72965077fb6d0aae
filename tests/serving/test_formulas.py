"""Formulas, terms and guidance by request: what they mean, and what is refused."""

import pytest

import lmalgebra as la
from lmalgebra import api
from serving.conftest import TOY

SMALL = la.model("toy", name="small")


@pytest.fixture(scope="module")
def voice(tmp_path_factory):
    path = tmp_path_factory.mktemp("here") / "toy.toml"
    path.write_text(TOY)
    return la.load(path)


def said(served, seed=4, **body):
    return served.post("/v1/completions", prompt="hello", seed=seed, **body)["choices"][0]["text"]


def meant(formula, voice, seed=4):
    return api.voice(formula, max_new_tokens=12).generate("hello", seed=seed).text


def test_a_formula_by_request_is_what_speaks(served, voice):
    terms = {term.name: term for term in voice.voice.terms}
    for text in ("base", "2 * base - formal", "union(base, formal)", "base + ramp(0, 1, tokens=5) * (formal - base)"):
        assert said(served, formula=text) == meant(la.parse(text, terms), voice)
    assert said(served, formula="base + short") in ('"a"', '"b"')


def test_a_weight_steers_towards_a_term(served, voice):
    base, formal = (term for term in voice.voice.terms if term.name in ("base", "formal"))
    whole = voice.formula + 0.5 * (formal - base)
    assert said(served, terms={"formal": {"weight": 0.5}}) == meant(whole, voice)


def test_a_term_of_the_request_has_a_prompt_of_its_own(served, voice):
    base = voice.plan.speakers[0]
    poet = SMALL.term(name="poet", prefix="a rose ")
    asked = {"poet": {"prefix": "a rose ", "weight": 0.7}}
    assert said(served, terms=asked) == meant(voice.formula + 0.7 * (poet - base), voice)
    by_formula = said(served, terms={"poet": {"prefix": "a rose "}}, formula="base + 2 * (poet - base)")
    assert by_formula == meant(base + 2 * (poet - base), voice)


@pytest.mark.parametrize("formula", [None, "base", "base + 0.3 * (formal - base)"])
def test_guidance_is_what_the_paper_says(served, voice, formula):
    terms = {term.name: term for term in voice.voice.terms}
    own = voice.formula if formula is None else la.parse(formula, terms)
    negative = SMALL.term(name="negative_prompt", system="rude")
    spoken = own if formula == "base" else la.power(own, 1)
    expected = meant(negative + 1.8 * (spoken - negative), voice)
    changes = {} if formula is None else {"formula": formula}
    assert said(served, guidance_scale=1.8, negative_prompt="rude", **changes) == expected
    assert said(served, guidance_scale=1, **changes) == meant(own, voice)


REFUSED = [
    ({"formula": "base + secret"}, 400, "invalid_formula", "`secret` is not a term"),
    ({"formula": "base + "}, 400, "invalid_formula", "cannot be read here"),
    ({"formula": "base - formal"}, 400, "invalid_formula", "mass"),
    ({"formula": "__import__('os').system('true')"}, 400, "invalid_formula", ""),
    ({"formula": "base" + " + base" * 100}, 400, "invalid_formula", "at most 400 are read"),
    ({"formula": "(" * 150 + "base" + ")" * 150}, 400, "invalid_formula", ""),
    ({"formula": "union(" * 60 + "base" + ")" * 60}, 400, "invalid_formula", ""),
    ({"formula": ""}, 400, "invalid_formula", ""),
    ({"terms": {"secret": {"weight": 1}}}, 400, "invalid_term", "`secret` is no term that requests may name"),
    ({"terms": {"secret": {"prefix": "x", "weight": 1}}}, 400, "invalid_term", "is a term of the voice already"),
    ({"terms": {"formal": {}}}, 400, "invalid_value", "terms.formal says nothing"),
    ({"terms": {"poet": {"system": "x"}}}, 400, "invalid_term", "has no effect: give it a weight"),
    ({"terms": {"poet": {"system": "x"}}, "formula": "base"}, 400, "invalid_value", "does not name the term `poet`"),
    ({"terms": {"formal": {"weight": 1}}, "formula": "formal"}, 400, "invalid_value", "into the formula"),
    ({"terms": {"poet": {"model": "gpt", "system": "x", "weight": 1}}}, 400, "invalid_term", "no model of this voice"),
    ({"terms": {"poet": {"system": "x", "prefix": "y", "weight": 1}}}, 400, "invalid_term", "both prefix and system"),
    ({"terms": {"po et": {"system": "x", "weight": 1}}}, 400, "invalid_formula", ""),
    ({"terms": {"poet": {"regex": "(a+)+", "weight": 1}}}, 400, "unknown_parameter", "terms.poet.regex"),
    ({"terms": {"poet": {"adapter": "/etc", "weight": 1}}}, 400, "unknown_parameter", "terms.poet.adapter"),
    ({"negative_prompt": "rude"}, 400, "invalid_value", "no effect without guidance_scale"),
    ({"guidance_scale": 1e9}, 400, "invalid_value", "guidance_scale"),
    (
        {"terms": {f"t{i}": {"system": f"{i}", "weight": 0.1} for i in range(5)}},
        400,
        "invalid_formula",
        "at most 4 are computed",
    ),
]


@pytest.mark.parametrize(("body", "status", "code", "message"), REFUSED, ids=[str(case[0])[:60] for case in REFUSED])
def test_what_cannot_be_is_refused(served, body, status, code, message):
    found, error = served.refusal("/v1/completions", {"model": "toy", "prompt": "hello"} | body)
    assert (found, error["code"]) == (status, code), error
    assert message in error["message"]


def test_scores_are_the_voices(served, voice):
    answer = served.post("/v1/score", prompt="hello", continuation=["you", "me, too"])
    for told, text in zip(answer["data"], ("you", "me, too"), strict=True):
        score = voice.score("hello", text)
        assert told["logprob"] == pytest.approx(score.total)
        assert told["token_logprobs"] == pytest.approx(list(score.logprobs))
        assert "".join(told["tokens"]) == text
    own = served.post(
        "/v1/score", messages=[{"role": "user", "content": "hello"}], continuation="you", formula="formal"
    )
    terms = {term.name: term for term in voice.voice.terms}
    assert own["data"][0]["logprob"] == pytest.approx(api.voice(terms["formal"]).score("hello", "you").total)


def test_what_cannot_be_said_has_no_number(served):
    answer = served.post("/v1/score", prompt="hello", continuation="x", formula="base + short")
    assert answer["data"][0]["logprob"] is None


@pytest.mark.parametrize(
    ("body", "code"),
    [
        ({"prompt": "hello"}, "missing_required_parameter"),
        ({"prompt": "hello", "continuation": ""}, "invalid_value"),
        ({"prompt": "hello", "messages": [{"role": "user", "content": "x"}], "continuation": "x"}, "invalid_value"),
        ({"prompt": "hello", "continuation": "x" * 6000}, "context_length_exceeded"),
        ({"prompt": "hello", "continuation": "x", "temperature": 1}, "unknown_parameter"),
        ({"prompt": "h" * 4900, "continuation": ["x"] * 3}, "invalid_prompt"),
        ({"prompt": "hello", "continuation": ["x"] * 4}, "invalid_value"),
    ],
)
def test_scores_that_are_refused(served, body, code):
    assert served.refusal("/v1/score", {"model": "toy"} | body)[1]["code"] == code
