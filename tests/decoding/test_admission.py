"""Requests wait for room in the order of arrival, and what runs never runs out of it."""

import pytest
from test_scheduler import REQUESTS, expected_of
from together import Together, alone, network_models, recorded_toys, rows_open, speaker, watched_sessions
from voices import STEERED

from lmalgebra.errors import CacheFullError

LENGTH = {"min_new_tokens": 8, "max_new_tokens": 8}
ROOM = len("hello") + 7
"""Tokens that a row of `hello` may take with these settings: the last token is not read."""


def bounded(kind, limit):
    """Models whose sessions hold at most so many tokens each; a network's rows take 128 tokens at least."""
    if kind == "toy":
        return recorded_toys(max_cache_tokens=limit)
    return network_models(max_cache_tokens=limit)


def run_within(requests, models, gap, **options):
    """Runs the requests and checks after every step that no session has taken more than it may."""
    running = Together(**options)
    voices = {}

    def step():
        running.step()
        for session in watched_sessions(models):
            assert session.room_left is None or session.room_left >= 0
            cache = getattr(session.inner, "cache", None)
            assert cache is None or cache.allocated_tokens <= cache.max_tokens

    for formula, prompt, settings in requests:
        running.add(voices.setdefault(formula, speaker(formula, models)), prompt, **settings)
        for _ in range(gap):
            step()
    while running.scheduler.busy:
        assert running.steps < 3000
        step()
    return running


@pytest.mark.parametrize("gap", [0, 2])
@pytest.mark.parametrize(("kind", "limit"), [("toy", 60), ("toy", 90), ("network", 256), ("network", 640)])
def test_a_tight_cache_gives_the_same_texts_as_an_ample_one(kind, limit, gap):
    ample = recorded_toys() if kind == "toy" else network_models()
    tight = bounded(kind, limit)
    found = run_within(REQUESTS * 2, tight, gap)
    assert found.samples == expected_of(REQUESTS * 2, ample)
    assert rows_open(tight) == 0
    for session in watched_sessions(tight):
        assert session.room_left == limit
        assert session.refused_extensions == 0


def test_such_a_cache_is_tight():
    """Otherwise the test above would show nothing."""
    models = recorded_toys()
    run_within(REQUESTS * 2, models, 0)
    assert all(session.most_rows > 20 for session in watched_sessions(models))
    tight = bounded("toy", 60)
    run_within(REQUESTS * 2, tight, 0)
    assert all(session.most_rows < 6 for session in watched_sessions(tight))


@pytest.mark.parametrize("rows", [1, 2, 3])
def test_requests_wait_for_room_in_the_order_of_arrival(rows):
    models = recorded_toys(max_cache_tokens=rows * ROOM)
    spoken = speaker("base", models)
    running = Together()
    for seed in range(9):
        running.add(spoken, "hello", seed=seed, **LENGTH)
    running.finish()
    begun = [running.first[index] for index in range(9)]
    assert begun == sorted(begun)
    assert len(set(begun)) == -(-9 // rows)
    assert models["base"].session.most_rows == rows


def test_a_short_request_does_not_pass_a_long_one_that_waits_for_room():
    models = recorded_toys(max_cache_tokens=94)  # the short one would fit beside the first
    spoken = speaker("base", models)
    running = Together()
    running.add(spoken, "a" * 40, **LENGTH)
    long = running.add(spoken, "b" * 80, **LENGTH)
    short = running.add(spoken, "c", **LENGTH)
    running.finish()
    assert running.first[long] < running.first[short]


def test_what_an_empty_cache_cannot_hold_is_refused_and_the_others_go_on():
    models = recorded_toys(max_cache_tokens=30)
    spoken = speaker("base", models)
    running = Together()
    running.add(spoken, "hello", **LENGTH)
    large = running.add(spoken, "a" * 24, **LENGTH)
    running.add(spoken, "hello", seed=1, **LENGTH)
    running.finish()
    assert list(running.refused) == [large]
    assert isinstance(running.refused[large], CacheFullError)
    assert str(running.refused[large]) == (
        "The key-value cache is full: it holds 0 of at most 30 tokens and 31 more are needed. "
        "Run fewer samples at once, shorten the prompt, or raise the session's cache limit."
    )
    assert [running.samples[index] for index in (0, 2)] == [
        alone(spoken, "hello", seed=seed, **LENGTH) for seed in (0, 1)
    ]


def test_one_session_that_is_full_gives_back_what_the_other_had_taken():
    models = recorded_toys(max_cache_tokens=30)
    running = Together()
    refused = running.add(speaker(STEERED, models), "a" * 15, **LENGTH)  # `formal` has ten tokens more
    running.finish()
    assert list(running.refused) == [refused]
    assert rows_open(models) == 0


@pytest.mark.parametrize("limit", [ROOM, 2 * ROOM - 1, 2 * ROOM, 5 * ROOM])
def test_many_requests_of_many_samples_are_all_answered_in_a_tight_cache(limit):
    ample, tight = (recorded_toys(max_cache_tokens=most) for most in (None, limit))
    expected = [alone(speaker("base", ample), "hello", seed=10 * i, samples=1 + i % 4, **LENGTH) for i in range(12)]
    running = Together()
    spoken = speaker("base", tight)
    for i in range(12):
        running.add(spoken, "hello", seed=10 * i, samples=1 + i % 4, **LENGTH)
    running.finish()
    assert list(running.samples.values()) == expected
    assert tight["base"].session.room_left == limit


def test_a_network_in_a_tight_cache_answers_many_requests_of_many_samples():
    tight = network_models(max_cache_tokens=3 * 128)
    spoken, expected = speaker(STEERED, tight), speaker(STEERED, network_models())
    running = Together()
    for i in range(6):
        running.add(spoken, "hello", seed=10 * i, samples=3, **LENGTH)
    running.finish()
    assert [running.samples[i] for i in range(6)] == [
        alone(expected, "hello", seed=10 * i, samples=3, **LENGTH) for i in range(6)
    ]


def test_drafting_requests_take_the_room_that_their_drafts_need():
    tight = recorded_toys(max_cache_tokens=45)
    spoken = [speaker(STEERED, tight, chain) for chain in ("base:4", "off", "prompt:4", "base:2 > base,formal:4")]
    running = Together()
    for i in range(16):
        running.add(spoken[i % 4], "hellohello", seed=i, max_new_tokens=6 + i % 5, samples=1 + i % 2)
    running.finish()
    assert not running.refused
    assert all(session.refused_extensions == 0 for session in watched_sessions(tight))
