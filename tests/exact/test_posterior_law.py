"""`posterior`, which judges the whole text: all outcomes of the real engine against the reference, with and without
speculation, where what a draft has shown must be forgotten with it."""

import math

import pytest
from outcomes import distance, expected_law, law_of, outcomes, voice_over

from lmalgebra.decoding.evidence import Evidence
from lmalgebra.models.table import TableModel

EXACT = 1e-12
NOTICED = 1e-3
PROMPT = "xyxyx"
LETTERS = ("x", "y", "<end>")
LENGTH = 4
TABLES = {name: TableModel(LETTERS, seed=seed) for seed, name in enumerate("abcd", 1)}

FORMULAS = (
    "a + 3 * posterior(b, c)",
    "a + 4 * posterior(b, c, scale=3, prior=0.2)",
    "a + 2 * posterior(b, mix(a, c), length_power=0)",
    "2 * a + b - 1.5 * posterior(b, c, length_power=0.5)",
    "a + posterior(b, c) + 2 * posterior(b, c, scale=3) - posterior(c, b)",
    "a + 5 * posterior(a + posterior(b, c, scale=2), c)",
    "a + 3 * posterior(ramp(1, 3, tokens=2) * b, c) + ramp(0, 2, tokens=3) * posterior(c, b + c)",
    "mix(a, c + 3 * posterior(c, b))",
    "a + union(b, c + 2 * posterior(a, b))",
    "a + 2 * posterior(b + within(b, top_k=2), c)",
    "a + 2 * posterior(b, c + within(c, top_k=1))",
    "a + 2 * posterior(b + within(b, top_k=2), c + within(c, top_k=2), length_power=0)",
)
CHAINS = ("a:1", "a:3", "a,b:2", "a:1 > a,b:2", "b,c:2", "b,c:1 > a:2", "prompt:2")


def error(tables, formula: str, speculate: str, tokens: int = LENGTH, draft: str | None = None, **settings) -> float:
    """How far the engine's law is from the reference's."""
    voice = voice_over(tables, formula, speculate, draft)
    law = law_of(outcomes(voice, PROMPT, max_new_tokens=tokens, **settings))
    return distance(law, expected_law(tables, formula, PROMPT, max_new_tokens=tokens, **settings))


@pytest.mark.parametrize("formula", FORMULAS)
def test_the_law_is_the_references(formula):
    assert error(TABLES, formula, "off") < EXACT


SPEAKS = [(formula, chain) for formula in FORMULAS for chain in CHAINS if formula[:3] == "mix" or "b,c" not in chain]
"""Parts over b and c alone have a distribution only in a mixture."""


@pytest.mark.parametrize(("formula", "speculate"), SPEAKS)
def test_speculation_keeps_it(formula, speculate):
    assert error(TABLES, formula, speculate, 3) < EXACT


@pytest.mark.parametrize("speculate", ["a:2", "a:1 > a,b:2"])
def test_speculation_keeps_it_over_longer_texts(speculate):
    assert error(TABLES, FORMULAS[0], speculate) < EXACT


def test_what_drafts_have_shown_must_be_forgotten(monkeypatch):
    monkeypatch.setattr(Evidence, "_forget_after", lambda self, tokens: setattr(self, "tokens", tokens))
    assert error(TABLES, FORMULAS[0], "off") < EXACT
    assert error(TABLES, FORMULAS[0], "a:2") > NOTICED


@pytest.mark.parametrize(
    "draft", ["d + posterior(b, c)", "d + 2 * posterior(d, a, length_power=0)", "a + posterior(d, c)"]
)
@pytest.mark.parametrize("speculate", ["draft:1", "draft:2", "draft:1 > a:2", "a:1 > draft:2"])
def test_a_draft_may_judge_what_the_formula_does_not(draft, speculate):
    """It has not seen all tokens: any law may draft."""
    assert error(TABLES, "a + 2 * posterior(b, c)", speculate, 3, draft) < EXACT
    assert error(TABLES, "a + b", speculate, 3, draft) < EXACT


