"""Slots and slabs: what is cached of a row is where the row says, whatever happens around it."""

import random

import pytest
import torch

from lmalgebra.errors import CacheFullError
from lmalgebra.models.kv_cache import SMALLEST_CAPACITY, CachedRow, KVCache

CONTEXT = 1000


@torch.inference_mode()
def write(cache: KVCache, row: CachedRow, tokens: list[int]) -> None:
    """Cache `tokens` at the end of `row`: the keys are the tokens, the values their negatives, in two layers."""
    row.tokens += tokens
    cache.reserve(row, len(row.tokens))
    new = torch.tensor(tokens, dtype=torch.float32)[:, None, None]
    for layer in (0, 3):
        keys, values = row.slab.layer(layer, new, new.expand(-1, 2, 3))
        keys[row.slot, row.cached : len(row.tokens)] = new + layer
        values[row.slot, row.cached : len(row.tokens)] = -new
    row.cached = len(row.tokens)


def is_whole(row: CachedRow) -> bool:
    """Whether the cache holds of `row` what was written, and the row is where its slab says."""
    if not row.cached:
        return True
    expected = torch.tensor(row.tokens[: row.cached], dtype=torch.float32)
    assert row.slab.rows[row.slot] is row
    return all(
        torch.equal(keys[row.slot, : row.cached, 0, 0], expected + layer)
        and torch.equal(values[row.slot, : row.cached, 1, 2], -expected)
        for layer, (keys, values) in row.slab.layers.items()
    )


@pytest.fixture
def cache() -> KVCache:
    return KVCache(CONTEXT, max_tokens=1 << 15)


@pytest.mark.parametrize(
    ("length", "capacity"), [(1, 128), (128, 128), (129, 256), (500, 512), (513, CONTEXT), (1000, CONTEXT)]
)
def test_a_row_has_room_for_a_power_of_two_of_tokens_or_the_context(cache, length, capacity):
    row = CachedRow()
    cache.reserve(row, length)
    assert row.slab.capacity == capacity


def test_a_row_moves_only_when_it_outgrows_its_slab(cache):
    row, moves, slab = CachedRow(), 0, None
    for token in range(900):
        write(cache, row, [token])
        moves, slab = moves + (row.slab is not slab), row.slab
        assert is_whole(row) or token == 0
    assert moves == 4  # 128, 256, 512 and the context


def test_occupied_slots_are_the_first_ones(cache):
    rows = [CachedRow() for _ in range(6)]
    for number, row in enumerate(rows):
        write(cache, row, [number] * (number + 1))
    for place in (0, 2, -1):
        gone = rows.pop(place)
        cache.release(gone)
        assert gone.slab is None
        assert sorted(row.slot for row in rows) == list(range(len(rows)))
        assert all(map(is_whole, rows))


def test_a_fork_has_a_copy_of_its_own(cache):
    row = CachedRow()
    write(cache, row, [1, 2, 3])
    twin = cache.fork(row)
    write(cache, twin, [4])
    write(cache, row, [5, 6])
    assert (row.tokens, twin.tokens) == ([1, 2, 3, 5, 6], [1, 2, 3, 4])
    assert is_whole(row)
    assert is_whole(twin)


def test_a_row_without_anything_cached_takes_no_room(cache):
    twin = cache.fork(CachedRow([1, 2]))
    assert (twin.tokens, twin.slab, cache.allocated_tokens) == ([1, 2], None, 0)
    cache.release(twin)


def test_slots_that_no_row_uses_are_given_back_when_others_need_room():
    cache = KVCache(CONTEXT, max_tokens=8 * SMALLEST_CAPACITY)
    short = [CachedRow() for _ in range(5)]  # makes room for eight
    for row in short:
        write(cache, row, [1, 2])
    assert cache.allocated_tokens == 8 * SMALLEST_CAPACITY
    for row in short[1:]:
        cache.release(row)
    long = CachedRow()
    write(cache, long, list(range(500)))
    assert is_whole(long)
    assert is_whole(short[0])
    assert cache.allocated_tokens <= cache.max_tokens


def test_a_full_cache_says_how_full_and_what_is_missing():
    cache = KVCache(CONTEXT, max_tokens=300)
    rows = [CachedRow(), CachedRow()]
    for row in rows:
        write(cache, row, [1])
    with pytest.raises(CacheFullError) as refusal:
        cache.reserve(CachedRow(), 200)
    assert str(refusal.value) == (
        "The key-value cache is full: it holds 256 of at most 300 tokens and a row needs 256 more. "
        "Run fewer samples at once, shorten the prompt, or raise the session's cache limit."
    )
    assert all(map(is_whole, rows))


@pytest.mark.parametrize("seed", range(5))
def test_rows_stay_whole_through_random_use(seed):
    draw = random.Random(seed)
    cache, rows = KVCache(CONTEXT, max_tokens=20 * SMALLEST_CAPACITY), []
    refused = 0
    for _ in range(300):
        kind = draw.choice(["new", "write", "write", "write", "fork", "release", "rewind"])
        try:
            if kind == "new" or not rows:
                rows.append(CachedRow())
            elif kind == "write":
                row = draw.choice(rows)
                added = [draw.randrange(1000) for _ in range(draw.choice([1, 20, 200]))]
                if len(row.tokens) + len(added) <= CONTEXT:
                    cache.reserve(row, len(row.tokens) + len(added))
                    write(cache, row, added)
            elif kind == "fork":
                rows.append(cache.fork(draw.choice(rows)))
            elif kind == "release":
                cache.release(rows.pop(draw.randrange(len(rows))))
            else:
                row = draw.choice(rows)
                del row.tokens[draw.randint(0, len(row.tokens)) :]
                row.cached = min(row.cached, len(row.tokens))
        except CacheFullError:
            refused += 1
        assert all(map(is_whole, rows))
        assert cache.allocated_tokens <= cache.max_tokens
    assert refused > 0
