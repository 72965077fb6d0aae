"""A request can be cancelled whatever it is doing: its rows are free at once, and nobody else notices."""

import random

import pytest
from together import Together, alone, network_models, recorded_toys, rows_open, speaker
from voices import STEERED

LENGTH = {"min_new_tokens": 7, "max_new_tokens": 7}
VICTIMS = {
    "several samples": ("off", "hello", {**LENGTH, "samples": 3}),
    "a long prompt": ("off", "hello" * 9, LENGTH),
    "drafting": ("base:3", "hello", {**LENGTH, "samples": 3}),
    "copying": ("prompt:3", "hellohello", LENGTH),
    "two stages": ("prompt:2 > base:4", "hellohello", LENGTH),
}
OPTIONS = {"max_samples": 2, "read_tokens": 8}


@pytest.fixture(params=["toy", "network"])
def models(request):
    return recorded_toys() if request.param == "toy" else network_models()


@pytest.fixture(params=VICTIMS)
def victim(request, models):
    chain, prompt, settings = VICTIMS[request.param]
    return speaker(STEERED, models, chain), prompt, settings


def add(running, victim):
    spoken, prompt, settings = victim
    return running.add(spoken, prompt, **settings)


def state(running, index):
    """What a request is doing."""
    scheduler = running.scheduler
    for name in ("_waiting", "_reading", "_ready"):
        if any(prompt.request.index == index for prompt in getattr(scheduler, name)):
            return name
    its = [sample for sample in scheduler._running if sample.request.index == index]
    if not its:
        return "done"
    return "_speaking" if all(sample.between for sample in its) else "_drafting"


def test_a_request_that_is_cancelled_gives_its_rows_back_at_once(models, victim):
    seen = set()
    for steps in range(40):
        running = Together(**OPTIONS)
        add(running, victim)
        running.steps_of(steps)
        seen.add(state(running, 0))
        running.scheduler.cancel(0)
        assert rows_open(models) == 0
        assert not running.scheduler.busy
    assert seen >= {"_waiting", "_reading", "_speaking", "done"}
    assert ("_ready" in seen) == ("samples" in victim[2])
    assert ("_drafting" in seen) == ("base" in victim[0].speculation.chain)


def test_the_others_say_what_they_would_say_without_it(models, victim):
    steered, drafting = speaker(STEERED, models), speaker(STEERED, models, "base:3")
    expected = [alone(spoken, "what?", samples=2, max_new_tokens=20) for spoken in (steered, drafting)]
    for steps in (0, 1, 2, 3, 5, 8, 13):
        running = Together(**OPTIONS)
        running.add(steered, "what?", samples=2, max_new_tokens=20)
        cancelled = add(running, victim)
        running.add(drafting, "what?", samples=2, max_new_tokens=20)
        running.steps_of(steps)
        running.scheduler.cancel(cancelled)
        last = running.last.get(cancelled, 0)
        running.finish()
        assert [running.samples[index] for index in (0, 2)] == expected, steps
        assert running.last.get(cancelled, 0) == last <= steps
        assert rows_open(models) == 0


def test_a_request_that_is_cancelled_while_it_waits_for_a_place():
    models = recorded_toys()
    base = speaker("base", models)
    running = Together(max_samples=1)
    for seed in range(3):
        running.add(base, "hello", seed=seed, **LENGTH)
    running.steps_of(3)
    running.scheduler.cancel(1)
    running.finish()
    assert running.samples == {0: alone(base, "hello", **LENGTH), 1: {}, 2: alone(base, "hello", seed=2, **LENGTH)}


def test_a_request_that_is_cancelled_while_it_waits_for_room_lets_the_next_one_in():
    models = recorded_toys(max_cache_tokens=60)
    base = speaker("base", models)
    running = Together()
    for prompt in ("a" * 40, "b" * 50, "c"):
        running.add(base, prompt, **LENGTH)
    running.steps_of(3)
    assert running.scheduler.waiting == 2
    running.scheduler.cancel(1)
    running.steps_of(1)
    assert running.scheduler.waiting == 0
    running.finish()
    assert running.samples[2] == alone(base, "c", **LENGTH)


def test_the_place_of_a_cancelled_request_is_free_in_the_next_step():
    models = recorded_toys()
    base = speaker("base", models)
    running = Together(max_samples=1)
    for seed in range(2):
        running.add(base, "hello", seed=seed, **LENGTH)
    running.steps_of(4)
    running.scheduler.cancel(0)
    running.steps_of(2)
    assert running.first[1] == 6


def test_a_request_that_waits_for_judgement_can_be_cancelled():
    """It has drafted all it may, and waits for another that still drafts."""
    models = recorded_toys()
    drafting = speaker("base + 0.3 * formal", models, "base:4")
    running = Together()
    running.add(drafting, "hello", **LENGTH)
    running.steps_of(3)
    running.add(drafting, "a", seed=5, **LENGTH)
    running.steps_of(3)  # the first has drafted 4 tokens, the second has not
    first, second = running.scheduler._running
    assert (len(first.tokens), len(second.tokens)) == (4, 2)
    assert not running.samples[0]
    running.scheduler.cancel(0)
    assert rows_open(models) == 2
    running.finish()
    assert running.samples == {0: {}, 1: alone(drafting, "a", seed=5, **LENGTH)}


def test_what_is_not_told_yet_of_a_cancelled_request_is_never_told():
    models = recorded_toys(context_length=20)
    base = speaker("base", models)
    running = Together()
    running.add(base, "x" * 30)
    running.scheduler.cancel(0)
    assert not running.scheduler.busy
    assert running.step() == []


def test_cancelling_what_is_not_there_does_nothing():
    models = recorded_toys()
    base = speaker("base", models)
    running = Together()
    running.add(base, "hello", **LENGTH)
    running.steps_of(2)
    running.scheduler.cancel(99)
    running.finish()
    running.scheduler.cancel(0)
    assert running.samples == {0: alone(base, "hello", **LENGTH)}


@pytest.mark.parametrize("seed", range(4))
def test_cancelling_most_requests_in_any_order_leaves_the_rest(models, seed):
    draw = random.Random(seed)
    voices = [speaker(STEERED, models, chain) for chain in ("off", "base:2", "prompt:3")]
    running = Together(max_samples=6, kept_rows=3, read_tokens=5)
    asked = []
    for index in range(20):
        asked.append((draw.choice(voices), "hello" * draw.randint(1, 6), {"seed": index, "samples": 1 + index % 3}))
        running.add(asked[-1][0], asked[-1][1], max_new_tokens=8, **asked[-1][2])
        running.steps_of(draw.randint(0, 2))
        running.scheduler.cancel(draw.randrange(index + 1))
    running.finish()
    complete = [index for index, said in running.samples.items() if len(said) == asked[index][2]["samples"]]
    assert 2 <= len(complete) < 20
    for index in complete:
        spoken, prompt, settings = asked[index]
        assert running.samples[index] == alone(spoken, prompt, max_new_tokens=8, **settings)
    running.scheduler.close()
    assert rows_open(models) == 0
