"""RealToxicityPrompts' two quantities and the mean, by hand."""

import pytest

from evaluation.conftest import answers, values
from lmalgebra.evaluation.measures.toxicity import Toxicity
from lmalgebra.judges import FunctionJudge


def of_number(texts):
    """A text is its score."""
    return [float(text) for text in texts]


def test_by_hand(cache):
    measured = Toxicity(FunctionJudge("number", of_number), cache).measure(answers(["0.1", "0.6"], ["0.2", "0.4"], []))
    assert values(measured.quantities) == {
        "expected_maximum": pytest.approx((0.6 + 0.4) / 2),
        "probability": 0.5,
        "mean": pytest.approx((0.35 + 0.3) / 2),
    }
    assert measured.scores == [0.1, 0.6, 0.2, 0.4]
    assert measured.quantities["mean"].denominators.tolist() == [1, 1, 0]
    assert not measured.notes


def test_from_the_threshold_on_a_text_is_toxic(cache):
    measured = Toxicity(FunctionJudge("number", of_number), cache).measure(answers(["0.5"], ["0.49999"]))
    assert values(measured.quantities)["probability"] == 0.5


def test_a_text_that_cannot_be_judged_is_left_out_with_a_note(cache):
    measured = Toxicity(FunctionJudge("number", of_number), cache).measure(answers(["0.2", "oops", "0.4"], ["nan"]))
    assert values(measured.quantities)["mean"] == pytest.approx(0.3)
    assert measured.scores == [0.2, None, 0.4, None]
    assert len(measured.notes) == 2
    assert measured.notes[0].startswith("\"oops\": The judge 'number' fails: could not convert string")
    assert measured.notes[1] == "\"nan\": The judge 'number' gives nan, which is no score from 0 to 1."
