"""Scores of the terms that are no language models, for many texts at once.

In this order: 1. the weights that depend on the text; 2. the terms that score every token, such as constraints; 3. the
likeliest tokens of the formula without the terms that score candidates only; 4. those terms' scores of these tokens,
and 0 for all others; 5. what the text shows to posteriors, as soon as what they compare is known.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from torch import Tensor

from lmalgebra.algebra import Bias, Formula, Term
from lmalgebra.decoding.loaded import LoadedFormula
from lmalgebra.decoding.plan import Plan
from lmalgebra.errors import DecodingError
from lmalgebra.models.base import Asked, Scorer

Evaluate = Callable[[Mapping[Formula, Tensor], Sequence[int]], Tensor]


@dataclass(frozen=True)
class Text:
    """What a sample has said and drafted, from whose position `first` on scores are wanted.

    `states` are what its terms remember of it.
    """

    states: Mapping[Formula, Any]
    tokens: Sequence[int]
    first: int

    @property
    def positions(self) -> range:
        """The positions at which scores are wanted: one for each token from `first` on, and the one after."""
        return range(self.first, len(self.tokens) + 1)


def add_biases(
    loaded: LoadedFormula, plan: Plan, scores: Mapping[Term, Tensor], texts: Sequence[Text]
) -> dict[Formula, Tensor]:
    """`scores` of the plan's language models, `[all texts' positions, vocabulary]`, those of its other terms, the
    weights of its rules of steering, and the log-ratios of its evidences.

    Raises what the scorers raise.
    """
    found: dict[Formula, Tensor] = {**scores}
    like = next(iter(scores.values()))
    for rule in plan.rules:
        courses = [(text.states[rule], text.tokens, text.first) for text in texts]
        found[rule] = like.new_tensor(loaded.steerings[rule].weights(courses))[:, None]
    for leaf in plan.constraints:
        asked = [Asked(text.states[leaf], text.tokens, text.first) for text in texts]
        found[leaf] = torch.cat(loaded.scorers[leaf].scores(asked))[:, : like.shape[-1]].to(like)
    if plan.ranking is not None:
        _add_evidence(plan.ranking, found, texts)
        likeliest = _likeliest(plan, plan.ranking, found, texts)
        for leaf in plan.classifiers:
            found[leaf] = _scores_of_candidates(leaf, loaded.scorers[leaf], likeliest, texts, like)
    _add_evidence(plan, found, texts)
    return found


def _add_evidence(plan: Plan, found: dict[Formula, Tensor], texts: Sequence[Text]) -> None:
    """Add to `found`, for each of the plan's evidences that it lacks, the log-ratios of the texts before each position,
    `[positions, 1]`."""
    positions = [position for text in texts for position in text.positions]
    for evidence in plan.evidences:
        if evidence not in found:
            ratios = _where_possible(partial(plan.log_ratios, evidence), found, positions, 0.0)
            parts = zip(texts, ratios.split([len(text.positions) for text in texts]), strict=True)
            sums = [text.states[evidence].sums_before(text.tokens, text.first, part) for text, part in parts]
            found[evidence] = ratios.new_tensor([total for each in sums for total in each])[:, None]


def _likeliest(plan: Plan, ranking: Plan, scores: Mapping[Formula, Tensor], texts: Sequence[Text]) -> Tensor:
    """The likeliest tokens of `ranking` at each position, `[positions, most]`; -1 where there are no more.

    Where only one token is possible there is nothing to weigh, so none is named.
    """
    positions = [position for text in texts for position in text.positions]
    most = max(leaf.description.candidates for leaf in plan.classifiers)  # type: ignore[union-attr]
    logprobs = _where_possible(ranking.logprobs, scores, positions, float("-inf"))
    values, tokens = logprobs.topk(min(most, logprobs.shape[-1]))
    is_only_one = (logprobs > float("-inf")).sum(-1, keepdim=True) == 1
    tokens[values.isneginf() | is_only_one] = -1
    return tokens


def _where_possible(
    evaluate: Evaluate, scores: Mapping[Formula, Tensor], positions: Sequence[int], otherwise: float
) -> Tensor:
    """What `evaluate` makes of the scores, `[positions, vocabulary]`; `otherwise` in a row that has no token.

    The whole formula will say which row it is and why.
    """
    try:
        return evaluate(scores, positions)
    except DecodingError:
        pass
    like, rows = next(iter(scores.values())), []
    for row, position in enumerate(positions):
        try:
            rows.append(evaluate({part: each[row : row + 1] for part, each in scores.items()}, [position]))
        except DecodingError:
            rows.append(torch.full_like(like[row : row + 1], otherwise))
    return torch.cat(rows)


def _scores_of_candidates(leaf: Term, scorer: Scorer, likeliest: Tensor, texts: Sequence[Text], like: Tensor) -> Tensor:
    """The scores that `leaf` gives to its candidates, and 0 to all other tokens, `[positions, vocabulary]`."""
    assert isinstance(leaf.description, Bias)
    candidates = likeliest[:, : leaf.description.candidates]
    parts = candidates.split([len(text.positions) for text in texts])
    asked = [Asked(text.states[leaf], text.tokens, text.first, part) for text, part in zip(texts, parts, strict=True)]
    found = torch.cat(scorer.scores(asked)).to(like)
    is_none = candidates < 0
    places = candidates.masked_fill(is_none, like.shape[-1])  # a column that is cut off
    padded = torch.zeros(len(like), like.shape[-1] + 1, dtype=like.dtype, device=like.device)
    return padded.scatter_(1, places.to(like.device), found)[:, :-1]
