"""Drafts copied from the context, against hand-worked cases and a plain search."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lmalgebra.decoding.prompt_lookup import LONGEST, SHORTEST, PromptLookup

TOKENS = st.lists(st.integers(0, 3), max_size=30)


def searched(tokens: list[int], pending: list[int], count: int) -> list[int]:
    """The same drafts by a plain search from the end, as the module describes them."""
    whole = tokens + pending
    for length in range(LONGEST, SHORTEST - 1, -1):
        suffix = whole[-length:]
        for place in range(len(tokens) - 1, length - 1, -1):
            if len(suffix) == length and tokens[place - length : place] == suffix:
                known = list(whole)
                for index in range(count):
                    known.append(known[place + index])
                return known[len(whole) :]
    return []


def test_what_followed_before_is_proposed():
    assert PromptLookup([1, 2, 3, 4, 5, 1, 2]).propose(3) == [3, 4, 5]
    assert PromptLookup([1, 2, 3, 4, 5, 1, 2]).propose(1) == [3]


def test_nothing_is_proposed_without_a_match():
    assert PromptLookup([1, 2, 3, 4]).propose(3) == []
    assert PromptLookup([]).propose(3) == []
    assert PromptLookup([1, 2]).propose(3) == []


def test_one_token_is_not_enough():
    assert PromptLookup([1, 2, 9, 2]).propose(2) == []


def test_the_longest_suffix_goes_before_the_most_recent():
    long, recent = [7, 1, 2, 30], [8, 1, 2, 40]
    assert PromptLookup([*long, *recent, 7, 1, 2]).propose(1) == [30]
    assert PromptLookup([*long, *recent, 9, 1, 2]).propose(1) == [40]
    assert PromptLookup([6, *long, 5, 7, 1, 2, 50, 6, 7, 1, 2]).propose(1) == [30]


def test_a_copy_runs_on_into_itself():
    assert PromptLookup([5, 5, 5]).propose(4) == [5, 5, 5, 5]
    assert PromptLookup([0, 1, 2, 1, 2]).propose(5) == [1, 2, 1, 2, 1]


def test_what_was_said_is_found_too():
    lookup = PromptLookup([1, 2])
    lookup.extend([3, 4])
    lookup.extend([1, 2])
    assert lookup.propose(2) == [3, 4]


def test_pending_tokens_end_the_suffix_and_are_forgotten():
    lookup = PromptLookup([1, 2, 3, 4, 5, 9])
    assert lookup.propose(2, pending=[2, 3]) == [4, 5]
    assert lookup.propose(2, pending=[8, 7]) == []
    assert lookup.propose(2, pending=[1, 2, 3, 4]) == [5, 9]
    assert lookup.propose(2) == []
    lookup.extend([8])
    assert lookup.propose(1, pending=[7]) == []  # 8, 7 was only pending


def test_a_suffix_may_join_said_and_pending_tokens():
    assert PromptLookup([1, 2, 3, 1]).propose(3, pending=[2]) == [3, 1, 2]


@given(TOKENS, TOKENS, st.lists(st.integers(0, 3), max_size=6), st.integers(1, 8))
def test_drafts_equal_those_of_a_plain_search(context, said, pending, count):
    lookup = PromptLookup(context)
    lookup.extend(said)
    assert lookup.propose(count, pending) == searched(context + said, pending, count)


@pytest.mark.parametrize("length", [1_000, 100_000])
def test_the_work_of_a_draft_does_not_grow_with_the_context(length):
    """Counted, not timed: tokens compared while drafting."""
    compared = 0

    class Counted(int):
        __hash__ = int.__hash__

        def __eq__(self, other: object) -> bool:
            nonlocal compared
            compared += 1
            return int.__eq__(self, other) is True

    lookup = PromptLookup(list(range(length)))
    assert lookup.propose(2, pending=[Counted(10), Counted(11), Counted(12)]) == [13, 14]
    assert compared < 20
