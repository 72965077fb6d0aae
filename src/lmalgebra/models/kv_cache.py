"""The key-value cache of many rows of different lengths.

Rows live in *slabs*. A slab holds rows of one capacity (a power of two of tokens), each in a slot of its own, and the
occupied slots are always the first ones, so that attention reads a slab's rows through a view: no step copies the
cache. A row is copied when it outgrows its slab (at most once per doubling, never when its room was known), when it is
forked, and when the last slot of a slab moves into a hole that a closed row left. A *parked* row, which others are only
forked from, lies in a slab of its own, as long as what is cached of it, so that it is no hole among those that grow.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field

import torch
from torch import Tensor

from lmalgebra.algebra.adapter import AdapterSum
from lmalgebra.errors import CacheFullError

SMALLEST_CAPACITY = 128

Layers = dict[int, tuple[Tensor, Tensor]]
"""Keys and values of each layer."""


@dataclass(eq=False)
class CachedRow:
    """A row's tokens, the adapters that it is under, and where the keys and values of its first `cached` tokens are."""

    tokens: list[int] = field(default_factory=list)
    cached: int = 0
    slab: "Slab | None" = None
    slot: int = -1
    adapters: AdapterSum = ()


class Slab:
    """Keys and values of rows of one capacity, for each layer `[slots, capacity, heads, size of a head]`.

    Nothing is assumed of a layer's shape: `shapes`, which all slabs of a cache share, holds empty tensors like each
    layer that the model has written anywhere. What is not there yet is made when the model first writes it.
    """

    def __init__(self, capacity: int, shapes: Layers) -> None:
        self.capacity = capacity
        self.slots = 0
        self.rows: list[CachedRow] = []
        self.layers: Layers = {}
        self._shapes = shapes

    def layer(self, index: int, key: Tensor, value: Tensor) -> tuple[Tensor, Tensor]:
        """The keys and values of one layer, made like `key` and `value` `[tokens, heads, size]` if it is new.

        Raises CacheFullError when there is no memory for them.
        """
        if index not in self.layers:
            self._shapes.setdefault(index, (_empty_like(key), _empty_like(value)))
            self.resize(self.slots)
        return self.layers[index]

    def resize(self, slots: int) -> None:
        """Have room for `slots` rows in every layer, keeping the rows that are here.

        Raises CacheFullError, with nothing changed, when there is no memory for it.
        """
        made: Layers = {}
        try:
            for index, shapes in self._shapes.items():
                made[index] = self._resized(index, shapes, slots)
        except BaseException:
            made.clear()  # the error's traceback would keep them alive
            raise
        self.layers, self.slots = made, slots

    def complete(self) -> None:
        """Make the layers that other slabs have and this one lacks. Raises CacheFullError as `resize` does."""
        if len(self.layers) < len(self._shapes):
            self.resize(self.slots)

    def _resized(self, index: int, shapes: tuple[Tensor, Tensor], slots: int) -> tuple[Tensor, Tensor]:
        if index in self.layers and slots == self.slots:
            return self.layers[index]
        keys, values = (_zeros(like, (slots, self.capacity, *like.shape[1:])) for like in shapes)
        if index in self.layers:
            for new, old in zip((keys, values), self.layers[index], strict=True):
                new[: len(self.rows)] = old[: len(self.rows)]
        return keys, values

    def add(self, row: CachedRow) -> None:
        """Put `row`, which is in no slab, into the next slot."""
        row.slab, row.slot = self, len(self.rows)
        self.rows.append(row)

    def copy(self, source: CachedRow, slot: int, length: int) -> None:
        """Copy the first `length` tokens of `source`, from whichever slab, into `slot` of this one."""
        assert source.slab is not None
        for index, pair in source.slab.layers.items():
            for old, new in zip(pair, self.layers[index], strict=True):
                new[slot, :length] = old[source.slot, :length]

    def remove(self, row: CachedRow) -> None:
        """Free `row`'s slot; the last row moves into it."""
        last = self.rows[-1]
        if last is not row:
            if last.cached:
                self.copy(last, row.slot, last.cached)
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
        self.parked: set[Slab] = set()
        self._shapes: Layers = {}

    @property
    def allocated_tokens(self) -> int:
        """Tokens that the slabs have room for, used or not."""
        return sum(slab.slots * slab.capacity for slab in (*self.slabs.values(), *self.parked))

    @property
    def used_tokens(self) -> int:
        """Tokens that the slots of rows have room for."""
        return sum(len(slab.rows) * slab.capacity for slab in (*self.slabs.values(), *self.parked))

    def reserve(self, row: CachedRow, length: int) -> None:
        """Make sure that `row` can hold `length` tokens; what is cached of it stays. Raises as `reserve_all` does."""
        self.reserve_all({row: length})

    @torch.inference_mode()
    def reserve_all(self, lengths: Mapping[CachedRow, int]) -> None:
        """Make sure that each row can hold so many tokens; what is cached of it stays.

        Raises CacheFullError: past `max_tokens` with nothing changed, out of memory with no row's content changed.
        """
        moving = {row: self._capacity(length) for row, length in lengths.items() if self._must_move(row, length)}
        self._check_room(moving)
        for row in lengths:
            if row in moving:
                self._move(row, self._free_slot(moving[row]))
            elif row.slab is not None:
                row.slab.complete()

    @torch.inference_mode()
    def fork(self, row: CachedRow, length: int, room: int = 0) -> CachedRow:
        """A copy of the first `length` tokens of `row` in a slot of its own, which can hold `room` tokens.

        Raises CacheFullError, with nothing changed.
        """
        twin = CachedRow(row.tokens[:length], adapters=row.adapters)
        cached = min(row.cached, length)
        self.reserve(twin, max(cached, room))
        if cached:
            assert twin.slab is not None
            twin.slab.copy(row, twin.slot, cached)
            twin.cached = cached
        return twin

    @torch.inference_mode()
    def park(self, row: CachedRow) -> None:
        """Move `row` out of the way of rows that grow, if there is room to; it takes only what is cached of it."""
        if row.slab is None or (row.slab in self.parked and row.slab.capacity == row.cached):
            return
        if not row.cached:
            self.release(row)
        elif self.used_tokens + row.cached <= self.max_tokens:
            slab = Slab(row.cached, self._shapes)
            try:
                self._grow(slab)
            except CacheFullError:
                return
            self.parked.add(slab)
            self._move(row, slab)

    @torch.inference_mode()
    def release(self, row: CachedRow) -> None:
        """Give back `row`'s slot."""
        slab = row.slab
        if slab is not None:
            slab.remove(row)
            self.parked.discard(slab)

    def _must_move(self, row: CachedRow, length: int) -> bool:
        if length <= row.cached:
            return False
        return row.slab is None or row.slab in self.parked or row.slab.capacity < length

    def _capacity(self, length: int) -> int:
        capacity = SMALLEST_CAPACITY
        while capacity < length:
            capacity *= 2
        return min(capacity, max(length, self.context_length))

    def _check_room(self, moving: Mapping[CachedRow, int]) -> None:
        """Raise CacheFullError unless each row finds a slot of its capacity before it leaves its own, in this order."""
        used = self.used_tokens
        for row, capacity in moving.items():
            if used + capacity > self.max_tokens:
                raise CacheFullError(
                    f"The key-value cache is full: it holds {used} of at most {self.max_tokens} tokens "
                    f"and a row needs {capacity} more.",
                    "Run fewer samples at once, shorten the prompt, or raise the session's cache limit.",
                )
            used += capacity - (row.slab.capacity if row.slab is not None else 0)

    def _free_slot(self, capacity: int) -> Slab:
        """The slab of rows of `capacity`, with a slot to spare; `_check_room` has found that there is room."""
        slab = self.slabs.setdefault(capacity, Slab(capacity, self._shapes))
        if len(slab.rows) == slab.slots:
            self._grow(slab)
        else:
            slab.complete()
        return slab

    def _move(self, row: CachedRow, slab: Slab) -> None:
        """Put `row` into the next slot of `slab`, with what is cached of it."""
        if row.cached:
            slab.copy(row, len(slab.rows), row.cached)
        self.release(row)
        slab.add(row)

    def _grow(self, slab: Slab) -> None:
        wanted = max(1, slab.slots)
        if self.allocated_tokens + wanted * slab.capacity > self.max_tokens:
            self._trim()
            wanted = min(wanted, (self.max_tokens - self.allocated_tokens) // slab.capacity)
        slab.resize(slab.slots + wanted)

    def _trim(self) -> None:
        """Give back the slots that no row uses."""
        for slab in self.slabs.values():
            if slab.slots > len(slab.rows):
                slab.resize(len(slab.rows))


def _empty_like(new: Tensor) -> Tensor:
    return new.new_empty((0, *new.shape[1:]))


def _zeros(like: Tensor, shape: tuple[int, ...]) -> Tensor:
    """Zeros of `like`'s kind. Raises CacheFullError when there is no memory for them.

    A head's tokens lie together in memory, as attention's matrix products over many rows need them.
    """
    slots, capacity, *head = shape
    try:
        return like.new_zeros((slots, head[0], capacity, *head[1:])).transpose(1, 2)
    except (MemoryError, RuntimeError) as error:
        if not _is_out_of_memory(error):
            raise
        raise CacheFullError(
            f"There is no memory for the key-value cache on '{like.device}': a layer of {shape[0]} rows of "
            f"{shape[1]} tokens was refused.",
            "Run fewer samples at once, shorten the prompt, or lower the session's cache limit.",
        ) from error


def _is_out_of_memory(error: BaseException) -> bool:
    """Also of PyTorch's CPU allocator, which raises a plain RuntimeError."""
    if isinstance(error, (MemoryError, torch.OutOfMemoryError)):
        return True
    text = str(error).lower()
    return any(words in text for words in ("can't allocate memory", "not enough memory", "out of memory"))
