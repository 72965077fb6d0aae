"""Scorers that allow some tokens and forbid the others, whatever the constraint is."""

from abc import abstractmethod
from collections import OrderedDict
from collections.abc import Callable, Hashable, Sequence
from typing import Any, Generic, TypeVar

import numpy as np
import torch
from torch import Tensor

from lmalgebra.models.base import Asked, Scorer

T = TypeVar("T")

REMEMBERED_BYTES = 1 << 26
"""What one constraint may remember of what it has worked out, so that the same question is not worked out twice."""


class Remembered(Generic[T]):
    """The values that were used last, at most as many as fit where each takes so many bytes."""

    def __init__(self, bytes_each: int) -> None:
        self._most = max(8, REMEMBERED_BYTES // max(1, bytes_each))
        self._values: OrderedDict[Hashable, T] = OrderedDict()

    def get(self, key: Hashable, make: Callable[[], T]) -> T:
        """The value of `key`, made now if it is not remembered."""
        if key not in self._values:
            value = make()
            self._values[key] = value
            if len(self._values) > self._most:
                self._values.popitem(last=False)
        self._values.move_to_end(key)
        return self._values[key]


class Trail(Generic[T]):
    """The places that a text has gone through: one at its start, and one after each token."""

    def __init__(self, start: T) -> None:
        self._tokens: list[int] = []
        self._places = [start]

    def places(self, tokens: Sequence[int], first: int, after: Callable[[T, int], T]) -> list[T]:
        """The places after `first` of `tokens`, and after each one more; `after` says where a token leads."""
        same = self._same(tokens)
        del self._tokens[same:], self._places[same + 1 :]
        for token in tokens[same:]:
            self._places.append(after(self._places[-1], token))
            self._tokens.append(token)
        return self._places[first:]

    def _same(self, tokens: Sequence[int]) -> int:
        """How many tokens are those of the call before: drafts come and go at the end."""
        same = min(len(self._tokens), len(tokens))
        while self._tokens[:same] != list(tokens[:same]):
            same -= 1
        return same


class MaskScorer(Scorer):
    """A constraint over texts of `size` tokens that end with one of `ends`.

    A text that it does not allow stays so, whatever follows. Nothing is ever asked for after the end: all is allowed.
    """

    def __init__(self, size: int, ends: frozenset[int]) -> None:
        self._size, self._ends = size, sorted(token for token in ends if token < size)
        self._masks: Remembered[Tensor] = Remembered(size)

    @abstractmethod
    def _masks_after(self, state: Any, tokens: Sequence[int], first: int) -> list[Tensor]:
        """The tokens that may come after `first` of `tokens`, and after each one more, `[vocabulary]` each.

        None of `tokens` ends the text. Raises DecodingError.
        """

    def scores(self, asked: Sequence[Asked]) -> list[Tensor]:
        found = []
        for each in asked:
            allowed = torch.stack(self._masks_of(each))
            found.append(torch.zeros(allowed.shape).masked_fill_(~allowed, float("-inf")))
        return found

    def _masks_of(self, asked: Asked) -> list[Tensor]:
        tokens, first = asked.tokens, asked.first
        end = next((at for at in range(first, len(tokens)) if tokens[at] in self._ends), len(tokens))
        masks = self._masks_after(asked.state, tokens[:end], first)
        return masks + [self._all(True)] * (len(tokens) - end)

    def _mask(self, key: Hashable, make: Callable[[], np.ndarray], may_end: bool) -> Tensor:
        """The mask of `key`: the tokens that `make` allows, and the end tokens if the text may end."""

        def whole() -> Tensor:
            mask = torch.from_numpy(make())
            mask[self._ends] = may_end
            return mask

        return self._masks.get(key, whole)

    def _all(self, allowed: bool) -> Tensor:
        """The mask that allows all or nothing."""
        return self._masks.get(("all", allowed), lambda: torch.full((self._size,), allowed))
