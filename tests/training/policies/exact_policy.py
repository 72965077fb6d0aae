"""A policy over so few texts that all of them can be summed: base + tilt(adapter), the adapter a table that learns."""

from __future__ import annotations

import math
from dataclasses import dataclass
from itertools import pairwise, product

import torch
from torch import Tensor

from lmalgebra.models.table import END, TableModel

PIECES = ("a", "b", "c", END)
LONGEST = 3
TABLE = TableModel(pieces=PIECES, seed=5, sharpness=0.8)
END_TOKEN = PIECES.index(END)


@dataclass(frozen=True)
class Seen:
    """What objectives read; see `training.policies.policy.Judged`."""

    policy: Tensor
    reference: Tensor
    tokens: Tensor
    owner: Tensor


def texts() -> list[tuple[int, ...]]:
    """Every text: it ends by the end token, or is `LONGEST` tokens long."""
    spoken = range(len(PIECES) - 1)
    short = [(*each, END_TOKEN) for size in range(LONGEST) for each in product(spoken, repeat=size)]
    return short + list(product(spoken, repeat=LONGEST))


def reward(text: tuple[int, ...]) -> float:
    """1 for each a after a b, half for a text that ends by itself."""
    return sum(pair == (1, 0) for pair in pairwise(text)) + 0.5 * (text[-1] == END_TOKEN)


class TabularPolicy:
    """The table multiplied by an adapter, which holds logits for every context under every control, float64."""

    def __init__(self, controls: tuple[str, ...] = ("",)) -> None:
        spoken = range(len(PIECES) - 1)
        self.contexts = [each for size in range(LONGEST) for each in product(spoken, repeat=size)]
        self.place = {context: place for place, context in enumerate(self.contexts)}
        self.controls = controls
        self.reference = torch.stack([TABLE.logprobs(context) for context in self.contexts])
        self.adapter = torch.zeros(len(controls), *self.reference.shape, dtype=torch.float64, requires_grad=True)

    def table(self, control: int = -1) -> Tensor:
        """Log-probabilities after every context, `[contexts, vocabulary]`."""
        return (self.reference + self.adapter[control].log_softmax(-1)).log_softmax(-1)

    def judge(self, completions: list[tuple[int, ...]], controls: list[int] | None = None) -> Seen:
        which = controls or [-1] * len(completions)
        tables = {control: self.table(control) for control in set(which)}
        owner = [number for number, text in enumerate(completions) for _ in text]
        rows = [self.place[text[:at]] for text in completions for at in range(len(text))]
        policy = torch.stack([tables[which[number]][row] for number, row in zip(owner, rows, strict=True)])
        tokens = torch.tensor([token for text in completions for token in text])
        return Seen(policy, self.reference[rows], tokens, torch.tensor(owner))

    def sample(self, count: int, generator: torch.Generator, control: int = -1) -> list[tuple[int, ...]]:
        law = self.law(control).detach()
        found = torch.multinomial(law.exp(), count, replacement=True, generator=generator)
        return [ALL[place] for place in found.tolist()]

    def law(self, control: int = -1) -> Tensor:
        """The log-probability of every text, `[texts]`."""
        return of_texts(self.table(control), self.place)


def of_texts(table: Tensor, place: dict[tuple[int, ...], int]) -> Tensor:
    rows = [sum(table[place[text[:at]], text[at]] for at in range(len(text))) for text in ALL]
    return torch.stack(rows)


ALL = texts()
REWARDS = torch.tensor([reward(text) for text in ALL], dtype=torch.float64)


def optimum(reference: Tensor, beta: float) -> Tensor:
    """The log-probability of every text that makes E[reward] - beta * KL(p || reference) greatest."""
    return (reference + REWARDS / beta).log_softmax(0)


def expected(law: Tensor) -> float:
    """The mean reward of a law over all texts."""
    return (law.exp() * REWARDS).sum().item()


def divergence(law: Tensor, reference: Tensor) -> float:
    """KL(law || reference) over texts, nats."""
    return (law.exp() * (law - reference)).sum().item()


def distance(law: Tensor, other: Tensor) -> float:
    """The total variation."""
    return 0.5 * (law.exp() - other.exp()).abs().sum().item()


def best_at(reference: Tensor, nats: float) -> float:
    """The highest mean reward that any law within so many nats of the reference has: the optimum's, by bisection."""
    low, high = math.log(1e-3), math.log(1e3)
    for _ in range(60):
        middle = (low + high) / 2
        near = divergence(optimum(reference, math.exp(middle)), reference) <= nats
        low, high = (low, middle) if near else (middle, high)
    return expected(optimum(reference, math.exp(high)))
