"""Coefficients of a loss that stay, or follow a target (Ziegler et al. 2019, arXiv 1909.08593, section 2.2).

There, after each step, e = clip((KL - target) / target, -0.2, 0.2) and beta becomes beta * (1 + 0.1 e). Here the same
rule moves gamma with the opposite sign, since more of it raises what is measured, and `gain` is a setting.
"""

from __future__ import annotations

from dataclasses import dataclass

MOST = 0.2
"""The relative error that counts at most."""


@dataclass
class Coefficient:
    """A present `value`. With a `target` it grows when what is measured lies above it; one that `lifts` that, below."""

    value: float
    target: float | None = None
    gain: float = 0.1
    lifts: bool = False

    def follow(self, measured: float) -> None:
        """Change the value after a step in which `measured`, in the target's units, was seen."""
        if self.target is None:
            return
        error = max(-MOST, min(MOST, (measured - self.target) / self.target))
        self.value *= 1 + self.gain * (-error if self.lifts else error)
