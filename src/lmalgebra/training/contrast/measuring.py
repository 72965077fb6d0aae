"""What a training by contrast has reached: how held-out groups are told apart, and what the model is still good for."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch

from lmalgebra.training.contrast.encoding import Drawn, Encoded
from lmalgebra.training.contrast.packing import mean_losses

if TYPE_CHECKING:
    from transformers import PreTrainedModel

    from lmalgebra.training.contrast.continuing import Continued

PASS_TOKENS = 1 << 10
"""Tokens that are read together at most, or one longer sequence: logits of a large vocabulary take much memory."""

NAMES = {
    "margin": "phi of negatives above positives, nats",
    "separated": "share of groups whose positives are likelier",
    "positive_perplexity": "perplexity of positives",
    "negative_perplexity": "perplexity of negatives",
    "utility_perplexity": "perplexity of the utility texts",
    "judged": "the judge's score of what is said after half a negative",
}
"""What each measure is called."""


@dataclass(frozen=True)
class HeldOut:
    """What is only measured: groups, texts whose likelihood should not fall, and openings to continue and judge."""

    groups: Sequence[Drawn]
    utility: Sequence[Encoded] = ()
    continued: Continued | None = None

    def measure(self, model: PreTrainedModel, pack: bool) -> dict[str, float]:
        """The measures of `NAMES` that the data define; see `groups_measured`. The model's mode is left as it was."""
        training = model.training
        model.eval()
        try:
            with torch.no_grad():
                found = groups_measured(self.groups, _losses(model, _sequences(self.groups), pack))
                if self.utility:
                    found["utility_perplexity"] = _perplexity(_losses(model, self.utility, pack), self.utility)
                if self.continued is not None:
                    found["judged"] = self.continued.score(model)
        finally:
            model.train(training)
        return found


def groups_measured(groups: Sequence[Drawn], losses: Iterator[float]) -> dict[str, float]:
    """Measures of the mean token losses of all groups' sequences, in their order.

    A group's margin is the mean loss of its negatives less that of its positives, in nats; a group is separated where
    that is positive. Groups without one side count where they have the other.
    """
    pairs = [(_mean(losses, len(group.positives)), _mean(losses, len(group.negatives))) for group in groups]
    margins = [negative - positive for positive, negative in pairs if positive is not None and negative is not None]
    positives = [positive for positive, _ in pairs if positive is not None]
    negatives = [negative for _, negative in pairs if negative is not None]
    found = {}
    if margins:
        found["margin"] = sum(margins) / len(margins)
        found["separated"] = sum(margin > 0 for margin in margins) / len(margins)
    for name, side in (("positive_perplexity", positives), ("negative_perplexity", negatives)):
        if side:
            found[name] = _exp(sum(side) / len(side))
    return found


def measure_rows(found: dict[str, float]) -> list[tuple[str, str]]:
    """Each measure's name and value, as text."""
    return [(name, f"{found[key]:,.4f}") for key, name in NAMES.items() if key in found]


def _sequences(groups: Sequence[Drawn]) -> list[Encoded]:
    return [each for group in groups for each in (*group.positives, *group.negatives)]


def _losses(model: PreTrainedModel, sequences: Sequence[Encoded], pack: bool) -> Iterator[float]:
    """The mean token loss of each sequence, several read together."""
    for part in _parts(sequences):
        yield from mean_losses(model, part, pack).tolist()


def _parts(sequences: Iterable[Encoded]) -> Iterator[list[Encoded]]:
    held: list[Encoded] = []
    for each in sequences:
        if held and sum(len(other.tokens) for other in held) + len(each.tokens) > PASS_TOKENS:
            yield held
            held = []
        held.append(each)
    if held:
        yield held


def _perplexity(losses: Iterator[float], sequences: Sequence[Encoded]) -> float:
    """The perplexity of all tokens of the sequences."""
    counts = [len(each.tokens) - each.first for each in sequences]
    return _exp(sum(loss * count for loss, count in zip(losses, counts, strict=True)) / sum(counts))


def _mean(values: Iterator[float], count: int) -> float | None:
    taken = [next(values) for _ in range(count)]
    return sum(taken) / count if count else None


def _exp(nats: float) -> float:
    return math.exp(nats) if nats < 700 else math.inf