def endless(seed: int, *rows: tuple[float, float, float]) -> TableModel:
    """A table of three letters that looks at the last of them and never ends."""
    pieces = ("x", "y", "z", "<end>")
    return TableModel(
        pieces, seed=seed, order=1, rows={(p,): (*row, 0.0) for p, row in zip(pieces, rows, strict=False)}
    )


ZEROS = {
    "a": endless(1, (0.5, 0.25, 0.25), (0.125, 0.75, 0.125), (0.3, 0.3, 0.4)),
    "b": endless(2, (0.0, 0.3, 0.7), (0.4, 0.6, 0.0), (0.8, 0.15, 0.05)),
    "c": endless(3, (0.0, 1.0, 0.0), (0.0, 0.5, 0.5), (0.25, 0.0, 0.75)),
}
"""Some letters are impossible to b, to c, or to both."""


@pytest.mark.parametrize("speculate", ["off", "a:1", "a:2", "a,b:1"])
@pytest.mark.parametrize(
    "formula",
    [
        "a + 2 * posterior(b, c)",
        "a + posterior(c, b, length_power=0)",
        "a + b + 2 * posterior(b, c, scale=3)",
        "a + union(-3, 2 * posterior(b, c))",
        "a + mix(c, a) + union(-1, posterior(c, b, length_power=0))",
    ],
)
def test_what_is_impossible_to_one_or_both(formula, speculate):
    assert error(ZEROS, formula, speculate, 3) < EXACT


def looks_back_once(x: tuple[float, ...], y: tuple[float, ...]) -> TableModel:
    return TableModel(LETTERS, order=1, rows={("x",): x, ("y",): y})


@pytest.mark.parametrize("speculate", ["off", "a:1", "a:2", "a,b:2"])
def test_what_is_never_said_needs_no_evidence(speculate):
    """After y, desired has no token: c never lets y be said, but a and b draft it."""
    tables = {
        "a": looks_back_once((0.5, 0.3, 0.2), (1.0, 0.0, 0.0)),
        "b": looks_back_once((0.4, 0.4, 0.2), (0.0, 1.0, 0.0)),
        "c": looks_back_once((0.7, 0.0, 0.3), (0.2, 0.3, 0.5)),
    }
    assert error(tables, "a + c + 2 * posterior(a + b, b)", speculate, 3) < EXACT


@pytest.mark.parametrize("settings", [{"temperature": 0.6, "top_k": 2}, {"repetition_penalty": 1.7}], ids=str)
def test_settings_cut_the_same_law(settings):
    assert error(TABLES, FORMULAS[1], "a:2", 3, **settings) < EXACT


@pytest.mark.parametrize("formula", FORMULAS)
def test_scoring_agrees_with_generating(formula):
    law = expected_law(TABLES, formula, PROMPT, max_new_tokens=LENGTH)
    for text in ("xyxx", "yyxy", "xxyy"):
        if (text, "length") in law and law[text, "length"] > 0:
            found = voice_over(TABLES, formula, "off").score(PROMPT, text).total
            assert found == pytest.approx(math.log(law[text, "length"]), abs=1e-9)


def test_texts_longer_than_a_block_are_scored_alike():
    law = voice_over(TABLES, FORMULAS[1], "off")
    text = "xyyx" * 40
    sample = law.score(PROMPT, text)
    for length in (1, 64, 65, 66, 129):
        assert law.score(PROMPT, text[:length]).logprobs == pytest.approx(sample.logprobs[:length], abs=1e-9)


@pytest.mark.parametrize(
    "wrong",
    [
        "a + 3 * (tilt(b) - tilt(mix(b, c)))",
        "a + 3 * posterior(b, c, length_power=0)",
        "a + 3 * posterior(b, c, scale=1.1)",
        "a + 3 * posterior(b, c, prior=0.4)",
    ],
)
def test_another_rule_is_another_law(wrong):
    laws = [expected_law(TABLES, formula, PROMPT, max_new_tokens=3) for formula in (FORMULAS[0], wrong)]
    assert distance(*laws) > NOTICED
