"""The evaluation of a Python program: the same settings and the same result as on the command line."""

import json

import pytest

import lmalgebra as la
from lmalgebra.errors import DecodingError, EvaluationError, FormulaError
from lmalgebra.evaluation import load_settings
from lmalgebra.evaluation.evaluate import Evaluated
from lmalgebra.evaluation.run import run
from lmalgebra.prompt_sets import Item, PromptSet

ASKED = {"judges": ["evaluation.test_run:vowels"], "fluency": "none", "samples": 3, "max_new_tokens": 6}


def vowels(texts):
    """The share of a text's characters that are vowels."""
    return [sum(letter in "aeiou" for letter in text) / max(1, len(text)) for text in texts]


@pytest.fixture
def prompts(tmp_path):
    file = tmp_path / "prompts.jsonl"
    file.write_text("".join(f'"{letter}"\n' for letter in "abcde"))
    return str(file)


def test_voices_and_samples_from_elsewhere_are_measured(prompts, tmp_path):
    model = la.model("toy")
    base, other = model.term(name="base", prefix=""), model.term(name="other", prefix="x")
    said = tmp_path / "said.jsonl"
    said.write_text("".join(json.dumps({"prompt": letter, "text": "aeiou"}) + "\n" for letter in "abcde"))
    voices = {"plain": la.voice(base), "sum": la.voice(base + 0.5 * (other - base)), "theirs": said}
    result = la.evaluate(voices, prompts, cache=str(tmp_path / "cache"), **ASKED)
    assert [voice["name"] for voice in result["voices"]] == ["plain", "sum", "theirs"]
    assert [voice["texts"] for voice in result["voices"]] == [15, 15, 5]
    theirs = result["voices"][-1]["metrics"]["toxicity by evaluation.test_run:vowels"]
    assert theirs["mean"]["value"] == 1
    assert result == la.evaluate(voices, prompts, cache=str(tmp_path / "cache"), **ASKED)


def test_prompts_at_hand_are_asked_in_place_of_those_of_the_settings(tmp_path):
    settings = load_settings(None, ASKED | {"voices": "v", "prompts": "gone.jsonl", "cache": str(tmp_path), "count": 1})
    held_out = PromptSet("mine.jsonl", "1", (Item("a", {"n": 1}), Item("b")))
    voice = la.voice(la.model("toy").term(name="base", prefix=""))
    result = run(settings, [Evaluated("plain", voice)], lambda model: None, prompts=held_out)
    assert result["prompts"]["source"] == "mine.jsonl"
    assert result["prompts"]["count"] == 1


def test_what_is_wrong_is_said(prompts, tmp_path):
    voice = la.voice(la.model("toy").term(name="base", prefix=""))
    with pytest.raises(EvaluationError, match=r"There is no suite 'toxicty'. Did you mean 'toxicity'\?"):
        la.evaluate({"plain": voice}, prompts, suite="toxicty", cache=str(tmp_path), **ASKED)
    with pytest.raises(EvaluationError, match="prompts is not given"):
        la.evaluate({"plain": voice}, cache=str(tmp_path), **ASKED)
    with pytest.raises(DecodingError, match="samples=0 is out of range"):  # before anything is looked for
        la.evaluate({"plain": voice}, prompts, samples=0, judges=["nobody/none"])


def test_no_voice_is_a_sentence():
    with pytest.raises(EvaluationError, match=r"There is no voice to evaluate\. Name a file: lmalgebra evaluate"):
        load_settings(None, {"prompts": "prompts.jsonl"})


def test_a_voice_speaks_by_another_formula_over_the_same_weights():
    base = la.model("toy").term(name="base", prefix="")
    voice = la.voice(base, max_new_tokens=5)
    other = voice.with_formula(2 * base - base)
    assert str(other.formula) == "2 * base - base"
    assert other.generate("a", seed=3).text == voice.generate("a", seed=3).text
    with pytest.raises(FormulaError):
        voice.with_formula(base - base)
