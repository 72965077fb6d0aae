"""The key-value cache of many rows of different lengths.

Rows live in *slabs*. A slab holds rows of one capacity (a power of two of tokens), each in a slot of its own, and the
occupied slots are always the first ones, so that attention reads a slab's rows through a view: no step copies the
cache. A row is copied when it outgrows its slab (at most once per doubling), when it is forked, and when the last
slot of a slab moves into a hole that a closed row left.
"""

from dataclasses import dataclass, field

import torch
from torch import Tensor

from lmalgebra.errors import CacheFullError

SMALLEST_CAPACITY = 128


@dataclass(eq=False)
class CachedRow:
    """A row's tokens, and where the keys and values of its first `cached` tokens are."""

    tokens: list[int] = field(default_factory=list)
    cached: int = 0
    slab: "Slab | None" = None
    slot: int = -1


class Slab:
    """Keys and values of rows of one capacity, for each layer `[slots, capacity, heads, size of a head]`.

    A layer's tensors are made when the model first writes that layer, so nothing is assumed of its shape.
    """

    def __init__(self, capacity: int) -> None:
        self.capacity = capacity
        self.slots = 0
        self.rows: list[CachedRow] = []
        self.layers: dict[int, tuple[Tensor, Tensor]] = {}

    def layer(self, index: int, key: Tensor, value: Tensor) -> tuple[Tensor, Tensor]:
        """The keys and values of one layer, made like `key` and `value` `[tokens, heads, size]` if it is new."""
        if index not in self.layers:
            self.layers[index] = tuple(  # type: ignore[assignment]
                new.new_zeros((self.slots, self.capacity, *new.shape[1:])) for new in (key, value)
            )
        return self.layers[index]

    def resize(self, slots: int) -> None:
        """Have room for `slots` rows, keeping the rows that are here."""
        for index, pair in self.layers.items():
            self.layers[index] = tuple(self._resized(old, slots) for old in pair)  # type: ignore[assignment]
        self.slots = slots

    def _resized(self, old: Tensor, slots: int) -> Tensor:
        new = old.new_zeros((slots, *old.shape[1:]))
        new[: len(self.rows)] = old[: len(self.rows)]
        return new

    def add(self, row: CachedRow) -> None:
        """Put `row` into the next slot, bringing what is cached of it."""
        slot = len(self.rows)
        if row.slab is not None and row.cached:
            self.copy(row, slot)
        self.rows.append(row)
        if row.slab is not None:
            row.slab.remove(row)
        row.slab, row.slot = self, slot

    def copy(self, source: CachedRow, slot: int) -> None:
        """Copy what is cached of `source`, from whichever slab, into `slot` of this one."""
        assert source.slab is not None
        for index, pair in source.slab.layers.items():
            ours = self.layer(index, *(old[0] for old in pair))
            for old, new in zip(pair, ours, strict=True):
                new[slot, : source.cached] = old[source.slot, : source.cached]

    def remove(self, row: CachedRow) -> None:
        """Free `row`'s slot; the last row moves into it."""
        last = self.rows[-1]
        if last is not row:
            if last.cached:
                self.copy(last, row.slot)
            last.slot = row.slot
            self.rows[row.slot] = last
        self.rows.pop()
        row.slab, row.slot = None, -1


class KVCache:
    """Finds room for rows. `max_tokens` bounds the sum over slabs of slots times capacity."""

    def __init__(self, context_length: int, max_tokens: int) -> None:
        self.context_length = context_length
        self.max_tokens = max_tokens
        self.slabs: dict[int, Slab] = {}

    @property
    def allocated_tokens(self) -> int:
        """Tokens that the slabs have room for, used or not."""
        return sum(slab.slots * slab.capacity for slab in self.slabs.values())

    @torch.inference_mode()
    def reserve(self, row: CachedRow, length: int) -> None:
        """Make sure that `row` has room for `length` tokens; what is cached of it stays. Raises CacheFullError."""
        if row.slab is not None and row.slab.capacity >= length:
            return
        slab = self._slab(length)
        if len(slab.rows) == slab.slots:
            self._grow(slab)
        slab.add(row)

    @torch.inference_mode()
    def fork(self, row: CachedRow) -> CachedRow:
        """A copy of `row` in a slot of its own. Raises CacheFullError."""
        twin = CachedRow(list(row.tokens))
        if row.slab is not None and row.cached:
            self.reserve(twin, row.cached)
            assert twin.slab is not None
            twin.slab.copy(row, twin.slot)
            twin.cached = row.cached
        return twin

    @torch.inference_mode()
    def release(self, row: CachedRow) -> None:
        """Give back `row`'s slot."""
        if row.slab is not None:
            row.slab.remove(row)

    def _slab(self, length: int) -> Slab:
        capacity = SMALLEST_CAPACITY
        while capacity < length:
            capacity *= 2
        capacity = min(capacity, max(length, self.context_length))
        return self.slabs.setdefault(capacity, Slab(capacity))

    def _grow(self, slab: Slab) -> None:
        room = self.max_tokens - self.allocated_tokens
        wanted = max(1, slab.slots)
        if wanted * slab.capacity > room:
            self._trim()
            room = self.max_tokens - self.allocated_tokens
            wanted = min(wanted, room // slab.capacity)
        if wanted < 1:
            raise CacheFullError(
                f"The key-value cache is full: it holds {self.allocated_tokens} of at most {self.max_tokens} tokens "
                f"and a row needs {slab.capacity} more.",
                "Run fewer samples at once, shorten the prompt, or raise the session's cache limit.",
            )
        slab.resize(slab.slots + wanted)

    def _trim(self) -> None:
        """Give back the slots that no row uses."""
        for slab in self.slabs.values():
            if slab.slots > len(slab.rows):
                slab.resize(len(slab.rows))
