"""What the playground needs of the API: formulas that are checked, lists, measures, and explanations after streams."""

import json
import math
import os
import sys

import pytest
from typer.testing import CliRunner

from lmalgebra.algebra.recipes import RECIPES
from lmalgebra.cli import app
from lmalgebra.serving.apart import Judging
from lmalgebra.serving.measure import Judges
from serving.conftest import TOY, running
from serving.test_operation import KEY

WITH_PROMPT = TOY.replace('prefix = "dear sir, "', 'system = "Be formal."')


def check(served, **body):
    return served.post("/v1/formula", **body)


@pytest.fixture(scope="module")
def quiet(tmp_path_factory):
    """A server with a key that allows hardly anything, and has no page."""
    folder = tmp_path_factory.mktemp("quiet")
    (folder / "toy.toml").write_text(WITH_PROMPT)
    settings = folder / "server.toml"
    settings.write_text(f'voices = ["{folder}/toy.toml"]\nallow = []\nplayground = false\n')
    with running("--settings", settings, LMALGEBRA_API_KEYS=KEY) as server:
        yield server


VOWELS = """
def vowels(texts):
    if "private" in texts[0]:
        raise ValueError(texts[0])
    return [sum(letter in "aeiou" for letter in text) / 16 for text in texts]
"""


@pytest.fixture(scope="module")
def judging(tmp_path_factory):
    """A server with two judges, which tells perplexity by another voice."""
    folder = tmp_path_factory.mktemp("judging")
    (folder / "toy.toml").write_text(TOY)
    (folder / "plain.toml").write_text(TOY.replace("base + 0.6 * (formal - base)", "formal"))
    (folder / "judge_of_tests.py").write_text(VOWELS)
    (folder / "settings").write_text(
        f'voices = ["{folder}"]\njudges = ["profanity", "judge_of_tests:vowels"]\nperplexity_by = "plain"\n'
    )
    path = os.pathsep.join([str(folder), os.environ.get("PYTHONPATH", "")])
    with running("--settings", folder / "settings", PYTHONPATH=path) as server:
        yield server


def test_a_formula_is_taken_apart(served):
    found = check(served, formula="base+ 0.5*(poet-base) + short", terms={"poet": {"system": "Rhyme."}})
    assert found["formula"] == "base + 0.5 * (poet - base) + short"
    assert (found["reference"], found["error"]) == ("base", None)
    assert found["terms"] == [
        {"name": "base", "kind": "model", "model": "small"},
        {"name": "poet", "kind": "model", "model": "small", "system": "Rhyme."},
        {"name": "short", "kind": "json_schema", "content": '{"enum": ["a", "b"]}'},
    ]
    assert found["numbers"] == [{"start": 6, "end": 9, "value": 0.5, "argument": "", "of": "(poet-base)"}]


def test_without_a_formula_it_is_the_voices(served):
    found = check(served)
    assert found["formula"] == "base + 0.6 * (formal - base)"
    assert [found["formula"][each["start"] : each["end"]] for each in found["numbers"]] == ["0.6"]


@pytest.mark.parametrize(
    ("formula", "place", "message"),
    [
        ("base + frmal", "frmal", "`frmal` is not a term. Did you mean `formal`?"),
        ("base + secret", "secret", "`secret` is not a term."),
        ("base + (formal", "(", "never closed"),
        ("base + within(base, top_p=3)", "within(base, top_p=3)", "top_p=3"),
        ("0.5 * formal - base", None, "no distribution"),
        ("   ", None, "empty"),
        ("base + " * 200 + "base", None, "at most 400 are read"),
    ],
    ids=["misspelt", "not allowed", "bracket", "range", "mass", "empty", "long"],
)
def test_a_mistake_is_told_with_its_place(served, formula, place, message):
    error = check(served, formula=formula)["error"]
    assert message in error["message"]
    assert "\n" not in error["message"]
    assert (error["code"], error["param"]) == ("invalid_formula", "formula")
    assert (None if error["start"] is None else formula[error["start"] : error["end"]]) == place


