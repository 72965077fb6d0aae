"""What rewards are given, what one component is, and what comes of all of them together."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

from lmalgebra.decoding.composed import Prompt
from lmalgebra.judges import Score


@dataclass(frozen=True)
class Said:
    """A completion: the `text` that was said after `prompt`, and the other `fields` of the prompt's data."""

    prompt: Prompt
    text: str
    fields: Mapping[str, Any] = field(default_factory=dict)


class Reward(Protocol):
    """One component of a reward. `name` is what its scores are printed under."""

    @property
    def name(self) -> str: ...

    def about(self) -> dict[str, Any]:
        """What decides its scores, for the card. Raises LmalgebraError where it cannot score at all."""

    def __call__(self, said: Sequence[Said]) -> Sequence[Score]:
        """A number for each completion, or an error that says why there is none (NaN will do).

        May raise: what fails for single completions is found by trying halves; a ModelError is of no single one.
        """


@dataclass(frozen=True)
class Rewarded:
    """The rewards of a batch, in its order: `total`, and the scores of each component by its name.

    NaN stands where there is none; such completions are to be left out. `left_out` counts them by the reason.
    """

    total: list[float]
    parts: dict[str, list[float]]
    left_out: dict[str, int] = field(default_factory=dict)

    @property
    def known(self) -> list[int]:
        """The places of completions that have a reward."""
        return [place for place, value in enumerate(self.total) if not math.isnan(value)]

    def means(self) -> dict[str, float]:
        """The mean of each component over the completions that have a reward; NaN where none has."""
        places = self.known
        return {
            name: sum(values[place] for place in places) / len(places) if places else math.nan
            for name, values in self.parts.items()
        }


def constant(rewarded: Rewarded, tolerance: float = 1e-9) -> str:
    """A sentence that says so where all totals are the same, so that nothing can be learned from them; else nothing."""
    totals = [rewarded.total[place] for place in rewarded.known]
    if len(totals) < 2 or max(totals) - min(totals) > tolerance:
        return ""
    parts = ", ".join(f"{name} {value:.4g}" for name, value in rewarded.means().items())
    return f"All {len(totals)} completions have the reward {totals[0]:.4g}: nothing can be learned from them ({parts})."
