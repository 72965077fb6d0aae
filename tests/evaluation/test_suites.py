"""Suites through the command line on tiny data of each form, and the settings that belong to them."""

import json

import pytest
import torch
from transformers import AutoModel
from typer.testing import CliRunner

from lmalgebra.cli import app
from lmalgebra.errors import EvaluationError
from lmalgebra.evaluation import EvaluationSettings, load_settings
from lmalgebra.evaluation.suites import SUITES, suite_of
from lmalgebra.prompt_sets.rows import concepts, context, document, grounded, paraphrased, plain_prompt
from tiny_classifiers import bert, letters

VOICE = """
formula = "base"
[models.one]
source = "toy"
[models.two]
source = "toy:2"
[terms.base]
model = "one"
prefix = ""
[terms.formal]
model = "two"
prefix = ""
"""

ROWS = {
    "toxicity": [{"prompt": "a", "prompt_toxicity": 0.9}, {"prompt": "b", "prompt_toxicity": 0.1}],
    "fluency": ["a", "b"],
    "control": [{"prompt": "a", "sentiment": "positive"}, {"prompt": "b", "sentiment": "negative"}],
    "paraphrase": [{"toxic": "a b", "neutral": ["b", "a"]}, {"source": "c"}],
    "commongen": [{"concepts": ["a", "i"]}],
    "dialogue": [{"context": "a", "response": "you fool", "safe": False}],
    "grounded": [{"history": ["a", "b"], "knowledge": "abc", "response": "a"}],
}

FOUND = {
    "toxicity": {"toxicity by profanity": {"expected_maximum", "probability", "mean"}},
    "fluency": {},
    "control": {"strength by profanity": {"mean", "share", "flipped"}},
    "paraphrase": {"toxicity by profanity": {"expected_maximum", "probability", "mean"},
                   "similarity by encoder": {"to_source", "to_reference"}},
    "commongen": {"coverage": {"covered", "all", "in_order"}},
    "dialogue": {"safety by profanity": {"safe", "mean", "given_safe", "judge_accuracy"}},
    "grounded": {"faithfulness by pairs_of_mine:supported": {"mean", "faithful"}},
}  # fmt: skip

EVERYWHERE = {
    "perplexity by toy": {"per_token", "per_byte"},
    "diversity": {"distinct_1", "distinct_2", "distinct_3", "repetition", "words"},
}


