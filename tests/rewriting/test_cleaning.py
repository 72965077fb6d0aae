"""What is taken off an answer, and what must stay."""

import pytest

from lmalgebra.rewriting.cleaning import cleaned, refusal_in


@pytest.mark.parametrize(
    ("answer", "text"),
    [
        ("He left early.", "He left early."),
        ('  "He left early."\n', "He left early."),
        ("\u201cHe left early.\u201d", "He left early."),
        ('**"He left early."**', "He left early."),
        ("Here is a paraphrase:\n\nHe left early.\n\nI hope this helps!", "He left early."),
        ("Sure! Here's a paraphrased version of the sentence: He left early.", "He left early."),
        ("Certainly, here is the rewritten sentence: 'He left early.'", "He left early."),
        ("Rewritten sentence: He left early.", "He left early."),
        ("Paraphrase: He left early.", "He left early."),
        ("1. He left early.\n2. He went away early.", "He left early."),
        ("- He left early.", "He left early."),
        ("<think>He, who?</think>\nHe left early.", "He left early."),
        ("<think>He, who", ""),
        ("He  left\tearly.", "He left early."),
        ("Here is what he said: nothing.", "Here is what he said: nothing."),
        ("The truth: he left.", "The truth: he left."),
        ('"He" left "early"', '"He" left "early"'),
        ("'Tis so, isn't it'", "'Tis so, isn't it'"),
        ("...\nHe left.", "He left."),
        ("2020 was bad.", "2020 was bad."),
        ("彼は去った。", "彼は去った。"),
        ("", ""),
        ("--- !\n\n", ""),
        ("Here is a paraphrase:", ""),
    ],
)
def test_one_line(answer, text):
    assert cleaned(answer) == text


def test_all_lines_of_a_longer_answer_stay():
    answer = "Here is the rewritten text:\n\nFirst, sit.\n- bread\n- milk\n"
    assert cleaned(answer, one_line=False) == "First, sit.\n- bread\n- milk"
    assert cleaned('"One.\nTwo."', one_line=False) == "One.\nTwo."
    assert cleaned("1. Sit.\n2. Eat.", one_line=False) == "1. Sit.\n2. Eat."


def test_a_refusal_is_found_in_any_case_and_spelling():
    assert refusal_in("I\u2019m sorry, but I can't do that.") == "sorry, but i can"
    assert refusal_in("I cannot rewrite insults.") == "i cannot rewrite"
    assert refusal_in("I cannot believe it, sorry, but you are wrong.") == ""
    assert refusal_in("He said that he is sorry.") == ""
    assert refusal_in("No way.", ("No WAY",)) == "No WAY"
