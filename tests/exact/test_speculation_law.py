"""The law of whole texts under speculation: all outcomes of the real engine, summed, against the reference's product.

Tables are so small that every random decision can be taken both ways: what is drafted, whether it is kept, what is
drawn instead. Texts are long enough for several cycles of drafting and judging.
"""

import math

import pytest
import torch
from outcomes import Law, distance, expected_law, law_of, outcomes, voice_over

from lmalgebra.decoding import step
from lmalgebra.distributions import accept_probability, residual
from lmalgebra.errors import DecodingError
from lmalgebra.models.base import LanguageModel
from lmalgebra.models.table import TableModel, TableSession, TableTokenizer

EXACT = 1e-12
NOTICED = 1e-3
PROMPT = "xyxyx"
LETTERS = ("x", "y", "<end>")
MORE_LETTERS = ("x", "y", "z", "<end>")

TABLES = {name: TableModel(LETTERS, seed=seed) for seed, name in enumerate("abc", 1)}
LARGER = {name: TableModel(MORE_LETTERS, seed=seed) for seed, name in enumerate("abc", 11)}


def endless(seed: int, rows: tuple[tuple[float, float, float], ...]) -> TableModel:
    """A table of three letters that looks at the last of them and never ends."""
    of_letters = {(letter,): (*row, 0.0) for letter, row in zip(MORE_LETTERS, rows, strict=False)}
    return TableModel(MORE_LETTERS, seed=seed, order=1, rows=of_letters)


ENDLESS = {
    "a": endless(1, ((0.5, 0.25, 0.25), (0.125, 0.75, 0.125), (0.3, 0.3, 0.4))),
    "b": endless(2, ((0.1, 0.2, 0.7), (0.4, 0.4, 0.2), (0.8, 0.15, 0.05))),
    "c": endless(3, ((0.2, 0.8, 0.0), (0.0, 0.5, 0.5), (0.25, 0.0, 0.75))),
}
"""No end, so that all texts are of the same length; c makes some letters impossible."""

FORMULAS = (
    "a + b + c",
    "(a + 2 * b + c / 2) / 3",
    "2 * a - 0.5 * b - 0.25 * c",
    "a + 0.5 * b + 3 - c / 4",
    "a + 0.3 * b - 0.96 * union(c, b)",
    "a + 0.6 * (a | b) + 0.5 * (a | b | c)",
    "a + 0.5 * (a & b) - 0.5 * intersection(b, c)",
    "a + 0.8 * tilt(b) - 0.3 * tilt(b + c)",
    "a + 0.7 * union(tilt(b), -1) + 0.4 * (tilt(c) & -0.5)",
    "mix(0.5 * a, 0.3 * b, 0.2 * c)",
    "mix(a, 2 * (a + b), power(c, 0.5))",
    "power(a + b + c, 0.4)",
    "a + power(b, 2) + power(c, ramp(1, 2, tokens=3))",
    "a + 0.5 * b + within(b, top_k=2) + 2 * c",
    "a + 0.5 * b + within(b, top_p=0.7) + 2 * within(c, min_p=0.05)",
    "a + ramp(0, 1, tokens=2) * tilt(b) + decay(2, half_life=1) * tilt(c)",
    "ramp(2, 1, tokens=3) * a + ramp(0.5, 2, tokens=2) * b + ramp(1, 2, tokens=2) * (c - 0.25 * b)",
)
"""Every operator, such that a drafts, a and b judge, and all three judge again."""

FORBIDDING = (
    "a + b + c",
    "mix(a + b, 0.5 * c)",
    "union(a, b) + intersection(b, c) + a + 0.2 * c",
    "power(a + c, 0.7) + within(b, top_k=2)",
)
"""For tables with zeros: none subtracts."""

CHAINS = ("a:1", "a:2", "a:3", "a,b:1", "a,b:2", "a:1 > a,b:1", "a:1 > a,b:2", "a:2 > a,b:1")


