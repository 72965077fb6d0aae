"""`lmalgebra tune`: a wish in, a voice file out."""

import json

import pytest

from lmalgebra.algebra import load_voice

pytest.importorskip("optuna")

JUDGE = "def share(texts):\n    return [text.count('c') / max(len(text), 1) for text in texts]\n"


@pytest.fixture
def wish(tmp_path, monkeypatch):
    """A judge that counts the letter c, some prompts, and the arguments that ask for few of them."""
    (tmp_path / "letter_judge.py").write_text(JUDGE)
    monkeypatch.syspath_prepend(tmp_path)
    (tmp_path / "prompts.jsonl").write_text("".join(f'"{text}"\n' for text in ("a", "b", "c", "ab", "ba", "cab")))
    return [
        *("--formula", "letters + {w} * (reverse - letters)", "--weight", "w=0:2"),
        *("--prompts", "prompts.jsonl", "--judge", "letter_judge:share", "--fluency", "none", "--cache", "cache"),
    ]


def test_weights_are_found_and_written(lm, letters, wish, tmp_path):
    asked = ["mean of toxicity above 0.4, lowest distinct_1 of diversity", "--trials", 8, "--samples", 6]
    done = lm("tune", letters, *wish, "--wish", *asked)
    weight = json.loads((tmp_path / "tuned.json").read_text())["chosen"]["w"]
    assert weight > 0.4
    assert str(load_voice(tmp_path / "tuned.toml").formula) == f"letters + {weight:g} * (reverse - letters)"
    assert f"w = {weight:g} (chosen)" in done.stdout
    assert "Of 8 choices" in done.stdout
    assert "Wrote tuned.toml and tuned.json." in done.stderr
    again = lm("tune", letters, *wish, "--wish", *asked)
    assert again.stdout == done.stdout


def test_a_mistake_is_one_sentence(lm, letters, wish):
    done = lm("tune", letters, *wish, "--wish", "best beauty", "--trials", 2, code=2)
    assert done.stderr.splitlines()[-1].startswith("error: 'beauty' of the wish is not measured. Measured: expected_")
    done = lm("tune", letters, *wish, "--wish", "beautiful", code=2)
    assert "error: 'beautiful' is no part of a wish." in done.stderr
