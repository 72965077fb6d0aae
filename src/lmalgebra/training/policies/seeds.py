"""Numbers that decide draws, each from the training's seed and what it is for: so nothing need be kept to go on."""

from __future__ import annotations

import hashlib

import torch


def seed_of(seed: int, *purpose: str | int) -> int:
    """A seed for one purpose, such as ("rollouts", 7); below 2**31."""
    text = ":".join(map(str, (seed, *purpose)))
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:4], "big") >> 1


def shuffled(count: int, seed: int, *purpose: str | int) -> list[int]:
    """The places from 0 to `count` - 1 in an order for one purpose."""
    generator = torch.Generator().manual_seed(seed_of(seed, *purpose))
    return torch.randperm(count, generator=generator).tolist()


def turn(count: int, size: int, number: int, seed: int, *purpose: str | int) -> list[int]:
    """The places that are taken in turn `number`, from 0 on, when each turn takes `size` of `count` places.

    Every place is taken once before any is taken again, each round in an order of its own.
    """
    first = number * size
    needed = range(first // count, (first + size - 1) // count + 1)
    rounds = {index: shuffled(count, seed, *purpose, index) for index in needed}
    return [rounds[place // count][place % count] for place in range(first, first + size)]
