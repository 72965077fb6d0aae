"""What a formula means, once more: its text, evaluated by Python itself over numbers in lists.

It shares nothing with the library but the syntax, which is Python's: no parser, no nodes, no simplification, no
tensors. A `Value` is a score for each token (nats) and a mass; the distribution is `log_softmax(score / mass)`.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial

FORBIDDEN = -math.inf

Scores = list[float]


class NoTokenLeft(Exception):
    """The formula, or a part of it that is normalised, forbids every token."""


@dataclass(frozen=True)
class Value:
    """`mix` reads its weights from the factors of its operands, so a scaled value remembers what was scaled."""

    score: Scores
    mass: float
    factor: float = 1.0
    unscaled: Value | None = None

    def __add__(self, other: Value | float) -> Value:
        other = self.like(other)
        return Value([x + y for x, y in zip(self.score, other.score, strict=True)], self.mass + other.mass)

    def __radd__(self, other: float) -> Value:
        return self.like(other) + self

    def __sub__(self, other: Value | float) -> Value:
        return self + -self.like(other)

    def __rsub__(self, other: float) -> Value:
        return self.like(other) - self

    def __mul__(self, factor: float) -> Value:
        core = self if self.unscaled is None else self.unscaled
        return Value([_times(factor, x) for x in self.score], factor * self.mass, factor * self.factor, core)

    __rmul__ = __mul__

    def __truediv__(self, divisor: float) -> Value:
        return self * (1 / divisor)

    def __neg__(self) -> Value:
        return self * -1.0

    def __or__(self, other: Value | float) -> Value:
        return union(self, other)

    def __and__(self, other: Value | float) -> Value:
        return intersection(self, other)

    def like(self, other: Value | float) -> Value:
        """A number as the constant it stands for."""
        return other if isinstance(other, Value) else Value([float(other)] * len(self.score), 0.0)

    def logprobs(self) -> Scores:
        """The distribution. Raises NoTokenLeft when nothing is possible."""
        scaled = [x / self.mass for x in self.score]
        largest = max(scaled)
        if largest == FORBIDDEN:
            raise NoTokenLeft
        total = largest + math.log(math.fsum(math.exp(x - largest) for x in scaled))
        return [x - total for x in scaled]


def union(*operands: Value | float) -> Value:
    return _elementwise(max, operands)


def intersection(*operands: Value | float) -> Value:
    return _elementwise(min, operands)


def tilt(operand: Value) -> Value:
    return Value(operand.logprobs(), 0.0)


def probability(operand: Value) -> Value:
    return Value([math.exp(x) for x in operand.logprobs()], 0.0)


def power(operand: Value, exponent: float) -> Value:
    return Value([exponent * x for x in operand.logprobs()], 1.0)


def mix(*operands: Value) -> Value:
    weights = [operand.factor for operand in operands]
    parts = [(operand.unscaled or operand).logprobs() for operand in operands]
    means = [
        math.fsum(weight * math.exp(x) for weight, x in zip(weights, column, strict=True)) / math.fsum(weights)
        for column in zip(*parts, strict=True)
    ]
    return Value([math.log(mean) if mean > 0 else FORBIDDEN for mean in means], 1.0)


def within(operand: Value, top_k: int | None = None, top_p: float | None = None, min_p: float | None = None) -> Value:
    """Each limit is applied to the operand's own distribution; what has probability 0 is never plausible."""
    probabilities = [math.exp(x) for x in operand.logprobs()]
    border = 0.0
    ordered = sorted(probabilities, reverse=True)
    if top_k is not None:
        border = max(border, ordered[:top_k][-1])
    if top_p is not None and top_p < 1:
        border = max(border, _nucleus_border(ordered, top_p))
    if min_p is not None:
        border = max(border, min_p * ordered[0])
    # Relative 1e-9: what is equal but for rounding is a tie, and ties are kept.
    allowed = [p > 0 and p >= border * (1 - 1e-9) for p in probabilities]
    return Value([0.0 if each else FORBIDDEN for each in allowed], 0.0)


