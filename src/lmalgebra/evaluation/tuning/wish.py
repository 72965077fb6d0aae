"""What a user wants of a voice, in words: "toxicity below 0.05, best perplexity".

A wish is made of parts with commas between them. `A below 0.05` and `A above 0.9` are bounds; `best A`, `lowest A` or
`highest A` says what is sought within them, once. A is a measure or the beginning of its name, by its first quantity
(`toxicity`: expected maximum; `perplexity`: per token; `diversity`: distinct-1), or a quantity of one, as in
`probability of toxicity`. A bound on several judges holds of each.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from lmalgebra.errors import EvaluationError

HINT = "Write a wish such as 'probability of toxicity below 0.05, best perplexity'."

Metrics = Mapping[str, Mapping[str, Any]]
"""The metrics of a voice in a result: measures, their quantities, and what those are."""


@dataclass(frozen=True)
class Aim:
    """One quantity of one measure."""

    measure: str
    quantity: str

    def of(self, metrics: Metrics) -> dict[str, Any]:
        """The quantity as a result has it: value, low, high."""
        found: dict[str, Any] = metrics[self.measure][self.quantity]
        return found

    def __str__(self) -> str:
        return f"{self.quantity} of {self.measure}"


@dataclass(frozen=True)
class Bound:
    """A limit that an aim's value must keep."""

    aim: Aim
    limit: float
    is_upper: bool

    def excess(self, value: float) -> float:
        """By how much a value is past the limit; not above 0 where it is kept."""
        return value - self.limit if self.is_upper else self.limit - value

    def __str__(self) -> str:
        return f"{self.aim} {'below' if self.is_upper else 'above'} {self.limit:g}"


@dataclass(frozen=True)
class Wish:
    """Bounds to keep, and what is to be as low, or else as high, as it can be within them."""

    bounds: tuple[Bound, ...]
    best: Aim
    is_lowest: bool

    @property
    def aims(self) -> tuple[Aim, ...]:
        """Every quantity that matters, each once."""
        return tuple(dict.fromkeys((*[bound.aim for bound in self.bounds], self.best)))


@dataclass(frozen=True)
class Part:
    """A part of a wish as it is written: `verb` is below, above, best, lowest or highest."""

    verb: str
    name: str
    limit: float = 0.0


def parse_wish(text: str) -> tuple[Part, ...]:
    """The parts of a wish. Raises EvaluationError for what is none, and unless exactly one says what is sought."""
    parts = tuple(_part(each) for each in text.split(",") if each.strip())
    if sum(part.verb in ("best", "lowest", "highest") for part in parts) != 1:
        raise EvaluationError(f"The wish '{text}' does not say once what is to be best.", HINT)
    return parts


def resolved(parts: Sequence[Part], metrics: Metrics) -> Wish:
    """The wish over what a result has. Raises EvaluationError for a name that is unknown or means several."""
    bounds: list[Bound] = []
    best: Aim | None = None
    is_lowest = True
    for part in parts:
        aims = _aims(part.name, metrics)
        if part.verb in ("below", "above"):
            bounds += [Bound(aim, part.limit, part.verb == "below") for aim in aims]
            continue
        if len(aims) > 1:
            raise EvaluationError(
                f"'{part.name}' of the wish means {' and '.join(map(str, aims))}.", "Name the one that is to be best."
            )
        (best,) = aims
        is_lowest = part.verb == "lowest" if part.verb != "best" else _is_better_low(best, metrics)
    assert best is not None  # parse_wish sees to it
    return Wish(tuple(bounds), best, is_lowest)


def _part(text: str) -> Part:
    words = " ".join(text.split())
    if found := re.fullmatch(r"(best|lowest|highest) (.+)", words):
        return Part(found[1], found[2])
    if found := re.fullmatch(r"(.+) (below|above) ([-+.\deE]+)", words):
        try:
            return Part(found[2], found[1], float(found[3]))
        except ValueError:
            pass
    raise EvaluationError(f"'{words}' is no part of a wish.", HINT)


def _aims(name: str, metrics: Metrics) -> list[Aim]:
    """Every aim that a name stands for, one at least."""
    quantity, _, measure = name.rpartition(" of ")
    wanted = quantity.replace(" ", "_").replace("-", "_")
    found = [
        Aim(each, wanted or next(iter(quantities)))
        for each, quantities in metrics.items()
        if each.startswith(measure) and quantities and (not wanted or wanted in quantities)
    ]
    if not found:
        known = [f"{key} of {each}" for each, quantities in metrics.items() for key in quantities]
        raise EvaluationError(f"'{name}' of the wish is not measured.", f"Measured: {', '.join(known)}.")
    return found


def _is_better_low(aim: Aim, metrics: Metrics) -> bool:
    lower = aim.of(metrics).get("lower_is_better")
    if lower is None:
        raise EvaluationError(f"{aim} is neither better high nor low.", f"Write 'lowest {aim}' or 'highest {aim}'.")
    return bool(lower)