def law(tables, formula: str, speculate: str, tokens: int, draft: str | None = None, **settings) -> Law:
    """The law of the engine's texts. Fails unless something was drafted."""
    voice = voice_over(tables, formula, speculate, draft)
    found = outcomes(voice, PROMPT, max_new_tokens=tokens, **settings)
    assert math.fsum(probability for probability, _ in found) == pytest.approx(1, abs=EXACT)
    assert speculate == "off" or len(voice.speculation.acceptance) == speculate.count(">") + 1
    return law_of(found)


BINARY = {
    "a": TableModel(LETTERS, order=1, rows={("x",): (0.5, 0.5, 0.0), ("y",): (0.9, 0.1, 0.0)}),
    "b": TableModel(LETTERS, order=1, rows={("x",): (0.2, 0.8, 0.0), ("y",): (0.6, 0.4, 0.0)}),
    "c": TableModel(LETTERS, order=1, rows={("x",): (0.7, 0.3, 0.0), ("y",): (0.1, 0.9, 0.0)}),
}
"""Two letters and no end, for longer texts."""


def error(tables, formula: str, speculate: str, tokens: int, draft: str | None = None, **settings) -> float:
    """How far the engine's law is from the formula's."""
    expected = expected_law(tables, formula, PROMPT, max_new_tokens=tokens, **settings)
    return distance(law(tables, formula, speculate, tokens, draft, **settings), expected)


@pytest.mark.parametrize("formula", FORMULAS)
def test_without_speculation_the_law_is_the_formulas(formula):
    assert error(TABLES, formula, "off", 3) < EXACT
    assert error(LARGER, formula, "off", 2) < EXACT


def formulas_and_chains() -> list:
    """Each formula under three chains, of one stage and of two, such that each chain meets six formulas at least.

    All other pairs are left to `slow`.
    """
    return [
        pytest.param(formula, chain, marks=[] if (number - place) % len(CHAINS) in (0, 3, 5) else pytest.mark.slow)
        for number, formula in enumerate(FORMULAS)
        for place, chain in enumerate(CHAINS)
    ]


@pytest.mark.parametrize(("formula", "speculate"), formulas_and_chains())
def test_the_law_of_texts_is_the_formulas(formula, speculate):
    assert error(TABLES, formula, speculate, 3) < EXACT


@pytest.mark.parametrize("speculate", ["a:1", "a:2", "a,b:3"])
def test_the_law_over_many_cycles(speculate):
    assert error(BINARY, "0.5 * a + 0.3 * b + 0.2 * c", speculate, 5) < EXACT


@pytest.mark.parametrize("speculate", ["a:3", "a:1 > a,b:2", "a:2 > a,b:3"])
@pytest.mark.parametrize("formula", ["a + b + c", "mix(a, 2 * (a + b), power(c, 0.5))", FORMULAS[13], FORMULAS[14]])
def test_the_law_of_longer_texts(formula, speculate):
    assert error(TABLES, formula, speculate, 4) < EXACT


@pytest.mark.parametrize(
    ("formula", "speculate"),
    [("0.5 * a + 0.3 * b + 0.2 * c", "a:1 > b:3"), ("mix(a, b) + 0.5 * c", "c:1 > a,b:3")],
)
def test_a_stage_that_knows_other_terms_than_the_one_before(formula, speculate):
    """The first drafts again before the last judges, and has not read what the middle one drew."""
    assert error(BINARY, formula, speculate, 3) < EXACT


@pytest.mark.parametrize("speculate", ["a:2", "a:1 > a,b:1"])
@pytest.mark.parametrize("formula", ["a + b + c", FORMULAS[4], FORMULAS[14]])
def test_the_law_over_more_letters(formula, speculate):
    assert error(LARGER, formula, speculate, 3 if speculate == "a:2" else 2) < EXACT


@pytest.mark.parametrize("speculate", ["a:1", "a:2", "c:2", "a:1 > a,c:1"])
@pytest.mark.parametrize("formula", FORBIDDING)
def test_the_law_where_some_letters_are_impossible(formula, speculate):
    assert error(ENDLESS, formula, speculate, 3) < EXACT


