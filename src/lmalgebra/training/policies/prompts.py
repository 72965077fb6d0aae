"""What a policy is trained on: prompts with their fields, some of them held out, and which come at each step."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace

import numpy as np

from lmalgebra.errors import EvaluationError, TrainingError
from lmalgebra.prompt_sets import Item, PromptSet, load_prompts
from lmalgebra.training.policies.tasks import ROWS, TaskSettings


@dataclass(frozen=True)
class Prompts:
    """Prompts to train on and those `held_out`, which training never sees; no prompt is in both."""

    train: PromptSet
    held_out: PromptSet

    def batch(self, step: int, size: int, seed: int) -> list[Item]:
        """The `size` prompts of a step, from 0 on: one after another in an order that `seed` draws for each round.

        A step's batch depends on nothing else, so that what goes on after a stop meets the same prompts.
        """
        items = self.train.items
        places = range(step * size, (step + 1) * size)
        orders = {
            turn: np.random.default_rng([seed, turn]).permutation(len(items))
            for turn in range(places[0] // len(items), places[-1] // len(items) + 1)
        }
        return [items[orders[place // len(items)][place % len(items)]] for place in places]


def read_prompts(settings: TaskSettings) -> Prompts:
    """The prompts of a task, each once. Raises TrainingError, with file and line, for data that cannot be used.

    Of all of them `count` are drawn, and of those the share `held_out`, both by `draw`; the order in which they stand
    in the data changes neither part.
    """
    with _as_training_errors():
        found = load_prompts(settings.prompts, ROWS[settings.rows], settings.template)
    found = replace(found, items=tuple(sorted(found.items, key=lambda item: item.id)))
    if settings.count is not None:
        found = found.sample(settings.count, settings.draw)
    held_out = round(settings.held_out * len(found.items)) or 1
    if held_out >= len(found.items):
        raise TrainingError(
            f"{settings.prompts}: of {len(found.items)} prompts, {held_out} held out leave none to train on.",
            "Add prompts, or lower held_out.",
        )
    places = np.random.default_rng([settings.draw, 1]).permutation(len(found.items)).tolist()
    train, validation = _only(found, places[held_out:]), _only(found, places[:held_out])
    return Prompts(train, validation)


def _only(prompts: PromptSet, places: Sequence[int]) -> PromptSet:
    return replace(prompts, items=tuple(prompts.items[place] for place in sorted(places)))


@contextmanager
def _as_training_errors() -> Iterator[None]:
    try:
        yield
    except EvaluationError as error:
        raise TrainingError(error.message, error.hint) from None
