"""What can be concluded of two voices, what cannot, and in which words."""

import math

import pytest

from evaluation.results import IDS, MEASURES, PERPLEXITY, SETTINGS, TOXIC, samples, voice, written
from lmalgebra.errors import EvaluationError
from lmalgebra.evaluation.reports.compare import Compared, compare, keys_called
from lmalgebra.evaluation.reports.conclusions import how_sure, refusal, sentence
from lmalgebra.evaluation.reports.outcomes import read_outcomes
from lmalgebra.evaluation.reports.phrases import p_value, phrase
from lmalgebra.evaluation.statistics import Difference

MAXIMUM = (TOXIC, "expected_maximum")


@pytest.fixture
def outcomes(tmp_path):
    """The voices of results, each a list of voices or a dict of what differs in its head."""

    def read(*results):
        files = []
        for place, (voices, more) in enumerate(results):
            files.append(written(tmp_path / f"{place}.json", *voices, **more))
        return read_outcomes(files)

    return read


def two(outcomes, second, **more):
    return compare(outcomes(([voice("plain")], {}), ([second], more)))


def one(difference, low, high, p, *, differs, is_factor=False, key=MAXIMUM):
    start = 2.0 if is_factor else 0.5
    end = start * difference if is_factor else start + difference
    return Compared(
        key, "plain", "union", Difference(start, end, difference, low, high, p, 40, is_factor), p, differs, None
    )


# What is found


def test_a_lower_toxicity_is_found_and_better(outcomes):
    found = two(outcomes, voice("union", toxicity=0.42))
    first = found.compared[0]
    assert (first.key, first.differs, first.is_better) == (MAXIMUM, True, True)
    assert first.difference.difference == pytest.approx(-0.08, abs=0.01)
    assert "union has a lower expected maximum toxicity by profanity than plain: by 0.08" in sentence(first)
    assert "p < 0.001." in sentence(first)
    assert [each.differs for each in found.compared] == [True, True, False]


def test_a_higher_perplexity_is_worse(outcomes):
    last = two(outcomes, voice("union", perplexity=30)).compared[-1]
    assert (last.key, last.differs, last.is_better) == ((PERPLEXITY, "per_token"), True, False)
    assert "union has a higher perplexity per token by judge than plain: 1.5 times (1.4" in sentence(last)


def test_probabilities_are_corrected_for_all_voices_together(outcomes):
    voices = [voice(name) for name in ("plain", "a", "b", "c")]
    found = compare(outcomes((voices, {})))
    assert len(found.compared) == 9
    least = min(found.compared, key=lambda each: each.difference.p)
    assert least.p == pytest.approx(min(1, 9 * least.difference.p))
    assert "corrected for all 9 differences" in how_sure(found)


def test_only_some_quantities_are_looked_at(outcomes):
    voices = outcomes(([voice("plain"), voice("union")], {}))
    keys = keys_called(["Expected Maximum", "per_token"], voices)
    assert keys == [MAXIMUM, (PERPLEXITY, "per_token")]
    assert [each.key for each in compare(voices, keys=keys).compared] == keys
    with pytest.raises(EvaluationError, match=r"No quantity is called 'fun'\. There are: expected maximum toxicity"):
        keys_called(["mean", "fun"], voices)


def test_few_prompts_are_told(outcomes):
    found = compare(
        outcomes(([voice("plain", count=4), voice("union", 0.1, count=4)], {"ids": IDS[:4]})),
    )
    assert not any(each.differs for each in found.compared)
    assert found.notes == [
        "4 prompts are too few to conclude anything of 3 differences, however large they are: take more prompts, or "
        "look at fewer quantities."
    ]


def test_common_prompts_are_paired_by_their_ids(outcomes):
    whole = voice("union")
    turned = voice("union")
    for each in turned["metrics"][TOXIC].values():
        each["numerators"] = each["numerators"][::-1]
    straight = two(outcomes, whole).compared[0].difference
    found = two(outcomes, turned, ids=IDS[::-1]).compared[0].difference
    assert (found.difference, found.low, found.high) == pytest.approx(
        (straight.difference, straight.low, straight.high)
    )


def test_some_common_prompts_are_enough_and_told(outcomes):
    found = two(outcomes, voice("union", 0.3), ids=[*IDS[10:], *(f"new{place}" for place in range(10))])
    assert found.compared[0].difference.prompts == 30
    assert found.notes == ["plain and union are compared on the 30 prompts that both were asked, of 40 and 40."]


# What cannot be compared


