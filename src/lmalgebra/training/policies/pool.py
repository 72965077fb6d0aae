"""Quark's pool: every completion with its reward, of which each learns under the control of its quantile."""

from __future__ import annotations

import bisect
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from lmalgebra.training.policies.seeds import turn

if TYPE_CHECKING:
    from lmalgebra.decoding.context import Conversation


@dataclass(frozen=True)
class Experience:
    """A completion's tokens after a prompt, and its reward."""

    prompt: str | Conversation
    tokens: tuple[int, ...]
    reward: float


class Pool:
    """Experiences in the order in which they came; beyond `capacity` (0: without end) the oldest are dropped.

    `controls` are K texts, from the worst quantile's to the best one's.
    """

    def __init__(self, controls: Sequence[str], capacity: int = 0) -> None:
        self.controls = tuple(controls)
        self.capacity = capacity
        self.experiences: list[Experience] = []

    def __len__(self) -> int:
        return len(self.experiences)

    @property
    def best(self) -> str:
        """The control under which is sampled."""
        return self.controls[-1]

    def add(self, experiences: Iterable[Experience]) -> None:
        """Take more in, and drop the oldest where there is no room."""
        self.experiences.extend(experiences)
        if self.capacity:
            del self.experiences[: -self.capacity]

    def quantiles(self) -> list[int]:
        """The quantile of each experience, from 0, the worst, to K - 1.

        Equal rewards share the quantile in whose share of the pool their middle lies, so that quantiles depend on
        rewards only and not on the order (the paper cuts anywhere among equal ones). The highest reward's is the best,
        however many have it; where many rewards are equal some quantiles are empty.
        """
        rewards = [each.reward for each in self.experiences]
        upwards, kinds, found = sorted(rewards), len(self.controls), {}
        for reward in set(rewards):
            middle = bisect.bisect_left(upwards, reward) + bisect.bisect_right(upwards, reward)  # twice its place
            found[reward] = kinds - 1 if reward == upwards[-1] else kinds * middle // (2 * len(rewards))
        return [found[reward] for reward in rewards]

    def batches(self, size: int, updates: int, seed: int) -> Iterator[list[tuple[Experience, str]]]:
        """`updates` batches of experiences with their controls, in an order that `seed` decides.

        Each is taken once before any is taken again; a batch may hold the end of one round and the start of the next.
        """
        controls = [self.controls[quantile] for quantile in self.quantiles()]
        for number in range(updates):
            places = turn(len(self), size, number, seed, "pool")
            yield [(self.experiences[place], controls[place]) for place in places]

    def lines(self) -> list[dict[str, Any]]:
        """The experiences as plain data."""
        return [asdict(each) for each in self.experiences]

    def restore(self, lines: Iterable[dict[str, Any]]) -> None:
        """Hold what `lines` gave, and nothing else."""
        self.experiences = [
            Experience(_prompt(each["prompt"]), tuple(each["tokens"]), each["reward"]) for each in lines
        ]


def _prompt(held: Any) -> str | Conversation:
    return held if isinstance(held, str) else tuple(held)
