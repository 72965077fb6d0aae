"""Slots and slabs: what is cached of a row is where the row says, whatever happens around it."""

import random

import pytest
import torch
from memory import CPU, memory_runs_out

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


def test_a_row_whose_room_is_known_never_moves(cache):
    row, twin = CachedRow(), CachedRow()
    for each in (row, twin):
        cache.reserve(each, 900)
    homes = row.slab, twin.slab
    for token in range(90):
        write(cache, row, [token] * 10)
        write(cache, twin, [token] * 10)
    assert (row.slab, twin.slab) == homes
    assert is_whole(row)
    assert is_whole(twin)


def test_room_taken_before_any_layer_is_known_gets_its_layers_once_another_slab_has_them(cache):
    early, late, other = CachedRow(), CachedRow(), CachedRow()
    cache.reserve(early, 200)
    assert not early.slab.layers
    write(cache, other, [1])
    cache.reserve(early, 150)
    assert [len(keys) for keys, _ in early.slab.layers.values()] == [1, 1]
    cache.reserve(late, 400)
    assert set(late.slab.layers) == {0, 3}
    cache.release(late)
    cache.reserve(late, 300)  # a free slot


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
    twin = cache.fork(row, 3)
    write(cache, twin, [4])
    write(cache, row, [5, 6])
    assert (row.tokens, twin.tokens) == ([1, 2, 3, 5, 6], [1, 2, 3, 4])
    assert is_whole(row)
    assert is_whole(twin)


def test_a_fork_of_a_length_has_the_first_tokens_and_room_for_more(cache):
    row = CachedRow()
    write(cache, row, list(range(300)))
    for length, room, capacity in ((120, 0, 128), (120, 129, 256), (300, 0, 512), (300, 600, CONTEXT), (0, 5, 128)):
        twin = cache.fork(row, length, room)
        assert (twin.tokens, twin.cached, twin.slab.capacity) == (row.tokens[:length], length, capacity)
        assert is_whole(twin)
    assert is_whole(row)


def test_a_parked_row_leaves_no_hole_and_takes_what_it_holds(cache):
    rows = [CachedRow() for _ in range(4)]
    for number, row in enumerate(rows):
        write(cache, row, [number] * (number + 5))
    before = cache.allocated_tokens
    cache.park(rows[1])
    assert sorted(row.slot for row in (rows[0], *rows[2:])) == [0, 1, 2]
    assert (rows[1].slab.capacity, rows[1].slab.slots, cache.allocated_tokens) == (6, 1, before + 6)
    assert cache.used_tokens == 3 * SMALLEST_CAPACITY + 6
    assert all(map(is_whole, rows))
    cache.release(rows[1])
    assert (cache.allocated_tokens, cache.parked) == (before, set())


def test_a_parked_row_moves_back_when_it_grows_and_when_it_is_forked(cache):
    row = CachedRow()
    write(cache, row, list(range(SMALLEST_CAPACITY)))
    cache.park(row)
    assert row.slab in cache.parked  # of the same capacity as the slab that it left
    twin = cache.fork(row, 50)
    assert twin.slab is cache.slabs[SMALLEST_CAPACITY]
    assert row.slab in cache.parked
    del row.tokens[40:]
    row.cached = 40
    write(cache, row, [7])
    assert row.slab is cache.slabs[SMALLEST_CAPACITY]
    assert not cache.parked
    assert is_whole(row)
    assert is_whole(twin)


def test_a_parked_row_that_was_cut_is_parked_again_as_short_as_it_is(cache):
    row = CachedRow()
    write(cache, row, [1, 2, 3, 4])
    cache.park(row)
    home = row.slab
    cache.park(row)
    assert row.slab is home
    del row.tokens[3:]
    row.cached = 3
    cache.park(row)
    assert [slab.capacity for slab in cache.parked] == [3]
    assert is_whole(row)


def test_a_row_stays_where_it_is_when_there_is_no_room_to_park_it(monkeypatch):
    cache = KVCache(CONTEXT, max_tokens=SMALLEST_CAPACITY + 6)
    row = CachedRow()
    write(cache, row, [1] * 7)
    cache.park(row)
    assert row.slab is cache.slabs[SMALLEST_CAPACITY]
    del row.tokens[6:]
    row.cached = 6
    with memory_runs_out(monkeypatch, 3):
        cache.park(row)
    assert (row.slab, cache.parked) == (cache.slabs[SMALLEST_CAPACITY], set())
    cache.park(row)
    assert row.slab in cache.parked
    assert is_whole(row)


def test_a_row_without_anything_cached_takes_no_room(cache):
    twin = cache.fork(CachedRow([1, 2]), 2)
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


