"""Repetition within and between texts, counted by hand."""

import pytest

from evaluation.conftest import answers, values
from lmalgebra.evaluation.measures.diversity import Diversity


def test_by_hand():
    # prompt 0: "a b a" and "a c": words a b a a c, 3 of 5 differ; pairs ab ba ac, 3 of 3; triples aba, 1 of 1.
    # prompt 1: "x x x": 1 of 3; pairs xx xx, 1 of 2; triples 1 of 1.
    found = values(Diversity().measure(answers(["a b a", "a c"], ["x x x"])).quantities)
    assert found["distinct_1"] == pytest.approx((3 / 5 + 1 / 3) / 2, abs=1e-6)
    assert found["distinct_2"] == pytest.approx((1 + 1 / 2) / 2)
    assert found["distinct_3"] == 1
    assert found["words"] == pytest.approx((2.5 + 3) / 2)


def test_repetition_is_the_share_of_four_words_that_were_there_before():
    # "a b c d a b c d" has 5 runs of four, of which the last was there; the other text has 1.
    found = values(Diversity().measure(answers(["a b c d a b c d"], ["p q r s"])).quantities)
    assert found["repetition"] == pytest.approx(1 / 6, abs=1e-6)


def test_texts_too_short_count_in_no_mean():
    quantities = Diversity().measure(answers(["one"], [""], ["a b"], [])).quantities
    assert values(quantities)["distinct_1"] == 1
    assert quantities["distinct_2"].denominators.tolist() == [0, 0, 1, 0]
    assert values(quantities)["words"] == pytest.approx((1 + 0 + 2) / 3, abs=1e-6)
