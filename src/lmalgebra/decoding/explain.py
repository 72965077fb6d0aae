"""Why a formula said what it said: how far each term moved each token.

A token's *value* under some of the terms is its log-probability (nats) under the formula without the others, as
`algebra.left_out` has it: a language model that is left out says what the *reference* says, and a bias nothing. The
formula's *change* of a token is its value under all terms less that under the reference alone. A term's *part* of the
change is its Shapley value: what it adds to the value, averaged over all orders in which the terms could join the
reference. Parts add up to the change, and terms that do the same get the same. With more than MOST_SHARED terms
besides the reference there are too many orders, and the terms join in their order of appearance.

The formula is explained before penalty, temperature and truncation. Candidates of classifiers are those of the whole
formula throughout. A log-probability below LEAST counts as LEAST, so that a change is finite where a term finds a token
impossible.

Source: Shapley 1953, "A value for n-person games"; for predictions, Lundberg and Lee 2017, arXiv 1705.07874.
"""

from collections.abc import Iterable, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass
from itertools import combinations
from math import factorial

import torch
from torch import Tensor

from lmalgebra.algebra import Formula, Term, without
from lmalgebra.decoding.context import Conversation
from lmalgebra.decoding.loaded import LoadedFormula
from lmalgebra.decoding.parts import Parts
from lmalgebra.decoding.plan import Plan
from lmalgebra.decoding.reading import BATCH_TOKENS, BLOCK, Block, Given, read_in_parts
from lmalgebra.decoding.score import chosen
from lmalgebra.errors import DecodingError

MOST_SHARED = 6
"""Terms besides the reference whose parts are Shapley values: each value is a distribution to compute, 2 to this."""

LEAST = -100.0
SHAPLEY, IN_ORDER = "shapley", "in order"
ALTERNATIVES = 3

Terms = frozenset[Term]


@dataclass(frozen=True)
class Movement:
    """What moved one token. Nats; `parts` are those of the other terms, in order; `rank` is the token's under the
    reference, 1 for the likeliest; `instead` are the reference's likeliest tokens with their probabilities.
    """

    token: int
    logprob: float
    reference_logprob: float
    parts: tuple[float, ...]
    rank: int
    instead: tuple[tuple[int, float], ...]


