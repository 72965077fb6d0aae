"""Long work in parts, between which others may work: a generator that yields after each and returns the result."""

from collections.abc import Generator
from typing import TypeVar

Result = TypeVar("Result")

Parts = Generator[None, None, Result]


def finished(parts: Parts[Result]) -> Result:
    """What comes of the work, done at once."""
    while True:
        try:
            next(parts)
        except StopIteration as end:
            result: Result = end.value
            return result
