"""What a formula means: the interpreter that turns the scores of its leaves into its distribution.

One method per kind of node, as in the table of the algebra (docs/formulas.md). Equal sub-formulas are computed once.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import TypeVar

import torch
from torch import Tensor

from lmalgebra.algebra import (
    Bias,
    Constant,
    Follow,
    Formula,
    Hold,
    Intersection,
    Mix,
    Posterior,
    Power,
    Probability,
    Scale,
    Steered,
    Sum,
    Term,
    Tilt,
    Union,
    Weight,
    Within,
    at,
    check,
    mass,
    partial,
    simplify,
)
from lmalgebra.distributions import (
    intersection,
    log_posterior,
    log_ratio,
    mixture,
    plausible,
    tempered,
    union,
)
from lmalgebra.errors import DecodingError, FormulaError

_NOTHING = float("-inf")

Part = TypeVar("Part", bound=Formula)


class Plan:
    """A checked formula, ready to be evaluated at every step.

    `leaves` are the terms that its value depends on: a term whose weight cancels is not among them. They are
    `speakers`, which are language models, and `biases`; of these the `constraints` score every token, and the
    `classifiers` the likeliest under `ranking`, the formula without them.
    Raises FormulaError for a formula that has no distribution.
    """

    def __init__(self, formula: Formula) -> None:
        check(formula)
        self.formula = formula
        self.simplified = simplify(formula)
        self.leaves: tuple[Term, ...] = self.simplified.leaves()
        self.biases = tuple(leaf for leaf in self.leaves if isinstance(leaf.description, Bias))
        self.speakers = tuple(leaf for leaf in self.leaves if leaf not in self.biases)
        self.classifiers = tuple(leaf for leaf in self.biases if _candidates(leaf))
        self.constraints = tuple(leaf for leaf in self.biases if not _candidates(leaf))
        self.rules = tuple(dict.fromkeys(node.rule for node in _parts_of(self.simplified, Steered)))
        inner_first = sorted(_parts_of(self.simplified, Posterior), key=lambda node: node.depth)
        self.evidences = tuple(dict.fromkeys(node.evidence for node in inner_first))
        self.ranking = self._without_classifiers() if self.classifiers else None

    def _without_classifiers(self) -> "Plan":
        """What ranks the tokens that classifiers score."""
        rest = partial(self.simplified, [leaf for leaf in self.leaves if leaf not in self.classifiers])
        if rest is None:
            names = ", ".join(f"`{leaf.name}`" for leaf in self.classifiers)
            raise FormulaError(
                f"`{self.formula}` has no distribution without {names}, so nothing says which tokens to score.",
                "Add the classifier to a formula of language models.",
            )
        return Plan(rest)

    def log_ratios(self, evidence: Posterior, scores: Mapping[Formula, Tensor], positions: Sequence[int]) -> Tensor:
        """How much likelier each next token is to desired than to undesired, in nats, `[rows, vocabulary]`.

        `scores` and `positions` are as in `logprobs`, `scores` without the evidences that come after this one. Raises
        DecodingError where desired or undesired has no token.
        """
        return _Evaluation(scores, positions).log_ratios(evidence)

    def logprobs(self, scores: Mapping[Formula, Tensor], positions: Sequence[int]) -> Tensor:
        """The formula's log-probabilities `[rows, vocabulary]`.

        `scores` holds for each leaf its logits or log-probabilities (a bias: its scores), `[rows, vocabulary]`;
        `positions` says how many tokens each row has generated. For each of the `rules`, by which parts are steered,
        `scores` holds the weight, and for each of the `evidences`, by which posteriors judge, the log-ratio of the text
        before, both `[rows, 1]`. Raises DecodingError, naming the term that is to blame, when every token of a row is
        forbidden or a score is not a number.
        """
        evaluation = _Evaluation(scores, positions)
        logprobs = evaluation.normalised(self.simplified, evaluation.loose_score)
        if isinstance(self.simplified, Mix) and not torch.isfinite(logprobs.amax(-1)).all():
            raise _no_token(self.simplified, evaluation, logprobs)
        return logprobs


def _parts_of(formula: Formula, kind: type[Part]) -> Iterator[Part]:
    """The parts of one kind, each once."""
    seen: set[Formula] = set()
    waiting = [formula]
    while waiting:
        node = waiting.pop()
        if node not in seen:
            seen.add(node)
            waiting += node.operands
            if isinstance(node, kind):
                yield node


def _candidates(leaf: Term) -> int:
    return leaf.description.candidates if isinstance(leaf.description, Bias) else 0


class _Evaluation:
    """The scores of a formula's nodes for one set of leaf scores, each computed once."""

    def __init__(self, scores: Mapping[Formula, Tensor], positions: Sequence[int]) -> None:
        self._leaves = scores
        self._positions = positions
        self._known: dict[Formula, Tensor] = {}
        self._like = next(iter(scores.values()))

    def score(self, node: Formula) -> Tensor:
        if node not in self._known:
            self._known[node] = _SCORES[type(node)](self, node)
        return self._known[node]

    def loose_score(self, node: Formula) -> Tensor:
        """A score up to a constant for each row, which normalising takes away: leaves need not be normalised first."""
        if isinstance(node, Term):
            return self._leaves[node]
        if isinstance(node, Sum):
            return self._sum(node, self.loose_score)
        if isinstance(node, Scale):
            return self._scale(node, self.loose_score)
        if isinstance(node, Steered):
            return self._steered(node, self.loose_score)
        return self.score(node)

    def normalised(self, node: Formula, scored: "Callable[[Formula], Tensor] | None" = None) -> Tensor:
        if isinstance(node, Mix) or (isinstance(node, Term) and scored is None):
            return self.score(node)
        score = (scored or self.score)(node)
        logprobs = tempered(score, self.weight(mass(node)))
        if torch.isnan(logprobs[:, 0]).any():  # one score that is infinite or no number, or no token: all are NaN
            raise _no_token(node, self, score)
        return logprobs

    def weight(self, weight: Weight) -> float | Tensor:
        """A number, or for a schedule its value in each row, `[rows, 1]`."""
        if isinstance(weight, int | float):
            return float(weight)
        values = [at(weight, position) for position in self._positions]
        return torch.tensor(values, dtype=self._like.dtype, device=self._like.device)[:, None]

    def _constant(self, node: Constant) -> Tensor:
        weight = self.weight(node.weight)
        return torch.zeros_like(self._like) + weight

    def _leaf(self, node: Term) -> Tensor:
        score = self._leaves[node]
        return score.log_softmax(-1) if mass(node) == 1 else score

    def _sum(self, node: Sum, scored: "Callable[[Formula], Tensor] | None" = None) -> Tensor:
        scored = scored or self.score
        first, *others = node.operands
        total = scored(first)
        for operand in others:
            if isinstance(operand, Scale) and isinstance(operand.weight, float):
                total = torch.add(total, scored(operand.operand), alpha=operand.weight)
            else:
                total = total + scored(operand)
        return total

    def _scale(self, node: Scale, scored: "Callable[[Formula], Tensor] | None" = None) -> Tensor:
        weight, score = self.weight(node.weight), (scored or self.score)(node.operand)
        return weight * score if isinstance(weight, float) else _times(weight, score)

    def _steered(self, node: Steered, scored: "Callable[[Formula], Tensor] | None" = None) -> Tensor:
        return _times(self._leaves[node.rule], (scored or self.score)(node.operand))

    def _union(self, node: Union) -> Tensor:
        return union([self.score(operand) for operand in node.operands])

    def _intersection(self, node: Intersection) -> Tensor:
        return intersection([self.score(operand) for operand in node.operands])

    def _tilt(self, node: Tilt) -> Tensor:
        return self.normalised(node.operand)

    def _probability(self, node: Probability) -> Tensor:
        return self.normalised(node.operand).exp()

    def log_ratios(self, node: Posterior) -> Tensor:
        return log_ratio(self.normalised(node.desired), self.normalised(node.undesired))

    def _posterior(self, node: Posterior) -> Tensor:
        with_token = log_ratio(self._leaves[node.evidence], -self.log_ratios(node))  # the sum; inf - inf is 0
        tempering = [node.scale / (position + 1) ** node.length_power for position in self._positions]
        return log_posterior(with_token, with_token.new_tensor(tempering)[:, None], node.prior)

    def _mix(self, node: Mix) -> Tensor:
        return mixture(node.weights, [self.normalised(operand) for operand in node.operands])

    def _power(self, node: Power) -> Tensor:
        return self.weight(node.exponent) * self.normalised(node.operand)

    def _within(self, node: Within) -> Tensor:
        return plausible(self.normalised(node.operand), node.top_k, node.top_p, node.min_p)


