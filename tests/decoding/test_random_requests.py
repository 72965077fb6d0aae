"""Random programs of requests: whatever joins and is cancelled, in however little room, all ends and says its own."""

from functools import cache

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from together import Together, alone, recorded_toys, rows_open, speaker, watched_sessions
from voices import STEERED

from lmalgebra.errors import CacheFullError

FORMULAS = ("base", STEERED, "mix(0.5 * base, 0.5 * formal)", "formal")
CHAINS = ("off", "prompt:3", "base:2", "base:1 > base,formal:3")
PROMPTS = ("a", "hello", "hello there. hello there. ", "hello there. hello where? ", "b" * 40)

requests = st.fixed_dictionaries(
    {
        "formula": st.sampled_from(
            [*((formula, "off") for formula in FORMULAS), *((STEERED, chain) for chain in CHAINS)]
        ),
        "prompt": st.sampled_from(PROMPTS),
        "seed": st.integers(0, 2),
        "samples": st.sampled_from([1, 1, 2, 3, 6]),
        "max_new_tokens": st.integers(1, 9),
        "temperature": st.sampled_from([0.0, 1.0]),
    }
)
operations = st.one_of(
    st.tuples(st.just("add"), requests),
    st.tuples(st.just("step"), st.integers(1, 4)),
    st.tuples(st.just("cancel"), st.integers(0, 11)),
)
limits = st.one_of(st.none(), st.integers(20, 120))


@cache
def ample_voices():
    """For what is said alone."""
    return Voices(recorded_toys())


class Voices:
    def __init__(self, models):
        self.models, self._known = models, {}

    def __getitem__(self, key):
        formula, chain = key
        if key not in self._known:
            self._known[key] = speaker(formula, self.models, chain)
        return self._known[key]


@cache
def expected(formula, prompt, *changes):
    return alone(ample_voices()[formula], prompt, **dict(changes))


def asked(request):
    """The arguments of a request in a form that can be remembered."""
    changes = {key: value for key, value in request.items() if key not in ("formula", "prompt")}
    return request["formula"], request["prompt"], *changes.items()


def fits_alone(models, request):
    """Whether an empty cache of these models has room for the request."""
    try:
        alone(Voices(models)[request["formula"]], request["prompt"], **dict(asked(request)[2:]))
    except CacheFullError:
        return False
    return True


@settings(max_examples=150, deadline=None)
@given(
    program=st.lists(operations, max_size=16),
    limit=limits,
    max_samples=st.integers(1, 7),
    read_tokens=st.sampled_from([1, 5, 256]),
    kept_rows=st.integers(0, 5),
)
def test_a_random_program_ends_and_gives_each_request_its_own_text(program, limit, max_samples, read_tokens, kept_rows):
    models = recorded_toys(max_cache_tokens=limit)
    voices = Voices(models)
    running = Together(max_samples=max_samples, read_tokens=read_tokens, kept_rows=kept_rows)
    added, cancelled = {}, set()
    for name, what in program:
        if name == "add":
            spoken, prompt, *changes = asked(what)
            added[running.add(voices[spoken], prompt, **dict(changes))] = what
        elif name == "step":
            running.steps_of(what)
        else:
            running.scheduler.cancel(what)
            cancelled |= {what} & added.keys()
        check_room(models, limit)
    running.finish(most=4000)
    check_room(models, limit)
    assert rows_open(models) <= kept_rows
    running.scheduler.close()
    assert rows_open(models) == 0
    check_texts(running, added, cancelled, limit)


def check_room(models, limit):
    for session in watched_sessions(models):
        assert session.refused_extensions == 0
        assert limit is None or session.room_left >= 0


def check_texts(running, added, cancelled, limit):
    for index, request in added.items():
        if index in running.refused:
            assert isinstance(running.refused[index], CacheFullError)
            assert not fits_alone(recorded_toys(max_cache_tokens=limit), request)
            continue
        own = expected(*asked(request))
        if index in cancelled:
            assert running.samples[index].items() <= own.items()
        else:
            assert running.samples[index] == own


@pytest.mark.parametrize("limit", [27, 30, 60])
def test_such_a_program_in_a_tight_cache_is_not_refused_what_fits(limit):
    """The limits above do bind: some requests must wait, and some are refused."""
    models = recorded_toys(max_cache_tokens=limit)
    voices = Voices(models)
    running = Together()
    for seed in range(6):
        for prompt in PROMPTS:
            running.add(voices[STEERED, "off"], prompt, seed=seed, samples=2, max_new_tokens=6)
    running.finish()
    refused = {index % len(PROMPTS) for index in running.refused}
    assert refused == {index for index, prompt in enumerate(PROMPTS) if len("dear sir, " + prompt) + 5 > limit}