@pytest.mark.parametrize("speculate", ["a:2", "a:1 > a,b:1"])
@pytest.mark.parametrize(
    "settings",
    [
        {"temperature": 0.7, "top_k": 2},
        {"temperature": 1.6, "top_p": 0.7},
        {"temperature": 0.7, "min_p": 0.3},
        {"repetition_penalty": 1.8},
        {"repetition_penalty": 0.5, "temperature": 0.7},
        {"presence_penalty": 1.1},
        {"frequency_penalty": 1.3, "presence_penalty": -0.4, "temperature": 0.8},
        {"logit_bias": [[0, 1.5], [1, -100]]},
        {"min_new_tokens": 2},
        {"min_new_tokens": 1, "temperature": 1.2, "top_k": 3, "top_p": 0.95, "min_p": 0.02, "repetition_penalty": 1.3},
    ],
    ids=str,
)
def test_the_law_of_settings_is_kept(settings, speculate):
    plain, cut = (expected_law(LARGER, FORMULAS[3], PROMPT, max_new_tokens=2, **each) for each in ({}, settings))
    assert distance(plain, cut) > NOTICED
    assert error(LARGER, FORMULAS[3], speculate, 2, **settings) < EXACT
    assert error(TABLES, FORMULAS[3], speculate, 3, **settings) < EXACT


COPIES = "a - 0.4 * b"


@pytest.mark.parametrize("speculate", ["prompt:1", "prompt:2", "prompt:3", "prompt:2 > a:1", "prompt:1 > a:2"])
def test_copied_drafts_keep_the_law(speculate):
    """A copied token is a draft with one outcome."""
    assert error(TABLES, COPIES, speculate, 3) < EXACT
    assert error(TABLES, COPIES, speculate, 2, temperature=0.7, top_k=2, min_new_tokens=1) < EXACT


DRAFTS = TABLES | {"d": TableModel(LETTERS, seed=4), "e": TableModel(LETTERS, seed=5)}


@pytest.mark.parametrize("draft", ["d", "a + 0.5 * d", "mix(d, e)", "a + b + c"])
@pytest.mark.parametrize("speculate", ["draft:1", "draft:2", "draft:1 > a,b:2", "a:1 > draft:1"])
def test_any_other_formula_may_draft(draft, speculate):
    assert error(DRAFTS, "a + 0.5 * b + c", speculate, 3, draft) < EXACT


class WithoutLast(TableSession):
    """A session over all letters but the last, which it can neither say nor read."""

    def __init__(self, table):
        super().__init__(table)
        self.vocabulary_size -= 1

    def extend(self, tokens, wanted=None):
        assert all(token < self.vocabulary_size for new in tokens.values() for token in new)
        return {row: logits[:, :-1] for row, logits in super().extend(tokens, wanted).items()}


class Smaller(TableModel):
    """A table whose model has the same tokenizer and no last letter."""

    def language_model(self, source="toy"):
        return LanguageModel(source, WithoutLast(self), TableTokenizer(self))


END_FIRST = ("<end>", "x", "y", "z")
SMALLER_DRAFTS = {
    **{name: TableModel(END_FIRST, seed=seed) for seed, name in enumerate("abc", 21)},
    **{name: Smaller(END_FIRST, seed=seed) for seed, name in enumerate("de", 24)},
}


@pytest.mark.parametrize("draft", ["d", "a + 0.5 * d", "2 * d - e"])
@pytest.mark.parametrize("speculate", ["draft:1", "draft:2", "draft:1 > a:2", "a:1 > draft:1"])
def test_a_draft_of_fewer_tokens_keeps_the_law(draft, speculate):
    """As with models of one family whose vocabularies are rounded up differently."""
    assert error(SMALLER_DRAFTS, "a + 0.5 * b + c", speculate, 2, draft) < EXACT


def contrary(x: tuple[float, ...], y: tuple[float, ...], end: tuple[float, ...] = (0.2, 0.3, 0.5)) -> TableModel:
    """A table that looks at the last piece alone."""
    return TableModel(LETTERS, order=1, rows={("x",): x, ("y",): y, ("<end>",): end})


ONLY_X, ONLY_Y, ONLY_END = (1.0, 0.0, 0.0), (0.0, 1.0, 0.0), (0.0, 0.0, 1.0)


