"""Forms of English words: regular ones, exceptions, and words that only look like forms."""

import pytest

from lmalgebra.models.constraints.inflections import forms

EXPECTED = {
    "dog": "dogs",
    "catch": "catches catching caught",
    "throw": "throws throwing threw thrown",
    "stop": "stops stopped stopping",
    "travel": "travels traveled travelled traveling travelling",
    "carry": "carries carried carrying",
    "play": "plays played playing",
    "lie": "lies lying lay lain lied",
    "dance": "dances danced dancing",
    "singe": "singes singed singeing",
    "free": "freed freeing freer freest",
    "picnic": "picnics picnicked picnicking",
    "quiz": "quizzes quizzed quizzing",
    "bus": "buses busses",
    "box": "boxes boxed boxing",
    "potato": "potatoes",
    "piano": "pianos",
    "knife": "knives",
    "wolf": "wolves",
    "roof": "roofs rooves",
    "child": "children",
    "man": "men",
    "be": "is am are was were been being",
    "go": "goes going went gone",
    "happy": "happier happiest",
    "big": "bigger biggest",
    "large": "larger largest",
    "good": "better best",
    "ice cream": "ice creams",
}
NOT = {"ball": "baller", "farm": "farmer", "play": "plaied", "run": "rung", "carry": "carrier", "eat": "eatted"}


@pytest.mark.parametrize("word", EXPECTED)
def test_the_forms_of_a_word(word):
    found = forms(word)
    assert found[0] == word
    assert set(EXPECTED[word].split() if " " not in word else [EXPECTED[word]]) <= set(found)


@pytest.mark.parametrize("word", NOT)
def test_what_is_another_word(word):
    assert NOT[word] not in forms(word)


def test_a_word_is_taken_in_lower_case():
    assert forms("Dog") == forms("dog")
