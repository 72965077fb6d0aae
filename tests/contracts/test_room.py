"""Space for rows: taken when they begin, given back when they end, and refused without harm when there is none."""

import pytest
from backends import BOUNDED_NAMES, NAMES, RECOMPUTED, REMOTE, backend, interrupted
from followed import Followed, some_tokens

from lmalgebra.errors import CacheFullError, ModelError
from lmalgebra.models.kv_cache import SMALLEST_CAPACITY

BOUND = 4 * SMALLEST_CAPACITY
"""Tokens: four short rows, or two longer ones."""


@pytest.fixture(params=BOUNDED_NAMES, name="bounded")
def each_bounded(request) -> Followed:
    """A session whose cache holds `BOUND` tokens."""
    return Followed(backend(request.param), max_cache_tokens=BOUND)


@pytest.mark.parametrize("length", [0, 1, 4, 9, 10, None])
def test_a_fork_holds_the_first_tokens_of_its_row(rows, length):
    first = rows.open(some_tokens(6))
    rows.extend({first: some_tokens(4, 1)})
    second = rows.fork(first, length)
    assert rows.session.length(second) == (10 if length is None else length)
    rows.extend({second: [1, 2], first: [3]})
    rows.close(first)
    rows.extend({second: [4]})


def test_forks_of_a_row_that_was_never_read_compute_it_with_the_first(rows, monkeypatch):
    first = rows.open(some_tokens(8))
    second = rows.fork(first, 5)
    with interrupted(monkeypatch, 0):
        third, fourth = rows.fork(first, 3), rows.fork(first)
    rows.extend({second: [1], third: [2, 3], fourth: [4], first: [5]})


@pytest.mark.parametrize("length", [-1, 4])
def test_a_row_cannot_be_forked_beyond_its_ends(rows, length):
    row = rows.open([1, 2, 3])
    with pytest.raises(ModelError, match=f"A row of 3 tokens cannot be forked at {length}. Give a length from 0 to 3"):
        rows.fork(row, length)
    rows.check_all()


@pytest.mark.parametrize("passes", ["ample", "small"])
def test_so_many_logits_are_given_as_are_wanted_of_each_row(rows, passes, request):
    if passes == "small":
        request.getfixturevalue("small_passes")
    opened = [rows.open(some_tokens(count)) for count in (0, 12, 3, 0, 5)]
    new = {row: some_tokens(count, 1) for row, count in zip(opened, (9, 10, 4, 20, 3), strict=True)}
    rows.extend(new, {opened[0]: 0, opened[1]: 3, opened[2]: 99, opened[3]: 19})
    rows.extend({row: [1, 2] for row in opened}, dict.fromkeys(opened, 0))
    rows.extend({row: [3] for row in opened}, {opened[4]: 0})
    rows.extend({opened[1]: [4]}, dict.fromkeys(opened, 1))


def test_parked_rows_are_forked_and_extended_like_others(rows):
    kept, *others = [rows.open(some_tokens(count)) for count in (20, 4, 30)]
    rows.extend({row: [1] for row in (kept, *others)})
    rows.session.park(kept)
    twins = [rows.fork(kept, length, room) for length, room in ((None, 0), (7, 0), (21, 200), (0, 5))]
    rows.extend({row: [2, 3] for row in (*others, *twins)})
    rows.session.park(others[0])
    rows.extend({row: [4] for row in (*others, *twins, kept)})
    rows.check_all()


def test_a_parked_row_is_rewound_parked_again_and_closed(rows):
    kept, other = rows.open(some_tokens(20)), rows.open(some_tokens(4))
    rows.extend({kept: [1], other: [2]})
    rows.session.park(kept)
    rows.rewind(kept, 12)
    rows.session.park(kept)
    rows.extend({rows.fork(kept): [3], other: [4]})
    rows.rewind(kept, 0)
    rows.session.park(kept)
    rows.extend({kept: [5], rows.fork(kept): [6]})
    rows.session.park(kept)
    rows.close(kept)
    with pytest.raises(ModelError, match="is not open"):
        rows.session.park(kept)
    rows.check_all()


