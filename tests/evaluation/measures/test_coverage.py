"""Words that texts must use, in any inflection, by hand."""

import pytest

from evaluation.conftest import answers, values
from lmalgebra.evaluation.measures.coverage import Coverage

CATCH = ["dog", "frisbee", "catch"]


@pytest.mark.parametrize(
    ("text", "covered", "in_order"),
    [
        ("The dog catches a frisbee.", 1, False),
        ("Dogs love frisbees that they caught.", 1, True),
        ("A dog and a frisbee.", 2 / 3, False),
        ("A frisbee, caught.", 2 / 3, False),
        ("catch frisbee dog frisbee catch", 1, True),
        ("hotdog frisbees-catching", 2 / 3, False),  # no part of a word counts, a part between hyphens does
        ("", 0, False),
    ],
)
def test_by_hand(text, covered, in_order):
    found = values(Coverage().measure(answers([text], concepts=[CATCH])).quantities)
    assert found == {"covered": pytest.approx(covered, abs=1e-6), "all": covered == 1, "in_order": in_order}


def test_texts_of_a_prompt_and_prompts_have_equal_weight():
    found = values(Coverage().measure(answers(["a dog", "dogs"], ["none"], concepts=[["dog"], ["cat"]])).quantities)
    assert found == {"covered": 0.5, "all": 0.5, "in_order": 0.5}


def test_one_word_twice_needs_two_places_in_order():
    told = answers(["dog", "dog dog"], concepts=[["dog", "dog"]])
    assert values(Coverage().measure(told).quantities) == {"covered": 1, "all": 1, "in_order": 0.5}