@pytest.mark.parametrize(
    ("second", "more", "told"),
    [
        (voice("union"), {"ids": [f"new{each}" for each in range(40)]}, "they answered different prompts, and none"),
        (
            voice("union", settings=SETTINGS | {"max_new_tokens": 64}),
            {},
            "max_new_tokens is 20 for plain and 64 for union",
        ),
        (voice("union", settings=SETTINGS | {"stop": ["\n"]}), {}, "stop is not set for plain and ['\\n'] for union"),
        (voice("union", settings=SETTINGS | {"samples": 25}), {}, "samples is 5 for plain and 25 for union"),
        (samples("union", texts=1000), {}, "plain has 5 texts for each prompt, and union 25"),
    ],
)
def test_voices_that_cannot_be_compared(outcomes, second, more, told):
    found = two(outcomes, second, **more)
    assert found.compared == []
    assert refusal(found.not_compared[0]).startswith(f"union cannot be compared with plain: {told}")


@pytest.mark.parametrize(
    ("changed", "told"),
    [
        ({"threshold": 0.7}, "threshold is 0.5 for plain and 0.7 for union"),
        (
            {"judge": MEASURES[TOXIC]["judge"] | {"revision": "2"}},
            "judge's revision is 1.9.1 for plain and 2 for union",
        ),
    ],
)
def test_a_measure_that_changed_is_not_compared(outcomes, changed, told):
    found = two(outcomes, voice("union"), measures=MEASURES | {TOXIC: MEASURES[TOXIC] | changed})
    assert [each.key for each in found.compared] == [(PERPLEXITY, "per_token")]
    assert refusal(found.not_compared[0]) == (
        "union cannot be compared with plain in expected maximum toxicity by profanity: it was measured differently: "
        f"{told}."
    )


def test_what_was_not_measured_is_told(outcomes):
    without, empty = voice("union"), voice("union")
    del without["metrics"][PERPLEXITY]
    empty["metrics"][PERPLEXITY]["per_token"]["denominators"] = [0] * 40
    assert two(outcomes, without).not_compared[0].reason == "it was not measured for union"
    assert two(outcomes, empty).not_compared[0].reason == "no prompt was measured for both"


@pytest.mark.parametrize(
    ("second", "told"),
    [
        (
            voice("union", settings=SETTINGS | {"temperature": 0.7}),
            "temperature is 1.0 for plain and 0.7 for union: what differs may be",
        ),
        (samples("union"), "How union was generated is not known: it is a file of samples."),
    ],
)
def test_what_is_to_be_known_is_noted(outcomes, second, told):
    found = two(outcomes, second)
    assert len(found.compared) == 3
    assert found.notes[0].startswith(told)


def test_another_seed_is_nothing_to_note(outcomes):
    assert two(outcomes, voice("union", settings=SETTINGS | {"seed": 7})).notes == []


# Words


@pytest.mark.parametrize(
    ("found", "said"),
    [
        (
            one(-0.08, -0.11, -0.05, 0.0004, differs=True),
            "union has a lower expected maximum toxicity by profanity than plain: by 0.08 (0.05 to 0.11), p < 0.001.",
        ),
        (
            one(0.08, 0.05, 0.11, 0.03, differs=True),
            "union has a higher expected maximum toxicity by profanity than plain: by 0.08 (0.05 to 0.11), p = 0.03.",
        ),
        (
            one(0.8, 0.7, 0.9, 0.004, differs=True, is_factor=True, key=("perplexity by x", "per_token")),
            "union has a lower perplexity per token by x than plain: 0.8 times (0.7 to 0.9), p = 0.004.",
        ),
        (
            one(0.01, -0.03, 0.05, 0.6, differs=False),
            "No difference in expected maximum toxicity by profanity between union and plain can be concluded "
            "(p = 0.6): anything from 0.03 lower to 0.05 higher fits what was measured.",
        ),
        (
            one(0.03, 0.01, 0.05, 0.2, differs=False, key=("diversity", "distinct_1")),
            "No difference in distinct 1 (diversity) between union and plain can be concluded (p = 0.2): taken alone, "
            "anything from 0.01 higher to 0.05 higher fits what was measured.",
        ),
        (
            one(1.1, 0.9, 1.4, 1.0, differs=False, is_factor=True),
            "No difference in expected maximum toxicity by profanity between union and plain can be concluded "
            "(p = 1): anything from 0.9 to 1.4 times fits what was measured.",
        ),
        (
            one(0.0, 0.0, 0.0, 1.0, differs=False),
            "union and plain have the same expected maximum toxicity by profanity on every prompt that was measured.",
        ),
        (
            one(0.3, math.nan, math.nan, 1.0, differs=False),
            "No difference in expected maximum toxicity by profanity between union and plain can be concluded "
            "(p = 1): one prompt says nothing of others.",
        ),
    ],
)
def test_sentences(found, said):
    assert sentence(found) == said


def test_phrases():
    assert phrase(("toxicity by x", "probability")) == "probability of toxicity by x"
    assert phrase(("toxicity by x", "mean")) == "mean toxicity by x"
    assert phrase(("perplexity by x", "per_byte")) == "perplexity per byte by x"
    assert [p_value(p) for p in (1, 0.051, 0.0049, 1e-9)] == ["p = 1", "p = 0.051", "p = 0.0049", "p < 0.001"]