def test_numbers_of_a_formula_that_cannot_be_used_are_told(served):
    assert [each["value"] for each in check(served, formula="base - 1.5 * union(formal, base)")["numbers"]] == [1.5]


@pytest.mark.parametrize(
    ("body", "code"),
    [
        ({"formula": 3}, "invalid_value"),
        ({"formula": "base", "prompt": "x"}, "unknown_parameter"),
        ({"formula": "base", "model": "nobody"}, "model_not_found"),
        ([], "invalid_body"),
    ],
    ids=str,
)
def test_other_mistakes_are_refused(served, body, code):
    body = {"model": "toy"} | body if isinstance(body, dict) else body
    assert served.refusal("/v1/formula", body)[1]["code"] == code


def test_checking_computes_nothing(served):
    before = served.metric('lmalgebra_formula_passes_total{voice="toy"}')
    assert check(served, formula="0.5 * base + 0.5 * formal")["error"] is None
    assert served.metric('lmalgebra_formula_passes_total{voice="toy"}') == before


def test_what_is_not_allowed_is_refused(quiet):
    def status(path, **body):
        return quiet.refusal(path, {"model": "toy"} | body, Authorization=f"Bearer {KEY}")

    for path, body in (
        ("/v1/formula", {"formula": "base"}),
        ("/v1/formula", {"terms": {"x": {"system": "x", "weight": 1}}}),
        ("/v1/measure", {"prompt": "x", "continuation": "y"}),
    ):
        found, error = status(path, **body)
        assert (found, error["code"]) == (403, "not_allowed")


def test_prompts_of_terms_are_told_only_where_that_is_allowed(quiet, served):
    models = quiet.request("GET", "/v1/models", Authorization=f"Bearer {KEY}")[1]
    assert "Be formal." not in json.dumps(models)
    assert models["lmalgebra"] == {"allow": [], "judges": [], "max_tokens": 4096}
    about = served.request("GET", "/v1/models/toy")[1]["lmalgebra"]["about"]
    assert about[1] == {"name": "formal", "kind": "model", "model": "small", "prefix": "dear sir, "}


def test_the_lists_need_a_key(quiet):
    for path in ("/v1/functions", "/v1/recipes", "/v1/models"):
        assert quiet.request("GET", path)[0] == 401


def test_the_page_can_be_left_out(quiet):
    for path in ("/", "/playground/main.js"):
        assert quiet.request("GET", path)[0] == 401
        assert quiet.request("GET", path, Authorization=f"Bearer {KEY}")[0] == 404
    assert not any("playground" in line for line in quiet.lines if line.startswith("Serving"))


def test_functions_and_recipes_are_listed(served):
    functions = served.request("GET", "/v1/functions")[1]["data"]
    assert {"id": "tilt", "usage": "tilt(a)"} in functions
    recipes = served.request("GET", "/v1/recipes")[1]["data"]
    assert [each["id"] for each in recipes] == list(RECIPES)
    for each in recipes:
        assert set(each["prompts"]) == set(each["parts"]) - {"classifier"}


def test_every_recipe_can_be_spoken(served):
    for each in served.request("GET", "/v1/recipes")[1]["data"]:
        if "classifier" not in each["parts"]:
            brought = {name: {"system": text} for name, text in each["prompts"].items() if name != "base"}
            body = {"formula": each["formula"], "terms": brought}
            assert check(served, **body)["error"] is None, each["id"]
            assert served.post("/v1/completions", prompt="hello", max_tokens=2, **body)["choices"]


def test_a_stream_ends_with_its_explanation(served):
    body = {"model": "toy", "messages": [{"role": "user", "content": "hello"}], "seed": 4, "n": 2, "explain": True}
    status, whole, _ = served.request("POST", "/v1/chat/completions", body)
    assert status == 200
    text = served.request("POST", "/v1/chat/completions", body | {"stream": True})[1]
    *events, done = [line.removeprefix("data: ") for line in text.split("\n\n") if line]
    assert done == "[DONE]"
    *_, ends, last = map(json.loads, events)
    assert all("explanation" not in choice for choice in ends["choices"])
    for told, choice in zip(whole["choices"], last["choices"], strict=True):
        assert choice["index"] == told["index"]
        assert (choice["delta"], choice["finish_reason"]) == ({}, None)
        assert choice["explanation"] == told["explanation"]


