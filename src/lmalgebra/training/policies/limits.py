"""When a policy's training ends before its last step, each time with a sentence that says why."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

RECENT = 5
"""Steps over which the mean reward is taken, so that one unlucky draw of prompts ends nothing."""


@dataclass(frozen=True)
class Limits:
    """`max_kl`, nats per token, and `max_drop`, in standard deviations of the first step's rewards; 0: no limit."""

    max_kl: float
    max_drop: float

    def crossed(self, rewards: Sequence[float], kl: float, deviation: float) -> str:
        """Why to stop, or "". `rewards` are the means of all steps so far, and `kl` the divergence of the last.

        The reward has collapsed when the mean of the last `RECENT` steps lies more than `max_drop` deviations below
        the best mean of as many steps in a row before.
        """
        if self.max_kl and kl > self.max_kl:
            return f"The policy is {kl:.2f} nats per token from the reference, beyond max_kl = {self.max_kl:g}."
        if not self.max_drop or len(rewards) <= RECENT:
            return ""
        means = [math.fsum(rewards[end - RECENT : end]) / RECENT for end in range(RECENT, len(rewards) + 1)]
        if means[-1] < max(means) - self.max_drop * deviation:
            return (
                f"The reward has collapsed: {means[-1]:.4g} over the last {RECENT} steps, after {max(means):.4g}; "
                f"max_drop = {self.max_drop:g} allows {self.max_drop * deviation:.4g} less."
            )
        return ""
