"""From the logits of a classifier to the log-probability of one of its labels, or of that label's absence.

Sums in float32 without a floor: log(1 - C) is a log-probability of its own, so neither end loses digits.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn.functional import logsigmoid

from lmalgebra.errors import ModelError


@dataclass(frozen=True)
class Labels:
    """What the outputs of a classifier are called, in order, and whether they exclude each other.

    Labels that do share a softmax; others, as in a classifier of one output or of several labels at once, each have a
    sigmoid.
    """

    names: tuple[str, ...]
    exclusive: bool

    def index(self, label: str, source: str) -> int:
        """The place of `label`: a name, or a number from 0 on; "" is the only one. Raises ModelError."""
        if not label and len(self.names) == 1:
            return 0
        if label in self.names:
            return self.names.index(label)
        folded = [name.casefold() for name in self.names]
        if folded.count(label.casefold()) == 1:
            return folded.index(label.casefold())
        if label.isdecimal() and int(label) < len(self.names):
            return int(label)
        known = ", ".join(f"{number} '{name}'" for number, name in enumerate(self.names))
        what = f"has no label '{label}'" if label else "needs a label"
        raise ModelError(f"The classifier '{source}' {what}.", f"Its labels are: {known}.")

    def log_probabilities(self, logits: Tensor, index: int, sign: int = 1) -> Tensor:
        """`[..., labels]` to the log-probability (nats) of label `index`, or with `sign` -1 of its absence, `[...]`."""
        if not self.exclusive:
            return logsigmoid(sign * logits[..., index])
        logprobs = logits.log_softmax(-1)
        if sign > 0:
            return logprobs[..., index]
        others = [place for place in range(logits.shape[-1]) if place != index]
        return logprobs[..., others].logsumexp(-1)

    def probabilities(self, logits: Tensor) -> Tensor:
        """Of each label, in the shape of `logits`."""
        return logits.softmax(-1) if self.exclusive else torch.sigmoid(logits)


def labels_of(config: object, outputs: int) -> Labels:
    """The labels that a Transformers config tells of a head with so many outputs."""
    names: dict[int, str] = {
        int(number): str(name) for number, name in (getattr(config, "id2label", None) or {}).items()
    }
    several = getattr(config, "problem_type", None) == "multi_label_classification"
    return Labels(tuple(_named(names, range(outputs))), exclusive=outputs > 1 and not several)


def _named(names: dict[int, str], places: Sequence[int]) -> list[str]:
    return [names.get(place, f"LABEL_{place}") for place in places]
