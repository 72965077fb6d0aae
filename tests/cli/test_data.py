"""`lmalgebra data`: from sentences to groups, with what is said on the way."""

import json

import pytest

from chat_server import chatting
from lmalgebra.cli import data
from lmalgebra.training.paraphrases import write
from training.paraphrases.words import lines, write_corpus

OFF = ("--attribute", "plain", "--embedder", "none", "--fluency", "none")


@pytest.fixture
def options(tmp_path):
    write_corpus(tmp_path / "corpus.jsonl", 20)
    return ("--corpus", "corpus.jsonl", *OFF)


def paraphrased(content):
    return 200, content.replace("sentence", "phrase")


def test_groups_are_written_and_their_yield_is_told(lm, options, tmp_path):
    more = ("--positives", 1, "--negatives", 1, "--least", 1, "--negative-template", "as {{ text }}", "--block", 5)
    with chatting(paraphrased) as chat:
        template = ("--positive-template", "{{ text }}", "--output", "out.jsonl")
        done = lm("data", "paraphrase", *options, "--endpoint", chat.address, *more, *template)
    table = [line.split() for line in done.stdout.splitlines()]
    assert table[0] == ["positives", "negatives"]
    assert table[2] == ["accepted", "20", "(100%)", "20", "(100%)"]
    assert "20 sentences to paraphrase." in done.stderr
    assert "10 of 20 sentences: 10 groups, accepted 100% of positives and 100% of negatives" in done.stderr
    assert "Wrote 20 groups of 20 sentences to out.jsonl." in done.stderr
    assert len(lines(tmp_path / "out.jsonl")) == 20


def test_a_file_of_settings_from_an_attribute_is_replaced_by_options(lm, options, tmp_path):
    text = lm("data", "attribute", "sentiment").stdout
    (tmp_path / "s.toml").write_text(f'output = "out.jsonl"\nnegatives = 1\n{text}')
    with chatting(paraphrased) as chat:
        given = ("--judge", "none", "--embedder", "none", "--fluency", "none", "--endpoint", chat.address)
        lm("data", "paraphrase", "s.toml", "--corpus", "corpus.jsonl", "--positives", 1, "--tries", 1, *given)
    card = json.loads((tmp_path / "out.card.json").read_text())
    assert (card["settings"]["attribute"], card["settings"]["negatives"]) == ("sentiment", 1)
    assert chat.asked[0]["messages"][0]["content"].startswith("Say it again so that it sounds happy")


def test_ctrl_c_keeps_what_is_done(lm, options, tmp_path, monkeypatch):
    with chatting(paraphrased) as chat:
        given = (*options, "--endpoint", chat.address, "--output", "out.jsonl", "--positives", 1, "--negatives", 1)
        given = (*given, "--positive-template", "{{ text }}", "--negative-template", "so {{ text }}")
        taken = write.ParaphraseFiles.add

        def add(self, draft):
            taken(self, draft)
            if len(self.done) == 12:
                raise KeyboardInterrupt

        monkeypatch.setattr(write.ParaphraseFiles, "add", add)
        done = lm("data", "paraphrase", *given, code=130)
        assert "Stopped; what is done is kept. The same command with --resume goes on." in done.stderr
        assert len(lines(tmp_path / "out.jsonl")) == 12
        monkeypatch.setattr(write.ParaphraseFiles, "add", taken)
        done = lm("data", "paraphrase", *given, "--resume")
    assert "8 sentences to paraphrase, 12 are done." in done.stderr
    assert len(lines(tmp_path / "out.jsonl")) == 20


def test_a_mistake_is_one_sentence(lm, options, tmp_path):
    done = lm("data", "paraphrase", *options, code=2)
    assert done.stderr.startswith("error: output is not given. Add --output on the command line")
    (tmp_path / "empty.txt").write_text("\n")
    given = ("data", "paraphrase", "--corpus", "empty.txt", "--output", "o.jsonl", *OFF)
    assert lm(*given, code=2).stderr.startswith("error: empty.txt holds no sentence.")
    assert "There is no attribute 'politness'. Known: toxicity" in lm("data", "attribute", "politness", code=2).stderr


def test_every_setting_is_an_option():
    import inspect
    from dataclasses import fields

    from lmalgebra.training.paraphrases.settings import ParaphraseSettings

    options = set(inspect.signature(data.paraphrase).parameters)
    missing = {field.name for field in fields(ParaphraseSettings)} - options
    assert missing == {"positive_examples", "negative_examples"}
