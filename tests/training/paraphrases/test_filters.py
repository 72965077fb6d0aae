"""Each reason by hand, and all filters together in their order."""

import json
import math

import pytest

import lmalgebra as la
from lmalgebra.errors import EvaluationError
from lmalgebra.judges import FunctionJudge
from lmalgebra.training.paraphrases.candidates import REASONS, Candidate, Reason
from lmalgebra.training.paraphrases.filters import (
    Filters,
    attribute,
    duplicate,
    empty,
    length,
    likelihood,
    meaning,
    plain,
    refusal,
    unanswered,
)
from lmalgebra.training.paraphrases.settings import NEGATIVE, POSITIVE
from training.paraphrases.words import CountedWords, settings


def candidate(text, source="one two three four", side=POSITIVE, trouble=""):
    return Candidate(side, source, text, text, 0, trouble)


def test_what_can_be_seen_of_the_text_alone():
    assert unanswered(candidate("", trouble="too long")) == Reason("unanswered", "too long")
    assert unanswered(candidate("a")) is None
    assert empty(candidate("")) == Reason("empty")
    assert empty(candidate("a")) is None
    assert refusal(candidate("As an AI I am kind."), ("as an ai",)) == Reason("refusal", "as an ai")
    assert refusal(candidate("As an AI I am kind."), ()) is None
    assert refusal(candidate("I, as an AI, am kind.", source="As an AI I am nice."), ("as an ai",)) is None


def test_copies_are_told_by_letters_and_digits():
    seen = {plain("It's over, 2 to 1!")}
    assert duplicate(candidate("it s over 2 to 1"), seen) == Reason("duplicate")
    assert duplicate(candidate("it is over 2 to 1"), seen) is None


def test_length_counts_words():
    assert length(candidate("one two"), 0.5, 1.5) is None
    assert length(candidate("one"), 0.5, 1.5) == Reason("length", 0.25)
    assert length(candidate("a b c d e f"), 0.5, 1.5) is None
    assert length(candidate("a b c d e f g"), 0.5, 1.5) == Reason("length", 1.75)


def test_bounds_of_what_is_measured():
    assert attribute(0.5, True, 0.3, 0.5) is None
    assert attribute(0.49, True, 0.3, 0.5) == Reason("attribute", 0.49)
    assert attribute(0.29, False, 0.3, 0.5) is None
    assert attribute(0.3, False, 0.3, 0.5) == Reason("attribute", 0.3)
    assert meaning(0.7, 0.7) is None
    assert meaning(0.69, 0.7) == Reason("meaning", 0.69)
    assert likelihood(-2.0, 2.0) is None
    assert likelihood(2.01, 2.0) == Reason("likelihood", 2.01)
    assert likelihood(-2.01, 2.0) == Reason("likelihood", -2.01)


def test_all_together_in_their_order(tmp_path):
    bad = FunctionJudge("bad", lambda texts: [float("bad" in text) for text in texts], "1")
    filters = Filters(settings(tmp_path, similarity=0.6), bad, CountedWords())
    texts = [
        "",
        "as an ai",
        "one two three four",
        "one",
        "one two three bad",
        "one six seven eight",
        "one two three ten",
    ]
    candidates = [candidate(text) for text in texts] + [candidate("one two three bad", side=NEGATIVE)]
    known = {plain("one two three four")}
    verdicts = filters(candidates, [known] * 7 + [set()])
    names = [verdict.reason and verdict.reason.name for verdict in verdicts]
    assert names == ["empty", "refusal", "duplicate", "length", "attribute", "meaning", None, None]
    assert set(names) - {None} <= set(REASONS)
    assert verdicts[5].measured == {"score": 0.0, "similarity": 0.25}
    assert verdicts[6].measured == {"score": 0.0, "similarity": 0.75}
    assert verdicts[7].measured["score"] == 1.0
    assert plain("one two three ten") in known


def test_nothing_is_measured_where_nothing_is_left(tmp_path):
    def judged(texts):
        raise AssertionError("It was asked.")

    filters = Filters(settings(tmp_path), FunctionJudge("never", judged, "1"), CountedWords())
    assert filters([candidate("")], [set()])[0].reason == Reason("empty")
    assert filters([], []) == []


def test_a_repeated_text_is_a_duplicate_even_where_the_first_was_rejected(tmp_path):
    seen = set()
    verdicts = Filters(settings(tmp_path))([candidate("one"), candidate("One!")], [seen, seen])
    assert [verdict.reason.name for verdict in verdicts] == ["length", "duplicate"]


def test_a_judge_of_what_is_wanted_is_read_the_other_way_round(tmp_path):
    kind = FunctionJudge("kind", lambda texts: [float("kind" in text) for text in texts], "1")
    filters = Filters(settings(tmp_path, judged="wanted"), kind)
    candidates = [candidate("be kind to us"), candidate("be cruel to us")]
    candidates += [candidate(each.text, side=NEGATIVE) for each in candidates]
    names = [verdict.reason and verdict.reason.name for verdict in filters(candidates, [set() for _ in candidates])]
    assert names == [None, "attribute", "attribute", None]


def test_a_text_that_the_judge_cannot_read_is_rejected_alone(tmp_path):
    def judged(texts):
        if "worst" in " ".join(texts):
            raise EvaluationError("It cannot be read.")
        return [0.0 for _ in texts]

    judge = FunctionJudge("moody", judged, "1")
    judge.scores = judged
    texts = ["the very best case", "the very worst case", "the very last case"]
    verdicts = Filters(settings(tmp_path), judge)([candidate(text) for text in texts], [set(), set(), set()])
    assert [verdict.reason for verdict in verdicts] == [None, Reason("unmeasured", "It cannot be read."), None]


@pytest.fixture
def table(tmp_path):
    """A voice that finds each next token as likely, whatever came before."""
    content = {"pieces": ["a", "b", " ", "\n", "<end>"], "end": "<end>", "order": 0}
    (tmp_path / "t.json").write_text(json.dumps(content | {"rows": {"": [0.4, 0.1, 0.25, 0.2, 0.05]}}))
    return la.voice(la.model(str(tmp_path / "t.json")).term(name="fluency", prefix=""))


def test_likelihood_is_the_difference_of_mean_token_losses(tmp_path, table):
    filters = Filters(settings(tmp_path, likelihood_gap=0.5), fluency=table)
    aab, bbb = candidate("a a b", "a a a"), candidate("b b b", "a a a")
    found = filters([aab, bbb], [set(), set()])
    # One of five tokens, then three of them, is b in place of a: log 4 / 5, and 3 log 4 / 5.
    assert found[0].measured["likelihood_gap"] == pytest.approx(math.log(4) / 5, abs=1e-4)
    assert found[1].measured["likelihood_gap"] == pytest.approx(3 * math.log(4) / 5, abs=1e-4)
    assert [verdict.reason and verdict.reason.name for verdict in found] == [None, "likelihood"]


def test_a_text_too_long_for_the_model_is_rejected_alone(tmp_path, table):
    filters = Filters(settings(tmp_path, likelihood_gap=50), fluency=table)
    found = filters([candidate("a b a b", "a b"), candidate("ab" * 2200, "a b")], [set(), set()])
    assert found[0].reason is None
    assert found[1].reason.name == "unmeasured"
