"""What every session promises, whichever model is behind it. Each answer is checked by `Followed`."""

import pytest
import torch
from backends import CACHED_NAMES, LLAMA_CPP, NAMES, VOCABULARY, backend, interrupted
from followed import Followed, some_tokens

from lmalgebra.errors import CacheFullError, ModelError, PromptError
from lmalgebra.models.kv_cache import SMALLEST_CAPACITY

NO_ROW = "is not open in this session"


def test_a_row_that_is_read_bit_by_bit_gives_the_logits_of_reading_it_at_once(rows):
    row = rows.open()
    for count in (1, 5, 1, 2, 17, 1):
        rows.extend({row: some_tokens(count)})


def test_tokens_given_at_opening_are_read_with_the_first_new_ones(rows):
    rows.extend({rows.open(some_tokens(9)): some_tokens(4), rows.open(some_tokens(2)): [5], rows.open(): [6, 7]})


def test_ragged_rows_share_a_pass(rows):
    opened = [rows.open() for _ in range(6)]
    for lengths in ((3, 1, 20, 7, 1, 2), (1, 1, 1, 1, 1, 1), (2, 40, 1, 1, 18, 3), (1, 1, 1, 1, 1, 1)):
        rows.extend({row: some_tokens(count, row) for row, count in zip(opened, lengths, strict=True)})


def test_rows_that_are_left_out_of_a_pass_stay_as_they_are(rows):
    opened = [rows.open(some_tokens(4, seed)) for seed in range(7)]
    rows.extend({row: [1] for row in opened})
    for chosen in ((0, 6), (3,), (5, 1), (2, 4, 0), (0, 1, 2, 3, 4, 5, 6)):
        rows.extend({opened[i]: [i] for i in chosen})


def test_forked_rows_go_their_own_ways(rows):
    first = rows.open(some_tokens(10))
    rows.extend({first: [1]})
    second = rows.fork(first)
    third = rows.fork(second)
    rows.extend({first: [2, 3], second: [4], third: [5, 6, 7]})
    rows.close(first)
    rows.extend({second: [8], third: [9]})


def test_a_row_is_forked_before_it_was_ever_read(rows):
    first = rows.open(some_tokens(5))
    second = rows.fork(first)
    empty = rows.fork(rows.open())
    rows.extend({second: [1, 2], first: [3], empty: [4]})


def test_rewound_rows_read_on_as_if_the_tail_had_never_been(rows):
    first, second = rows.open(some_tokens(6)), rows.open(some_tokens(30))
    rows.extend({first: some_tokens(20), second: [1]})
    rows.rewind(first, 8)
    rows.rewind(second, 3)
    rows.extend({first: [2, 3], second: some_tokens(12, 5)})
    rows.rewind(first, 0)
    rows.extend({first: [4, 5, 6], second: [7]})


def test_a_rewound_row_is_forked_without_its_tail(rows):
    first = rows.open(some_tokens(6))
    rows.extend({first: some_tokens(20)})
    rows.rewind(first, 9)
    second = rows.fork(first)
    rows.extend({second: [1], first: [2, 3]})


def test_tokens_that_were_never_read_can_be_rewound(rows):
    row = rows.open(some_tokens(8))
    rows.rewind(row, 5)
    rows.extend({row: [1]})


@pytest.mark.usefixtures("small_passes")
def test_prompts_longer_than_a_pass_are_read_in_several(rows):
    opened = [rows.open(some_tokens(count)) for count in (0, 30, 4, 7)]
    rows.extend({row: some_tokens(count, 1) for row, count in zip(opened, (25, 1, 8, 7), strict=True)})
    rows.extend({row: some_tokens(3, 2) for row in opened})


@pytest.mark.usefixtures("small_passes")
def test_only_the_last_logits_of_long_prompts_are_given_when_no_more_are_wanted(rows):
    opened = [rows.open(some_tokens(count)) for count in (0, 30, 4)]
    rows.extend_last({row: some_tokens(count, 1) for row, count in zip(opened, (25, 1, 8), strict=True)})
    rows.extend_last({row: [2] for row in opened})


