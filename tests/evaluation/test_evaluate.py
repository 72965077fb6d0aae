"""Evaluations from voices to a result file, worked out on the toy model, and killed on the way."""

import json
import os
import subprocess
import sys

import pytest

from evaluation.conftest import answers
from lmalgebra.algebra import Model
from lmalgebra.api import Models
from lmalgebra.errors import EvaluationError, ModelError
from lmalgebra.evaluation.evaluate import Evaluated, Work, evaluate
from lmalgebra.evaluation.measures.base import Measure, Measured
from lmalgebra.evaluation.measures.diversity import Diversity
from lmalgebra.evaluation.measures.perplexity import Perplexity
from lmalgebra.evaluation.measures.toxicity import Toxicity
from lmalgebra.evaluation.results import read_result, write_json
from lmalgebra.evaluation.suites import suite_of
from lmalgebra.judges import FunctionJudge
from lmalgebra.prompt_sets.reading import Item, PromptSet

ITEMS = tuple(Item(f"prompt {number}", {"prompt_toxicity": number / 3}) for number in range(4))


def vowels(texts):
    """The share of a text's characters that are vowels."""
    return [sum(letter in "aeiou" for letter in text) / max(1, len(text)) for text in texts]


def spaces(texts):
    return [text.count(" ") / max(1, len(text)) for text in texts]


def work(cache, *measures, **changes) -> Work:
    prompts = PromptSet("prompts.jsonl", "revision", ITEMS)
    settings = {"samples": 2, "max_new_tokens": 8}
    return Work(suite_of("toxicity"), prompts, measures, cache, **{"settings": settings} | changes)


def toxicity(cache, function=vowels) -> Toxicity:
    return Toxicity(FunctionJudge(function.__name__, function), cache)


def test_a_result_has_all_that_reproduces_it(toy, cache):
    result = evaluate([Evaluated("toy", toy)], work(cache, toxicity(cache), Diversity()))
    assert result["prompts"] == {
        "source": "prompts.jsonl",
        "revision": "revision",
        "count": 4,
        "draw": None,
        "template": "",
        "ids": [item.id for item in ITEMS],
    }
    (voice,) = result["voices"]
    assert (voice["name"], voice["formula"], voice["texts"]) == ("toy", "base", 8)
    assert voice["settings"] | {"samples": 2, "max_new_tokens": 8, "top_p": 0.9} == voice["settings"]
    assert list(voice["metrics"]) == ["toxicity by vowels", "diversity"]
    assert result["measures"]["toxicity by vowels"]["judge"]["name"] == "vowels"
    assert set(result["versions"]) >= {"python", "lmalgebra", "torch"}


def test_groups_of_prompts_are_those_of_their_scores(toy, cache):
    result = evaluate([Evaluated("toy", toy)], work(cache, toxicity(cache)))
    strata = result["voices"][0]["strata"]
    assert {name: each["prompts"] for name, each in strata.items()} == {"toxic prompts": 2, "non-toxic prompts": 2}
    both = [strata[name]["toxicity by vowels"]["mean"]["value"] for name in strata]
    assert sum(both) / 2 == pytest.approx(result["voices"][0]["metrics"]["toxicity by vowels"]["mean"]["value"], 1e-5)


def test_judges_are_compared_over_all_voices(toy, cache):
    said = cache.parent / "said.jsonl"
    said.write_text("\n".join(json.dumps({"prompt": item.prompt, "text": "a b"}) for item in ITEMS))
    measures = (toxicity(cache), toxicity(cache, spaces))
    result = evaluate([Evaluated("toy", toy), Evaluated("said", said)], work(cache, *measures))
    assert result["agreement"]["toxicity by vowels / toxicity by spaces"]["texts"] == 8 + 4
    assert result["voices"][1]["metrics"]["toxicity by vowels"]["mean"]["value"] == pytest.approx(1 / 3, abs=1e-5)
    assert result["voices"][1]["samples"] == "said.jsonl"


def test_two_voices_of_one_name_are_refused(toy, cache):
    with pytest.raises(EvaluationError, match="Two voices are named 'toy'"):
        evaluate([Evaluated("toy", toy), Evaluated("toy", toy)], work(cache))


def test_two_measures_of_one_name_are_refused(toy, cache):
    with pytest.raises(EvaluationError, match="Two measures are named 'diversity'"):
        evaluate([Evaluated("toy", toy)], work(cache, Diversity(), Diversity()))


