"""Thousands of requests leave nothing behind: rows, tables and memory stay as they are."""

import gc
import sys
from collections import Counter

import pytest
from together import network_models, recorded_toys, rows_open, speaker
from voices import STEERED

from lmalgebra.decoding import Request, Scheduler, Service
from lmalgebra.decoding.context import conversation
from lmalgebra.models.table import _logprobs

PROMPTS = [f"{number} hello there, hello there. " for number in range(7)]
SHORT = {"max_new_tokens": 2}
WARM, ALL = 1_000, 5_000
KEPT = 6
MOST_BLOCKS = 1_000
"""Of memory, more after 4,000 requests: a quarter of what keeping a single number of each would take."""


@pytest.fixture
def models():
    _logprobs.cache_clear()  # it holds 4,096 distributions, and is full before these tests count
    return recorded_toys()


def forget_calls(models):
    """The tests' own records grow."""
    for model in models.values():
        model.session.calls.clear()


def objects():
    """How many objects of each type of this library are alive."""
    gc.collect()
    return Counter(
        type(each).__name__ for each in gc.get_objects() if str(type(each).__module__).startswith("lmalgebra.")
    )


def tables(scheduler):
    """The lengths of everything that a scheduler holds on to."""
    held = {name: len(each) for name, each in vars(scheduler).items() if hasattr(each, "__len__")}
    return held | {"kept": len(scheduler._kept._rows)}


class Growth:
    """What has grown between two moments: objects of this library by type, and Python's allocated blocks in all."""

    def __init__(self):
        self.objects, self.blocks = objects(), sys.getallocatedblocks()

    def more(self):
        grown = objects()
        grown.subtract(self.objects)
        return {name: count for name, count in grown.items() if count > 0}, sys.getallocatedblocks() - self.blocks


def answer(scheduler, voice, numbers):
    """Answer so many requests, 16 at a time, of every kind there is; some are cancelled and some refused."""
    for number in numbers:
        prompt = "x" * 5000 if number % 50 == 3 else PROMPTS[number % 7]
        settings = voice.settings.replace(seed=number % 5, samples=1 + (number % 10 == 0), **SHORT)
        scheduler.add(voice.loaded, Request(number, conversation(prompt), settings))
        if number % 20 == 7:
            scheduler.cancel(number)
        while scheduler.busy and number % 16 == 15:
            scheduler.step()
    while scheduler.busy:
        scheduler.step()


@pytest.mark.parametrize("chain", ["off", "auto"])
def test_thousands_of_requests_leave_a_scheduler_as_it_was(models, chain):
    voice = speaker("base", models, chain)
    scheduler = Scheduler(kept_rows=KEPT)
    answer(scheduler, voice, range(WARM))
    forget_calls(models)
    held, growth = tables(scheduler), Growth()
    answer(scheduler, voice, range(WARM, ALL))
    forget_calls(models)
    kinds, blocks = growth.more()
    assert tables(scheduler) == held | {"kept": KEPT}
    assert kinds == {}
    assert blocks < MOST_BLOCKS
    assert rows_open(models) == KEPT


def test_thousands_of_requests_leave_a_service_as_it_was(models):
    voice = speaker("base", models)

    def answer_all(numbers):
        """Two hundred at a time, then one alone: the service's thread keeps the events of its last step."""
        for begin in range(numbers.start, numbers.stop, 200):
            assert len(submit(range(begin, begin + 200))) == 200
        submit([0])
        forget_calls(models)

    def submit(numbers):
        tickets = [service.submit(voice, PROMPTS[number % 7], seed=number % 5, **SHORT) for number in numbers]
        return [ticket.result(20).text for ticket in tickets]

    with Service(kept_rows=KEPT) as service:
        answer_all(range(WARM))
        growth = Growth()
        answer_all(range(WARM, ALL))
        kinds, blocks = growth.more()
        assert not service._tickets
        assert service._orders.empty()
        assert rows_open(models) == KEPT
    assert kinds == {}
    assert blocks < MOST_BLOCKS
    assert rows_open(models) == 0


def test_a_table_that_grows_would_be_noticed(models):
    kept, growth = [], Growth()
    for number in range(ALL - WARM):
        kept.append(Request(number, (), speaker("base", models).settings) if number % 100 == 0 else float(number))
    kinds, blocks = growth.more()
    assert kinds["Request"] == 40
    assert blocks > MOST_BLOCKS


def test_hundreds_of_requests_to_a_network_stay_within_its_cache():
    models = network_models(max_cache_tokens=12 * 128)
    voice = speaker(STEERED, models)
    cache, session = models["base"].session.inner.cache, models["base"].session.inner
    scheduler = Scheduler(kept_rows=KEPT)
    most = []
    for begin in range(0, 300, 50):
        for number in range(begin, begin + 50):
            settings = voice.settings.replace(seed=number, samples=1 + number % 2, max_new_tokens=1 + number % 4)
            scheduler.add(voice.loaded, Request(number, conversation(PROMPTS[number % 7]), settings))
        while scheduler.busy:
            scheduler.step()
            assert cache.allocated_tokens <= 12 * 128
        most.append((len(session._rows), rows_open(models), sum(len(slab.rows) for slab in cache.parked) <= KEPT))
    assert most == [(KEPT, KEPT, True)] * 6
    scheduler.close()
    assert (len(session._rows), len(cache.parked), cache.used_tokens) == (0, 0, 0)