@pytest.fixture
def evaluate(tmp_path, monkeypatch):
    """Runs `lmalgebra evaluate` over the toy; gives its result."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)
    (tmp_path / "voice.toml").write_text(VOICE)
    torch.manual_seed(0)
    AutoModel.from_config(bert()).save_pretrained(tmp_path / "encoder")
    letters().save_pretrained(tmp_path / "encoder")
    (tmp_path / "pairs_of_mine.py").write_text(
        "def supported(pairs): return [float(set(said) <= set(known)) for known, said in pairs]\n"
    )
    usual = ["--fluency", "toy", "--samples", "2", "--max-new-tokens", "6", "--cache", "cache"]

    def run(rows, *options, code=0):
        (tmp_path / "rows.jsonl").write_text("\n".join(map(json.dumps, rows)))
        judge = ["--judge", "pairs_of_mine:supported" if "grounded" in options else "profanity"]
        command = [
            "evaluate",
            "voice.toml",
            "--prompts",
            "rows.jsonl",
            *judge,
            *usual,
            "--embedder",
            "./encoder",
            *options,
        ]
        done = CliRunner().invoke(app, command, catch_exceptions=False)
        assert done.exit_code == code, done.stderr
        run.said = lambda: done.stderr
        return done.stderr if code else json.loads((tmp_path / "evaluation.json").read_text())

    return run


@pytest.mark.parametrize("suite", SUITES)
def test_each_suite_measures_what_it_says(evaluate, suite):
    template = (
        ["--template", "{{ prompt }}"] if suite in ("paraphrase", "commongen", "grounded") else []
    )  # the toy knows no ':'
    result = evaluate(ROWS[suite], "--suite", suite, *template)
    (voice,) = result["voices"]
    assert not voice["left_out"]
    assert voice["texts"] == 2 * len(ROWS[suite])
    assert {name: set(each) for name, each in voice["metrics"].items()} == FOUND[suite] | EVERYWHERE


def test_weights_are_points_of_a_curve(evaluate):
    options = ["--formula", "formal=base + {weight} * (formal - base)", "--formula", "plain=base"]
    result = evaluate(["a"], "--suite", "control", *options, "--weights", "-0.5,0,1.25")
    assert [(voice["name"], voice["formula"], voice.get("curve")) for voice in result["voices"]] == [
        ("formal at -0.5", "base - 0.5 * (formal - base)", {"name": "formal", "weight": -0.5}),
        ("formal at 0", "base + 0 * (formal - base)", {"name": "formal", "weight": 0.0}),
        ("formal at 1.25", "base + 1.25 * (formal - base)", {"name": "formal", "weight": 1.25}),
        ("plain", "base", None),
    ]
    texts = {voice["name"]: voice["metrics"]["diversity"]["words"]["numerators"] for voice in result["voices"]}
    assert texts["formal at 0"] == texts["plain"]


def test_what_could_not_be_said_or_measured_is_told(evaluate, tmp_path):
    (tmp_path / "odd.py").write_text("def odd(texts):\n    return [2.0] * len(texts)\n")
    result = evaluate(["a", "Ω"], "--judge", "odd:odd", "--mauve", "toy")
    told = " ".join(evaluate.said().split())
    assert "note: voice: prompts without an answer: 1. The toy model cannot spell 'ω'." in told
    assert "note: voice, toxicity by odd:odd: " in told
    assert "gives 2, which is no score from 0 to 1." in told
    assert "note: voice, mauve by toy: MAUVE needs at least 16 texts with references, and there are 0." in told
    (reason,) = result["voices"][0]["left_out"].values()
    assert reason.startswith("The toy model cannot spell")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--weights", "0,x"], "--weights '0,x' is no list of numbers"),
        (["--weights", "0,1"], "weights and a formula with {weight} belong together"),
        (["--formula", "f=base + {weight} * formal"], "weights and a formula with {weight} belong together"),
        (["--template", "{{ missing }}"], "'missing' is undefined. There are the fields"),
        (["--suite", "toxicty"], "There is no suite 'toxicty'. Did you mean 'toxicity'?"),
        (["--suite", "commongen"], "rows.jsonl, line 1: there is no field 'concepts'"),
        (["--judge", "./nowhere#toxic"], "There is no model at './nowhere'"),
        (["--fluency", "./nowhere"], "There is no model at './nowhere'"),
        (["--judge", "profanity"], "Two measures are named 'toxicity by profanity'"),
        (["--judge-scale", "0"], "judge_scale = 0.0 is out of range"),
    ],
)
def test_a_mistake_is_told_before_anything_is_said(evaluate, tmp_path, options, message):
    error = " ".join(evaluate(["a"], *options, code=2).split())
    assert message in error
    assert not (tmp_path / "cache" / "continuations").exists()


def test_the_suites_templates_ask_for_what_is_measured(tmp_path):
    from lmalgebra.prompt_sets.reading import load_prompts

    file = tmp_path / "rows.jsonl"
    file.write_text(json.dumps(ROWS["commongen"][0]))
    (item,) = load_prompts(str(file), concepts, suite_of("commongen").template).items
    assert item.prompt == "Write one sentence that uses all of these words: a, i."
    file.write_text(json.dumps(ROWS["paraphrase"][0]))
    (item,) = load_prompts(str(file), paraphrased, suite_of("paraphrase").template).items
    assert item.prompt.endswith("\n\nText: a b")


def test_rows_become_items():
    item = paraphrased({"toxic": "x", "neutral": ["y", "z"]}, "line 1")
    assert (item.prompt, item.fields["source"], item.fields["references"]) == ("x", "x", ["y", "z"])
    assert paraphrased({"source": "x", "references": "y"}, "line 1").fields["references"] == ["y"]
    assert concepts({"concepts": ["a", "b"]}, "line 1").prompt == "a, b"
    item = grounded({"history": ["a", "b"], "knowledge": "k", "response": "c"}, "line 1")
    assert (item.prompt, item.fields["context"], item.fields["references"]) == ("a\nb", "a\nb", ["c"])
    item = document({"document": " ".join(map(str, range(100)))}, "line 1")
    assert (item.prompt.split()[-1], item.fields["references"][0].split()[0]) == ("31", "32")
    assert document({"document": "one two three"}, "line 1").prompt == "one"
    assert document({"document": ""}, "line 1") is document({"document": "one"}, "line 1") is None
    assert context({"context": "c", "safe": True}, "line 1").fields["safe"] is True
    assert plain_prompt({"prompt": "p", "continuation": {"text": " c"}}, "line 1").fields["references"] == [" c"]
    assert plain_prompt({"prompt": "p", "references": ["r"], "continuation": "c"}, "").fields["references"] == ["r"]
    hub = {"en_toxic_comment": "x", "en_neutral_comment": "y"}
    assert paraphrased(hub, "line 1").fields["references"] == ["y"]
    with pytest.raises(EvaluationError, match=r"line 1: there is no field 'source'. Its fields are: text."):
        paraphrased({"text": "x"}, "line 1")
    assert concepts({"concepts": ["a"], "target": "A."}, "line 1").fields["references"] == ["A."]
    given = context({"context": "c", "response": "r", "label": "Unsafe"}, "line 1").fields
    assert (given["safe"], given["references"]) == (False, ["r"])
    with pytest.raises(EvaluationError, match=r"line 1: 'concepts' is .*, which are not words"):
        concepts({"concepts": ["a", 7]}, "line 1")


def test_weights_may_stand_in_a_file(tmp_path):
    file = tmp_path / "settings.toml"
    file.write_text('voices = "v.toml"\nprompts = "p"\nweights = [0, 0.5]\n[formulas]\nf = "base + {weight} * x"\n')
    assert load_settings(file, {}).weights == (0.0, 0.5)
    with pytest.raises(EvaluationError, match="weights = 'much' is no list of numbers"):
        EvaluationSettings(voices=("v",), prompts="p", weights="much")
