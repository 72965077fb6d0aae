"""The interpreter of formulas against `reference.py`, in float64 over exact toy models."""

import math

import pytest
import torch
from random_formulas import RandomFormula
from reference import FORBIDDEN, NoTokenLeft, evaluate

from lmalgebra.algebra import Term, parse
from lmalgebra.decoding.plan import Plan
from lmalgebra.errors import DecodingError
from lmalgebra.models.table import TableModel

POSITIONS = (0, 1, 2, 7, 60)
TERMS = ("a", "b", "c")

OPERATORS = (
    "a",
    "2 * a",
    "a + b",
    "a + 0.6 * (b - a)",
    "2 * a - b",
    "(a + b + c) / 3",
    "a + 0.5",
    "0.25 - (-a)",
    "union(a, b)",
    "a | b | c",
    "intersection(a, b)",
    "a & b & c",
    "a - 0.96 * union(b, a)",
    "a - 0.5 * (a & b)",
    "union(a + b, 2 * c)",
    "a + 0.8 * tilt(b)",
    "a - 0.8 * tilt(b + c)",
    "a + tilt(union(b, c))",
    "a + 0.5 * union(tilt(b), tilt(c), -3)",
    "a + probability(b)",
    "a - 8 * probability(b + c)",
    "a + union(-3, intersection(0, 20 * (probability(a) - probability(b)), 20 * (probability(a) - probability(c))))",
    "a + ramp(0, 5, tokens=4) * probability(mix(b, c))",
    "mix(a)",
    "mix(0.3 * a, 0.7 * b)",
    "mix(2 * a, b, 0 * c)",
    "mix(0.5 * (a + b), 0.5 * (2 * a - c))",
    "power(a, 2)",
    "power(a, 1 / 0.7)",
    "power(a + b, 0.25)",
    "power(a - 0.5 * b, ramp(1, 2, tokens=10))",
    "a + within(b, top_k=5)",
    "a + within(b, top_k=1000)",
    "a + within(b, top_p=0.7)",
    "a + within(b, top_p=1)",
    "a + within(b, min_p=0.1)",
    "a + within(b, min_p=0)",
    "a + within(b, top_k=12, top_p=0.8, min_p=0.02)",
    "a + 3 * within(a - 0.5 * b, top_k=4) + 2 * within(c, top_k=40)",
    "2 * a - b + within(a, min_p=0.1)",
    "a + ramp(0, 1, tokens=5) * (b - a)",
    "a + decay(2, half_life=3) * tilt(c)",
    "ramp(1, 0.25, tokens=4) * a + (1 - ramp(1, 0.25, tokens=4)) * b",
    "a + ramp(0, 1, tokens=4) * decay(1, half_life=2) * (b - c)",
    "a + ramp(-1, 3, tokens=6)",
)


@pytest.fixture(scope="module")
def dense():
    """Log-probabilities of three toys, `[positions, vocabulary]`: the same terms after five texts of their own."""
    return {name: _scores(TableModel(seed=seed)) for seed, name in enumerate(TERMS)}


@pytest.fixture(scope="module")
def sparse():
    """Three toys that give some tokens the probability 0."""
    return {name: _scores(_with_zeros(seed)) for seed, name in enumerate(TERMS)}


def _scores(table: TableModel) -> torch.Tensor:
    return torch.stack([table.logprobs([position]) for position in range(len(POSITIONS))])


def _with_zeros(seed: int) -> TableModel:
    """A toy in which every token of the same rest modulo 5 as `seed` has probability 0."""
    whole, rows = TableModel(seed=seed), {}
    for position in range(len(POSITIONS)):
        kept = [p if token % 5 != seed else 0.0 for token, p in enumerate(whole.logprobs([position]).exp().tolist())]
        rows[(whole.pieces[position],)] = tuple(p / math.fsum(kept) for p in kept)
    return TableModel(seed=seed, rows=rows)


def disagreement(text: str, scores: dict[str, torch.Tensor]) -> float:
    """The largest difference to the reference, relative to the largest log-probability; inf for another support."""
    found, expected = _plan_logprobs(text, scores), _reference_logprobs(text, scores)
    if found is None or expected is None:
        return 0.0 if found is expected else math.inf
    return max(_largest_difference(one, two) for one, two in zip(found.tolist(), expected, strict=True))


def _reference_logprobs(text: str, scores: dict[str, torch.Tensor]) -> list[list[float]] | None:
    try:
        return [
            evaluate(text, {name: score[row].tolist() for name, score in scores.items()}, position)
            for row, position in enumerate(POSITIONS)
        ]
    except NoTokenLeft:
        return None


