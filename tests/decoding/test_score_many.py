"""Many texts scored together: each gets what it gets alone, and what they share is read once."""

import math

import pytest
from voices import STEERED, TOYS, open_rows, prompted_network, sessions, toys, voice

import lmalgebra as la
from lmalgebra.api import Models

QUESTION = "which of these animals has feathers, and why? "
PAIRS = [
    ("a", "b"),
    (QUESTION, "an owl."),
    (QUESTION, "a dog with wings."),
    (QUESTION, "x"),
    ("which of these animals has four legs? ", "a dog."),
    ("hello", "hello " * 40),
    (QUESTION, "an owl."),
]


def alone(speaker):
    return [speaker.score(prompt, text).logprobs for prompt, text in PAIRS]


@pytest.mark.parametrize(
    "formula", ["base", STEERED, "mix(0.5 * base, 0.5 * formal)", "base - 0.4 * union(base, formal)"]
)
def test_each_text_gets_what_it_gets_alone(formula):
    speaker = voice(formula, toys())
    assert [each.logprobs for each in speaker.score_many(PAIRS)] == alone(speaker)
    assert open_rows(speaker) == 0


@pytest.mark.parametrize("room", [1 << 16, 700])
def test_a_network_gives_each_text_the_same_within_rounding_whatever_room_it_has(room):
    speaker = prompted_network(max_cache_tokens=room, context_length=300)
    for together, expected in zip(speaker.score_many(PAIRS), alone(speaker), strict=True):
        assert together.logprobs == pytest.approx(expected, abs=1e-4)
    assert open_rows(speaker) == 0


@pytest.mark.parametrize(
    "constraint",
    [la.regex("[a-z ]*", name="shape"), la.forbid(["owl"], name="shape"), la.require(["dog"], name="shape")],
)
def test_constraints_follow_each_text_apart(constraint):
    speaker = la.voice(la.model("toy").term(name="base", prefix="") + constraint, models=Models())
    assert [each.logprobs for each in speaker.score_many(PAIRS)] == alone(speaker)
    assert any(each.total == -math.inf for each in speaker.score_many(PAIRS))


def test_what_contexts_share_is_read_once():
    speaker = voice("base", toys({"base": TOYS["base"]}))
    (session,) = sessions(speaker)
    speaker.score_many([(QUESTION, text) for text in ("an owl.", "a dog.", "x")])
    assert session.given == len(QUESTION) - 1 + len("an owl.") + len("a dog.") + 1
    session.given = 0
    shots = "question: is it so? answer: yes. "
    speaker.score_many([(shots + question, text) for question in ("this? ", "that? ") for text in ("yes", "no")])
    assert session.given == len(shots + "th") + 2 * len("is?") + 2 * len("yes" + "no")


def test_a_text_that_does_not_fit_is_refused_and_gives_all_rows_back():
    speaker = voice(STEERED, toys(context_length=20))
    with pytest.raises(la.LmalgebraError, match="is longer than the model's context of 20"):
        speaker.score_many([("hello", "x"), ("hello", "abc" * 10)])
    assert open_rows(speaker) == 0


def test_no_text_has_no_score():
    assert voice("base", toys()).score_many([]) == []
