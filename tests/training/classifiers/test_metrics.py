"""Metrics worked by hand."""

import math

import numpy as np
import pytest

from lmalgebra.training.classifiers.metrics import (
    Judgement,
    best_temperature,
    calibration_curve,
    calibration_error,
    metrics,
)

pytest.importorskip("sklearn")


def logit(*probabilities: float) -> np.ndarray:
    return np.array([[math.log(each / (1 - each))] for each in probabilities])


def scores(probabilities: tuple[float, ...], wanted: tuple[float, ...]) -> Judgement:
    return Judgement(logit(*probabilities), np.array(wanted))


def test_the_calibration_error_of_three_bins():
    confidence, outcome = np.array([0.1, 0.2, 0.5, 0.9, 1.0]), np.array([0.0, 0.6, 0.5, 1.0, 1.0])
    # thirds: |0.15 - 0.3| of two, 0 of one, |0.95 - 1| of two
    assert calibration_error(confidence, outcome, bins=3) == pytest.approx((2 * 0.15 + 0 + 2 * 0.05) / 5)
    assert calibration_curve(confidence, outcome, bins=3) == [
        {"examples": 2, "confidence": 0.15, "outcome": 0.3},
        {"examples": 1, "confidence": 0.5, "outcome": 0.5},
        {"examples": 2, "confidence": 0.95, "outcome": 1.0},
    ]


def test_metrics_of_scores():
    found = metrics(scores((0.2, 0.4, 0.6, 0.8), (0.1, 0.7, 0.2, 0.9)))
    assert found["examples"] == 4
    assert found["accuracy"] == 0.5
    assert found["auc"] == 0.75  # of the pairs (0.4, 0.8) over (0.2, 0.6) three are in order
    assert found["spearman"] == pytest.approx(0.8)
    assert found["pearson"] == pytest.approx(np.corrcoef([0.2, 0.4, 0.6, 0.8], [0.1, 0.7, 0.2, 0.9])[0, 1], abs=1e-4)
    losses = [
        -(s * math.log(p) + (1 - s) * math.log(1 - p)) for p, s in ((0.2, 0.1), (0.4, 0.7), (0.6, 0.2), (0.8, 0.9))
    ]
    assert found["loss"] == pytest.approx(sum(losses) / 4, abs=1e-4)
    assert found["calibration_error"] == pytest.approx((0.1 + 0.3 + 0.4 + 0.1) / 4, abs=1e-4)


def test_metrics_of_labels():
    logits = np.log(np.array([[0.8, 0.1, 0.1], [0.3, 0.6, 0.1], [0.2, 0.5, 0.3], [0.7, 0.2, 0.1]]))
    found = metrics(Judgement(logits, np.array([0.0, 1.0, 2.0, 0.0])))
    assert found["accuracy"] == 0.75
    assert found["loss"] == pytest.approx(-sum(map(math.log, (0.8, 0.6, 0.3, 0.7))) / 4, abs=1e-4)
    # bins of one each: the likeliest label's probability against right, right, wrong, right
    assert found["calibration_error"] == pytest.approx((0.2 + 0.4 + 0.5 + 0.3) / 4, abs=1e-4)
    assert found["auc"] == pytest.approx((1 + 1 + 1) / 3)
    assert "pearson" not in found


def test_what_the_examples_do_not_define_is_none():
    found = metrics(scores((0.2, 0.4), (0.1, 0.1)))
    assert (found["auc"], found["pearson"], found["spearman"]) == (None, None, None)


@pytest.mark.parametrize("temperature", [0.5, 1.0, 3.0])
def test_the_temperature_that_made_the_logits_too_sharp_is_found(temperature):
    wanted = np.linspace(0.02, 0.98, 200)
    judged = Judgement(temperature * logit(*wanted), wanted)
    assert best_temperature(judged) == pytest.approx(temperature, rel=1e-3)
    found = metrics(judged)
    assert found["calibration_error_scaled"] < 1e-3
    assert (found["calibration_error"] > 0.02) is (temperature != 1.0)


def test_exclusive_labels_are_calibrated_by_one_temperature():
    draw = np.random.default_rng(0)
    truth = draw.normal(size=(4000, 3))
    probabilities = np.exp(truth) / np.exp(truth).sum(1, keepdims=True)
    targets = np.array([draw.choice(3, p=row) for row in probabilities], dtype=float)
    assert best_temperature(Judgement(2 * truth, targets)) == pytest.approx(2.0, rel=0.1)