def test_a_row_may_take_what_another_leaves():
    cache = KVCache(CONTEXT, max_tokens=600)
    rows = [CachedRow(), CachedRow(), CachedRow()]
    for row in rows[:2]:
        write(cache, row, [1])
    cache.reserve_all({rows[0]: 200, rows[2]: 20})
    assert [row.slab.capacity for row in rows] == [256, 128, 128]
    assert cache.allocated_tokens == cache.used_tokens == 512
    assert all(map(is_whole, rows))


def test_rows_that_do_not_all_fit_are_refused_before_any_of_them_moves():
    cache = KVCache(CONTEXT, max_tokens=5 * SMALLEST_CAPACITY)
    rows = [CachedRow(), CachedRow(), CachedRow()]
    for row in rows[:2]:
        write(cache, row, [1])
    with pytest.raises(CacheFullError, match="holds 384 of at most 640 tokens and a row needs 512 more"):
        cache.reserve_all({rows[2]: 20, rows[1]: 100, rows[0]: 300})
    assert [row.slab and row.slab.capacity for row in rows] == [128, 128, None]
    assert (cache.used_tokens, cache.allocated_tokens) == (256, 256)
    cache.reserve_all({rows[2]: 20, rows[1]: 100, rows[0]: 200})
    assert [row.slab.capacity for row in rows] == [256, 128, 128]
    assert all(map(is_whole, rows))


@pytest.mark.parametrize("error", [RuntimeError(CPU), MemoryError(), torch.OutOfMemoryError("CUDA out of memory.")])
@pytest.mark.parametrize("after", range(4))
def test_memory_that_runs_out_leaves_the_cache_as_it_was(cache, monkeypatch, after, error):
    rows = [CachedRow(), CachedRow()]
    for number, row in enumerate(rows):
        write(cache, row, [number] * 9)
    slab = rows[0].slab
    before, places = dict(slab.layers), [(row.slab, row.slot) for row in rows]
    for use in (lambda: cache.reserve(CachedRow(), 100), lambda: cache.fork(rows[1], 5)):
        with memory_runs_out(monkeypatch, after, error), pytest.raises(CacheFullError) as refusal:
            use()
        assert str(refusal.value) == (
            "There is no memory for the key-value cache on 'cpu': a layer of 4 rows of 128 tokens was refused. "
            "Run fewer samples at once, shorten the prompt, or lower the session's cache limit."
        )
        assert all(slab.layers[index] is pair for index, pair in before.items())
        assert (slab.slots, slab.rows, [(row.slab, row.slot) for row in rows]) == (2, rows, places)
    twin = cache.fork(rows[1], 5)
    assert all(map(is_whole, (*rows, twin)))


def test_an_error_that_is_not_about_memory_stays_what_it_is(cache, monkeypatch):
    write(cache, CachedRow(), [1])
    with memory_runs_out(monkeypatch, 1, RuntimeError("no such device")), pytest.raises(RuntimeError, match="no such"):
        cache.reserve(CachedRow(), 300)


def test_rows_that_come_and_go_leave_nothing_behind(cache):
    for number in range(10_000):
        row = CachedRow()
        cache.reserve(row, number % CONTEXT + 1)
        if number % 50 == 0:
            write(cache, row, [number] * 3)
            cache.park(row)
        cache.release(row)
    assert (cache.used_tokens, cache.parked) == (0, set())
    assert cache.allocated_tokens == 128 + 256 + 512 + CONTEXT


@pytest.mark.parametrize("seed", range(5))
def test_rows_stay_whole_through_random_use(seed):
    draw = random.Random(seed)
    cache, rows = KVCache(CONTEXT, max_tokens=20 * SMALLEST_CAPACITY), []
    refused = 0
    for _ in range(300):
        kind = draw.choice(["new", "write", "write", "write", "fork", "release", "rewind", "park"])
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
                row = draw.choice(rows)
                rows.append(cache.fork(row, draw.randint(0, len(row.tokens)), draw.choice([0, 0, 200])))
            elif kind == "release":
                cache.release(rows.pop(draw.randrange(len(rows))))
            elif kind == "park":
                cache.park(draw.choice(rows))
            else:
                row = draw.choice(rows)
                del row.tokens[draw.randint(0, len(row.tokens)) :]
                row.cached = min(row.cached, len(row.tokens))
        except CacheFullError:
            refused += 1
        assert all(map(is_whole, rows))
        assert cache.used_tokens == sum(row.slab.capacity for row in rows if row.slab is not None)
        assert cache.used_tokens <= cache.allocated_tokens <= cache.max_tokens
    assert refused > 0