def test_the_last_logits_are_the_last_of_all(rows):
    opened = [rows.open() for _ in range(3)]
    rows.extend_last({row: some_tokens(count) for row, count in zip(opened, (1, 6, 19), strict=True)})


def test_no_new_tokens_give_no_logits(rows):
    first, second, third = rows.open(some_tokens(4)), rows.open(), rows.open(some_tokens(2))
    assert rows.extend({}) == {}
    rows.extend({first: ()})
    rows.extend_last({first: (), second: [1, 2], third: ()})
    rows.extend({first: (), second: (), third: (3,)})
    rows.extend({first: [4], second: [5]})


def test_rows_find_room_where_closed_ones_were(rows):
    opened = [rows.open(some_tokens(5, seed)) for seed in range(6)]
    rows.extend({row: [1] for row in opened})
    for closed in (0, 3):
        rows.close(opened[closed])
    later = [rows.open(some_tokens(3, seed)) for seed in range(4)]
    rows.extend({row: [2] for row in (*later, opened[1])})
    rows.close(opened[5])
    rows.close(later[0])
    rows.check_all()


def test_a_row_outgrows_its_room_again_and_again(rows):
    growing, neighbour, last = rows.open(), rows.open(some_tokens(100)), rows.open(some_tokens(3))
    for count in (SMALLEST_CAPACITY, 1, SMALLEST_CAPACITY - 1, 1, 2 * SMALLEST_CAPACITY, 1):
        rows.extend_last({growing: some_tokens(count), neighbour: [1, 2], last: [3]})
    twin = rows.fork(growing)
    rows.rewind(growing, 2)
    rows.extend({growing: [4], twin: [5], neighbour: some_tokens(40), last: [6]})


def test_a_row_fills_its_context_and_can_then_be_rewound(rows):
    row = rows.open(some_tokens(rows.session.context_length - 1))
    rows.extend_last({row: [1]})
    rows.rewind(row, 2)
    rows.extend({row: [3]})


def test_a_row_does_not_depend_on_its_neighbours(backend):
    session, prompt = backend.new_session(), some_tokens(12)
    alone = session.open(prompt)
    expected = torch.cat([session.extend({alone: new})[alone].clone() for new in ([1], [2, 3], [4])])
    crowd = [session.open(some_tokens(count, count)) for count in (1, 3, 14, 40)]
    row = session.open(prompt)
    found = []
    for step, new in enumerate(([1], [2, 3], [4])):
        among = {other: some_tokens(1 + other % 3, step) for other in crowd}
        found.append(session.extend({crowd[0]: among.pop(crowd[0]), row: new, **among})[row].clone())
    torch.testing.assert_close(torch.cat(found), expected, rtol=0, atol=1e-5)


def test_logits_need_no_gradient(rows):
    row = rows.open([1, 2])
    assert not rows.extend({row: [3]})[row].requires_grad


def test_a_closed_row_cannot_be_used(rows):
    row, other = rows.open([1, 2]), rows.open([3])
    rows.extend({row: [4], other: [5]})
    rows.close(row)
    session = rows.session
    uses = (
        lambda: session.extend({other: [1], row: [1]}),
        lambda: session.fork(row),
        lambda: session.rewind(row, 0),
        lambda: session.length(row),
        lambda: session.close(row),
    )
    for use in uses:
        with pytest.raises(ModelError, match=NO_ROW):
            use()
    rows.check_all()


@pytest.mark.parametrize("length", [-1, 4])
def test_a_row_cannot_be_rewound_beyond_its_ends(rows, length):
    row = rows.open([1, 2, 3])
    with pytest.raises(ModelError, match=f"A row of 3 tokens cannot be rewound to {length}. Give a length from 0 to 3"):
        rows.rewind(row, length)
    rows.check_all()