@pytest.mark.parametrize("speculate", ["draft:1", "draft:2", "draft:3", "draft:1 > a:2"])
def test_a_draft_that_has_no_token_at_some_position_drafts_any(speculate):
    tables = TABLES | {"d": contrary((0.5, 0.3, 0.2), ONLY_X), "e": contrary((0.2, 0.6, 0.2), ONLY_Y)}
    with pytest.raises(DecodingError, match="No token is possible"):
        law(tables, "d + e", "off", 3)
    assert error(tables, "a + b + c", speculate, 3, "d + e") < EXACT


@pytest.mark.parametrize("speculate", ["draft:1", "draft:2", "draft:1 > a:2"])
def test_a_draft_that_only_ends_too_early_drafts_any(speculate):
    tables = TABLES | {"d": contrary(ONLY_END, (0.5, 0.3, 0.2))}
    assert error(tables, "a + b + c", speculate, 3, "d", min_new_tokens=2) < EXACT
    assert error(tables, "a + b + c", speculate, 3, "d") < EXACT


UNSAID = {
    "a": contrary((0.5, 0.3, 0.2), ONLY_X, ONLY_X),
    "b": contrary((0.4, 0.4, 0.2), ONLY_Y, ONLY_Y),
    "c": contrary((0.7, 0.0, 0.3), (0.2, 0.3, 0.5)),
}
"""After y or the end, a and b leave no token: c never lets y be said, but a and b draft it."""


@pytest.mark.parametrize("speculate", ["off", "a:1", "a:2", "a,b:2", "a:1 > a,b:2"])
def test_what_is_never_said_needs_no_next_token(speculate):
    assert error(UNSAID, "a + b + c", speculate, 3) < EXACT


@pytest.mark.parametrize("speculate", ["a:1", "a:2", "a:1 > a,b:1"])
def test_what_is_never_said_may_only_leave_the_end(speculate):
    """Before min_new_tokens: after y there is only the end, but no y is said."""
    tables = UNSAID | {name: contrary((0.5, 0.3, 0.2), ONLY_END) for name in ("a", "b")}
    assert error(tables, "a + b + c", speculate, 3, min_new_tokens=3) < EXACT


def test_every_outcome_tells_its_texts_probability():
    """`Sample.logprobs` are the formula's, whoever drafted."""
    expected = expected_law(TABLES, FORMULAS[4], PROMPT, max_new_tokens=3)
    found = outcomes(voice_over(TABLES, FORMULAS[4], "a:1 > a,b:1"), PROMPT, max_new_tokens=3)
    for _, each in found:
        assert sum(each.logprobs) == pytest.approx(math.log(expected[each.text, each.finish_reason]), abs=EXACT)


def always(target: torch.Tensor, draft: torch.Tensor, tokens: torch.Tensor) -> torch.Tensor:
    return torch.ones(len(tokens), dtype=torch.float64)


def the_wrong_way_round(target: torch.Tensor, draft: torch.Tensor, tokens: torch.Tensor) -> torch.Tensor:
    return accept_probability(draft, target, tokens)


def the_target_itself(target: torch.Tensor, draft: torch.Tensor) -> torch.Tensor:
    return target


def what_the_draft_has_too_much(target: torch.Tensor, draft: torch.Tensor) -> torch.Tensor:
    return residual(draft, target)


@pytest.mark.parametrize("speculate", ["a:1", "a:2", "a:1 > a,b:1"])
@pytest.mark.parametrize("formula", [FORMULAS[0], FORMULAS[3], FORMULAS[9], FORMULAS[15]])
@pytest.mark.parametrize("wrong", [always, the_wrong_way_round, the_target_itself, what_the_draft_has_too_much])
def test_a_wrong_rule_is_noticed(wrong, formula, speculate, monkeypatch):
    patched = "accept_probability" if wrong in (always, the_wrong_way_round) else "residual"
    monkeypatch.setattr(step, patched, wrong)
    assert error(TABLES, formula, speculate, 2) > NOTICED


@pytest.mark.parametrize("speculate", ["a:1", "a:2"])
def test_a_slightly_wrong_rule_is_noticed(speculate, monkeypatch):
    monkeypatch.setattr(step, "accept_probability", lambda *laws: accept_probability(*laws) ** 1.0001)
    assert error(TABLES, FORMULAS[0], speculate, 3) > 1e6 * EXACT
