"""Words that are counted, by hand and against the plain definition."""

from itertools import combinations

import numpy as np
import pytest

from lmalgebra.judges.counting import repeats, used, used_in_order

CATCH = ["dog", "frisbee", "catch"]


@pytest.mark.parametrize(
    ("text", "several", "in_order"),
    [
        ("Dogs love frisbees that they caught.", 3, 3),
        ("The dog catches a frisbee.", 3, 2),
        ("A frisbee, caught.", 2, 2),
        ("He caught a frisbee for his dog.", 3, 1),
        ("catch frisbee dog frisbee catch", 3, 3),
        ("hotdog", 0, 0),
        ("", 0, 0),
    ],
)
def test_by_hand(text, several, in_order):
    assert (used(CATCH, text), used_in_order(CATCH, text)) == (several, in_order)


def test_one_word_twice_needs_two_places_in_order():
    assert used(["dog", "dog"], "a dog") == 2
    assert used_in_order(["dog", "dog"], "a dog") == 1
    assert used_in_order(["dog", "dog"], "dog, dogs") == 2


def test_the_longest_chain_is_that_of_every_subset_tried():
    """Chains found at once are those found by trying every choice of concepts, in random texts."""
    draw, words = np.random.default_rng(0), ["ball", "cat", "dog", "hat"]

    def follows(chosen, text):
        at = 0
        for word in chosen:
            at = text.find(word, at) + len(word)
            if at < len(word):
                return False
        return True

    for _ in range(200):
        concepts = [str(each) for each in draw.choice(words, draw.integers(1, 5))]
        text = " ".join(draw.choice(words, draw.integers(0, 7)))
        tried = [size for size in range(len(concepts) + 1) for c in combinations(concepts, size) if follows(c, text)]
        assert used_in_order(concepts, text) == max(tried), (concepts, text)


def test_repeats_are_of_those_there_are():
    assert repeats(["a", "b", "a", "b", "a", "b"], 2) == (3, 5)
    assert repeats(["a"], 2) == (0, 0)
