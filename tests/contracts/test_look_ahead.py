"""Alternatives that are read after a row: each as if it stood there alone, and none of them stays."""

import pytest
from backends import BOUNDED_NAMES, CACHED_NAMES, CONTEXT, backend
from followed import Followed, some_tokens

from lmalgebra.errors import CacheFullError, ModelError, PromptError
from lmalgebra.models.kv_cache import SMALLEST_CAPACITY


def test_alternatives_are_read_one_by_one_and_forgotten(rows):
    first, second = rows.open(some_tokens(9)), rows.open(some_tokens(30))
    rows.look_ahead({first: [1], second: [2, 3]}, {first: [some_tokens(20)], second: [[5]]})
    rows.look_ahead({first: [4], second: ()}, {first: [some_tokens(3)], second: [[7, 8]]})
    rows.extend({first: [1, 2], second: [3]})
    rows.check_all()


def test_each_of_the_last_positions_has_alternatives_of_its_own(rows):
    first, second = rows.open(some_tokens(3)), rows.open(some_tokens(17))
    nexts = {first: [[1, 2], [], [3]], second: [some_tokens(9), some_tokens(4), [5]]}
    rows.look_ahead({first: [1, 2], second: [3, 4, 5]}, nexts)
    rows.rewind(second, 18)
    rows.look_ahead({first: [6], second: [9]}, {first: [[1]], second: [[2, 3]]})
    rows.check_all()


def test_alternatives_for_the_first_token_of_all(rows):
    row, other = rows.open(), rows.open()
    rows.look_ahead({row: (), other: [4]}, {row: [[1, 2, 3]], other: [[1, 2], [3]]})
    rows.check_all()


def test_without_alternatives_it_only_extends(rows):
    row, other = rows.open(some_tokens(3)), rows.open()
    rows.look_ahead({row: [1, 2], other: ()}, {row: [], other: [[]]})
    rows.check_all()


@pytest.mark.usefixtures("small_passes")
def test_alternatives_are_spread_over_small_passes(rows):
    row, other = rows.open(some_tokens(20)), rows.open(some_tokens(2))
    rows.look_ahead({row: [1, 2], other: [3]}, {row: [some_tokens(8), some_tokens(9, 1)], other: [some_tokens(6)]})
    rows.check_all()


@pytest.mark.parametrize("name", BOUNDED_NAMES)
def test_in_a_full_cache_no_row_changes(name):
    rows = Followed(backend(name), max_cache_tokens=2 * SMALLEST_CAPACITY)
    row, other = rows.open(some_tokens(SMALLEST_CAPACITY - 5)), rows.open(some_tokens(SMALLEST_CAPACITY - 5))
    rows.extend({row: [1], other: [2]})
    with pytest.raises(CacheFullError):
        rows.session.look_ahead({row: [1], other: [2]}, {row: [some_tokens(9)], other: [some_tokens(9)]})
    rows.check_all()


@pytest.mark.parametrize("name", CACHED_NAMES)
def test_nothing_is_read_past_the_context(name):
    rows = Followed(backend(name))
    row = rows.open(some_tokens(CONTEXT - 1))
    rows.look_ahead({row: ()}, {row: [[1, 2]]})
    with pytest.raises(PromptError):
        rows.session.look_ahead({row: [3]}, {row: [[1]]})
    rows.look_ahead({row: [3]}, {row: []})


def test_a_closed_row_has_no_alternatives(rows):
    row = rows.open([1])
    rows.close(row)
    with pytest.raises(ModelError, match="is not open"):
        rows.session.look_ahead({row: [1]}, {row: [[2]]})
