"""A reward as a whole: a formula over components, and what becomes of completions that cannot be scored.

A completion without a score of some component is left out, and the others go on. Two things end a training, with a
sentence: a component that fails for every completion of a batch, each taken alone; and `BATCHES` batches in a row
without any reward, so that a server may be away for a while (one that has never answered ends it at once).
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from lmalgebra.errors import EvaluationError, LmalgebraError, ModelError, PromptError, TrainingError
from lmalgebra.judges.functions import CountError
from lmalgebra.training.policies.rewards.base import Reward, Rewarded, Said

BATCHES = 3
"""Batches in a row without any reward after which training ends."""

Combine = Callable[[Mapping[str, np.ndarray]], np.ndarray]
"""From the scores of each component, float64 `[completions]` by name, to the totals."""


@dataclass(frozen=True)
class Scored:
    """A component's scores, NaN where there is none; `reasons` of those, by place; `away`: of no single completion."""

    values: np.ndarray
    reasons: dict[int, str]
    away: bool = False

    @classmethod
    def joined(cls, parts: Sequence[Scored]) -> Scored:
        """The scores of a batch from those of its parts."""
        begins = np.cumsum([0, *(len(part.values) for part in parts)]).tolist()
        reasons = {
            begin + place: why
            for part, begin in zip(parts, begins, strict=False)
            for place, why in part.reasons.items()
        }
        return cls(np.concatenate([part.values for part in parts]), reasons, any(part.away for part in parts))


class Combined:
    """The reward that is written as `text`: `combine` over the scores of `components`, by their names.

    Calls modify nothing but what is known of failures: batches in a row without a reward, components ever heard of.
    """

    def __init__(self, text: str, components: Mapping[str, Reward], combine: Combine) -> None:
        self.text, self.components, self._combine = text, dict(components), combine
        self._without = 0
        self._heard: set[str] = set()

    def about(self) -> dict[str, Any]:
        """What decides the reward: its text and what its components are. Raises LmalgebraError where one is missing."""
        return {"reward": self.text, "components": {name: each.about() for name, each in self.components.items()}}

    def __call__(self, said: Sequence[Said]) -> Rewarded:
        """The rewards of a batch. Raises TrainingError where there can be none; see the module."""
        return self.rewarded([self.scores(said)])

    def scores(self, said: Sequence[Said]) -> dict[str, Scored]:
        """The scores of each component, by its name, for a part of a batch. Raises LmalgebraError where leaving
        completions out would not mend it."""
        return {name: self._scored(name, said) if said else Scored(np.array([]), {}) for name in self.components}

    def rewarded(self, parts: Sequence[Mapping[str, Scored]]) -> Rewarded:
        """The rewards of a batch, by the scores of its parts one after another. Raises TrainingError where there can
        be none."""
        scored = {name: Scored.joined([part[name] for part in parts]) for name in self.components}
        self._heard |= {name for part in parts for name, each in part.items() if len(each.values) and not each.away}
        count = len(next(iter(scored.values())).values)
        if not count:
            return Rewarded([], {name: [] for name in self.components})
        with np.errstate(all="ignore"):
            total = np.broadcast_to(self._combine({name: each.values for name, each in scored.items()}), count)
        total = np.where(np.isfinite(total), total, math.nan)
        rewarded = Rewarded(
            total.tolist(), {name: each.values.tolist() for name, each in scored.items()}, _counted(scored, total)
        )
        self._require_some(rewarded, scored)
        return rewarded

    def _scored(self, name: str, said: Sequence[Said]) -> Scored:
        """The scores of one component. Raises LmalgebraError where leaving completions out would not mend it."""
        try:
            found = _values(self.components[name], said)
        except ModelError as error:  # such as a server that does not answer
            if name not in self._heard:
                raise
            return Scored(np.full(len(said), math.nan), dict.fromkeys(range(len(said)), error.message), away=True)
        reasons = {place: each for place, each in enumerate(found) if isinstance(each, str)}
        return Scored(np.array([math.nan if isinstance(each, str) else each for each in found]), reasons)

    def _require_some(self, rewarded: Rewarded, scored: Mapping[str, Scored]) -> None:
        self._without = 0 if rewarded.known else self._without + 1
        if not self._without:
            return
        count = len(rewarded.total)
        hint = "Mend that; the same command with --resume goes on from the last checkpoint."
        for name, each in scored.items():
            if len(each.reasons) == count > 1 and not each.away:
                (reason, _), *_ = Counter(each.reasons.values()).most_common(1)
                raise TrainingError(f"The reward '{name}' has no score for any of {count} completions: {reason}", hint)
        if self._without >= BATCHES:
            reason = max(rewarded.left_out, key=lambda each: rewarded.left_out[each])
            raise TrainingError(f"{BATCHES} batches in a row got no reward; the last because of {reason}", hint)


def _counted(scored: Mapping[str, Scored], total: np.ndarray) -> dict[str, int]:
    """How many completions are left out, by the first reason of each."""
    found: Counter[str] = Counter()
    for place in np.flatnonzero(np.isnan(total)).tolist():
        reasons = (f"{name}: {each.reasons[place]}" for name, each in scored.items() if place in each.reasons)
        found[next(reasons, "the formula has no finite value.")] += 1
    return dict(found)


def _values(reward: Reward, said: Sequence[Said]) -> list[float | str]:
    """A number for each completion, or why there is none. Where several together fail, their halves are tried."""
    try:
        found = list(reward(said))
    except CountError as error:
        raise TrainingError(error.message, error.hint) from None
    except Exception as error:
        if isinstance(error, LmalgebraError) and not isinstance(error, EvaluationError | PromptError):
            raise
        if len(said) == 1:
            return [_reason(error)]
        middle = len(said) // 2
        return [*_values(reward, said[:middle]), *_values(reward, said[middle:])]
    if len(found) != len(said):
        raise TrainingError(
            f"The reward '{reward.name}' gives {len(found)} scores for {len(said)} completions.",
            "Return as many numbers as there are completions, NaN where there is none.",
        )
    return [_number(each) for each in found]


def _number(value: Any) -> float | str:
    if isinstance(value, LmalgebraError):
        return value.message
    try:
        number = float(value)
    except (TypeError, ValueError):
        return f"it gives {repr(value)[:40]}, which is no number."
    return number if math.isfinite(number) else f"it gives {number}."


def _reason(error: Exception) -> str:
    if isinstance(error, LmalgebraError):
        return error.message
    return f"it fails with {type(error).__name__}: {' '.join(str(error).split())[:200]}."