def test_a_row_that_was_never_read_can_be_parked(rows):
    row = rows.open(some_tokens(5), room=40)
    rows.session.park(row)
    rows.extend({rows.fork(row): [1], row: [2]})


def test_room_beyond_the_context_is_not_counted(rows):
    row = rows.open([1, 2], room=10 * rows.session.context_length)
    rows.extend({row: some_tokens(rows.session.context_length - 3), rows.fork(row, 1, room=1 << 40): [3]})


@pytest.mark.parametrize("name", NAMES)
def test_only_a_session_with_a_bound_says_how_much_room_is_left(name):
    unbounded = backend(name).new_session()
    assert (unbounded.room_left is None) == (name in ("table", *REMOTE, *RECOMPUTED))
    if name in BOUNDED_NAMES:
        assert backend(name).new_session(max_cache_tokens=BOUND).room_left == BOUND


def test_a_row_can_always_be_extended_to_the_room_it_was_given(bounded):
    row = bounded.open([1, 2, 3], room=SMALLEST_CAPACITY + 1)
    twin = bounded.fork(bounded.open(), room=SMALLEST_CAPACITY)
    _fill(bounded)
    bounded.extend({row: some_tokens(SMALLEST_CAPACITY - 20), twin: some_tokens(SMALLEST_CAPACITY - 1)})
    bounded.extend({row: some_tokens(18), twin: [1]})


def test_room_comes_back_when_rows_are_closed(bounded):
    session = bounded.session
    for room in (BOUND, BOUND // 2, 1):
        row = bounded.open([1], room=room)
        assert session.room_left <= BOUND - room
        bounded.extend({row: [2]})
        bounded.close(row)
        assert session.room_left == BOUND


def test_a_parked_row_takes_room_only_for_what_it_holds(bounded):
    session = bounded.session
    row = bounded.open(some_tokens(20), room=SMALLEST_CAPACITY)
    bounded.extend({row: [1]})
    assert session.room_left == BOUND - SMALLEST_CAPACITY
    session.park(row)
    assert session.room_left == BOUND - 21
    bounded.close(row)
    assert session.room_left == BOUND


def test_what_there_is_no_room_for_is_refused_and_changes_nothing(bounded):
    session = bounded.session
    row, other = bounded.open(some_tokens(9), room=2 * SMALLEST_CAPACITY), bounded.open(room=SMALLEST_CAPACITY)
    bounded.extend({row: [1], other: [2]})
    left = session.room_left
    refused = (
        lambda: session.open([1], room=SMALLEST_CAPACITY + 1),
        lambda: session.fork(row, 3, room=SMALLEST_CAPACITY + 1),
        lambda: session.extend({other: [3], row: some_tokens(400)}),
        lambda: session.extend({row: [3], other: some_tokens(290)}),
    )
    for use in refused:
        with pytest.raises(CacheFullError, match="cache is full"):
            use()
        assert session.room_left == left
        assert (session.length(row), session.length(other)) == (10, 1)
    bounded.check_all()


@pytest.mark.parametrize("name", ["table", "llama"])
def test_ten_thousand_rows_that_come_and_go_leave_nothing_behind(name):
    session = backend(name).new_session(max_cache_tokens=10 * BOUND)
    for number in range(250):
        opened = [session.open(some_tokens(number % 7), room=number % 3 * 40) for _ in range(30)]
        session.extend({row: [number % 50] for row in opened}, dict.fromkeys(opened, 0))
        for row in opened[:10]:
            session.park(row)
            opened.append(session.fork(row, 1))
        for row in opened:
            session.close(row)
    assert session.room_left == 10 * BOUND
    assert len(session._rows) == 0
    if name == "llama":
        assert session.cache.allocated_tokens <= 10 * BOUND
        assert not session.cache.parked


def _fill(rows: Followed) -> None:
    """Open rows until the cache refuses another."""
    while rows.session.room_left >= SMALLEST_CAPACITY:
        rows.open([1], room=SMALLEST_CAPACITY)
    with pytest.raises(CacheFullError):
        rows.open([1], room=SMALLEST_CAPACITY)
