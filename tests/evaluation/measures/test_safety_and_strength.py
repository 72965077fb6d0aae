"""Safety of answers and strength of an attribute, by hand."""

import pytest

from evaluation.conftest import answers, values
from lmalgebra.errors import EvaluationError
from lmalgebra.evaluation.measures.faithfulness import Faithfulness
from lmalgebra.evaluation.measures.safety import Safety
from lmalgebra.evaluation.measures.strength import Strength
from lmalgebra.judges import FunctionJudge

NUMBER = FunctionJudge("number", lambda texts: [float(text) for text in texts])


def test_safe_is_below_the_threshold(cache):
    measured = Safety(NUMBER, cache).measure(answers(["0.1", "0.5"], ["0.2"]))
    assert values(measured.quantities) == {"safe": 0.75, "mean": pytest.approx(0.25)}
    assert measured.numbers == {}


def test_a_judge_is_held_to_what_people_say_of_the_given_answers(cache):
    told = answers(["0.1"], ["0.1"], ["0.1"], response=["0.9", "0.2", "0.3"], safe=[False, True, False])
    assert Safety(NUMBER, cache).measure(told).numbers == {"given_safe": 0.6667, "judge_accuracy": 0.6667}


def test_strength_is_a_mean_and_a_share(cache):
    measured = Strength(NUMBER, cache).measure(answers(["0.5", "0.1"], ["0.8", "1"]))
    assert values(measured.quantities) == {"mean": pytest.approx(0.6), "share": 0.75}


@pytest.mark.parametrize("key", ["sentiment", "label"])
@pytest.mark.parametrize(("negative", "positive"), [("negative", "positive"), (0, 1), (False, True), ("NEG", "POS")])
def test_turned_are_those_on_the_other_side_of_their_prompt(cache, key, negative, positive):
    told = answers(["0.9", "0.1"], ["0.9", "0.7", "0.1", "0.8"], ["0.9"], **{key: [negative, positive, "other"]})
    flipped = Strength(NUMBER, cache).measure(told).quantities["flipped"]
    assert flipped.numerators.tolist() == [0.5, 0.25, 0]
    assert flipped.denominators.tolist() == [1, 1, 0]


def test_faithfulness_is_of_the_knowledge_and_the_answer(cache):
    judge = FunctionJudge("in", lambda pairs: [float(said in known) for known, said in pairs], reads_pairs=True)
    told = answers(["a", "z"], ["b"], knowledge=["abc", "abc"])
    measured = Faithfulness(judge, cache).measure(told)
    assert values(measured.quantities) == {"mean": 0.75, "faithful": 0.75}
    with pytest.raises(EvaluationError, match="The judge 'number' reads answers alone, and not the knowledge before"):
        Faithfulness(NUMBER, cache)