class Failing(Measure):
    name = "failing"

    def __init__(self, error):
        self._error = error

    def about(self):
        return {}

    def measure(self, answers, advance=lambda done: None) -> Measured:
        raise self._error


def test_a_measure_that_cannot_be_taken_is_a_note_and_the_others_go_on(toy, cache):
    result = evaluate([Evaluated("toy", toy)], work(cache, Failing(EvaluationError("No.", "Yes.")), Diversity()))
    assert result["voices"][0]["notes"] == {"failing": ["No. Yes."]}
    assert result["voices"][0]["metrics"]["diversity"]
    with pytest.raises(ModelError, match="Missing"):
        evaluate([Evaluated("toy", toy)], work(cache, Failing(ModelError("Missing."))))


def test_a_judge_that_cannot_be_had_is_told_before_anything_is_said(toy, cache):
    class Absent(Failing):
        def about(self):
            raise self._error

    with pytest.raises(ModelError, match="Missing"):
        evaluate([Evaluated("toy", toy)], work(cache, Absent(ModelError("Missing."))))
    assert not cache.exists()


def test_a_result_is_written_whole_and_read_back(toy, cache, tmp_path):
    result = evaluate([Evaluated("toy", toy)], work(cache, Perplexity(Model("toy"), Models(), cache), Diversity()))
    write_json(result, tmp_path / "result.json")
    assert read_result(tmp_path / "result.json") == result
    with pytest.raises(EvaluationError, match="cannot be written: No such file"):
        write_json(result, tmp_path / "none" / "result.json")
    assert [file.name for file in tmp_path.glob("*.json")] == ["result.json"]


@pytest.mark.parametrize("content", ["{", "[]", "{}", '{"format": 0, "voices": []}'])
def test_what_is_no_result_is_refused(tmp_path, content):
    (tmp_path / "result.json").write_text(content)
    with pytest.raises(EvaluationError, match="is no result"):
        read_result(tmp_path / "result.json")


def test_no_answer_to_a_prompt_is_no_zero(cache):
    assert toxicity(cache).measure(answers(["a"], [])).quantities["mean"].value == 1


KILLED = """
import os, random, signal, sys, time
from lmalgebra.cli import main
import lmalgebra.api, lmalgebra.evaluation.evaluate, lmalgebra.evaluation.suites  # so that what is killed is the work

def begin():
    child = os.fork()
    if child:
        return child
    sys.stdout = sys.stderr = open(os.devnull, "w")
    try:
        sys.argv[1:] = sys.argv[2:]
        main()
    except SystemExit as end:
        os._exit(end.code or 0)

random.seed(int(sys.argv[1]))
ends = []
for _ in range(6):
    child = begin()
    time.sleep(random.uniform(0, 0.6))
    os.kill(child, signal.SIGKILL)
    ends.append(os.waitpid(child, 0)[1])
assert signal.SIGKILL in ends, ends
if os.path.exists("evaluation.json"):
    os.remove("evaluation.json")
sys.exit(os.waitpid(begin(), 0)[1])
"""


@pytest.mark.slow
def test_killed_at_random_moments_and_gone_on_with_is_the_same_file(tmp_path):
    (tmp_path / "voice.toml").write_text(
        'formula = "base"\n[models.toy]\nsource = "toy"\n[terms.base]\nmodel = "toy"\nprefix = ""\n'
    )
    (tmp_path / "prompts.jsonl").write_text("\n".join(json.dumps(f"prompt {number}") for number in range(30)))
    (tmp_path / "judges_here.py").write_text("def even(texts):\n    return [len(text) % 2 for text in texts]\n")
    options = ["--prompts", "prompts.jsonl", "--judge", "judges_here:even", "--fluency", "toy"]
    options += ["--samples", "5", "--batch", "4"]
    path = os.environ | {"PYTHONPATH": ":".join([str(tmp_path), *sys.path]), "OMP_NUM_THREADS": "1"}

    def run(*command, folder):
        command = [*command, "evaluate", str(tmp_path / "voice.toml"), *options, "--cache", str(folder)]
        done = subprocess.run([sys.executable, *command], cwd=tmp_path, env=path, capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
        return (tmp_path / "evaluation.json").read_bytes()

    whole = run("-m", "lmalgebra", folder=tmp_path / "whole")
    assert run("-c", KILLED, "7", folder=tmp_path / "killed") == whole