def test_texts_are_measured(judging):
    texts = ["you idiot", "and you"]
    answer = judging.post("/v1/measure", prompt="hello", continuation=texts)
    scores = judging.post("/v1/score", model="plain", prompt="hello", continuation=texts)["data"]
    assert answer["lmalgebra"] == {"perplexity_by": "formal"}
    assert [each["judged"]["judge_of_tests:vowels"] for each in answer["data"]] == [5 / 16, 3 / 16]
    toxic, kind = (each["judged"]["profanity"] for each in answer["data"])
    assert toxic > 0.5 > kind
    for told, score in zip(answer["data"], scores, strict=True):
        assert told["tokens"] == len(score["tokens"])
        assert told["perplexity"] == pytest.approx(math.exp(-score["logprob"] / len(score["tokens"])))


def test_by_default_perplexity_is_the_first_terms(served):
    answer = served.post("/v1/measure", messages=[{"role": "user", "content": "hello"}], continuation="you")
    score = served.post("/v1/score", prompt="hello", continuation="you", formula="base")["data"][0]
    (told,) = answer["data"]
    assert (told["judged"], answer["lmalgebra"]) == ({}, {"perplexity_by": "base"})
    assert told["perplexity"] == pytest.approx(math.exp(-score["logprob"] / 3))


@pytest.mark.parametrize(
    ("body", "code"),
    [
        ({"prompt": "hello"}, "missing_required_parameter"),
        ({"continuation": "x"}, "invalid_value"),
        ({"prompt": "hello", "continuation": "x", "formula": "base"}, "unknown_parameter"),
        ({"prompt": "hello", "continuation": "x" * 6000}, "context_length_exceeded"),
        ({"prompt": "h" * 4900, "continuation": ["x"] * 2}, "invalid_prompt"),
    ],
)
def test_measures_that_are_refused(served, body, code):
    assert served.refusal("/v1/measure", {"model": "toy"} | body)[1]["code"] == code


def test_a_judge_that_fails_is_told_without_what_it_said(judging):
    status, error = judging.refusal("/v1/measure", {"model": "toy", "prompt": "a", "continuation": "private"})
    assert (status, error["message"]) == (503, "The judge 'judge_of_tests:vowels' cannot judge just now.")
    assert judging.wait_for(lambda: judging.logged("judge failed"))
    assert not any("private" in line for line in judging.lines)


def test_names_of_judges_tell_no_place():
    written = [
        "http://inside:8000/v1#guard",
        "http://inside:8001/v1",
        "/srv/judges/toxicity#toxic",
        "/srv/b/toxicity#bad",
    ]
    assert Judges(written, Judging()).names == ["guard", "model", "toxicity#toxic", "toxicity#bad"]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--judge", "profanty"], "Did you mean 'profanity'?"),
        (["--judge", "no_such_module:f"], "cannot be imported"),
    ],
)
def test_a_judge_that_there_is_not_is_told_at_once(toy_file, arguments, message):
    done = CliRunner().invoke(app, ["serve", str(toy_file), *arguments])
    assert (done.exit_code, message in done.stderr) == (2, True)


def test_a_judge_without_its_package_says_what_to_install(toy_file, monkeypatch):
    monkeypatch.setitem(sys.modules, "profanity_check", None)
    done = CliRunner().invoke(app, ["serve", str(toy_file), "--judge", "profanity"])
    assert done.exit_code == 2
    assert "Install it: pip install 'lmalgebra[evaluate]'." in done.stderr


def test_perplexity_by_names_a_voice(toy_file, tmp_path):
    settings = tmp_path / "server.toml"
    settings.write_text(f'voices = ["{toy_file}"]\nperplexity_by = "nobody"\n')
    done = CliRunner().invoke(app, ["serve", "--settings", str(settings)])
    assert (done.exit_code, "perplexity_by = 'nobody' is no voice of this server." in done.stderr) == (2, True)
