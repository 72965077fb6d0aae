"""What sessions share: a table of open rows, and the checks of lengths."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Generic, TypeVar

from lmalgebra.algebra.adapter import AdapterSum
from lmalgebra.errors import ModelError, PromptError
from lmalgebra.models.base import Row

T = TypeVar("T")


class RowTable(Generic[T]):
    """The open rows of a session and what it keeps for each; a stranger's row is a ModelError."""

    def __init__(self) -> None:
        self._entries: dict[Row, T] = {}
        self._next = 0

    def add(self, entry: T) -> Row:
        row = Row(self._next)
        self._next += 1
        self._entries[row] = entry
        return row

    def __getitem__(self, row: Row) -> T:
        try:
            return self._entries[row]
        except KeyError:
            raise ModelError(
                f"Row {row} is not open in this session.", "It was closed, or belongs to another."
            ) from None

    def __setitem__(self, row: Row, entry: T) -> None:
        self[row]
        self._entries[row] = entry

    def remove(self, row: Row) -> T:
        entry = self[row]
        del self._entries[row]
        return entry

    def __len__(self) -> int:
        return len(self._entries)

    def __iter__(self) -> Iterator[T]:
        return iter(self._entries.values())


def check_unused(place: str, used: Iterable[AdapterSum]) -> None:
    """Raise ModelError when the adapter `place` is among those of the open rows."""
    rows = sum(any(place == each for each, _ in adapters) for adapters in used)
    if rows:
        which, them = ("1 open row is", "it") if rows == 1 else (f"{rows} open rows are", "them")
        raise ModelError(f"The adapter '{place}' cannot change while {which} under it.", f"Close {them} first.")


def check_length(length: int, context_length: int) -> None:
    """Raise PromptError when a row of `length` tokens does not fit."""
    if length > context_length:
        raise PromptError(
            f"A row of {length:,} tokens is longer than the model's context of {context_length:,}.",
            "Shorten the prompt, or use a model with a longer context.",
        )


def check_rewind(length: int, held: int) -> None:
    """Raise ModelError when a row of `held` tokens cannot be cut to `length`."""
    if not 0 <= length <= held:
        raise ModelError(f"A row of {held} tokens cannot be rewound to {length}.", f"Give a length from 0 to {held}.")


def fork_length(length: int | None, held: int) -> int:
    """Tokens that a fork of a row of `held` tokens holds. Raises ModelError for more than that."""
    if length is None:
        return held
    if not 0 <= length <= held:
        raise ModelError(f"A row of {held} tokens cannot be forked at {length}.", f"Give a length from 0 to {held}.")
    return length


def wanted_logits(tokens: Mapping[Row, Sequence[int]], wanted: Mapping[Row, int] | None) -> dict[Row, int]:
    """For each row of an extension, after how many of its new tokens logits are wanted."""
    asked = wanted or {}
    return {row: min(asked.get(row, len(new)), len(new)) for row, new in tokens.items()}