def test_a_context_that_is_exceeded_changes_no_row(rows):
    room = rows.session.context_length
    full, other = rows.open(some_tokens(room - 2)), rows.open([1, 2])
    rows.extend_last({full: [3], other: [4]})
    with pytest.raises(PromptError, match=f"A row of {room + 1:,} tokens is longer than the model's context"):
        rows.session.extend({other: [5], full: [6, 7]})
    rows.check_all()


def test_a_prompt_longer_than_the_context_cannot_be_opened(rows):
    length = rows.session.context_length + 1
    with pytest.raises(PromptError, match=f"A row of {length:,} tokens .* Shorten the prompt, or use a model with a"):
        rows.open([0] * length)


@pytest.mark.usefixtures("small_passes")
@pytest.mark.parametrize("after", [0, 2])
def test_an_interruption_leaves_every_row_as_it_was(rows, monkeypatch, after):
    first, second, third = rows.open(some_tokens(5)), rows.open(some_tokens(20)), rows.open()
    rows.extend({first: [1]})
    with interrupted(monkeypatch, after), pytest.raises(KeyboardInterrupt):
        rows.session.extend({first: some_tokens(9), second: some_tokens(9), third: [1, 2, 3]})
    rows.check_all()


def test_a_token_outside_the_vocabulary_changes_no_row(rows):
    first, second = rows.open([1, 2]), rows.open([3])
    rows.extend({first: [4]})
    with pytest.raises(IndexError):
        rows.session.extend({second: [5, 6], first: [VOCABULARY + 40]})
    rows.check_all()


@pytest.fixture(params=CACHED_NAMES)
def three_rows(request) -> Followed:
    """A session with room for three short rows, holding two."""
    rows = Followed(backend(request.param), max_cache_tokens=3 * SMALLEST_CAPACITY)
    rows.extend({rows.open(some_tokens(20)): [1], rows.open(some_tokens(4)): [2]})
    return rows


@pytest.mark.usefixtures("small_passes")
def test_an_interrupted_fork_leaves_every_row_as_it_was(three_rows, monkeypatch):
    first = three_rows.open(some_tokens(20))
    with interrupted(monkeypatch, 1), pytest.raises(KeyboardInterrupt):
        three_rows.session.fork(first)
    three_rows.check_all()


def test_a_full_cache_refuses_a_row_and_leaves_the_others_usable(three_rows):
    third, fourth = three_rows.open([1, 2]), three_rows.open([3])
    three_rows.extend({third: [4]})
    message = (
        "The key-value cache is full: it holds 384 of at most 384 tokens and a row needs 128 more. "
        "Run fewer samples at once, shorten the prompt, or raise the session's cache limit."
    )
    with pytest.raises(CacheFullError) as refusal:
        three_rows.session.extend({third: [5], fourth: [6]})
    assert str(refusal.value) == message
    three_rows.close(third)
    three_rows.check_all()


def test_a_full_cache_refuses_a_row_that_outgrows_its_room(three_rows):
    first, second = three_rows.tokens
    with pytest.raises(CacheFullError, match="a row needs 512 more"):
        three_rows.session.extend({second: [1], first: some_tokens(300)})
    three_rows.check_all()
    three_rows.extend({second: [1, 2], first: [3]})


def test_a_full_cache_refuses_a_fork_and_leaves_the_others_usable(three_rows):
    first, second = three_rows.tokens
    third = three_rows.fork(first)
    with pytest.raises(CacheFullError):
        three_rows.session.fork(second)
    three_rows.close(third)
    three_rows.fork(second)
    three_rows.check_all()


def test_room_that_rows_left_is_used_for_longer_ones(three_rows):
    first, second = three_rows.tokens
    three_rows.close(first)
    three_rows.extend({second: some_tokens(130)})
    three_rows.check_all()


def test_every_kind_of_session_is_in_the_contract():
    kinds = {type(backend(name).new_session()).__name__ for name in NAMES}
    known = {"TableSession", "TransformersSession", "RecomputeSession", "EndpointSession"}
    assert kinds == (known | {"LlamaCppSession"} if LLAMA_CPP else known)
