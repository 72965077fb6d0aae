"""The search for weights, on a measure whose optimum is known."""

import pytest

from lmalgebra.errors import EvaluationError, FormulaError
from lmalgebra.evaluation.tuning.free_weights import OpenFormula, Span, parse_spans
from lmalgebra.evaluation.tuning.tune import tune
from lmalgebra.evaluation.tuning.wish import parse_wish

pytest.importorskip("optuna")

SPANS = (Span("a", 0.0, 1.0), Span("b", -1.0, 1.0))
WISH = parse_wish("harm below 0.3, best cost")


def told(value: float) -> dict:
    return {"value": value, "low": value - 0.1, "high": value + 0.1, "lower_is_better": True}


def measure(weights: dict) -> dict:
    """Harm falls with a; cost grows with it, and with the distance of b from 0.5."""
    return {"harm": {"rate": told(1 - weights["a"])}, "cost": {"nats": told(weights["a"] + (weights["b"] - 0.5) ** 2)}}


def test_the_optimum_is_found():
    tuned = tune(SPANS, measure, WISH, trials=60, seed=1)
    assert tuned.is_granted
    assert tuned.chosen.weights["a"] == pytest.approx(0.7, abs=0.08)  # the least that keeps the bound
    assert tuned.chosen.weights["b"] == pytest.approx(0.5, abs=0.3)
    assert "Of 60 choices" in tuned.verdict()
    assert "Its interval reaches past rate of harm below 0.3" in tuned.verdict()


def test_one_seed_tries_the_same_weights():
    first, second, other = (tune(SPANS, measure, WISH, 12, seed) for seed in (3, 3, 4))
    assert [trial.weights for trial in first.trials] == [trial.weights for trial in second.trials]
    assert [trial.weights for trial in first.trials] != [trial.weights for trial in other.trials]


def test_the_first_choice_is_next_to_zero():
    spans = (Span("a", 0.2, 1.0), Span("b", -1.0, -0.5))
    assert tune(spans, measure, WISH, 1).chosen.weights == {"a": 0.2, "b": -0.5}


def test_no_trial_of_the_front_is_beaten():
    tuned = tune(SPANS, measure, WISH, trials=25)
    points = [(each.metrics["harm"]["rate"]["value"], each.metrics["cost"]["nats"]["value"]) for each in tuned.trials]
    front = {
        point for point in points if not any(a <= point[0] and b <= point[1] and (a, b) != point for a, b in points)
    }
    found = {(each.metrics["harm"]["rate"]["value"], each.metrics["cost"]["nats"]["value"]) for each in tuned.front}
    assert found == front
    assert len(front) > 3


def test_a_wish_that_cannot_be_granted_says_so():
    tuned = tune(SPANS, measure, parse_wish("harm below -1, best cost"), trials=20)
    assert not tuned.is_granted
    assert tuned.verdict().startswith("None of 20 choices keeps rate of harm below -1. Nearest: a = ")
    assert tuned.chosen.weights["a"] == max(trial.weights["a"] for trial in tuned.trials)


def test_choices_without_a_distribution_are_ruled_out():
    def strict(weights: dict) -> dict:
        if weights["a"] > 0.5:
            raise FormulaError("The mass is 0.")
        return measure(weights)

    tuned = tune(SPANS, strict, WISH, trials=25)
    reasons = {trial.reason for trial in tuned.trials if trial.weights["a"] > 0.5}
    assert reasons == {"The mass is 0."}
    assert tuned.chosen.weights["a"] <= 0.5
    assert {"weights", "reason"} in [set(each) for each in tuned.to_dict()["trials"]]


def test_a_start_without_a_distribution_is_an_error():
    def never(weights: dict) -> dict:
        raise FormulaError("The mass is 0.")

    with pytest.raises(EvaluationError, match=r"cannot start from a = 0, b = 0: The mass is 0\. Choose spans"):
        tune(SPANS, never, WISH, 3)


def test_what_was_not_measured_is_not_chosen():
    def partly(weights: dict) -> dict:
        found = measure(weights)
        if weights["a"] > 0.8:
            found["cost"]["nats"]["value"] = None
        return found

    tuned = tune(SPANS, partly, WISH, trials=25)
    assert tuned.chosen.weights["a"] <= 0.8


def test_open_weights_are_put_in():
    formula = OpenFormula("base - {w} * (toxic - base) + { v } * a - {w}")
    assert formula.names == ("w", "v")
    assert formula.at({"w": -0.5, "v": 1}) == "base - (-0.5) * (toxic - base) + (1) * a - (-0.5)"


@pytest.mark.parametrize(
    ("formula", "spans", "sentence"),
    [
        ("base", [], "The formula 'base' has no open weight. Write a name in braces"),
        ("base * {w}", [], "Nothing says where {w} is looked for. Add --weight w=0:1."),
        ("base * {w}", ["v=0:1"], "has no open weight 'v'. Write {v} where it stands."),
        ("base * {w}", ["w=0"], "'w=0' is no span of a weight. Write name=0:1.5."),
        ("base * {w}", ["w=1:1"], "The span 'w=1:1' is empty."),
    ],
)
def test_spans_that_do_not_fit_are_refused(formula, spans, sentence):
    with pytest.raises(EvaluationError) as raised:
        parse_spans(spans, OpenFormula(formula))
    assert sentence in str(raised.value)
