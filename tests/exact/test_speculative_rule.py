"""The law of a token that is drafted by a part of a formula and judged by larger parts, summed exactly.

One step, by the pure functions alone: whatever the parts, the token must have the law of the whole formula.
"""

import itertools
from collections.abc import Callable

import pytest
import torch
from random_formulas import RandomFormula
from test_interpreter import OPERATORS

from lmalgebra.algebra import Term, parse, partial
from lmalgebra.decoding.plan import Plan
from lmalgebra.distributions import Truncation, accept_probability, residual
from lmalgebra.models.table import TableModel

POSITIONS = (0, 3, 60)
TERMS = tuple(Term(name) for name in "abc")
EXACT = 1e-12
NOTICED = 1e-2

STAGED = (
    "a + b + c",
    "0.5 * a + 0.3 * b + 0.2 * c",
    "2 * a - 0.5 * b - 0.25 * c",
    "a + b + 3 + c",
    "a + 0.5 * b - 0.96 * union(c, b)",
    "a + 0.3 * (a | b) + 0.2 * (a | b | c)",
    "a + 0.5 * (a & b) - 0.5 * intersection(b, c)",
    "a + 0.8 * tilt(b) - 0.3 * tilt(b + c)",
    "mix(0.5 * a, 0.3 * b, 0.2 * c)",
    "mix(a, 2 * (a + b), power(c, 0.5))",
    "power(a + b + c, 0.4)",
    "a + power(b, 2) + power(c, ramp(1, 2, tokens=10))",
    "a + 0.5 * b + within(b, top_k=30) + 2 * within(c, top_p=0.95)",
    "a + 0.5 * b + within(a, min_p=0.05) + 0.5 * c",
    "a + ramp(0, 1, tokens=5) * tilt(b) + decay(2, half_life=3) * tilt(c)",
    "ramp(2, 1, tokens=5) * a + ramp(0.5, 2, tokens=4) * b + ramp(1, 2, tokens=4) * (c - 0.25 * b)",
)
"""Every operator, such that a drafts, a and b judge, and all three judge again, each with a law of its own."""

Rule = Callable[[torch.Tensor, torch.Tensor, torch.Tensor], torch.Tensor]


def by_the_rule(law: torch.Tensor, target: torch.Tensor, draft: torch.Tensor) -> torch.Tensor:
    """The law of a token after it is judged, `law` being its law before: probabilities, the others logs."""
    return redrawn(law, accepted(target, draft), residual(target[None], draft[None])[0])


def redrawing_from_the_target(law: torch.Tensor, target: torch.Tensor, draft: torch.Tensor) -> torch.Tensor:
    return redrawn(law, accepted(target, draft), target)


def accepting_the_wrong_way_round(law: torch.Tensor, target: torch.Tensor, draft: torch.Tensor) -> torch.Tensor:
    return redrawn(law, accepted(draft, target), residual(target[None], draft[None])[0])


def accepting_by_the_target_alone(law: torch.Tensor, target: torch.Tensor, draft: torch.Tensor) -> torch.Tensor:
    return redrawn(law, target.exp(), residual(target[None], draft[None])[0])


def accepted(target: torch.Tensor, draft: torch.Tensor) -> torch.Tensor:
    """The probability of keeping each token, `[vocabulary]`."""
    tokens = torch.arange(len(target))
    return accept_probability(target.expand(len(tokens), -1), draft.expand(len(tokens), -1), tokens)


def redrawn(law: torch.Tensor, accept: torch.Tensor, other: torch.Tensor) -> torch.Tensor:
    """Every token that may be drafted, kept or redrawn from `other`."""
    refused = law * (1 - accept)
    return law * accept + refused.sum() * other.exp()


def judged(stages: list[torch.Tensor], rule: Rule = by_the_rule) -> torch.Tensor:
    """The law of the token that the first stage drafts and each other one judges, `[vocabulary]`."""
    law = stages[0].exp()
    for draft, target in itertools.pairwise(stages):
        law = rule(law, target, draft)
    return law


def distance(stages: list[torch.Tensor], rule: Rule = by_the_rule) -> float:
    """The largest error of any token's probability, over all positions; a stage is `[positions, vocabulary]`."""
    rows = zip(*stages, strict=True)
    return max((judged(list(row), rule) - row[-1].exp()).abs().max().item() for row in rows)


@pytest.fixture(scope="module")
def dense():
    """Each term's log-probabilities on the toys, `[positions, vocabulary]`."""
    tables = [TableModel(seed=seed) for seed in range(len(TERMS))]
    return {
        term: torch.stack([table.logprobs([token]) for token in range(len(POSITIONS))])
        for term, table in zip(TERMS, tables, strict=True)
    }