class Explainer:
    """The formula of `loaded` with each set of its terms left out, ready to be evaluated.

    `reference` is a language model of the formula, always there; `others` are the terms whose parts are told.
    """

    def __init__(self, loaded: LoadedFormula, reference: Term) -> None:
        formula = loaded.plan.formula
        self._loaded = loaded
        self.reference = reference
        self.others = tuple(leaf for leaf in formula.leaves() if leaf in loaded.plan.leaves and leaf != reference)
        self.method = SHAPLEY if len(self.others) <= MOST_SHARED else IN_ORDER
        present = _subsets(self.others) if self.method == SHAPLEY else _beginnings(self.others)
        plans: dict[Formula, Plan] = {}
        self._plans: dict[Terms, Plan] = {}
        for terms in present:
            plan = Plan(without(formula, [term for term in self.others if term not in terms], reference))
            self._plans[terms] = plans.setdefault(plan.simplified, plan)  # what is equal is computed once

    @torch.inference_mode()
    def explain_in_parts(
        self,
        messages: Conversation,
        tokens: Sequence[int],
        max_new_tokens: int,
        block: int = BLOCK,
        chunk: int = BATCH_TOKENS,
    ) -> Parts[list[Movement]]:
        """What moved each of `tokens`, said after `messages`; the rest is as in `read_in_parts`. A part is one pass, or
        one distribution over `block` tokens.

        Raises PromptError when they do not fit into a term's context, DecodingError where the formula has no token
        although the text was possible up to there.
        """
        found: list[Movement] = []
        given = Given(messages, self._loaded.contexts(messages), tokens)
        with closing(read_in_parts(self._loaded, [given], max_new_tokens, block, chunk)) as parts:
            for part in parts:
                if part is not None:
                    found += yield from self._movements(part[1], any(each.logprob <= LEAST for each in found))
                yield
        return found

    def _movements(self, block: Block, is_impossible: bool) -> Parts[list[Movement]]:
        """What moved the block's tokens; the text `is_impossible` under the formula already before them, or not."""
        law = self._logprobs(self._plans[frozenset()], block, is_impossible)
        known = {self._plans[frozenset()]: _values(law, block)}
        for plan in self._plans.values():
            if plan not in known:  # one law at a time is in memory
                yield
                known[plan] = _values(self._logprobs(plan, block, is_impossible), block)
        values = {terms: known[plan] for terms, plan in self._plans.items()}
        share = shapley if self.method == SHAPLEY else telescoped
        parts = share(values, self.others)
        alone, whole = values[frozenset()], values[frozenset(self.others)]
        ranks = 1 + (law > chosen(law, block.tokens)[:, None]).sum(-1)
        best = law.exp().topk(min(ALTERNATIVES, law.shape[-1]))
        return [
            Movement(
                token,
                whole[row].item(),
                alone[row].item(),
                tuple(parts[term][row].item() for term in self.others),
                int(ranks[row]),
                tuple(zip(best.indices[row].tolist(), best.values[row].tolist(), strict=True)),
            )
            for row, token in enumerate(block.tokens)
        ]

    def _logprobs(self, plan: Plan, block: Block, is_impossible: bool) -> Tensor:
        """The plan's log-probabilities, `[tokens, vocabulary]`; all -inf where a part of the formula has no token, and
        where the whole has none after what it finds impossible. Raises DecodingError where that was possible.
        """
        try:
            return plan.logprobs(block.scores, block.positions)
        except DecodingError:
            found = []
        may_have_none = is_impossible or plan is not self._plans[frozenset(self.others)]
        for row, (position, token) in enumerate(zip(block.positions, block.tokens, strict=True)):
            mine = {leaf: score[row : row + 1] for leaf, score in block.scores.items()}
            try:
                found.append(plan.logprobs(mine, [position]))
            except DecodingError:
                if not may_have_none:
                    raise
                found.append(torch.full_like(mine[self.reference], float("-inf")))
            may_have_none = may_have_none or bool(found[-1][0, token] <= LEAST)
        return torch.cat(found)


def _values(logprobs: Tensor, block: Block) -> Tensor:
    """The values of the block's tokens, float64 `[tokens]`."""
    return chosen(logprobs, block.tokens).double().clamp(min=LEAST)


def shapley(values: Mapping[Terms, Tensor], terms: Sequence[Term]) -> dict[Term, Tensor]:
    """Each term's part of `values[all terms] - values[none]`; `values` has every set of terms, float64 `[tokens]`."""
    orders = factorial(len(terms))
    parts = {term: torch.zeros_like(values[frozenset()]) for term in terms}
    for term in terms:
        for before in _subsets([other for other in terms if other != term]):
            share = factorial(len(before)) * factorial(len(terms) - 1 - len(before)) / orders
            parts[term] += share * (values[before | {term}] - values[before])
    return parts


def telescoped(values: Mapping[Terms, Tensor], terms: Sequence[Term]) -> dict[Term, Tensor]:
    """What each term adds when they join in their order; `values` has the sets of the first so many terms."""
    beginnings = _beginnings(terms)
    pairs = zip(beginnings[1:], beginnings, strict=False)
    return {term: values[after] - values[before] for term, (after, before) in zip(terms, pairs, strict=True)}


def _subsets(terms: Iterable[Term]) -> list[Terms]:
    listed = list(terms)
    return [frozenset(some) for size in range(len(listed) + 1) for some in combinations(listed, size)]


def _beginnings(terms: Sequence[Term]) -> list[Terms]:
    return [frozenset(terms[:count]) for count in range(len(terms) + 1)]
