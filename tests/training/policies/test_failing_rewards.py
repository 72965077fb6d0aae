"""Rewards that fail: for some completions, for all, for a while, and in how many scores they give."""

import math

import pytest

from chat_server import chatting
from lmalgebra.errors import EvaluationError, MissingExtraError, ModelError, TrainingError
from lmalgebra.judges import FunctionJudge
from lmalgebra.models import connection
from lmalgebra.training.policies.rewards import Said, reward_of


class Own:
    """A component that is a function of the texts."""

    name = "own"

    def __init__(self, function):
        self.function, self.calls = function, 0

    def about(self):
        return {}

    def __call__(self, said):
        self.calls += 1
        return self.function([each.text for each in said])


def rewarding(function, written="own"):
    return reward_of(written, own={"own": Own(function)})


def said(*texts):
    return [Said("p", text) for text in texts]


def numbers(texts):
    return [float(text) for text in texts]


@pytest.mark.parametrize(
    ("value", "reason"),
    [
        ("x", "it fails with ValueError: could not convert string to float: 'x'."),
        ("nan", "it gives nan."),
        ("inf", "it gives inf."),
    ],
)
def test_a_completion_that_fails_is_left_out_and_the_others_go_on(value, reason):
    rewarded = rewarding(numbers, "2 * own - length(1)")(said("1", value, "3", value))
    assert [rewarded.total[place] for place in rewarded.known] == [1, 5]
    assert [math.isnan(each) for each in rewarded.total] == [False, True, False, True]
    assert rewarded.left_out == {f"own: {reason}": 2}
    assert rewarded.parts["length(1)"] == [1, 1, 1, 1]


@pytest.mark.parametrize(
    ("value", "reason"),
    [(None, "it gives None, which is no number."), ("high", "it gives 'high', which is no number.")],
)
def test_what_is_no_number_is_of_its_completion(value, reason):
    assert rewarding(lambda texts: [value, 1.0])(said("a", "b")).left_out == {f"own: {reason}": 1}


def test_the_halves_of_what_fails_are_tried():
    reward = rewarding(numbers)
    rewarded = reward(said(*map(str, range(63)), "x"))
    assert rewarded.known == list(range(63))
    assert reward.components["own"].calls == 13  # all, then two halves at each of six levels


def test_a_formula_that_has_no_finite_value_is_told():
    rewarded = rewarding(lambda texts: [1e300 * len(text) for text in texts], "own * own * own")(said("a", ""))
    assert rewarded.left_out == {"the formula has no finite value.": 1}


def test_a_component_that_fails_for_all_ends_it():
    with pytest.raises(TrainingError) as error:
        rewarding(lambda texts: [1 / 0 for _ in texts], "length(3) + own")(said("a", "b"))
    assert str(error.value) == (
        "The reward 'own' has no score for any of 2 completions: it fails with ZeroDivisionError: division by zero. "
        "Mend that; the same command with --resume goes on from the last checkpoint."
    )


def test_three_batches_in_a_row_without_a_reward_end_it():
    reward = rewarding(numbers)
    for _ in range(2):
        assert reward(said("x")).known == []  # one completion alone may be unlucky
    assert reward(said("1")).known == [0]  # which begins the count anew
    for _ in range(2):
        reward(said("x"))
    with pytest.raises(TrainingError, match="3 batches in a row got no reward; the last because of own: it fails with"):
        reward(said("x"))


@pytest.mark.parametrize("count", [0, 1, 3])
def test_a_wrong_number_of_scores_ends_it(count):
    with pytest.raises(TrainingError, match=f"The reward 'own' gives {count} scores for 2 completions. Return as many"):
        rewarding(lambda texts: [0.5] * count)(said("a", "b"))


def test_a_judge_with_a_wrong_number_of_scores_is_not_asked_for_less(monkeypatch):
    reward = reward_of("judge(vader)")
    monkeypatch.setitem(reward.components["judge(vader)"].__dict__, "_judge", FunctionJudge("v", lambda texts: [0.5]))
    with pytest.raises(TrainingError, match="The judge 'v' gives 1 scores for 2 texts"):
        reward(said("a", "b"))


def test_a_score_that_a_judge_refuses_is_a_reason(monkeypatch):
    reward = reward_of("nontoxic(vader)")
    judge = FunctionJudge("v", lambda texts: [0.25, 2.0])
    monkeypatch.setitem(reward.components["nontoxic(vader)"].__dict__, "_judge", judge)
    rewarded = reward(said("a", "b"))
    assert rewarded.total[0] == 0.75
    assert rewarded.left_out == {"nontoxic(vader): The judge 'v' gives 2, which is no score from 0 to 1.": 1}


def test_a_text_that_a_server_refuses_is_left_out():
    answer = lambda content: (400, {"error": {"message": "too long"}}) if "long" in content else (200, "0")  # noqa: E731
    with chatting(answer) as chat:
        rewarded = reward_of(f"nontoxic('{chat.address}#m')")(said("a", "long", "b"))
    assert rewarded.known == [0, 2]
    (reason,) = rewarded.left_out
    assert "refuses the question (400): too long" in reason


def test_a_server_may_be_away_for_two_batches(monkeypatch):
    monkeypatch.setattr(connection, "FIRST_WAIT", 0.0)
    with chatting(lambda content: (200, "1")) as chat:
        reward = reward_of(f"nontoxic('{chat.address}#m')")
        assert reward(said("a", "b")).total == [0.9, 0.9]
        chat.answer = lambda content: (503, {"error": "too busy"})
        for _ in range(2):
            rewarded = reward(said("a", "b"))
            assert rewarded.known == []
            assert sum(rewarded.left_out.values()) == 2
        with pytest.raises(TrainingError, match="3 batches in a row got no reward; the last because of nontoxic"):
            reward(said("a", "b"))


def test_a_server_that_never_answered_ends_it_at_once(monkeypatch):
    monkeypatch.setattr(connection, "FIRST_WAIT", 0.0)
    with pytest.raises(ModelError, match="there is no connection"):
        reward_of("nontoxic('http://127.0.0.1:9/v1#m')")(said("a", "b"))


@pytest.mark.parametrize("error", [MissingExtraError("It needs x."), TrainingError("It is over.")])
def test_what_is_no_failure_of_a_text_passes_through(error):
    def fails(texts):
        raise error

    with pytest.raises(type(error), match=error.message):
        rewarding(fails)(said("a", "b"))


def test_an_error_of_a_text_is_its_reason():
    def fails(texts):
        if "x" in texts:
            raise EvaluationError("It is filtered.")
        return [1.0] * len(texts)

    assert rewarding(fails)(said("a", "x")).left_out == {"own: It is filtered.": 1}