def _plan_logprobs(text: str, scores: dict[str, torch.Tensor]) -> torch.Tensor | None:
    plan = Plan(parse(text))
    try:
        found = plan.logprobs({Term(name): score for name, score in scores.items()}, POSITIONS)
    except DecodingError:
        return None
    assert found.dtype == torch.float64
    return found


def _largest_difference(found: list[float], expected: list[float]) -> float:
    if [x == FORBIDDEN for x in found] != [x == FORBIDDEN for x in expected]:
        return math.inf
    finite = [(x, y) for x, y in zip(found, expected, strict=True) if y != FORBIDDEN]
    return max(abs(x - y) for x, y in finite) / max(1.0, *(abs(y) for _, y in finite))


@pytest.mark.parametrize("text", OPERATORS)
def test_each_operator_means_what_the_table_of_the_algebra_says(text, dense):
    assert disagreement(text, dense) < 1e-12


@pytest.mark.parametrize("seed", range(200))
def test_random_formulas_mean_what_the_reference_says(seed, dense):
    assert disagreement(RandomFormula(seed).text(), dense) < 1e-12


@pytest.mark.parametrize("text", [text for text in OPERATORS if "-" not in text])
def test_each_operator_keeps_tokens_of_probability_0_out(text, sparse):
    assert disagreement(text, sparse) < 1e-12


@pytest.mark.parametrize("seed", range(100))
def test_random_formulas_keep_tokens_of_probability_0_out(seed, sparse):
    assert disagreement(RandomFormula(seed, sparse=True).text(), sparse) < 1e-12


def test_the_random_formulas_use_every_operator():
    together = " ".join(RandomFormula(seed).text() for seed in range(200))
    words = (
        "union(",
        "intersection(",
        "|",
        "&",
        "tilt(",
        "probability(",
        "mix(",
        "power(",
        "within(",
        "ramp(",
        "decay(",
    )
    for word in (*words, "/ 2"):
        assert word in together


def test_most_random_formulas_leave_some_token(dense):
    assert sum(_plan_logprobs(RandomFormula(seed).text(), dense) is not None for seed in range(200)) > 150


def test_a_wrong_meaning_would_be_noticed(dense):
    found = _plan_logprobs("a + 0.6 * tilt(b)", dense)
    terms = {name: score[0].tolist() for name, score in dense.items()}
    assert _largest_difference(found[0].tolist(), evaluate("a + 0.6 * b", terms, 0)) > 1e-3


def test_a_distribution_sums_to_1(dense):
    found = _plan_logprobs("a + 0.6 * (b - a)", dense)
    torch.testing.assert_close(found.exp().sum(-1), torch.ones(len(POSITIONS), dtype=torch.float64))


def test_terms_whose_weight_cancels_are_not_asked_for():
    assert Plan(parse("a + 0 * b + (c - c)")).leaves == (Term("a"),)


def test_what_forbids_every_token_is_named(dense):
    text = "a + within(a, top_k=1) + within(b, top_k=1)"
    with pytest.raises(DecodingError) as refusal:
        Plan(parse(text)).logprobs({Term(name): score for name, score in dense.items()}, POSITIONS)
    assert str(refusal.value) == (
        "No token is possible: `within(b, top_k=1)` forbids every token that is left, after `within(a, top_k=1)`. "
        "Loosen it, or remove it from the formula."
    )


@pytest.mark.parametrize("around", ["tilt({})", "mix(0.5 * a, 0.5 * ({}))", "power({}, 2)", "within({}, top_k=3)"])
def test_a_part_that_leaves_no_token_is_named_wherever_it_is_normalised(around, dense):
    nothing = "c + within(a, top_k=1) + within(b, top_k=1)"
    with pytest.raises(DecodingError, match=r"`within\(b, top_k=1\)` forbids every token that is left, after `within"):
        Plan(parse(f"a + {around.format(nothing)}")).logprobs(
            {Term(name): score for name, score in dense.items()}, POSITIONS
        )


def test_a_term_that_is_subtracted_and_gives_a_token_probability_0_is_named(dense, sparse):
    scores = {Term("a"): dense["a"], Term("b"): sparse["b"]}
    with pytest.raises(DecodingError) as refusal:
        Plan(parse("2 * a - b")).logprobs(scores, POSITIONS)
    assert str(refusal.value) == (
        "The term `b` gives some token the probability 0 and is subtracted, which would make that token infinitely "
        "likely. Subtract a mixture instead, such as mix(0.99 * it, 0.01 * base)."
    )


def test_a_term_whose_scores_are_not_numbers_is_named(dense):
    broken = dense["b"].clone()
    broken[3, 5] = math.nan
    with pytest.raises(DecodingError, match=r"The term `b` gave scores that are not numbers. Check its weights."):
        Plan(parse("a + 0.5 * b")).logprobs({Term("a"): dense["a"], Term("b"): broken}, POSITIONS)
