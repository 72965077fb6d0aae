"""`lmalgebra rewrite`: answers of other models, before and after."""

import json

import pytest

from chat_server import chatting
from cli.conftest import samples

pytest.importorskip("profanity_check")


@pytest.fixture
def asked(letters):
    """Says letters, whatever it is told."""
    return ("rewrite", letters, "--template", "{% if text %}abc{% endif %}", "--seed", 2)


def test_texts_are_rewritten_and_each_line_says_both(lm, asked):
    done = lm(*asked, "You fucking fool.", "Good day.", "--judge", "profanity", "--above", 0.5)
    first, second = samples(done.stdout)
    assert first["before"] == "You fucking fool."
    assert first["after"] == first["text"]
    assert set(first["after"]) <= set("abc")
    assert first["score_before"] > 0.9 > first["score_after"]
    assert (second["after"], second["kept"]) == ("Good day.", "The judge finds nothing to mend.")
    assert "Rewrote 1 of 2 answers." in done.stderr


def test_a_file_of_answers_keeps_its_fields_and_resumes(lm, asked, tmp_path):
    answers = [{"prompt": "Who?", "said": f"Answer {number}."} for number in range(5)]
    (tmp_path / "a.jsonl").write_text("".join(json.dumps(each) + "\n" for each in answers))
    given = (*asked, "--input", "a.jsonl", "--field", "said")
    lm(*given, "--output", "whole.jsonl")
    whole = (tmp_path / "whole.jsonl").read_bytes()
    assert [line["before"] for line in samples(whole.decode())] == [each["said"] for each in answers]
    assert samples(whole.decode())[0]["prompt"] == "Who?"
    (tmp_path / "part.jsonl").write_bytes(b"".join(whole.splitlines(keepends=True)[:2]) + whole[:30])
    done = lm(*given, "--output", "part.jsonl", "--resume")
    assert (tmp_path / "part.jsonl").read_bytes() == whole
    assert "; 2 were done." in done.stderr
    (tmp_path / "a.jsonl").write_text('{"said": "Another."}\n')
    done = lm(*given, "--output", "part.jsonl", "--resume", code=2)
    assert "part.jsonl, line 1: this is no rewrite of answer 1, so --resume cannot go on." in done.stderr


def test_standard_input_is_read(lm, asked):
    done = lm(*asked, "--input", "-", input='"One."\n{"text": "Two."}\n')
    assert [line["before"] for line in samples(done.stdout)] == ["One.", "Two."]


def test_a_language_model_is_asked_its_own_question(lm, asked):
    with chatting(lambda text: (200, "4" if "fool" in text else "1")) as chat:
        judge = ("--judge", f"{chat.address}#m", "--judge-template", "How {{ text }}?", "--judge-scale", 5)
        done = lm(*asked, "fool", "friend", *judge, "--above", 0.5)
    assert [line["score_before"] for line in samples(done.stdout)] == [0.8, 0.2]
    assert chat.asked[0]["messages"][0]["content"].startswith("How f")


@pytest.mark.parametrize(
    ("given", "sentence"),
    [
        ((), "There is no answer to rewrite. Give texts, or --input FILE.jsonl."),
        (("a", "--input", "-"), "Both texts and --input were given."),
        (("a", "--better"), "'better' needs a judge."),
        (("a", "--judge-scale", "5"), "There is no judge to be asked."),
        (("a", "--resume"), "--resume needs a file to go on with."),
        (("--input", "none.jsonl"), "There is no file of answers 'none.jsonl'."),
        (("--input", "bad.jsonl"), "bad.jsonl, line 1: this is neither a text nor an object."),
        (("--input", "empty.jsonl"), "There is no answer to rewrite."),
        (("a", "--template", "again"), "The template does not name 'text'."),
    ],
)
def test_a_mistake_is_one_sentence(lm, letters, tmp_path, given, sentence):
    (tmp_path / "bad.jsonl").write_text("3\n")
    (tmp_path / "empty.jsonl").write_text("\n")
    assert lm("rewrite", letters, *given, code=2).stderr.startswith(f"error: {sentence}")
