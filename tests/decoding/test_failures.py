"""What fails in the middle of a batch is refused by itself; the others say what they say alone."""

import pytest
from together import Together, alone, outcome, recorded_toys, rows_open, speaker
from voices import STEERED

from lmalgebra.errors import CacheFullError
from lmalgebra.models.table import TableModel

BLOCKED = "base + within(base, top_k=1) + within(formal, top_k=1)"
NARROW = "base + formal + within(base, top_k=2) + within(formal, top_k=2)"
PIECES = ("p", "q", "a", "b", "<end>")


def after(likely, also):
    """A distribution whose two likeliest pieces are these."""
    return tuple(0.6 if piece == likely else 0.3 if piece == also else 0.1 / 3 for piece in PIECES)


def quarrelling_toys():
    """After `a`, `p` and `q` both allow the same two pieces; after `b` they have none in common.

    After `q` the base would rather say `b`, but both together `a`.
    """
    agreed = {("p",): after("a", "q"), ("a",): after("a", "p")}
    base = TableModel(PIECES, order=1, rows={**agreed, ("q",): after("b", "a"), ("b",): after("a", "p")})
    sure = (0.01, 0.01, 0.94, 0.03, 0.01)
    formal = TableModel(PIECES, order=1, rows={**agreed, ("q",): sure, ("b",): after("b", "q")})
    return recorded_toys({"base": base, "formal": formal})


def test_a_formula_that_fails_is_refused_and_others_go_on():
    models = recorded_toys()
    blocked, steered = speaker(BLOCKED, models), speaker(STEERED, models)
    expected = [alone(steered, prompt, max_new_tokens=20, samples=2) for prompt in ("hello", "a")]
    running = Together()
    first = running.add(steered, "hello", max_new_tokens=20, samples=2)
    running.steps_of(3)
    failing = running.add(blocked, "hello", samples=3)
    last = running.add(steered, "a", max_new_tokens=20, samples=2)
    running.finish()
    assert list(running.refused) == [failing]
    assert "No token is possible: `within(formal, top_k=1)` forbids every token" in str(running.refused[failing])
    assert [running.samples[first], running.samples[last]] == expected
    assert rows_open(models) == 0


ASKED = [{"seed": 10 * i, "samples": 1 + i % 3, "max_new_tokens": 5 + i % 7} for i in range(30)]


@pytest.mark.parametrize("gap", [0, 1])
def test_only_the_requests_that_fail_are_refused_among_others_of_the_same_formula(gap):
    models = quarrelling_toys()
    narrow = speaker(NARROW, models, polite="")
    expected = {index: outcome(narrow, "p", **settings) for index, settings in enumerate(ASKED)}
    running = Together(max_samples=12)
    for settings in ASKED:
        running.add(narrow, "p", **settings)
        running.steps_of(gap)
    assert running.finish().outcomes == expected
    assert rows_open(models) == 0
    refused = [index for index in expected if isinstance(expected[index], str)]
    assert 4 <= len(refused) <= 26
    assert any(running.pieces.get((index, 0)) for index in refused)  # some failed after they had begun


def test_a_sample_that_fails_ends_its_requests_other_samples():
    models = quarrelling_toys()
    narrow = speaker(NARROW, models, polite="")
    singles = [outcome(narrow, "p", seed=seed, max_new_tokens=6) for seed in range(12)]
    assert {type(single) for single in singles} == {str, dict}
    running = Together()
    failing = running.add(narrow, "p", samples=12, max_new_tokens=6)
    running.finish()
    assert list(running.refused) == [failing]
    assert rows_open(models) == 0


@pytest.mark.parametrize("chain", ["prompt:4", "base:3", "base:2 > base:4"])
@pytest.mark.parametrize("prompt", ["p", "q", "pqbpqbpq", "qbqbqa"])
def test_a_draft_does_not_make_a_formula_fail_that_would_not(chain, prompt):
    """Positions after a rejected draft are never reached, so it does not matter that nothing is possible there."""
    models = quarrelling_toys()
    plain, drafting = speaker(NARROW, models, polite=""), speaker(NARROW, models, chain, polite="")
    temperature = 1.0 if chain == "prompt:4" else 0.0
    for seed in range(12):
        settings = {"seed": seed, "max_new_tokens": 10, "temperature": temperature}
        assert outcome(drafting, prompt, **settings) == outcome(plain, prompt, **settings)
    assert rows_open(models) == 0


@pytest.mark.parametrize("prompt", ["p", "q", "apapap", "qbqbqa"])
def test_a_least_length_fails_only_where_it_is_reached(prompt):
    sure = {("p",): after("a", "q"), ("q",): after("a", "b"), ("a",): after("q", "p"), ("b",): (0.0,) * 4 + (1.0,)}
    models = recorded_toys({"base": TableModel(PIECES, order=1, rows=sure)})
    plain, drafting = speaker("base", models), speaker("base", models, "prompt:4")
    for seed in range(20):
        settings = {"seed": seed, "max_new_tokens": 8, "min_new_tokens": 8}
        assert outcome(drafting, prompt, **settings) == outcome(plain, prompt, **settings)


class Failing:
    """Makes a session's `extend` raise once, after so many calls."""

    def __init__(self, session, calls, error):
        self.left, self.error, self.extend = calls, error, session.extend
        session.extend = self

    def __call__(self, tokens, wanted=None):
        self.left -= 1
        if not self.left:
            raise self.error
        return self.extend(tokens, wanted)


@pytest.mark.parametrize("name", ["base", "formal"])
@pytest.mark.parametrize("calls", [1, 2, 5])
def test_a_session_that_fails_refuses_only_the_requests_that_use_it(name, calls):
    models = recorded_toys()
    other = {"base": "formal", "formal": "base"}[name]
    settings = {"max_new_tokens": 15, "min_new_tokens": 15, "samples": 2}
    voices = [speaker(formula, models) for formula in (name, STEERED, other, other)]
    expected = [alone(spoken, "hello", seed=seed, **settings) for seed, spoken in enumerate(voices)]
    Failing(models[name].session, calls, CacheFullError("There is no memory."))
    running = Together()
    for seed, spoken in enumerate(voices):
        running.add(spoken, "hello", seed=seed, **settings)
    running.finish()
    assert {index: str(error) for index, error in running.refused.items()} == dict.fromkeys(
        (0, 1), "There is no memory."
    )
    assert [running.samples[2], running.samples[3]] == expected[2:]
    assert rows_open(models) == 0


def test_requests_that_wait_outlive_a_failure_of_their_session():
    models = recorded_toys()
    spoken = speaker(STEERED, models)
    expected = alone(spoken, "a", max_new_tokens=5)
    Failing(models["base"].session, 3, CacheFullError("There is no memory."))
    running = Together(max_samples=1)
    running.add(spoken, "hello", min_new_tokens=9, max_new_tokens=9)
    waiting = running.add(spoken, "a", max_new_tokens=5)
    running.finish()
    assert list(running.refused) == [0]
    assert running.samples[waiting] == expected


def test_a_prompt_that_cannot_be_read_is_refused_and_others_go_on():
    models = recorded_toys(context_length=20)
    spoken = speaker(STEERED, models)
    running = Together()
    running.add(spoken, "x" * 30)
    running.add(spoken, "hello", max_new_tokens=3)
    running.finish()
    assert "leaves no room in the 20" in str(running.refused[0])
    assert running.samples[1] == alone(spoken, "hello", max_new_tokens=3)
