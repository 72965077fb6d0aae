"""Nobody waits for long because another asks for much: places, prompt tokens and passes are shared."""

import pytest
from together import Together, alone, speaker
from voices import STEERED

from lmalgebra.decoding.scheduler import READ_TOKENS, READ_TOKENS_ALONE

ENDLESS = {"min_new_tokens": 3000, "max_new_tokens": 3000}


@pytest.fixture
def base(models):
    return speaker("base", models)


def someone_speaks(base, **options):
    """A scheduler in which a request is speaking for a long time."""
    running = Together(**options)
    running.add(base, "z", **ENDLESS)
    running.steps_of(3)
    return running


def read_in_a_step(running, session):
    """The tokens that the next pass gives to each row, those of what speaks left out."""
    before = len(session.calls)
    while len(session.calls) == before:  # first tokens are drawn in steps of their own, which call no session
        running.step()
    given = [count for call in session.calls[before:] for count in call.values()]
    given.remove(1)
    return sorted(given)


def test_prompts_share_what_is_read_in_a_step_and_a_short_one_leaves_its_share_to_the_longer(models, base):
    running = someone_speaks(base, read_tokens=90)
    for prompt in ("a" * 300, "b" * 10, "c" * 40, "d" * 300):
        running.add(base, prompt, max_new_tokens=1)
    session = models["base"].session
    assert read_in_a_step(running, session) == [10, 26, 27, 27]
    assert read_in_a_step(running, session) == [13, 38, 39]  # the 10 are read; their request is answered
    assert read_in_a_step(running, session) == [45, 45]


def test_the_terms_of_a_prompt_share_with_it(models):
    """A request of two terms gets no more than a request of one."""
    base, steered = speaker("base", models), speaker(STEERED, models)
    running = someone_speaks(base, read_tokens=60)
    running.add(steered, "a" * 100, max_new_tokens=1)
    running.add(base, "b" * 100, max_new_tokens=1)
    assert sum(read_in_a_step(running, models["base"].session)) == 60
    assert not models["formal"].session.calls


@pytest.mark.parametrize("read_tokens", [1, 3, 16])
def test_no_step_reads_more_than_so_many_tokens_while_someone_speaks(models, base, read_tokens):
    running = someone_speaks(base, read_tokens=read_tokens)
    others = [running.add(base, prompt, max_new_tokens=1) for prompt in ("a" * 40, "b" * 9, "c", "d" * 30, "ee")]
    while any(index not in running.last for index in others):
        given = read_in_a_step(running, models["base"].session)
        assert sum(given) <= read_tokens
        assert running.steps < 200
    assert running.steps <= 3 + 82 // read_tokens + 1 + 2 * len(others)


def test_more_is_read_while_nobody_speaks(models, base):
    running = Together(read_tokens=16)
    running.add(base, "a" * 3000, max_new_tokens=1)
    running.step()
    assert models["base"].session.calls[-1] == {0: READ_TOKENS_ALONE}


def test_the_step_that_reads_a_short_prompt_to_its_end_is_short(models, base):
    running = Together(read_tokens=16)
    running.add(base, "a" * 3000, max_new_tokens=1)
    running.step()
    running.add(base, "b" * 40, max_new_tokens=1)
    running.add(base, "c" * 5, max_new_tokens=1)
    running.steps_of(3)  # in the second, it is answered
    short, long = models["base"].session.calls[-2:]
    assert sorted(short.values()) == [5, 5, 6]
    assert sum(long.values()) == READ_TOKENS_ALONE


def test_a_short_request_overtakes_a_long_prompt_that_is_being_read(base):
    running = someone_speaks(base)
    long = running.add(base, "a" * 4000, max_new_tokens=1)
    running.steps_of(1)
    short = running.add(base, "hello", max_new_tokens=4, min_new_tokens=4)
    added = running.steps
    running.steps_of(4000 // READ_TOKENS + 8)
    assert running.first[short] == added + 2  # one step to be read, in the next it speaks
    assert running.last[short] <= added + 6 < running.first[long]


def test_a_short_request_overtakes_a_prompt_that_waits_to_copy_from_a_long_one(base):
    running = someone_speaks(base)
    long = running.add(base, "a" * 4000, max_new_tokens=1)
    alike = running.add(base, "a" * 3900 + "b", max_new_tokens=1)
    short = running.add(base, "hello", max_new_tokens=1)
    added = running.steps
    running.steps_of(4000 // READ_TOKENS + 8)
    assert running.first[short] == added + 2
    assert running.first[long] <= running.first[alike] <= running.first[long] + 3


def test_a_request_of_many_samples_does_not_keep_another_from_starting(base):
    running = Together(max_samples=4)
    many = running.add(base, "a", samples=100, min_new_tokens=6, max_new_tokens=6)
    running.steps_of(4)
    one = running.add(base, "hello", max_new_tokens=1)
    added = running.steps
    running.steps_of(9)
    assert running.first[one] <= added + 6 + 2  # a place is free when the first samples are done
    assert len(running.samples[many]) < 8


def test_requests_of_many_samples_get_places_in_turn(base):
    running = Together(max_samples=6)
    for seed in range(3):
        running.add(base, "hello", samples=20, seed=100 * seed, min_new_tokens=5, max_new_tokens=5)
    for _ in range(40):
        running.step()
        counts = [len(running.samples[index]) for index in range(3)]
        assert max(counts) - min(counts) <= 2
    assert min(counts) >= 14


def test_samples_of_a_request_are_not_put_off_for_ever_by_new_requests(base):
    running = Together(max_samples=2)
    several = running.add(base, "hello", samples=5, min_new_tokens=5, max_new_tokens=5)
    while several not in running.last or len(running.samples[several]) < 5:
        while running.scheduler.waiting < 3:
            running.add(base, "a", seed=running.steps, min_new_tokens=3, max_new_tokens=3)
        running.step()
        assert running.steps < 40
    assert running.samples[several] == alone(base, "hello", samples=5, min_new_tokens=5, max_new_tokens=5)


def test_requests_of_several_samples_are_not_all_read_before_any_is_answered(models, base):
    running = Together(max_samples=3)
    for seed in range(20):
        running.add(base, "hello", samples=3, seed=10 * seed, min_new_tokens=5, max_new_tokens=5)
    running.finish()
    assert models["base"].session.most_rows <= 6  # three samples, and the prompts that have more


def test_a_plain_request_is_not_put_off_for_ever_by_others_that_draft(models):
    """Two that draft by turns: at every step one of them has a draft to make. The plain one uses another model."""
    drafting, plain = speaker("base", models, "base:3"), speaker("formal", models)
    running = Together()
    running.add(drafting, "a", **ENDLESS)
    running.steps_of(4)
    running.add(drafting, "bc", **ENDLESS)
    running.steps_of(4)
    index = running.add(plain, "hello", min_new_tokens=6, max_new_tokens=6)
    running.steps_of(8)
    assert running.samples[index] == alone(plain, "hello", min_new_tokens=6, max_new_tokens=6)
