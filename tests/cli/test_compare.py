"""`lmalgebra compare`: a table and sentences, JSON, and mistakes in a sentence."""

import json

import pytest

from evaluation.results import SETTINGS, voice, written


@pytest.fixture
def results(tmp_path):
    """Two results of the same prompts: `a.json` with plain and union, `b.json` with preadd."""
    written(tmp_path / "a.json", voice("plain"), voice("union", 0.4))
    written(tmp_path / "b.json", voice("preadd", 0.5, 25))
    return "a.json", "b.json"


def test_it_says_what_can_be_concluded(lm, results):
    shown = lm("compare", *results).stdout
    rows = [[cell.strip() for cell in line.split("|")[1:-1]] for line in shown.splitlines() if line.startswith("|")]
    assert rows[0] == ["voices", "quantity", "first", "second", "difference", "p", "concluded"]
    assert rows[2][:2] == ["union against plain", "expected maximum toxicity by profanity"]
    assert rows[2][-2:] == ["p \\< 0.001", "better"]
    assert "\nunion has a lower expected maximum toxicity by profanity than plain: by 0.1" in shown
    assert "\npreadd has a higher perplexity per token by judge than plain: 1.2" in shown
    assert "\nNo difference in mean toxicity by profanity between preadd and plain can be concluded (p = 1)" in shown
    assert shown.endswith(
        "Paired bootstrap over prompts. In brackets 95 % intervals, each for itself; p is corrected for all 6 "
        "differences that were looked at (Holm), and a difference is concluded where it is below 0.05.\n"
    )


def test_json_has_the_same(lm, results):
    found = json.loads(lm("compare", *results, "--json", "--baseline", "union", "--level", "0.99").stdout)
    assert (found["level"], found["correction"], found["not_compared"], found["notes"]) == (0.99, "Holm", [], [])
    assert [(each["first"], each["second"]) for each in found["compared"]] == [("union", "plain")] * 3 + [
        ("union", "preadd")
    ] * 3
    first = found["compared"][0]
    assert (first["measure"], first["quantity"]) == ("toxicity by profanity", "expected_maximum")
    assert (first["differs"], first["is_better"], first["difference"]["prompts"]) == (True, False, 40)


def test_only_some_quantities(lm, results):
    shown = lm("compare", *results, "--quantity", "expected maximum").stdout
    assert "corrected for all 2 differences" in shown
    assert "perplexity" not in shown


def test_what_cannot_be_compared_is_told(lm, results, tmp_path):
    written(tmp_path / "c.json", voice("long", settings=SETTINGS | {"max_new_tokens": 64}))
    shown = lm("compare", *results, "c.json").stdout
    told = "long cannot be compared with plain: max_new_tokens is 20 for plain and 64 for long."
    assert told in shown
    assert lm("compare", "a.json", "c.json", "--quantity", "mean").stdout
    assert lm("compare", "b.json", "c.json", code=2).stderr == (
        "error: long cannot be compared with preadd: max_new_tokens is 20 for preadd and 64 for long. Evaluate "
        "the voices on the same prompts, with the same settings and judges.\n"
    )


def test_one_prompt_is_json_without_numbers_that_are_none(lm, tmp_path):
    written(tmp_path / "one.json", voice("plain", count=1), voice("union", count=1), ids=["x"])
    found = json.loads(lm("compare", "one.json", "--json").stdout)
    assert found["compared"][0]["difference"]["low"] is None
    assert "one prompt says nothing of others" in lm("compare", "one.json").stdout


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["none.json"], "There is no result 'none.json'. Make one with lmalgebra evaluate."),
        (["b.json"], "There is nothing to compare 'preadd' with. Name a result of another voice as well."),
        (["a.json", "--baseline", "plan"], "There is no voice 'plan' in these results. Did you mean 'plain'?"),
        (["a.json", "--level", "1"], "--level 1 is out of range. Give a share from 0.5 to 0.999."),
        (["a.json", "--quantity", "fun"], "No quantity is called 'fun'. There are: expected maximum toxicity"),
    ],
)
def test_mistakes_are_told(lm, results, arguments, told):
    assert lm("compare", *arguments, code=2).stderr.startswith(f"error: {told}")