@pytest.fixture(scope="module")
def sparse(dense):
    """The same with a fifth of the tokens impossible for each term, another fifth for each."""
    numbers = torch.arange(len(TableModel().pieces))
    return {
        term: score.masked_fill(numbers % 5 == rest, -torch.inf).log_softmax(-1)
        for rest, (term, score) in enumerate(dense.items())
    }


def stages_of(text: str, chain: list[tuple[Term, ...]], scores: dict[Term, torch.Tensor]) -> list[torch.Tensor] | None:
    """The laws of a formula's parts over the terms of each link, then the whole's; None where a part says nothing."""
    formula = parse(text)
    parts = [partial(formula, known) for known in chain]
    if None in parts:
        return None
    return [Plan(part).logprobs(scores, POSITIONS) for part in (*parts, formula)]


def pairs() -> list[list[tuple[Term, ...]]]:
    """Two stages: some of the terms, then the whole."""
    return [[known] for size in (1, 2, 3) for known in itertools.combinations(TERMS, size)]


def triples() -> list[list[tuple[Term, ...]]]:
    """Three stages: one term, one more, then the whole."""
    return [[(first,), (first, second)] for first, second in itertools.permutations(TERMS, 2)]


@pytest.mark.parametrize("text", STAGED)
def test_two_stages_have_the_law_of_the_whole(text, dense):
    for known in (TERMS[:1], TERMS[:2]):
        stages = stages_of(text, [known], dense)
        assert torch.isfinite(stages[0].amax(-1)).all()
        assert distance(stages) < EXACT


@pytest.mark.parametrize("text", STAGED)
def test_three_stages_have_the_law_of_the_whole(text, dense):
    stages = stages_of(text, [TERMS[:1], TERMS[:2]], dense)
    assert all((one.exp() - two.exp()).abs().max() > NOTICED for one, two in itertools.combinations(stages, 2))
    assert distance(stages) < EXACT


@pytest.mark.parametrize("text", [text for text in STAGED if "-" not in text])
def test_tokens_that_some_stage_gives_probability_0_do_not_change_the_law(text, sparse):
    for chain in ([TERMS[:1]], [TERMS[:2]], [TERMS[:1], TERMS[:2]]):
        assert distance(stages_of(text, chain, sparse)) < EXACT


@pytest.mark.parametrize("text", STAGED)
@pytest.mark.parametrize(
    "truncation",
    [Truncation(0.7, top_k=5), Truncation(1.5, top_p=0.8), Truncation(1e-3)],
    ids=["cold", "hot", "greedy"],
)
def test_stages_that_are_truncated_alike_have_the_truncated_law(text, truncation, dense):
    stages = [truncation(stage) for stage in stages_of(text, [TERMS[:1], TERMS[:2]], dense)]
    assert distance(stages) < EXACT


@pytest.mark.parametrize("text", STAGED)
def test_a_copied_token_leaves_the_law(text, dense):
    copied = torch.full_like(dense[TERMS[0]], -torch.inf)
    copied[:, 4] = 0
    assert distance([copied, *stages_of(text, [TERMS[:2]], dense)]) < EXACT


@pytest.mark.parametrize("text", OPERATORS)
def test_whatever_parts_a_formula_has_leave_its_law(text, dense):
    found = [stages_of(text, chain, dense) for chain in (*pairs(), *triples())]
    assert any(stages is not None for stages in found)  # all terms together, at least
    assert all(distance(stages) < EXACT for stages in found if stages is not None)


SEEDS = range(60)


@pytest.mark.parametrize("seed", SEEDS)
def test_whatever_parts_a_random_formula_has_leave_its_law(seed, sparse):
    text = RandomFormula(seed, sparse=True).text()
    for chain in (*pairs(), *triples()):
        stages = stages_of(text, chain, sparse)
        assert stages is None or distance(stages) < EXACT


def test_many_random_formulas_have_parts():
    formulas = [parse(RandomFormula(seed, sparse=True).text()) for seed in SEEDS]
    found = [sum(partial(formula, [term]) is not None for term in TERMS) for formula in formulas]
    assert sum(count > 0 for count in found) > len(SEEDS) / 2


@pytest.mark.parametrize(
    "wrong", [redrawing_from_the_target, accepting_the_wrong_way_round, accepting_by_the_target_alone]
)
@pytest.mark.parametrize("text", STAGED)
def test_a_wrong_rule_is_noticed(text, wrong, dense):
    assert distance(stages_of(text, [TERMS[:1]], dense), wrong) > NOTICED
    assert distance(stages_of(text, [TERMS[:1], TERMS[:2]], dense), wrong) > NOTICED


@pytest.mark.parametrize("text", STAGED)
def test_a_judge_that_is_left_out_is_noticed(text, dense):
    drafted, judge, whole = stages_of(text, [TERMS[:1], TERMS[:2]], dense)
    assert max(abs(judged([drafted[0], judge[0]]) - whole[0].exp())) > NOTICED