class Posteriors:
    """`posterior` along one text: each is known by its place among those that the formula calls, in Python's order."""

    def __init__(self) -> None:
        self.sums: dict[int, float] = defaultdict(float)
        self.ratios: list[Scores] = []
        self.length = 1

    def __call__(
        self, desired: Value, undesired: Value, scale: float = 1, prior: float = 0.5, length_power: float = 1
    ) -> Value:
        pairs = zip(desired.logprobs(), undesired.logprobs(), strict=True)
        before = self.sums[len(self.ratios)]
        self.ratios.append([_plus(d, -u) for d, u in pairs])
        tempering = scale / self.length**length_power
        found = [tempering * _plus(before, ratio) for ratio in self.ratios[-1]]
        odds = [(1 - prior) / prior * math.exp(-x) if x > FORBIDDEN else math.inf for x in found]
        return Value([-math.log1p(each) if each < math.inf else FORBIDDEN for each in odds], 0.0)

    def say(self, token: int) -> None:
        """The text grows by `token`."""
        for place, ratios in enumerate(self.ratios):
            self.sums[place] = _plus(self.sums[place], ratios[token])
        self.ratios, self.length = [], self.length + 1


def _plus(x: float, y: float) -> float:
    """What is impossible to both is evidence for neither."""
    return 0.0 if math.isinf(x) and x == -y else x + y


def evaluate_text(
    text: str,
    terms: Sequence[Mapping[str, Sequence[float]]],
    tokens: Sequence[int],
    biases: Sequence[Mapping[str, Sequence[float]]] | None = None,
) -> Scores:
    """The log-probabilities of the formula `text` after `tokens`; `terms` and `biases`, as in `evaluate`, are those at
    each position, from the first token's on."""
    posteriors = Posteriors()
    for position, token in enumerate(tokens):
        evaluate(text, terms[position], position, biases and biases[position], posteriors)
        posteriors.say(token)
    return evaluate(text, terms[len(tokens)], len(tokens), biases and biases[len(tokens)], posteriors)


def evaluate(
    text: str,
    terms: Mapping[str, Sequence[float]],
    position: int,
    biases: Mapping[str, Sequence[float]] | None = None,
    posteriors: Posteriors | None = None,
) -> Scores:
    """The log-probabilities of the formula `text`; `terms` are the language models' log-probabilities, `biases` the
    scores of other terms, and `posteriors` what the text has shown so far."""
    words: dict[str, object] = {name: Value(list(score), 1.0) for name, score in terms.items()}
    words |= {name: Value(list(score), 0.0) for name, score in (biases or {}).items()}
    words |= {"union": union, "intersection": intersection, "tilt": tilt, "probability": probability}
    words |= {"power": power, "mix": mix, "within": within, "posterior": posteriors or Posteriors()}
    words |= {"ramp": partial(_ramp, position), "decay": partial(_decay, position)}
    value = eval(text, {"__builtins__": {}}, words)
    assert isinstance(value, Value)
    return value.logprobs()


def _ramp(position: int, start: float, end: float, *, tokens: int) -> float:
    return end if position >= tokens else start + (end - start) * position / tokens


def _decay(position: int, start: float, *, half_life: float) -> float:
    return start * 0.5 ** (position / half_life)


def _times(factor: float, score: float) -> float:
    return 0.0 if factor == 0 else factor * score


def _elementwise(choose: Callable[..., float], operands: Sequence[Value | float]) -> Value:
    first = next(each for each in operands if isinstance(each, Value))
    scores = [first.like(each).score for each in operands]
    return Value([choose(column) for column in zip(*scores, strict=True)], first.mass)


def _nucleus_border(ordered: Sequence[float], top_p: float) -> float:
    held = 0.0
    for probability in ordered:
        held += probability
        if held >= top_p:
            return probability
    return 0.0