def _times(weights: Tensor, score: Tensor) -> Tensor:
    """Each row's score times its weight; 0 times -inf counts as 0."""
    return torch.where(weights == 0, torch.zeros_like(score), weights * score)


_SCORES: dict[type[Formula], Callable[..., Tensor]] = {
    Term: _Evaluation._leaf,
    Constant: _Evaluation._constant,
    Sum: _Evaluation._sum,
    Scale: _Evaluation._scale,
    Union: _Evaluation._union,
    Intersection: _Evaluation._intersection,
    Follow: _Evaluation._steered,
    Hold: _Evaluation._steered,
    Tilt: _Evaluation._tilt,
    Probability: _Evaluation._probability,
    Mix: _Evaluation._mix,
    Power: _Evaluation._power,
    Within: _Evaluation._within,
    Posterior: _Evaluation._posterior,
}


def _no_token(formula: Formula, evaluation: _Evaluation, score: Tensor) -> DecodingError:
    """Say which part leaves no token, or makes a score infinite."""
    row = int(torch.nonzero(~torch.isfinite(score.amax(-1)))[0])
    if not torch.isnan(score[row]).any() and score[row].max() == _NOTHING:
        return _all_forbidden(formula, evaluation, row)
    for leaf in formula.leaves():
        own = evaluation.score(leaf)[row]
        if torch.isnan(own).any():
            return DecodingError(f"The term `{leaf.name}` gave scores that are not numbers.", "Check its weights.")
        if torch.isinf(own).any():
            return DecodingError(
                f"The term `{leaf.name}` gives some token the probability 0 and is subtracted, which would make that "
                "token infinitely likely.",
                "Subtract a mixture instead, such as mix(0.99 * it, 0.01 * base).",
            )
    return DecodingError(f"The formula `{formula}` has a score that is not a number.", "Use smaller weights.")


def _all_forbidden(formula: Formula, evaluation: _Evaluation, row: int) -> DecodingError:
    """Name the first part that, with those before it, leaves nothing."""
    allowed: Tensor | None = None
    before: list[str] = []
    for node in _parts(formula):
        possible = evaluation.score(node)[row] != _NOTHING
        if bool(possible.all()):
            continue
        allowed = possible if allowed is None else allowed & possible
        if not allowed.any():
            others = f", after `{'`, `'.join(before)}`" if before else ""
            return DecodingError(
                f"No token is possible: `{node}` forbids every token that is left{others}.",
                "Loosen it, or remove it from the formula.",
            )
        before.append(str(node))
    return DecodingError(f"No token is possible under `{formula}`.", "Loosen its constraints.")


def _parts(formula: Formula) -> list[Formula]:
    """The summands of a formula without their weights, or the formula itself."""
    summands = formula.operands if isinstance(formula, Sum) else (formula,)
    return [part.operand if isinstance(part, Scale) else part for part in summands]
