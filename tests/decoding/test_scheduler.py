"""Requests of any formula, prompt and settings that join and leave while others run say what they say alone."""

from dataclasses import replace

import pytest
from together import Recorded, Together, alone, network_models, recorded_toys, rows_open, speaker
from torch.nn.functional import pad
from voices import STEERED

REQUESTS = (
    ("base", "hello there. ", {"max_new_tokens": 9, "samples": 3}),
    (STEERED, "a", {"max_new_tokens": 14, "seed": 3, "temperature": 0.5}),
    ("mix(0.7 * base, 0.3 * formal)", "what is it? ", {"max_new_tokens": 20, "top_k": 4, "samples": 2}),
    ("2 * formal - base", "the city at night", {"max_new_tokens": 6, "temperature": 0}),
    (STEERED, "tell me more", {"max_new_tokens": 25, "repetition_penalty": 1.4, "top_p": 0.8}),
    (STEERED, "hello there. ", {"max_new_tokens": 12, "min_new_tokens": 12, "min_p": 0.1, "samples": 4}),
    ("base + ramp(0, 1, tokens=6) * (formal - base)", "a", {"max_new_tokens": 10, "stop": ["e", "s"], "samples": 2}),
    ("within(base, top_k=9) + 0.5 * formal", "what is it? ", {"max_new_tokens": 1}),
)


@pytest.fixture(params=["toy", "network"])
def models(request):
    return recorded_toys() if request.param == "toy" else network_models()


def expected_of(requests, models):
    """What each request says alone."""
    return {index: alone(speaker(formula, models), prompt, **s) for index, (formula, prompt, s) in enumerate(requests)}


def spread_over(requests, models, gap, **options):
    """What the requests say when one joins every `gap` steps."""
    running = Together(**options)
    voices = {}
    for formula, prompt, settings in requests:
        spoken = voices.setdefault(formula, speaker(formula, models))
        running.add(spoken, prompt, **settings)
        running.steps_of(gap)
    return running.finish()


@pytest.mark.parametrize("gap", [0, 1, 3])
def test_requests_that_join_and_leave_say_what_they_say_alone(models, gap):
    found = spread_over(REQUESTS, models, gap)
    assert found.samples == expected_of(REQUESTS, models)
    assert rows_open(models) == 0


@pytest.mark.parametrize("options", [{"max_samples": 2}, {"max_samples": 5, "read_tokens": 3}, {"kept_rows": 6}])
def test_room_chunks_and_kept_rows_change_no_text(models, options):
    expected = expected_of(REQUESTS * 2, models)
    found = spread_over(REQUESTS * 2, models, 1, **options)
    assert found.samples == expected
    found.scheduler.close()
    assert rows_open(models) == 0


def test_they_do_run_together(models):
    """Otherwise the tests above would show nothing."""
    found = spread_over(REQUESTS, models, 0)
    begun, ended = found.first, found.last
    assert sum(begun[other] < ended[index] and begun[index] < ended[other] for index in begun for other in begun) > 30
    assert found.steps < sum(settings["max_new_tokens"] for _, _, settings in REQUESTS) / 2


def test_another_seed_says_something_else(models):
    """The comparison with what is said alone can fail."""
    spoken = speaker(STEERED, models)
    assert alone(spoken, "a", max_new_tokens=12) != alone(spoken, "a", max_new_tokens=12, seed=1)


CHAINS = ("off", "prompt:4", "base:3", "prompt:2 > base:4")


@pytest.mark.parametrize("gap", [0, 2])
def test_speculating_and_plain_requests_run_together(models, gap):
    voices = [speaker(STEERED, models, chain) for chain in CHAINS]
    asked = [
        (voices[index % 4], prompt, {"max_new_tokens": 11, "seed": index, "temperature": index % 3 / 2, "samples": 2})
        for index, prompt in enumerate(["abcabcabcabc", "hello there. ", "a", "what is it? what is it? "] * 3)
    ]
    expected = {index: alone(spoken, prompt, **settings) for index, (spoken, prompt, settings) in enumerate(asked)}
    running = Together(max_samples=10)
    for spoken, prompt, settings in asked:
        running.add(spoken, prompt, **settings)
        running.steps_of(gap)
    assert running.finish().samples == expected
    assert rows_open(models) == 0


@pytest.mark.parametrize("chain", ["base:2 > base:4", "base:1 > base:3", "base:3"])
@pytest.mark.parametrize("context_length", [20, 21, 22, 23, 24])
def test_drafts_stay_within_the_context_and_the_room(chain, context_length):
    """A middle stage adds a token to what was drafted, and the last one its own: all must fit."""
    short = recorded_toys(context_length=context_length, max_cache_tokens=3 * context_length)
    settings = {"max_new_tokens": 50, "min_new_tokens": 50, "temperature": 0, "samples": 3}
    expected = alone(speaker("base", short), "abcabcabc", **settings)
    assert len(expected[0].tokens) == context_length - 8
    running = Together()
    running.add(speaker("base", short, chain), "abcabcabc", **settings)
    assert running.finish().samples == {0: expected}


def test_a_request_joins_with_the_step_after_it_is_added(models):
    running = Together()
    spoken = speaker(STEERED, models)
    running.add(spoken, "hello", max_new_tokens=40, min_new_tokens=40)
    running.steps_of(5)
    late = running.add(spoken, "hi", max_new_tokens=1)
    running.steps_of(2)
    assert running.first[late] == running.last[late] == 7  # read in step 6, spoken in step 7


class Padded(Recorded):
    """As models are whose vocabulary is rounded up: the last tokens mean nothing."""

    def __init__(self, session):
        super().__init__(session)
        self.vocabulary_size += 3

    def extend(self, tokens, wanted=None):
        return {row: pad(logits, (0, 3), value=99.0) for row, logits in super().extend(tokens, wanted).items()}


@pytest.mark.parametrize("chain", ["off", "base:2"])
@pytest.mark.parametrize("name", ["base", "formal"])
def test_models_that_round_their_vocabulary_up_differently_speak_together(name, chain):
    models = recorded_toys()
    padded = models | {name: replace(models[name], session=Padded(models[name].session.inner))}
    expected = alone(speaker(STEERED, models, chain), "hello", samples=3, max_new_tokens=9)
    assert alone(speaker(STEERED, padded, chain), "hello", samples=3, max_new_tokens=9) == expected
